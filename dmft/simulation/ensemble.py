"""Simulations over many seeds, and the averages that they give."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from dmft import parallel
from dmft.equations.observables import LONG_NAMES
from dmft.interrupts import deferred, interruptible
from dmft.models import for_every_model
from dmft.problem import Problem
from dmft.simulation.data import (
    Data,
    check_design,
    check_dimension,
    check_problem,
    drawn_data,
    samples,
)
from dmft.simulation.flow import Flow
from dmft.simulation.steps import descend
from dmft.storage import Group, Record, Variable, configuration_of
from dmft.trajectory import Functions, Trajectory, read_only
from dmft.validation import Rng, recorded_seed, require_in_range, require_integer, require_times

TWO_TIME_LIMIT = 200  # times up to which two-time functions are kept: their size is T^2 a seed

RUNS = "runs_of_"  # begins the names of variables that hold each seed

WORTH_PROCESSES = 3.0  # seconds of work that make up for starting processes


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Trajectory):
    """Simulations of one problem at finite dimension, over independent seeds.

    Attributes
    ----------
    problem : Problem
        The problem that was simulated.
    t : ndarray, shape (T,)
        Times.
    dimension, samples : int
        d and n = round(delta d).
    design : str
        Law of the entries of X.
    seed : int
        Draw k is `draw_data(..., rng=SeedSequence(seed, spawn_key=(k,)))`.
    runs : dict of str to ndarray
        Raw values, one row a seed: "test_error" |w - w*|^2/(2d), "train_error" |y - X w|^2/(2n),
        "mean_w" sum w/d and "overlap" w.w*/d, shape (seeds, T); "C_w" theta(t).theta(s)/d with
        theta = w - w*, and "C_r" r(t).r(s)/n with r = X w - y, shape (seeds, T, T), for T up to
        `TWO_TIME_LIMIT`.
    stats : dict of str to ndarray
        For each seed, shape (seeds,): "wall_time" in seconds, "evaluations" of the velocity,
        "steps", and "factorisations" in stiff stretches.
    values, error : mapping of str to ndarray
        Means over seeds of `runs`, shape (T,) or (T, T), and their standard errors. The names are
        also attributes: `ensemble.test_error`.
    """

    problem: Problem
    t: np.ndarray
    dimension: int
    samples: int
    design: str
    seed: int
    runs: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    values: Mapping[str, np.ndarray] = field(init=False)
    error: Mapping[str, np.ndarray] = field(init=False)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.runs["test_error"])

    texts: ClassVar[Mapping[str, str]] = LONG_NAMES
    value_text: ClassVar[str] = "mean over seeds: "
    error_prefix: ClassVar[str] = "standard_error_of_"
    error_text: ClassVar[str] = "standard error of the mean over seeds: "

    def __post_init__(self) -> None:
        """Check the times and make all arrays read-only."""
        object.__setattr__(self, "t", read_only(require_times("t", self.t)))
        for name in ("runs", "stats"):
            arrays = {key: read_only(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)
        means = {name: runs.mean(axis=0) for name, runs in self.runs.items()}
        errors = {name: self._standard_error(runs) for name, runs in self.runs.items()}
        object.__setattr__(self, "values", Functions(means))
        object.__setattr__(self, "error", Functions(errors))

    def _standard_error(self, runs: np.ndarray) -> np.ndarray:
        if self.seeds == 1:
            return np.full(runs.shape[1:], np.inf)
        return runs.std(axis=0, ddof=1) / np.sqrt(self.seeds)

    def mean(self, name: str) -> np.ndarray:
        """Return the mean over seeds of the quantity `name`, shape (T,) or (T, T).

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        return self._function(self.values, name)

    def standard_error(self, name: str) -> np.ndarray:
        """Return the standard error of `mean(name)`; infinite for a single seed.

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        return self._function(self.error, name)

    def _function(self, functions: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if name not in functions:
            raise ValueError(
                f"name must be one of {sorted(self.runs)}; got {name!r} "
                f"(C_w and C_r are kept for at most {TWO_TIME_LIMIT} times)"
            )
        return functions[name]

    def summary(self) -> dict[str, str]:
        """Return the setting, the times and the last errors."""
        return {
            "problem": repr(self.problem),
            "dimension": f"d = {self.dimension}, n = {self.samples}, {self.design} design",
            "seeds": f"{self.seeds}, from seed {self.seed}",
            **self.functions_summary(),
        }

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        settings = {
            "problem": configuration_of("problem", self.problem),
            "dimension": self.dimension,
            "samples": self.samples,
            "design": self.design,
            "seed": self.seed,
        }
        index = Variable(("seed_index",), np.arange(self.seeds), "index of the seed")
        variables = {**self.function_variables(), "seed_index": index}
        for name, runs in self.runs.items():
            dimensions = ("seed_index", "t", "s")[: runs.ndim]
            text = f"each seed: {self.texts[name]}"
            variables[f"{RUNS}{name}"] = Variable(dimensions, runs, text)
        stats = {
            name: Variable(("seed_index",), value, name.replace("_", " "), _units(name))
            for name, value in self.stats.items()
        }
        content = Group(variables, groups={"stats": Group(stats)})
        return Record("Simulations of a diagonal network", settings, content)

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the ensemble that `record` was made of."""
        content, settings = record.content, dict(record.configuration)
        problem = Problem.from_config(settings.pop("problem"))
        runs = {
            name.removeprefix(RUNS): variable.values
            for name, variable in content.variables.items()
            if name.startswith(RUNS)
        }
        stats = content.groups["stats"].as_stats()
        return cls(problem, content["t"], runs=runs, stats=stats, **settings)


