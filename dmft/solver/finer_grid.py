"""The settled solution on a grid of higher order, which gives the result and tells the time error.

Both grids have corrections of their own, evaluated under the same noise rule: an interpolated
correction would be as rough as the coarse grid leaves it, and no difference would show that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmft.equations.effective_process import EffectiveProcess
from dmft.equations.noise_rules import NoiseRule
from dmft.solver.cheap_map import (
    HIGHER_ORDER,
    PATIENCE,
    Level,
    Run,
    prolonged,
    refine_grid,
    time_difference,
)
from dmft.solver.errors import ITERATION
from dmft.solver.grids import GRID_SHARE, inaccurate_panels
from dmft.solver.iteration import Corrected, SelfConsistency
from dmft.solvers.fixed_point import Exhausted

MOST_STEPS = 4  # on the finer grid; one does where the correction of the coarse one is smooth
FORCING = 0.3  # allowed errors that these steps may leave


@dataclass(frozen=True, eq=False)
class Finer:
    """A solution on the finer grid.

    Parameters
    ----------
    known : Corrected
    system : SelfConsistency
    process : EffectiveProcess
        That of its noise rule.
    """

    known: Corrected
    system: SelfConsistency
    process: EffectiveProcess

    def ratios(self, coarse: Level, state: Corrected) -> np.ndarray:
        """Return the difference of the grids over the allowed error, (2, N + 1), here."""
        seen = coarse.system.observables_at(state.x, self.system.grid.nodes_with_start)
        return self.system.ratios(self.known.x, seen)

    def inaccurate(self, coarse: Level, state: Corrected, share: float) -> np.ndarray:
        """Return which panels are to be split, shape (P,)."""
        return inaccurate_panels(self.system.grid, self.ratios(coarse, state), share)


def finer_solution(
    coarse: Level,
    fine: Level,
    state: Corrected,
    process: EffectiveProcess,
    base: EffectiveProcess,
    contraction: float,
    run: Run,
) -> Finer | None:
    """Solve on the finer grid under the nodes of a settled solution; None where that fails.

    `process` is that of the solution and `base` the cheap one that goes with it, both on the coarse
    grid.
    """
    system, grid = fine.system, coarse.system.grid
    correction = prolonged(grid, state.correction, system.grid)
    start = fine.x + prolonged(grid, state.x - coarse.x, system.grid)
    process = process.on(system.grid)
    cheap = fine.process if base is coarse.process else base.on(system.grid)
    bound = min(PATIENCE, run.max_sweeps)
    try:
        point = system.solve(fine.process, start, ITERATION, bound, correction)
        run.note(f"{system.grid.stages} stages", point)
        known = Corrected(point, correction, point.success)
        for _ in range(MOST_STEPS):
            before = known.x
            known = system.corrected(fine.process, known, process, cheap, ITERATION, bound)
            step = system.distance(known.x, before)
            run.note(f"{process.paths} paths", known.point)
            if not known.settled:
                return None
            if contraction * step <= FORCING:
                return Finer(known, system, process)
    except Exhausted:
        run.expired = True
    return None


def time_error(coarse: Level, fine: Level, state: Corrected, finer: Finer | None) -> float:
    """Return the largest error of the grid that gives the result, in allowed ones."""
    if finer is None:
        return time_difference(coarse, fine)
    return HIGHER_ORDER * float(np.max(finer.ratios(coarse, state)))


def split_levels(
    coarse: Level, fine: Level, finer: Finer, marked: np.ndarray, cheap: NoiseRule, run: Run
) -> tuple[Level, Level, Corrected]:
    """Return the cheap map on split panels, and the corrected solution carried there."""
    before, known = finer.system.grid, finer.known
    grid = coarse.system.grid.split(marked)
    shift = prolonged(coarse.system.grid, coarse.shift, grid)
    x = prolonged(before, fine.x, grid)
    coarse, fine, _ = refine_grid(coarse.system.on(grid), x, shift, cheap, True, GRID_SHARE, run)
    system = coarse.system
    correction = prolonged(before, known.correction, system.grid)
    start = prolonged(before, known.x, system.grid)
    if not run.converged:
        return coarse, fine, coarse.uncorrected
    point = system.solve(coarse.process, start, ITERATION, run.max_sweeps, correction)
    return coarse, fine, Corrected(point, correction, point.success)
