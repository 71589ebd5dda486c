"""A figure of theory over simulation: what it shows, and what is computed for it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dmft.limits.stability import BeyondTheEdge
from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.saddle_ensemble import SaddleEnsemble, saddle_ensemble
from dmft.simulation.simulate import simulate
from dmft.solution import Solution
from dmft.solver.solve import solve
from dmft.validation import Rng, recorded_seed

TIMES = 90


@dataclass(frozen=True)
class Effort:
    """How much is computed: dimensions and seeds of the simulations, accuracy of the theory.

    Examples
    --------
    >>> Effort((500,), 8, 1e-3)
    Effort(dimensions=(500,), seeds=8, rtol=0.001)
    """

    dimensions: tuple[int, ...]
    seeds: int
    rtol: float


@dataclass(frozen=True)
class Preset:
    """One figure: what it shows and what is computed for it.

    Attributes
    ----------
    title : str
        One line.
    drawing : callable
        Takes the preset and its runs and returns a matplotlib Figure; pyplot is not involved.
    problems : tuple of Problem
    horizons : tuple of float
        Last time for each problem.
    quick, full : Effort
    log_time : bool
        Whether the times crowd towards 0.
    saddles : bool
        Whether the simulations are saddle-to-saddle runs, for alpha -> 0, not gradient flow.
    varies : tuple of str
        Fields of its problems that may have several values; delta may always have one.
    horizon : callable, optional
        Last time for another problem than its own; by default that of the problem it comes from.
    """

    title: str
    drawing: Callable[[Preset, Sequence[Run]], Any]
    problems: tuple[Problem, ...]
    horizons: tuple[float, ...]
    quick: Effort = Effort((500,), 8, 1e-2)
    full: Effort = Effort((2000,), 16, 1e-3)
    log_time: bool = True
    saddles: bool = False
    varies: tuple[str, ...] = ()
    horizon: Callable[[Problem], float] | None = None

    def __post_init__(self) -> None:
        """Check that there is one horizon a problem.

        Raises
        ------
        ValueError
            If there is not.
        """
        if len(self.problems) != len(self.horizons):
            raise ValueError(
                f"horizons must be {len(self.problems)}, one a problem; got {len(self.horizons)}"
            )

    def varied(
        self,
        *,
        dimension: int | None = None,
        seeds: int | None = None,
        rtol: float | None = None,
        **values: Sequence[float] | None,
    ) -> Preset:
        """Return the figure for other problems, simulations or another accuracy.

        Parameters
        ----------
        dimension, seeds : int, optional
            Of the simulations.
        rtol : float, optional
            Accuracy of the theory.
        **values : sequence of float, optional
            Values of delta, alpha or lam that take the place of the figure's own.

        Raises
        ------
        ValueError
            If the figure does not depend on such values, or one is out of its range.

        Examples
        --------
        >>> from dmft.figures.presets import PRESETS
        >>> grokking = PRESETS["grokking"].varied(alpha=[5.0], lam=[0.5, 0.1], seeds=4)
        >>> [(p.alpha, p.lam) for p in grokking.problems], grokking.quick.seeds
        ([(5.0, 0.5), (5.0, 0.1)], 4)
        """
        runs = list(zip(self.problems, self.horizons, strict=True))
        for name, chosen in values.items():
            if chosen is not None:
                self._check_varies(name, chosen)
                runs = [self._changed(run, name, value) for run in runs for value in chosen]
        distinct = dict(runs)  # problems that differed in what has been replaced are now the same
        effort: dict[str, Any] = {
            "dimensions": None if dimension is None else (dimension,),
            "seeds": seeds,
            "rtol": rtol,
        }
        given = {name: value for name, value in effort.items() if value is not None}
        return replace(
            self,
            problems=tuple(distinct),
            horizons=tuple(distinct.values()),
            quick=replace(self.quick, **given),
            full=replace(self.full, **given),
        )

    def _check_varies(self, name: str, chosen: Sequence[float]) -> None:
        if name not in self.varies and (name != "delta" or len(chosen) != 1):
            several = ", ".join(self.varies) or "none"
            raise ValueError(
                f"{name} cannot be {list(chosen)} in this figure: of delta, alpha and lam it takes "
                f"several values of {several}, and one of delta"
            )

    def _changed(
        self, run: tuple[Problem, float], name: str, value: float
    ) -> tuple[Problem, float]:
        change: dict[str, Any] = {name: value}
        problem = replace(run[0], **change)
        if self.horizon is None or name == "delta":
            return problem, run[1]
        return problem, self.horizon(problem)

    @property
    def dimension(self) -> int:
        """Dimension of the simulations of the quick figure; the largest where there are several."""
        return max(self.quick.dimensions)

    def times(self, index: int) -> np.ndarray:
        """Return the times of problem `index`, shape (T,), from 0 to its horizon."""
        problem, horizon = self.problems[index], self.horizons[index]
        if not self.log_time:
            return problem.dynamics.attainable(np.linspace(0.0, horizon, TIMES))
        # the fastest change at the start has the rate alpha^2 (1 + delta^(-1/2))^2
        first = min(0.02 / max(problem.alpha**2, 1.0), 1e-2 * horizon)
        times = np.concatenate([[0.0], np.geomspace(first, horizon, TIMES - 1)])
        times[-1] = horizon  # not a rounding error beyond it
        return times


class Run(NamedTuple):
    """Theory of one problem, and its simulations, one ensemble a dimension."""

    solution: Solution
    ensembles: tuple[Ensemble, ...]
    saddles: SaddleEnsemble | None


def compute(
    preset: Preset,
    *,
    full: bool = False,
    rng: Rng = 0,
    progress: Callable[[str], None] | None = None,
) -> tuple[Run, ...]:
    """Solve and simulate the problems of a preset.

    Parameters
    ----------
    preset : Preset
    full : bool
        Whether to make the larger effort.
    rng : int, Generator, SeedSequence or None
        Source of randomness; all problems of a preset see the same random data.
    progress : callable, optional
        Receives a line of text for each stage.

    Returns
    -------
    tuple of Run
        One a problem. Saddle-to-saddle runs, which do not depend on alpha, come with the last.

    Raises
    ------
    ValueError
        If `rng` is a negative integer.
    RuntimeError
        If a solution does not converge, or a simulation breaks down.
    """
    seed = recorded_seed(rng)
    effort = preset.full if full else preset.quick
    note = progress or (lambda text: None)
    return tuple(_runs(preset, effort, seed, note))


def _runs(preset: Preset, effort: Effort, rng: int, note: Callable[[str], None]) -> Iterator[Run]:
    count = len(preset.problems)
    for k, problem in enumerate(preset.problems):
        label, t = f"problem {k + 1} of {count}", preset.times(k)
        note(f"{label}: theory")
        with warnings.catch_warnings():  # figures choose such steps on purpose
            warnings.simplefilter("ignore", BeyondTheEdge)
            solution = solve(problem, preset.horizons[k], t, effort.rtol, rng)
        if solution.status >= 2:  # its numbers mean nothing and must not be drawn
            raise RuntimeError(f"{label}, {problem}: {solution.message}")
        ensembles: tuple[Ensemble, ...] = ()
        saddles = None
        if not preset.saddles:
            ensembles = tuple(
                simulate(problem, t, d, effort.seeds, rng, progress=_counter(note, label))
                for d in effort.dimensions
            )
        elif k == count - 1:
            tau = t / (2 * math.log(1 / problem.alpha))
            saddles = saddle_ensemble(
                problem, tau, max(effort.dimensions), effort.seeds, rng, _counter(note, "saddles")
            )
        yield Run(solution, ensembles, saddles)


def _counter(note: Callable[[str], None], label: str) -> Callable[[int, int], None]:
    return lambda done, total: note(f"{label}: simulated {done} of {total} seeds")


DELTA = 0.5
NOISE = 0.1


def decaying(pairs: tuple[tuple[float, float], ...], sigma2: float) -> dict[str, Any]:
    """Return a figure's problems of (alpha, lam) and their horizons."""
    problems = tuple(Problem(DELTA, alpha, lam, sigma2) for alpha, lam in pairs)
    return _with_horizons(problems, _four_transitions, ("alpha", "lam"))


