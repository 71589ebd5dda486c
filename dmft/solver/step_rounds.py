"""Marches of some number of paths: with the steps asked for, or extrapolated from larger ones.

Many small steps are not taken: with the same temperature and label noise in the limit, values at
steps h, h/2 and h/4 are extrapolated linearly in h to the step asked for (0 for `StochasticFlow`),

    v = v(h/4) + [v(h/4) - v(h/2)] (h/4 - step)/(h/4),

once from h/2 and h/4 and once from h and h/2; the difference of the two is the error in time. What
is left is of order h^2. Between the steps values are interpolated linearly, to the same order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from dmft.dynamics.base import ON_STEP, Descent
from dmft.equations.steps import (
    March,
    StepKernels,
    descent_of,
    kernels,
    march,
    observables,
    with_step,
)
from dmft.problem import Problem
from dmft.solver.limits import LOADED
from dmft.solver.step_draws import Modes, exact_draws, random_draws, strata
from dmft.solvers.normals import LEAST

# Sets of paths whose spread gives the error; Student's factor for 95 % is 3.2, for 8 it is 2.4, but
# the error of one set falls faster with its paths than that of a mean with the sets.
SYSTEMS = 4
FIRST_PATHS = LEAST
LARGEST_PATHS = 2048 * LEAST
# Products of one round. A path of K steps has K^3/6 in the sweeps of its response, at 0.1 to 0.2 ns
# each where that was measured, and about 40 K^2 elsewhere: about a minute at most.
LARGEST_WORK = 2e11
LINEAR_STEPS = 1500  # of a linear network, whose march then takes a minute
# Bytes that the systems marched at once may take: more gain nothing.
CHUNK = 2.5e8
# Numbers that one system keeps: for each step of a path its coefficients, values and vectors; for
# each pair of steps response, memory, noise, F and A F, and what the vectors hold of each stratum.
# `benchmarks/steps.py memory` prints estimate and peak.
EACH_PATH, EACH_PAIR, EACH_STRATUM = 16, 9, 4
# Steps from which larger ones are tried: fewer take less than a second at one per cent.
MANY_STEPS = 300
# The coarsest step over 2/(largest eigenvalue at the start), where gradient descent is unstable.
COARSEST = 0.35
LEAST_STEPS = 16
LEVELS = 3
MODES = 64  # largest number of directions along which signs are balanced
SMALLEST = 1e-12  # of the variance of a direction over the largest: below it is rounding


@dataclass(frozen=True)
class Round:
    """Values of each system, shape (S, ...), and what the next round needs.

    `time_error` is the part of the error that larger steps cause; empty where there are none.
    """

    count: int
    values: dict[str, np.ndarray]
    time_error: dict[str, np.ndarray]
    modes: tuple[Modes, ...]
    kernels: StepKernels

    def mean(self, name: str) -> np.ndarray:
        """Return the mean over the systems."""
        return self.values[name].mean(axis=0)

    @property
    def finite(self) -> bool:
        """Whether nothing has overflown."""
        return bool(np.all(np.isfinite(self.values["test_error"])))

    @property
    def spread(self) -> float:
        """Largest standard deviation of the test error over its mean."""
        test = self.values["test_error"]
        return float(np.max(test.std(axis=0) / np.maximum(test.mean(axis=0), 1e-300)))


class _Level(NamedTuple):
    """Steps of one size; each time is a mixture of the steps before and after it."""

    problem: Problem
    steps: np.ndarray
    before: np.ndarray
    after: np.ndarray
    share: np.ndarray
    unit: float


@dataclass(frozen=True)
class Marches:
    """How the times asked for are reached: one size of steps, or three and what they tend to.

    Parameters
    ----------
    problem : Problem
    t : ndarray, shape (T,)
        Times.
    step : float
        Step asked for, 0 for the limit.
    coarse : int
        Number of the largest steps until the last time, or 0 where steps are as asked for.
    rtol : float
        Relative error wanted.
    room : float
        Bytes that marches may take.
    """

    problem: Problem
    t: np.ndarray
    step: float
    coarse: int = 0
    rtol: float = 1e-2
    room: float = math.inf

    @classmethod
    def of(
        cls, problem: Problem, t: np.ndarray, rtol: float = 1e-2, room: float = math.inf
    ) -> Marches:
        """Choose the steps."""
        descent = problem.dynamics
        step = descent.step if isinstance(descent, Descent) else 0.0
        steps = float(t[-1]) / step if step else math.inf
        if descent.rates is None or steps < MANY_STEPS or t[-1] == 0:
            return cls(problem, t, step, 0, rtol, room)
        network, at = problem.mirror, np.zeros((1, 1))
        D = float(network.hessian_inverse(problem.alpha, problem.lam, at, np.zeros(1))[0, 0])
        edge = 2.0 / (D * (1 + problem.delta**-0.5) ** 2 + problem.lam)
        coarse = max(LEAST_STEPS, math.ceil(float(t[-1]) / (COARSEST * edge)))
        return cls(problem, t, step, coarse if 8 * coarse < steps else 0, rtol, room)

    def finer(self) -> Marches:
        """Return the same with steps of half the size."""
        return replace(self, coarse=2 * self.coarse)

    @property
    def finest(self) -> int:
        """Number of the smallest steps."""
        return 4 * self.coarse if self.coarse else round(float(self.t[-1]) / self.step)

    def most_paths(self) -> int:
        """Return the largest number of paths a stratum; 0 if all are too many."""
        steps = float(self.finest + 1)
        if self.problem.mirror.linear:
            return FIRST_PATHS if steps <= LINEAR_STEPS and self._bytes(1) <= self.room else 0
        each = SYSTEMS * strata(self.problem) * (steps**3 / 6 + 40 * steps**2)
        least, most = 2 * FIRST_PATHS, min(LARGEST_PATHS, LARGEST_WORK / each)
        if most < least or self._bytes(least) > self.room:
            return 0
        while 2 * least <= most and self._bytes(2 * least) <= self.room:
            least *= 2
        return least

    def require_possible(self) -> None:
        """Raise ValueError if there are too many steps."""
        if self.most_paths():
            return
        least = 1 if self.problem.mirror.linear else 2 * FIRST_PATHS
        if self._bytes(least) > self.room:
            raise ValueError(
                f"max_memory must be at least {self._bytes(least) + LOADED:.2g} bytes for "
                f"{self.finest} steps; got {self.room + LOADED:.2g}"
            )
        if self.problem.mirror.linear:
            most = LINEAR_STEPS
        else:
            most = int((6 * LARGEST_WORK / (SYSTEMS * strata(self.problem) * least)) ** (1 / 3))
        raise ValueError(
            f"t_max must be at most about {most} steps for this law of w*, which take some "
            f"minutes; got {self.finest} steps of {self.t[-1] / self.finest:g}"
        )

    def _bytes(self, count: int) -> float:
        """Return about the memory of one system of `count` paths a stratum."""
        return _bytes(self.problem, self.finest + 1, count)

    def round(self, count: int, last: Round | None, rng: int) -> Round:
        """March `count` paths a stratum of every system; of a linear network only one, exactly."""
        levels = self._levels()
        known = last.modes if last is not None else ()
        parts = [
            _march(level, count, known[i] if i < len(known) else None, rng, self.rtol, self.room)
            for i, level in enumerate(levels)
        ]
        fine = parts[-1]
        values, time_error = fine.values, {}
        if self.coarse:
            pairs = [
                {k: _extrapolated(a.values[k], b.values[k], h, self.step) for k in values}
                for a, b, h in zip(parts[:-1], parts[1:], self._sizes()[1:], strict=True)
            ]
            values = pairs[-1]
            time_error = {k: np.abs(np.mean(values[k] - pairs[0][k], axis=0)) for k in values}
        modes = tuple(m for part in parts for m in part.modes)
        return Round(fine.count, values, time_error, modes, fine.kernels)

    def _sizes(self) -> list[float]:
        """Return the sizes of the steps, the largest first."""
        if not self.coarse:
            return [self.step]
        return [float(self.t[-1]) / (self.coarse * 2**i) for i in range(LEVELS)]

    def _levels(self) -> list[_Level]:
        return [self._level(size) for size in self._sizes()]

    def _level(self, size: float) -> _Level:
        place = self.t / size
        nearest = np.rint(place)
        on_step = np.abs(place - nearest) <= ON_STEP * np.maximum(1.0, nearest)
        low = np.where(on_step, nearest, np.floor(place)).astype(int)
        high = np.where(on_step, low, low + 1)
        steps = np.union1d(low, high)
        before, after = np.searchsorted(steps, low), np.searchsorted(steps, high)
        share = np.where(on_step, 0.0, place - low)
        unit = (self.step or 1.0) / size
        return _Level(with_step(self.problem, size), steps, before, after, share, unit)


def _extrapolated(coarse: np.ndarray, fine: np.ndarray, size: float, step: float) -> np.ndarray:
    """Return the values at `step` from those at steps of twice `size` and of `size`."""
    return fine + (fine - coarse) * (size - step) / size


def _bytes(problem: Problem, steps: int, count: int) -> float:
    """Return about the memory of one system."""
    groups = strata(problem)
    pairs = EACH_PAIR + EACH_STRATUM * groups
    return 8.0 * steps * (EACH_PATH * groups * count + pairs * steps)


def _march(
    level: _Level, count: int, modes: Modes | None, rng: int, rtol: float, room: float
) -> Round:
    """Return the round of one size of steps."""
    problem, steps = level.problem, int(level.steps[-1]) + 1
    if problem.mirror.linear:
        return _values(level, march(problem, steps, exact_draws(problem, steps)), count)
    chunk = int(np.clip(min(CHUNK, room) / _bytes(problem, steps, count), 1, SYSTEMS))
    parts = []
    for first in range(0, SYSTEMS, chunk):
        systems = range(first, min(first + chunk, SYSTEMS))
        draws = random_draws(problem, steps, count, modes, rng, systems, rtol)
        parts.append(_values(level, march(problem, steps, draws), count))
    values = {k: np.concatenate([p.values[k] for p in parts]) for k in parts[0].values}
    return Round(count, values, {}, parts[0].modes, parts[0].kernels)


def _values(level: _Level, path: March, count: int) -> Round:
    """Return what a march gives at the times of its level."""
    raw = observables(path, level.steps)
    for name in ("R_w", "R_r"):
        raw[name] = raw[name] * level.unit
    raw = {name: _interpolated(level, value) for name, value in raw.items()}
    values = _named(level.problem, raw)
    return Round(count, values, {}, _modes(path), kernels(path))


def _interpolated(level: _Level, values: np.ndarray) -> np.ndarray:
    """Return values (S, T) or (S, T, T) at the level's times from those at its steps."""
    for axis in range(1, values.ndim):
        low, high = (np.take(values, i, axis=axis) for i in (level.before, level.after))
        share = level.share.reshape((-1,) + (1,) * (values.ndim - 1 - axis))
        values = low + share * (high - low)
    return values


