"""Limit t -> infinity of gradient flow, from scalar state-evolution equations.

One weight has the law of w = prox(w* + tau Z) with

    tau^2 = (sigma2 + E[(w - w*)^2])/delta,     delta (1 - kappa) = E[prox'],
    test_error = E[(w - w*)^2]/2,               train_error = kappa^2 delta tau^2/2.

Branches (tau and kappa as above; psi = Psi' the mirror potential's derivative, -H(w)):

    lasso                     depth 2, lam > 0: soft threshold at lam/kappa
    ridge                     linear, lam > 0: w = g/(1 + lam/kappa)
    least squares             lam = 0, delta >= 1: w = g
    least-norm interpolator   linear, lam = 0, delta < 1: w = delta g
    mirror interpolator       other networks, lam = 0, delta < 1: w + psi(w)/k = g

The LASSO limit is 1/(2n) |y - X w|^2 + (lam/d) |w|_1, whatever the start. With decay, three and
more layers lose weights that were once small: the penalty |w|^(2/L) is not convex and no state
evolution of this kind holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.models import for_every_model
from dmft.problem import Problem
from dmft.validation import shown

if TYPE_CHECKING:
    from dmft.limits.mixture import Mixture
    from dmft.limits.state_evolution import Denoiser, FixedPoint


@dataclass(frozen=True)
class SteadyState:
    """Observables and the law of one weight at t -> infinity.

    Attributes
    ----------
    branch : str
        Name of the case, as in the table of the module.
    test_error : float
        E[(w - w*)^2]/2.
    train_error : float
        |y - X w|^2/(2 n).
    tau : float
        Standard deviation of the effective noise.
    kappa : float
        Factor by which fitting shrinks the residual; 0 for an interpolator.
    density : float
        P(w != 0).
    mean_w : float
        E[w].
    overlap : float
        E[w w*].
    observed : Mixture
        Law of g = w* + tau Z.
    denoiser : Denoiser
        The map w = prox(g).

    Examples
    --------
    >>> limit = steady_state(Problem(delta=2.0, lam=0.1, sigma2=0.1))
    >>> bool(np.isclose(limit.histogram([-100.0, 0.0, 100.0]).sum(), 1.0))
    True
    """

    branch: str
    test_error: float
    train_error: float
    tau: float
    kappa: float
    density: float
    mean_w: float
    overlap: float
    observed: Mixture = field(repr=False, compare=False)
    denoiser: Denoiser = field(repr=False, compare=False)

    def cdf(self, x: Any) -> np.ndarray:
        """Return P(w <= x).

        Parameters
        ----------
        x : array_like
            Weights; infinities are allowed.

        Returns
        -------
        ndarray
            Probabilities, shape of `x`; atoms are included.

        Raises
        ------
        ValueError
            If `x` holds a NaN.
        """
        return self._probability(_numbers("x", x), strict=False)

    def quantile(self, p: Any) -> np.ndarray:
        """Return the smallest x with P(w <= x) >= p.

        Parameters
        ----------
        p : array_like
            Probabilities in [0, 1].

        Returns
        -------
        ndarray
            Weights, shape of `p`; minus and plus infinity at 0 and 1.

        Raises
        ------
        ValueError
            If a probability is outside [0, 1].
        """
        p = _numbers("p", p)
        if np.any((p < 0) | (p > 1)):
            wrong = p[(p < 0) | (p > 1)].flat[0]
            raise ValueError(f"p must satisfy 0 <= p <= 1; got {shown(wrong)}")
        flat = self.denoiser.weight(self.observed.quantile(p.ravel()))
        return flat.reshape(p.shape)

    def histogram(self, bins: Any) -> np.ndarray:
        """Return the probability of each bin.

        Parameters
        ----------
        bins : array_like, shape (B + 1,)
            Increasing edges. As in numpy.histogram the bins are half open, [a, b), except for
            the last one, [a, b].

        Returns
        -------
        ndarray, shape (B,)
            Exact probabilities; the atom at 0 belongs to the bin that holds 0.

        Raises
        ------
        ValueError
            If there are fewer than two edges or they do not increase.
        """
        edges = _numbers("bins", bins)
        if edges.ndim != 1 or edges.size < 2 or np.any(np.diff(edges) <= 0):
            raise ValueError(f"bins must be at least 2 increasing edges; got {bins!r}")
        below = self._probability(edges, strict=True)
        below[-1] = self._probability(edges[-1:], strict=False)[0]
        return np.diff(below)

    def _probability(self, x: np.ndarray, strict: bool) -> np.ndarray:
        return self.observed.cdf(self.denoiser.observation(x, strict), strict)


@for_every_model
def steady_state(problem: Problem) -> SteadyState:
    """Return the limit t -> infinity of the flow.

    Parameters
    ----------
    problem : Problem
        The problem; see the table of the module for the cases.

    Returns
    -------
    SteadyState
        Observables and the law of w.

    Raises
    ------
    ValueError
        If the limit is not that of a convex problem (three or more layers with lam > 0), if it
        diverges (delta = 1, lam = 0, sigma2 > 0), or if w cannot change sign (a product whose
        two smallest layers start equal).

    References
    ----------
    Bayati, Montanari, The LASSO risk for Gaussian matrices, IEEE Trans. Inf. Theory 58 (2012);
    arXiv:2510.01930 for the networks; arXiv:2412.16765 for their mirror potentials.

    Examples
    --------
    >>> limit = steady_state(Problem(delta=0.5, lam=0.1, sigma2=0.1))
    >>> limit.branch, round(limit.test_error, 7), round(limit.train_error, 8)
    ('lasso', 0.0675425, 0.00326828)
    """
    _require_covered(problem)
    if problem.lam > 0:
        return _ridge(problem) if problem.mirror.linear else _lasso(problem)
    if problem.delta >= 1:
        return _least_squares(problem)
    if problem.mirror.linear:
        start = problem.mirror.initial_weight(problem.alpha)
        if start != 0:
            raise ValueError(
                f"scale must be 0 for the least-norm interpolator; got w(0) = {start!r}"
            )
        return _scaled(problem, "least-norm interpolator", problem.delta, 0.0)
    return _mirror_interpolator(problem)


def recovery_threshold(density: Any) -> Any:
    """Return the delta above which basis pursuit recovers a noiseless sparse w* exactly.

    delta_c = min_k rho (1+k^2) + 2 (1-rho) [(1+k^2) Phi(-k) - k phi(k)]. At the minimum
    rho k = 2 (1-rho) [phi(k) - k Phi(-k)], hence delta_c = rho + 2 (1-rho) Phi(-k).

    Parameters
    ----------
    density : float or array_like
        rho = P(w* != 0) in [0, 1].

    Returns
    -------
    float or ndarray
        delta_c, shape of `density`.

    Raises
    ------
    ValueError
        If a density is outside [0, 1].

    References
    ----------
    Donoho, Maleki, Montanari, Message-passing algorithms for compressed sensing, PNAS 106
    (2009), the phase boundary for weights of either sign.

    Examples
    --------
    >>> round(recovery_threshold(0.1), 4)
    0.3288
    """
    rho = _numbers("density", density)
    if np.any((rho < 0) | (rho > 1)):
        raise ValueError(f"density must satisfy 0 <= density <= 1; got {shown(density)}")
    thresholds = np.array([_recovery_threshold(float(r)) for r in rho.ravel()])
    return float(thresholds[0]) if rho.ndim == 0 else thresholds.reshape(rho.shape)


def _recovery_threshold(rho: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import erfcx, ndtr

    if rho in (0.0, 1.0):
        return rho

    def stationarity(k: float) -> float:
        # log of 2 [phi - k Phi(-k)]/k minus the log-odds of rho; decreases from +inf to -inf
        mills = math.sqrt(math.pi / 2) * erfcx(k / math.sqrt(2))
        gap = 1 - k * mills
        return (
            math.log(2 * gap / (k * math.sqrt(2 * math.pi)))
            - 0.5 * k**2
            - (math.log(rho) - math.log1p(-rho))
        )

    k = brentq(stationarity, 1e-20, 40.0, xtol=1e-15, rtol=1e-14)
    return float(rho + 2 * (1 - rho) * ndtr(-k))


# --- what is covered ------------------------------------------------------------------------


def _require_covered(problem: Problem) -> None:
    network = problem.mirror
    if problem.lam > 0 and network.depth >= 3:
        raise ValueError(
            f"lam must be 0 for 3 or more layers; got {problem.lam!r} for {network!r}: "
            "the penalty |w|^(2/L) is not convex and the limit depends on the path"
        )
    if not network.changes_sign:
        raise ValueError(
            "scales must have a single smallest layer: with a tie the weights cannot change sign "
            f"and the limit is a non-negative problem, which is not covered; got {network!r}"
        )
    if problem.delta == 1 and problem.lam == 0 and problem.sigma2 > 0:
        raise ValueError(
            "delta must differ from 1 when lam = 0 and sigma2 > 0: the test error of the limit "
            f"diverges there; got delta = {problem.delta!r}, sigma2 = {problem.sigma2!r}"
        )


# --- the branches -----------------------------------------------------------------------------


def _lasso(problem: Problem) -> SteadyState:
    from dmft.limits.state_evolution import SoftThreshold, penalised

    signal = _mixture(problem)
    if problem.sigma2 == 0 and not np.any(signal.mean**2 + signal.std**2):
        return _nothing_to_learn(problem, "lasso", 1.0)
    point = penalised(
        problem.delta, problem.sigma2, signal, lambda k: SoftThreshold(problem.lam / k)
    )
    return _from_fixed_point(problem, "lasso", point, point.k)


def _mirror_interpolator(problem: Problem) -> SteadyState:
    from dmft.limits.state_evolution import MirrorProx, interpolating

    signal = _mixture(problem)
    potential = problem.mirror.mirror_potential(problem.alpha)
    start = problem.mirror.initial_weight(problem.alpha)
    if problem.sigma2 == 0 and not np.any((signal.mean - start) ** 2 + signal.std**2):
        return _nothing_to_learn(problem, "mirror interpolator", 0.0)
    point = interpolating(
        problem.delta, problem.sigma2, signal, lambda k: MirrorProx(potential, 1 / k)
    )
    return _from_fixed_point(problem, "mirror interpolator", point, 0.0)


def _ridge(problem: Problem) -> SteadyState:
    # kappa = 1 - a/delta with a = kappa/(kappa + lam): the positive root of
    # kappa^2 - b kappa - lam = 0, written without cancellation
    delta, lam = problem.delta, problem.lam
    b = 1 - 1 / delta - lam
    root = math.hypot(b, 2 * math.sqrt(lam))
    kappa = 0.5 * (b + root) if b > 0 else 2 * lam / (root - b)
    return _scaled(problem, "ridge", kappa / (kappa + lam), kappa)


def _least_squares(problem: Problem) -> SteadyState:
    return _scaled(problem, "least squares", 1.0, 1 - 1 / problem.delta)


def _scaled(problem: Problem, branch: str, factor: float, kappa: float) -> SteadyState:
    # w = factor (w* + tau Z): tau^2 (delta - factor^2) = sigma2 + (1-factor)^2 E w*^2
    from dmft.limits.state_evolution import FixedPoint, Scaling

    second = problem.signal.second_moment
    source = problem.sigma2 + (1 - factor) ** 2 * second
    tau = math.sqrt(source / (problem.delta - factor**2)) if source > 0 else 0.0
    observed = _mixture(problem).compressed(tau).convolved(tau)
    return _from_fixed_point(
        problem, branch, FixedPoint(tau, math.inf, observed, Scaling(factor)), kappa
    )


def _nothing_to_learn(problem: Problem, branch: str, kappa: float) -> SteadyState:
    # w* = w(0) in every coordinate and no noise: the flow does not move
    from dmft.limits.state_evolution import FixedPoint, Scaling

    point = FixedPoint(0.0, math.inf, _mixture(problem), Scaling(1.0))
    return _from_fixed_point(problem, branch, point, kappa)


def _from_fixed_point(
    problem: Problem, branch: str, point: FixedPoint, kappa: float
) -> SteadyState:
    tau, observed = point.tau, point.observed
    moments = point.denoiser.moments(observed)
    signal_variance = np.maximum(observed.std**2 - tau**2, 0.0)
    mean = observed.mean - moments.bias
    # Stein's identity: E[Z prox(w* + tau Z)] = tau E prox', and the same for a Gaussian w*
    error = tau**2 * (2 * moments.slope - 1) + moments.bias_square
    return SteadyState(
        branch=branch,
        test_error=0.5 * observed.average(error),
        train_error=0.5 * kappa**2 * problem.delta * tau**2,
        tau=tau,
        kappa=kappa,
        density=point.denoiser.density(observed),
        mean_w=observed.average(mean),
        overlap=observed.average(observed.mean * mean + signal_variance * moments.slope),
        observed=observed,
        denoiser=point.denoiser,
    )


def _mixture(problem: Problem) -> Mixture:
    from dmft.limits.mixture import Mixture

    return Mixture(*problem.signal.mixture)


def _numbers(name: str, value: Any) -> np.ndarray:
    array = np.array(value, dtype=float)
    if np.any(np.isnan(array)):
        raise ValueError(f"{name} must not hold NaN; got {value!r}")
    return array