def _four_transitions(problem: Problem) -> float:
    """Return four times the lazy-to-rich time 2 log(alpha)/lam."""
    if problem.alpha <= 1 or problem.lam <= 0:
        raise ValueError(
            "alpha must be > 1 and lam > 0 for a transition from lazy to rich; got "
            f"alpha = {problem.alpha!r}, lam = {problem.lam!r}"
        )
    return 8 * math.log(problem.alpha) / problem.lam


def small_starts(alphas: tuple[float, ...], last: float) -> dict[str, Any]:
    """Return a figure's problems of small alpha and their times t = 2 log(1/alpha) `last`."""

    def horizon(problem: Problem) -> float:
        if problem.alpha >= 1:
            raise ValueError(f"alpha must be < 1 for a small start; got {problem.alpha!r}")
        return 2 * math.log(1 / problem.alpha) * last

    problems = tuple(Problem(DELTA, alpha, 0.0, NOISE) for alpha in alphas)
    return _with_horizons(problems, horizon, ("alpha",))


def _with_horizons(
    problems: tuple[Problem, ...], horizon: Callable[[Problem], float], varies: tuple[str, ...]
) -> dict[str, Any]:
    horizons = tuple(map(horizon, problems))
    return {"problems": problems, "horizons": horizons, "horizon": horizon, "varies": varies}
