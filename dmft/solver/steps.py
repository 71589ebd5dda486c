"""Solve training in steps: more paths until independent sets of them agree.

    repeat:  march `SYSTEMS` independent systems of n paths a stratum     (`dmft.equations.steps`)
             error = spread of their mean, and a share of what it changed from the last n
             stop if that meets the tolerance, or if the work would exceed its bound

The averages of one system are biased by O(1/n), since kernels that are averages over its paths
enter nonlinearly; the change from the smaller n tells its size. The first, smallest
march also finds the directions of noise in which the paths vary most, along which the next ones put
their nodes. A linear network needs one march of a few paths, which is exact.

Where weights are polynomials of the noise, a mean over d -> infinity exists at each step but may
be owned by paths of tiny probability. That shows in marches that blow up or fall apart as they get
more paths, and is reported as unstable.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dmft import compilation
from dmft.dynamics.base import ON_STEP, Descent
from dmft.limits.stability import BeyondTheEdge, edge_at_start
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.solver.limits import Limits
from dmft.solver.step_rounds import FIRST_PATHS, SYSTEMS, Marches, Round
from dmft.solver.tolerance import CONTROLLED, Tolerance
from dmft.step_solution import StepSolution
from dmft.validation import require_in_range, require_times

CONFIDENCE = 0.975
MOST_POINTS = 200  # given unless asked for: two-time functions take the square of their number
GROWTH = 4  # largest factor between the numbers of paths of two rounds
# Paths a stratum that tell instability from chance, as their nodes go to four standard deviations,
# and the spread of the test error over its mean that betrays it: averages owned by rare paths
# spread by as much as their mean.
DECISIVE_PATHS = 128
UNSTABLE_SPREAD = 0.5
LINEAR_ERROR = 1e-10  # relative rounding errors of a linear network's march, 1e-13 at 40 steps

Progress = Callable[[str], None]


def solve_in_steps(
    problem: Problem,
    t_max: float,
    t_eval: Any,
    tolerance: Tolerance,
    rng: int,
    limits: Limits,
    progress: Progress | None,
) -> StepSolution:
    """Solve a problem whose dynamics is in steps or their noisy limit; see `dmft.solve`."""
    times = times_of(problem, t_max, t_eval)
    marches = Marches.of(problem, times, tolerance.rtol, limits.room)
    marches.require_possible()
    say = progress or (lambda text: None)
    _warn_of_edge(problem)
    with single_blas_thread(), np.errstate(all="ignore"):
        started = time.perf_counter()
        compile_time = compilation.load(compilation.STEPS, say)
        deadline = limits.deadline()
        marches, rounds = _rounds(marches, tolerance, rng, deadline, say)
        return _solution(marches, rounds, tolerance, rng, started, compile_time)


def times_of(problem: Problem, t_max: float, t_eval: Any) -> np.ndarray:
    """Return the times at which the solution is wanted, shape (T,).

    Raises
    ------
    ValueError
        If a time is out of range or not a multiple of the step.
    """
    descent = problem.dynamics
    t_max = require_in_range("t_max", t_max, low=0.0, low_open=True)
    if not isinstance(descent, Descent):
        grid = np.linspace(0.0, t_max, MOST_POINTS + 1)
        return grid if t_eval is None else require_times("t_eval", t_eval, t_max)
    last = math.floor(t_max / descent.step + ON_STEP)
    if t_eval is None:
        times = np.linspace(0.0, last * descent.step, min(last, MOST_POINTS) + 1)
        return descent.attainable(times)
    rounded = max(t_max, last * descent.step * (1 + ON_STEP))  # of multiples of the step
    return descent.step * descent.steps_of(require_times("t_eval", t_eval, rounded))


def _warn_of_edge(problem: Problem) -> None:
    edge = edge_at_start(problem)
    if edge is None or not isinstance(problem.dynamics, Descent):
        return
    if problem.dynamics.step > edge:
        warnings.warn(
            f"step = {problem.dynamics.step:g} is beyond the edge of stability at the start, "
            f"{edge:.4g}",
            BeyondTheEdge,
            stacklevel=4,
        )


def _rounds(
    marches: Marches, tolerance: Tolerance, rng: int, deadline: float, say: Progress
) -> tuple[Marches, list[Round]]:
    """Return the rounds up to the one that meets the tolerance, and the steps of the last one."""
    if marches.problem.mirror.linear:
        return _linear_rounds(marches, tolerance, rng, say)
    done: list[Round] = []
    count = FIRST_PATHS
    while True:
        started = time.monotonic()
        done.append(marches.round(count, done[-1] if done else None, rng))
        took = time.monotonic() - started
        values, errors = _values_and_errors(marches, done)
        worst = _worst(tolerance, values, errors)
        say(f"{count} paths a stratum, {marches.finest} steps: error {worst:.1e} of the tolerance")
        most = marches.most_paths()
        if (worst <= 1.0 and done[-1].finite) or _unstable(marches, done) or count >= most:
            return marches, done
        growth = 2 if len(done) == 1 else _growth(worst)
        # errors in time do not fall with more paths
        in_time = _worst(tolerance, values, done[-1].time_error) if marches.coarse else 0.0
        if len(done) > 1 and in_time > 0.4 * worst:
            if marches.finer().most_paths() < count:
                return marches, done
            marches, growth, done, took = marches.finer(), 1, [], 8 * took
        if time.monotonic() + growth * took > deadline:
            return marches, done
        count = min(count * growth, most)


def _growth(worst: float) -> int:
    """Return the factor, a power of two, by which the number of paths grows."""
    wanted = worst**1.5 if math.isfinite(worst) else GROWTH
    return 2 ** math.ceil(math.log2(min(max(wanted, 2.0), GROWTH)))


def _linear_rounds(
    marches: Marches, tolerance: Tolerance, rng: int, say: Progress
) -> tuple[Marches, list[Round]]:
    """Return the one exact round, of steps small enough."""
    while True:
        found = marches.round(FIRST_PATHS, None, rng)
        worst = _worst(tolerance, *_values_and_errors(marches, [found]))
        say(f"{marches.finest} steps: error {worst:.1e} of the tolerance")
        if worst <= 1.0 or not marches.coarse or not marches.finer().most_paths():
            return marches, [found]
        marches = marches.finer()


# --- errors ------------------------------------------------------------------------------------


def _values_and_errors(
    marches: Marches, rounds: list[Round], names: tuple[str, ...] = CONTROLLED
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return means over the systems of the last round and estimates of their errors."""
    last = rounds[-1]
    values = {name: last.mean(name) for name in names}
    linear = marches.problem.mirror.linear
    errors = {
        name: (_rounding(value) if linear else _sampling_error(rounds, name, value))
        + last.time_error.get(name, 0.0)
        for name, value in values.items()
    }
    return values, errors


