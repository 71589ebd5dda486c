"""Averages over the effective process: the unknowns of the fixed point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the effective process; the unknowns of the fixed point.

    Parameters
    ----------
    C_w : ndarray, shape (N + 1, N + 1)
        E[theta(t) theta(s)] at t = 0 and the nodes.
    A : ndarray, shape (N, N)
        E[D (I + K D)^(-1)] on the nodes.
    mean_w, overlap, mean_D : ndarray, shape (N + 1,)
        E[w(t)], E[w(t) w*] and E[D(t)].

    Examples
    --------
    >>> averages = Averages.zeros(3)
    >>> averages.C_w.shape, averages.A.shape, averages.pack().size
    ((4, 4), (3, 3), 37)
    """

    C_w: np.ndarray
    A: np.ndarray
    mean_w: np.ndarray
    overlap: np.ndarray
    mean_D: np.ndarray

    def pack(self) -> np.ndarray:
        """Return everything as one vector."""
        parts = (self.C_w.ravel(), self.A.ravel(), self.mean_w, self.overlap, self.mean_D)
        return np.concatenate(parts)

    @classmethod
    def zeros(cls, size: int) -> Averages:
        """Return zeros on a grid of `size` nodes."""
        return cls.unpack(np.zeros((size + 1) ** 2 + size**2 + 3 * (size + 1)), size)

    @classmethod
    def unpack(cls, vector: np.ndarray, size: int) -> Averages:
        """Rebuild the averages on a grid of `size` nodes from `pack()`."""
        more, square = size + 1, size**2
        C_w, rest = vector[: more**2], vector[more**2 :]
        A, rest = rest[:square], rest[square:]
        vectors = (rest[k * more : (k + 1) * more] for k in range(3))
        return cls(C_w.reshape(more, more), A.reshape(size, size), *vectors)
