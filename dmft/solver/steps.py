"""Solve training in steps: more paths until independent sets of them agree.

    repeat:  march `SYSTEMS` independent systems of n paths a stratum     (`dmft.equations.steps`)
             error = spread of their mean + what it changed from the last, smaller n
             stop if that meets the tolerance, or if the work would exceed its bound

The averages of one system are biased by O(1/n), since kernels that are averages over its paths
enter nonlinearly; the change from the smaller n bounds that. The first, smallest march also finds
the directions of noise in which the paths vary most, along which the next ones put their nets.
A linear network needs one march: its averages are of quadratic functions, for which a small rule
is exact.

Where weights are polynomials of the noise, a mean over d -> infinity exists at each step but may
be owned by paths of tiny probability. That shows in marches that blow up or fall apart as they get
more paths, and is reported as unstable.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft import compilation
from dmft.dynamics.base import ON_STEP
from dmft.equations.steps import Draws, March, StepKernels, descent_of, kernels, march, observables
from dmft.limits.stability import BeyondTheEdge, edge_at_start
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.solver.tolerance import CONTROLLED, Tolerance
from dmft.step_solution import StepSolution
from dmft.validation import require_in_range, require_times

SYSTEMS = 8  # sets of paths whose spread gives the error: Student's factor is 2.4, for 4 it is 3.2
CONFIDENCE = 0.975
FIRST_PATHS = 32
LARGEST_PATHS = 8192
STRATA = 16  # laws of more components are sampled by quantiles in place of one stratum for each
GROWTH = 4  # largest factor between the numbers of paths of two rounds
# Paths enough to tell instability from chance: of 64 stable random problems none has a spread of
# half the mean with so many, and from unstable ones overflow or such spreads come with fewer.
DECISIVE_PATHS = 256
UNSTABLE_SPREAD = 0.5
LINEAR_ERROR = 1e-10  # relative rounding errors of a linear network's march, 1e-13 at 40 steps
# Multiplications of one round, some twenty to sixty seconds' worth.
LARGEST_WORK = 2e11
CHUNK = 2.5e8  # bytes that the coefficients of the systems marched at once may take

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Round:
    """Values of each system, the number of paths a stratum and the directions of their noise."""

    count: int
    values: dict[str, np.ndarray]
    directions: np.ndarray | None
    law: StepKernels

    def mean(self, name: str) -> np.ndarray:
        return self.values[name].mean(axis=0)

    @property
    def finite(self) -> bool:
        return bool(np.all(np.isfinite(self.values["test_error"])))

    @property
    def spread(self) -> float:
        """Largest standard deviation of the test error over its mean."""
        test = self.values["test_error"]
        return float(np.max(test.std(axis=0) / np.maximum(test.mean(axis=0), 1e-300)))


def solve_in_steps(
    problem: Problem,
    t_max: float,
    t_eval: Any,
    tolerance: Tolerance,
    rng: int,
    progress: Progress | None,
) -> StepSolution:
    """Solve a problem whose dynamics is in steps; see `dmft.solve`."""
    at = steps_at(problem, t_max, t_eval)
    say = progress or (lambda text: None)
    _warn_of_edge(problem)
    with single_blas_thread(), np.errstate(all="ignore"):
        started = time.perf_counter()
        compile_time = compilation.load(compilation.STEPS, say)
        rounds = _rounds(problem, at, tolerance, rng, say)
        return _solution(problem, at, rounds, tolerance, rng, started, compile_time)


def steps_at(problem: Problem, t_max: float, t_eval: Any) -> np.ndarray:
    """Return the numbers of steps at which the solution is wanted, shape (T,).

    Raises
    ------
    ValueError
        If a time is out of range or not a multiple of the step.
    """
    descent = descent_of(problem)
    t_max = require_in_range("t_max", t_max, low=0.0, low_open=True)
    last = math.floor(t_max / descent.step + ON_STEP)
    if t_eval is None:
        return np.arange(last + 1)
    rounded = max(t_max, last * descent.step * (1 + ON_STEP))  # of multiples of the step
    return descent.steps_of(require_times("t_eval", t_eval, rounded))


def _warn_of_edge(problem: Problem) -> None:
    edge, step = edge_at_start(problem), descent_of(problem).step
    if edge is not None and step > edge:
        warnings.warn(
            f"step = {step:g} is beyond the edge of stability at the start, {edge:.4g}",
            BeyondTheEdge,
            stacklevel=4,
        )


# --- rounds ------------------------------------------------------------------------------------


def _rounds(
    problem: Problem, at: np.ndarray, tolerance: Tolerance, rng: int, say: Progress
) -> list[_Round]:
    """Return the rounds up to the one that meets the tolerance, the last one last."""
    if problem.mirror.linear:
        return [_march_round(problem, at, _exact_draws(problem, at))]
    most = _most_paths(problem, at)
    done: list[_Round] = []
    count = FIRST_PATHS
    while True:
        directions = done[-1].directions if done else None
        if directions is None:
            directions = _with_target(np.eye(2 * int(at[-1]) + 2)[:, : 2 * FIRST_PATHS])
        done.append(_random_round(problem, at, count, directions, rng))
        worst = _worst(tolerance, *_values_and_errors(problem, done)) if len(done) > 1 else np.inf
        say(f"{count} paths a stratum: error {worst:.1e} of the tolerance")
        if (worst <= 1.0 and done[-1].finite) or _unstable(problem, done) or count >= most:
            return done
        wanted = GROWTH if not np.isfinite(worst) or len(done) == 1 else worst**1.5
        growth = 2 if len(done) == 1 else 2 ** math.ceil(math.log2(min(max(wanted, 2), GROWTH)))
        count = min(count * growth, most)


def _random_round(
    problem: Problem, at: np.ndarray, count: int, directions: np.ndarray, rng: int
) -> _Round:
    steps = int(at[-1]) + 1
    strata = len(_strata(problem, count)[0])
    coefficients = 8.0 * 16 * steps * strata * count
    chunk = int(np.clip(CHUNK / coefficients, 1, SYSTEMS))
    parts = []
    for first in range(0, SYSTEMS, chunk):
        systems = range(first, min(first + chunk, SYSTEMS))
        draws = _random_draws(problem, steps, count, directions, rng, systems)
        parts.append(_march_round(problem, at, draws))
    values = {k: np.concatenate([p.values[k] for p in parts]) for k in parts[0].values}
    return _Round(count, values, parts[0].directions, parts[0].law)


def _march_round(problem: Problem, at: np.ndarray, draws: Draws) -> _Round:
    path = march(problem, int(at[-1]) + 1, draws)
    values = _named(problem, observables(path, at))
    return _Round(draws.normals.shape[1], values, _directions(path), kernels(path))


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


def _directions(path: March) -> np.ndarray | None:
    """Return the directions of z along which the integrated gradient varies most, (D, r)."""
    drift = np.cumsum(path.drive.mean(axis=0), axis=0)
    if not np.all(np.isfinite(drift)):
        return None
    _, _, right = np.linalg.svd(drift, full_matrices=False)
    return _with_target(right.T)


def _with_target(directions: np.ndarray) -> np.ndarray:
    """Put w*, the last coordinate of z, first among directions (D - 1, r) of the others."""
    size, rank = directions.shape
    result = np.zeros((size + 1, rank + 1))
    result[-1, 0], result[:-1, 1:] = 1.0, directions
    return result


# --- paths -------------------------------------------------------------------------------------


def _strata(problem: Problem, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probability, mean and standard deviation of the strata of w*, each (A,)."""
    parts = np.array(problem.signal.components())
    if len(parts) <= STRATA:
        return parts[:, 0], parts[:, 1], parts[:, 2]
    return np.ones(1), np.zeros(1), np.zeros(1)


