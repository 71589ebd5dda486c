"""Solve the self-consistent DMFT to a stated accuracy.

    problem -> grid and noise rule -> paths -> kernels -> fixed point -> solution

1. Grid and leading noise mode. With the leading mode alone, a cheap map, panels are split
   until the solution is resolved in time, and the leading mode's spacing is halved until two
   shifted rules agree. The same map on the grid with every panel cut in two gives the
   discretisation error.
2. Noise. The full rule is solved by defect correction on the cheap map and refined until its
   independent checks agree with it within the tolerance. The checks' differences, propagated
   through the fixed point, are the error estimate of the noise average.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dmft.effective_process import initial_state
from dmft.kernels import Averages
from dmft.panels import MAX_PANELS, initial_grid, transferred, unresolved_panels
from dmft.problem import Problem
from dmft.self_consistency import SelfConsistency, Tolerance
from dmft.solution import Solution, evaluate
from dmft.validation import require_in_range, require_integer, require_times
from solvers.collocation import Grid
from solvers.fixed_point import FixedPoint
from solvers.noise_rules import NoiseRule, SparseRule

Progress = Callable[[str], None]

FIRST_SPACING = 0.5
LAST_SPACING = 0.025
REST_TOLERANCE = 0.03  # of rtol: importance below which a mode combination is left out
MAX_ROUNDS = 12
MAX_POINTS = 8000
NOISE_SHARE = 0.7  # of the tolerance, left for the noise average; the rest is for the grid
GRID_SHARE = 0.3


@dataclass
class _Run:
    """What a solve accumulates."""

    tolerance: Tolerance
    max_sweeps: int
    progress: Progress
    history: list[float] = field(default_factory=list)
    converged: bool = True
    failed_paths: int = 0

    def note(self, text: str, changes: tuple[float, ...]) -> None:
        self.history.extend(changes)
        self.progress(f"{text}: {len(changes)} sweeps, change {changes[-1]:.1e} of the tolerance")


def solve(
    problem: Problem,
    t_max: float,
    t_eval: Any = None,
    rtol: float = 1e-4,
    rng: int = 0,
    *,
    grid: Grid | None = None,
    rule: NoiseRule | None = None,
    max_sweeps: int = 200,
    progress: Progress | None = None,
) -> Solution:
    """Solve the DMFT of a diagonal network on [0, t_max].

    Parameters
    ----------
    problem : Problem
    t_max : float
        Horizon; > 0.
    t_eval : array_like, shape (T,), optional
        Increasing times in [0, t_max] at which the solution is given; the solver's nodes and 0
        where absent.
    rtol : float
        Relative accuracy of test and train error, in [1e-9, 0.1]; an error of 1e-3 rtol times
        the value at t = 0 is always allowed.
    rng : int
        Seed of `Solution.sample_paths` and of random rules; >= 0.
    grid : Grid, optional
        Time grid that ends at t_max, in place of the automatic one.
    rule : NoiseRule, optional
        Noise rule, in place of the automatic one.
    max_sweeps : int
        Bound on the sweeps of one fixed-point iteration; >= 1.
    progress : callable, optional
        Receives a line of text after each stage.

    Returns
    -------
    Solution
        `success` is False, with the reason in `message`, where the iteration did not converge
        or the estimated error exceeds the tolerance.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If `problem` is not a Problem.

    References
    ----------
    arXiv:2510.01930 (the equations); arXiv:2112.07572 (their justification).
    """
    times = _checked(problem, t_max, t_eval, rtol, rng, grid, max_sweeps)
    started = time.perf_counter()
    run = _Run(Tolerance(rtol), max_sweeps, progress or (lambda text: None))
    compile_time = _compile(run.progress)

    adapt = grid is None
    spacing = rule.spacing if isinstance(rule, SparseRule) else None
    system, spacing, x, grid_pair = _resolve_time(
        problem, grid or initial_grid(problem, t_max), adapt, spacing, run
    )
    automatic = rule is None
    if rule is None:
        rule = SparseRule(spacing, REST_TOLERANCE * rtol)
    x, variants, rule, paths = _resolve_noise(system, rule, spacing, automatic, x, run)

    t = system.grid.nodes_with_start if times is None else times
    values = evaluate(problem, system.grid, Averages.unpack(x, system.grid.size), t)
    errors = {name: np.zeros_like(value) for name, value in values.items()}
    for variant in variants:
        _add_difference(errors, problem, (system.grid, x), (system.grid, variant), t)
    _add_difference(errors, problem, *grid_pair, t)
    shares = [check.share for check in rule.checks()]
    final = x + sum(share * (y - x) for share, y in zip(shares, variants, strict=True))
    averages = Averages.unpack(final, system.grid.size)
    values = evaluate(problem, system.grid, averages, t)

    worst = _worst_error(problem, run.tolerance, values, errors)
    success, status, message = _verdict(run, worst)
    wall = time.perf_counter() - started
    stats = {
        "sweeps": len(run.history),
        "residual_history": np.array(run.history),
        "paths": paths,
        "nodes": system.grid.size,
        "panels": system.grid.panels,
        "spacing": spacing,
        "error_over_tolerance": worst,
        "failed_paths": run.failed_paths,
        "wall_time": wall - compile_time,
        "compile_time": compile_time,
    }
    return Solution(
        problem=problem,
        t=t,
        values=values,
        error=errors,
        grid=system.grid,
        averages=averages,
        rtol=rtol,
        seed=rng,
        success=success,
        status=status,
        message=message,
        stats=stats,
    )


def _checked(
    problem: Any, t_max: Any, t_eval: Any, rtol: Any, rng: Any, grid: Any, max_sweeps: Any
) -> np.ndarray | None:
    """Check every argument of `solve`; return t_eval as an array."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a dmft.Problem; got {problem!r}")
    require_in_range("t_max", t_max, low=0.0, low_open=True)
    require_in_range("rtol", rtol, low=1e-9, high=0.1)
    require_integer("rng", rng, low=0)
    require_integer("max_sweeps", max_sweeps, low=1)
    if grid is not None and grid.t_max != t_max:
        raise ValueError(f"grid must end at t_max = {t_max!r}; got an end at {grid.t_max!r}")
    return None if t_eval is None else require_times("t_eval", t_eval, t_max)


