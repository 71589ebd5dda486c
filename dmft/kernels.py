"""The data side of the DMFT: memory kernel, residual correlation and response, noise covariance.

With A = E[D (I + K D)^(-1)] and S integration (weighted by the drift factor of the network),

    R_w = -A S,   R_r = (I - R_w/delta)^(-1),   K = S R_r,
    C_r = R_r (C_w + sigma2 1 1^T) R_r^T,   C_G = K (C_w + sigma2 1 1^T) K^T / delta,

as block-lower-triangular matrices acting on node values. The sample's equation is linear, so
all of this is exact (arXiv:2510.01930; arXiv:2112.07572).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from dmft.networks import Network
from dmft.problem import Problem
from solvers.collocation import Grid, causal_inverse


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
    def unpack(cls, vector: np.ndarray, size: int) -> Averages:
        """Rebuild the averages on a grid of `size` nodes from `pack()`."""
        more, square = size + 1, size**2
        C_w, rest = vector[: more**2], vector[more**2 :]
        A, rest = rest[:square], rest[square:]
        vectors = (rest[k * more : (k + 1) * more] for k in range(3))
        return cls(C_w.reshape(more, more), A.reshape(size, size), *vectors)


@dataclass(frozen=True, eq=False)
class Residual:
    """The residual's side of the averages; correlations are evaluated when first read.

    Parameters
    ----------
    R_w, R_r : ndarray, shape (N, N)
        Response of theta, and of the residual (with its delta function).
    labels : ndarray, shape (N + 1, N + 1)
        C_w + sigma2 at t = 0 and the nodes.
    """

    R_w: np.ndarray
    R_r: np.ndarray
    labels: np.ndarray

    @cached_property
    def C_r(self) -> np.ndarray:
        """Residual correlation at t = 0 and the nodes, shape (N + 1, N + 1)."""
        C_r = self._reach @ self.labels @ self._reach.T
        return 0.5 * (C_r + C_r.T)

    @cached_property
    def variance(self) -> np.ndarray:
        """Diagonal of C_r, shape (N + 1,)."""
        return np.sum((self._reach @ self.labels) * self._reach, axis=1)

    @cached_property
    def _reach(self) -> np.ndarray:
        reach = np.zeros_like(self.labels)
        reach[0, 0] = 1.0  # at t = 0 nothing has responded yet
        reach[1:, 1:] = self.R_r
        return reach


@dataclass(frozen=True, eq=False)
class Kernels:
    """What drives the effective process.

    Parameters
    ----------
    K : ndarray, shape (N, N)
        Memory kernel.
    C_G : ndarray, shape (N, N)
        Covariance of the integrated noise G.
    """

    K: np.ndarray
    C_G: np.ndarray


def build_residual(problem: Problem, grid: Grid, averages: Averages) -> Residual:
    """Return the residual that belongs to the averages."""
    R_w = -averages.A @ _integration(problem.mirror, problem.lam, grid)
    try:
        R_r = causal_inverse(np.eye(grid.size) - R_w / problem.delta, grid.stages)
    except np.linalg.LinAlgError:  # averages of an iteration that diverges, which goes on to say so
        R_r = np.full_like(R_w, np.nan)
    return Residual(R_w, R_r, averages.C_w + problem.sigma2)


def build_kernels(problem: Problem, grid: Grid, residual: Residual) -> Kernels:
    """Return the kernels that belong to the residual."""
    K = _integration(problem.mirror, problem.lam, grid) @ residual.R_r
    C_G = K @ residual.labels[1:, 1:] @ K.T / problem.delta
    return Kernels(K, 0.5 * (C_G + C_G.T))


@lru_cache(maxsize=8)
def _integration(network: Network, lam: float, grid: Grid) -> np.ndarray:
    """Return integration weighted by the drift factor."""
    return grid.integration * network.drift(lam, grid.nodes)
