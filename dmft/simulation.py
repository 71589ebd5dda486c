"""Direct simulation of the gradient flow at finite dimension d, without any mean-field theory.

For each seed draw X (n, d) with independent entries of variance 1/d, w* and xi, and integrate the
layers of the network by their own gradient flow in the unit du/dt = -(d/2) dL/du,

    d layers/dt = velocity(layers, h, lam),     h = (d/n) X^T (X w - y),

which uses the network's layers only, nothing of its mirror map. Layers that multiply their own
velocity (u' proportional to u) are followed through their logarithms, so that a start of 1e-8 costs
no accuracy; others as they are, with an error relative to the largest layer of the coordinate.

The factor in h is d/n with the integer n = round(delta d), not 1/delta: it is the gradient of the
loss |y - X w|^2/(2 n) itself and keeps E[h] = w - w* at t = 0 exact, where 1/delta would be off by
the rounding of n. What remains is the solution at delta = n/d and effects of order 1/d.

The Jacobian in stiff stretches is a block-diagonal part plus one of rank min(n, d), since
velocities couple coordinates through h alone. With F = velocity, B = dF/dlayers, g = dF/dh,
k = dw/dlayers and Y^T Y = (d/n) X^T X,

    (shift - J)^(-1) b = q + M g Y^T p,    M = (shift - B)^(-1),    q = M b,
    (I + Y D Y^T) p = Y (k.q),             D = -k.M g,

a symmetric positive definite system of size min(n, d).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dmft import parallel
from dmft.networks import Deep, Diagonal, Network
from dmft.problem import Problem
from dmft.validation import require_in_range, require_integer, require_times

Rng = int | np.random.Generator | np.random.SeedSequence | None

DESIGNS = ("gaussian", "rademacher", "student_t")
STUDENT_FREEDOM = 5
TWO_TIME_LIMIT = 200  # times up to which two-time functions are kept: their size is T^2 a seed

WORTH_PROCESSES = 3.0  # seconds of work that make up for starting processes

# Errors are relative to |w - w*| and |y - X w|, but to this part of their scale once they vanish.
FLOOR = 1e-6
LOCAL = 0.1  # error permitted in one step, over rtol: the errors of many steps add up
ROUNDING = 10 * np.finfo(float).eps
IMAGINARY = 1e-100  # step of the derivatives along the imaginary axis, which have no cancellation
LOWEST = -300.0  # logarithm of a layer below which it counts as exp(-300): squares stay normal
TINY = 1e-300


class Data(NamedTuple):
    """One draw of X (n, d), w* (d,) and y (n,)."""

    X: np.ndarray
    w_star: np.ndarray
    y: np.ndarray


@dataclass(frozen=True, eq=False)
class Ensemble:
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
    """

    problem: Problem
    t: np.ndarray
    dimension: int
    samples: int
    design: str
    seed: int
    runs: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.runs["test_error"])

    def mean(self, name: str) -> np.ndarray:
        """Return the mean over seeds of the quantity `name`, shape (T,) or (T, T).

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        return self._runs(name).mean(axis=0)

    def standard_error(self, name: str) -> np.ndarray:
        """Return the standard error of `mean(name)`; infinite for a single seed.

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        runs = self._runs(name)
        if self.seeds == 1:
            return np.full(runs.shape[1:], np.inf)
        return runs.std(axis=0, ddof=1) / np.sqrt(self.seeds)

    def _runs(self, name: str) -> np.ndarray:
        if name not in self.runs:
            raise ValueError(
                f"name must be one of {sorted(self.runs)}; got {name!r} "
                f"(C_w and C_r are kept for at most {TWO_TIME_LIMIT} times)"
            )
        return self.runs[name]

    @property
    def test_error(self) -> np.ndarray:
        """Mean over seeds of |w - w*|^2/(2d), shape (T,)."""
        return self.mean("test_error")

    @property
    def train_error(self) -> np.ndarray:
        """Mean over seeds of |y - X w|^2/(2n), shape (T,)."""
        return self.mean("train_error")

    @property
    def mean_w(self) -> np.ndarray:
        """Mean over seeds and coordinates of w, shape (T,)."""
        return self.mean("mean_w")

    @property
    def overlap(self) -> np.ndarray:
        """Mean over seeds and coordinates of w w*, shape (T,)."""
        return self.mean("overlap")

    @property
    def C_w(self) -> np.ndarray:
        """Mean over seeds of theta(t).theta(s)/d, shape (T, T)."""
        return self.mean("C_w")

    @property
    def C_r(self) -> np.ndarray:
        """Mean over seeds of r(t).r(s)/n, shape (T, T)."""
        return self.mean("C_r")


