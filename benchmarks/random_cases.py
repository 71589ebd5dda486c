"""Random problems, drawn by seed, and the times at which their solutions are looked at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dmft.networks import Deep, Diagonal, Network, Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian, SignalLaw


class Case(NamedTuple):
    """A problem and its horizon."""

    problem: Problem
    t_max: float


class Ranges(NamedTuple):
    """What problems are drawn from; pairs are the ends of log-uniform draws.

    `critical` is the share of problems at delta = 1 exactly, `other` that of other networks than
    the default one.
    """

    delta: tuple[float, float]
    alpha: tuple[float, float]
    t_max: tuple[float, float]
    atoms: int
    critical: float = 0.0
    other: float = 0.0


USUAL = Ranges(delta=(0.2, 4.0), alpha=(1e-4, 5.0), t_max=(1.0, 500.0), atoms=200)
WIDE = Ranges((0.1, 8.0), (1e-6, 10.0), (1.0, 3000.0), 500, critical=0.1, other=0.3)


def draw_cases(count: int, seed: int, ranges: Ranges = USUAL) -> Iterator[Case]:
    """Yield random problems; the first ones do not depend on how many there are."""
    for k in range(count):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(k,)))
        problem = Problem(
            delta=_log_uniform(rng, *ranges.delta),
            alpha=_log_uniform(rng, *ranges.alpha),
            lam=_log_uniform(rng, 0.01, 0.5) if rng.random() < 0.5 else 0.0,
            sigma2=rng.uniform(0.0, 0.5) if rng.random() < 0.75 else 0.0,
            signal=_draw_signal(rng, k, ranges.atoms),
        )
        case = Case(problem, float(f"{_log_uniform(rng, *ranges.t_max):.4g}"))
        if rng.random() < ranges.critical:
            case = Case(replace(case.problem, delta=1.0), case.t_max)
        yield _with_network(rng, case) if rng.random() < ranges.other else case


def _with_network(rng: np.random.Generator, case: Case) -> Case:
    """Return the case with another network and a start from which it learns within the horizon.

    Three layers and more of size alpha leave their start when H has grown by about 2/alpha; H
    grows by less than one in a unit of time.
    """
    kind = int(rng.integers(3))
    if kind == 0:
        scales = (_log_uniform(rng, 0.3, 3.0), _log_uniform(rng, 0.3, 3.0))
        return Case(replace(case.problem, network=Diagonal(*scales)), case.t_max)
    alpha = _log_uniform(rng, min(1.0, 6.0 / (1.0 + case.t_max)), 1.5)
    network: Network = Deep(3)
    if kind == 2:
        network = Product((1.0, *(_log_uniform(rng, 0.1, 0.9) for _ in range(2))))
    return Case(replace(case.problem, network=network, alpha=alpha), case.t_max)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw log-uniformly; four digits, so that what is printed is the whole number."""
    return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.4g}")


def _draw_signal(rng: np.random.Generator, k: int, atoms: int) -> SignalLaw:
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
    return Empirical(np.round(size * rng.laplace(size=int(rng.integers(5, atoms))), 3))


def times(t_max: float) -> np.ndarray:
    """Return times early and late, which no grid prefers."""
    return np.union1d(np.geomspace(1e-3, 1.0, 16), np.linspace(0.0, 1.0, 18)[1:]) * t_max


def describe(case: Case) -> str:
    """Return the problem in one line."""
    p = case.problem
    law, network = _short(p.signal.config()), _short(p.network.config())
    return (
        f"delta {p.delta:g}, alpha {p.alpha:g}, lam {p.lam:g}, sigma2 {p.sigma2:.3g}, "
        f"{law}, {network}, t {case.t_max:g}"
    )


def _short(config: dict[str, Any]) -> str:
    """Return the values of a configuration, its name first, the number of values of an array."""
    few = (v if np.ndim(v) == 0 or len(v) < 5 else f"{len(v)} values" for v in config.values())
    return " ".join(str(v) for v in few)


def regions(case: Case) -> Iterator[str]:
    """Yield the regions of the ranges that a case lies in."""
    p = case.problem
    yield "all"
    edges = ((1e-3, "alpha below 1e-3"), (0.1, "alpha 1e-3 to 0.1"), (math.inf, "alpha above 0.1"))
    yield next(name for edge, name in edges if p.alpha < edge)
    if abs(math.log(p.delta)) < 0.2:
        yield "delta within 20 % of 1"
    yield "horizon above 300" if case.t_max > 300 else "horizon up to 300"
    yield "noisy labels" if p.sigma2 > 0 else "no label noise"
    if len(p.signal.components()) > 50:
        yield "law of more than 50 atoms"
    if p.network != Diagonal():
        yield f"network {p.network.name}"
