"""Direct gradient flow of a quadratic network at finite dimension; no mean field.

    dW/dt = -(M + 2 lam) W,    M = (d/n) sum_k r_k X_k,    r_k = Tr(X_k W W^T) - y_k,

with n = round(alpha d (d + 1)): of the corrections of order 1/d those of the number of samples
over the number of free parameters of a symmetric matrix, d(d + 1)/2, are left out. Explicit steps
of order 5(4) are adapted to the tolerance.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from dmft import parallel
from dmft.quadratic.observables import (
    ERRORS_LABEL,
    REFERENCE,
    TEXTS,
    TIME,
    TIME_LABEL,
)
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.sensing import GaussianSensing, RankOneSensing, Sensing
from dmft.storage import Group, Record, Variable, configuration_of
from dmft.trajectory import Functions, Trajectory
from dmft.validation import Rng, recorded_seed, require_in_range, require_integer, require_times
from dmft.values import read_only

DESIGNS = ("gaussian", "rank_one")
RUNS = "runs_of_"  # begins the names of variables that hold each seed


@dataclass(frozen=True, eq=False, repr=False)
class QuadraticEnsemble(Trajectory):
    """Simulations of one quadratic network at finite dimension, over independent seeds.

    Attributes
    ----------
    problem : QuadraticProblem
    t : ndarray, shape (T,)
        Times, in the unit dW/dt = -d dL/dW.
    dimension, samples : int
        d and n = round(alpha d (d + 1)).
    design : str
        Law of the sensing matrices; see `simulate`.
    seed : int
    runs : dict of str to ndarray
        One row a seed: mse, test_error, train_error, clean_train_error, overlap, trace of shape
        (seeds, T), and C_Z, C_f of shape (seeds, T, T).
    eigenvalues : ndarray, shape (seeds, T, d)
        Of Z(t), ascending.
    stats : dict of str to ndarray
        For each seed: "wall_time" in seconds, "evaluations" of the gradient.
    values, error : mapping of str to ndarray
        Means over seeds of `runs`, and their standard errors. The names are also attributes.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.QuadraticProblem(0.3, 0.7, 0.5)
    >>> ensemble = dmft.simulate(problem, [0.0, 0.2], dimension=10, seeds=3, rng=1)
    >>> ensemble.mse.shape, ensemble.seeds
    ((2,), 3)
    """

    problem: QuadraticProblem
    t: np.ndarray
    dimension: int
    samples: int
    design: str
    seed: int
    runs: Mapping[str, np.ndarray]
    eigenvalues: np.ndarray
    stats: Mapping[str, np.ndarray]
    values: Mapping[str, np.ndarray] = field(init=False)
    error: Mapping[str, np.ndarray] = field(init=False)

    texts: ClassVar[Mapping[str, str]] = TEXTS
    time_text: ClassVar[str] = TIME
    time_label: ClassVar[str] = TIME_LABEL
    errors_label: ClassVar[str] = ERRORS_LABEL
    simulated: ClassVar[bool] = True
    value_text: ClassVar[str] = "mean over seeds: "
    error_prefix: ClassVar[str] = "standard_error_of_"
    error_text: ClassVar[str] = "standard error of the mean over seeds: "

    def __post_init__(self) -> None:
        """Check the times, average over the seeds and make all arrays read-only."""
        object.__setattr__(self, "t", read_only(require_times("t", self.t)))
        object.__setattr__(self, "eigenvalues", read_only(self.eigenvalues))
        for name in ("runs", "stats"):
            arrays = {key: read_only(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)
        means = {name: runs.mean(axis=0) for name, runs in self.runs.items()}
        errors = {name: self._standard_error(runs) for name, runs in self.runs.items()}
        object.__setattr__(self, "values", Functions(means))
        object.__setattr__(self, "error", Functions(errors))

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.eigenvalues)

    def _standard_error(self, runs: np.ndarray) -> np.ndarray:
        if self.seeds == 1:
            return np.full(runs.shape[1:], np.inf)
        return runs.std(axis=0, ddof=1) / np.sqrt(self.seeds)

    def summary(self) -> dict[str, str]:
        """Return the setting, the times and the last errors."""
        return {
            "problem": repr(self.problem),
            "dimension": f"d = {self.dimension}, n = {self.samples}, {self.design} design",
            "seeds": f"{self.seeds}, from seed {self.seed}",
            **self.functions_summary(),
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """What describes the simulated model, by the keys of `dmft.citations`."""
        return ("2601.10483",)

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        settings = {
            "problem": configuration_of("problem", self.problem),
            "dimension": self.dimension,
            "samples": self.samples,
            "design": self.design,
            "seed": self.seed,
        }
        variables = self.function_variables()
        axes = ("seed_index", "t", "s")
        for name, runs in self.runs.items():
            text = f"each seed: {TEXTS[name]}"
            variables[f"{RUNS}{name}"] = Variable(axes[: runs.ndim], runs, text)
        axes = ("seed_index", "t", "eigenvalue_index")
        variables["eigenvalues"] = Variable(axes, self.eigenvalues, TEXTS["eigenvalues"])
        stats = Group.of_stats(self.stats)
        content = Group(variables, groups={"stats": stats})
        return Record("Simulations of a quadratic network", settings, content, REFERENCE)

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the ensemble that `record` was made of."""
        content, settings = record.content, dict(record.configuration)
        problem = QuadraticProblem.from_config(settings.pop("problem"))
        runs = {
            name.removeprefix(RUNS): variable.values
            for name, variable in content.variables.items()
            if name.startswith(RUNS)
        }
        stats = content.groups["stats"].as_stats()
        eigenvalues = content["eigenvalues"]
        return cls(
            problem, content["t"], runs=runs, eigenvalues=eigenvalues, stats=stats, **settings
        )


