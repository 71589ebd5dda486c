"""Compare a solution with an ensemble of simulations, in standard errors.

For each value of each observable, one-time and two-time alike, with f the theory and m the
ensemble's mean over N seeds,

    deviation = max(|m - f| - bias, 0) / error,
    error^2   = (standard error)^2 + (solver's error)^2,
    bias      = [2 (V/scale^2 + 1/d) + 5 |n/(delta d) - 1|] scale.

`bias` allows for the difference between dimension d and the limit. The mean of a function of
fluctuating quantities differs from its value at their means by half its curvature times their
variance, which is of the order of its own variance V over seeds; 1/d stands for what does not
show in V, and the last term for the rounding of n. `scale` is the size of the observable: itself
for the errors, sqrt(m(t,t) m(s,s)) for correlations, the root mean square of w for averages of w.

The largest deviation is tested by Student's law, of N - 1 degrees of freedom, with a Bonferroni
correction in which the values, so correlated are neighbouring ones, count as at most 100. From
eight seeds on, if t = 0 is among the times, m is not the plain mean. Targets differ in power,
which causes most of the spread, but |w* - w(0)|^2/d is known for each seed and so is its
expectation: m is the regression of the values on it at the expectation (N - 2 degrees of freedom).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution

SINGLE = ("test_error", "train_error", "mean_w", "overlap")
PAIRED = ("C_w", "C_r")

LEVEL = 0.005  # bound on the probability of rejecting the right theory
INDEPENDENT = 100  # values count as at most so many; 6 to 30 reproduce the law of the largest
# Bias over (V/scale^2 + 1/d) scale. At d = 250 to 2000 at most 1.7 was measured, and 0.6 beyond
# two standard errors of the measurement.
FLUCTUATION = 2.0
ROUNDING = 5.0  # bound on most d log f/d log delta
REGRESSION_SEEDS = 8  # from which the regression's degree of freedom is a small price
SIMULATION_FLOOR = 1e-12  # of its largest size: the accuracy of a simulated observable
ROWS = 8  # sampled times of an observable in the table

LEGEND = f"""\
s.e.: difference in combined standard errors of simulation and solver; * rejected
allowed bias: [{FLUCTUATION:g} (V/scale^2 + 1/d) + {ROUNDING:g} |n/(delta d) - 1|] scale, \
V the variance over seeds"""


class Row(NamedTuple):
    """One line of a report's table; `time` is (t,), or (t, s) for a two-time function."""

    observable: str
    time: tuple[float, ...]
    theory: float
    simulation: float
    difference: float
    allowed_bias: float
    standard_errors: float
    rejected: bool


@dataclass(frozen=True, eq=False)
class Report:
    """What `compare` returns.

    Attributes
    ----------
    passed : bool
        Whether every deviation is within chance. It is True also where the seeds are too few
        to tell: see `detectable`.
    largest_deviation : float
        Largest difference beyond the allowed bias, in combined standard errors.
    critical_deviation : float
        Value of `largest_deviation` above which the theory is rejected; infinite for one seed.
    p_value : float
        Bound on the probability of so large a deviation if the theory is right. `passed` means
        p_value >= 0.005.
    detectable : float
        Relative error of test_error, the same at all times, from which a theory is typically
        rejected; infinite for one seed.
    message : str
        The outcome in a sentence.
    dimension, seeds : int
        d and the number of seeds.
    t : ndarray, shape (T,)
    theory, simulation : dict of str to ndarray
        Observables (T,) and two-time functions (T, T). `simulation` is the ensemble's mean or,
        from eight seeds on and with t = 0 among the times, the mean at the expected power of
        the targets.
    combined_error : dict of str to ndarray
        Standard error of `simulation` and error of the solver, added in squares.
    finite_size_bias : dict of str to ndarray
        How far `simulation` may be shifted by finite d, estimated from the variance over seeds
        (the rule is above, in `dmft.compare`); infinite for one seed.
    """

    passed: bool
    largest_deviation: float
    critical_deviation: float
    p_value: float
    detectable: float
    message: str
    dimension: int
    seeds: int
    t: np.ndarray
    theory: dict[str, np.ndarray]
    simulation: dict[str, np.ndarray]
    combined_error: dict[str, np.ndarray]
    finite_size_bias: dict[str, np.ndarray]

    def standard_errors(self, name: str) -> np.ndarray:
        """Return simulation minus theory in combined standard errors, shape (T,) or (T, T)."""
        difference = self.simulation[name] - self.theory[name]
        return _quotient(difference, self.combined_error[name], otherwise=0.0)

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


