"""Point values k(t, s), s <= t, of the kernel of a causal integral operator on a grid.

A collocation matrix M stands for (M f)(t) = int_0^t k(t, s) f(s) ds. In panels before that of
t its entries are the moments of k against the Lagrange polynomials, M_ij = w_j k(t_i, s_j) to
the order of the Radau rule. In the panel of t_i the integral ends at t_i, inside the panel:
there a polynomial of degree at most i, with the known value at s = t_i, is fitted to the
moments of row i.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from solvers.collocation import Grid, integration_block, lagrange_matrix, radau_nodes


def kernel_values(
    grid: Grid, operator: np.ndarray, diagonal: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Return k(t_a, t_b) for t_b <= t_a and 0 above, shape (T, T).

    Parameters
    ----------
    grid : Grid
    operator : ndarray, shape (N, N)
        Collocation matrix of an integral operator with a smooth kernel (no delta function).
    diagonal : ndarray, shape (N + 1,)
        k(t+, t) at t = 0 and the nodes.
    t : ndarray, shape (T,)
        Ascending times in [0, t_max].
    """
    p = grid.stages
    kernel = np.zeros((t.size, t.size))
    panel = grid.locate(t)
    members = [np.flatnonzero(panel == q) for q in range(grid.panels)]
    steps = np.diff(grid.edges)
    nodes = radau_nodes(p)
    local = [(t[m] - grid.edges[q]) / steps[q] for q, m in enumerate(members)]
    at_nodes = [lagrange_matrix(nodes, x) for x in local]
    values = operator / grid.weights
    for q, rows in enumerate(members):
        if rows.size == 0:
            continue
        here = slice(q * p, (q + 1) * p)
        for r in range(q):
            columns = members[r]
            block = values[here, r * p : (r + 1) * p]
            kernel[np.ix_(rows, columns)] = at_nodes[q] @ block @ at_nodes[r].T
        block = operator[here, here] / steps[q]
        ends = diagonal[q * p : (q + 1) * p + 1]
        kernel[np.ix_(rows, rows)] = _triangle(block, ends, local[q], p)
    return kernel


def _triangle(block: np.ndarray, diagonal: np.ndarray, x: np.ndarray, p: int) -> np.ndarray:
    """Return k on one panel at local times x, shape (len(x), len(x)), zero above the diagonal.

    Row i's polynomial lives on [0, c_i]; between rows the interpolation in t runs at a fixed
    fraction s/t, along which k is smooth up to the corner.
    """
    coefficients = np.zeros((p + 1, p + 1))  # of shifted Legendre polynomials in s/t
    coefficients[0, 0] = diagonal[0]
    for i in range(p):
        constant, fit = _row_fit(p, i)
        fitted = fit @ (block[i] - diagonal[i + 1] * constant)
        coefficients[i + 1, 1 : fitted.size + 1] = fitted
        coefficients[i + 1, 0] = diagonal[i + 1] - fitted.sum()  # the value at s = t is known
    later = np.broadcast_to(x[:, None], (x.size, x.size))
    fraction = np.divide(x[None, :], later, out=np.ones_like(later), where=later > 0)
    legendre = np.polynomial.legendre.legvander(2 * np.minimum(fraction, 1.0) - 1, p)
    rows = np.concatenate([[0.0], radau_nodes(p)])
    between = lagrange_matrix(rows, x) @ coefficients
    return np.tril(np.einsum("ak,abk->ab", between, legendre))


@cache
def _row_fit(p: int, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the fit of row i's polynomial to its moments int_0^{c_i} k l_j ds.

    Returns
    -------
    constant : ndarray, shape (p,)
        Moments of k = 1.
    fit : ndarray, shape (degree, p)
        From the moments of k - k(c_i) to its coefficients of the Legendre polynomials
        P_1..P_degree of s/c_i, in least squares, with k(c_i) kept.
    """
    degree = min(i + 1, p - 1)
    end = radau_nodes(p)[i]
    points = end * radau_nodes(p + 1)
    weights = end * integration_block(p + 1)[-1]
    legendre = np.polynomial.legendre.legvander(2 * points / end - 1, degree)
    lagrange = lagrange_matrix(radau_nodes(p), points)
    moments = np.einsum("m,mj,mk->jk", weights, lagrange, legendre)
    return moments[:, 0], np.linalg.pinv(moments[:, 1:] - moments[:, :1])
