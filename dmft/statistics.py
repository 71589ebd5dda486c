"""Means at known covariates and Student's test of the largest of several deviations."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

# A covariate whose distance from the span of those before it is below this part of its length
# repeats them; rounding leaves about 1e-16.
SPAN_RTOL = 1e-9
# Points of the law of s/sigma: 64 give the deviation that is seen to 2 % at any freedom.
QUANTILES = 64
# Up to so many degrees of freedom a visible deviation is so many sigma that Fisher's law gives it
# to 1 %, where the noncentral t would take seconds.
FEW = 2


def independent_columns(covariates: np.ndarray) -> np.ndarray:
    """Return the columns of `covariates` (N, C) that vary and do not follow from those before.

    Returns
    -------
    ndarray, shape (N, C') with C' <= C

    Examples
    --------
    >>> columns = np.array([[1.0, 2.0, 5.0], [2.0, 4.0, 5.0], [0.0, 0.0, 5.0]])
    >>> independent_columns(columns).shape
    (3, 1)
    """
    basis = np.ones((len(covariates), 1)) / math.sqrt(len(covariates))
    kept = []
    for column in covariates.T:
        rest = column - basis @ (basis.T @ column)
        length = float(np.linalg.norm(rest))
        if length > SPAN_RTOL * np.linalg.norm(column):
            basis = np.column_stack([basis, rest / length])
            kept.append(column)
    return np.array(kept).reshape(-1, len(covariates)).T


def intercept(runs: np.ndarray, covariates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean over the rows of `runs` where all covariates are 0, and its standard error.

    Parameters
    ----------
    runs : ndarray, shape (N, ...)
        Independent rows.
    covariates : ndarray, shape (N, C)
        Independent columns of expectation 0, C < N - 1; C = 0 gives the plain mean.

    Returns
    -------
    mean, standard_error : ndarray, shape of a row
        The intercept of the regression on the covariates; the error is infinite for N = 1.

    Examples
    --------
    >>> x = np.array([[1.0], [-1.0], [2.0], [-2.0]])
    >>> mean, error = intercept(3.0 + 2.0 * x, x)
    >>> round(float(mean[0]), 6)
    3.0
    """
    count = len(runs)
    if count == 1:
        return runs[0], np.full(runs.shape[1:], np.inf)
    scales = np.linalg.norm(covariates, axis=0)
    design = np.hstack([np.ones((count, 1)), covariates / scales])
    fit = np.linalg.pinv(design)
    coefficients = np.tensordot(fit, runs, axes=1)
    rest = runs - np.tensordot(design, coefficients, axes=1)
    variance = np.sum(rest**2, axis=0) / (count - design.shape[1])
    return coefficients[0], np.sqrt(variance * float(fit[0] @ fit[0]))


def student_test(
    largest: float, freedom: int, tests: int, level: float, power: float
) -> tuple[float, float, float]:
    """Test the largest of some deviations in standard errors, by Student and Bonferroni.

    Parameters
    ----------
    largest : float
        The largest deviation; >= 0.
    freedom : int
        Degrees of freedom of the standard errors; 0 decides nothing.
    tests : int
        Number of independent deviations.
    level : float
        Probability of exceeding the critical deviation by chance.
    power : float
        Probability of exceeding it that a visible deviation has.

    Returns
    -------
    p_value, critical, visible : float
        Bound on the probability of `largest` by chance; critical deviation; what a single value
        has to deviate, in standard errors of these data, to exceed it in other data of this size
        with probability `power` (see `_visible`).

    Examples
    --------
    >>> p, critical, seen = student_test(2.0, freedom=9, tests=1, level=0.05, power=0.95)
    >>> round(critical, 3)
    2.262
    """
    from scipy.special import stdtr, stdtrit

    if freedom == 0:
        return 1.0, math.inf, math.inf
    p_value = min(1.0, 2 * tests * float(stdtr(freedom, -largest)))
    critical = -float(stdtrit(freedom, level / (2 * tests)))
    return p_value, critical, _visible(critical, freedom, power)


@lru_cache(maxsize=64)
def _visible(critical: float, freedom: int, power: float) -> float:
    """Return the deviation, in measured standard errors, that is seen with a probability.

    In other data of standard deviation sigma a deviation of x exceeds the critical value with the
    probability that noncentral t of noncentrality x/sigma gives. sigma is known by its measured
    value s only: the probability is the mean over the law of s/sigma, chi over its freedom. Where
    x is many sigma it is that of x/s' > critical, s'^2/s^2 of Fisher's law.
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri, fdtri, nctdtr

    if freedom <= FEW:
        return critical * math.sqrt(fdtri(freedom, freedom, power))
    tail = (np.arange(QUANTILES) + 0.5) / QUANTILES
    measured = np.sqrt(chdtri(freedom, tail) / freedom)

    def excess(log_deviation: float) -> float:
        missed = nctdtr(freedom, np.exp(log_deviation) * measured, critical)
        return 1 - power - float(np.mean(np.where(np.isfinite(missed), missed, 0.0)))

    return math.exp(brentq(excess, math.log(critical), math.log(1e4 * critical), xtol=1e-4))


def quotient(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """Return a/b, or `otherwise` where b = 0.

    Examples
    --------
    >>> quotient(np.array([1.0, 2.0]), np.array([2.0, 0.0]), otherwise=0.0)
    array([0.5, 0. ])
    """
    return np.divide(a, b, out=np.full(np.shape(a), otherwise), where=np.asarray(b) != 0)
