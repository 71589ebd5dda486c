"""The noise average by defect correction: the cheap map plus what accurate rules add to it.

Near its fixed point, y = F_c(y) + [F(x) - F_c(x)] brings x closer to the fixed point of F by a
factor of 20 to 300 a step.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dmft.equations.effective_process import TINY, EffectiveProcess
from dmft.equations.noise_rules import NoiseRule, SparseRule
from dmft.solver.cheap_map import (
    FIRST_ATOMS,
    HIGHER_ORDER,
    LAST_SPACING,
    LONGER,
    MAX_ROUNDS,
    PATIENCE,
    SHIFT,
    Level,
    Run,
    prolonged,
    refine_grid,
    time_difference,
    time_share,
)
from dmft.solver.errors import ITERATION, SAFETY, Difference, OnGrid
from dmft.solver.grids import GRID_SHARE
from dmft.solver.iteration import Corrected
from dmft.solvers.fixed_point import Exhausted

UNSETTLED = 0.1  # of a step, that sweeps which do not settle may leave to the next step
DAMPING = (1.0, 0.5, 0.25)  # of a correction, one after the other
FIRST_TOLERANCE = 3.0  # of rtol: importance below which the first rule leaves a term out
UNSEEN = 0.05  # of that importance, where the second mode of a component may be left out at first
LAST_TOLERANCE = 1e-16
REITERATIONMENT = 0.5  # of that importance from one rule to the next
GROWTH = 1.7  # least growth of the number of points from one rule to the next
OWN_GROWTH = 1.1  # the same in each component: all of the error may be that of a rare one
MOST_GROWTH = 6.0  # of all of them, for the sake of one
STAGNATION = 0.6  # of the last change above which a change blames the leading mode's spacing
SHRINKING = 0.7  # of the spacing where a change is blamed on it
LEFT = 1.0 / 3.0  # of the last change, for the error left; 0.1 to 0.4 were measured
SUDDEN = 0.05  # of the change before, that a change counts for at least: grids may agree by chance
AIM = 0.95  # of the tolerance, for the whole estimate
ROUGH_CORRECTION = 0.8  # allowed errors, in its last Legendre coefficients; 0.7 did no harm
FINER_GRID = 0.5  # of the difference of the two grids, that may be left where it is rough
LEAST_GRID_SHARE = 0.1  # of the tolerance, for that difference where the noise matters much
LEAST_SHARE = 0.05  # of the tolerance, for the other modes


class _Noise(NamedTuple):
    """Solution under the full rule on the coarse grid.

    It is the fixed point of the cheap map plus `correction`; `shift` is what the checks add.
    """

    x: np.ndarray
    correction: np.ndarray
    shift: np.ndarray
    differences: list[Difference]
    rule: NoiseRule
    processes: tuple[EffectiveProcess, ...]  # that gave it, that of `rule` last


def resolve_noise(
    coarse: Level,
    fine: Level,
    cheap: NoiseRule,
    given: NoiseRule | None,
    adapt: bool,
    run: Run,
) -> tuple[Level, Level, _Noise]:
    """Correct the cheap map by the full rule; return the grids, which may be finer, too."""
    if not run.converged or given is cheap:
        zero = np.zeros_like(coarse.x)
        return coarse, fine, _Noise(coarse.x, zero, zero, [], cheap, (coarse.process,))
    if given is not None:
        return coarse, fine, _given_noise(coarse, given, run)
    assert isinstance(cheap, SparseRule)
    return _automatic_noise(coarse, fine, cheap, adapt, run)


def _automatic_noise(
    coarse: Level, fine: Level, cheap: SparseRule, adapt: bool, run: Run
) -> tuple[Level, Level, _Noise]:
    """Correct the cheap map by rules of growing size until one changes little.

    Where the first correction is large, or rough in time, and `adapt` says so, the grid is refined
    first: the correction is found on the coarse one alone.
    """
    system, state = coarse.system, coarse.uncorrected
    rules = _Rules(coarse, cheap, run)
    under_another, refined, step = state.x, True, np.inf
    moved_before, factor = 0.0, LEFT
    grids = time_difference(coarse, fine)
    leading = SHIFT * system.distance(coarse.x + coarse.shift, coarse.x)
    for round_ in range(MAX_ROUNDS):
        process, base = rules.turn(round_)
        before = state.x
        state = _corrected(coarse, state, process, base, run)
        if not run.converged:
            run.unknown = run.expired and round_ < 2
            break
        if round_ == 0 and adapt:
            left = time_share(coarse, state.x)
            allowed = max(GRID_SHARE * HIGHER_ORDER / left, LEAST_GRID_SHARE)
            shift: np.ndarray | None = coarse.shift
            if roughness(coarse, state.x) > ROUGH_CORRECTION:
                allowed, shift = min(allowed, FINER_GRID * grids), None  # it may be rough as well
            if grids > allowed:
                levels = refine_grid(system, coarse.x, shift, cheap, True, allowed, run)
                return resolve_noise(*levels, None, False, run)
        if refined:
            under_another = before  # what stays under one sparse grid says nothing about its error
        last_step, step = step, system.distance(state.x, before)
        run.progress(f"moved by {step:.1e} of the tolerance")
        moved = system.distance(state.x, under_another)
        factor = left_share(moved, moved_before)
        share = _noise_share(leading + time_share(coarse, state.x) * grids)
        # where there is no room for a larger grid, steps below the error that it leaves add nothing
        enough = factor * moved <= share or (step <= factor * moved and not refined)
        if round_ > 0 and enough and state.settled:
            break
        stalled = step > STAGNATION * last_step
        if stalled and not rules.room(process):
            break
        refined = rules.refine(process, stalled)
        if refined and round_ > 0:  # the first change adds the grid itself
            moved_before = moved
    run.converged &= state.settled
    shifted = system.grid, coarse.x + coarse.shift
    differences = [
        Difference((system.grid, state.x), (system.grid, under_another), factor, "tail"),
        Difference(coarse.solution, shifted, SHIFT, "leading_mode"),
    ]
    moved_by = SHIFT * coarse.shift
    processes = (coarse.process, base, process)
    found = _Noise(state.x, state.correction, moved_by, differences, process.rule, processes)
    return coarse, fine, found


def roughness(coarse: Level, x: np.ndarray) -> float:
    """Return how well the grid resolves what a correction adds to the solution of the cheap map.

    That is its largest last Legendre coefficient in the errors, over what is allowed in the panel.
    The grids' difference does not tell it, as both have the same correction.
    """
    system, grid = coarse.system, coarse.system.grid
    observables = system.observables(x)
    added = observables - system.observables(coarse.x)
    allowed = system.tolerance.allowed(observables)
    at_edges = allowed[:, :: grid.stages]
    least = np.minimum(at_edges[:, 1:], at_edges[:, :-1])
    return float(np.max([grid.resolution(profile) for profile in added] / least))


def left_share(moved: float, moved_before: float) -> float:
    """Return the error left over the last change, given the change before it."""
    return LEFT * max(1.0, SUDDEN * moved_before / max(moved, TINY))


class _Rules:
    """The rules of the rounds, which take turns between two offsets of the leading mode."""

    def __init__(self, coarse: Level, cheap: SparseRule, run: Run) -> None:
        """Start with the other modes to the leading order."""
        self._system = coarse.system
        self._bases = {cheap: coarse.process}
        self._most_atoms = max(len(coarse.system.problem.signal.components()), FIRST_ATOMS)
        atoms = max(round(cheap.atoms / LONGER[0]), FIRST_ATOMS)
        first = FIRST_TOLERANCE * run.tolerance.rtol
        self._most_paths = run.most_values / coarse.system.grid.size
        first = min(first, coarse.process.second_mode(UNSEEN * first))
        self.rule = replace(cheap, tolerance=first, atoms=atoms)
        most = self._most_paths / 8
        while coarse.process.paths_of(self.rule).sum() > most and self.rule.tolerance < 1.0:
            self.rule = replace(self.rule, tolerance=self.rule.tolerance / REITERATIONMENT)

    def turn(self, round_: int) -> tuple[EffectiveProcess, EffectiveProcess]:
        """Return the process of this round and the cheap one that goes with it."""
        rule = replace(self.rule, offset=0.5 * (round_ % 2))
        bare = replace(rule, tolerance=np.inf, atoms=min(rule.atoms, self._most_atoms))
        if bare not in self._bases:
            self._bases[bare] = self._system.process(bare)
        return self._system.process(rule), self._bases[bare]

    def room(self, process: EffectiveProcess) -> bool:
        """Whether the rule of the process can be refined in one way or another."""
        return self._narrower(process) or _refined(self.rule, process, self._most_paths) is not None

    def _narrower(self, process: EffectiveProcess) -> bool:
        spacing = SHRINKING * self.rule.spacing
        return spacing >= LAST_SPACING and process.paths <= SHRINKING * self._most_paths

    def refine(self, process: EffectiveProcess, stalled: bool) -> bool:
        """Enlarge the sparse grid where there is room, and return whether there was.

        When steps have `stalled` it may be the two leading rules that differ, so that their
        spacing is reduced too.
        """
        before = self.rule.tolerance
        if stalled and self._narrower(process):
            narrower = replace(self.rule, spacing=SHRINKING * self.rule.spacing)
            self.rule = _refined(narrower, process, self._most_paths, 1.0 / SHRINKING) or narrower
        else:
            self.rule = _refined(self.rule, process, self._most_paths) or self.rule
        return self.rule.tolerance < before


def _noise_share(others: float) -> float:
    """Return the error, in allowed errors, that the others leave to the noise rule."""
    return max((AIM - ITERATION) / SAFETY - others, LEAST_SHARE)


def _refined(
    rule: SparseRule, process: EffectiveProcess, most: float, more: float = 1.0
) -> SparseRule | None:
    """Return the rule with a larger sparse grid for the modes of the process, None without room.

    There is room for `most` paths. It has at least GROWTH times the paths of the process, times
    what the rule has `more` already. Each component of a law that is not compressed has OWN_GROWTH
    times its paths, where all of them then have less than MOST_GROWTH times.
    """
    now, enough = process.paths_of(process.rule), None
    while rule.tolerance > LAST_TOLERANCE:
        rule = replace(rule, tolerance=REITERATIONMENT * rule.tolerance, atoms=rule.atoms + 1)
        paths = process.paths_of(rule)
        growth = paths.sum() / (more * now.sum())
        if paths.sum() > most or (enough and growth > MOST_GROWTH):
            break
        if growth >= GROWTH:
            enough = enough or rule
            if paths.size != now.size or np.all(paths >= OWN_GROWTH * more * now):
                return rule
    return enough


def _corrected(
    coarse: Level,
    known: Corrected,
    process: EffectiveProcess,
    base: EffectiveProcess,
    run: Run,
) -> Corrected:
    """Take one step of defect correction from a known solution, damped if it does not settle.

    Sweeps that do not settle will do where the best of them left a small part of the step.
    """
    found = known
    will_do = False
    for damping in DAMPING:
        bound = run.max_sweeps if damping == DAMPING[-1] else min(PATIENCE, run.max_sweeps)
        try:
            found = coarse.system.corrected(
                coarse.process, known, process, base, ITERATION, bound, damping
            )
        except Exhausted:
            run.expired = True
            break
        run.note(f"{process.paths} paths", found.point)
        step = coarse.system.distance(found.x, known.x)
        will_do = found.point.success or found.point.change <= UNSETTLED * step < math.inf
        if will_do:
            break
    run.converged &= will_do and bool(np.all(np.isfinite(found.x)))
    return found


def _given_noise(coarse: Level, rule: NoiseRule, run: Run) -> _Noise:
    """Solve under a given rule and move the solution to each of its checks."""
    system, cheap, state = coarse.system, coarse.process, coarse.uncorrected
    process = system.process(rule)
    for round_ in range(run.max_sweeps):
        if round_ == 1:  # a rule places its nodes by the modes' scales, which are now known
            process = system.process(rule)
        before, state = state.x, _corrected(coarse, state, process, cheap, run)
        near = state.settled and system.distance(state.x, before) <= ITERATION
        if not run.converged or (round_ > 0 and near):
            break
    else:
        run.converged = False
    x = state.x
    shift = np.zeros_like(x)
    differences = []
    checks = [(check, system.process(check.rule)) for check in rule.checks()]
    for check, checking in checks:
        other = _corrected(coarse, state, checking, cheap, run).x
        shift += check.share * (other - x)
        differences.append(Difference((system.grid, x), (system.grid, other)))
    processes = (cheap, *(checking for _, checking in checks), process)
    return _Noise(x, state.correction, shift, differences, rule, processes)


def on_finer_grid(coarse: Level, fine: Level, noise: _Noise, run: Run) -> OnGrid | None:
    """Solve the cheap map on the finer grid with the noise correction of the coarse one.

    Returns None where the sweeps do not settle.
    """
    system, grid = fine.system, coarse.system.grid
    start = fine.x + prolonged(grid, noise.x - coarse.x, system.grid)
    correction = prolonged(grid, noise.correction, system.grid)
    bound = min(PATIENCE, run.max_sweeps)
    try:
        point = system.solve(fine.process, start, ITERATION, bound, correction)
    except Exhausted:
        run.expired = True
        return None
    run.note("result", point)
    if not point.success:
        return None
    return system.grid, point.x + prolonged(grid, noise.shift, system.grid)
