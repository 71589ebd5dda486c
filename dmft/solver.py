"""Solve the self-consistent DMFT to a stated accuracy.

    problem -> grid and noise rule -> paths -> kernels -> fixed point -> solution

Every accurate map is solved by defect correction on a cheap one, F_c: the leading noise mode
resolved finely, and all the others to first order around it. Near its fixed point

    y = F_c(y) + [F(x) - F_c(x)]

brings x closer to the fixed point of F by a factor of 20 to 300 a step.

1. Grid and leading noise mode. With F_c the panels are split until the solution is resolved in
   time, and the leading mode's spacing is halved until two shifted rules agree.
2. Noise. F_c is corrected by sparse grids of growing size until the result stays. What the last
   one changed, and the shifted leading rule, are the error estimate of the noise average.
3. Time. On a grid of higher order the same cheap map with the same correction is solved once more
   and gives the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dmft.effective_process import EffectiveProcess, initial_state
from dmft.kernels import Averages
from dmft.panels import (
    GRID_SHARE,
    MAX_PANELS,
    extended,
    inaccurate_panels,
    initial_grid,
    transferred,
    unresolved_panels,
)
from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.self_consistency import Corrected, SelfConsistency, Tolerance
from dmft.solution import ONE_TIME, Lazy, Solution, one_time_functions, two_time_functions
from dmft.validation import require_in_range, require_integer, require_times
from solvers.collocation import Grid
from solvers.fixed_point import FixedPoint
from solvers.noise_rules import NoiseRule, QuadraticRule, SparseRule

Progress = Callable[[str], None]
OnGrid = tuple[Grid, np.ndarray]  # packed averages and their grid

FIRST_SPACING = 0.5
LAST_SPACING = 0.025
FIRST_TOLERANCE = 3.0  # of rtol: importance below which the first rule leaves a term out
LAST_TOLERANCE = 1e-16
REFINEMENT = 0.5  # of that importance from one rule to the next
STAGNATION = 0.6  # of the last change above which a change blames the leading mode's spacing
GROWTH = 1.7  # least growth of the number of points from one rule to the next
MAX_ROUNDS = 12
MAX_PATHS = 60_000  # which take about 200 MB
PATIENCE = 60  # sweeps after which the grid is taken part by part
STRIDE = 2  # panels by which the part grows
MAX_CUTS = 12  # of a part's last panels
MARCH = 1.0  # change, in allowed errors, at which it grows
ROUGH, FINE = 0.1, 0.03  # errors, in allowed ones, that sweeps may leave
AIM = 0.95  # of the tolerance, for the whole estimate
ITERATION = 0.1  # allowed errors that unfinished sweeps may leave
SAFETY = 3.0  # estimated error over the differences, since the checks are not exact either
MAX_FAILURES = 3  # unconverged iterations of the cheap map, each with a finer rule
DECAY = 3.5  # of the leading rule's error with 1 / spacing, small; 3.5 to 6 were measured
SHRINKING = 0.7  # of the spacing where a change is blamed on it
LEADING_SHARE = 0.2  # of the tolerance, for the leading mode; panels.GRID_SHARE is for the grid
LEFT = 1.0 / 3.0  # of the last change, for the error left; 0.1 to 0.4 were measured
SHIFT = 0.5  # error over the difference of two shifted rules, of which the result is the mean
LEAST_GRID_SHARE = 0.1  # of the tolerance, for that difference where the noise matters much
LEAST_SHARE = 0.05  # of the tolerance, for the other modes
EXTRA_STAGES = 3  # of the grid of higher order
# The error of that grid over the difference of the two. Each stage more gained a factor of 2.5
# to 6 in the error, so that three stages make it about a sixteenth at least.
HIGHER_ORDER = 1.0 / 16.0


@dataclass
class _Run:
    """What a solve accumulates."""

    tolerance: Tolerance
    max_sweeps: int
    progress: Progress
    history: list[float] = field(default_factory=list)
    converged: bool = True
    failed_paths: int = 0

    def note(self, text: str, point: FixedPoint) -> None:
        """Record an iteration."""
        self.history.extend(point.history)
        sweeps, change = len(point.history), point.history[-1]
        self.progress(f"{text}: {sweeps} sweeps, change {change:.1e} of the tolerance")


@dataclass(frozen=True)
class _Level:
    """The cheap map on one grid, its solution, and how far the shifted leading rule moves that."""

    system: SelfConsistency
    process: EffectiveProcess
    point: FixedPoint
    shift: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """The solution."""
        return self.point.x

    @property
    def uncorrected(self) -> Corrected:
        """The solution as one without a correction."""
        return Corrected(self.point, np.zeros_like(self.x))

    @property
    def solution(self) -> OnGrid:
        """The solution with its grid."""
        return self.system.grid, self.x


class _Difference(NamedTuple):
    """Two solutions, and the share of their difference that counts as an error."""

    one: OnGrid
    other: OnGrid
    factor: float = 1.0


class _Noise(NamedTuple):
    """Solution under the full rule on the coarse grid.

    It is the fixed point of the cheap map plus `correction`; `shift` is what the checks add.
    """

    x: np.ndarray
    correction: np.ndarray
    shift: np.ndarray
    differences: list[_Difference]
    rule: NoiseRule
    paths: int


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
    # an iteration that diverges is reported by the solution
    with single_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
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
    first = grid or initial_grid(problem, t_max, rtol)
    coarse, fine, cheap = _resolve_time(problem, first, adapt, rule, run)
    coarse, fine, noise = _resolve_noise(coarse, fine, cheap, rule, adapt, run)
    here = coarse.system.grid, noise.x + noise.shift
    share = 1.0
    if adapt and run.converged:
        here = _on_finer_grid(coarse, fine, noise, run)
        share = _time_share(coarse, noise.x)
    grids = _Difference(fine.solution, coarse.solution, share)

    final, averages = here[0], Averages.unpack(here[1], here[0].size)
    t = final.nodes_with_start if times is None else times
    values = one_time_functions(problem, final, averages, t)
    floor = ITERATION * rtol
    errors = _one_time_errors(problem, noise.differences, grids, t, values, floor)
    differences = [*noise.differences, grids]
    worst = _worst_error(problem, run.tolerance, values, errors)
    success, status, message = _verdict(run, worst)
    wall = time.perf_counter() - started
    stats = {
        "sweeps": len(run.history),
        "residual_history": np.array(run.history),
        "paths": noise.paths,
        "nodes": final.size,
        "panels": final.panels,
        "noise_rule": repr(noise.rule),
        "error_over_tolerance": worst,
        "failed_paths": run.failed_paths,
        "wall_time": wall - compile_time,
        "compile_time": compile_time,
    }
    return Solution(
        problem=problem,
        t=t,
        values=Lazy(values, partial(two_time_functions, problem, final, averages, t)),
        error=Lazy(errors, partial(_two_time_errors, problem, differences, t, floor)),
        grid=final,
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

    if not volterra.compiled():
        progress("loading the compiled kernels (the first run on a machine compiles them)")
        volterra.compile_kernels()
    return time.perf_counter() - started


def _resolve_time(
    problem: Problem, grid: Grid, adapt: bool, rule: NoiseRule | None, run: _Run
) -> tuple[_Level, _Level, NoiseRule]:
    """Settle the grid, and the leading mode's spacing where no such rule is given.

    Returns the cheap map solved on the grid and on that of higher order, and its rule.
    """
    system = SelfConsistency(problem, grid, run.tolerance)
    cheap = _cheap_rule(rule, run.tolerance.rtol)
    x = system.start()
    settled = not isinstance(cheap, SparseRule) or isinstance(rule, SparseRule)
    shift = np.zeros_like(x) if settled else None
    return _refine_grid(system, x, shift, cheap, adapt, GRID_SHARE, run)


def _time_share(coarse: _Level, x: np.ndarray) -> float:
    """Return the share of the two grids' difference that is left in the result.

    The finer grid has an error of its own, and the noise correction that of the coarse one.
    """
    relative = coarse.system.tolerance.rtol * coarse.system.distance(x, coarse.x)
    return max(HIGHER_ORDER, relative)


def _time_difference(coarse: _Level, fine: _Level) -> float:
    """Return the largest difference of the two grids' solutions over the allowed error."""
    return float(np.max(_time_ratios(coarse, fine)))


