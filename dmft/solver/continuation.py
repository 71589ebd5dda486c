"""Solves that go on from a solution: to a tighter tolerance, a longer horizon or other times."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from dmft.equations.noise_rules import NoiseRule, SparseRule
from dmft.equations.observables import TWO_TIME, one_time_functions, two_time_functions
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.solver.grids import extended, log_ratio, stages_for, transferred
from dmft.solver.tolerance import CONTROLLED, FLOOR, TINY, Tolerance
from dmft.solvers.collocation import Grid
from dmft.trajectory import Functions
from dmft.validation import shown


@dataclass(frozen=True, eq=False)
class Known:
    """Where a solve starts when there is a solution already.

    Parameters
    ----------
    grid : Grid
        The solution's panels with the solver's nodes, and more panels up to the horizon.
    x : ndarray, shape (n,)
        Packed averages there, guessed beyond the solution.
    longer : bool
        Whether there is anything beyond it.
    spacing : float or None
        Spacing of the leading mode that was enough; None where the rule had none.
    atoms : int
        Atoms of the law that were enough.
    """

    grid: Grid
    x: np.ndarray
    longer: bool
    spacing: float | None
    atoms: int

    def first_grid(self, usual: Grid) -> Grid:
        """Return the grid to start on: its own unless the tolerance asks for shorter panels."""
        return self.grid if self.grid.panels >= usual.panels and not self.longer else usual

    def refined(self, cheap: NoiseRule) -> NoiseRule:
        """Return the rule of the cheap map with the spacing and the atoms that were enough."""
        if self.spacing is None or not isinstance(cheap, SparseRule):
            return cheap
        return replace(cheap, spacing=self.spacing, atoms=max(self.atoms, cheap.atoms))


def check_continued(solution: object, problem: Problem, t_max: float) -> None:
    """Check the solution that a solve is to go on from.

    Raises
    ------
    TypeError
        If it is not a Solution.
    ValueError
        If it is that of another problem or ends after t_max.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(0.5)
    >>> check_continued(dmft.solve(problem, 5.0), problem, 2.0)
    Traceback (most recent call last):
    ...
    ValueError: t_max must be at least that of continue_from, 5.0; got 2.0
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"continue_from must be a dmft.Solution; got {solution!r}")
    if solution.problem != problem:
        raise ValueError(
            f"continue_from must solve the same problem; it solves {solution.problem!r}"
        )
    if solution.grid.t_max > t_max:
        raise ValueError(
            f"t_max must be at least that of continue_from, {shown(solution.grid.t_max)}; "
            f"got {shown(t_max)}"
        )


def known_from(solution: Solution, t_max: float, rtol: float) -> Known | None:
    """Return where to start, None where the solution has no finite averages.

    Examples
    --------
    >>> import dmft
    >>> known = known_from(dmft.solve(dmft.Problem(0.5), 5.0), t_max=8.0, rtol=1e-5)
    >>> known.grid.t_max, known.longer
    (8.0, True)
    """
    averages, old = solution.averages, solution.grid
    if not np.all(np.isfinite(averages.pack())):
        return None
    grid = Grid(old.edges, stages_for(rtol))
    averages = transferred(averages, old, grid)
    if t_max > grid.t_max:
        count = math.ceil(math.log(t_max / grid.t_max) / log_ratio(rtol))
        more = np.geomspace(grid.t_max, t_max, count + 1)[1:]
        more[-1] = t_max
        grid = Grid(np.concatenate([old.edges, more]), grid.stages)
        averages = extended(averages, grid, held=solution.problem.lam > 0)
    stats = solution.stats
    return Known(
        grid,
        averages.pack(),
        t_max > old.t_max,
        stats.get("leading_spacing"),
        int(stats.get("atoms", 0)),
    )


def at_other_times(solution: Solution, t: np.ndarray, tolerance: Tolerance) -> Solution | None:
    """Return the solution at other times, None where it does not hold all that is asked.

    It has to have succeeded with no larger tolerance, and its times have to enclose the others:
    the error at a time is then the larger one, relative to the value, of the times next to it.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 5.0, rtol=1e-3)
    >>> at_other_times(solution, np.array([1.0, 2.0]), Tolerance(1e-3)).t
    array([1., 2.])
    >>> at_other_times(solution, np.array([1.0, 2.0]), Tolerance(1e-4)) is None
    True
    """
    floors = [solution.stats.get(f"atol_{name}", math.inf) for name in CONTROLLED]
    peaks = np.array([np.max(np.abs(solution.values[name])) for name in CONTROLLED])
    asked = tolerance.floor(peaks) * (1 + 1e-9)
    enough = solution.success and solution.rtol <= tolerance.rtol and np.all(floors <= asked)
    if not enough or t[0] < solution.t[0] or t[-1] > solution.t[-1]:
        return None
    problem, grid, averages = solution.problem, solution.grid, solution.averages
    values = one_time_functions(problem, grid, averages, t)
    after = np.clip(np.searchsorted(solution.t, t), 0, solution.t.size - 1)
    before = np.maximum(np.where(solution.t[after] == t, after, after - 1), 0)
    errors = {}
    for name, value in values.items():
        floor = FLOOR * np.max(np.abs(solution.values[name])) + TINY
        relative = solution.error[name] / (np.abs(solution.values[name]) + floor)
        errors[name] = np.maximum(relative[before], relative[after]) * (np.abs(value) + floor)

    def two_time() -> dict[str, np.ndarray]:
        return two_time_functions(problem, grid, averages, t)

    def two_time_errors() -> dict[str, np.ndarray]:
        found = {}
        for name in TWO_TIME:
            error = solution.error[name]
            rows = np.maximum(error[before], error[after])
            found[name] = np.maximum(rows[:, before], rows[:, after])
        return found

    return replace(
        solution,
        t=t,
        values=Functions(values, TWO_TIME, two_time),
        error=Functions(errors, TWO_TIME, two_time_errors),
    )
