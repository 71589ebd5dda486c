"""Solve the self-consistent DMFT to a stated accuracy.

    problem -> grid and noise rule -> paths -> kernels -> fixed point -> solution

Every accurate map is solved by defect correction on a cheap one, F_c: the leading noise mode
resolved finely, and all the others to first order around it. Near its fixed point

    y = F_c(y) + [F(x) - F_c(x)]

brings x closer to the fixed point of F by a factor of 20 to 300 a step. The sweeps of F_c take
turns with those of a linear model that needs no paths (`dmft.equations.linear_response`).

1. Grid and leading noise mode (`dmft.solver.cheap_map`). With F_c the panels are split until the
   solution is resolved in time, and the leading mode's spacing is reduced until two shifted rules
   agree.
2. Noise (`dmft.solver.noise_correction`). F_c is corrected by sparse grids of growing size until
   the result stays.
3. Time. On a grid of higher order the same cheap map with the same correction is solved once more
   and gives the result.
4. Error (`dmft.solver.errors`). What the last sparse grid changed, the shifted leading rule and
   the two grids tell what is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dmft import compilation
from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.noise_rules import NoiseRule, QuadraticRule, SparseRule
from dmft.equations.observables import TWO_TIME, one_time_functions, two_time_functions
from dmft.models import for_every_model
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.solver.cheap_map import Level, Progress, Run, cheap_rule, prolonged, refine_grid
from dmft.solver.continuation import Known, at_other_times, check_continued, known_from
from dmft.solver.errors import (
    ITERATION,
    OnGrid,
    errors_by_source,
    one_time_errors,
    two_time_errors,
    worst_error,
)
from dmft.solver.grids import GRID_SHARE, initial_grid
from dmft.solver.iteration import SelfConsistency
from dmft.solver.limits import LEAST_TIME, MOST_TIME, Limits
from dmft.solver.noise_correction import final_solution, resolve_noise
from dmft.solver.outcome import Outcome, where_absolute
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import Exhausted, FixedPoint
from dmft.trajectory import Functions
from dmft.validation import (
    Rng,
    recorded_seed,
    require_in_range,
    require_integer,
    require_times,
    shown,
)

# A solve that ends above this times its tolerance, or does not converge, is done again with a
# tolerance so much larger, and the better of the two is returned: rules that grow from coarser ones
# may settle where finer ones have no room or do not.
LOOSER = 10.0


@for_every_model
def solve(
    problem: Problem,
    t_max: float,
    t_eval: Any = None,
    rtol: float | None = None,
    rng: Rng = 0,
    *,
    atol: float | Mapping[str, float] | None = None,
    grid: Grid | None = None,
    rule: NoiseRule | None = None,
    max_sweeps: int = 200,
    max_time: float | None = None,
    max_memory: float = 1e9,
    continue_from: Solution | None = None,
    progress: Progress | None = None,
) -> Solution:
    """Solve the DMFT of a diagonal network on [0, t_max].

    Parameters
    ----------
    problem : Problem
    t_max : float
        Horizon; from 1e-100 to 1e100.
    t_eval : array_like, shape (T,), optional
        Increasing times in [0, t_max] at which the solution is given; the solver's nodes and 0
        where absent. In steps they are multiples of the step, by default all or some 200 of them.
    rtol : float, optional
        Relative accuracy of test and train error, in [1e-10, 0.1]. 1e-4 where absent, and 1e-2
        for training in steps.
    rng : int, Generator, SeedSequence or None
        Source of randomness: of random rules, of the paths in steps and of
        `Solution.sample_paths`. An int gives the same result each time; None draws fresh entropy,
        which `Solution.seed` records.
    atol : float or dict, optional
        Absolute accuracy, >= 0, one for both or by name, as {"train_error": 1e-8}: the error
        allowed to a value v is rtol |v| + atol. It is 1e-3 rtol times the largest value on
        [0, t_max] where absent. With 0 accuracy is relative however small the value.
    grid : Grid, optional
        Time grid that ends at t_max, in place of the automatic one.
    rule : NoiseRule, optional
        Noise rule, in place of the automatic one.
    max_sweeps : int
        Bound on the sweeps of one fixed-point iteration; >= 1.
    max_time : float, optional
        Seconds, > 0, after which the best result so far is returned; compiling and loading code
        does not count. No limit where absent.
    max_memory : float
        Bytes of memory, >= 3e8, for the whole process; it bounds the size of noise rules.
    continue_from : Solution, optional
        One of the same problem, up to t_max at most, whose work is used again. Where only other
        times are asked for, nothing is left to solve. A tighter tolerance or a longer horizon
        starts from its averages, panels, spacing and atoms, which saves the sweeps that find
        these; the larger noise rule, which often costs more, is still to be averaged over.
    progress : callable, optional
        Receives a line of text after each stage.

    Returns
    -------
    Solution
        `success` is False, with the reason in `message`, where the iteration did not converge,
        the estimated error exceeds the tolerance, or time ran out. It is then the one of least
        estimated error of those that larger tolerances give too.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    TypeError
        If `problem` is not a Problem.

    References
    ----------
    arXiv:2510.01930 (the equations); arXiv:2112.07572 (their justification).

    Examples
    --------
    >>> import dmft
    >>> rough = dmft.solve(dmft.Problem(0.5), 5.0, rtol=1e-2)
    >>> fine = dmft.solve(rough.problem, 5.0, rtol=1e-5, continue_from=rough)
    >>> fine.success
    True
    """
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a dmft.Problem; got {problem!r}")
    if rtol is None:
        rtol = problem.dynamics.default_rtol
    seed = recorded_seed(rng)
    tolerance, limits = Tolerance.of(rtol, atol), Limits.of(max_time, max_memory)
    if problem.dynamics.in_steps or not problem.keeps_mirror:
        from dmft.solver.steps import solve_in_steps  # flows do without

        _require_unset(problem, grid=grid, rule=rule, continue_from=continue_from)
        return solve_in_steps(problem, t_max, t_eval, tolerance, seed, limits, progress)
    times = _checked(t_max, t_eval, grid, rule, max_sweeps)
    if problem.dynamics.noisy:
        from dmft.solver.noisy_flow import solve_noisy_flow  # other flows do without

        _require_unset(problem, grid=grid, rule=rule, continue_from=continue_from)
        return solve_noisy_flow(
            problem, t_max, times, tolerance, seed, limits, max_sweeps, progress
        )
    if continue_from is not None:
        check_continued(continue_from, problem, t_max)
        same = t_max == continue_from.grid.t_max and grid is None and rule is None
        there = continue_from.grid.nodes_with_start if times is None else times
        if same and (found := at_other_times(continue_from, there, tolerance)):
            return found
    # an iteration that diverges is reported by the solution
    with single_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        known = None if continue_from is None else known_from(continue_from, t_max, rtol)
        arguments = (seed, grid, rule, max_sweeps, limits, limits.deadline(), progress, known)
        found = first = _solve(problem, t_max, times, tolerance, tolerance, *arguments)
        for aim in _looser(tolerance) if grid is None and rule is None else ():
            if found.success or found.status == 3 or reached(found) <= aim.rtol:
                break
            other = _solve(problem, t_max, times, tolerance, aim, *arguments)
            found = min(found, _instead(first, other), key=reached)
        return found


def _looser(tolerance: Tolerance) -> Iterator[Tolerance]:
    """Yield larger tolerances, whose solutions are better than one that came to nothing."""
    rtol = LOOSER * tolerance.rtol
    while rtol <= 0.1:
        yield Tolerance(rtol, tolerance.atol)
        rtol *= LOOSER


def _instead(found: Solution, other: Solution) -> Solution:
    """Return a solution with what is to be said of the one whose place it takes."""
    return replace(other, message=f"{other.message} At rtol itself: {found.message}")


def reached(solution: Solution) -> float:
    """Return the estimated relative error, infinite where the iteration did not converge.

    Examples
    --------
    >>> import dmft
    >>> reached(dmft.solve(dmft.Problem(0.5), 5.0, rtol=1e-3)) <= 1e-3
    True
    """
    if solution.status == 2:
        return math.inf
    return float(solution.stats["error_over_tolerance"]) * solution.rtol


def _solve(
    problem: Problem,
    t_max: float,
    times: np.ndarray | None,
    tolerance: Tolerance,
    aim: Tolerance,
    seed: int,
    grid: Grid | None,
    rule: NoiseRule | None,
    max_sweeps: int,
    limits: Limits,
    deadline: float,
    progress: Progress | None,
    known: Known | None = None,
) -> Solution:
    """Solve with arguments that have been checked, to `aim`; judge the result by `tolerance`."""
    started = time.perf_counter()
    rtol = aim.rtol
    progress = progress or (lambda text: None)
    compile_time = compilation.load(progress=progress)
    run = Run(aim, max_sweeps, progress, deadline + compile_time, limits.values)

    adapt = grid is None
    if rule is not None:
        rule = rule.seeded(seed)
    elif problem.mirror.linear:
        rule = QuadraticRule()
    first = grid or initial_grid(problem, t_max, rtol)
    if adapt and known is not None:
        first = known.first_grid(first)
    try:
        coarse, fine, cheap = _resolve_time(problem, first, adapt, rule, known, run)
    except Exhausted:
        coarse, fine, cheap = _nothing(problem, first, rule, run)
    coarse, fine, noise = resolve_noise(coarse, fine, cheap, rule, adapt, run)
    here, grids = final_solution(coarse, fine, noise, run)
    processes = noise.processes
    failed_paths = sum(process.failed_paths for process in processes)
    uncovered = max(process.uncovered for process in processes)

    final, averages = here[0], Averages.unpack(here[1], here[0].size)
    t = final.nodes_with_start if times is None else times
    values = one_time_functions(problem, final, averages, t)
    floor = ITERATION * rtol
    differences = [*noise.differences, grids]
    if run.unknown:  # time ran out before there was anything to compare
        errors = {name: np.full_like(value, np.inf) for name, value in values.items()}
        sources = {}
    else:
        errors = one_time_errors(problem, noise.differences, grids, t, values, floor, tolerance)
        sources = errors_by_source(noise.differences, grids, problem, aim)
    peaks = 0.5 * np.array([averages.C_w.diagonal().max(), _residual_peak(problem, here)])
    worst = worst_error(tolerance, values, errors, peaks)
    outcome = Outcome(
        tolerance.rtol,
        worst,
        run.converged,
        run.expired,
        len(run.history),
        failed_paths,
        uncovered,
        sources,
    )
    success, status, message = outcome.verdict()
    atol_used = tolerance.floor(peaks)
    message += where_absolute(tolerance, values, t, atol_used)
    wall = time.perf_counter() - started
    stats = {
        "sweeps": len(run.history),
        "residual_history": np.array(run.history),
        "paths": noise.processes[-1].paths,
        "nodes": final.size,
        "panels": final.panels,
        "noise_rule": repr(noise.rule),
        **_resolution(noise.rule),
        "error_over_tolerance": worst,
        "atol_test_error": float(atol_used[0]),
        "atol_train_error": float(atol_used[1]),
        **{f"error_from_{name}": error for name, error in sources.items()},
        "failed_paths": failed_paths,
        "uncovered_mass": uncovered,
        "wall_time": wall - compile_time,
        "compile_time": compile_time,
    }
    return Solution(
        problem=problem,
        t=t,
        values=Functions(
            values, TWO_TIME, partial(two_time_functions, problem, final, averages, t)
        ),
        error=Functions(errors, TWO_TIME, partial(two_time_errors, problem, differences, t, floor)),
        grid=final,
        averages=averages,
        rtol=tolerance.rtol,
        seed=seed,
        success=success,
        status=status,
        message=message,
        stats=stats,
    )


def _resolution(rule: NoiseRule) -> dict[str, float]:
    """Return what a later solve may start from."""
    if not isinstance(rule, SparseRule):
        return {}
    return {
        "leading_spacing": rule.spacing,
        "atoms": rule.atoms,
        "importance": rule.tolerance,
    }


def _checked(t_max: Any, t_eval: Any, grid: Any, rule: Any, max_sweeps: Any) -> np.ndarray | None:
    """Check the arguments of a flow; return t_eval as an array."""
    require_in_range("t_max", t_max, low=LEAST_TIME, high=MOST_TIME)
    require_integer("max_sweeps", max_sweeps, low=1)
    if rule is not None and not hasattr(rule, "seeded"):
        raise TypeError(f"rule must be a noise rule such as SobolRule(); got {rule!r}")
    if grid is not None and grid.t_max != t_max:
        raise ValueError(f"grid must end at t_max = {shown(t_max)}; it ends at {shown(grid.t_max)}")
    return None if t_eval is None else require_times("t_eval", t_eval, t_max)


def _require_unset(problem: Problem, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name} must be absent for {problem.dynamics!r}; got {value!r}")


def _resolve_time(
    problem: Problem,
    grid: Grid,
    adapt: bool,
    rule: NoiseRule | None,
    known: Known | None,
    run: Run,
) -> tuple[Level, Level, NoiseRule]:
    """Settle the grid, and the leading mode's spacing where no such rule is given.

    Returns the cheap map solved on the grid and on that of higher order, and its rule.
    """
    system = SelfConsistency(problem, grid, run.tolerance, run.deadline)
    cheap = cheap_rule(rule, run.tolerance.rtol)
    x = system.start()
    if known is not None:
        cheap = known.refined(cheap)
        x = prolonged(known.grid, known.x, grid)
    settled = not isinstance(cheap, SparseRule) or isinstance(rule, SparseRule)
    shift = np.zeros_like(x) if settled else None
    return refine_grid(system, x, shift, cheap, adapt, GRID_SHARE, run)


def _nothing(
    problem: Problem, grid: Grid, rule: NoiseRule | None, run: Run
) -> tuple[Level, Level, NoiseRule]:
    """Return the start in place of a solution, when time runs out before there is any."""
    run.expired, run.unknown, run.converged = True, True, False
    system, cheap = (
        SelfConsistency(problem, grid, run.tolerance),
        cheap_rule(rule, run.tolerance.rtol),
    )
    x = system.start()
    point = FixedPoint(x, x, x, math.inf, False, ())
    level = Level(system, system.process(cheap), point, np.zeros_like(x))
    return level, level, cheap


def _residual_peak(problem: Problem, solution: OnGrid) -> float:
    """Return the largest variance of the residual."""
    grid, x = solution
    return float(build_residual(problem, grid, Averages.unpack(x, grid.size)).variance.max())