def _time_ratios(coarse: _Level, fine: _Level) -> np.ndarray:
    """Return the two grids' difference over the allowed error on the finer one, (2, N + 1)."""
    move = coarse.system.grid.interpolation(fine.system.grid.nodes_with_start)
    seen = coarse.system.observables(coarse.x) @ move.T
    return fine.system.ratios(fine.system.observables(fine.x), seen)


def _refine_grid(
    system: SelfConsistency,
    x: np.ndarray,
    shift: np.ndarray | None,
    cheap: NoiseRule,
    adapt: bool,
    share: float,
    run: _Run,
) -> tuple[_Level, _Level, NoiseRule]:
    """Split panels until the grid of higher order agrees within `share` of the tolerance.

    Where `shift` is not known yet, the leading mode's spacing is halved until the shifted rule
    agrees.
    """
    failures = 0
    for _ in range(MAX_ROUNDS):
        grid = system.grid
        system, process, point = _cheap_solution(system, cheap, x, ROUGH * share, adapt, run)
        x = point.x
        if shift is not None:
            shift = transferred(Averages.unpack(shift, grid.size), grid, system.grid).pack()
        run.note(f"grid of {system.grid.panels} panels", point)
        failures += not point.success
        if failures == MAX_FAILURES or not np.all(np.isfinite(x)):
            break
        averages = Averages.unpack(x, system.grid.size)
        marked = unresolved_panels(system.problem, system.grid, averages, run.tolerance)
        room = adapt and system.grid.panels + marked.sum() <= MAX_PANELS
        split = room and marked.any()
        if not split and shift is None and isinstance(cheap, SparseRule):
            other = system.process(replace(cheap, offset=0.5))
            known = Corrected(point, np.zeros_like(x))
            moved = system.corrected(process, known, other, process, ROUGH, run.max_sweeps)
            solved = point.success and moved.point.success
            change = system.distance(moved.x, x) if solved else np.inf
            spacing = _leading_spacing(cheap.spacing, change)
            if LAST_SPACING < spacing < cheap.spacing:
                cheap = replace(cheap, spacing=spacing)
                run.progress(f"leading mode resolved to {spacing:.3g}")
                continue
            shift = moved.x - x
        coarse = _Level(system, process, point, np.zeros_like(x) if shift is None else shift)
        if not split:
            finer = Grid(system.grid.edges, system.grid.stages + EXTRA_STAGES)
            fine, check = _fine_solution(coarse, finer, cheap, ROUGH * share, run)
            marked = inaccurate_panels(finer, _time_ratios(coarse, fine), share)
            if not (room and marked.any()):
                run.converged = point.success and check.success
                return coarse, fine, cheap
        system, x, moved_shift = _moved(coarse, system.grid.split(marked))
        shift = None if shift is None else moved_shift
    run.converged = False
    level = _Level(system, process, point, np.zeros_like(x))
    return level, replace(level, point=replace(point, x=system.start())), cheap


