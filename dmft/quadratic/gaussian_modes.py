"""The Gaussian matrix that samples add to the gradient, drawn as time goes on.

omega(t) is GOE-valued with covariance 2 C_Z(t, s) + Delta, so that N = R_f omega/sqrt(alpha) has
the covariance C_f/alpha. Rows of a Cholesky factor, added node by node, write omega(t_i) as a
combination of independent matrices; a new matrix is drawn only where the history leaves a rest.
The covariance is the Gram matrix of the sampled Z - Z*, hence positive, and nothing is inverted
but its own pivots.
"""

from __future__ import annotations

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


def orthogonal_goe(
    span: np.ndarray, shape: tuple[int, ...], size: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw symmetric matrices orthogonal to what is given, of square norm N (N + 1)/2.

    Chance overlaps of a random matrix with a given one are of order 1/N; they vanish in the limit.

    Parameters
    ----------
    span : ndarray, shape (*shape, k, N * N)
        Orthonormal rows.
    shape : tuple of int
    size : int
        N.

    Returns
    -------
    ndarray, shape (*shape, N, N)
    """
    g = rng.standard_normal((*shape, size, size))
    flat = (g + g.swapaxes(-1, -2)).reshape(*shape, 1, size * size)
    flat = without(flat, span)
    flat *= np.sqrt(size * (size + 1) / 2 / np.sum(flat**2, axis=-1, keepdims=True))
    return flat.reshape(*shape, size, size)


def without(rows: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Return rows (..., r, n) less their projection on the orthonormal `span` (..., k, n)."""
    for _ in range(2):  # the second time removes what rounding left
        rows = rows - (rows @ span.swapaxes(-1, -2)) @ span
    return rows


def extended(span: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the orthonormal `span` with further rows (..., r, n) in it, one after the other."""
    for k in range(rows.shape[-2]):
        row = without(rows[..., k : k + 1, :], span)
        norm = np.sqrt(np.sum(row**2, axis=-1, keepdims=True))
        span = np.concatenate([span, row / np.maximum(norm, 1e-30)], axis=-2)
    return span
