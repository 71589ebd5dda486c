"""The data side of the DMFT: memory kernel, residual correlation and response, noise covariance.

With A = E[D (I + K D)^(-1)] and S integration (weighted by the drift factor of the network),

    R_w = -A S,   R_r = (I - R_w/delta)^(-1),   K = S R_r,
    C_r = R_r (C_w + sigma2 1 1^T) R_r^T,   C_G = K (C_w + sigma2 1 1^T) K^T / delta,

as block-lower-triangular matrices acting on node values. The sample's equation is linear, so
all of this is exact (arXiv:2510.01930; arXiv:2112.07572).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmft.problem import Problem
from solvers.collocation import Grid


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
        cuts = np.cumsum([(size + 1) ** 2, size**2, size + 1, size + 1])
        C_w, A, mean_w, overlap, mean_D = np.split(vector, cuts)
        square = (size + 1, size + 1)
        return cls(C_w.reshape(square), A.reshape(size, size), mean_w, overlap, mean_D)


@dataclass(frozen=True, eq=False)
class Kernels:
    """Operators on the nodes that the averages determine.

    Parameters
    ----------
    K, R_r, R_w : ndarray, shape (N, N)
        Memory kernel, response of the residual (with its delta function) and of theta.
    C_G : ndarray, shape (N, N)
        Covariance of the integrated noise G.
    C_r : ndarray, shape (N + 1, N + 1)
        Residual correlation at t = 0 and the nodes.
    """

    K: np.ndarray
    R_r: np.ndarray
    R_w: np.ndarray
    C_G: np.ndarray
    C_r: np.ndarray


def build_kernels(problem: Problem, grid: Grid, averages: Averages) -> Kernels:
    """Return the kernels that belong to the averages."""
    S = grid.integration * problem.mirror.drift(problem.lam, grid.nodes)
    R_w = -averages.A @ S
    R_r = np.linalg.inv(np.eye(grid.size) - R_w / problem.delta)
    K = S @ R_r
    labelled = averages.C_w + problem.sigma2
    C_G = K @ labelled[1:, 1:] @ K.T / problem.delta
    reach = np.zeros((grid.size + 1, grid.size + 1))
    reach[0, 0] = 1.0  # at t = 0 nothing has responded yet
    reach[1:, 1:] = R_r
    C_r = reach @ labelled @ reach.T
    return Kernels(K, R_r, R_w, 0.5 * (C_G + C_G.T), 0.5 * (C_r + C_r.T))