def simulate(
    problem: QuadraticProblem,
    t_eval: Any,
    dimension: int = 100,
    seeds: int = 8,
    rng: Rng = 0,
    design: str = "gaussian",
    workers: int = 1,
    rtol: float = 1e-5,
    max_memory: float = 1e9,
    progress: Callable[[int, int], None] | None = None,
) -> QuadraticEnsemble:
    """Integrate the gradient flow of a quadratic network on `seeds` independent draws.

    Parameters
    ----------
    problem : QuadraticProblem
    t_eval : array_like, shape (T,)
        Increasing times >= 0, in the unit dW/dt = -d dL/dW.
    dimension : int
        d >= 2. The student has round(kappa d) columns, at least one, and the teacher
        round(kappa_star d).
    seeds : int
        Number of independent draws, >= 1.
    rng : int, Generator, SeedSequence or None
        Source of randomness; the result does not depend on the number of workers.
    design : {"gaussian", "rank_one"}
        Law of the sensing matrices: the Gaussian orthogonal ensemble, or (x x^T - 1)/sqrt(d).
    workers : int
        Processes that share the seeds, >= 1.
    rtol : float
        Tolerance of the integrator in (0, 0.01].
    max_memory : float
        Bytes for the sensing matrices of all workers; what does not fit is drawn anew at each
        evaluation, which is slower.
    progress : callable, optional
        Called with (seeds done, seeds) after each seed.

    Returns
    -------
    QuadraticEnsemble

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of another type.
    RuntimeError
        If the integration of a seed breaks down.

    Examples
    --------
    >>> from dmft import QuadraticProblem
    >>> problem = QuadraticProblem(0.3, kappa=0.7, kappa_star=0.5, lam=0.1)
    >>> simulate(problem, [0.0, 0.5], dimension=10, seeds=2).mse.shape
    (2,)
    """
    if not isinstance(problem, QuadraticProblem):
        raise TypeError(f"problem must be a dmft.QuadraticProblem; got {problem!r}")
    t = require_times("t_eval", t_eval)
    dimension = require_integer("dimension", dimension, low=2)
    seeds = require_integer("seeds", seeds, low=1)
    workers = require_integer("workers", workers, low=1)
    rtol = require_in_range("rtol", rtol, low=0.0, high=0.01, low_open=True)
    max_memory = require_in_range("max_memory", max_memory, low=0.0)
    if design not in DESIGNS:
        raise ValueError(f"design must be one of {DESIGNS}; got {design!r}")
    samples = _samples(problem, dimension)
    seed = recorded_seed(rng)
    workers = min(workers, seeds)
    share = max_memory / workers
    task = functools.partial(_one_seed, problem, t, dimension, samples, design, rtol, share)
    children = np.random.SeedSequence(seed).spawn(seeds)
    results: dict[int, _Run] = {}
    with parallel.single_blas_thread():
        if workers > 1:
            done = parallel.unordered_map(task, children, workers)
        else:
            done = ((k, task(child)) for k, child in enumerate(children))
        with closing(done):
            for k, result in done:
                results[k] = result
                if progress is not None:
                    progress(len(results), seeds)
    ordered = [results[k] for k in range(seeds)]
    return QuadraticEnsemble(
        problem=problem,
        t=t,
        dimension=dimension,
        samples=samples,
        design=design,
        seed=seed,
        runs=_stacked([run.values for run in ordered]),
        eigenvalues=np.stack([run.eigenvalues for run in ordered]),
        stats=_stacked([run.stats for run in ordered]),
    )