def _random_draws(
    problem: Problem,
    steps: int,
    count: int,
    directions: np.ndarray,
    rng: int,
    systems: range,
) -> Draws:
    from dmft.solvers.normals import matched_normals

    probability, mean, std = _strata(problem, count)
    many = len(problem.signal.components()) > STRATA
    normals, targets = [], []
    for s in systems:
        generator = np.random.default_rng([rng, count, s])
        z = matched_normals(count, 2 * steps + 1, directions, generator)
        normals.append(z)
        targets.append(
            _by_quantiles(problem, count, generator)
            if many
            else (mean[:, None] + std[:, None] * z[:, -1]).reshape(-1)
        )
    weights = np.repeat(probability / count, count)
    return Draws(np.stack(normals), np.stack(targets), weights)


def _by_quantiles(problem: Problem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw w* (n,) of a law of many components: equal quantiles of it in random order."""
    probability, mean, std = np.array(problem.signal.components()).T
    order = np.argsort(mean, kind="stable")
    edges = np.cumsum(probability[order])
    points = (rng.permutation(count) + rng.random()) / count
    chosen = order[np.minimum(np.searchsorted(edges, points), len(order) - 1)]
    return mean[chosen] + std[chosen] * rng.standard_normal(count)


def _exact_draws(problem: Problem, at: np.ndarray) -> Draws:
    """Return draws that average quadratic functions of the noise exactly: one system."""
    from dmft.solvers.normals import quadratic_normals

    z = quadratic_normals(2 * int(at[-1]) + 3)
    probability, mean, std = np.array(problem.signal.components()).T
    if len(mean) > STRATA:  # only two moments of w* matter
        law = problem.signal
        probability, mean = np.ones(1), np.array([law.mean])
        std = np.array([math.sqrt(max(law.second_moment - law.mean**2, 0.0))])
    w_star = (mean[:, None] + std[:, None] * z[:, -1]).reshape(1, -1)
    return Draws(z[None], w_star, np.repeat(probability / len(z), len(z)))


def _most_paths(problem: Problem, at: np.ndarray) -> int:
    """Return the largest number of paths a stratum, a power of two.

    Raises
    ------
    ValueError
        If even the smallest would be too much work.
    """
    steps = float(at[-1] + 1)
    strata = len(_strata(problem, FIRST_PATHS)[0])
    each = SYSTEMS * strata * (steps**3 / 6 + 40 * steps**2)
    fit = LARGEST_WORK / each
    if fit < 2 * FIRST_PATHS:
        longest = (6 * LARGEST_WORK / (SYSTEMS * strata * 2 * FIRST_PATHS)) ** (1 / 3)
        raise ValueError(
            f"t_max must be at most about {longest:.0f} steps for this law of w*; got "
            f"{int(steps) - 1} steps of {descent_of(problem).step:g}"
        )
    return min(LARGEST_PATHS, 2 ** math.floor(math.log2(fit)))


# --- errors ------------------------------------------------------------------------------------


def _values_and_errors(
    problem: Problem, rounds: list[_Round], names: tuple[str, ...] = ("test_error", "train_error")
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return means over the systems of the last round and estimates of their errors."""
    from scipy.special import stdtrit

    last = rounds[-1]
    values = {name: last.mean(name) for name in names}
    if problem.mirror.linear:
        return values, {name: _rounding(value) for name, value in values.items()}

    def bias_of(name: str, value: np.ndarray) -> np.ndarray:
        """Return the bias that is left, of order 1/n, from the round before."""
        if len(rounds) == 1:
            return np.full(value.shape, np.inf)
        growth = last.count / rounds[-2].count
        return np.abs(value - rounds[-2].mean(name)) / (growth - 1.0)

    factor = float(stdtrit(SYSTEMS - 1, CONFIDENCE)) / math.sqrt(SYSTEMS)
    errors = {}
    for name, value in values.items():
        spread = factor * last.values[name].std(axis=0, ddof=1)
        errors[name] = spread + bias_of(name, value)
    return values, errors


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


def _unstable(problem: Problem, rounds: list[_Round]) -> bool:
    """Return whether the march has blown up, or falls apart, with enough paths."""
    last = rounds[-1]
    if problem.mirror.linear:
        edge = edge_at_start(problem)
        return not last.finite or (edge is not None and descent_of(problem).step > edge)
    if last.count < DECISIVE_PATHS:
        return False
    return not last.finite or last.spread > UNSTABLE_SPREAD


def _solution(
    problem: Problem,
    at: np.ndarray,
    rounds: list[_Round],
    tolerance: Tolerance,
    rng: int,
    started: float,
    compile_time: float,
) -> StepSolution:
    last = rounds[-1]
    names = tuple(last.values)
    values, errors = _values_and_errors(problem, rounds, names)
    worst = _worst(tolerance, values, errors)
    unstable = _unstable(problem, rounds)
    success = not unstable and worst <= 1.0
    wall = time.perf_counter() - started
    return StepSolution(
        problem=problem,
        t=at * descent_of(problem).step,
        values=values,
        error=errors,
        grid=None,  # type: ignore[arg-type]
        averages=None,  # type: ignore[arg-type]
        rtol=tolerance.rtol,
        seed=rng,
        success=success,
        status=3 if unstable else 0 if success else 1,
        message=_message(problem, last, worst, tolerance.rtol, unstable),
        stats={
            "steps": int(at[-1]),
            "paths": int(last.values["test_error"].shape[0] * last.count),
            "systems": last.values["test_error"].shape[0],
            "rounds": len(rounds),
            "error_over_tolerance": worst,
            "wall_time": wall - compile_time,
            "compile_time": compile_time,
        },
        kernels=last.law,
    )


def _message(problem: Problem, last: _Round, worst: float, rtol: float, unstable: bool) -> str:
    if unstable and problem.mirror.linear:
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
            "or shorten t_max."
        )
    return (
        f"Solved with {last.count} paths a stratum; the estimated relative error is {reached:.1e}."
    )
