"""Given design matrices: standardised, subsampled by seed, with given or planted targets.

The theory assumes independent entries of mean 0 and variance 1/d. A given matrix of N rows and D
columns is brought to that scaling, and each seed takes n of its rows and d of its columns,

    X = (x - mean)/(deviation sqrt(d)),    delta = n/d,

so that marginals and correlations stay those of the data. What is then known of the targets is

- nothing but X: targets and noise are planted, w* from the problem's law, y = X w* + xi;
- X, y and w*: sigma2 is the mean of |y - X w*|^2/n, the law that of the entries of w*;
- X and y: the rows that a seed does not take stand for fresh samples. With r their residual,
  r.r/m - sigma2 estimates |w - w*|^2/d and X^T y.w/m estimates w.w*/d. sigma2 and E[w*^2], of a
  Gaussian law, are the estimates of moments

      E[w*^2] = d (|X^T y|^2 - |y|^2)/(n (n + 1)),    sigma2 = |y|^2/n - E[w*^2],

  which are unbiased where X has independent Gaussian entries (L. H. Dicker, Biometrika 101, 269,
  2014, equation 6, in this scaling), cut off at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dmft.problem import Problem
from dmft.signals import Bernoulli, Empirical, Gaussian
from dmft.simulation.data import OWN_DATA, Data, HeldOut
from dmft.validation import require_integer

# A column whose deviation is below this part of its largest entry counts as constant: rounding of
# the mean leaves about 1e-16.
CONSTANT_RTOL = 1e-12
# Rows that are kept back by default to measure the test error where w* is not known.
HELD_OUT = 0.25
# Draws whose moments are averaged to estimate sigma2 and the law of w*.
ESTIMATED = 16


class Given(NamedTuple):
    """A checked design (N, D) in the theory's scaling but for 1/sqrt(d), with y and w* or None."""

    X: np.ndarray
    y: np.ndarray | None
    w_star: np.ndarray | None


@dataclass(frozen=True)
class OwnSource:
    """Draws of a given design or of a function that draws one.

    Parameters
    ----------
    give : callable
        Returns the `Given` of a generator.
    samples, dimension : int
        n and d of each draw.
    shared : float
        Share of its entries that a draw has in common with another, on average.
    """

    give: Callable[[np.random.Generator], Given]
    samples: int
    dimension: int
    shared: float
    design: str = OWN_DATA

    def draw(self, problem: Problem, child: np.random.SeedSequence) -> tuple[Data, HeldOut | None]:
        """Return the data of one seed, and the rows that are held out where w* is not known."""
        rng = np.random.default_rng(child)
        whole = self.give(rng)
        (rows, columns), d = whole.X.shape, self.dimension
        if rows < self.samples or columns < d:
            raise ValueError(
                f"data must give at least {self.samples} rows and {d} columns each time; got an "
                f"array of shape {whole.X.shape}"
            )
        order = rng.permutation(rows)
        chosen, rest = np.sort(order[: self.samples]), order[self.samples :]
        kept = np.sort(rng.permutation(columns)[:d])
        X = whole.X[np.ix_(chosen, kept)] / math.sqrt(d)
        if whole.y is None:
            w_star, start = problem.signal.sample_with_start(rng, d)
            noise = math.sqrt(problem.sigma2) * rng.standard_normal(self.samples)
            return Data(X, w_star, X @ w_star + noise, start), None
        y = whole.y[chosen]
        if whole.w_star is not None:
            return Data(X, whole.w_star[kept] * math.sqrt(d), y), None
        # the first step of a flow from 0, of the size of w*, serves the control of errors only
        reference = X.T @ y * (d / self.samples)
        held = HeldOut(whole.X[np.ix_(rest, kept)] / math.sqrt(d), whole.y[rest])
        return Data(X, reference, y), held

    def problem(self, problem: Problem, children: Sequence[np.random.SeedSequence]) -> Problem:
        """Return the problem with delta, sigma2 and law of the data; see the module's head."""
        problem = replace(problem, delta=self.samples / self.dimension)
        whole = self.give(np.random.default_rng(children[0]))
        if whole.y is None:
            return problem
        if problem.signal.layer_starts:
            raise ValueError(
                "signal must leave the start of the layers to the network where data hold targets; "
                f"got {problem.signal!r}"
            )
        draws = [self.draw(problem, child)[0] for child in children[:ESTIMATED]]
        if whole.w_star is not None:
            noise = [np.mean((draw.y - draw.X @ draw.w_star) ** 2) for draw in draws]
            law = Empirical(np.concatenate([draw.w_star for draw in draws[: _laws(whole, self)]]))
            return replace(problem, sigma2=float(np.mean(noise)), signal=law)
        power, sigma2 = np.mean([signal_and_noise(draw.X, draw.y) for draw in draws], axis=0)
        signal = Gaussian(math.sqrt(power)) if power > 0 else Bernoulli(value=0.0)
        return replace(problem, sigma2=max(0.0, float(sigma2)), signal=signal)


def _laws(whole: Given, source: OwnSource) -> int:
    """Return how many draws give the law of w*: one if all columns are in each."""
    return 1 if whole.X.shape[1] == source.dimension and source.shared > 0 else ESTIMATED


