"""Error estimates of the observables and two-time functions from differences of solutions.

Each difference compares independent information: noise rules that share no leading nodes, sparse
grids of two sizes, time grids of two orders.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dmft.equations.averages import Averages
from dmft.equations.observables import ONE_TIME, one_time_functions, two_time_functions
from dmft.problem import Problem
from dmft.solver.tolerance import CONTROLLED, FLOOR, TINY, Tolerance
from dmft.solvers.collocation import Grid

OnGrid = tuple[Grid, np.ndarray]  # packed averages and their grid

ITERATION = 0.15  # allowed errors that sweeps may leave, and that the estimate counts for them
SAFETY = 3.0  # estimated error over the differences, since the checks are not exact either


class Difference(NamedTuple):
    """Two solutions, and the share of their difference that counts as an error, with its source."""

    one: OnGrid
    other: OnGrid
    factor: float = 1.0
    source: str = "checks"


def one_time_errors(
    problem: Problem,
    noise: list[Difference],
    time: Difference,
    t: np.ndarray,
    values: dict[str, np.ndarray],
    floor: float,
    tolerance: Tolerance,
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
    floors = _floors(_observables(problem, time.one, None), tolerance)
    for pair in noise:
        one, other = (_observables(problem, side, None) for side in (pair.one, pair.other))
        for name in ONE_TIME:
            ratio = np.abs(one[name] - other[name]) / _scale(other[name], floors[name])
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
        ratio = np.abs(one[name] - other[name]) / _scale(other[name], floors[name])
        np.maximum.at(within, panel, SAFETY * time.factor * ratio)
        relative = constant[name] + np.maximum.accumulate(within)[panel][wanted]
        errors[name] = relative * _scale(values[name], floors[name])
    return errors


def _scale(value: np.ndarray, floor: float) -> np.ndarray:
    """Return the size that relative errors refer to, shape (T,)."""
    return np.abs(value) + floor + TINY


def _floors(values: dict[str, np.ndarray], tolerance: Tolerance) -> dict[str, float]:
    """Return the absolute over the relative error that is allowed to each observable."""
    floors = {name: FLOOR * float(np.max(np.abs(value))) for name, value in values.items()}
    peaks = np.array([np.max(np.abs(values[name])) for name in CONTROLLED])
    return floors | dict(zip(CONTROLLED, tolerance.floor(peaks) / tolerance.rtol, strict=True))


def _observables(problem: Problem, side: OnGrid, t: np.ndarray | None) -> dict[str, np.ndarray]:
    grid, x = side
    return one_time_functions(problem, grid, Averages.unpack(x, grid.size), t)


def two_time_errors(
    problem: Problem, differences: list[Difference], t: np.ndarray, floor: float
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


def errors_by_source(
    noise: list[Difference], time: Difference, problem: Problem, tolerance: Tolerance
) -> dict[str, float]:
    """Return the largest relative error of test and train error from each source."""
    found = {"iteration": ITERATION * tolerance.rtol}
    floors = _floors(_observables(problem, time.one, None), tolerance)
    t = time.one[0].nodes_with_start
    for pair in (*noise, time):
        one, other = (_observables(problem, side, t) for side in (pair.one, pair.other))
        ratios = (
            np.abs(one[name] - other[name]) / _scale(other[name], floors[name])
            for name in CONTROLLED
        )
        error = SAFETY * pair.factor * max(float(np.max(ratio)) for ratio in ratios)
        found[pair.source] = found.get(pair.source, 0.0) + error
    return found


def worst_error(
    tolerance: Tolerance,
    values: dict[str, np.ndarray],
    errors: dict[str, np.ndarray],
    peaks: np.ndarray,
) -> float:
    """Return the largest estimated error of test and train error over the allowed error."""
    estimated = np.array([errors[name] for name in CONTROLLED])
    allowed = tolerance.allowed(np.array([values[name] for name in CONTROLLED]), peaks)
    return float(np.max(estimated / allowed))
