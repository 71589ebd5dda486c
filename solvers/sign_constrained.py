"""Least squares under sign constraints, by a warm-started active-set method.

    w = argmin |A w - b|^2   subject to   w_i >= 0 where signs_i = +1,
                                          w_i <= 0 where signs_i = -1,
                                          w_i  = 0 where signs_i =  0.

The method is that of Lawson and Hanson (Solving Least Squares Problems, 1974, section 23.3): the
permitted coordinate of steepest descent joins the support, the weights move towards the least
squares solution on the support, and those that vanish on the way leave it. One column enters or
leaves at a time, so the QR factors of the support are updated, not recomputed, and a problem
that differs by a few signs from one already solved takes a few updates.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A gradient is rounding below GRADIENT_RTOL |a_i| |b|: rounding left at most 1.2e-16 |a_i| |b| in
# 36 random designs of up to 400 x 300, among them dependent, duplicate and shifted columns.
GRADIENT_RTOL = 1e-14
# Weights are kept to a smaller tolerance, so that the removal of one that is rounding cannot make
# its gradient large enough to bring it back.
WEIGHT_RTOL = 1e-15
SPAN_RTOL = 1e-12  # a column this near to the span of others (relative) depends on them
# A column that joins the support nearer to its span than this (relative) leaves weights and
# gradients with relative errors of about 1e-16/RESOLVED, which may decide the next step wrongly: of
# 12 nearly collinear designs against rational arithmetic none went wrong at 1e-8, one at 1e-10.
RESOLVED = 1e-9


class Support(NamedTuple):
    """Columns with a non-zero weight, in order of entry, and their factors A[:, columns] = Q R.

    Examples
    --------
    >>> solution = sign_constrained_least_squares(np.eye(2), np.array([1.0, -1.0]), np.ones(2))
    >>> solution.support.columns
    array([0])
    """

    columns: np.ndarray
    Q: np.ndarray
    R: np.ndarray


class SignConstrainedSolution(NamedTuple):
    """Weights (m,), descent -A^T (A w - b) (m,) with rounding set to 0, residual and support.

    `sine` is the least distance of a column from the span of those before it, over its length,
    among the columns that were to join the support.

    Examples
    --------
    >>> solution = sign_constrained_least_squares(np.eye(2), np.array([1.0, -1.0]), np.ones(2))
    >>> solution.residual, solution.descent
    (array([ 0., -1.]), array([ 0., -1.]))
    """

    weights: np.ndarray
    descent: np.ndarray
    residual: np.ndarray
    support: Support
    converged: bool
    sine: float

    @property
    def resolved(self) -> bool:
        """Whether the columns of the support are independent enough for double precision."""
        return self.sine > RESOLVED


def sign_constrained_least_squares(
    A: np.ndarray,
    b: np.ndarray,
    signs: np.ndarray,
    start: SignConstrainedSolution | None = None,
    max_pivots: int | None = None,
) -> SignConstrainedSolution:
    """Minimise |A w - b|^2 over weights of given signs.

    Parameters
    ----------
    A : ndarray, shape (n, m)
        Design; its rank may be smaller than n and m. The support has independent columns.
    b : ndarray, shape (n,)
        Right-hand side.
    signs : ndarray, shape (m,)
        +1, -1 or 0: the sign that each weight may take.
    start : SignConstrainedSolution, optional
        Solution for the same `A` and `b` and other signs.
    max_pivots : int, optional
        Largest number of columns that may enter; 10 (n + m) by default.

    Returns
    -------
    SignConstrainedSolution
        `residual` is b - A w. `descent` is A^T residual, exactly 0 on the support, and at most 0
        in the permitted direction of the other weights once `converged`.

    Examples
    --------
    >>> solution = sign_constrained_least_squares(np.eye(2), np.array([1.0, -1.0]), np.ones(2))
    >>> solution.weights, solution.converged
    (array([1., 0.]), True)
    """
    n, m = A.shape
    norms = np.sqrt(np.einsum("ij,ij->j", A, A))
    support, weights = _feasible_start(A, b, signs, norms, start)
    blocked = np.zeros(m, dtype=bool)
    least_sine = 1.0
    for pivots_left in range(10 * (n + m) if max_pivots is None else max_pivots, -1, -1):
        residual, descent = _descent(A, b, norms, support)
        descent[blocked] = 0.0
        gain = signs * descent
        entering = int(np.argmax(np.divide(gain, norms, out=np.zeros(m), where=norms > 0)))
        converged = gain[entering] <= 0
        if converged or not pivots_left:
            break
        larger, sine = _insert(support, A[:, entering], entering)
        least_sine = min(least_sine, sine)
        if larger is None or signs[entering] * (larger.Q[:, -1] @ residual) <= 0:
            blocked[entering] = True  # its gain was rounding: the column lies in the span
            continue
        support, weights = _move(b, signs, norms, larger, weights)
        blocked[:] = False
    return SignConstrainedSolution(weights, descent, residual, support, bool(converged), least_sine)


def least_norm_on_face(
    A: np.ndarray, solution: SignConstrainedSolution, signs: np.ndarray
) -> np.ndarray | None:
    """Return the solution of least Euclidean norm where the minimiser is not unique, else None.

    All minimisers share A w; they fill the polyhedron of weights that have the given signs, are
    zero wherever the gradient is not, and have this A w. Its point of least norm is a problem of
    least distance (Lawson and Hanson, section 23.4) in the null space of the columns concerned.

    Parameters
    ----------
    A : ndarray, shape (n, m)
        The design.
    solution : SignConstrainedSolution
        A minimiser for `A` and `signs`.
    signs : ndarray, shape (m,)
        The signs that were permitted.

    Returns
    -------
    ndarray, shape (m,), or None
        The minimiser of least norm; None where `solution` is the only minimiser.

    Examples
    --------
    >>> A, b = np.ones((1, 2)), np.array([1.0])
    >>> solution = sign_constrained_least_squares(A, b, np.ones(2))
    >>> least_norm_on_face(A, solution, np.ones(2)).round(12)
    array([0.5, 0.5])
    """
    from scipy.linalg import null_space
    from scipy.optimize import nnls

    face = np.flatnonzero((signs != 0) & (solution.descent == 0))
    if face.size == solution.support.columns.size:
        return None
    N = null_space(A[:, face] * signs[face], rcond=SPAN_RTOL)
    if N.shape[1] == 0:
        return None
    nearest = signs[face] * solution.weights[face]
    nearest = nearest - N @ (N.T @ nearest)
    if np.any(nearest < 0):
        target = np.zeros(N.shape[1] + 1)
        target[-1] = 1.0
        matrix = np.vstack([N.T, -nearest])
        defect = matrix @ nnls(matrix, target)[0] - target
        nearest = nearest - N @ (defect[:-1] / defect[-1])
    nearest[nearest <= SPAN_RTOL * nearest.max(initial=0.0)] = 0.0
    weights = np.zeros_like(solution.weights)
    weights[face] = signs[face] * nearest
    return weights


def _feasible_start(
    A: np.ndarray,
    b: np.ndarray,
    signs: np.ndarray,
    norms: np.ndarray,
    start: SignConstrainedSolution | None,
) -> tuple[Support, np.ndarray]:
    """Keep the part of `start` that has the permitted signs, and minimise on its support."""
    n, m = A.shape
    if start is None:
        return Support(np.empty(0, dtype=int), np.empty((n, 0)), np.empty((0, 0))), np.zeros(m)
    kept = start.weights * signs > 0
    weights = np.where(kept, start.weights, 0.0)
    support = _delete(start.support, ~kept[start.support.columns])
    if support is start.support:
        return support, weights
    return _move(b, signs, norms, support, weights)


def _descent(
    A: np.ndarray, b: np.ndarray, norms: np.ndarray, support: Support
) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual b - A w of the minimiser on the support and A^T of it without rounding.

    The residual is b projected on the complement of the support's columns, twice: its error is
    then that of |b|, where that of b - A w grows with the weights.
    """
    residual = b - support.Q @ (support.Q.T @ b)
    residual = residual - support.Q @ (support.Q.T @ residual)
    descent = A.T @ residual
    descent[np.abs(descent) <= GRADIENT_RTOL * np.linalg.norm(b) * norms] = 0.0
    descent[support.columns] = 0.0
    return residual, descent


