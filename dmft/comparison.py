"""Compare a solution with an ensemble of simulations, in standard errors.

For each value of each observable, one-time and two-time alike, with f the theory and m the
ensemble's mean over N seeds,

    deviation = max(|m - f| - bias, 0) / error,
    error^2   = (1 + shared N) (standard error)^2 + (solver's error)^2,
    bias      = [2 (V/scale^2 + 1/d) + 5 |n/(delta d) - 1|] scale.

`bias` allows for the difference between dimension d and the limit. The mean of a function of
fluctuating quantities differs from its value at their means by half its curvature times their
variance, which is of the order of its own variance V over seeds; 1/d stands for what does not
show in V, and the last term for the rounding of n. `scale` is the size of the observable: itself
for the errors, sqrt(m(t,t) m(s,s)) for correlations, the root mean square of w for averages of w.

`shared` is the share of a design that its draws have in common, 0 but for a given matrix: what they
have in common does not average out.

The largest deviation is tested by Student's law with a Bonferroni correction in which the values,
so correlated are neighbouring ones, count as at most 12. From eight seeds on, if t = 0 is among the
times and the data are drawn from the problem's laws, m is not the plain mean. Targets and noise
differ in power, which causes much of the spread, but |w* - w(0)|^2/d and |y - X w(0)|^2/n are known
for each seed and so are their expectations: m is the regression of the values on both at these
expectations. There are N - 1 degrees of freedom without it and N - 3 with it.

The verdict is "rejected" where chance explains the largest deviation with a probability below 1 %;
otherwise it is "agree" where that probability is at least 10 % and an error of the theory as large
as `resolution` would be rejected in 95 % of data sets, and "inconclusive" where one of them fails.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dmft.equations.start import initial_square_distance
from dmft.models import for_every_model
from dmft.simulation.data import OWN_DATA
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution
from dmft.statistics import independent_columns, intercept, quotient, student_test
from dmft.trajectory import Trajectory
from dmft.validation import require_in_range
from dmft.values import Value
from dmft.verdict import LEVEL, message_of, verdict_of

SINGLE = ("test_error", "train_error", "mean_w", "overlap")
PAIRED = ("C_w", "C_r")

# Share of data sets in which an error of the size that is stated as seen would be rejected.
POWER = 0.95
# Values count as at most so many independent ones. Groups of 3 to 64 seeds out of pools of 192 to
# 512 simulated ones exceed the level as 1 to 28 independent values do, 12 or fewer for most of the
# five problems and sizes of groups; the bias that is allowed makes up for the rest
# (`benchmarks/comparison.py` measures the rejections).
INDEPENDENT = 12
# Bias over (V/scale^2 + 1/d) scale. In the pools of `benchmarks/comparison.py`, at d = 128 to 500,
# at most 0.3 was measured, and at d = 250 to 2000 on other problems 0.6 beyond two standard errors.
FLUCTUATION = 1.0
# Bound on d log f/d log delta over the observables f of the benchmark problems.
ROUNDING = 5.0
# The regression starts at so many seeds: below, its two degrees of freedom cost more than it gains.
REGRESSION_SEEDS = 8
# Accuracy of a simulated observable, over its largest size.
SIMULATION_FLOOR = 1e-12
ROWS = 8  # sampled times of an observable in the table

LEGEND = f"""\
s.e.: difference in combined standard errors of simulation and solver; * rejected
allowed bias: [{FLUCTUATION:g} (V/scale^2 + 1/d) + {ROUNDING:g} |n/(delta d) - 1|] scale, \
V the variance over seeds"""


class Row(NamedTuple):
    """One line of a report's table; `time` is (t,), or (t, s) for a two-time function.

    Examples
    --------
    >>> import dmft
    >>> problem, t = dmft.Problem(0.5, network="linear"), [0.0, 1.0]
    >>> report = dmft.compare(dmft.solve(problem, 1.0, t), dmft.simulate(problem, t, 40, 3))
    >>> report.rows()[0][:2]
    ('test_error', (0.0,))
    """

    observable: str
    time: tuple[float, ...]
    theory: float
    simulation: float
    difference: float
    allowed_bias: float
    standard_errors: float
    rejected: bool


@dataclass(frozen=True, eq=False, repr=False)
class Report(Value):
    """What `compare` returns.

    Attributes
    ----------
    verdict : {"agree", "rejected", "inconclusive"}
        "rejected" where p_value < 0.01; otherwise "agree" where every value of `detectable` is at
        most `resolution` and p_value is at least 0.1, and "inconclusive" where it is neither.
    largest_deviation : float
        Largest difference beyond the allowed bias, in combined standard errors.
    critical_deviation : float
        Value of `largest_deviation` above which the theory is rejected; infinite for one seed.
    p_value : float
        Bound on the probability of so large a deviation if the theory is right.
    detectable : dict of str to float
        For "test_error" and "train_error", the smallest relative error, the same at all times
        after the start, for which the theory would be rejected in 95 % of data sets of this size;
        infinite for one seed.
    resolution : float
        The largest values of `detectable` with which not being rejected counts as agreement.
    message : str
        The outcome in a sentence.
    dimension, seeds : int
        d and the number of seeds.
    t : ndarray, shape (T,)
    theory, simulation : dict of str to ndarray
        Observables (T,) and two-time functions (T, T). `simulation` is the ensemble's mean or,
        from eight seeds on and with t = 0 among the times, the mean at the expected power of
        the targets and of the labels.
    combined_error : dict of str to ndarray
        Standard error of `simulation` and error of the solver, added in squares.
    finite_size_bias : dict of str to ndarray
        How far `simulation` may be shifted by finite d, estimated from the variance over seeds
        (the rule is above, in `dmft.compare`); infinite for one seed.

    Examples
    --------
    >>> import dmft
    >>> problem, t = dmft.Problem(0.5, network="linear"), [0.0, 1.0]
    >>> report = dmft.compare(dmft.solve(problem, 1.0, t), dmft.simulate(problem, t, 40, 3))
    >>> report.passed, report.seeds, sorted(report.theory)[:2]
    (True, 3, ['C_r', 'C_w'])
    """

    verdict: Literal["agree", "rejected", "inconclusive"]
    largest_deviation: float
    critical_deviation: float
    p_value: float
    detectable: dict[str, float]
    resolution: float
    message: str
    dimension: int
    seeds: int
    t: np.ndarray
    theory: dict[str, np.ndarray]
    simulation: dict[str, np.ndarray]
    combined_error: dict[str, np.ndarray]
    finite_size_bias: dict[str, np.ndarray]

    @property
    def passed(self) -> bool:
        """Whether the theory is not rejected; True also where the comparison is inconclusive."""
        return self.verdict != "rejected"

    def summary(self) -> dict[str, str]:
        """Return the verdict and what it rests on."""
        seen = (f"{100 * value:.3g} % of {name}" for name, value in self.detectable.items())
        return {
            "verdict": self.verdict,
            "setting": f"d = {self.dimension}, {self.seeds} seeds, {self.t.size} times",
            "deviation": f"{self.largest_deviation:.2f} combined standard errors at most, "
            f"{self.critical_deviation:.2f} by chance",
            "p value": f"{self.p_value:.2g}",
            "seen in 95 %": " and ".join(seen),
            "compared": ", ".join(self.theory),
            "full table": "print(report)",
        }

    def standard_errors(self, name: str) -> np.ndarray:
        """Return simulation minus theory in combined standard errors, shape (T,) or (T, T)."""
        difference = self.simulation[name] - self.theory[name]
        return quotient(difference, self.combined_error[name], otherwise=0.0)

    def deviation(self, name: str) -> np.ndarray:
        """Return what the allowed bias leaves of |standard_errors(name)|, of the same shape."""
        difference = np.abs(self.simulation[name] - self.theory[name])
        return _deviation(difference, self.finite_size_bias[name], self.combined_error[name])

    def rows(self) -> list[Row]:
        """Return the lines of the table, about 8 times or pairs of times of each observable."""
        return [row for name in self.theory for row in self._rows(name)]

    def table(self) -> str:
        """Return the rows as an aligned text table."""
        head = ("observable", "time", "theory", "simulation", "difference", "allowed bias", "s.e.")
        lines = [head, *(_cells(row) for row in self.rows())]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
            for line in lines
        )

    def __str__(self) -> str:
        """Return the message, the table and its legend."""
        return f"{self.message}\n\n{self.table()}\n\n{LEGEND}"

    def _rows(self, name: str) -> Iterator[Row]:
        theory, simulation = self.theory[name], self.simulation[name]
        errors, deviation = self.standard_errors(name), self.deviation(name)
        sample = np.unique(np.linspace(0, len(self.t) - 1, ROWS).round().astype(int))
        for k, i in enumerate(sample):
            # each time with one about half way to it: diagonals are in the one-time rows
            place = (i,) if theory.ndim == 1 else (i, sample[k // 2])
            yield Row(
                observable=name,
                time=tuple(float(self.t[j]) for j in place),
                theory=float(theory[place]),
                simulation=float(simulation[place]),
                difference=float(simulation[place] - theory[place]),
                allowed_bias=float(self.finite_size_bias[name][place]),
                standard_errors=float(errors[place]),
                rejected=bool(deviation[place] > self.critical_deviation),
            )


@for_every_model
def compare(solution: Solution, ensemble: Ensemble, resolution: float = 0.3) -> Report:
    """Test whether the simulations of an ensemble agree with a solution.

    Parameters
    ----------
    solution : Solution
        The theory, at the times of the ensemble (`t_eval` of `dmft.solve`).
    ensemble : Ensemble
        Simulations of the same problem.
    resolution : float
        Relative error > 0 of test_error and train_error that has to be visible, in 95 % of data
        sets of this size, before a theory that is not rejected is said to agree.

    Returns
    -------
    Report
        The verdict and the table; C_w and C_r are in it where the ensemble holds them.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If problems or times differ, or `resolution` is out of range.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
    >>> t = [0.0, 1.0, 2.0]
    >>> ensemble = dmft.simulate(problem, t, dimension=200, seeds=16)
    >>> dmft.compare(dmft.solve(problem, 2.0, t), ensemble, resolution=0.8).verdict
    'agree'
    """
    _check(solution, ensemble)
    names = [name for name in (*SINGLE, *PAIRED) if name in ensemble.runs]
    sizes = {name: _size(solution, ensemble, name) for name in names}
    biases = {name: _bias(ensemble, ensemble.runs[name], sizes[name]) for name in names}
    shared = float(np.max(ensemble.stats.get("shared", 0.0)))
    covariates = _covariates(ensemble)
    return judge(solution, ensemble, sizes, biases, covariates, resolution, shared)


def judge(
    solution: Trajectory,
    ensemble: Any,
    sizes: dict[str, np.ndarray],
    biases: dict[str, np.ndarray],
    covariates: np.ndarray,
    resolution: float,
    shared: float = 0.0,
) -> Report:
    """Test the functions of a solution against an ensemble's; the statistics of every model.

    Parameters
    ----------
    solution : Trajectory
    ensemble : Trajectory
        With `runs`, one row a seed, `seeds` and `dimension`, at the solution's times.
    sizes, biases : dict of str to ndarray
        Scale of each function, and how far finite d may shift it.
    covariates : ndarray, shape (seeds, C)
        Known quantities of each seed of expectation 0.
    resolution : float
        See `compare`.
    shared : float
        Share of the data that seeds have in common.
    """
    resolution = require_in_range("resolution", resolution, low=0.0, low_open=True)
    names = list(sizes)
    theory = {name: solution.values[name] for name in names}
    simulation, error, bias = {}, {}, biases
    for name in names:
        runs, size = ensemble.runs[name], sizes[name]
        simulation[name], spread = intercept(runs, covariates)
        spread = spread * math.sqrt(1 + ensemble.seeds * shared)
        # averages over d coordinates fluctuate; few seeds may agree by chance, or at t = 0
        spread = np.maximum(spread, size / math.sqrt(ensemble.dimension * ensemble.seeds))
        floor = SIMULATION_FLOOR * np.max(size)
        error[name] = np.sqrt(spread**2 + solution.error[name] ** 2 + floor**2)

    deviations = {
        name: _deviation(np.abs(simulation[name] - theory[name]), bias[name], error[name])
        for name in names
    }
    worst = max(names, key=lambda name: float(deviations[name].max()))
    largest = float(deviations[worst].max())
    tests = min(sum(values.size for values in deviations.values()), INDEPENDENT)
    freedom = ensemble.seeds - 1 - covariates.shape[1]
    p_value, critical, seen = student_test(largest, freedom, tests, LEVEL, POWER)
    later = ensemble.t > 0
    detectable = {
        name: float(
            np.min(
                quotient(bias[name] + seen * error[name], theory[name], otherwise=np.inf)[later],
                initial=np.inf,
            )
        )
        for name in ("test_error", "train_error")
    }
    verdict = verdict_of(p_value, detectable, resolution)

    place = np.unravel_index(np.argmax(deviations[worst]), deviations[worst].shape)
    where = f"{worst}{_time_text([float(ensemble.t[k]) for k in place])}"
    return Report(
        verdict=verdict,
        largest_deviation=largest,
        critical_deviation=critical,
        p_value=p_value,
        detectable=detectable,
        resolution=resolution,
        message=message_of(ensemble, verdict, where, largest, critical, detectable, resolution),
        dimension=ensemble.dimension,
        seeds=ensemble.seeds,
        t=ensemble.t,
        theory=theory,
        simulation=simulation,
        combined_error=error,
        finite_size_bias=bias,
    )


# --- statistics ------------------------------------------------------------------------------


def _covariates(ensemble: Ensemble) -> np.ndarray:
    """Return |w* - w(0)|^2/d and |y - X w(0)|^2/n of each seed minus their expectations.

    They are columns, shape (seeds, C), without those that do not vary or follow from the other;
    C = 0 where they cannot serve.
    """
    own = ensemble.design == OWN_DATA
    if ensemble.seeds < REGRESSION_SEEDS or ensemble.t[0] != 0 or own:
        return np.empty((ensemble.seeds, 0))
    targets = initial_square_distance(ensemble.problem)
    expected = {"test_error": targets, "train_error": targets + ensemble.problem.sigma2}
    powers = [2 * ensemble.runs[name][:, 0] - power for name, power in expected.items()]
    return independent_columns(np.column_stack(powers))


def _size(solution: Solution, ensemble: Ensemble, name: str) -> np.ndarray:
    """Return the scale of an observable, of its shape.

    It is that of the simulation, so that a wrong theory cannot widen its own allowance; only
    the root mean square of w is taken from the theory.
    """
    mean = np.abs(ensemble.mean(name))
    if name in PAIRED:
        root = np.sqrt(np.diag(mean))
        return np.outer(root, root)
    if name in ("mean_w", "overlap"):
        unit = solution.problem.signal.second_moment if name == "overlap" else 1.0
        return np.maximum(mean, np.sqrt(solution.norm_w * unit))
    return mean


def _bias(ensemble: Ensemble, runs: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the bias that is allowed to finite d, of the shape of `size`."""
    if ensemble.seeds == 1:
        return np.full(size.shape, np.inf)
    fluctuation = quotient(runs.var(axis=0, ddof=1), size, otherwise=0.0)
    exact = ensemble.problem.delta * ensemble.dimension
    rounding = abs(ensemble.samples / exact - 1)
    return FLUCTUATION * (fluctuation + size / ensemble.dimension) + ROUNDING * rounding * size