def _named(problem: Problem, raw: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add the one-time functions of `Solution` to what a march gives."""
    C_w = np.diagonal(raw["C_w"], axis1=1, axis2=2)
    power = problem.signal.second_moment
    norm_w = np.maximum(C_w + 2 * raw["overlap"] - power, 0.0)
    size = np.sqrt(norm_w * power)
    return {
        "test_error": 0.5 * C_w,
        "train_error": 0.5 * np.diagonal(raw["C_r"], axis1=1, axis2=2),
        "mean_w": raw["mean_w"],
        "overlap": raw["overlap"],
        "norm_w": norm_w,
        "alignment": np.divide(raw["overlap"], size, out=np.zeros_like(size), where=size > 1e-12),
        **{name: raw[name] for name in ("C_w", "R_w", "C_r", "R_r")},
    }


def _modes(path: March) -> tuple[Modes, ...]:
    """Return the directions of z along which the integrated gradient varies most."""
    from scipy.linalg import eigh

    descent = descent_of(path.problem)
    drift = path.drive.mean(axis=0) / np.sqrt(path.problem.delta * descent.selection.share)
    drift[:, 0] = -path.spread * path.reach.mean(axis=0)
    drift = np.cumsum(drift, axis=0) * (descent.step / (1 - descent.momentum))
    if path.problem.mirror.linear or not np.all(np.isfinite(drift)):
        return ()
    size = len(drift)
    kept = [max(0, size - MODES), size - 1]
    gram = drift @ drift.T
    variances, modes = eigh(gram, subset_by_index=kept)
    modes = modes[:, variances > SMALLEST * variances[-1]][:, ::-1]
    directions = np.linalg.qr(drift.T @ modes)[0]
    along = drift @ directions
    rest = np.max(np.sum(drift**2, axis=1) - np.sum(along**2, axis=1))
    return (Modes(directions, np.abs(along).max(axis=0), math.sqrt(max(rest, 0.0))),)
