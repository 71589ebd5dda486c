"""Coordinates of vectors that come one after the other in an orthonormal basis of those so far.

They are the rows of a factor F with F F^T = Gram matrix of the vectors, by Gram and Schmidt: a
Cholesky factor of that matrix itself would multiply rounding errors by all its small pivots.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import LANES, lane_sum, load, splat, store

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
        padded = -(-length // LANES) * LANES
        self._vectors = np.zeros((systems, min(size, length), padded))
        self._count = 0

    def add(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the coordinates (S, r) of a vector (S, W), and that along a new basis vector (S,).

        The latter is None where the vector needs no new one.
        """
        systems, width = vector.shape
        left = np.zeros((systems, -(-width // LANES) * LANES))
        left[:, :width] = vector
        coordinates = np.zeros((systems, self._count))
        length = np.linalg.norm(vector, axis=1)
        rest = length
        for _ in range(2):
            _remove(self._vectors, self._count, left, coordinates)
            rest = np.linalg.norm(left, axis=1)
            if not self._count or np.all(rest > ONCE * length):
                break
        if self._count == self._vectors.shape[1] or not np.any(rest > NEW_DIRECTION * length):
            return coordinates, None
        scale = np.where(rest > 0, rest, 1.0)[:, None]
        self._vectors[:, self._count, : left.shape[1]] = left / scale
        self._count += 1
        return coordinates, rest


@njit(cache=True, error_model="numpy")
def _remove(vectors, count, left, coordinates):  # pragma: no cover
    """Take the parts along the first `count` vectors (S, R, W) from `left` (S, w), one by one.

    They are added to `coordinates` (S, count).
    """
    systems, size, width = vectors.shape
    blocks, row = left.shape[1] // LANES, width // LANES
    for s in range(systems):
        for r in range(count):
            start, here = (s * size + r) * row, s * blocks
            even, odd = splat(0.0), splat(0.0)
            for i in range(0, blocks - 1, 2):
                even = even + load(vectors, start + i) * load(left, here + i)
                odd = odd + load(vectors, start + i + 1) * load(left, here + i + 1)
            if blocks % 2:
                last = blocks - 1
                even = even + load(vectors, start + last) * load(left, here + last)
            part = lane_sum(even + odd)
            coordinates[s, r] += part
            for i in range(blocks):
                store(left, here + i, load(left, here + i) - part * load(vectors, start + i))


def compile_functions() -> None:
    """Load or compile the projection.

    Examples
    --------
    >>> compile_functions()
    """
    basis = GrowingBasis(1, 2, LANES)
    basis.add(np.ones((1, LANES)))
    basis.add(np.arange(1.0, 1 + LANES)[None])
