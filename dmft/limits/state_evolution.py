"""Scalar state evolution of separable regularised regression with Gaussian data.

The law of one weight is that of w = prox(g), g = w* + tau Z, where prox solves
w + psi(w)/k = g. The two unknowns (tau, k) satisfy

    delta tau^2 = sigma2 + E[(w - w*)^2],     delta (1 - kappa) = E[prox'],

with kappa = k for a penalised problem and kappa = 0 for an interpolator. They are the saddle
point of a function that is convex in tau and concave in k tau. Stationarity in k tau reads,
with the Stein identity E[(w-w*)^2] = tau^2 (2 E prox' - 1) + E[(g-w)^2],

    E[(g - w)^2] = (1 - delta + 2 delta kappa) tau^2 - sigma2,

whose left side decreases and right side does not decrease with k: one root k(tau). Along it
delta (1 - kappa) - E[prox'] has the sign of the derivative of a convex function of tau: it
changes sign once. So two nested bracketings always succeed and the solution is unique.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from dmft.limits.mixture import Mixture
from dmft.networks.potential import Curve, Potential

_Z_MAX = 9.0  # the Gaussian mass beyond is 2e-19


class Moments(NamedTuple):
    """E[prox'], E[(g-w)^2] and E[g-w] for each component, shape (K,).

    Examples
    --------
    >>> import numpy as np
    >>> Moments(np.ones(1), np.zeros(1), np.zeros(1)).slope
    array([1.])
    """

    slope: np.ndarray
    bias_square: np.ndarray
    bias: np.ndarray


class Denoiser(ABC):
    """A non-decreasing map w = prox(g).

    Examples
    --------
    >>> import dmft, numpy as np
    >>> dmft.steady_state(dmft.Problem(0.5, lam=0.1)).denoiser.weight(np.array([0.0])).round(6)
    array([0.])
    """

    @abstractmethod
    def weight(self, g: np.ndarray) -> np.ndarray:
        """Return w, shape of `g`."""

    @abstractmethod
    def observation(self, w: np.ndarray, strict: bool = False) -> np.ndarray:
        """Return the largest g with prox(g) <= w, or with prox(g) < w (its supremum)."""

    @abstractmethod
    def moments(self, observed: Mixture) -> Moments:
        """Return the moments under each component of the law of g."""

    def on_curve(self, potential: Potential) -> MirrorProx:
        """Return the same map as one that knows a mirror potential; w = g where it has none."""
        return MirrorProx(potential, 0.0)

    def density(self, observed: Mixture) -> float:
        """Return P(w != 0)."""
        return 1.0 - float(np.diff(_zero_interval(self, observed))[0])


def _zero_interval(denoiser: Denoiser, observed: Mixture) -> np.ndarray:
    zero = np.zeros(1)
    below = observed.cdf(denoiser.observation(zero, strict=True), strict=True)
    return np.concatenate([below, observed.cdf(denoiser.observation(zero))])


@dataclass(frozen=True)
class SoftThreshold(Denoiser):
    """w = sign(g) max(|g| - threshold, 0).

    Examples
    --------
    >>> SoftThreshold(1.0).weight(np.array([-3.0, 0.5, 2.0]))
    array([-2.,  0.,  1.])
    """

    threshold: float

    def weight(self, g: np.ndarray) -> np.ndarray:
        """Return w, shape of `g`."""
        return g - np.clip(g, -self.threshold, self.threshold)

    def observation(self, w: np.ndarray, strict: bool = False) -> np.ndarray:
        """Return w + threshold right of the jump and w - threshold left of it."""
        right = w > 0 if strict else w >= 0
        return w + np.where(right, self.threshold, -self.threshold)

    def moments(self, observed: Mixture) -> Moments:
        """Return closed Gaussian integrals."""
        _, m, s = observed
        t = self.threshold
        low, high = (-t - m) / s, (t - m) / s
        right, left = ndtr(-high), ndtr(low)
        active = right + left
        inner = ndtr(high) - left
        dense_low, dense_high = _gauss(low), _gauss(high)
        clipped = m * inner + s * (dense_low - dense_high)
        square = (
            (m**2 + s**2) * inner
            + 2 * m * s * (dense_low - dense_high)
            + s**2 * (low * dense_low - high * dense_high)
            + t**2 * active
        )
        # t << s: the closed form is a difference of terms of order s^2
        return Moments(
            active, np.where(t < s, self._narrow(m, s), square), clipped + t * (right - left)
        )

    def _narrow(self, m: np.ndarray, s: np.ndarray) -> np.ndarray:
        # E min(|g|, t)^2 = int_0^t 2 x P(|g| > x) dx, every term positive
        nodes, weights = np.polynomial.legendre.leggauss(24)
        x = 0.5 * self.threshold * (nodes + 1)
        z, centre = x[:, None] / s, m / s
        outside = ndtr(centre - z) + ndtr(-centre - z)
        return self.threshold * ((weights * x) @ outside)

    def density(self, observed: Mixture) -> float:
        """Return P(|g| > threshold) without cancellation."""
        return observed.average(self.moments(observed).slope)


@dataclass(frozen=True)
class Scaling(Denoiser):
    """w = factor g: ridge regression, least squares and the least-norm interpolator.

    Examples
    --------
    >>> Scaling(0.5).weight(np.array([4.0]))
    array([2.])
    """

    factor: float

    def weight(self, g: np.ndarray) -> np.ndarray:
        """Return factor g."""
        return self.factor * g

    def observation(self, w: np.ndarray, strict: bool = False) -> np.ndarray:
        """Return w/factor."""
        return w / self.factor

    def moments(self, observed: Mixture) -> Moments:
        """Return the moments of a linear map."""
        rest = 1 - self.factor
        second = observed.mean**2 + observed.std**2
        return Moments(
            np.full_like(observed.mean, self.factor), rest**2 * second, rest * observed.mean
        )


@dataclass(frozen=True)
class MirrorProx(Denoiser):
    """w + shrink psi(w) = g for a mirror potential.

    Examples
    --------
    >>> from dmft.networks.linear import Quadratic
    >>> MirrorProx(Quadratic(), shrink=1.0).weight(np.array([4.0]))  # w + w = 4
    array([2.])
    """

    potential: Potential
    shrink: float

    def on_curve(self, potential: Potential) -> MirrorProx:
        """Return this map, which has its own potential."""
        return self

    def weight(self, g: np.ndarray) -> np.ndarray:
        """Return w, shape of `g`."""
        w = np.array(g, dtype=float)
        finite = np.isfinite(w)
        if finite.any():
            w[finite] = self.potential.curve(self.potential.solve(w[finite], self.shrink)).w
        return w

    def observation(self, w: np.ndarray, strict: bool = False) -> np.ndarray:
        """Return w + shrink psi(w)."""
        g = np.array(w, dtype=float)
        finite = np.isfinite(g)
        if finite.any():
            y = self.potential.solve(g[finite], 0.0)
            g[finite] += self.shrink * self.potential.curve(y).psi
        return g

    def quadrature(
        self, observed: Mixture, graded: bool = False
    ) -> tuple[np.ndarray, np.ndarray, Curve]:
        """Return a Gauss-Legendre rule on panels that resolve both the Gaussian and the map.

        The panels end at multiples of 2 standard deviations and at steps of the potential's
        smooth variable y.

        Parameters
        ----------
        observed : Mixture
            Law of g.
        graded : bool
            Refine dyadically towards y = 0, where D is smallest.

        Returns
        -------
        component : ndarray, shape (N,)
            Component of each node.
        weight : ndarray, shape (N,)
            Weights, with unit sum for each component.
        points : Curve
            The weights and their potential at the nodes.
        """
        edges = self._edges(observed, graded)
        nodes, weights = np.polynomial.legendre.leggauss(16)
        z, measure, component = [], [], []
        for k, (m, s) in enumerate(zip(observed.mean, observed.std, strict=True)):
            if s == 0:
                panel_z, panel_weight = np.zeros(1), np.ones(1)
            else:
                inside = (edges - m) / s
                ends = np.union1d(
                    inside[np.abs(inside) < _Z_MAX], np.arange(-_Z_MAX, _Z_MAX + 1, 2)
                )
                half = 0.5 * np.diff(ends)[:, None]
                panel_z = (ends[:-1, None] + half * (nodes + 1)).ravel()
                panel_weight = (half * weights).ravel() * _gauss(panel_z)
            z.append(panel_z)
            measure.append(panel_weight)
            component.append(np.full(panel_z.size, k))
        index = np.concatenate(component)
        g = observed.mean[index] + observed.std[index] * np.concatenate(z)
        y = self.potential.solve(g, self.shrink)
        return index, np.concatenate(measure), self.potential.curve(y)

    def _edges(self, observed: Mixture, graded: bool) -> np.ndarray:
        size = float(np.max(np.abs(observed.mean) + _Z_MAX * observed.std))
        y = self.potential.grid(-size, size, self.shrink)
        if graded:
            fine = self.potential.step * 0.5 ** np.arange(0, 30)
            y = np.union1d(y, np.concatenate([-fine, fine]))
        points = self.potential.curve(y)
        return points.w + self.shrink * points.psi

    def moments(self, observed: Mixture) -> Moments:
        """Return the moments by quadrature."""
        component, weight, points = self.quadrature(observed)
        bias = self.shrink * points.psi
        slope = points.w_y / (points.w_y + self.shrink * points.psi_y)
        values = (slope, bias**2, bias)
        size = observed.mean.size
        return Moments(*(np.bincount(component, weight * v, minlength=size) for v in values))


class FixedPoint(NamedTuple):
    """Solution of the state evolution: tau, k, the law of g and the denoiser.

    Examples
    --------
    >>> import dmft
    >>> state = dmft.steady_state(dmft.Problem(0.5, 1.0, 0.1, 0.1))
    >>> abs(state.tau**2 - 2 * (0.1 + 2 * state.test_error)) < 1e-9
    True
    """

    tau: float
    k: float
    observed: Mixture
    denoiser: Denoiser


def penalised(
    delta: float, sigma2: float, signal: Mixture, denoiser: Callable[[float], Denoiser]
) -> FixedPoint:
    """Solve for a penalised problem, kappa = k; `denoiser(k)` is the proximal map.

    Parameters
    ----------
    delta, sigma2 : float
        Sample ratio and noise variance; sigma2 and the law of w* are not both zero.
    signal : Mixture
        Law of w*.
    denoiser : callable
        Proximal map of the penalty over k.
    """

    def excess(log_k: float, tau2: float, B: float) -> float:
        return B - (1 - delta + 2 * delta * np.exp(log_k)) * tau2 + sigma2

    def closure(log_k: float, slope: float) -> float:
        return delta * (1 - np.exp(log_k)) - slope

    start = (sigma2 + _second_moment(signal)) / delta
    return _solve(signal, denoiser, excess, closure, 0.0, start)


def interpolating(
    delta: float, sigma2: float, signal: Mixture, denoiser: Callable[[float], Denoiser]
) -> FixedPoint:
    """Solve for the interpolator of least potential, kappa = 0, delta < 1.

    Parameters
    ----------
    delta, sigma2 : float
        Sample ratio and noise variance.
    signal : Mixture
        Law of w*.
    denoiser : callable
        Proximal map of the potential over k.
    """
    floor = sigma2 / (1 - delta)  # below it no residual g - w is left for the potential

    def excess(log_k: float, tau2: float, B: float) -> float:
        return B - (1 - delta) * (tau2 - floor)

    def closure(log_k: float, slope: float) -> float:
        return delta - slope

    start = (sigma2 + _second_moment(signal)) / delta
    return _solve(signal, denoiser, excess, closure, floor, start)


def _solve(
    signal: Mixture,
    denoiser: Callable[[float], Denoiser],
    excess: Callable[[float, float, float], float],
    closure: Callable[[float, float], float],
    floor: float,
    start: float,
) -> FixedPoint:
    guess = 0.0  # log k, carried from one tau to the next

    def observe(log_gap: float) -> tuple[float, Mixture]:
        tau = float(np.sqrt(floor + np.exp(log_gap)))
        return tau, signal.compressed(tau).convolved(tau)

    def best_k(tau: float, observed: Mixture) -> float:
        nonlocal guess

        def inner(log_k: float) -> float:
            B = observed.average(denoiser(float(np.exp(log_k))).moments(observed).bias_square)
            return excess(log_k, tau**2, B) / tau**2

        guess = _decreasing_root(inner, guess)
        return guess

    def outer(log_gap: float) -> float:
        tau, observed = observe(log_gap)
        log_k = best_k(tau, observed)
        moments = denoiser(float(np.exp(log_k))).moments(observed)
        return -closure(log_k, observed.average(moments.slope))

    tau, observed = observe(_decreasing_root(outer, float(np.log(start))))
    k = float(np.exp(best_k(tau, observed)))
    return FixedPoint(tau, k, observed, denoiser(k))


def _decreasing_root(function: Callable[[float], float], guess: float) -> float:
    """Return the one root of a function that changes sign from + to -, bracketed from `guess`."""
    from scipy.optimize import brentq

    known: dict[float, float] = {}  # brentq asks again for both ends of the bracket

    def value(x: float) -> float:
        if x not in known:
            known[x] = function(x)
        return known[x]

    direction = 1.0 if value(guess) > 0 else -1.0
    near, width = guess, 0.25
    while value(guess) * direction > 0:
        near, guess = guess, guess + direction * width
        width *= 2
        if abs(guess) > 690:  # exp leaves the range of a double
            raise ArithmeticError("state evolution has no solution in double precision")
    if value(guess) == 0:
        return guess
    return float(brentq(value, near, guess, xtol=1e-14, rtol=1e-14))


def _second_moment(signal: Mixture) -> float:
    return signal.average(signal.mean**2 + signal.std**2)


def _gauss(z: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