def draw_data(problem: Problem, dimension: int, design: str = "gaussian", rng: Rng = None) -> Data:
    """Draw the data of one seed.

    Draw k of an ensemble has `rng = numpy.random.SeedSequence(ensemble.seed, spawn_key=(k,))`.

    Parameters
    ----------
    problem : Problem
        Gives delta, sigma2 and the law of w*.
    dimension : int
        d >= 1; n = round(delta d), at least 1.
    design : {"gaussian", "rademacher", "student_t"}
        Law of the entries of X, of variance 1/d; Student's t has 5 degrees of freedom.
    rng : int, Generator, SeedSequence or None
        Source of randomness; None draws fresh entropy.

    Returns
    -------
    Data
        X (n, d), w_star (d,) and y = X w_star + xi (n,).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of another type.
    """
    _check_problem(problem)
    dimension = require_integer("dimension", dimension, low=1)
    _check_design(design)
    _check_rng(rng)
    generator = np.random.default_rng(rng)
    shape = (_samples(problem, dimension), dimension)
    X = _entries(design, shape, generator) / np.sqrt(dimension)
    w_star = problem.signal.sample(generator, dimension)
    noise = np.sqrt(problem.sigma2) * generator.standard_normal(shape[0])
    return Data(X, w_star, X @ w_star + noise)


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
        d >= 1.
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

    Notes
    -----
    Ctrl-C, or an exception in `progress`, stops all seeds and propagates.
    """
    _check_problem(problem)
    t = require_times("t_eval", t_eval)
    dimension = require_integer("dimension", dimension, low=1)
    seeds = require_integer("seeds", seeds, low=1)
    _check_design(design)
    if workers is not None:
        workers = require_integer("workers", workers, low=1)
    if "__main__" in {type(problem.signal).__module__, type(problem.network).__module__}:
        workers = 1  # another process could not import the class
    rtol = require_in_range("rtol", rtol, low=0.0, high=0.01, low_open=True)
    if progress is not None and not callable(progress):
        raise TypeError(f"progress must be callable or None; got {progress!r}")
    seed = _seed(rng)

    task = functools.partial(_one_seed, problem, t, dimension, design, rtol)
    children = np.random.SeedSequence(seed).spawn(seeds)
    results: dict[int, _Run] = {}
    import scipy.linalg  # noqa: F401  (its BLAS must be loaded to be held)

    with parallel.single_blas_thread(), closing(_each_seed(task, children, workers)) as done:
        for k, result in done:
            results[k] = result
            if progress is not None:
                progress(len(results), seeds)
    ordered = [results[k] for k in range(seeds)]
    return Ensemble(
        problem=problem,
        t=t,
        dimension=dimension,
        samples=_samples(problem, dimension),
        design=design,
        seed=seed,
        runs=_stacked([run.values for run in ordered]),
        stats=_stacked([run.stats for run in ordered]),
    )


# --- one seed ------------------------------------------------------------------------------


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
    from solvers.stiff_ode import integrate

    start = time.perf_counter()
    data = draw_data(problem, dimension, design, child)
    # a trial step may overflow; it is then rejected
    with np.errstate(all="ignore"):
        flow = _Flow(problem, data, rtol)
        states, work = integrate(flow, flow.start, t)
        weights = np.stack([problem.mirror.output_weight(flow.layers(z)) for z in states])
    stats = {"wall_time": time.perf_counter() - start, **vars(work)}
    return _Run(_observables(weights, data), stats)


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


class _Flow:
    """The gradient flow of one draw, as the system that `solvers.stiff_ode` integrates.

    Its state z holds the layers (L, d), or their logarithms where each layer's velocity is
    proportional to the layer. With Y^T Y = X^T X/delta and Y^T b = X^T y/delta, delta = n/d,
    h = Y^T (Y w - b); Y has min(n, d) rows.
    """

    def __init__(self, problem: Problem, data: Data, rtol: float) -> None:
        n, d = data.X.shape
        self.network: Network = problem.mirror
        self.lam, self.w_star, self.tolerance = problem.lam, data.w_star, LOCAL * rtol
        self.logarithmic = isinstance(self.network, (Diagonal, Deep))
        self.Y, self.b = data.X / np.sqrt(n / d), data.y / np.sqrt(n / d)
        self.outside = 0.0  # |part of b that no w can fit|^2
        if n > d:
            Q, self.Y = np.linalg.qr(self.Y)
            rest = self.b - Q @ (Q.T @ self.b)
            self.outside, self.b = float(rest @ rest), Q.T @ self.b
        self.norm = float(np.linalg.norm(self.Y, 2))
        # stiff integrations take some tens of factorisations, each of about m/4 evaluations
        self.stiff_cost = 2000.0 + 10.0 * len(self.b)
        layers = np.repeat(self.network.initial_layers(problem.alpha)[:, None], d, axis=1)
        self.start = np.log(layers) if self.logarithmic else layers
        weight = self.network.output_weight(layers)
        self.scale = float(sum(map(np.linalg.norm, (data.w_star, weight, data.y))))

    def layers(self, z: np.ndarray) -> np.ndarray:
        """Return the layers of a state."""
        return np.exp(np.maximum(z, LOWEST)) if self.logarithmic else z

    def velocity(self, z: np.ndarray) -> np.ndarray:
        """Return dz/dt."""
        x = self.layers(z)
        v = self.network.layer_velocity(x, self._gradient(x), self.lam)
        return v / x if self.logarithmic else v

    def linearise(self, z: np.ndarray) -> _Jacobian:
        """Return the Jacobian of the velocity at z."""
        x, network = self.layers(z), self.network
        h = self._gradient(x)
        g = network.layer_velocity(x + 0j, h + 1j * IMAGINARY, self.lam).imag / IMAGINARY
        k = self._weight_derivative(x)
        B = np.stack(
            [network.layer_velocity(p, h, self.lam).imag / IMAGINARY for p in _perturbed(x)], axis=1
        )
        if self.logarithmic:  # the same in log x: d(v/x)/d log x = (dv/dx) x/x - v/x
            own = network.layer_velocity(x, h, self.lam) / x
            B = B * (x[None, :] / x[:, None]) - np.eye(len(x))[:, :, None] * own
            g, k = g / x, k * x
        return _Jacobian(self.Y, self.norm, B, g, k)

    def measure(self, z: np.ndarray) -> Callable[[np.ndarray], float]:
        """Return the function that gives the size of a defect near z, over the permitted one.

        It is the largest of the relative errors of |w - w*|, of |y - X w| and, since layers
        amplify them, of the layers themselves, each relative to the largest of its coordinate.
        """
        x = self.layers(z)
        w = self.network.output_weight(x)
        k = self._weight_derivative(x)
        rounding = ROUNDING / self.tolerance * float(np.linalg.norm(np.sum(np.abs(k * x), axis=0)))
        floor = FLOOR * self.scale + rounding + TINY
        residual = self.Y @ w - self.b
        errors = float(np.linalg.norm(w - self.w_star)) + floor
        residuals = float(np.sqrt(residual @ residual + self.outside)) + self.norm * floor
        inner = x if self.logarithmic else np.ones_like(x)
        relative = inner / np.maximum(np.abs(x).max(axis=0), TINY)
        k = k * inner

        def size(defect: np.ndarray) -> float:
            change = np.sum(k * defect, axis=0)
            parts = [
                np.linalg.norm(change) / errors,
                np.linalg.norm(self.Y @ change) / residuals,
            ]
            if len(x) > 1:
                parts.append(np.linalg.norm(relative * defect) / np.sqrt(len(change)))
            return float(np.max(parts)) / self.tolerance

        return size

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        return self.Y.T @ (self.Y @ self.network.output_weight(x) - self.b)

    def _weight_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return dw/dlayers, shape (L, d)."""
        return np.stack(
            [self.network.output_weight(p).imag / IMAGINARY for p in _perturbed(x)], axis=0
        )