def _fine_solution(
    coarse: _Level, grid: Grid, cheap: NoiseRule, tolerance: float, run: _Run
) -> tuple[_Level, FixedPoint]:
    """Solve the cheap map on the grid of higher order."""
    system, x, shift = _moved(coarse, grid)
    _, process, point = _cheap_solution(system, cheap, x, tolerance, False, run)
    run.note(f"{grid.stages} stages", point)
    return _Level(system, process, point, shift), point


def _cheap_solution(
    system: SelfConsistency,
    cheap: NoiseRule,
    x: np.ndarray,
    tolerance: float,
    adapt: bool,
    run: _Run,
) -> tuple[SelfConsistency, EffectiveProcess, FixedPoint]:
    """Solve the cheap map from x, or, where that takes too long, on growing parts of the grid.

    Over long horizons sweeps blow the errors of a guess up before they remove them. Over a part
    they settle fast once what comes before has settled, since everything is causal. Where they do
    not, the part's last panels are too long; they are cut in two if `adapt` says so.
    """
    process = system.process(cheap)
    point = system.solve(process, x, tolerance, min(PATIENCE, run.max_sweeps))
    if point.success or system.grid.panels <= STRIDE or run.max_sweeps <= PATIENCE:
        return system, process, point
    x = point.x
    if not point.history[-1] <= MARCH:  # or nan
        system, x = _marched(system, cheap, adapt, run)
        process = system.process(cheap)
    return system, process, system.solve(process, x, tolerance, run.max_sweeps)