def _deviation(difference: np.ndarray, bias: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return the part of |difference| beyond the bias over the error; infinite where undefined."""
    beyond = np.where(difference <= bias, 0.0, difference - np.where(bias < np.inf, bias, 0.0))
    deviation = quotient(beyond, error, otherwise=0.0)
    return np.where(np.isnan(deviation), np.inf, deviation)


# --- text and checks -------------------------------------------------------------------------


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.observable,
        ", ".join(f"{t:.4g}" for t in row.time),
        f"{row.theory:.6g}",
        f"{row.simulation:.6g}",
        f"{row.difference:+.2e}",
        f"{row.allowed_bias:.1e}",
        f"{row.standard_errors:+.2f}{'*' if row.rejected else ' '}",
    )


def _time_text(times: list[float]) -> str:
    return f"({', '.join(f'{t:.4g}' for t in times)})"


def _check(solution: Solution, ensemble: Ensemble) -> None:
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a dmft.Solution; got {solution!r}")
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"ensemble must be a dmft.Ensemble; got {ensemble!r}")
    require_comparable(solution, ensemble)


def require_comparable(solution: Any, ensemble: Any) -> None:
    """Check that theory and simulation are of one problem at the same times.

    Raises
    ------
    ValueError
        If they are not.
    """
    if solution.problem != ensemble.problem:
        raise ValueError(
            "ensemble must simulate the problem of solution; got "
            f"{ensemble.problem!r} and {solution.problem!r}"
        )
    t, s = solution.t, ensemble.t
    if t.shape != s.shape or not np.allclose(t, s, rtol=1e-9, atol=1e-12 * t[-1]):
        raise ValueError(
            "solution.t must equal ensemble.t: solve with t_eval=ensemble.t; got "
            f"{_range_text(t)} and {_range_text(s)}"
        )


def _range_text(t: np.ndarray) -> str:
    return f"{t.size} times from {t[0]:g} to {t[-1]:g}"