def signal_and_noise(X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Estimate E[w*^2] and sigma2 of y = X w* + xi by moments, without a cut-off.

    Parameters
    ----------
    X : ndarray, shape (n, d)
        Design whose entries have variance 1/d.
    y : ndarray, shape (n,)
        Labels of mean 0.
    """
    n, d = X.shape
    labels, gradient = float(y @ y), X.T @ y
    power = d * (float(gradient @ gradient) - labels) / (n * (n + 1))
    return power, labels / n - power


def own_source(
    data: Any, samples: int | None, dimension: int | None, seeds: int, standardise: bool
) -> OwnSource:
    """Check given data and return their source; see `dmft.simulate` for the arguments.

    Raises
    ------
    ValueError, TypeError
        If the data are of another form, have missing values, constant columns, one row or column,
        shapes that disagree, fewer rows or columns than asked for, or all draws would be equal.
    """
    if not isinstance(standardise, bool):
        raise TypeError(f"standardise must be True or False; got {standardise!r}")
    drawn = callable(data)
    give = _Drawn(data, standardise) if drawn else _Same(given(data, standardise))
    whole = give(np.random.default_rng(0))
    rows, columns = whole.X.shape
    held_out = whole.y is not None and whole.w_star is None
    d = columns if dimension is None else require_integer("dimension", dimension, low=2)
    if samples is None:
        samples = rows - math.ceil(HELD_OUT * rows) if held_out else rows
    n = require_integer("samples", samples, low=2)
    if d > columns:
        raise ValueError(f"dimension must be at most the {columns} columns of data; got {d}")
    if n > rows - held_out:
        reason = ", one row at least being held out since data hold no w_star" if held_out else ""
        raise ValueError(f"samples must be at most {rows - held_out}{reason}; got {n}")
    shared = 0.0 if drawn else n * d / (rows * columns)
    if shared == 1 and whole.y is not None and seeds > 1:
        raise ValueError(
            f"seeds must be 1 where each draw holds all of data; got {seeds}: give samples < "
            f"{rows} or dimension < {columns}, or plant targets by data=X"
        )
    return OwnSource(give, n, d, shared)


@dataclass(frozen=True)
class _Same:
    """Gives the same arrays each time."""

    whole: Given

    def __call__(self, rng: np.random.Generator) -> Given:
        return self.whole


@dataclass(frozen=True)
class _Drawn:
    """Gives what a function draws from a generator."""

    function: Callable[[np.random.Generator], Any]
    standardise: bool

    def __call__(self, rng: np.random.Generator) -> Given:
        return given(self.function(rng), self.standardise)


def given(data: Any, standardise: bool) -> Given:
    """Return checked arrays, standardised unless the caller has done so.

    Parameters
    ----------
    data : array_like, DataFrame or tuple
        X (N, D), (X, y) or (X, y, w_star).
    standardise : bool
        Whether to give the columns mean 0 and variance 1 (over sqrt(d), 1/d), y mean 0, and w* the
        inverse scale of the columns. Otherwise X is taken to have entries of variance 1/D.
    """
    parts = data if isinstance(data, tuple) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(f"data must be X, (X, y) or (X, y, w_star); got {len(parts)} parts")
    X, names = matrix("X", parts[0])
    rows, columns = X.shape
    y = _vector("y", parts[1], rows, "row") if len(parts) > 1 else None
    w_star = _vector("w_star", parts[2], columns, "column") if len(parts) > 2 else None
    if not standardise:
        scale = math.sqrt(columns)
        return Given(X * scale, y, None if w_star is None else w_star / scale)
    X, deviation = standardised(X, names)
    y = None if y is None else y - y.mean()
    return Given(X, y, None if w_star is None else w_star * deviation)


def standardised(X: np.ndarray, names: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return X with columns of mean 0 and variance 1, and their deviations (D,).

    Raises
    ------
    ValueError
        If a column is constant.
    """
    centred = X - X.mean(axis=0)
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    constant = np.flatnonzero(deviation <= CONSTANT_RTOL * np.abs(X).max(axis=0))
    if constant.size:
        raise ValueError(
            f"X must have no constant column; got {constant.size}, the first "
            f"{names[constant[0]]!r}: drop them"
        )
    return centred / deviation, deviation


def matrix(name: str, value: Any) -> tuple[np.ndarray, Sequence[Any]]:
    """Return a real matrix of at least two rows and columns, and the names of its columns.

    Raises
    ------
    ValueError
        If it has another shape, or an entry that is no number, missing or infinite.
    """
    names: Sequence[Any] = range(10**9)
    if hasattr(value, "columns") and hasattr(value, "to_numpy"):  # a DataFrame
        names = [getattr(column, "name", column) for column in value.columns]
        X = np.column_stack([_numbers(f"{name}[{key!r}]", value[key]) for key in names])
    else:
        X = _numbers(name, value)
    if X.ndim != 2 or min(X.shape) < 2:
        raise ValueError(
            f"{name} must be a matrix of at least 2 rows and 2 columns; got shape {X.shape}"
        )
    missing = np.argwhere(~np.isfinite(X))
    if len(missing):
        row, column = (int(k) for k in missing[0])
        raise ValueError(
            f"{name} must have no missing or infinite value; got {len(missing)}, the first in row "
            f"{row}, column {names[column]!r}: drop or impute them"
        )
    return X, names


def _vector(name: str, value: Any, size: int, of: str) -> np.ndarray:
    vector = _numbers(name, value)
    if vector.shape == (size, 1):  # a DataFrame of one column
        vector = vector[:, 0]
    if vector.shape != (size,):
        raise ValueError(
            f"{name} must have one entry a {of} of X, {size}; got shape {vector.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(vector))
    if bad.size:
        raise ValueError(
            f"{name} must have no missing or infinite value; got {bad.size}, the first at {bad[0]}"
        )
    return vector


def _numbers(name: str, value: Any) -> np.ndarray:
    """Return an array of floats; ValueError where there is something else in it."""
    if hasattr(value, "toarray"):  # a sparse matrix
        value = value.toarray()
    array = np.asarray(value)
    if array.dtype.kind not in "biufO":
        raise ValueError(f"{name} must hold real numbers; got an array of {array.dtype}")
    try:
        return array.astype(float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must hold real numbers; got an array of {array.dtype}") from None