def _marched(
    system: SelfConsistency, cheap: NoiseRule, adapt: bool, run: _Run
) -> tuple[SelfConsistency, np.ndarray]:
    """Solve the cheap map roughly on growing parts of the grid; return a guess on the whole."""
    grid, settled, x = system.grid, 0, system.start()
    cuts = MAX_CUTS if adapt else 0
    while settled < grid.panels:
        reach = min(settled + STRIDE, grid.panels)
        part = replace(system, grid=grid.leading(reach))
        if settled == 0:
            guess = part.start()
        else:
            before = Averages.unpack(x, grid.leading(settled).size)
            guess = extended(before, part.grid).pack()
        point = part.solve(part.process(cheap), guess, MARCH, PATIENCE)
        run.note(f"up to t = {part.grid.t_max:.3g}", point)
        if cuts > 0 and not point.success and grid.panels + STRIDE <= MAX_PANELS:
            cuts -= 1
            panels = np.arange(grid.panels)
            grid = grid.split((settled <= panels) & (panels < reach))
        else:
            x, settled = point.x, reach
    return replace(system, grid=grid), x


def _cheap_rule(rule: NoiseRule | None, rtol: float) -> NoiseRule:
    """Return the rule of the cheap map: the leading mode alone, or an exact rule itself."""
    if isinstance(rule, QuadraticRule):
        return rule
    spacing = rule.spacing if isinstance(rule, SparseRule) else FIRST_SPACING
    # nodes reach to where the Gaussian weight has fallen to 1e-4 rtol
    reach = float(np.sqrt(-2 * np.log(1e-4 * rtol)))
    return SparseRule(spacing, tolerance=np.inf, reach=reach, atoms=8)


def _leading_spacing(spacing: float, change: float) -> float:
    """Return a spacing at which the shifted rule will move the solution little enough.

    `change` is what it does now. Equidistant rules converge like exp(-DECAY / spacing); where that
    has proved wrong once, the spacing is halved.
    """
    if change <= LEADING_SHARE:
        return spacing
    if spacing < FIRST_SPACING:
        return 0.5 * spacing
    finer = 1.0 / (1.0 / spacing + np.log(change / (0.5 * LEADING_SHARE)) / DECAY)
    return float(np.clip(finer, 0.5 * spacing, 0.9 * spacing))


def _moved(level: _Level, grid: Grid) -> tuple[SelfConsistency, np.ndarray, np.ndarray]:
    """Return the problem on another grid, the solution there as a first guess, and the shift."""
    old = level.system
    system = SelfConsistency(old.problem, grid, old.tolerance)
    return system, _prolonged(level, grid, level.x), _prolonged(level, grid, level.shift)


def _prolonged(level: _Level, grid: Grid, x: np.ndarray) -> np.ndarray:
    """Return averages of the level's grid on another one."""
    old = level.system.grid
    return transferred(Averages.unpack(x, old.size), old, grid).pack()


def _resolve_noise(
    coarse: _Level,
    fine: _Level,
    cheap: NoiseRule,
    given: NoiseRule | None,
    adapt: bool,
    run: _Run,
) -> tuple[_Level, _Level, _Noise]:
    """Correct the cheap map by the full rule; return the grids, which may be finer, too."""
    if not run.converged or given is cheap:
        zero = np.zeros_like(coarse.x)
        return coarse, fine, _Noise(coarse.x, zero, zero, [], cheap, coarse.process.paths)
    if given is not None:
        return coarse, fine, _given_noise(coarse, given, run)
    assert isinstance(cheap, SparseRule)
    return _automatic_noise(coarse, fine, cheap, adapt, run)


