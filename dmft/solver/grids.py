"""Automatic choice of the time grid: geometric panels from the problem's rates, then splitting."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.start import initial_time
from dmft.problem import Problem
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid, Transfer

STAGES = 6
STAGES_SHARP = 8  # for rtol < 1e-6
LOG_RATIO = 1.0  # of neighbouring panel lengths at rtol 1e-3; measured to waste least
MAX_PANELS = 60
GRID_SHARE = 1.0  # of the tolerance, for the difference of the grids of lower and higher order
COEFFICIENT = 10.0  # last Legendre coefficient over rtol at which a panel is split


def log_ratio(rtol: float) -> float:
    """Return the logarithm of the ratio of neighbouring panels' ends.

    Examples
    --------
    >>> log_ratio(1e-3)
    1.0
    """
    # the error of a panel falls about like its relative length to the power of seven
    return float(LOG_RATIO * (rtol / 1e-3) ** (1 / 7))


def stages_for(rtol: float) -> int:
    """Return the number of nodes in a panel.

    Examples
    --------
    >>> stages_for(1e-3), stages_for(1e-8)
    (6, 8)
    """
    return STAGES if rtol >= 1e-6 else STAGES_SHARP


def initial_grid(problem: Problem, t_max: float, rtol: float) -> Grid:
    """Return geometric panels, the first as long as the fastest rate at t = 0 asks."""
    first = min(initial_time(problem), t_max / 3)
    count = max(2, round(np.log(t_max / first) / log_ratio(rtol)))
    edges = np.concatenate([[0.0], np.geomspace(first, t_max, count + 1)])
    edges[-1] = t_max
    return Grid(edges, stages_for(rtol))


def unresolved_panels(
    problem: Problem, grid: Grid, averages: Averages, tolerance: Tolerance
) -> np.ndarray:
    """Return which panels' last Legendre coefficient of the errors is too large, shape (P,)."""
    residual = build_residual(problem, grid, averages)
    profiles = 0.5 * np.array([averages.C_w.diagonal(), residual.variance])
    size = np.abs(profiles)
    least = np.minimum(size[:, : -1 : grid.stages], size[:, grid.stages :: grid.stages])
    allowed = tolerance.allowed(least, size.max(axis=1))
    last = np.array([grid.resolution(profile) for profile in profiles])
    return np.any(last > COEFFICIENT * allowed, axis=0)


def inaccurate_panels(grid: Grid, ratios: np.ndarray, share: float = GRID_SHARE) -> np.ndarray:
    """Return which panels let the error rise too far, shape (P,); none where all is well.

    `ratios` (..., N + 1) is the error at t = 0 and the nodes over the allowed error. An error
    made in one panel stays in the later ones, so that the rise within a panel counts.
    """
    ratios = ratios.reshape(-1, grid.size + 1)
    if not np.max(ratios) > share:
        return np.zeros(grid.panels, dtype=bool)
    within = ratios[:, 1:].reshape(len(ratios), grid.panels, grid.stages).max(axis=-1)
    rise = (within - ratios[:, : -1 : grid.stages]).max(axis=0)
    return rise > min(0.5 * share, 0.5 * rise.max())


def transferred(averages: Averages, grid: Grid, target: Grid) -> Averages:
    """Return the averages on another grid of the same length, as a first guess there."""
    transfer = _transfer(grid, target)
    move = transfer.values
    return Averages(
        move @ averages.C_w @ move.T,
        transfer.operator(averages.A),
        move @ averages.mean_w,
        move @ averages.overlap,
        move @ averages.mean_D,
    )


@lru_cache(maxsize=8)
def _transfer(grid: Grid, target: Grid) -> Transfer:
    return Transfer(grid, target)


def extended(averages: Averages, longer: Grid, held: bool) -> Averages:
    """Return the averages on a grid that goes on, with weights that stay, as a first guess there.

    Weights that have come to rest do not respond any more: R_w(t, s) = -(A S)(t, s) stays at its
    last value too for s before the end of the old grid. Weights that are `held` in balance forget:
    A of a new panel is that of the panel before it, over as much more time as the new one takes.
    """
    size, added = len(averages.A), longer.size - len(averages.A)
    p = longer.stages
    A = np.zeros((longer.size, longer.size))
    A[:size, :size] = averages.A
    if held:
        steps = np.diff(longer.edges)
        for q in range(size // p, longer.panels):
            here, before = A[q * p : (q + 1) * p], A[(q - 1) * p : q * p]
            stretch = steps[q] / steps[q - 1]
            here[:, p:], here[:, :p] = before[:, :-p] / stretch, before[:, :p] / stretch
    else:
        last_D = averages.mean_D[-1]
        A[size:, :size] = averages.A[-1]
        A[size:, size - 1] -= last_D
        A[np.arange(size, longer.size), np.arange(size, longer.size)] = last_D
    vectors = (
        np.pad(x, (0, added), mode="edge")
        for x in (averages.mean_w, averages.overlap, averages.mean_D)
    )
    return Averages(np.pad(averages.C_w, (0, added), mode="edge"), A, *vectors)
