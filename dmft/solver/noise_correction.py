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
    can_split,
    prolonged,
)
from dmft.solver.errors import ITERATION, SAFETY, Difference, OnGrid
from dmft.solver.finer_grid import Finer, finer_solution, split_levels, time_error
from dmft.solver.grids import GRID_SHARE
from dmft.solver.iteration import Corrected
from dmft.solvers.fixed_point import Exhausted

UNSETTLED = 0.1  # of a step, that sweeps which do not settle may leave to the next step
DAMPING = (1.0, 0.5, 0.25)  # of a correction, one after the other
FIRST_TOLERANCE = 3.0  # of rtol: importance below which the first rule leaves a term out
UNSEEN = 0.05  # of that importance, where the second mode of a component may be left out at first
LAST_TOLERANCE = 1e-16
REFINEMENT = 0.5  # of that importance from one rule to the next
GROWTH = 1.7  # least growth of the number of points from one rule to the next
OWN_GROWTH = 1.1  # the same in each component: all of the error may be that of a rare one
MOST_GROWTH = 6.0  # of all of them, for the sake of one
STAGNATION = 0.6  # of the last change above which a change blames the leading mode's spacing
SHRINKING = 0.7  # of the spacing where a change is blamed on it
LEFT = 1.0 / 3.0  # of the last change, for the error left; 0.1 to 0.4 were measured
SUDDEN = 0.05  # of the change before, that a change counts for at least: grids may agree by chance
AIM = 0.95  # of the tolerance, for the whole estimate
# Allowed errors that steps under one rule may leave before it is compared with a larger one: they
# are a part of the difference then, so that more would only be blamed on the rule in vain.
FORCING = 0.7
# Share of a step that the next one is expected to take before two of them were seen: 1/300 to 1/7
# were measured, the largest over long horizons.
CONTRACTION = 0.02
# Errors fall about like paths^(-DECAY) under rules that grow; 2 to 3 were measured in the regimes
# of benchmarks/regimes.py. The growth that follows is MOST_WANTED at most, lest it overshoot.
DECAY, MOST_WANTED = 2.5, 3.0
# Growth to the first rule that is compared: nothing is known of the decay then, and a smaller step
# agreed by chance on one of some twenty random problems at rtol 1e-3.
FIRST_GROWTH = 3.0
LEAST_CONTRACTION = 0.01
# Allowed errors by which larger rules may move the solution for this change to be interpolated, not
# solved for, on the finer grid: grids of six stages interpolate to better than a hundredth.
DIRECT = 3.0
# Values of paths whose room in memory a solve takes for each pair of nodes, whatever its paths: on
# grids of 220 to 344 nodes with few paths 1,400 bytes a pair were measured.
SQUARES = 28.0
LEAST_SHARE = 0.05  # of the tolerance, for the other modes


class _Noise(NamedTuple):
    """Solution under the full rule on the coarse grid.

    `shift` is what the checks add to it.
    """

    state: Corrected
    first: Corrected  # under the rule that was used on the finer grid
    finer: Finer | None  # there
    shift: np.ndarray
    differences: list[Difference]
    rule: NoiseRule
    processes: list[EffectiveProcess]  # that gave it, that of `rule` last


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
        state = coarse.uncorrected
        finer = Finer(fine.uncorrected, fine.system, fine.process) if adapt else None
        zero = np.zeros_like(coarse.x)
        return (
            coarse,
            fine,
            _Noise(state, state, finer, zero, [], cheap, [fine.process, coarse.process]),
        )
    if given is not None:
        return coarse, fine, _given_noise(coarse, fine, given, adapt, run)
    assert isinstance(cheap, SparseRule)
    return _automatic_noise(coarse, fine, cheap, adapt, run)


