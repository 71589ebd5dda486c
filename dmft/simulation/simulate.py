"""Simulations over many seeds."""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from dmft import compilation, parallel
from dmft.interrupts import deferred
from dmft.models import for_every_model
from dmft.problem import Problem
from dmft.simulation.data import (
    Data,
    DesignSource,
    HeldOut,
    check_design,
    check_dimension,
    check_problem,
)
from dmft.simulation.ensemble import TWO_TIME_LIMIT, Ensemble
from dmft.simulation.flow import Flow
from dmft.simulation.real_data import OwnSource, own_source
from dmft.simulation.steps import descend
from dmft.validation import Rng, recorded_seed, require_in_range, require_integer, require_times

WORTH_PROCESSES = 3.0  # seconds of work that make up for starting processes


@for_every_model
def simulate(
    problem: Problem,
    t_eval: Any,
    dimension: int | None = None,
    seeds: int = 16,
    rng: Rng = 0,
    design: str = "gaussian",
    workers: int | None = None,
    rtol: float = 1e-6,
    progress: Callable[[int, int], None] | None = None,
    *,
    data: Any = None,
    samples: int | None = None,
    standardise: bool = True,
) -> Ensemble:
    """Integrate the gradient flow of the network on `seeds` draws of random or given data.

    Parameters
    ----------
    problem : Problem
        The problem; n = round(delta dimension). With `data`, delta is that of their shape, and
        sigma2 and the law of w* are those of their targets where they hold targets; the problem
        that was simulated is `Ensemble.problem`.
    t_eval : array_like, shape (T,)
        Increasing times >= 0, in the unit du/dt = -(d/2) dL/du.
    dimension : int, optional
        d >= 1; round(delta d) must not be 0. By default 500, or all columns of `data`.
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
    data : array_like, DataFrame, tuple or callable, optional
        Your own design in place of `design`: X of shape (N, D), (X, y), (X, y, w_star), or a
        function that draws one of these from a generator. Each seed takes `samples` rows and
        `dimension` columns. X alone has its targets and noise planted by the problem. (X, y)
        leaves w* unknown: sigma2 and E[w*^2] of a Gaussian law are estimated by moments, and
        the rows that a seed does not take give its test error. See `docs/own-data.md`.
    samples : int, optional
        Rows n of `data` that each seed takes; by default all, or three quarters where the others
        are needed for the test error.
    standardise : bool
        Whether the columns of `data` are centred and scaled to variance 1/d, and y is centred,
        over all rows. If not, the entries of X must have mean 0 and variance 1/D already.

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

    Examples
    --------
    >>> import dmft
    >>> ensemble = dmft.simulate(dmft.Problem(0.5), [0.0, 1.0], dimension=40, seeds=3, rng=1)
    >>> ensemble.test_error.shape, ensemble.C_w.shape
    ((2,), (2, 2))
    """
    check_problem(problem)
    t = require_times("t_eval", t_eval)
    problem.dynamics.require_simulated(t)
    seeds = require_integer("seeds", seeds, low=1)
    check_design(design)
    if workers is not None:
        workers = require_integer("workers", workers, low=1)
    if not _importable(type(problem.signal), type(problem.network), data):
        workers = 1
    rtol = require_in_range("rtol", rtol, low=0.0, high=0.01, low_open=True)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None; got {progress!r}")
    seed = recorded_seed(rng)

    children = np.random.SeedSequence(seed).spawn(seeds)
    source: DesignSource | OwnSource
    if data is None:
        if samples is not None:
            raise ValueError(f"samples is for own data; got {samples!r} without data")
        d = check_dimension(problem, 500 if dimension is None else dimension)
        source = DesignSource(round(problem.delta * d), d, design)
    else:
        source = own_source(data, samples, dimension, seeds, standardise)
        problem = source.problem(problem, children)
    task = functools.partial(_one_seed, problem, t, source, rtol)
    results: dict[int, _Run] = {}
    with deferred():
        import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be held)
    if compiled_steps(problem):
        compilation.load(compilation.SIMULATION)

    each = _each_seed(task, children, workers)
    with parallel.single_blas_thread(), closing(each) as done:
        for k, result in done:
            results[k] = result
            if progress is not None:
                progress(len(results), seeds)
    ordered = [results[k] for k in range(seeds)]
    return Ensemble(
        problem=problem,
        t=t,
        dimension=source.dimension,
        samples=source.samples,
        design=source.design,
        seed=seed,
        runs=_stacked([run.values for run in ordered]),
        stats=_stacked([run.stats for run in ordered]),
    )


def compiled_steps(problem: Problem) -> bool:
    """Return whether a simulation takes steps that are compiled."""
    return not problem.dynamics.in_steps and problem.mirror.paired_depth is not None


class _Run(NamedTuple):
    values: dict[str, np.ndarray]
    stats: dict[str, Any]


def _one_seed(
    problem: Problem,
    t: np.ndarray,
    source: DesignSource | OwnSource,
    rtol: float,
    child: np.random.SeedSequence,
) -> _Run:
    start = time.perf_counter()
    data, held_out = source.draw(problem, child)
    # a trial step of a flow may overflow; it is then rejected
    with np.errstate(all="ignore"):
        if problem.dynamics.in_steps:
            own = np.random.SeedSequence(child.entropy, spawn_key=(*child.spawn_key, 0))
            weights, steps = descend(problem, data, t, np.random.default_rng(own))
            work: dict[str, Any] = {"steps": steps}
        else:
            weights, work = integrated(problem, data, t, rtol)
        values = _observables(weights, data)
        if held_out is not None:
            values |= _fresh_observables(weights, held_out, problem.sigma2)
    work = {"wall_time": time.perf_counter() - start, **work}
    return _Run(values, work | {"shared": source.shared} if source.shared else work)


def integrated(
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


def _fresh_observables(weights: np.ndarray, fresh: HeldOut, sigma2: float) -> dict[str, np.ndarray]:
    """Return what depends on w*, from samples that the flow has not seen."""
    m = len(fresh.y)
    output = weights @ fresh.X.T
    residual = output - fresh.y
    values = {
        "test_error": 0.5 * (np.mean(residual**2, axis=1) - sigma2),
        "overlap": output @ fresh.y / m,
    }
    if len(weights) <= TWO_TIME_LIMIT:
        values["C_w"] = residual @ residual.T / m - sigma2
    return values


def _importable(*objects: Any) -> bool:
    """Return whether another process can be given these: they stand in a module or are arrays."""
    if any(getattr(value, "__module__", None) == "__main__" for value in objects):
        return False
    functions = [value for value in objects if callable(value)]
    try:
        pickle.dumps(functions)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


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