def _automatic_noise(
    coarse: _Level, fine: _Level, cheap: SparseRule, adapt: bool, run: _Run
) -> tuple[_Level, _Level, _Noise]:
    """Correct the cheap map by rules of growing size until one changes little.

    Where the first correction is large, and `adapt` says so, the grid is refined first: the
    correction is found on the coarse one alone.
    """
    system, state = coarse.system, coarse.uncorrected
    bases = [replace(cheap, offset=offset) for offset in (0.0, 0.5)]
    cheaper = [coarse.process, system.process(bases[1])]
    rule = _first_rule(bases[0], coarse, run)
    refined = True
    step = np.inf
    for round_ in range(MAX_ROUNDS):
        used = replace(rule, offset=bases[round_ % 2].offset)
        process = system.process(used)
        before = state.x
        state = _corrected(coarse, state, process, cheaper[round_ % 2], run)
        x = state.x
        if not run.converged:
            under_another = before
            break
        if round_ == 0:
            allowed = max(GRID_SHARE * HIGHER_ORDER / _time_share(coarse, x), LEAST_GRID_SHARE)
            if adapt and _time_difference(coarse, fine) > allowed:
                levels = _refine_grid(system, coarse.x, coarse.shift, cheap, True, allowed, run)
                return _resolve_noise(*levels, None, False, run)
        if refined:
            under_another = before  # what stays under one sparse grid says nothing about its error
        last_step, step = step, system.distance(x, before)
        moved = system.distance(x, under_another)
        run.progress(f"moved by {step:.1e} of the tolerance")
        if round_ > 0 and LEFT * moved <= _noise_share(coarse, fine, x):
            break
        finer = _refined(rule, process, rule.spacing)
        if step > STAGNATION * last_step:
            # the steps take turns between two leading rules: it may be these that differ
            spacing = SHRINKING * rule.spacing
            if spacing < LAST_SPACING or process.paths > SHRINKING * MAX_PATHS:
                if finer is None:
                    break
            else:
                finer = _refined(rule, process, spacing) or replace(rule, spacing=spacing)
                bases = [replace(base, spacing=spacing) for base in bases]
                cheaper = [system.process(base) for base in bases]
        refined = finer is not None and finer.tolerance < rule.tolerance
        rule = finer or rule
    shifted = system.grid, coarse.x + coarse.shift
    differences = [
        _Difference((system.grid, x), (system.grid, under_another), LEFT),
        _Difference(coarse.solution, shifted, SHIFT),
    ]
    shift = 0.5 * coarse.shift
    return coarse, fine, _Noise(x, state.correction, shift, differences, used, process.paths)


def _first_rule(cheap: SparseRule, coarse: _Level, run: _Run) -> SparseRule:
    """Return the rule that takes the other modes to the leading order."""
    rule = replace(cheap, tolerance=FIRST_TOLERANCE * run.tolerance.rtol)
    while coarse.process.paths_of(rule) > MAX_PATHS / 8 and rule.tolerance < 1.0:
        rule = replace(rule, tolerance=rule.tolerance / REFINEMENT)
    return rule


def _noise_share(coarse: _Level, fine: _Level, x: np.ndarray) -> float:
    """Return the error, in allowed errors, that the noise rule may leave to the estimate."""
    others = SHIFT * coarse.system.distance(coarse.x + coarse.shift, coarse.x)
    others += _time_share(coarse, x) * _time_difference(coarse, fine)
    return max((AIM - ITERATION) / SAFETY - others, LEAST_SHARE)


def _refined(rule: SparseRule, process: EffectiveProcess, spacing: float) -> SparseRule | None:
    """Return a rule with more points for the modes of the process; None at the end of means."""
    least = GROWTH * process.paths * rule.spacing / spacing
    rule = replace(rule, spacing=spacing)
    while rule.tolerance > LAST_TOLERANCE:
        rule = replace(rule, tolerance=REFINEMENT * rule.tolerance, atoms=rule.atoms + 2)
        paths = process.paths_of(rule)
        if paths > MAX_PATHS:
            return None
        if paths >= least:
            return rule
    return None


def _corrected(
    coarse: _Level,
    known: Corrected,
    process: EffectiveProcess,
    base: EffectiveProcess,
    run: _Run,
) -> Corrected:
    """Take one step of defect correction from a known solution."""
    found = coarse.system.corrected(coarse.process, known, process, base, FINE, run.max_sweeps)
    run.note(f"{process.paths} paths", found.point)
    run.converged &= found.point.success and bool(np.all(np.isfinite(found.x)))
    run.failed_paths = process.failed_paths
    return found


