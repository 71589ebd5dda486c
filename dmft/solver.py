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

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dmft.effective_process import initial_state
from dmft.kernels import Averages
from dmft.panels import (
    MAX_PANELS,
    inaccurate_panels,
    initial_grid,
    transferred,
    unresolved_panels,
)
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.self_consistency import SelfConsistency, Tolerance
from dmft.solution import (
    ONE_TIME,
    TWO_TIME,
    Solution,
    evaluate,
    one_time_functions,
    two_time_functions,
)
from dmft.validation import require_in_range, require_integer, require_times
from solvers.collocation import Grid
from solvers.fixed_point import FixedPoint
from solvers.noise_rules import NoiseRule, QuadraticRule, SparseRule

Progress = Callable[[str], None]
OnGrid = tuple[Grid, np.ndarray]  # packed averages and their grid

FIRST_SPACING = 0.5
LAST_SPACING = 0.025
REST_TOLERANCE = 0.03  # of rtol: importance below which a mode combination is left out
MAX_ROUNDS = 12
ITERATION = 0.1  # allowed errors that unfinished sweeps may leave; they stop at 0.02 to 0.05
SAFETY = 3.0  # estimated error over the differences, since the checks are not exact either
MAX_FAILURES = 3  # unconverged iterations of the cheap map, each with a finer rule
ROUGH = 30.0  # change, in allowed errors, at which the modes' scales are known well enough
LAST_TOLERANCE = 1e-16
NOISE_SHARE = 0.2  # of the tolerance, for the noise average; panels.GRID_SHARE is for the grid


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
    with single_blas_thread():
        return _solve(problem, t_max, times, rtol, rng, grid, rule, max_sweeps, progress)


def _solve(
    problem: Problem,
    t_max: float,
    times: np.ndarray | None,
    rtol: float,
    rng: int,
    grid: Grid | None,
    rule: NoiseRule | None,
    max_sweeps: int,
    progress: Progress | None,
) -> Solution:
    """Solve with arguments that have been checked."""
    started = time.perf_counter()
    run = _Run(Tolerance(rtol), max_sweeps, progress or (lambda text: None))
    compile_time = _compile(run.progress)

    adapt = grid is None
    if rule is None and problem.mirror.linear:
        rule = QuadraticRule()
    system, cheap, x, grid_pair = _resolve_time(
        problem, grid or initial_grid(problem, t_max, rtol), adapt, rule, run
    )
    x, variants, rule, paths = _resolve_noise(system, rule, cheap, x, run)

    t = system.grid.nodes_with_start if times is None else times
    pairs = [((system.grid, x), (system.grid, variant)) for variant in variants]
    errors = _estimated_errors(problem, [*pairs, grid_pair], t, ITERATION * rtol)
    final = x
    if run.converged:
        for check, variant in zip(rule.checks(), variants, strict=True):
            final = final + check.share * (variant - x)
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
        "noise_rule": repr(rule),
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
    # idle threads of the compiled kernels must not spin: they take the processor from NumPy
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from solvers import volterra

    if not volterra.solve_paths.signatures:
        progress("loading the compiled kernels (the first run on a machine compiles them)")
        volterra.compile_kernels()
    return time.perf_counter() - started


