"""Low-rank square roots of covariance matrices that are smooth in both indices."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def _pivoted_cholesky(matrix, tolerance):
    """Return L (N, r) with L L^T close to the matrix, see `square_root`."""
    N = len(matrix)
    rows = np.empty((N, N))
    left = np.empty(N)  # diagonal of what L does not account for yet
    largest = 0.0
    for i in range(N):
        left[i] = matrix[i, i]
        largest = max(largest, left[i])
    for r in range(N):
        pivot = 0
        for i in range(N):
            if left[i] > left[pivot]:
                pivot = i
        if not left[pivot] > tolerance * largest:  # nan ends it too
            return rows[:r]
        row = rows[r]
        for i in range(N):
            row[i] = matrix[pivot, i]
        for k in range(r):
            known, factor = rows[k], rows[k, pivot]
            for i in range(N):
                row[i] -= factor * known[i]
        scale = 1.0 / np.sqrt(left[pivot])
        for i in range(N):
            row[i] *= scale
            left[i] -= row[i] * row[i]
    return rows


def square_root(covariance: np.ndarray, tolerance: float) -> np.ndarray:
    """Return orthogonal columns M (N, r), in descending order, with M M^T ~ the covariance.

    Cholesky decomposition with diagonal pivots, which ends where no variance is left above
    `tolerance` times the largest, and the principal axes of its few columns. It costs N r^2
    operations.

    Parameters
    ----------
    covariance : ndarray, shape (N, N)
        Symmetric and positive semidefinite up to rounding. Where it is not finite, nor is M.
    tolerance : float
    """
    if not np.isfinite(np.trace(covariance)):
        return np.full((len(covariance), 1), np.nan)
    rows = _pivoted_cholesky(np.ascontiguousarray(covariance), tolerance)
    values, axes = np.linalg.eigh(rows @ rows.T)
    kept = values > tolerance * values[-1:]
    return (rows.T @ axes[:, kept])[:, ::-1]