def _given_noise(coarse: _Level, rule: NoiseRule, run: _Run) -> _Noise:
    """Solve under a given rule and move the solution to each of its checks."""
    system, cheap, state = coarse.system, coarse.process, coarse.uncorrected
    process = system.process(rule)
    for round_ in range(run.max_sweeps):
        if round_ == 1:  # a rule places its nodes by the modes' scales, which are now known
            process = system.process(rule)
        before, state = state.x, _corrected(coarse, state, process, cheap, run)
        if not run.converged or (round_ > 0 and system.distance(state.x, before) <= FINE):
            break
    else:
        run.converged = False
    x = state.x
    shift = np.zeros_like(x)
    differences = []
    for check in rule.checks():
        other = _corrected(coarse, state, system.process(check.rule), cheap, run).x
        shift += check.share * (other - x)
        differences.append(_Difference((system.grid, x), (system.grid, other)))
    return _Noise(x, state.correction, shift, differences, rule, process.paths)


def _on_finer_grid(coarse: _Level, fine: _Level, noise: _Noise, run: _Run) -> OnGrid:
    """Solve the cheap map on the finer grid with the noise correction of the coarse one."""
    system = fine.system
    start = fine.x + _prolonged(coarse, system.grid, noise.x - coarse.x)
    correction = _prolonged(coarse, system.grid, noise.correction)
    point = system.solve(fine.process, start, FINE, run.max_sweeps, correction)
    run.note("result", point)
    run.converged = point.success
    return system.grid, point.x + _prolonged(coarse, system.grid, noise.shift)


def _one_time_errors(
    problem: Problem,
    noise: list[_Difference],
    time: _Difference,
    t: np.ndarray,
    values: dict[str, np.ndarray],
    floor: float,
) -> dict[str, np.ndarray]:
    """Return the summed differences of noise rules and of grids for the observables at t.

    To them `floor` times the value is added, which the iteration may leave.

    A difference of two solutions vanishes where they cross, the error does not. Estimates are
    therefore taken relative to the solutions and scaled by `values`, the result. Those of noise
    rules, which have most modes in common, count with their largest at all times, and alike for
    test and train error; those of grids are raised to their largest in the panel, at the finer
    grid's nodes and at t, and kept from falling later.
    """
    constant = dict.fromkeys(ONE_TIME, floor)
    for pair in noise:
        one, other = (_observables(problem, side, None) for side in (pair.one, pair.other))
        for name in ONE_TIME:
            ratio = np.abs(one[name] - other[name]) / _scale(other[name])
            constant[name] += SAFETY * pair.factor * float(np.max(ratio))
    both = max(constant["test_error"], constant["train_error"])
    constant.update(test_error=both, train_error=both)

    fine, coarse = time.one[0], time.other[0]
    everywhere = np.union1d(np.union1d(fine.nodes_with_start, coarse.nodes), t)
    panel = coarse.locate(everywhere)
    wanted = np.searchsorted(everywhere, t)
    one, other = (_observables(problem, side, everywhere) for side in (time.one, time.other))
    errors: dict[str, np.ndarray] = {}
    for name in ONE_TIME:
        within = np.zeros(coarse.panels)
        ratio = np.abs(one[name] - other[name]) / _scale(other[name])
        np.maximum.at(within, panel, SAFETY * time.factor * ratio)
        relative = constant[name] + np.maximum.accumulate(within)[panel][wanted]
        errors[name] = relative * (np.abs(values[name]) + _floor(other[name]))
    return errors


def _scale(value: np.ndarray) -> np.ndarray:
    """Return the size that relative errors refer to, shape (T,)."""
    return np.abs(value) + _floor(value)


def _floor(value: np.ndarray) -> float:
    """Return what a relative error allows where the value vanishes."""
    return 1e-3 * float(np.max(np.abs(value))) + 1e-300


def _observables(problem: Problem, side: OnGrid, t: np.ndarray | None) -> dict[str, np.ndarray]:
    grid, x = side
    return one_time_functions(problem, grid, Averages.unpack(x, grid.size), t)


def _two_time_errors(
    problem: Problem, differences: list[_Difference], t: np.ndarray, floor: float
) -> dict[str, np.ndarray]:
    """Return the summed differences of the pairs for the two-time functions, on the times t."""
    errors: dict[str, np.ndarray] = {}
    for pair in differences:
        one, other = (
            two_time_functions(problem, grid, Averages.unpack(x, grid.size), t)
            for grid, x in pair[:2]
        )
        for name, value in one.items():
            before = errors.get(name, floor * np.abs(value))
            errors[name] = before + SAFETY * pair.factor * np.abs(value - other[name])
    return errors


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