def _sampling_error(rounds: list[Round], name: str, value: np.ndarray) -> np.ndarray:
    """Return the error of the mean and what is left of the change from the round before.

    That is the share 1/growth of it, for bias that all systems have: measured, the error of a round
    falls by more than the paths grow.
    """
    last = _error_of_mean(rounds[-1].values[name])
    if len(rounds) == 1:
        return last + np.inf
    before = rounds[-2]
    change = np.abs(value - before.mean(name))
    return np.hypot(last, change * (before.count / rounds[-1].count))


def _error_of_mean(values: np.ndarray) -> np.ndarray:
    """Return half the width of the interval that holds the mean of systems (S, ...)."""
    from scipy.special import stdtrit

    factor = float(stdtrit(SYSTEMS - 1, CONFIDENCE)) / math.sqrt(SYSTEMS)
    return factor * values.std(axis=0, ddof=1)


def _rounding(value: np.ndarray) -> np.ndarray:
    """Return what rounding errors may leave of a linear network's value, shape of `value`."""
    largest = np.abs(value)
    for axis in range(value.ndim):
        largest = np.maximum.accumulate(largest, axis=axis)
    return LINEAR_ERROR * largest


def _worst(
    tolerance: Tolerance, values: dict[str, np.ndarray], errors: dict[str, np.ndarray]
) -> float:
    """Return the largest error of test and train error over the permitted one."""
    observables = np.stack([values[name] for name in CONTROLLED])
    found = np.stack([errors[name] for name in CONTROLLED])
    return float(np.max(found / tolerance.allowed(observables)))


def _unstable(marches: Marches, rounds: list[Round]) -> bool:
    """Return whether the march has blown up, or falls apart, with enough paths."""
    problem, last = marches.problem, rounds[-1]
    if problem.mirror.linear:
        edge, step = edge_at_start(problem), marches.step
        return not last.finite or (edge is not None and step > edge)
    if last.count < min(DECISIVE_PATHS, marches.most_paths()):
        return False
    return not last.finite or last.spread > UNSTABLE_SPREAD


def _solution(
    marches: Marches,
    rounds: list[Round],
    tolerance: Tolerance,
    rng: int,
    started: float,
    compile_time: float,
) -> StepSolution:
    last = rounds[-1]
    values, errors = _values_and_errors(marches, rounds, tuple(last.values))
    worst = _worst(tolerance, values, errors)
    unstable = _unstable(marches, rounds)
    success = not unstable and worst <= 1.0
    systems = len(last.values["test_error"])
    return StepSolution(
        problem=marches.problem,
        t=marches.t,
        values=values,
        error=errors,
        grid=None,  # type: ignore[arg-type]
        averages=None,  # type: ignore[arg-type]
        rtol=tolerance.rtol,
        seed=rng,
        success=success,
        status=3 if unstable else 0 if success else 1,
        message=_message(marches, last, worst, tolerance.rtol, unstable),
        stats={
            "steps": marches.finest,
            "extrapolated": int(marches.coarse > 0),
            "paths": systems * last.count,
            "systems": systems,
            "rounds": len(rounds),
            "error_over_tolerance": worst,
            "wall_time": time.perf_counter() - started - compile_time,
            "compile_time": compile_time,
        },
        kernels=last.kernels,
    )


def _message(marches: Marches, last: Round, worst: float, rtol: float, unstable: bool) -> str:
    if unstable and marches.problem.mirror.linear:
        return "Unstable: the errors of a linear network grow without bound; take a smaller step."
    if unstable:
        return (
            f"Unstable: with {last.count} paths a stratum the march blows up or its averages are "
            "owned by a few of them, so that they have no meaning; take a smaller step or a "
            "larger batch."
        )
    reached = worst * rtol
    if not worst <= 1.0:
        return (
            f"The estimated error is {reached:.1e} relative, above rtol = {rtol:.1e}: raise rtol "
            "or atol, give more time or memory, or shorten t_max."
        )
    how = f", extrapolated from up to {marches.finest} steps" if marches.coarse else ""
    return (
        f"Solved with {last.count} paths a stratum{how}; the estimated relative error is "
        f"{reached:.1e}."
    )
