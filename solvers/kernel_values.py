"""Point values k(t, s), s <= t, of the kernel of a causal integral operator on a grid.

A collocation matrix M stands for (M f)(t) = int_0^t k(t, s) f(s) ds. Where s lies in a panel
before that of t, or t is the end of a panel, M_ij / w_j is k(t_i, s_j) to order h^p, because
the Radau IIA coefficients fulfil w^T a^n = w^T (1 - c)^n / n! for n < p (Hairer and Wanner,
Solving ODEs II, section IV.5, condition D). At the other nodes of the panel of s only the
moments

    sum_j M_ij s_j^m = int_0^{t_i} k(t_i, s) s^m ds,    m small,

are accurate: M is made of products of collocation matrices, each of which raises the degree of a
polynomial, and these are exact up to degree p - 1 of the product only. So the triangle
s <= t of a panel is filled by a polynomial of total degree p - 1 that has the known values on
the diagonal and fits, in the least-squares sense, those on the two other edges and the lowest
moments that determine it.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dmft.solvers.collocation import Grid, integration_block, lagrange_matrix, radau_nodes


def kernel_values(
    grid: Grid, operator: np.ndarray, diagonal: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Return k(t_a, t_b) for t_b <= t_a and 0 above, shape (T, T).

    With the panel length h the error falls like h^p where t and s lie in different panels or the
    matrix holds exact moments, and at least like h^3 (h^p for p < 3), with a small factor, inside
    a panel where the matrix is a product of collocation matrices.

    Parameters
    ----------
    grid : Grid
    operator : ndarray, shape (N, N)
        Collocation matrix of an integral operator with a smooth kernel (no delta function).
    diagonal : ndarray, shape (N + 1,)
        k(t+, t) at t = 0 and the nodes.
    t : ndarray, shape (T,)
        Ascending times in [0, t_max].

    Examples
    --------
    >>> from dmft.solvers.collocation import Grid
    >>> grid = Grid(np.array([0.0, 1.0]), 3)
    >>> kernel_values(grid, np.zeros((3, 3)), np.ones(4), np.array([0.0, 1.0])).shape
    (2, 2)
    """
    p = grid.stages
    kernel = np.zeros((t.size, t.size))
    panel = grid.locate(t)
    members = [np.flatnonzero(panel == q) for q in range(grid.panels)]
    steps = np.diff(grid.edges)
    local = [(t[m] - grid.edges[q]) / steps[q] for q, m in enumerate(members)]
    at_nodes = [lagrange_matrix(radau_nodes(p), x) for x in local]
    values = operator / grid.weights
    for q, rows in enumerate(members):
        if rows.size == 0:
            continue
        here = slice(q * p, (q + 1) * p)
        for r in range(q):
            columns = members[r]
            block = values[here, r * p : (r + 1) * p]
            kernel[np.ix_(rows, columns)] = at_nodes[q] @ block @ at_nodes[r].T
        left = values[here, q * p - 1] if q > 0 else None
        ends = diagonal[q * p : (q + 1) * p + 1]
        kernel[np.ix_(rows, rows)] = _triangle(
            operator[here, here] / steps[q], ends, left, local[q]
        )
    return kernel


def _triangle(
    block: np.ndarray, diagonal: np.ndarray, left: np.ndarray | None, x: np.ndarray
) -> np.ndarray:
    """Return k on one panel at local times x, shape (len(x), len(x)), zero above the diagonal.

    k(t, s) = k(t, t) + (t - s) q(t, s) keeps the known diagonal; q, of total degree p - 2, is
    fitted to what remains of the other data. `block` is the panel's own part of the operator over
    its length, `diagonal` k(t+, t) at its start and nodes, and `left` k(t_i, 0), which the first
    panel lacks.
    """
    p = len(block)
    nodes = radau_nodes(p)
    excess = block - diagonal[1:, None] * integration_block(p)
    moments = excess @ _legendre(nodes, _highest_moment(p, left is not None))
    known = [excess[-1] / integration_block(p)[-1], moments.T.ravel()]
    if left is not None:
        known.append(left - diagonal[1:])
    coefficients = _fit(p, left is not None) @ np.concatenate(known)
    on_diagonal = lagrange_matrix(np.concatenate([[0.0], nodes]), x) @ diagonal
    rows, columns = np.tril_indices(x.size)
    kernel = np.zeros((x.size, x.size))
    kernel[rows, columns] = on_diagonal[rows] + _basis(x[rows], x[columns], p) @ coefficients
    return kernel


def _highest_moment(p: int, has_left: bool) -> int:
    """Return the degree of what the values on the edges leave open, or 0.

    Polynomials that vanish on three edges are multiples of a cubic, on two of a quadratic.
    """
    return max(p - 4 if has_left else p - 3, 0)


@cache
def _fit(p: int, has_left: bool) -> np.ndarray:
    """Return the matrix from the data of `_triangle`, in its order, to the coefficients of q."""
    nodes, weights = radau_nodes(p), integration_block(p)[-1]
    rows = [_basis(np.ones(p), nodes, p)]
    for m in range(_highest_moment(p, has_left) + 1):
        for end in nodes:
            s = end * nodes
            factor = end * weights * _legendre(s, m)[:, m]  # the rule is exact to degree 2 p - 2
            rows.append((factor @ _basis(np.full(p, end), s, p))[None, :])
    if has_left:
        rows.append(_basis(nodes, np.zeros(p), p))
    return np.linalg.pinv(np.concatenate(rows))


def _legendre(x: np.ndarray, degree: int) -> np.ndarray:
    """Return P_0..P_degree on [0, 1] at x, shape (len(x), degree + 1)."""
    return np.polynomial.legendre.legvander(2 * x - 1, degree)


def _basis(t: np.ndarray, s: np.ndarray, p: int) -> np.ndarray:
    """Return (t - s) P_a(t) P_b(s), a + b <= p - 2, at the points (t_i, s_i), one column each."""
    in_t, in_s = _legendre(t, p - 2), _legendre(s, p - 2)
    pairs = [(a, b) for a in range(p - 1) for b in range(p - 1 - a)]
    return np.stack([(t - s) * in_t[:, a] * in_s[:, b] for a, b in pairs], axis=1)