def _resolve_time(
    problem: Problem, grid: Grid, adapt: bool, rule: NoiseRule | None, run: _Run
) -> tuple[SelfConsistency, NoiseRule, np.ndarray, tuple[OnGrid, OnGrid]]:
    """Settle the grid, and the leading mode's spacing where no rule is given, by a cheap rule.

    Returns the system on the grid, the cheap rule, its solution, and its solutions on the grid
    and on the grid with every panel cut in two.
    """
    cheap = _cheap_rule(rule, run.tolerance.rtol)
    system = SelfConsistency(problem, grid, run.tolerance)
    x = system.start()
    failures = 0
    for _ in range(MAX_ROUNDS):
        point = system.solve(system.process(cheap), x, 0.02, run.max_sweeps)
        x = point.x
        run.note(f"grid of {system.grid.panels} panels", point.history)
        failures += not point.success
        if failures == MAX_FAILURES or not np.all(np.isfinite(x)):
            break
        if (
            rule is None
            and isinstance(cheap, SparseRule)
            and cheap.spacing > LAST_SPACING
            and not _leading_mode_resolved(system, cheap, x, point, run)
        ):
            cheap = replace(cheap, spacing=0.5 * cheap.spacing)
            run.progress(f"leading mode resolved to {cheap.spacing:g}")
            continue
        averages = Averages.unpack(x, system.grid.size)
        marked = unresolved_panels(problem, system.grid, averages, run.tolerance)
        room = adapt and system.grid.panels + marked.sum() <= MAX_PANELS
        if room and marked.any():
            system, x = _regrid(system, system.grid.split(marked), x)
            continue
        halved, y = _regrid(system, system.grid.split(np.ones(system.grid.panels, bool)), x)
        check = halved.solve(halved.process(cheap), y, 0.02, run.max_sweeps)
        run.note(f"grid of {halved.grid.panels} panels", check.history)
        there = system.grid.nodes_with_start
        moved = halved.observables(check.x) @ halved.grid.interpolation(there).T
        marked = inaccurate_panels(system.grid, system.ratios(moved, system.observables(x)))
        if not (room and marked.any()):
            run.converged = point.success and check.success
            return system, cheap, x, ((system.grid, x), (halved.grid, check.x))
        system, x = _regrid(system, system.grid.split(marked), x)
    run.converged = False
    return system, cheap, x, ((system.grid, x), (system.grid, system.start()))


def _cheap_rule(rule: NoiseRule | None, rtol: float) -> NoiseRule:
    """Return the rule that settles the grid: the leading mode alone, or an exact rule itself."""
    if isinstance(rule, QuadraticRule):
        return rule
    spacing = rule.spacing if isinstance(rule, SparseRule) else FIRST_SPACING
    # nodes reach to where the Gaussian weight has fallen to 1e-4 rtol
    reach = float(np.sqrt(-2 * np.log(1e-4 * rtol)))
    return SparseRule(spacing, tolerance=np.inf, reach=reach, atoms=8)


def _leading_mode_resolved(
    system: SelfConsistency, rule: SparseRule, x: np.ndarray, point: FixedPoint, run: _Run
) -> bool:
    """Whether the cheap iteration converged and the shifted leading rule agrees with it."""
    if not point.success:
        return False
    other = system.process(replace(rule, offset=0.5))
    moved = system.shifted(system.process(rule), other, x, run.max_sweeps)
    return moved.success and system.distance(moved.x, x) <= NOISE_SHARE


def _regrid(
    system: SelfConsistency, grid: Grid, x: np.ndarray
) -> tuple[SelfConsistency, np.ndarray]:
    averages = transferred(Averages.unpack(x, system.grid.size), system.grid, grid)
    return SelfConsistency(system.problem, grid, system.tolerance), averages.pack()


