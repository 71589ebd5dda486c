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

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from dmft import compilation
from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.noise_rules import NoiseRule, QuadraticRule, SparseRule
from dmft.equations.observables import TWO_TIME, one_time_functions, two_time_functions
from dmft.interrupts import interruptible
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.solver.cheap_map import Level, Progress, Run, cheap_rule, refine_grid, time_share
from dmft.solver.errors import Difference, one_time_errors, two_time_errors, worst_error
from dmft.solver.grids import GRID_SHARE, initial_grid
from dmft.solver.iteration import SelfConsistency
from dmft.solver.noise_correction import ITERATION, on_finer_grid, resolve_noise
from dmft.solver.tolerance import CONTROLLED, Tolerance
from dmft.solvers.collocation import Grid
from dmft.trajectory import Functions
from dmft.validation import (
    Rng,
    recorded_seed,
    require_in_range,
    require_integer,
    require_times,
    shown,
)

# Gaussian mass over rtol that the nodes of a noise rule may leave out: its effect, which the fixed
# point amplified up to five times where that was measured, then stays below a tenth of rtol. The
# solver's own rules left out 1e-5 of rtol on fifty random problems.
UNCOVERED = 0.02


@interruptible()
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
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a dmft.Problem; got {problem!r}")
    if rtol is None:
        rtol = problem.dynamics.default_rtol
    seed = recorded_seed(rng)
    if problem.dynamics.in_steps:
        from dmft.solver.steps import solve_in_steps  # flows do without

        _require_unset(problem, grid=grid, rule=rule, atol=atol)
        return solve_in_steps(problem, t_max, t_eval, rtol, seed, progress)
    if problem.dynamics.noisy:
        raise ValueError(f"dynamics {problem.dynamics!r} cannot be solved yet; take small steps")
    tolerance = Tolerance.of(rtol, atol)
    times = _checked(t_max, t_eval, grid, rule, max_sweeps)
    # an iteration that diverges is reported by the solution
    with single_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _solve(problem, t_max, times, tolerance, seed, grid, rule, max_sweeps, progress)


def _solve(
    problem: Problem,
    t_max: float,
    times: np.ndarray | None,
    tolerance: Tolerance,
    seed: int,
    grid: Grid | None,
    rule: NoiseRule | None,
    max_sweeps: int,
    progress: Progress | None,
) -> Solution:
    """Solve with arguments that have been checked."""
    started = time.perf_counter()
    rtol = tolerance.rtol
    run = Run(tolerance, max_sweeps, progress or (lambda text: None))
    compile_time = compilation.load(progress=run.progress)

    adapt = grid is None
    if rule is not None:
        rule = rule.seeded(seed)
    elif problem.mirror.linear:
        rule = QuadraticRule()
    first = grid or initial_grid(problem, t_max, rtol)
    coarse, fine, cheap = _resolve_time(problem, first, adapt, rule, run)
    coarse, fine, noise = resolve_noise(coarse, fine, cheap, rule, adapt, run)
    here, share = (coarse.system.grid, noise.x + noise.shift), 1.0
    processes = noise.processes
    finer = on_finer_grid(coarse, fine, noise, run) if adapt and run.converged else None
    if finer is not None:
        here, share = finer, time_share(coarse, noise.x)
        processes = (fine.process, *processes)
    failed_paths = sum(process.failed_paths for process in processes)
    uncovered = max(process.uncovered for process in processes)
    grids = Difference(fine.solution, coarse.solution, share)

    final, averages = here[0], Averages.unpack(here[1], here[0].size)
    t = final.nodes_with_start if times is None else times
    values = one_time_functions(problem, final, averages, t)
    floor = ITERATION * rtol
    errors = one_time_errors(problem, noise.differences, grids, t, values, floor, tolerance)
    differences = [*noise.differences, grids]
    peaks = 0.5 * np.array([C.max() for C in _diagonals(problem, final, averages)])
    worst = worst_error(tolerance, values, errors, peaks)
    atol_used = tolerance.floor(peaks)
    success, status, message = _verdict(run, worst, failed_paths, uncovered)
    message += _where_absolute(tolerance, values, t, atol_used)
    wall = time.perf_counter() - started
    stats = {
        "sweeps": len(run.history),
        "residual_history": np.array(run.history),
        "paths": noise.processes[-1].paths,
        "nodes": final.size,
        "panels": final.panels,
        "noise_rule": repr(noise.rule),
        "error_over_tolerance": worst,
        "atol_test_error": float(atol_used[0]),
        "atol_train_error": float(atol_used[1]),
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
        rtol=rtol,
        seed=seed,
        success=success,
        status=status,
        message=message,
        stats=stats,
    )


def _checked(t_max: Any, t_eval: Any, grid: Any, rule: Any, max_sweeps: Any) -> np.ndarray | None:
    """Check the arguments of a flow; return t_eval as an array."""
    require_in_range("t_max", t_max, low=0.0, low_open=True)
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
    problem: Problem, grid: Grid, adapt: bool, rule: NoiseRule | None, run: Run
) -> tuple[Level, Level, NoiseRule]:
    """Settle the grid, and the leading mode's spacing where no such rule is given.

    Returns the cheap map solved on the grid and on that of higher order, and its rule.
    """
    system = SelfConsistency(problem, grid, run.tolerance)
    cheap = cheap_rule(rule, run.tolerance.rtol)
    x = system.start()
    settled = not isinstance(cheap, SparseRule) or isinstance(rule, SparseRule)
    shift = np.zeros_like(x) if settled else None
    return refine_grid(system, x, shift, cheap, adapt, GRID_SHARE, run)


def _verdict(run: Run, worst: float, failed_paths: int, uncovered: float) -> tuple[bool, int, str]:
    """Return success, status and message."""
    rtol = run.tolerance.rtol
    if not run.converged or failed_paths or not np.isfinite(worst):
        return (
            False,
            2,
            f"The iteration did not converge ({len(run.history)} sweeps, "
            f"{failed_paths} unsolved paths): shorten t_max, raise max_sweeps, or give a "
            "grid with more panels.",
        )
    if uncovered > UNCOVERED * rtol:
        return (
            False,
            1,
            f"The nodes of the noise rule leave out a Gaussian mass of {uncovered:.1e}, which the "
            f"error estimate does not see; at most {UNCOVERED * rtol:.1e} is permitted at rtol = "
            f"{rtol:.1e}: give a rule of smaller spacing or larger reach.",
        )
    reached = worst * rtol
    if worst > 1.0:
        return (
            False,
            1,
            f"The estimated error is {reached:.1e} relative, above rtol = "
            f"{rtol:.1e}: raise rtol, shorten t_max or give a finer grid or rule.",
        )
    return True, 0, f"Converged; the estimated relative error is {reached:.1e}."


def _diagonals(problem: Problem, grid: Grid, averages: Averages) -> tuple[np.ndarray, np.ndarray]:
    """Return the variances of theta and of the residual at t = 0 and the nodes."""
    return averages.C_w.diagonal(), build_residual(problem, grid, averages).variance


def _where_absolute(
    tolerance: Tolerance, values: dict[str, np.ndarray], t: np.ndarray, atol: np.ndarray
) -> str:
    """Say at which times the absolute tolerance allows more than the relative one."""
    said = ""
    for name, floor in zip(CONTROLLED, atol, strict=True):
        decides = tolerance.rtol * np.abs(values[name]) < floor
        if decides.any():
            first, last = t[decides][[0, -1]]
            said += f" From t = {first:.3g} to {last:.3g} {name} is so small that atol = "
            said += f"{floor:.1e} decides."
    return said