def _compile(progress: Progress) -> float:
    """Load or compile the kernels and return the seconds that took."""
    started = time.perf_counter()
    from solvers import volterra

    if not volterra.solve_paths.signatures:
        progress("loading the compiled kernels (the first run on a machine compiles them)")
        volterra.compile_kernels()
    return time.perf_counter() - started


def _resolve_time(
    problem: Problem, grid: Grid, adapt: bool, spacing: float | None, run: _Run
) -> tuple[SelfConsistency, float, np.ndarray, tuple[tuple[Grid, np.ndarray], ...]]:
    """Settle the grid and the leading mode's spacing with the leading mode alone.

    Returns the system on the grid, the spacing, the cheap map's solution, and its solutions on
    the grid and on the grid with every panel cut in two.
    """
    step = spacing or FIRST_SPACING
    system = SelfConsistency(problem, grid, run.tolerance)
    x = system.start()
    for _ in range(MAX_ROUNDS):
        cheap = system.process(leading_rule(step))
        point = system.solve(cheap, x, 0.02, run.max_sweeps)
        x = point.x
        run.note(f"grid of {system.grid.panels} panels, spacing {step:g}", point.history)
        if not np.all(np.isfinite(x)):
            break
        if spacing is None and step > LAST_SPACING and not _resolved(system, step, x, point, run):
            step /= 2
            continue
        averages = Averages.unpack(x, system.grid.size)
        marked = unresolved_panels(problem, system.grid, averages, run.tolerance)
        if adapt and marked.any() and system.grid.panels + marked.sum() <= MAX_PANELS:
            system, x = _regrid(system, system.grid.split(marked), x)
            continue
        halved, y = _regrid(system, system.grid.split(np.ones(system.grid.panels, bool)), x)
        check = halved.solve(halved.process(leading_rule(step)), y, 0.02, run.max_sweeps)
        run.note(f"grid of {halved.grid.panels} panels", check.history)
        pair = ((system.grid, x), (halved.grid, check.x))
        if not adapt or 2 * system.grid.panels > MAX_PANELS:
            break
        there = system.grid.nodes_with_start
        moved = halved.observables(check.x) @ halved.grid.interpolation(there).T
        if system.ratio(moved, system.observables(x)) <= GRID_SHARE:
            break
        system, x = halved, check.x
    run.converged = point.success
    return system, step, x, pair


def leading_rule(spacing: float) -> SparseRule:
    """Return the rule over the leading mode alone."""
    return SparseRule(spacing, tolerance=np.inf, atoms=8)


