"""The data side of a problem: its integration matrix and its residual at given averages."""

from __future__ import annotations

from functools import lru_cache

from dmft.equations.averages import Averages
from dmft.equations.data_side import Integration, Residual, solve_residual
from dmft.equations.white_noise import with_white_noise
from dmft.networks.base import Network
from dmft.problem import Problem
from dmft.solvers.collocation import Grid


def build_residual(problem: Problem, grid: Grid, averages: Averages) -> Residual:
    """Return the residual that belongs to the averages on a grid.

    Examples
    --------
    >>> import numpy as np
    >>> grid = Grid(np.array([0.0, 1.0]), 3)
    >>> residual = build_residual(Problem(delta=0.5, sigma2=0.1), grid, Averages.zeros(3))
    >>> [round(float(x), 6) for x in residual.variance]  # w = w*: the label noise alone is left
    [0.1, 0.1, 0.1, 0.1]
    """
    integration = _integration(problem.mirror, problem.lam, grid)
    residual = solve_residual(
        averages.A, integration, averages.C_w, problem.sigma2, 1.0 / problem.delta, grid.stages
    )
    rates = problem.dynamics.rates
    if not problem.dynamics.noisy or rates is None:
        return residual
    return with_white_noise(residual, problem.mirror.drift(problem.lam, grid.nodes), *rates)


@lru_cache(maxsize=8)
def _integration(network: Network, lam: float, grid: Grid) -> Integration:
    """Return integration weighted by the drift factor of the network."""
    return Integration.of(grid.integration * network.drift(lam, grid.nodes))
