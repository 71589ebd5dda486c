"""The Gaussian matrix that samples add to the gradient, drawn as time goes on.

omega(t) is a Gaussian Hermitian matrix of covariance 2 C_Z(t, s) + Delta, so that N = R_f
omega/sqrt(alpha) has the covariance C_f/alpha. Rows of a Cholesky factor, added node by node, write
omega(t_i) as a combination of independent matrices; a new matrix is drawn only where the history
leaves a rest. The covariance is the Gram matrix of the sampled Z - Z*, hence positive, and nothing
is inverted but its own pivots.

Chance overlaps of random matrices, of order 1/N, vanish in the limit: `Span` takes them away.
"""

from __future__ import annotations

import math

import numpy as np

# Squared rest, over the variance, below which a node adds no matrix of its own: its noise, 1e-4 of
# the whole, is far below what samples fluctuate by. Without a bound rounding would be inverted.
LEAST_REST = 1e-8


class CausalFactor:
    """Rows L with L L^T = covariance, up to rests below `LEAST_REST`.

    Parameters
    ----------
    size : int
        Number of nodes, with the start.
    """

    def __init__(self, size: int) -> None:
        """Begin without rows."""
        self.rows = np.zeros((size, size))
        self._pivots: list[int] = []

    @property
    def rank(self) -> int:
        """Number of independent matrices."""
        return len(self._pivots)

    def restart(self, first: int) -> None:
        """Forget the rows from `first` on."""
        self._pivots = [pivot for pivot in self._pivots if pivot < first]

    def append(self, covariance: np.ndarray, node: int) -> None:
        """Add the row of a node, given its covariances (size,) with all nodes up to it."""
        pivots, rank = self._pivots, self.rank
        row = self.rows[node]
        row[:] = 0.0
        if rank:
            row[:rank] = np.linalg.solve(self.rows[pivots][:, :rank], covariance[pivots])
        rest = covariance[node] - row @ row
        if rest > LEAST_REST * covariance[node]:
            row[rank] = np.sqrt(rest)
            pivots.append(node)


class Span:
    """Orthonormal Hermitian matrices that grow in number, a set for each of several copies.

    Parameters
    ----------
    copies : tuple of int
    size : int
        N.
    room : int
        Most matrices; what is added beyond is ignored.
    dtype : type
        float or numpy.float32.
    """

    def __init__(self, copies: tuple[int, ...], size: int, room: int, dtype: type) -> None:
        """Begin with nothing."""
        self._copies, self._size, self._count = copies, size, 0
        self._rows: np.ndarray = np.zeros((*copies, room, 2 * size * size), dtype)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return random matrices orthogonal to the set, (*copies, N, N), of square norm N^2."""
        size, dtype = self._size, self._rows.dtype
        g = rng.standard_normal((*self._copies, size, 2 * size), dtype=dtype.type)
        g = g.view(np.result_type(dtype, 1j))
        rows = self._without(as_rows(g + g.conj().swapaxes(-1, -2))[..., None, :])
        rows *= size / np.sqrt(np.sum(rows**2, axis=-1, keepdims=True))
        return rows.view(g.dtype).reshape(g.shape)

    def add(self, *matrices: np.ndarray) -> None:
        """Take in matrices (*copies, N, N), one after the other."""
        rows = self._without(np.stack([as_rows(one) for one in matrices], axis=-2))
        for k in range(min(len(matrices), self._rows.shape[-2] - self._count)):
            row = rows[..., k, :]
            row /= np.maximum(np.sqrt(np.sum(row**2, axis=-1, keepdims=True)), 1e-30)
            later = rows[..., k + 1 :, :]
            later -= (later @ row[..., None]) * row[..., None, :]
            self._rows[..., self._count, :] = row
            self._count += 1

    def _without(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (*copies, r, 2 N N) less their projection on the set."""
        span = self._rows[..., : self._count, :]
        return rows - (rows @ span.swapaxes(-1, -2)) @ span


def as_rows(matrices: np.ndarray) -> np.ndarray:
    """Return complex matrices (..., N, N) as real vectors (..., 2 N N).

    For Hermitian matrices Tr(A B) is their scalar product.
    """
    real = np.ascontiguousarray(matrices).view(matrices.real.dtype)
    return real.reshape(*matrices.shape[:-2], math.prod(real.shape[-2:]))
