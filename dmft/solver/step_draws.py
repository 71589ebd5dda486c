"""Random numbers of the paths of a march: strata of w* that share their normals."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dmft.equations.steps import Draws, descent_of
from dmft.problem import Problem
from dmft.solvers.lanes import LANES
from dmft.solvers.normals import node_normals

STRATA = 16  # laws of more components are sampled by quantiles in place of one stratum for each


# Signs in place of normals along a direction of standard deviation s change E exp(2 H) by 4/3 s^4
# of itself, H being the integrated gradient and w^2 at most about exp(2 H). The sum of this over
# the directions that have only signs is kept below this share of rtol. With signs alone one of the
# 40 random problems of `benchmarks/steps.py coverage`, of strong noise, was off by 3 %.
FOURTH = 0.05


class Modes(NamedTuple):
    """Directions of normals, and the standard deviations of the integrated gradient along them.

    Parameters
    ----------
    directions : ndarray, shape (D, r)
        Orthonormal; that in which paths vary most comes first.
    scales : ndarray, shape (r,)
    rest : float
        Root of the sum of squares of those that are left out.
    """

    directions: np.ndarray
    scales: np.ndarray
    rest: float

    def sized(self, rtol: float) -> int | None:
        """Return how many directions after the first need more than signs; None if all do."""
        left = np.cumsum(self.scales[:0:-1] ** 4)[::-1] + self.rest**4
        needed = int(np.sum(4 / 3 * left > FOURTH * rtol))
        return None if needed == len(left) else needed


def strata(problem: Problem) -> int:
    """Return the number of strata."""
    components = len(problem.signal.mixture[0])
    return components if components <= STRATA else 1


def random_draws(
    problem: Problem,
    steps: int,
    count: int,
    modes: Modes | None,
    rng: int,
    systems: range,
    rtol: float = 1e-2,
) -> Draws:
    """Return draws of `count` paths a stratum for each of some systems.

    Parameters
    ----------
    problem : Problem
    steps : int
        K.
    count : int
        As `dmft.solvers.normals.node_normals` has it.
    modes : Modes, optional
        Of the first normals.
    rng : int
        Seed; system s of a number of paths has always the same draws.
    systems : range
    rtol : float
        Relative error wanted.
    """
    probability, mean, std = problem.signal.mixture
    size, sampled = _normals(problem, steps), len(probability) > STRATA
    if sampled:
        probability, mean, std = np.ones(1), np.zeros(1), np.zeros(1)
    directions, sized = None, None
    if modes is not None:
        missing = max(0, size - len(modes.directions))
        directions = np.pad(modes.directions, ((0, missing), (0, 0)))[:size]
        sized = modes.sized(rtol)
    normals, weights, centre = [], [], []
    for s in systems:
        generator = np.random.default_rng([rng, count, s])
        z, own = node_normals(count, size, directions, generator, sized)
        normals.append(z.T)
        weights.append(own)
        targets = _by_quantiles(problem, count, generator) if sampled else mean[:, None]
        centre.append(np.broadcast_to(targets, (len(probability), count)))
    return Draws(
        np.ascontiguousarray(normals), np.array(weights), np.array(centre), std, probability
    )


def _normals(problem: Problem, steps: int) -> int:
    """Return how many normals K steps can need: of w*, of C_y and of the noise."""
    descent = descent_of(problem)
    noisy = descent.selection.variance > 0 or descent.label_noise > 0
    return 1 + steps * (2 if noisy else 1)


def _by_quantiles(problem: Problem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw w* (n,) of a law of many components: equal quantiles of it in random order."""
    probability, mean, std = problem.signal.mixture
    order = np.argsort(mean, kind="stable")
    edges = np.cumsum(probability[order])
    points = (rng.permutation(count) + rng.random()) / count
    chosen = order[np.minimum(np.searchsorted(edges, points), len(order) - 1)]
    return mean[chosen] + std[chosen] * rng.standard_normal(count)


def exact_draws(problem: Problem, steps: int) -> Draws:
    """Return draws of one system that serve a linear network, for which all are exact.

    Only two moments of w* matter, and they may be those of a Gaussian law.
    """
    law = problem.signal
    std = math.sqrt(max(law.second_moment - law.mean**2, 0.0))
    normals = np.zeros((1, _normals(problem, steps), LANES))
    return Draws(
        normals,
        np.full((1, LANES), 1.0 / LANES),
        np.full((1, 1, LANES), law.mean),
        np.array([std]),
        np.ones(1),
    )