class _Jacobian:
    """J = B + g Y^T Y k^T with blocks B (L, L, d), vectors g, k (L, d) and Y (m, d)."""

    def __init__(
        self, Y: np.ndarray, norm: float, B: np.ndarray, g: np.ndarray, k: np.ndarray
    ) -> None:
        self.Y, self.B, self.g, self.k = Y, B, g, k
        coupling = np.max(-np.sum(k * g, axis=0))
        self.rate = float(norm**2 * coupling + np.max(np.sum(np.abs(B), axis=1)))

    def solver(self, shift: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return b -> (shift - J)^(-1) b; LinAlgError where the shift is inside the spectrum."""
        from scipy.linalg import blas, cho_factor, cho_solve

        Y, k = self.Y, self.k
        blocks = shift * np.eye(len(k)) - np.moveaxis(self.B, -1, 0)
        M = np.moveaxis(np.linalg.inv(blocks), 0, -1).copy()
        Mg = np.einsum("lmd,md->ld", M, self.g)
        D = -np.sum(k * Mg, axis=0)
        if not np.min(D) >= -1e-10 * np.max(D):
            raise np.linalg.LinAlgError("the shift is inside the spectrum")
        # dsyrk fills one triangle, half the work of a product; cho_factor reads the same one
        gram = blas.dsyrk(1.0, (Y * np.sqrt(np.maximum(D, 0.0))).T, trans=1)
        gram[np.diag_indices_from(gram)] += 1.0
        factor = cho_factor(gram, overwrite_a=True, check_finite=False)

        def solve(b: np.ndarray) -> np.ndarray:
            q = np.einsum("lmd,md->ld", M, b)
            p = cho_solve(factor, Y @ np.sum(k * q, axis=0), check_finite=False)
            return q + Mg * (Y.T @ p)

        return solve


def _perturbed(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield x with one layer after the other moved along the imaginary axis."""
    for layer in range(len(x)):
        point = x + 0j
        point[layer] += 1j * IMAGINARY
        yield point


# --- many seeds ------------------------------------------------------------------------------


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


# --- data and arguments ----------------------------------------------------------------------


def _samples(problem: Problem, dimension: int) -> int:
    return max(1, round(problem.delta * dimension))


def _entries(design: str, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return independent entries of mean 0 and variance 1."""
    if design == "rademacher":
        return 2.0 * generator.integers(0, 2, size=shape) - 1.0
    if design == "student_t":
        variance = STUDENT_FREEDOM / (STUDENT_FREEDOM - 2)
        return generator.standard_t(STUDENT_FREEDOM, size=shape) / np.sqrt(variance)
    return generator.standard_normal(shape)


def _check_problem(problem: Any) -> None:
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem; got {problem!r}")


def _check_design(design: Any) -> None:
    if design not in DESIGNS:
        raise ValueError(f"design must be one of {DESIGNS}; got {design!r}")


def _check_rng(rng: Any) -> None:
    if isinstance(rng, bool):
        raise TypeError(f"rng must be an int, Generator, SeedSequence or None; got {rng!r}")
    if rng is None or isinstance(rng, (np.random.Generator, np.random.SeedSequence)):
        return
    if not isinstance(rng, (int, np.integer)):
        raise TypeError(f"rng must be an int, Generator, SeedSequence or None; got {rng!r}")
    if rng < 0:
        raise ValueError(f"rng must be an integer >= 0; got {rng!r}")


def _seed(rng: Rng) -> int:
    """Return one integer that stands for `rng` and can be recorded."""
    _check_rng(rng)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0])
    return int(np.random.SeedSequence().entropy) if rng is None else int(rng)  # type: ignore[arg-type]
