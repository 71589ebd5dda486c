"""What is known at t = 0: the state and the first rate."""

from __future__ import annotations

import numpy as np

from dmft.problem import Problem


def initial_time(problem: Problem) -> float:
    """Return the time that the fastest rate at t = 0 asks for.

    That rate is D(0) times the upper Marchenko-Pastur edge, plus the growth rate of weights that
    start small, which is of the order of the size that they reach.
    """
    edge = (1 + problem.delta**-0.5) ** 2
    _, D = initial_state(problem)
    return 1.0 / (edge * D + typical_size(problem))


def typical_size(problem: Problem) -> float:
    """Return sqrt(E w*^2 + sigma2), the size of weights and of the noise that moves them."""
    return float(np.sqrt(problem.signal.second_moment + problem.sigma2))


def initial_state(problem: Problem) -> tuple[float, float]:
    """Return w(0) and D(0)."""
    zero = np.zeros(1)
    D = problem.mirror.hessian_inverse(problem.alpha, problem.lam, zero, zero)
    return problem.mirror.initial_weight(problem.alpha), float(D[0])