def _resolved(
    system: SelfConsistency, spacing: float, x: np.ndarray, point: FixedPoint, run: _Run
) -> bool:
    """Whether the cheap iteration converged and the shifted leading rule agrees with it."""
    if not point.success:
        return False
    rule = leading_rule(spacing)
    shifted = system.process(replace(rule, offset=0.5))
    moved, _ = system.corrected(system.process(rule), shifted, x, run.max_sweeps)
    return moved.success and system.distance(moved.x, x) <= NOISE_SHARE


def _regrid(
    system: SelfConsistency, grid: Grid, x: np.ndarray
) -> tuple[SelfConsistency, np.ndarray]:
    averages = transferred(Averages.unpack(x, system.grid.size), system.grid, grid)
    return SelfConsistency(system.problem, grid, system.tolerance), averages.pack()


def _resolve_noise(
    system: SelfConsistency,
    rule: NoiseRule,
    spacing: float,
    automatic: bool,
    x: np.ndarray,
    run: _Run,
) -> tuple[np.ndarray, list[np.ndarray], NoiseRule, int]:
    """Solve under the noise rule, refined until its checks agree where it may be refined.

    Returns the solution, the solutions under each check, the rule and its number of paths.
    """
    for _ in range(MAX_ROUNDS):
        cheap = system.process(leading_rule(spacing))
        fine = system.process(rule)
        point = system.solve_fine(cheap, fine, x, 0.05, run.max_sweeps)
        x = point.x
        run.note(f"{fine.paths} paths", point.history)
        checks = [system.process(check.rule) for check in rule.checks()]
        variants = [system.corrected(cheap, check, x, run.max_sweeps)[0].x for check in checks]
        run.converged = point.success and bool(np.all(np.isfinite(x)))
        run.failed_paths = fine.failed_paths + sum(check.failed_paths for check in checks)
        moved = [system.distance(y, x) for y in variants]
        run.progress("checks differ by " + ", ".join(f"{m:.1e}" for m in moved))
        if sum(moved) <= NOISE_SHARE or not automatic or not isinstance(rule, SparseRule):
            break
        finer = _refined(rule, moved)
        if finer is None:
            break
        x = variants[int(np.argmax(moved))] if np.isfinite(max(moved)) else x
        rule, spacing = finer, min(spacing, finer.spacing)
    return x, variants, rule, fine.paths


def _refined(rule: SparseRule, moved: list[float]) -> SparseRule | None:
    """Refine what the larger of the two differences blames; None at the end of the means."""
    shift, rest = moved
    if shift >= rest:
        return replace(rule, spacing=rule.spacing / 2) if rule.spacing > LAST_SPACING else None
    larger = replace(rule, tolerance=0.1 * rule.tolerance, max_points=2 * rule.max_points)
    return larger if rule.max_points < MAX_POINTS else None


def _add_difference(
    errors: dict[str, np.ndarray],
    problem: Problem,
    one: tuple[Grid, np.ndarray],
    other: tuple[Grid, np.ndarray],
    t: np.ndarray,
) -> None:
    """Add |one - other| of every value to its error."""
    first, second = (
        evaluate(problem, grid, Averages.unpack(x, grid.size), t) for grid, x in (one, other)
    )
    for name, error in errors.items():
        error += np.abs(first[name] - second[name])


def _worst_error(
    problem: Problem,
    tolerance: Tolerance,
    values: dict[str, np.ndarray],
    errors: dict[str, np.ndarray],
) -> float:
    """Return the largest estimated error of test and train error over the allowed error."""
    start = initial_errors(problem)
    return max(
        float(np.max(errors[name] / tolerance.allowed(values[name], start[name])))
        for name in start
    )


def initial_errors(problem: Problem) -> dict[str, float]:
    """Return test and train error at t = 0."""
    w, _ = initial_state(problem)
    law = problem.signal
    square = law.second_moment - 2 * w * law.mean + w**2
    return {"test_error": 0.5 * square, "train_error": 0.5 * (square + problem.sigma2)}


def _verdict(run: _Run, worst: float) -> tuple[bool, int, str]:
    """Return success, status and message."""
    if not run.converged or run.failed_paths or not np.isfinite(worst):
        return (
            False,
            2,
            f"The iteration did not converge ({len(run.history)} sweeps, "
            f"{run.failed_paths} unsolved paths): shorten t_max, raise max_sweeps, or give a "
            "grid with more panels.",
        )
    reached = worst * run.tolerance.rtol
    if worst > 1.0:
        return (
            False,
            1,
            f"The estimated error is {reached:.1e} relative, above rtol = "
            f"{run.tolerance.rtol:.1e}: raise rtol, shorten t_max or give a finer grid or rule.",
        )
    return True, 0, f"Converged; the estimated relative error is {reached:.1e}."
