"""Random problems, drawn by seed, and the times at which their solutions are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian, SignalLaw


class Case(NamedTuple):
    """A problem and its horizon."""

    problem: Problem
    t_max: float


def draw_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield random problems; the first ones do not depend on how many there are."""
    for k in range(count):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,)))
        problem = Problem(
            delta=_log_uniform(rng, 0.2, 4.0),
            alpha=_log_uniform(rng, 1e-4, 5.0),
            lam=_log_uniform(rng, 0.01, 0.5) if rng.random() < 0.5 else 0.0,
            sigma2=rng.uniform(0.0, 0.5) if rng.random() < 0.75 else 0.0,
            signal=_draw_signal(rng, k),
        )
        yield Case(problem, float(f"{_log_uniform(rng, 1.0, 500.0):.4g}"))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw log-uniformly; four digits, so that what is printed is the whole number."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.4g}")


def _draw_signal(rng: np.random.Generator, k: int) -> SignalLaw:
    """Draw a law of size about one; all kinds in turn."""
    size = _log_uniform(rng, 0.5, 2.0)
    density = _log_uniform(rng, 0.05, 1.0)
    if k % 5 == 0:
        return Bernoulli(density, size)
    if k % 5 == 1:
        return BernoulliGaussian(density, size, float(rng.choice([0.0, 1.0])))
    if k % 5 == 2:
        return Gaussian(size, float(rng.choice([0.0, 0.5])))
    if k % 5 == 3:
        return Discrete([-size, 0.0, 1.0], [density / 2, 1 - density, density / 2])
    return Empirical(np.round(size * rng.laplace(size=int(rng.integers(5, 200))), 3))


def times(t_max: float) -> np.ndarray:
    """Return times early and late, which no grid prefers."""
    return np.union1d(np.geomspace(1e-3, 1.0, 16), np.linspace(0.0, 1.0, 18)[1:]) * t_max


def describe(case: Case) -> str:
    """Return the problem in one line."""
    p = case.problem
    law = {k: v if np.ndim(v) == 0 else f"{len(v)} values" for k, v in p.signal.config().items()}
    name, *values = (str(v) for v in law.values())
    return (
        f"delta {p.delta:g}, alpha {p.alpha:g}, lam {p.lam:g}, sigma2 {p.sigma2:.3g}, "
        f"{name} {' '.join(values)}, t {case.t_max:g}"
    )