class _Run(NamedTuple):
    values: dict[str, np.ndarray]
    eigenvalues: np.ndarray
    stats: dict[str, Any]


def _samples(problem: QuadraticProblem, dimension: int) -> int:
    samples = round(problem.alpha * dimension * (dimension + 1))
    if samples == 0:
        raise ValueError(
            f"dimension must be such that round(alpha d (d + 1)) > 0; got {dimension} with "
            f"alpha = {problem.alpha:g}"
        )
    return samples


def _one_seed(
    problem: QuadraticProblem,
    t: np.ndarray,
    dimension: int,
    samples: int,
    design: str,
    rtol: float,
    max_memory: float,
    child: np.random.SeedSequence,
) -> _Run:
    from scipy.integrate import solve_ivp

    started = time.perf_counter()
    of_sensing, of_rest = child.spawn(2)
    rng = np.random.default_rng(of_rest)
    width, teacher_width = (
        max(1, round(kappa * dimension)) for kappa in (problem.kappa, problem.kappa_star)
    )
    teacher = rng.standard_normal((dimension, teacher_width))
    Z_star = teacher @ teacher.T / teacher_width
    size = math.sqrt(problem.init_variance / width)
    W: np.ndarray = size * rng.standard_normal((dimension, width))
    noise = math.sqrt(problem.label_noise) * rng.standard_normal(samples)
    sensing: Sensing
    if design == "gaussian":
        sensing = GaussianSensing(dimension, samples, of_sensing, max_memory)
    else:
        sensing = RankOneSensing(dimension, samples, of_sensing)
    y = sensing.measure(Z_star) + noise

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        W = flat.reshape(dimension, width)
        M = sensing.residual_and_force(W @ W.T, y)[1]
        return -(M @ W + 2 * problem.lam * W).ravel()

    if t[-1] > 0:
        flow = solve_ivp(velocity, (0, t[-1]), W.ravel(), t_eval=t, rtol=rtol, atol=rtol * size)
        if not flow.success:
            raise RuntimeError(f"the integration stopped: {flow.message}")
        paths, evaluations = flow.y.T.reshape(-1, dimension, width), flow.nfev
    else:
        paths, evaluations = W[None], 0
    Z = paths @ paths.swapaxes(1, 2)
    values = _observables(Z, Z_star, np.stack([sensing.measure(one) - y for one in Z]), noise)
    stats = {"wall_time": time.perf_counter() - started, "evaluations": evaluations}
    return _Run(values, np.linalg.eigvalsh(Z), stats)


def _observables(
    Z: np.ndarray, Z_star: np.ndarray, r: np.ndarray, noise: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the values of one seed along its path, Z (T, d, d) with residuals r (T, n)."""
    d, samples = len(Z_star), len(noise)
    difference = (Z - Z_star).reshape(len(Z), -1)
    C_Z, C_f = difference @ difference.T / d, r @ r.T / samples
    clean = r + noise
    return {
        "mse": np.diag(C_Z),
        "test_error": 0.5 * np.diag(C_Z),
        "train_error": 0.25 * np.diag(C_f),
        "clean_train_error": 0.25 * np.mean(clean**2, axis=1),
        "overlap": np.tensordot(Z, Z_star, axes=2) / d,
        "trace": np.trace(Z, axis1=1, axis2=2) / d,
        "C_Z": C_Z,
        "C_f": C_f,
    }


def _stacked(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return one array for each name, with a row for each seed."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
