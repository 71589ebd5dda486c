"""Solve stochastic gradient flow on a time grid: one resolution, a finer rule, a finer grid.

    repeat:  settle the fixed point    (grid, rule), (grid, finer rule), (finer grid, finer rule)
             the first two differ by the noise rule's error, the last two by the grid's
             stop if their sum meets the tolerance; else refine the larger one

Paths are as rough as Brownian motion. On panels of whatever order the averages therefore converge
with the square of the distance of the nodes, so that halving all panels leaves a third of what it
changed; and principal modes of the noise fall off like 1/k, all of which the rules take to first
order at least. The result is the last of the three, with the sum of both differences as its error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dmft import compilation
from dmft.equations.averages import Averages
from dmft.equations.effective_process import EffectiveProcess
from dmft.equations.noise_rules import NoiseRule, QuadraticRule, SparseRule
from dmft.equations.observables import TWO_TIME, one_time_functions, two_time_functions
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.solver.cheap_map import prolonged
from dmft.solver.errors import (
    ITERATION,
    SAFETY,
    Difference,
    OnGrid,
    errors_by_source,
    one_time_errors,
    two_time_errors,
    worst_error,
)
from dmft.solver.grids import initial_grid
from dmft.solver.iteration import SelfConsistency
from dmft.solver.limits import Limits
from dmft.solver.outcome import Outcome, where_absolute
from dmft.solver.tolerance import CONTROLLED, Tolerance
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import Exhausted, FixedPoint
from dmft.trajectory import Functions

# Nodes of a panel. More of them gain nothing, since the order in time is two whatever their number.
STAGES = 4
# The first rule: its error was 1.1e-3 to 1.6e-3 on two diagonal networks (alpha 1 and 0.5), so that
# solves at the default tolerance of 1e-2 end with it.
FIRST_SPACING, FIRST_IMPORTANCE = 0.5, 3e-3
# A finer rule has nodes that much closer, and a fifth of the importance of its smallest term.
CLOSER, LESS = 0.7, 0.2
# Modes whose share in the noise is smaller are left out even to first order: their effect is about
# the square of the share.
NEGLIGIBLE = 1e-3
# Halved panels leave a third of the change that they make; the factor below takes half of it.
LEFT_IN_TIME = 0.5
# The finest grid has at most so many nodes: a sweep over some hundred paths then takes seconds.
MOST_NODES = 400
# Share of the largest change of a panel from which a panel is halved: halving divides it by four.
COARSE = 0.25
# Nodes times paths grow at most by this factor from one comparison to the next: halved panels
# double the nodes, and finer rules had up to three times the paths.
MOST_GROWTH = 6.0

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class _Settled:
    """The fixed point under one rule on one grid."""

    grid: Grid
    rule: NoiseRule
    point: FixedPoint
    process: EffectiveProcess

    @property
    def on_grid(self) -> OnGrid:
        return self.grid, self.point.x


class _Compared(NamedTuple):
    """Fixed points of a resolution, of a finer rule, and of a finer grid with that rule."""

    rough: _Settled
    finer_rule: _Settled
    finer_grid: _Settled

    @property
    def noise(self) -> Difference:
        pair = self.finer_rule.on_grid, self.rough.on_grid
        return Difference(*pair, 1.0 / SAFETY, "tail")

    @property
    def time(self) -> Difference:
        pair = self.finer_grid.on_grid, self.finer_rule.on_grid
        return Difference(*pair, LEFT_IN_TIME / SAFETY, "time")


def solve_noisy_flow(
    problem: Problem,
    t_max: float,
    times: np.ndarray | None,
    tolerance: Tolerance,
    seed: int,
    limits: Limits,
    max_sweeps: int,
    progress: Progress | None,
) -> Solution:
    """Solve a problem whose dynamics is a stochastic flow; see `dmft.solve`."""
    say = progress or (lambda text: None)
    compile_time = compilation.load(progress=say)
    started = time.perf_counter()
    deadline = limits.deadline()
    found, expired = None, False
    with single_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            for found in _refinements(problem, t_max, tolerance, deadline, max_sweeps, limits):
                sources = errors_by_source([found.noise], found.time, problem, tolerance)
                told = ", ".join(f"{name} {error:.1e}" for name, error in sources.items())
                last = found.finer_grid
                say(f"{last.grid.size} nodes, {last.process.paths} paths: {told}")
        except Exhausted:
            expired = True
        if found is None:
            found = _nothing(problem, t_max, tolerance)
        stats = {"wall_time": time.perf_counter() - started, "compile_time": compile_time}
        return _solution(problem, times, tolerance, seed, found, expired, stats)


def _refinements(
    problem: Problem,
    t_max: float,
    tolerance: Tolerance,
    deadline: float,
    max_sweeps: int,
    limits: Limits,
) -> Iterator[_Compared]:
    """Yield finer and finer comparisons, until one meets the tolerance or cannot be refined."""

    def settled(grid: Grid, rule: NoiseRule, known: OnGrid | None) -> _Settled:
        system = SelfConsistency(problem, grid, tolerance, deadline)
        process = system.process(rule)
        x = system.start() if known is None else prolonged(*known, grid)
        point = system.solve(process, x, ITERATION, max_sweeps)
        return _Settled(grid, rule, point, process)

    grid = replace(initial_grid(problem, t_max, tolerance.rtol), stages=STAGES)
    rule = _first_rule(problem, tolerance)
    rough = settled(grid, rule, None)
    while True:
        fine = rough if rule == _finer(rule) else settled(grid, _finer(rule), rough.on_grid)
        halves = grid.split(np.ones(grid.panels, dtype=bool))
        found = _Compared(rough, fine, settled(halves, fine.rule, fine.on_grid))
        yield found
        errors = errors_by_source([found.noise], found.time, problem, tolerance)
        room = found.finer_grid.process.paths * halves.size < limits.values / MOST_GROWTH
        if sum(errors.values()) <= tolerance.rtol or not _sound(found) or not room:
            return
        if errors["time"] < errors["tail"]:
            rough, rule = fine, fine.rule
            continue
        grid = grid.split(_coarse_panels(problem, found, tolerance))
        if 2 * grid.size > MOST_NODES:
            return
        rough = settled(grid, rule, found.finer_grid.on_grid)


def _coarse_panels(problem: Problem, found: _Compared, tolerance: Tolerance) -> np.ndarray:
    """Return the panels to be halved, (P,): those with a large part of the largest error."""
    (fine, x), (grid, before) = found.finer_grid.on_grid, found.finer_rule.on_grid
    t = fine.nodes_with_start
    one, other = (
        one_time_functions(problem, side, Averages.unpack(values, side.size), t)
        for side, values in ((fine, x), (grid, before))
    )
    here, there = (np.array([side[name] for name in CONTROLLED]) for side in (one, other))
    ratio = (np.abs(here - there) / tolerance.allowed(here)).max(axis=0)
    within = np.zeros(grid.panels)
    np.maximum.at(within, grid.locate(t), ratio)
    return within >= COARSE * within.max()


def _first_rule(problem: Problem, tolerance: Tolerance) -> NoiseRule:
    """Return the rule to begin with, which is exact for linear networks."""
    if problem.mirror.linear:
        return QuadraticRule()
    reach = math.sqrt(-2 * math.log(1e-4 * tolerance.rtol))  # the weight there is 1e-4 rtol
    return SparseRule(FIRST_SPACING, FIRST_IMPORTANCE, reach=reach, negligible=NEGLIGIBLE)


def _finer(rule: NoiseRule) -> NoiseRule:
    """Return a rule whose error is several times smaller; an exact one itself."""
    if not isinstance(rule, SparseRule):
        return rule
    return replace(
        rule,
        spacing=CLOSER * rule.spacing,
        offset=0.5 - rule.offset,
        tolerance=LESS * rule.tolerance,
        atoms=2 * rule.atoms,
    )


def _sound(found: _Compared) -> bool:
    """Whether every fixed point was found, with all of its paths."""
    return all(s.point.success and not s.process.failed_paths for s in found)


def _nothing(problem: Problem, t_max: float, tolerance: Tolerance) -> _Compared:
    """Return the start in place of a solution, when time runs out before there is any."""
    grid = initial_grid(problem, t_max, tolerance.rtol)
    system = SelfConsistency(problem, grid, tolerance)
    x, rule = system.start(), QuadraticRule()
    point = FixedPoint(x, x, x, math.inf, False, ())
    start = _Settled(grid, rule, point, system.process(rule))
    return _Compared(start, start, start)


def _solution(
    problem: Problem,
    times: np.ndarray | None,
    tolerance: Tolerance,
    seed: int,
    found: _Compared,
    expired: bool,
    stats: dict[str, Any],
) -> Solution:
    final, rtol = found.finer_grid, tolerance.rtol
    grid, averages = final.grid, Averages.unpack(final.point.x, final.grid.size)
    t = grid.nodes_with_start if times is None else times
    values = one_time_functions(problem, grid, averages, t)
    floor, unknown = ITERATION * rtol, not final.process.paths
    errors = one_time_errors(problem, [found.noise], found.time, t, values, floor, tolerance)
    if unknown:
        errors = {name: np.full_like(value, np.inf) for name, value in errors.items()}
    everywhere = one_time_functions(problem, grid, averages)
    peaks = np.array([everywhere[name].max() for name in CONTROLLED])
    worst = worst_error(tolerance, values, errors, peaks)
    sources = errors_by_source([found.noise], found.time, problem, tolerance)
    sweeps = sum(len(s.point.history) for s in found)
    failed = sum(s.process.failed_paths for s in found)
    uncovered = max(s.process.uncovered for s in found)
    success, status, message = Outcome(
        rtol, worst, _sound(found), expired, sweeps, failed, uncovered, sources, given=False
    ).verdict()
    atol = tolerance.floor(peaks)
    two_time = partial(two_time_functions, problem, grid, averages, t)
    two_time_error = partial(two_time_errors, problem, [found.noise, found.time], t, floor)
    return Solution(
        problem=problem,
        t=t,
        values=Functions(values, TWO_TIME, two_time),
        error=Functions(errors, TWO_TIME, two_time_error),
        grid=grid,
        averages=averages,
        rtol=rtol,
        seed=seed,
        success=success,
        status=status,
        message=message + where_absolute(tolerance, values, t, atol),
        stats={
            "sweeps": sweeps,
            "residual_history": np.concatenate([s.point.history for s in found]),
            "paths": final.process.paths,
            "nodes": grid.size,
            "panels": grid.panels,
            "noise_rule": repr(final.rule),
            "error_over_tolerance": worst,
            **{f"atol_{name}": float(a) for name, a in zip(CONTROLLED, atol, strict=True)},
            **{f"error_from_{name}": error for name, error in sources.items()},
            "failed_paths": failed,
            "uncovered_mass": uncovered,
            **stats,
        },
    )
