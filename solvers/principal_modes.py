"""Low-rank square roots of covariance matrices that are smooth in both indices."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def _pivoted_cholesky(covariance, metric, tolerance, negligible, unit):
    """Return L (r, N) with L^T L close to the covariance times the metric on both sides."""
    N = len(covariance)
    rows = np.empty((N, N))
    left = np.empty(N)  # diagonal of what L does not account for yet
    enough = np.empty(N)
    largest = 0.0
    for i in range(N):
        left[i] = metric[i] * covariance[i, i] * metric[i]
        enough[i] = (negligible * metric[i]) ** 2 * (unit**2 + covariance[i, i])
        largest = max(largest, left[i])
    for r in range(N):
        pivot, matters = 0, False
        for i in range(N):
            if left[i] > left[pivot]:
                pivot = i
            matters = matters or left[i] > enough[i]
        if not (matters and left[pivot] > tolerance * largest):  # nan ends it too
            return rows[:r]
        row = rows[r]
        for i in range(N):
            row[i] = metric[pivot] * covariance[pivot, i] * metric[i]
        for k in range(r):
            known, factor = rows[k], rows[k, pivot]
            for i in range(N):
                row[i] -= factor * known[i]
        scale = 1.0 / np.sqrt(left[pivot])
        for i in range(N):
            row[i] *= scale
            left[i] -= row[i] * row[i]
    return rows


def square_root(
    covariance: np.ndarray,
    weights: np.ndarray,
    tolerance: float,
    negligible: float = 0.0,
    unit: float = 1.0,
) -> np.ndarray:
    """Return columns M (N, r) with M M^T ~ the covariance, its principal axes.

    They are orthogonal in the weighted inner product, in descending order. Cholesky decomposition
    with diagonal pivots, which ends where no variance is left above `tolerance` times the largest,
    and the principal axes of its few columns. It costs N r^2 operations.

    Parameters
    ----------
    covariance : ndarray, shape (N, N)
        Symmetric and positive semidefinite up to rounding. Where it is not finite, nor is M.
    weights : ndarray, shape (N,)
        Of the inner product; > 0.
    tolerance : float
        Weighted variance over the largest one that may be left out.
    negligible, unit : float
        A standard deviation is left out where it is everywhere below `negligible` times
        sqrt(unit^2 + variance).

    Examples
    --------
    >>> M = square_root(np.array([[2.0, 1.0], [1.0, 2.0]]), np.ones(2), 1e-12)
    >>> (M @ M.T).round(6)
    array([[2., 1.],
           [1., 2.]])
    """
    if not np.isfinite(np.trace(covariance)):
        return np.full((len(covariance), 1), np.nan)
    metric = np.sqrt(weights)
    rows = _pivoted_cholesky(np.ascontiguousarray(covariance), metric, tolerance, negligible, unit)
    values, axes = np.linalg.eigh(rows @ rows.T)
    kept = np.count_nonzero(values > tolerance * values[-1:])
    axes = axes[:, len(values) - kept :][:, ::-1]
    return (rows.T @ axes) / metric[:, None]


def compile_functions() -> None:
    """Compile the decomposition, or load it from numba's cache.

    Examples
    --------
    >>> compile_functions()
    """
    square_root(np.eye(1), np.ones(1), 0.0)
