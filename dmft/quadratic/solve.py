"""Solve the mean-field equations of a quadratic network by samples of its matrix process.

    repeat:  draw samples at two sizes N, each with its own self-consistent kernels
             average, extrapolate to N -> infinity, estimate each error
             stop where the errors meet the tolerance, or nothing may be added

All errors are statistical but that of the time grid, which is taken from the decay of the
functions' Legendre coefficients in each panel.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from dmft.parallel import single_blas_thread
from dmft.quadratic.averages import MatrixAverages, one_time_functions, two_time_functions
from dmft.quadratic.extrapolation import Extrapolation
from dmft.quadratic.matrix_process import MatrixSample, draw_sample
from dmft.quadratic.observables import ONE_TIME
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.solution import QuadraticSolution
from dmft.solvers.collocation import Grid
from dmft.validation import (
    Rng,
    recorded_seed,
    require_in_range,
    require_integer,
    require_times,
)

SIZES = (20, 40)  # N where widths are at least 0.2, and as many times more where they are less.
NARROW = 4  # Least number of columns, fractional, that the narrower layer has at the smaller N.
LARGEST = 100  # Bound on the smaller N: below widths of 0.04 the error is what N = 100 leaves.
# Pairs of copies that share the kernels: alone one pair has kernels so noisy that 3 of 8 samples of
# N = 24 did not converge (alpha = 0.3, widths 0.7 and 0.5, lam = 0.1, label noise 0.25, t = 10).
PAIRS = 2
# Sets of random forces on each copy. With half as many the train errors of 8 samples of N = 24 at
# the problem above scattered 1.6 times as much.
PROBES = 4
STAGES = 3  # Of a panel: samples scatter by far more than what the third order leaves.
GROWTH = 1.35  # Of the panels' widths, which follow the relaxation's slowing down.
SETTLED = 0.1  # Change over rtol at which a panel's kernels count as self-consistent.
MAX_SWEEPS = 40  # Of a panel; 3 to 16 were seen up to t = 10.
FIRST_ROUND, NEXT_ROUND = 4, 1  # Samples of each size that are drawn at once.
JUDGED = ("mse", "train_error")  # Functions whose errors decide on success.
FLOOR = 0.01  # Of a function at t = 0: what has fallen below counts as that large.


def solve(
    problem: QuadraticProblem,
    t_max: float,
    t_eval: Any = None,
    rtol: float = 0.02,
    rng: Rng = 0,
    *,
    max_samples: int = 40,
    max_time: float = math.inf,
    progress: Callable[[str], None] | None = None,
) -> QuadraticSolution:
    """Solve the mean-field equations of a quadratic network on [0, t_max].

    Parameters
    ----------
    problem : QuadraticProblem
    t_max : float
        Horizon; > 0.
    t_eval : array_like, shape (T,), optional
        Increasing times in [0, t_max]; 0 and the solver's nodes where absent.
    rtol : float
        Standard error that is asked for of mse and train_error, in [0.002, 0.5], relative to
        their values or to a hundredth of those at t = 0, whichever is larger.
    rng : int, Generator, SeedSequence or None
        Source of randomness.
    max_samples : int
        Bound on the samples of each size, >= 4.
    max_time : float
        Seconds after which no further samples are drawn; > 0.
    progress : callable, optional
        Receives a line of text after each round.

    Returns
    -------
    QuadraticSolution
        `success` is False, with the reason in `message`, where samples did not converge or the
        errors exceed the tolerance.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type or out of its range.

    References
    ----------
    arXiv:2601.10483.

    Examples
    --------
    >>> problem = QuadraticProblem(0.5, kappa=0.5, kappa_star=0.5, lam=0.5)
    >>> solution = solve(problem, 0.2, [0.0, 0.2], rtol=0.1)
    >>> solution.success, bool(solution.train_error[1] < solution.train_error[0])
    (True, True)
    """
    if not isinstance(problem, QuadraticProblem):
        raise TypeError(f"problem must be a dmft.QuadraticProblem; got {problem!r}")
    t_max = require_in_range("t_max", t_max, low=0.0, low_open=True)
    times = None if t_eval is None else require_times("t_eval", t_eval, t_max)
    rtol = require_in_range("rtol", rtol, low=0.002, high=0.5)
    max_samples = require_integer("max_samples", max_samples, low=FIRST_ROUND)
    if max_time != math.inf:
        max_time = require_in_range("max_time", max_time, low=0.0, low_open=True)
    with single_blas_thread():
        run = _Run(problem, initial_grid(problem, t_max), times, rtol, recorded_seed(rng))
        return run.solve(max_samples, max_time, progress or (lambda text: None))


def initial_grid(problem: QuadraticProblem, t_max: float) -> Grid:
    """Return panels whose widths grow from the first relaxation time of the flow.

    At t = 0 Z changes at the rate 2 (|Z| + |Z*|) + 4 sqrt(C_f/alpha), norms and noise at their
    largest eigenvalues.
    """
    gamma = problem.init_variance
    edges = [gamma * (1 + problem.kappa**-0.5) ** 2, (1 + problem.kappa_star**-0.5) ** 2]
    residual = 2 * problem.initial_mse + problem.label_noise
    rate = 2 * sum(edges) + 4 * math.sqrt(residual / problem.alpha) + 2 * problem.lam
    widths = [1 / rate]
    while sum(widths) < t_max:
        widths.append(GROWTH * widths[-1])
    ends = np.concatenate([[0.0], np.cumsum(widths)])
    ends *= t_max / ends[-1]
    ends[-1] = t_max
    return Grid(ends, STAGES)


def sizes_for(problem: QuadraticProblem) -> tuple[int, ...]:
    """Return the two sizes N of samples."""
    narrow = min(problem.kappa, problem.kappa_star)
    factor = min(max(1.0, NARROW / (narrow * SIZES[0])), LARGEST / SIZES[0])
    return tuple(round(factor * size) for size in SIZES)


class _Run:
    """The samples of one solve, and what follows from them."""

    def __init__(
        self,
        problem: QuadraticProblem,
        grid: Grid,
        times: np.ndarray | None,
        rtol: float,
        seed: int,
    ) -> None:
        self.problem, self.grid, self.rtol, self.seed = problem, grid, rtol, seed
        self.t = grid.nodes_with_start if times is None else times
        self.sizes = sizes_for(problem)
        self.source = np.random.SeedSequence(seed)
        self.samples: list[MatrixSample] = []
        self.failed = 0
        self.started = time.perf_counter()

    def solve(
        self, max_samples: int, max_time: float, progress: Callable[[str], None]
    ) -> QuadraticSolution:
        """Draw samples until their errors meet the tolerance."""
        count, drawn = FIRST_ROUND, 0
        while True:
            for size in self.sizes:
                for _ in range(count):
                    self._draw(size)
            drawn += count
            outcome = self._outcome()
            progress(f"{drawn} samples of each size: error {outcome.over:.2f} of the tolerance")
            if outcome.over <= 1 or not self.samples:
                break
            # the error falls with the root of the number of samples
            wanted = math.ceil(drawn * min(outcome.over**2, 2.0)) - drawn
            count = min(max(NEXT_ROUND, wanted), max_samples - drawn)
            elapsed = time.perf_counter() - self.started
            if count <= 0 or elapsed * (drawn + count) / drawn > max_time:
                break
        return self._solution(outcome)

    def _draw(self, size: int) -> None:
        (child,) = self.source.spawn(1)
        with np.errstate(over="ignore", invalid="ignore"):
            sample = draw_sample(
                self.problem,
                self.grid,
                size,
                PAIRS,
                PROBES,
                np.random.default_rng(child),
                SETTLED * self.rtol,
                MAX_SWEEPS,
            )
        if sample.success:
            self.samples.append(sample)
        else:
            self.failed += 1

    def _outcome(self) -> _Outcome:
        """Average, extrapolate and estimate the errors."""
        counts = {n: sum(s.size == n for s in self.samples) for n in self.sizes}
        counts = {n: count for n, count in counts.items() if count}
        if sum(counts.values()) < 3:
            return _Outcome(None, {}, {}, math.inf)
        rule = Extrapolation(counts)
        weights = rule.weights()
        shares = [weights[sample.size] / counts[sample.size] for sample in self.samples]
        averages = MatrixAverages.combined([s.averages for s in self.samples], shares)
        values = self._functions(averages)
        rows: dict[int, list[dict[str, np.ndarray]]] = {n: [] for n in counts}
        for sample in self.samples:
            rows[sample.size].append(self._functions(sample.averages))
        coarse = self._time_errors(averages)
        errors = {}
        for name, value in values.items():
            grouped = {n: np.stack([row[name] for row in rows[n]]) for n in counts}
            errors[name] = np.hypot(rule.error(grouped, value), coarse.get(name, 0.0))
        over = max(
            float(np.max(errors[name] / np.maximum(values[name], FLOOR * self._start(name))))
            for name in JUDGED
        )
        return _Outcome(averages, values, errors, over / self.rtol)

    def _start(self, name: str) -> float:
        mse = self.problem.initial_mse
        return mse if name == "mse" else mse / 2 + self.problem.label_noise / 4

    def _functions(self, averages: MatrixAverages) -> dict[str, np.ndarray]:
        return {
            **one_time_functions(self.problem, self.grid, averages, self.t),
            **two_time_functions(self.problem, self.grid, averages, self.t),
        }

    def _time_errors(self, averages: MatrixAverages) -> dict[str, np.ndarray]:
        """Return the last Legendre coefficients of the observables in the panel of each time."""
        nodes = self.grid.nodes_with_start
        functions = one_time_functions(self.problem, self.grid, averages, nodes)
        panel = self.grid.locate(self.t)
        return {name: self.grid.resolution(functions[name])[panel] for name in ONE_TIME}

    def _solution(self, outcome: _Outcome) -> QuadraticSolution:
        if outcome.averages is None:
            raise RuntimeError(
                f"{self.failed} samples of {self.problem!r} did not converge up to "
                f"t = {self.grid.t_max:g}: shorten t_max"
            )
        largest = max(sample.size for sample in self.samples)
        move = self.grid.interpolation(self.t)
        paths = np.concatenate([s.eigenvalues for s in self.samples if s.size == largest])
        status = 0 if outcome.over <= 1 else 1
        status = 2 if self.failed else status
        stats = {
            "samples": len(self.samples),
            "sizes": np.array(self.sizes),
            "failed_samples": self.failed,
            "panels": self.grid.panels,
            "sweeps": max(sample.sweeps for sample in self.samples),
            "error_over_tolerance": outcome.over,
            "wall_time": time.perf_counter() - self.started,
        }
        return QuadraticSolution(
            problem=self.problem,
            t=self.t,
            values=outcome.values,
            error=outcome.errors,
            eigenvalues=np.einsum("ti,cin->ctn", move, paths),
            grid=self.grid,
            averages=outcome.averages,
            rtol=self.rtol,
            seed=self.seed,
            success=status == 0,
            status=status,
            message=self._message(status, outcome.over),
            stats=stats,
        )

    def _message(self, status: int, over: float) -> str:
        drawn = len(self.samples) + self.failed
        error = f"the largest standard error is {100 * over * self.rtol:.2g} %"
        if status == 2:
            return f"{self.failed} of {drawn} samples did not converge and were left out; {error}"
        if status == 1:
            return (
                f"{error}, above the {100 * self.rtol:.2g} % asked for, after {drawn} samples: "
                "raise max_samples or rtol"
            )
        return f"Converged; {error} from {drawn} samples."


class _Outcome(NamedTuple):
    averages: MatrixAverages | None
    values: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]
    over: float
