"""Random numbers of the paths of a march: strata of w* that share their normals."""

from __future__ import annotations

import math

import numpy as np

from dmft.equations.steps import Draws
from dmft.problem import Problem
from dmft.solvers.normals import matched_normals, quadratic_normals

STRATA = 16  # laws of more components are sampled by quantiles in place of one stratum for each


def strata(problem: Problem) -> int:
    """Return the number of strata."""
    components = len(problem.signal.mixture[0])
    return components if components <= STRATA else 1


def random_draws(
    problem: Problem,
    steps: int,
    count: int,
    directions: np.ndarray,
    rng: int,
    systems: range,
) -> Draws:
    """Return draws of `count` paths a stratum for each of some systems.

    Parameters
    ----------
    problem : Problem
    steps, count : int
        K, and an even number of paths.
    directions : ndarray, shape (2 K + 1, r)
        Orthonormal; those in which paths vary most come first.
    rng : int
        Seed; system s of a number of paths has always the same draws.
    systems : range
    """
    probability, mean, std = problem.signal.mixture
    stratified = len(probability) <= STRATA
    normals, targets = [], []
    for s in systems:
        generator = np.random.default_rng([rng, count, s])
        z = matched_normals(count, 2 * steps + 1, directions, generator)
        normals.append(z)
        if stratified:
            targets.append((mean[:, None] + std[:, None] * z[:, -1]).reshape(-1))
        else:
            targets.append(_by_quantiles(problem, count, generator))
    if not stratified:
        probability = np.ones(1)
    return Draws(np.stack(normals), np.stack(targets), np.repeat(probability / count, count))


def _by_quantiles(problem: Problem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw w* (n,) of a law of many components: equal quantiles of it in random order."""
    probability, mean, std = problem.signal.mixture
    order = np.argsort(mean, kind="stable")
    edges = np.cumsum(probability[order])
    points = (rng.permutation(count) + rng.random()) / count
    chosen = order[np.minimum(np.searchsorted(edges, points), len(order) - 1)]
    return mean[chosen] + std[chosen] * rng.standard_normal(count)


def exact_draws(problem: Problem, steps: int) -> Draws:
    """Return draws that average quadratic functions of noise and w* exactly: one system."""
    z = quadratic_normals(2 * steps + 1)
    probability, mean, std = problem.signal.mixture
    if len(mean) > STRATA:  # only two moments of w* matter
        law = problem.signal
        probability, mean = np.ones(1), np.array([law.mean])
        std = np.array([math.sqrt(max(law.second_moment - law.mean**2, 0.0))])
    w_star = (mean[:, None] + std[:, None] * z[:, -1]).reshape(1, -1)
    return Draws(z[None], w_star, np.repeat(probability / len(z), len(z)))


def with_target(directions: np.ndarray) -> np.ndarray:
    """Put w*, the last coordinate of z, first among directions (D - 1, r) of the others."""
    size, rank = directions.shape
    result = np.zeros((size + 1, rank + 1))
    result[-1, 0], result[:-1, 1:] = 1.0, directions
    return result
