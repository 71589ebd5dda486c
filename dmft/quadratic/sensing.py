"""Sensing matrices at finite dimension: Z -> Tr(X_k Z), and its adjoint r -> sum_k r_k X_k.

"gaussian"   X_k of the Gaussian orthogonal ensemble, variance 1/d off the diagonal, 2/d on it
"rank_one"   X_k = (x x^T - 1)/sqrt(d), x of independent N(0, 1) entries: a quadratic network
             that sees vectors. It has the same limit.

A Gaussian X_k has d(d + 1)/2 free numbers. Blocks of rows that would not fit in memory together
are drawn anew from their own seeds whenever they are needed.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

BLOCK = 2**18  # Numbers of one block, 2 MB: both of its products find it in a cache of that size.


class Sensing(ABC):
    """n sensing matrices of size d x d."""

    def __init__(self, dimension: int, samples: int) -> None:
        """Hold d and n."""
        self.dimension, self.samples = dimension, samples

    @abstractmethod
    def measure(self, Z: np.ndarray) -> np.ndarray:
        """Return Tr(X_k Z), shape (n,), for a symmetric Z (d, d)."""

    @abstractmethod
    def combine(self, r: np.ndarray) -> np.ndarray:
        """Return sum_k r_k X_k, shape (d, d)."""

    def residual_and_force(self, Z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return r = Tr(X Z) - y, shape (n,), and M = (d/n) sum_k r_k X_k, shape (d, d)."""
        r = self.measure(Z) - y
        return r, self.dimension / self.samples * self.combine(r)


class GaussianSensing(Sensing):
    """Matrices of the Gaussian orthogonal ensemble.

    Parameters
    ----------
    dimension, samples : int
        d and n.
    seed : SeedSequence
        Source of their entries.
    max_memory : float
        Bytes that may be held; rows beyond are drawn anew at each use.
    """

    def __init__(
        self, dimension: int, samples: int, seed: np.random.SeedSequence, max_memory: float
    ) -> None:
        """Draw the blocks that fit in memory."""
        super().__init__(dimension, samples)
        self._upper = np.triu_indices(dimension)
        free = len(self._upper[0])
        # X has independent N(0, 2/d) coordinates in an orthonormal basis of symmetric matrices.
        self._scale = np.where(self._upper[0] == self._upper[1], 1.0, math.sqrt(2.0))
        self._scale *= math.sqrt(2.0 / dimension)
        rows = max(1, BLOCK // free)
        edges = [*range(0, samples, rows), samples]
        self._shapes = [(b - a, free) for a, b in itertools.pairwise(edges)]
        self._seeds = seed.spawn(len(self._shapes))
        held = int(max_memory // (8 * rows * free))
        self._held = [self._draw(k) for k in range(min(held, len(self._shapes)))]

    @property
    def on_the_fly(self) -> bool:
        """Whether some rows are drawn anew at each use."""
        return len(self._held) < len(self._shapes)

    def measure(self, Z: np.ndarray) -> np.ndarray:
        """Return Tr(X_k Z), shape (n,)."""
        z = self._scale * Z[self._upper]
        return np.concatenate([block @ z for block in self._blocks()])

    def combine(self, r: np.ndarray) -> np.ndarray:
        """Return sum_k r_k X_k, shape (d, d)."""
        total, start = np.zeros(len(self._scale)), 0
        for block in self._blocks():
            total += r[start : start + len(block)] @ block
            start += len(block)
        return self._matrix(total)

    def residual_and_force(self, Z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return both from one pass over the blocks; see `Sensing`."""
        z = self._scale * Z[self._upper]
        total, parts, start = np.zeros(len(self._scale)), [], 0
        for block in self._blocks():
            parts.append(block @ z - y[start : start + len(block)])
            total += parts[-1] @ block
            start += len(block)
        return np.concatenate(parts), self.dimension / self.samples * self._matrix(total)

    def _matrix(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the sum of X's upper triangle and its mirror image."""
        half = np.zeros((self.dimension, self.dimension))
        half[self._upper] = 0.5 * self._scale * coordinates
        return half + half.T

    def _blocks(self) -> Iterator[np.ndarray]:
        yield from self._held
        for k in range(len(self._held), len(self._shapes)):
            yield self._draw(k)

    def _draw(self, k: int) -> np.ndarray:
        return np.random.default_rng(self._seeds[k]).standard_normal(self._shapes[k])


class RankOneSensing(Sensing):
    """Centred rank-one matrices (x x^T - 1)/sqrt(d); only the n vectors x are held."""

    def __init__(self, dimension: int, samples: int, seed: np.random.SeedSequence) -> None:
        """Draw the vectors."""
        super().__init__(dimension, samples)
        self._x = np.random.default_rng(seed).standard_normal((samples, dimension))

    def measure(self, Z: np.ndarray) -> np.ndarray:
        """Return Tr(X_k Z), shape (n,)."""
        forms = np.einsum("ki,ki->k", self._x @ Z, self._x)
        return (forms - np.trace(Z)) / math.sqrt(self.dimension)

    def combine(self, r: np.ndarray) -> np.ndarray:
        """Return sum_k r_k X_k, shape (d, d)."""
        squares = (self._x * r[:, None]).T @ self._x
        return (squares - np.sum(r) * np.eye(self.dimension)) / math.sqrt(self.dimension)
