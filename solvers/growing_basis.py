"""Coordinates of vectors that come one after the other in an orthonormal basis of those so far.

They are the rows of a factor F with F F^T = Gram matrix of the vectors, by Gram and Schmidt: a
Cholesky factor of that matrix itself would multiply rounding errors by all its small pivots.
"""

from __future__ import annotations

import numpy as np

# A vector with less than this share of its length outside the basis adds none of its own. What is
# lost of the covariances of a linear network with momentum, whose exact values are known, is of
# relative size 1e-13 after 30 steps; with 1e-7 it was 3e-10.
NEW_DIRECTION = 1e-9
# Share of the length below which what is left is made orthogonal once more: products leave rounding
# errors in proportion to the whole length, here at most ten of them.
ONCE = 0.1


class GrowingBasis:
    """Bases of S sets of vectors, one vector of each set at a time.

    Parameters
    ----------
    systems : int
        Number S of sets.
    size : int
        Largest number of basis vectors.
    length : int
        Largest length of the vectors. Vectors may be shorter, as if zeros followed.

    Examples
    --------
    >>> basis = GrowingBasis(systems=1, size=3, length=2)
    >>> basis.add(np.array([[3.0, 4.0]]))
    (array([], shape=(1, 0), dtype=float64), array([5.]))
    >>> basis.add(np.array([[6.0, 8.0]]))
    (array([[10.]]), None)
    """

    def __init__(self, systems: int, size: int, length: int) -> None:
        """Hold no vector yet."""
        self._vectors = np.zeros((systems, min(size, length), length))
        self._count = 0

    def add(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the coordinates (S, r) of a vector (S, W), and that along a new basis vector (S,).

        The latter is None where the vector needs no new one.
        """
        width = vector.shape[1]
        basis = self._vectors[:, : self._count, :width]
        coordinates = np.zeros((len(vector), self._count))
        length = np.linalg.norm(vector, axis=1)
        rest = length
        for _ in range(2):
            part = (basis @ vector[..., None])[..., 0]
            vector = vector - (part[:, None, :] @ basis)[:, 0]
            coordinates += part
            rest = np.linalg.norm(vector, axis=1)
            if not self._count or np.all(rest > ONCE * length):
                break
        if self._count == self._vectors.shape[1] or not np.any(rest > NEW_DIRECTION * length):
            return coordinates, None
        self._vectors[:, self._count, :width] = vector / np.where(rest > 0, rest, 1.0)[:, None]
        self._count += 1
        return coordinates, rest
