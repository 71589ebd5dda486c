"""The cheap map F_c, and the time grid and leading noise mode that resolve its fixed point.

F_c takes the leading noise mode finely and all the others to first order around it. Panels are
split until the solution on a grid of higher order agrees, and the leading mode's spacing is
reduced, and a law of many atoms taken with more of them, until a shifted rule does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from dmft.equations.averages import Averages
from dmft.equations.effective_process import TINY, EffectiveProcess
from dmft.equations.noise_rules import NoiseRule, QuadraticRule, SparseRule
from dmft.solver.errors import OnGrid
from dmft.solver.grids import (
    MAX_PANELS,
    extended,
    inaccurate_panels,
    transferred,
    unresolved_panels,
)
from dmft.solver.iteration import Corrected, SelfConsistency
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import Exhausted, FixedPoint

Progress = Callable[[str], None]

FIRST_SPACING = 0.5
LAST_SPACING = 0.025
DECAY = 3.5  # of the leading rule's error with 1 / spacing, at most; 3.5 to 6 is usual
LEAST_DECAY = 0.5
FIRST_ATOMS = 8
LONGER = (1.5, 3.0)  # least and largest growth of the number of atoms, of a law that has more
BLAMED = 0.5  # share of a change from which on it is due to the leading mode, not to the law
LEADING_SHARE = 0.2  # of the tolerance, for the leading mode; panels.GRID_SHARE is for the grid
AIMED = 0.4  # of that share, for a spacing that is chosen
NEGLIGIBLE = 1e-8  # of rtol, importance of modes that are left out even to first order
MAX_ROUNDS = 16
MAX_FAILURES = 3  # unconverged iterations of the cheap map, each with a finer rule
PATIENCE = 60  # sweeps in which a part, or a correction, has to settle
LONG_PATIENCE = 120  # sweeps after which the grid is taken part by part
SHORT_PATIENCE = 20  # the same once that had to be done
STRIDE = 2  # panels by which the part grows
MAX_CUTS = 12  # of a part's last panels
MARCH = 0.1  # error, in allowed ones, at which it grows
ROUGH = 0.2  # error, in allowed ones, that sweeps may leave while the grid is sought
SHIFTED = 0.1  # the same under the shifted leading rule
UNCERTAIN = 0.2  # share of what that rule changes, that sweeps may leave
SHIFT = 0.5  # error over the difference of two shifted rules, of which the result is the mean
EXTRA_STAGES = 3  # of the grid of higher order
# The error of that grid over the difference of the two. Each stage more gained a factor of 2.5
# to 6 in the error, so that three stages make it about a sixteenth at least.
HIGHER_ORDER = 1.0 / 16.0


@dataclass
class Run:
    """What a solve accumulates."""

    tolerance: Tolerance
    max_sweeps: int
    progress: Progress
    deadline: float = math.inf  # of `time.monotonic`
    most_values: float = math.inf  # of all paths at all nodes
    history: list[float] = field(default_factory=list)
    converged: bool = True
    expired: bool = False  # whether time ran out
    unknown: bool = False  # whether it did before there was an estimate of every error
    long: bool = False  # whether a horizon had to be taken part by part

    def note(self, text: str, point: FixedPoint) -> None:
        """Record an iteration."""
        self.history.extend(point.history)
        sweeps = len(point.history)
        self.progress(f"{text}: {sweeps} sweeps, change {point.change:.1e} of the tolerance")


class Tried(NamedTuple):
    """Rules of the cheap map that will not do, by their fineness and what a finer one changes."""

    spacings: list[tuple[float, float]]  # 1 / spacing
    atoms: list[tuple[float, float]]


@dataclass(frozen=True)
class Level:
    """The cheap map on one grid, its solution, and how far the shifted leading rule moves that.

    Parameters
    ----------
    system : SelfConsistency
    process : EffectiveProcess
    point : FixedPoint
    shift : ndarray, shape (n,)
        Change of the packed averages; 0 on the grid of higher order, where it is not wanted.
    """

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


def cheap_rule(rule: NoiseRule | None, rtol: float) -> NoiseRule:
    """Return the rule of the cheap map: the leading mode alone, or an exact rule itself."""
    if isinstance(rule, QuadraticRule):
        return rule
    spacing = rule.spacing if isinstance(rule, SparseRule) else FIRST_SPACING
    # nodes reach to where the Gaussian weight has fallen to 1e-4 rtol
    reach = float(np.sqrt(-2 * np.log(1e-4 * rtol)))
    negligible = float(np.sqrt(NEGLIGIBLE * rtol))
    return SparseRule(
        spacing, tolerance=np.inf, reach=reach, atoms=FIRST_ATOMS, negligible=negligible
    )


def refine_grid(
    system: SelfConsistency,
    x: np.ndarray,
    shift: np.ndarray | None,
    cheap: NoiseRule,
    adapt: bool,
    share: float,
    run: Run,
) -> tuple[Level, Level, NoiseRule]:
    """Split panels until the grid of higher order agrees within `share` of the tolerance.

    Where `shift` is not known yet, the leading mode's spacing is reduced, and the atoms of the law
    made more, until the shifted rule agrees.
    """
    level: Level | None = None
    try:
        for level, fine, rule in _refinements(system, x, shift, cheap, adapt, share, run):
            if fine is not None:
                return level, fine, rule
    except Exhausted:
        if level is None:
            raise
        run.expired = run.unknown = True
    assert level is not None
    run.converged = False
    start = level.system.start()
    return level, replace(level, point=replace(level.point, x=start)), cheap


def _refinements(
    system: SelfConsistency,
    x: np.ndarray,
    shift: np.ndarray | None,
    cheap: NoiseRule,
    adapt: bool,
    share: float,
    run: Run,
) -> Iterator[tuple[Level, Level | None, NoiseRule]]:
    """Yield the cheap map's solution on each grid, and on that of higher order at last."""
    failures, tried = 0, Tried([], [])
    for _ in range(MAX_ROUNDS):
        before = system.grid
        system, process, point = _cheap_solution(system, cheap, x, ROUGH * share, adapt, run)
        yield Level(system, process, point, np.zeros_like(point.x)), None, cheap
        x, shift = point.x, _carried(shift, before, system.grid)
        run.note(f"grid of {system.grid.panels} panels", point)
        failures += not point.success
        if failures == MAX_FAILURES or not np.all(np.isfinite(x)):
            return
        grid, known = system.grid, (system.grid, x)
        averages = Averages.unpack(x, grid.size)
        marked = unresolved_panels(system.problem, grid, averages, run.tolerance)
        if not (adapt and can_split(grid, marked)):
            if shift is None and isinstance(cheap, SparseRule):
                better, moved = _leading_rule(system, process, point, cheap, tried, run)
                if better != cheap:
                    cheap, x = better, moved
                    continue
                shift = moved - x
            coarse = Level(system, process, point, np.zeros_like(x) if shift is None else shift)
            finer = Grid(grid.edges, grid.stages + EXTRA_STAGES)
            fine, check = _fine_solution(coarse, finer, cheap, ROUGH * share, run)
            marked = inaccurate_panels(finer, _time_ratios(coarse, fine), share)
            if not (adapt and can_split(grid, marked)):
                run.converged = point.success and check.success
                yield coarse, fine, cheap
            known = fine.solution if check.success else known
        system = system.on(grid.split(marked))
        x, shift = prolonged(*known, system.grid), _carried(shift, grid, system.grid)


