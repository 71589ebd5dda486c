"""Gauss quadrature of a discrete measure (Golub and Welsch, Math. Comp. 23, 221, 1969)."""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh_tridiagonal


def gauss_rule(points: np.ndarray, masses: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights, shape (count,), with the first 2 count - 1 moments of a measure.

    The Jacobi matrix comes from the Lanczos process on diag(points), with full
    reorthogonalisation.

    Parameters
    ----------
    points, masses : ndarray, shape (m,)
        Distinct atoms and their positive masses.
    count : int
        Number of nodes, at most m.
    """
    centre = np.average(points, weights=masses)
    spread = np.max(np.abs(points - centre))
    x = (points - centre) / spread
    basis = np.empty((count, points.size))
    diagonal = np.empty(count)
    off = np.empty(count - 1)
    basis[0] = np.sqrt(masses / masses.sum())
    for k in range(count):
        image = x * basis[k]
        diagonal[k] = image @ basis[k]
        for _ in range(2):
            image -= basis[: k + 1].T @ (basis[: k + 1] @ image)
        if k + 1 < count:
            off[k] = np.linalg.norm(image)
            basis[k + 1] = image / off[k]
    nodes, vectors = eigh_tridiagonal(diagonal, off)
    return centre + spread * nodes, masses.sum() * vectors[0] ** 2