def compare(solution: Solution, ensemble: Ensemble) -> Report:
    """Test whether the simulations of an ensemble agree with a solution.

    Parameters
    ----------
    solution : Solution
        The theory, at the times of the ensemble (`t_eval` of `dmft.solve`).
    ensemble : Ensemble
        Simulations of the same problem.

    Returns
    -------
    Report
        The verdict and the table; C_w and C_r are in it where the ensemble holds them.

    Raises
    ------
    TypeError
        If an argument is of another type.
    ValueError
        If problems or times differ.
    """
    _check(solution, ensemble)
    names = [name for name in (*SINGLE, *PAIRED) if name in ensemble.runs]
    theory = {name: solution.values[name] for name in names}
    power = _target_power(ensemble)
    simulation, error, bias = {}, {}, {}
    for name in names:
        runs, size = ensemble.runs[name], _size(solution, ensemble, name)
        simulation[name], spread = _mean(runs, power)
        # averages over d coordinates fluctuate; few seeds may agree by chance, or at t = 0
        spread = np.maximum(spread, size / math.sqrt(ensemble.dimension * ensemble.seeds))
        floor = SIMULATION_FLOOR * np.max(size)
        error[name] = np.sqrt(spread**2 + solution.error[name] ** 2 + floor**2)
        bias[name] = _bias(ensemble, runs, size)

    deviations = {
        name: _deviation(np.abs(simulation[name] - theory[name]), bias[name], error[name])
        for name in names
    }
    worst = max(names, key=lambda name: float(deviations[name].max()))
    largest = float(deviations[worst].max())
    tests = min(sum(values.size for values in deviations.values()), INDEPENDENT)
    freedom = ensemble.seeds - (1 if power is None else 2)
    p_value, critical = _student(largest, freedom, tests)
    reach = bias["test_error"] + critical * error["test_error"]
    detectable = float(np.min(_quotient(reach, theory["test_error"], otherwise=np.inf)))

    place = np.unravel_index(np.argmax(deviations[worst]), deviations[worst].shape)
    where = f"{worst}{_time_text([float(ensemble.t[k]) for k in place])}"
    return Report(
        passed=p_value >= LEVEL,
        largest_deviation=largest,
        critical_deviation=critical,
        p_value=p_value,
        detectable=detectable,
        message=_message(ensemble, where, largest, critical, detectable),
        dimension=ensemble.dimension,
        seeds=ensemble.seeds,
        t=ensemble.t,
        theory=theory,
        simulation=simulation,
        combined_error=error,
        finite_size_bias=bias,
    )


# --- statistics ------------------------------------------------------------------------------


def _target_power(ensemble: Ensemble) -> np.ndarray | None:
    """Return |w* - w(0)|^2/d of each seed minus its expectation, or None where it cannot serve."""
    if ensemble.seeds < REGRESSION_SEEDS or ensemble.t[0] != 0:
        return None
    power = 2 * ensemble.runs["test_error"][:, 0] - _expected_power(ensemble.problem)
    return power if np.ptp(power) > 0 else None


def _expected_power(problem: Problem) -> float:
    """Return E[(w* - w(0))^2]."""
    law, w = problem.signal, problem.mirror.initial_weight(problem.alpha)
    return law.second_moment - 2 * w * law.mean + w**2


def _mean(runs: np.ndarray, covariate: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the rows of `runs` and its standard error.

    With a covariate, one number a row and of expectation 0, it is the intercept of the
    regression on it.
    """
    seeds, mean = len(runs), runs.mean(axis=0)
    if seeds == 1:
        return mean, np.full(mean.shape, np.inf)
    if covariate is None:
        return mean, runs.std(axis=0, ddof=1) / math.sqrt(seeds)
    average = float(covariate.mean())
    centred = covariate - average
    square = float(centred @ centred)
    slope = np.tensordot(centred, runs, axes=1) / square
    rest = runs - mean - np.multiply.outer(centred, slope)
    variance = np.sum(rest**2, axis=0) / (seeds - 2)
    return mean - slope * average, np.sqrt(variance * (1 / seeds + average**2 / square))


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
    fluctuation = _quotient(runs.var(axis=0, ddof=1), size, otherwise=0.0)
    exact = ensemble.problem.delta * ensemble.dimension
    rounding = abs(ensemble.samples / exact - 1)
    return FLUCTUATION * (fluctuation + size / ensemble.dimension) + ROUNDING * rounding * size


def _deviation(difference: np.ndarray, bias: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Return the part of |difference| beyond the bias over the error; infinite where undefined."""
    beyond = np.where(difference <= bias, 0.0, difference - np.where(bias < np.inf, bias, 0.0))
    deviation = _quotient(beyond, error, otherwise=0.0)
    return np.where(np.isnan(deviation), np.inf, deviation)


def _quotient(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """Return a/b, or `otherwise` where b = 0."""
    return np.divide(a, b, out=np.full(np.shape(a), otherwise), where=np.asarray(b) != 0)


def _student(largest: float, freedom: int, tests: int) -> tuple[float, float]:
    """Return the p-value of the largest of `tests` deviations and its critical value."""
    from scipy.special import stdtr, stdtrit

    if freedom == 0:
        return 1.0, math.inf
    p_value = min(1.0, 2 * tests * float(stdtr(freedom, -largest)))
    return p_value, -float(stdtrit(freedom, LEVEL / (2 * tests)))


# --- text and checks -------------------------------------------------------------------------


def _message(
    ensemble: Ensemble, where: str, largest: float, critical: float, detectable: float
) -> str:
    if ensemble.seeds == 1:
        return (
            "Nothing can be decided: one seed has no spread from which to take a standard error; "
            "simulate at least 8."
        )
    setting = f"d = {ensemble.dimension}, {ensemble.seeds} seeds"
    if not largest <= critical:
        return (
            f"The theory is rejected at {setting}: {where} is {largest:.1f} combined standard "
            f"errors beyond the allowed finite-size bias, where chance explains {critical:.1f}."
        )
    furthest = (
        "no value differs by more than the allowed finite-size bias"
        if largest == 0
        else f"the largest deviation beyond the allowed finite-size bias, of {where}, is "
        f"{largest:.1f} combined standard errors, where chance explains {critical:.1f}"
    )
    return (
        f"Theory and simulation agree at {setting}: {furthest}; a test_error wrong by "
        f"{100 * detectable:.2g} % would have been rejected."
    )


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