def save_ensemble(ensemble: Ensemble, path: str | PathLike[str]) -> None:
    """Write an ensemble to a file; the same as `ensemble.save(path)`.

    Raises
    ------
    TypeError
        If `ensemble` is not an Ensemble.
    ValueError, OSError
        As of `Ensemble.save`.
    """
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"ensemble must be a dmft.Ensemble; got {type(ensemble).__name__}")
    ensemble.save(path)


def load_ensemble(path: str | PathLike[str]) -> Ensemble:
    """Read an ensemble from a file; the same as `Ensemble.load(path)`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something else; see `dmft.load`.
    """
    return Ensemble.load(path)


def _units(name: str) -> str:
    return "s" if name.endswith("_time") else "1"


@for_every_model
def simulate(
    problem: Problem,
    t_eval: Any,
    dimension: int = 500,
    seeds: int = 16,
    rng: Rng = 0,
    design: str = "gaussian",
    workers: int | None = None,
    rtol: float = 1e-6,
    progress: Callable[[int, int], None] | None = None,
) -> Ensemble:
    """Integrate the gradient flow of the network on `seeds` independent draws of the data.

    Parameters
    ----------
    problem : Problem
        The problem; n = round(delta dimension).
    t_eval : array_like, shape (T,)
        Increasing times >= 0, in the unit du/dt = -(d/2) dL/du.
    dimension : int
        d >= 1; round(delta d) must not be 0.
    seeds : int
        Number of independent draws, >= 1.
    rng : int, Generator, SeedSequence or None
        Source of randomness. An int gives the same result each time, to the last bit, whatever
        the number of workers; None draws fresh entropy, which `Ensemble.seed` records.
    design : {"gaussian", "rademacher", "student_t"}
        Law of the entries of X, of variance 1/d; Student's t has 5 degrees of freedom.
    workers : int, optional
        Processes. By default the first seed is timed, and as many as processors are available
        share the others if that pays. They need no guard of the main module.
    rtol : float
        Tolerance of the integrator in (0, 0.01]. The relative errors that it leaves in test_error
        and train_error are a small multiple of it, below 1e-5 at the default, until these fall
        below 1e-12 of their scale or to the rounding errors of the layers' products.
    progress : callable, optional
        Called from the calling thread with (seeds done, seeds) after each seed.

    Returns
    -------
    Ensemble
        Means, standard errors and raw runs.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of another type.
    RuntimeError
        If the integration of a seed breaks down.

    Warns
    -----
    UserWarning
        If n/d differs from delta by more than 1 %.

    Notes
    -----
    Ctrl-C, or an exception in `progress`, stops all seeds and propagates.
    """
    check_problem(problem)
    t = require_times("t_eval", t_eval)
    problem.dynamics.require_simulated(t)
    dimension = check_dimension(problem, dimension)
    seeds = require_integer("seeds", seeds, low=1)
    check_design(design)
    if workers is not None:
        workers = require_integer("workers", workers, low=1)
    if "__main__" in {type(problem.signal).__module__, type(problem.network).__module__}:
        workers = 1  # another process could not import the class
    rtol = require_in_range("rtol", rtol, low=0.0, high=0.01, low_open=True)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None; got {progress!r}")
    seed = recorded_seed(rng)

    task = functools.partial(_one_seed, problem, t, dimension, design, rtol)
    children = np.random.SeedSequence(seed).spawn(seeds)
    results: dict[int, _Run] = {}
    with deferred():
        import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be held)

    each = _each_seed(task, children, workers)
    with interruptible(), parallel.single_blas_thread(), closing(each) as done:
        for k, result in done:
            results[k] = result
            if progress is not None:
                progress(len(results), seeds)
    ordered = [results[k] for k in range(seeds)]
    return Ensemble(
        problem=problem,
        t=t,
        dimension=dimension,
        samples=samples(problem, dimension),
        design=design,
        seed=seed,
        runs=_stacked([run.values for run in ordered]),
        stats=_stacked([run.stats for run in ordered]),
    )