def _move(
    b: np.ndarray,
    signs: np.ndarray,
    norms: np.ndarray,
    support: Support,
    weights: np.ndarray,
) -> tuple[Support, np.ndarray]:
    """Walk to the minimiser on the support; weights that vanish on the way leave it."""
    least = WEIGHT_RTOL * np.linalg.norm(b)
    while True:
        goal = _solve(b, support, weights.size)
        here, there = (signs * weights)[support.columns], (signs * goal)[support.columns]
        size = norms[support.columns]
        leaving = there * size <= least
        if not leaving.any():
            return support, goal
        steps = np.full(here.size, np.inf)
        steps[leaving] = here[leaving] / (here[leaving] - np.minimum(there[leaving], 0.0))
        step = steps.min()
        weights = weights + step * (goal - weights)
        gone = steps <= step * (1 + WEIGHT_RTOL)
        weights[support.columns[gone]] = 0.0
        support = _delete(support, gone)


def _solve(b: np.ndarray, support: Support, m: int) -> np.ndarray:
    """Least squares on the support, shape (m,)."""
    from scipy.linalg import solve_triangular

    columns, Q, R = support
    weights = np.zeros(m)
    weights[columns] = solve_triangular(R, Q.T @ b, check_finite=False)
    return weights


def _insert(support: Support, column: np.ndarray, index: int) -> tuple[Support | None, float]:
    """Append a column to the factors by Gram-Schmidt, done twice; None if it lies in the span.

    Also return its distance from the span over its length.
    """
    columns, Q, R = support
    k = columns.size
    along = Q.T @ column
    across = column - Q @ along
    again = Q.T @ across
    across = across - Q @ again
    length = np.linalg.norm(across)
    sine = float(length / np.linalg.norm(column))
    if k == column.size or sine <= SPAN_RTOL:
        return None, sine
    larger = np.zeros((k + 1, k + 1))
    larger[:k, :k] = R
    larger[:k, k] = along + again
    larger[k, k] = length
    joined = Support(np.append(columns, index), np.column_stack([Q, across / length]), larger)
    return joined, sine


def _delete(support: Support, gone: np.ndarray) -> Support:
    """Remove the columns marked in `gone`, shape (k,), from the factors."""
    from scipy.linalg import qr_delete

    if not gone.any():
        return support
    columns, Q, R = support
    for position in np.flatnonzero(gone)[::-1]:
        if columns.size > 1:
            Q, R = qr_delete(Q, R, position, which="col", check_finite=False)
        columns = np.delete(columns, position)
        Q, R = Q[:, : columns.size], R[: columns.size, : columns.size]
    return Support(columns, Q, R)