def _resolve_noise(
    system: SelfConsistency, given: NoiseRule | None, cheap: NoiseRule, x: np.ndarray, run: _Run
) -> tuple[np.ndarray, list[np.ndarray], NoiseRule, int]:
    """Solve under the given rule, or one that is refined until its checks agree with it.

    Returns the solution, the solutions under each check, the rule and its number of paths.
    """
    rule = given
    if rule is None:
        assert isinstance(cheap, SparseRule)
        share = REST_TOLERANCE * run.tolerance.rtol
        rule = replace(cheap, tolerance=share, atoms=SparseRule.atoms)
    converged = run.converged
    if not converged:  # there is nothing to refine; the distance from the start is no accuracy
        return x, [system.start()], rule, 0
    for _ in range(MAX_ROUNDS):
        # a rule places its nodes by the modes' scales, which are known after a rough solve
        rough = system.solve(system.process(rule), x, ROUGH, run.max_sweeps)
        fine = system.process(rule)
        point = system.solve(fine, rough.x, 0.03, run.max_sweeps)
        x = point.x
        run.note(f"{fine.paths} paths", rough.history + point.history)
        checks = [system.process(check.rule) for check in rule.checks()]
        coarse = system.process(cheap)
        variants = [system.shifted(coarse, check, x, run.max_sweeps).x for check in checks]
        run.converged = converged and point.success and bool(np.all(np.isfinite(x)))
        run.failed_paths = fine.failed_paths + sum(check.failed_paths for check in checks)
        moved = [system.distance(y, x) for y in variants]
        run.progress("checks differ by " + ", ".join(f"{m:.1e}" for m in moved))
        if given is not None or sum(moved) <= NOISE_SHARE or not isinstance(rule, SparseRule):
            break
        finer = _refined(rule, moved)
        if finer is None:
            break
        x = variants[int(np.argmax(moved))] if np.isfinite(max(moved)) else x
        rule = finer
    return x, variants, rule, fine.paths


def _refined(rule: SparseRule, moved: list[float]) -> SparseRule | None:
    """Refine what the larger of the two differences blames; None at the end of the means."""
    shift, rest = moved
    if shift >= rest:
        return replace(rule, spacing=rule.spacing / 2) if rule.spacing > LAST_SPACING else None
    factor = min(max(NOISE_SHARE / (3 * rest), 1e-3), 0.2)
    smaller = replace(rule, tolerance=factor * rule.tolerance)
    return smaller if smaller.tolerance > LAST_TOLERANCE else None


def _estimated_errors(
    problem: Problem, pairs: list[tuple[OnGrid, OnGrid]], t: np.ndarray, floor: float
) -> dict[str, np.ndarray]:
    """Return the summed differences of the pairs for every value, on the times t.

    To them `floor` times the value is added, which the iteration may leave.

    A difference of two solutions vanishes where they cross, the error does not. One-time
    estimates are therefore taken relative to the value, raised to their largest in the panel,
    at the finer grid's nodes and at t, and kept from falling later.
    """
    grid, fine = pairs[-1][0][0], pairs[-1][1][0]
    everywhere = np.union1d(np.union1d(fine.nodes_with_start, grid.nodes), t)
    panel = grid.locate(everywhere)
    wanted = np.searchsorted(everywhere, t)
    errors: dict[str, np.ndarray] = {}
    for name in ONE_TIME:
        values = [[_profile(problem, side, everywhere, name) for side in pair] for pair in pairs]
        difference = SAFETY * sum(np.abs(one - other) for one, other in values)
        size = np.abs(values[0][0])
        scale = size + 1e-3 * size.max() + 1e-300
        largest = np.zeros(grid.panels)
        np.maximum.at(largest, panel, difference / scale)
        envelope = scale * (floor + np.maximum.accumulate(largest)[panel])
        errors[name] = envelope[wanted]
    for pair in pairs:
        first, second = (
            two_time_functions(problem, side[0], Averages.unpack(side[1], side[0].size), t)
            for side in pair
        )
        for name in TWO_TIME:
            before = errors.get(name, floor * np.abs(first[name]))
            errors[name] = before + SAFETY * np.abs(first[name] - second[name])
    return errors


def _profile(problem: Problem, side: OnGrid, t: np.ndarray, name: str) -> np.ndarray:
    grid, x = side
    return one_time_functions(problem, grid, Averages.unpack(x, grid.size), t)[name]


def _worst_error(
    problem: Problem,
    tolerance: Tolerance,
    values: dict[str, np.ndarray],
    errors: dict[str, np.ndarray],
) -> float:
    """Return the largest estimated error of test and train error over the allowed error."""
    start = initial_errors(problem)
    return max(
        float(np.max(errors[name] / tolerance.allowed(values[name], start[name]))) for name in start
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
