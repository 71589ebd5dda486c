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
from typing import NamedTuple

import numpy as np

from dmft.equations.averages import Averages
from dmft.networks.base import Network
from dmft.problem import Problem
from dmft.solvers.collocation import Grid


class Integration(NamedTuple):
    """Integration weighted by the drift factor; matrix and transpose with zeros around them.

    Parameters
    ----------
    matrix : ndarray, shape (N, N)
    padded, transposed : ndarray, shape (W, W)
    """

    matrix: np.ndarray
    padded: np.ndarray
    transposed: np.ndarray


@dataclass(frozen=True, eq=False)
class Residual:
    """The residual's side of the averages; what is derived is evaluated when first read.

    Parameters
    ----------
    A : ndarray, shape (N, N)
        E[D (I + K D)^(-1)] on the nodes.
    integration : Integration
    padded_response : ndarray, shape (W, W)
        Transpose of R_r with zeros around it.
    labels : ndarray, shape (N + 1, N + 1)
        C_w + sigma2 at t = 0 and the nodes.
    variance : ndarray, shape (N + 1,)
        Diagonal of C_r at t = 0 and the nodes.
    """

    A: np.ndarray
    integration: Integration
    padded_response: np.ndarray
    labels: np.ndarray
    variance: np.ndarray

    @cached_property
    def R_w(self) -> np.ndarray:
        """Response of theta, shape (N, N)."""
        return -self.A @ self.integration.matrix

    @cached_property
    def R_r(self) -> np.ndarray:
        """Response of the residual, with its delta function, shape (N, N)."""
        size = len(self.A)
        return np.ascontiguousarray(self.padded_response[:size, :size].T)

    @cached_property
    def C_r(self) -> np.ndarray:
        """Residual correlation at t = 0 and the nodes, shape (N + 1, N + 1)."""
        reach = np.zeros_like(self.labels)
        reach[0, 0] = 1.0  # at t = 0 nothing has responded yet
        reach[1:, 1:] = self.R_r
        C_r = reach @ self.labels @ reach.T
        return 0.5 * (C_r + C_r.T)


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
    from dmft.solvers.causal_operators import feedback  # numba is imported only when a solve starts

    integration = _integration(problem.mirror, problem.lam, grid)
    labels = averages.C_w + problem.sigma2
    response, variance = feedback(
        averages.A, integration.padded, 1.0 / problem.delta, labels, grid.stages
    )
    return Residual(averages.A, integration, response, labels, variance)


def build_kernels(problem: Problem, grid: Grid, residual: Residual) -> Kernels:
    """Return the kernels that belong to the residual."""
    from dmft.solvers.causal_operators import filtered

    S = residual.integration.transposed
    scale = 1.0 / problem.delta
    K, C_G = filtered(residual.padded_response, S, scale, residual.labels, grid.stages)
    return Kernels(K[: grid.size, : grid.size].T, C_G)


def variances_at(move: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the diagonal of a covariance (N + 1, N + 1) moved to other times, shape (T,).

    Interpolation in both arguments, by `move` (T, N + 1), is more accurate than that of the
    diagonal, above all where it is a small difference of large terms.
    """
    return np.einsum("ti,ti->t", move @ covariance, move)


@lru_cache(maxsize=8)
def _integration(network: Network, lam: float, grid: Grid) -> Integration:
    from dmft.solvers.causal_operators import padded

    S = grid.integration * network.drift(lam, grid.nodes)
    return Integration(S, padded(S), padded(S.T))