def can_split(grid: Grid, marked: np.ndarray) -> bool:
    """Whether there are panels to split, and room for it."""
    return bool(marked.any()) and grid.panels + int(marked.sum()) <= MAX_PANELS


def _carried(shift: np.ndarray | None, grid: Grid, target: Grid) -> np.ndarray | None:
    """Return what is known of the shift on another grid."""
    return shift if shift is None or target is grid else prolonged(grid, shift, target)


def _leading_rule(
    system: SelfConsistency,
    process: EffectiveProcess,
    point: FixedPoint,
    rule: SparseRule,
    tried: Tried,
    run: Run,
) -> tuple[SparseRule, np.ndarray]:
    """Return the rule that the leading mode and a law of many atoms need, and a solution.

    It is that of a shifted rule with more atoms where the rule will do, a guess where it will not.
    """
    law = len(system.problem.signal.components())
    longer = replace(rule, atoms=_more_atoms(rule.atoms, tried.atoms, law))
    moved, change = _under(system, process, point, replace(longer, offset=0.5), run)
    if change <= LEADING_SHARE:
        return rule, moved
    shifted = change
    if longer != rule:
        _, shifted = _under(system, process, point, replace(rule, offset=0.5), run)
    if shifted < BLAMED * change:
        tried.atoms.append((rule.atoms, change))
        run.progress(f"law resolved to {longer.atoms} atoms")
        return longer, moved
    tried.spacings.append((1.0 / rule.spacing, change))
    spacing = _leading_spacing(tried.spacings)
    if spacing <= LAST_SPACING:
        return rule, moved
    run.progress(f"leading mode resolved to {spacing:.3g}")
    # the mean of two shifted rules is a finer one's
    return replace(rule, spacing=spacing), point.x + SHIFT * (moved - point.x)


def _under(
    system: SelfConsistency,
    process: EffectiveProcess,
    point: FixedPoint,
    rule: SparseRule,
    run: Run,
) -> tuple[np.ndarray, float]:
    """Return the solution under another rule and its distance, infinite where there is none."""
    known = Corrected(point, np.zeros_like(point.x))
    bound = min(PATIENCE, run.max_sweeps)
    found = system.corrected(
        process, known, system.process(rule), process, SHIFTED, bound, unfinished=UNCERTAIN
    )
    if not (point.success and found.settled):
        return point.x, math.inf
    return found.x, system.distance(found.x, point.x)