class _Run(NamedTuple):
    values: dict[str, np.ndarray]
    stats: dict[str, Any]


def _one_seed(
    problem: Problem,
    t: np.ndarray,
    dimension: int,
    design: str,
    rtol: float,
    child: np.random.SeedSequence,
) -> _Run:
    start = time.perf_counter()
    data = drawn_data(problem, dimension, design, child)
    # a trial step of a flow may overflow; it is then rejected
    with np.errstate(all="ignore"):
        if problem.dynamics.in_steps:
            own = np.random.SeedSequence(child.entropy, spawn_key=(*child.spawn_key, 0))
            weights, steps = descend(problem, data, t, np.random.default_rng(own))
            work: dict[str, Any] = {"steps": steps}
        else:
            weights, work = _integrated(problem, data, t, rtol)
        values = _observables(weights, data)
    return _Run(values, {"wall_time": time.perf_counter() - start, **work})


def _integrated(
    problem: Problem, data: Data, t: np.ndarray, rtol: float
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the weights (T, d) along the flow, and counts of the work."""
    from dmft.solvers.stiff_ode import integrate

    flow = Flow(problem, data, rtol)
    states, work = integrate(flow, flow.start, t)
    weights = np.stack([problem.mirror.output_weight(flow.layers(z)) for z in states])
    return weights, vars(work)


def _observables(weights: np.ndarray, data: Data) -> dict[str, np.ndarray]:
    """Return the values of one seed for the weights (T, d) along its path."""
    n, d = data.X.shape
    theta = weights - data.w_star
    residual = weights @ data.X.T - data.y
    values = {
        "test_error": np.sum(theta**2, axis=1) / (2 * d),
        "train_error": np.sum(residual**2, axis=1) / (2 * n),
        "mean_w": weights.mean(axis=1),
        "overlap": weights @ data.w_star / d,
    }
    if len(weights) <= TWO_TIME_LIMIT:
        values["C_w"] = theta @ theta.T / d
        values["C_r"] = residual @ residual.T / n
    return values


def _each_seed(
    task: Callable[[np.random.SeedSequence], _Run],
    children: list[np.random.SeedSequence],
    workers: int | None,
) -> Generator[tuple[int, _Run], None, None]:
    """Yield (k, result of seed k) as they are done; by default in processes if that saves time."""
    first = 0
    if workers is None:
        start = time.perf_counter()
        result = task(children[0])
        work = (time.perf_counter() - start) * (len(children) - 1)
        workers = parallel.processors() if work > WORTH_PROCESSES else 1
        first = 1
        yield 0, result
    rest = children[first:]
    workers = min(workers, len(rest))
    if workers > 1:
        with closing(parallel.unordered_map(task, rest, workers)) as done:
            for k, result in done:
                yield first + k, result
        return
    for k, child in enumerate(rest):
        yield first + k, task(child)


def _stacked(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return one read-only array for each name, with a row for each seed."""
    table = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    for array in table.values():
        array.setflags(write=False)
    return table
