"""Long times of quadratic networks, and where they recover their teacher.

With rho the law of Z* plus a semicircle of variance xi and Hr = Re G its Hilbert transform, the
estimator shifts the top eigenvalues of that matrix: Z has the law of (x - q)_+ for the largest
share min(kappa, 1) of them, x > b = max(q, omega) with int_omega^inf rho = kappa, and

    1 = lam/q + I/alpha,           I = int_b^inf rho Hr (x - q),
    2 alpha xi = MSE + Delta/2,    MSE = 1 + 1/kappa* + int_b^inf rho (q^2 - x^2) + 4 xi I,
    train_error = (lam/q)^2 alpha xi    (labels with their noise)

(arXiv:2601.10483). At a given xi the left equation has one solution q, since I falls with q; the
right one then has one solution xi at every alpha (seen in all of 60 problems drawn at random),
so that both are bracketed and no continuation is needed. (At a given xi there may be several
alpha: with label noise xi is not monotone in alpha.) For lam = 0 what is returned is the limit
lam -> 0+: q = 0 where the samples determine the estimator, lam/q = 0 where it interpolates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.recovery import recovery_threshold
from dmft.solvers.free_convolution import FreeConvolution, Tail

# Below this share of its upper bound a noise variance xi is no longer told from zero: rounding of
# the moments, 1e-15, would exceed 0.1 % of MSE = O(xi).
SMALLEST = 1e-12


@dataclass(frozen=True)
class QuadraticSteadyState:
    """Observables and the spectrum of Z at t -> infinity.

    Attributes
    ----------
    problem : QuadraticProblem
    mse : float
        Tr[(Z - Z*)^2]/d.
    train_error : float
        (1/4n) sum_k (Tr(X_k Z) - y_k)^2.
    trace : float
        Tr Z/d.
    overlap : float
        Tr[Z Z*]/d.
    rank : float
        Rank of Z over d.
    noise : float
        xi, the variance of the semicircle that stands for the sampling noise; 0 where the teacher
        is recovered.
    shift : float
        q, by which eigenvalues are lowered.
    edge : float
        b, above which eigenvalues are kept.
    branch : str
        "regularised" (lam > 0), or of the limit lam -> 0+ "determined", "interpolating" or
        "recovered".
    """

    problem: QuadraticProblem
    mse: float
    train_error: float
    trace: float
    overlap: float
    rank: float
    noise: float
    shift: float
    edge: float
    branch: str

    def density(self, x: Any) -> np.ndarray:
        """Return the density of the eigenvalues of Z at x > 0, shape of `x`; 0 elsewhere.

        The mass at zero, 1 - rank, is not part of it.

        Raises
        ------
        ValueError
            If the teacher is recovered: the density is then the teacher's own law.
        """
        if self.noise == 0:
            raise ValueError("the teacher is recovered: Z has the Marchenko-Pastur law of Z*")
        x = np.asarray(x, dtype=float)
        kept = (x > 0) & (x + self.shift > self.edge)
        law = FreeConvolution(self.problem.kappa_star, self.noise)
        values = np.zeros(x.shape)
        values[kept] = law.density(x[kept] + self.shift)
        return values


@dataclass(frozen=True)
class _Trial:
    """The left equation solved at a given xi: q, the tail above b and what follows from them."""

    problem: QuadraticProblem
    noise: float

    @cached_property
    def law(self) -> FreeConvolution:
        return FreeConvolution(self.problem.kappa_star, self.noise)

    @cached_property
    def width_edge(self) -> float:
        """Return omega, above which there is a share kappa of the eigenvalues."""
        kappa = self.problem.kappa
        return self.law.upper_quantile(kappa) if kappa < 1 else -math.inf

    def tail(self, q: float) -> Tail:
        return self.law.tail(max(q, self.width_edge))

    def fit(self, q: float) -> float:
        """Return I/alpha, by how much the samples fix the estimator."""
        tail = self.tail(q)
        return (tail.first_transform - q * tail.transform) / self.problem.alpha

    @cached_property
    def shift(self) -> float:
        """The solution q of 1 = lam/q + I/alpha."""
        from scipy.optimize import brentq

        lam, top = self.problem.lam, self.law.support[-1][1]
        if lam > 0:
            if lam >= top:
                return lam
            return float(brentq(lambda q: lam / q + self.fit(q) - 1, lam, top, rtol=1e-13))
        if self.fit(0.0) <= 1:
            return 0.0
        return float(brentq(lambda q: self.fit(q) - 1, 0.0, top, xtol=1e-15, rtol=1e-13))

    @cached_property
    def decay(self) -> float:
        """The share lam/q, by which the residual is shrunk."""
        q = self.shift
        if self.problem.lam > 0:
            return self.problem.lam / q
        return 0.0 if q > 0 else 1 - self.fit(q)

    @cached_property
    def mse(self) -> float:
        q, tail = self.shift, self.tail(self.shift)
        variance = 4 * self.noise * self.problem.alpha * self.fit(q)
        return self.problem.teacher_power + q * q * tail.mass - tail.second + variance

    @property
    def excess(self) -> float:
        """MSE + Delta/2 - 2 alpha xi over xi; zero at the steady state."""
        labels = self.mse + self.problem.label_noise / 2
        return labels / self.noise - 2 * self.problem.alpha


def steady_state(problem: QuadraticProblem) -> QuadraticSteadyState:
    """Return the limit t -> infinity of the flow of a quadratic network.

    Parameters
    ----------
    problem : QuadraticProblem
        For lam = 0 the limit is lam -> 0+ after t -> infinity. Where the samples do not
        determine Z, a flow with lam = 0 ends elsewhere, depending on its start.

    Returns
    -------
    QuadraticSteadyState

    Raises
    ------
    TypeError
        If `problem` is of another type.
    RuntimeError
        If the equations have no solution in the range of xi that doubles resolve.

    References
    ----------
    arXiv:2601.10483.

    Examples
    --------
    >>> state = steady_state(QuadraticProblem(0.3, kappa=0.7, kappa_star=0.5, lam=0.1))
    >>> state.branch
    'regularised'
    """
    return _solve(_require(problem), None)


def steady_states(problem: QuadraticProblem, alphas: Iterable[float]) -> list[QuadraticSteadyState]:
    """Return the steady states at many alpha, each started from the last one.

    Parameters
    ----------
    problem : QuadraticProblem
        All but its alpha.
    alphas : iterable of float
        Samples over squared dimension; > 0.

    Raises
    ------
    ValueError
        If one of the alphas is not positive and finite.
    """
    states: list[QuadraticSteadyState] = []
    for one in [replace(_require(problem), alpha=alpha) for alpha in alphas]:
        noises = [state.noise for state in states[-2:] if state.noise > 0]
        guess = noises[-1] ** 2 / noises[0] if noises else None  # as it changed the last time
        states.append(_solve(one, guess))
    return states


def _solve(problem: QuadraticProblem, guess: float | None) -> QuadraticSteadyState:
    """Bracket xi, around a guess where there is one, and return the state there."""
    from scipy.optimize import brentq

    if _recovers(problem):
        return _recovered(problem)

    @cache
    def excess(log_noise: float) -> float:
        return _Trial(problem, math.exp(log_noise)).excess

    bound = (problem.teacher_power + problem.label_noise / 2) / problem.alpha
    centre, step = (math.log(guess), 0.02) if guess else (math.log(bound), 1.0)
    low = high = centre
    falling = excess(centre) < 0
    while (excess(low) < 0) if falling else (excess(high) > 0):
        low, high = (low - step, low) if falling else (high, high + step)
        step *= 2
        if high > math.log(bound / SMALLEST):
            raise RuntimeError(f"no steady state with xi below {math.exp(high):.3g}: {problem!r}")
        if low < math.log(bound * SMALLEST):
            raise RuntimeError(
                f"the steady state of {problem!r} has xi below {bound * SMALLEST:.1e}, where "
                "rounding hides it: take lam = 0 for the limit lam -> 0+, or a larger lam"
            )
    log_noise = brentq(excess, low, high, xtol=1e-13)
    return _state(_Trial(problem, math.exp(log_noise)))


def _state(trial: _Trial) -> QuadraticSteadyState:
    problem, q, tail = trial.problem, trial.shift, trial.tail(trial.shift)
    power = tail.second - 2 * q * tail.first + q * q * tail.mass
    unregularised = "determined" if q == 0 else "interpolating"
    return QuadraticSteadyState(
        problem=problem,
        mse=trial.mse,
        train_error=trial.decay**2 * problem.alpha * trial.noise,
        trace=tail.first - q * tail.mass,
        overlap=(power + problem.teacher_power - trial.mse) / 2,
        rank=tail.mass,
        noise=trial.noise,
        shift=q,
        edge=max(q, trial.width_edge),
        branch="regularised" if problem.lam > 0 else unregularised,
    )


def _recovers(problem: QuadraticProblem) -> bool:
    exact = problem.lam == 0 and problem.label_noise == 0
    return exact and problem.alpha >= recovery_threshold(problem.kappa, problem.kappa_star)


def _recovered(problem: QuadraticProblem) -> QuadraticSteadyState:
    return QuadraticSteadyState(
        problem=problem,
        mse=0.0,
        train_error=0.0,
        trace=1.0,
        overlap=problem.teacher_power,
        rank=min(1.0, problem.kappa_star),
        noise=0.0,
        shift=0.0,
        edge=0.0,
        branch="recovered",
    )


def _require(problem: QuadraticProblem) -> QuadraticProblem:
    if not isinstance(problem, QuadraticProblem):
        raise TypeError(f"problem must be a dmft.QuadraticProblem; got {problem!r}")
    return problem