def _automatic_noise(
    coarse: Level, fine: Level, cheap: SparseRule, adapt: bool, run: Run
) -> tuple[Level, Level, _Noise]:
    """Settle under one small rule, check the grid under it, and enlarge the rule until it will do.

    A step between two rules tells their difference only once the steps under the first have ended:
    before, it is mostly what the correction still had to go.
    """
    rules = _Rules(coarse, cheap, run)
    coarse, fine, state, finer, process, base = _resolved_in_time(coarse, fine, rules, adapt, run)
    system, first = coarse.system, state
    processes = [coarse.process, base, process]
    grids = time_error(coarse, fine, first, finer)
    leading = SHIFT * system.distance(coarse.x + coarse.shift, coarse.x)
    # the whole correction is in doubt until a larger rule has been seen
    before, moved, moved_before, factor, stalled = coarse.uncorrected, 0.0, 0.0, 1.0, False
    run.unknown |= run.expired
    rounds = range(1, MAX_ROUNDS) if run.converged else ()
    growth = FIRST_GROWTH
    for round_ in rounds:
        if not rules.refine(processes[-1], stalled, growth):
            break
        process, base = rules.turn(round_)
        known = _corrected(coarse, state, process, base, run)
        if not run.converged:
            run.unknown |= run.expired and round_ == 1
            break
        before, state, processes[1:] = state, known, (base, process)
        moved_before, moved = moved, system.distance(state.x, before.x)
        run.progress(f"a larger rule moves by {moved:.1e} of the tolerance")
        factor = left_share(moved, moved_before)
        excess = factor * moved / _noise_share(leading + grids)
        if excess <= 1.0 and state.settled:
            break
        growth = float(np.clip(excess ** (1.0 / DECAY), GROWTH, MOST_WANTED))
        stalled = round_ > 1 and moved > STAGNATION * moved_before
        if not rules.room(process):
            break
        if rules.contraction * moved > FORCING:
            state = _settled(coarse, state, process, base, rules, run)
    run.converged &= state.settled
    shifted = system.grid, coarse.x + coarse.shift
    differences = [
        Difference((system.grid, state.x), (system.grid, before.x), factor, "tail"),
        Difference(coarse.solution, shifted, SHIFT, "leading_mode"),
    ]
    if finer is not None:
        processes[:0] = [fine.process, finer.process]
    found = _Noise(
        state, first, finer, SHIFT * coarse.shift, differences, processes[-1].rule, processes
    )
    return coarse, fine, found


def _resolved_in_time(
    coarse: Level, fine: Level, rules: _Rules, adapt: bool, run: Run
) -> tuple[Level, Level, Corrected, Finer | None, EffectiveProcess, EffectiveProcess]:
    """Settle under the first rule, on grids that are split until that of higher order agrees.

    Returns the levels, the solution and the finer one, the process of the rule and the cheap one.
    """
    state = coarse.uncorrected
    for _ in range(MAX_ROUNDS):
        process, base = rules.turn(0)
        state = _settled(coarse, state, process, base, rules, run)
        if not (run.converged and adapt):
            break
        finer = finer_solution(coarse, fine, state, process, base, rules.contraction, run)
        if finer is None:
            break
        marked = finer.inaccurate(coarse, state, GRID_SHARE)
        if not can_split(coarse.system.grid, marked):
            return coarse, fine, state, finer, process, base
        try:
            coarse, fine, state = split_levels(coarse, fine, finer, marked, rules.cheap, run)
        except Exhausted:
            run.expired, run.converged = True, False
            break
        rules.move(coarse)
    return coarse, fine, state, None, process, base


def _settled(
    coarse: Level,
    state: Corrected,
    process: EffectiveProcess,
    base: EffectiveProcess,
    rules: _Rules,
    run: Run,
) -> Corrected:
    """Take steps under one rule until what is left of them is below FORCING allowed errors."""
    step = math.inf
    for _ in range(MAX_ROUNDS):
        before, last = state.x, step
        state = _corrected(coarse, state, process, base, run)
        if not run.converged:
            break
        step = coarse.system.distance(state.x, before)
        run.progress(f"moved by {step:.1e} of the tolerance")
        if math.isfinite(last):
            rules.contraction = float(np.clip(step / max(last, TINY), LEAST_CONTRACTION, 1.0))
        if state.settled and rules.contraction * step <= FORCING:
            break
    else:
        run.converged = False
    return state


def left_share(moved: float, moved_before: float) -> float:
    """Return the error left over the last change, given the change before it."""
    return LEFT * max(1.0, SUDDEN * moved_before / max(moved, TINY))