def _fine_solution(
    coarse: Level, grid: Grid, cheap: NoiseRule, tolerance: float, run: Run
) -> tuple[Level, FixedPoint]:
    """Solve the cheap map on the grid of higher order."""
    system = coarse.system.on(grid)
    x = prolonged(*coarse.solution, grid)
    _, process, point = _cheap_solution(system, cheap, x, tolerance, False, run)
    run.note(f"{grid.stages} stages", point)
    return Level(system, process, point, np.zeros_like(x)), point


def _cheap_solution(
    system: SelfConsistency,
    cheap: NoiseRule,
    x: np.ndarray,
    tolerance: float,
    adapt: bool,
    run: Run,
) -> tuple[SelfConsistency, EffectiveProcess, FixedPoint]:
    """Solve the cheap map from x, or, where that takes too long, on growing parts of the grid.

    Over long horizons sweeps blow the errors of a guess up before they remove them. Over a part
    they settle fast once what comes before has settled, since everything is causal. Where they do
    not, the part's last panels are too long; they are cut in two if `adapt` says so.
    """
    process = system.process(cheap)
    patience = SHORT_PATIENCE if run.long else LONG_PATIENCE
    point = system.solve(process, x, tolerance, min(patience, run.max_sweeps))
    if point.success or system.grid.panels <= STRIDE or run.max_sweeps <= patience:
        return system, process, point
    if time.monotonic() > run.deadline:
        return system, process, point
    x = point.x
    if not point.change <= MARCH:  # or nan
        run.long = True
        system, x = _marched(system, cheap, adapt, run)
        process = system.process(cheap)
    return system, process, system.solve(process, x, tolerance, run.max_sweeps)


def _marched(
    system: SelfConsistency, cheap: NoiseRule, adapt: bool, run: Run
) -> tuple[SelfConsistency, np.ndarray]:
    """Solve the cheap map roughly on growing parts of the grid; return a guess on the whole."""
    grid, settled, x = system.grid, 0, system.start()
    cuts = MAX_CUTS if adapt else 0
    while settled < grid.panels:
        reach = min(settled + STRIDE, grid.panels)
        part = system.on(grid.leading(reach))
        if settled == 0:
            guess = part.start()
        else:
            before = Averages.unpack(x, grid.leading(settled).size)
            guess = extended(before, part.grid, held=system.problem.lam > 0).pack()
        point = part.solve(part.process(cheap), guess, MARCH, PATIENCE)
        run.note(f"up to t = {part.grid.t_max:.3g}", point)
        if cuts > 0 and not point.success and grid.panels + STRIDE <= MAX_PANELS:
            cuts -= 1
            panels = np.arange(grid.panels)
            grid = grid.split((settled <= panels) & (panels < reach))
        else:
            x, settled = point.x, reach
    return system.on(grid), x


def _leading_spacing(tried: list[tuple[float, float]]) -> float:
    """Return a spacing at which the shifted rule will move the solution little enough.

    Equidistant rules converge like exp(-DECAY / spacing), slower where paths bend.
    """
    spacing = 1.0 / tried[-1][0]
    finer = 1.0 / _enough(tried, LEAST_DECAY, DECAY)
    return float(np.clip(finer, 0.5 * spacing, 0.8 * spacing))


def _more_atoms(atoms: int, tried: list[tuple[float, float]], law: int) -> int:
    """Return the number of atoms to compare a number of atoms with, where the law has more."""
    wanted = _enough(tried, TINY, math.inf) if tried else 0.0
    least, most = LONGER
    return max(atoms, min(math.ceil(np.clip(wanted, least * atoms, most * atoms)), law))


def _enough(tried: list[tuple[float, float]], least: float, most: float) -> float:
    """Return the fineness at which changes that decay exponentially will be small enough.

    The decay is the one that was measured, between `least` and `most`.
    """
    fineness, change = tried[-1]
    if math.isinf(change):
        return math.inf
    decay = most
    if len(tried) > 1:
        coarser, before = tried[-2]
        decay = np.clip(np.log(before / change) / (fineness - coarser), least, most)
    return float(fineness + np.log(change / (AIMED * LEADING_SHARE)) / decay)


def prolonged(grid: Grid, x: np.ndarray, target: Grid) -> np.ndarray:
    """Return packed averages (n,) of one grid on another."""
    return transferred(Averages.unpack(x, grid.size), grid, target).pack()


def time_difference(coarse: Level, fine: Level) -> float:
    """Return the largest difference of the two grids' solutions over the allowed error."""
    return float(np.max(_time_ratios(coarse, fine)))


def _time_ratios(coarse: Level, fine: Level) -> np.ndarray:
    """Return the two grids' difference over the allowed error on the finer one, (2, N + 1)."""
    seen = coarse.system.observables_at(coarse.x, fine.system.grid.nodes_with_start)
    return fine.system.ratios(fine.x, seen)
