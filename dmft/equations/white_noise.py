"""White noise in the gradient: what small steps of SGD add to the data side.

Batches of a share b and fresh label noise add to the gradient of small steps a white noise of the
rate v(t) = temperature E r(t)^2 + label_rate, for each sample: V(t, s) = v(t) delta(t - s). It acts
where the label noise does,

    C_r = R_r (C_w + noise) R_r^T + (R_r - 1) V (R_r - 1)^T,
    C_G = scale S R_r (C_w + noise + V) R_r^T S^T,

where C_r leaves out the noise of the very time. With R_w = -A S and B = -scale R_r A both are
products of smooth operators, R_r - 1 = B S and S R_r = (1 + S B) S, with the covariance of the
integrated noise, S V S^T = Gamma(min(t, s)), which has a kink at t = s. On the nodes of a grid it
is sampled, so that errors fall with the square of the distance of the nodes.

E r^2 stands on both sides: the diagonal of B Gamma B^T is linear in Gamma, and Gamma in E r^2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from dmft.equations.data_side import Residual, moved


@dataclass(frozen=True, eq=False)
class NoisyResidual(Residual):
    """The residual under white noise, on a collocation grid.

    Parameters
    ----------
    reach : ndarray, shape (N, N)
        B: how the residual answers to the integrated noise.
    integrated : ndarray, shape (N,)
        Gamma: variance of the integrated noise.
    """

    reach: np.ndarray
    integrated: np.ndarray

    @property
    def decay(self) -> np.ndarray:
        """Integrated rate of the white noise in the gradient, shape (N,)."""
        return self.scale * self.integrated

    @property
    def brownian(self) -> np.ndarray:
        """Covariance Gamma(min(t, s)) of the integrated noise, shape (N, N)."""
        return _at_earlier(self.integrated)

    def white_covariance(self) -> np.ndarray:
        """Return what white noise adds to the covariance of G, (N, N)."""
        through = np.eye(len(self.reach)) + self.integration.matrix @ self.reach
        return self.scale * moved(through, self.brownian)

    @cached_property
    def C_r(self) -> np.ndarray:
        """Residual correlation at t = 0 and the nodes, shape (N + 1, N + 1)."""
        correlation = super().C_r.copy()
        correlation[1:, 1:] += moved(self.reach, self.brownian)
        return correlation


def with_white_noise(
    residual: Residual, drift: np.ndarray, temperature: float, label_rate: float
) -> NoisyResidual:
    """Return the residual with white noise of the rate temperature E r^2 + label_rate.

    Parameters
    ----------
    residual : Residual
        That of the same averages without the noise.
    drift : ndarray, shape (N,)
        Factor of the gradient in H, which the integration matrix contains.
    temperature, label_rate : float
        Both >= 0.

    Examples
    --------
    Where nothing responds, the noise does not reach the residual, but the coordinate:

    >>> from dmft.equations.data_side import Integration, solve_residual
    >>> from dmft.solvers.collocation import Grid
    >>> grid = Grid(np.array([0.0, 1.0]), 3)
    >>> S = Integration.of(grid.integration)
    >>> still = solve_residual(np.zeros((3, 3)), S, np.ones((4, 4)), 0.0, scale=2.0, stages=3)
    >>> noisy = with_white_noise(still, np.ones(3), temperature=0.1, label_rate=0.2)
    >>> bool(np.allclose(noisy.variance, 1.0)), bool(np.allclose(noisy.decay, 0.6 * grid.nodes))
    (True, True)
    """
    reach = -residual.scale * (residual.R_r @ residual.A)
    share = _share(reach)
    integrate = residual.integration.matrix * drift
    still = residual.variance[1:]
    system = np.eye(len(reach)) - temperature * (share @ integrate)
    square = np.linalg.solve(system, still + label_rate * (share @ integrate.sum(axis=1)))
    integrated = integrate @ (temperature * square + label_rate)
    kept = {f.name: getattr(residual, f.name) for f in fields(Residual)}
    kept["variance"] = np.concatenate([residual.variance[:1], square])
    return NoisyResidual(**kept, reach=reach, integrated=integrated)


def _share(reach: np.ndarray) -> np.ndarray:
    """Return the matrix (N, N) from Gamma at the nodes to the diagonal of B Gamma B^T."""
    later = np.cumsum(reach[:, ::-1], axis=1)[:, ::-1] - reach
    return reach * (reach + 2 * later)


def _at_earlier(values: np.ndarray) -> np.ndarray:
    """Return the matrix of the values at the earlier one of two nodes, (N, N)."""
    index = np.arange(len(values))
    return values[np.minimum(index[:, None], index[None, :])]