class _Rules:
    """The rules of the rounds, which take turns between two offsets of the leading mode."""

    def __init__(self, coarse: Level, cheap: SparseRule, run: Run) -> None:
        """Start with the other modes to the leading order."""
        self.cheap = cheap
        self.contraction = CONTRACTION
        self.move(coarse)
        self._most_atoms = max(len(coarse.system.problem.signal.components()), FIRST_ATOMS)
        atoms = max(round(cheap.atoms / LONGER[0]), FIRST_ATOMS)
        first = FIRST_TOLERANCE * run.tolerance.rtol
        size = coarse.system.grid.size
        self._most_paths = max(run.most_values / size - SQUARES * size, 0.0)
        first = min(first, coarse.process.second_mode(UNSEEN * first))
        self.rule = replace(cheap, tolerance=first, atoms=atoms)
        most = self._most_paths / 8
        while coarse.process.paths_of(self.rule).sum() > most and self.rule.tolerance < 1.0:
            self.rule = replace(self.rule, tolerance=self.rule.tolerance / REFINEMENT)

    def move(self, coarse: Level) -> None:
        """Go on on another grid."""
        self._system = coarse.system
        self._bases = {self.cheap: coarse.process}

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

    def _grown(
        self, rule: SparseRule, process: EffectiveProcess, growth: float, more: float = 1.0
    ) -> SparseRule | None:
        """Return the rule grown by this factor, or as much as there is room for."""
        found = _refined(rule, process, self._most_paths, growth, more)
        return found or _refined(rule, process, self._most_paths, GROWTH, more)

    def refine(self, process: EffectiveProcess, stalled: bool, growth: float) -> bool:
        """Enlarge the sparse grid by this factor where there is room; return whether there was.

        When steps have `stalled` it may be the two leading rules that differ, so that their
        spacing is reduced too.
        """
        before = self.rule.tolerance
        if stalled and self._narrower(process):
            narrower = replace(self.rule, spacing=SHRINKING * self.rule.spacing)
            self.rule = (
                _refined(narrower, process, self._most_paths, growth, 1 / SHRINKING) or narrower
            )
        else:
            self.rule = self._grown(self.rule, process, growth) or self.rule
        return self.rule.tolerance < before


def _noise_share(others: float) -> float:
    """Return the error, in allowed errors, that the others leave to the noise rule."""
    return max((AIM - ITERATION) / SAFETY - others, LEAST_SHARE)


def _refined(
    rule: SparseRule,
    process: EffectiveProcess,
    most: float,
    growth: float = GROWTH,
    more: float = 1.0,
) -> SparseRule | None:
    """Return the rule with a larger sparse grid for the modes of the process, None without room.

    There is room for `most` paths. It has at least `growth` times the paths of the process, times
    what the rule has `more` already. Each component of a law that is not compressed has OWN_GROWTH
    times its paths, where all of them then have less than MOST_GROWTH times.
    """
    assert isinstance(process.rule, SparseRule)
    now, enough = process.paths_of(process.rule), None
    more *= max(process.paths / now.sum(), 1.0)  # nodes placed for other modes may be more
    while rule.tolerance > LAST_TOLERANCE:
        rule = replace(rule, tolerance=REFINEMENT * rule.tolerance, atoms=rule.atoms + 1)
        paths = process.paths_of(rule)
        grown = paths.sum() / (more * now.sum())
        if paths.sum() > most or (enough and grown > MOST_GROWTH):
            break
        if grown >= growth:
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


def _given_noise(coarse: Level, fine: Level, rule: NoiseRule, adapt: bool, run: Run) -> _Noise:
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
    processes = [cheap, *(checking for _, checking in checks), process]
    finer = None
    if adapt and run.converged:
        finer = finer_solution(coarse, fine, state, process, cheap, CONTRACTION, run)
    if finer is not None:
        processes[:0] = [fine.process, finer.process]
    return _Noise(state, state, finer, shift, differences, rule, processes)


def final_solution(
    coarse: Level, fine: Level, noise: _Noise, run: Run
) -> tuple[OnGrid, Difference]:
    """Return the solution that counts, and the difference of the grids.

    It is that on the finer grid, or on the coarse one, whose whole difference is an error then.
    """
    grid = coarse.system.grid
    finer = on_finer_grid(coarse, fine, noise, run) if run.converged else None
    if finer is None or noise.finer is None:
        difference = Difference(fine.solution, coarse.solution, 1.0, "time")
        return (grid, noise.state.x + noise.shift), difference
    settled = finer[0], noise.finer.known.x
    return finer, Difference(settled, (grid, noise.first.x), HIGHER_ORDER, "time")


def on_finer_grid(coarse: Level, fine: Level, noise: _Noise, run: Run) -> OnGrid | None:
    """Carry what larger rules added on the coarse grid over to the solution on the finer one.

    Returns None where there is none, or the sweeps do not settle.
    """
    if noise.finer is None:
        return None
    system, grid, known = fine.system, coarse.system.grid, noise.finer.known
    if noise.state is noise.first:
        return system.grid, known.x + prolonged(grid, noise.shift, system.grid)
    start = known.x + prolonged(grid, noise.state.x - noise.first.x, system.grid)
    if coarse.system.distance(noise.state.x, noise.first.x) <= DIRECT:
        return system.grid, start + prolonged(grid, noise.shift, system.grid)
    added = noise.state.correction - noise.first.correction
    correction = known.correction + prolonged(grid, added, system.grid)
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
