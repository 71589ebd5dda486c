"""How fast the flow arrives at its limit.

At lam = 0 the error near the limit decays linearly. With D = -dw/dH at the limit,

    delta < 1:  d(Xw - y)/dt = -(1/delta) X D X^T (Xw - y),
    delta > 1:  d(w - w_inf)/dt = -(1/delta) D X^T X (w - w_inf),

and both operators have, apart from zeros, the eigenvalues of X D X^T/delta. Its spectrum has
the left edge g = z(m_c), where (Silverstein, Choi, J. Multivar. Anal. 54, 1995)

    z(m) = -1/m + (1/delta) E[D/(1 + m D)],     z'(m_c) = 0  <=>  E[(m D/(1 + m D))^2] = delta,

with m_c > 0 for delta < 1 and m_c < -1/min D for delta > 1: one root in either case.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from dmft.limits.steady_states import steady_state
from dmft.limits.transitions import _trajectory
from dmft.problem import Problem
from dmft.validation import require_finite, shown


def convergence_rate(problem: Problem) -> float:
    """Return the rate g of the approach |w(t) - w(inf)| ~ exp(-g t), up to powers of t.

    At lam = 0, train_error - its limit ~ exp(-2 g t) t^(-3/2), the power being that of a
    spectrum that ends like a square root. For ridge regression residual and limit are not
    orthogonal and train_error - its limit ~ exp(-g t). test_error - its limit ~ exp(-g t)
    unless w(inf) = w*.

    The rate is that of d -> infinity: for a small start and delta > 1 it belongs to the few
    weights within about alpha^2 of 0. A system that holds none, d P(|w| < alpha^2) << 1, is
    faster.

    Parameters
    ----------
    problem : Problem
        lam = 0, or the linear network with any lam.

    Returns
    -------
    float
        g >= 0 in units of 1/time; at delta = 1 and lam = 0 it is 0, the approach being algebraic.

    Raises
    ------
    ValueError
        If lam > 0 for a network other than the linear one (the approach to the LASSO is expected
        to be algebraic), or where `steady_state` raises one.

    References
    ----------
    Silverstein, Choi, Analysis of the limiting spectral distribution of large dimensional
    random matrices, J. Multivar. Anal. 54 (1995).

    Examples
    --------
    >>> round(convergence_rate(Problem(delta=0.25, network="linear")), 6)  # (1 - delta^(-1/2))^2
    1.0
    """
    delta = problem.delta
    if problem.mirror.linear:
        return problem.lam + (1 - 1 / math.sqrt(delta)) ** 2
    if problem.lam > 0:
        raise ValueError(
            f"lam must be 0, got {problem.lam!r}: with decay the coordinates near the threshold "
            "relax arbitrarily slowly, so no exponential rate is expected"
        )
    if delta == 1:
        return 0.0
    probability, D = _limit_law(problem)
    return _left_edge(delta, probability, D)


def _limit_law(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return a quadrature rule for the law of D at the limit: weights and values, shape (N,)."""
    state = steady_state(problem)
    prox = state.denoiser.on_curve(problem.mirror.mirror_potential(problem.alpha))
    component, weight, points = prox.quadrature(state.observed, graded=problem.delta > 1)
    return weight * state.observed.probability[component], points.hessian_inverse


def _left_edge(delta: float, probability: np.ndarray, D: np.ndarray) -> float:
    from scipy.optimize import brentq

    smallest = D.min()

    def ratio(s: float) -> tuple[float, np.ndarray]:
        # x/(1+x), x = m D; it lies in (0, 1) for m > 0 and above 1 for m < -1/min D
        if delta < 1:
            return math.exp(s), 1 / (1 + np.exp(-s) / D)
        beyond = math.exp(s)
        return -(1 + beyond) / smallest, (1 + beyond) / ((D - smallest) / D + beyond)

    def condition(s: float) -> float:
        return float(probability @ ratio(s)[1] ** 2) / delta - 1

    low, high = -1.0, 1.0
    increasing = delta < 1
    while (condition(low) > 0) == increasing:
        low -= 10.0
    while (condition(high) < 0) == increasing:
        high += 10.0
    m, part = ratio(brentq(condition, low, high, xtol=1e-13))
    # z(m_c) with the condition inserted: x/(1+x) - (x/(1+x))^2, free of cancellation
    return float(probability @ (part * (1 - part))) / (m * delta)


class RateFit(NamedTuple):
    """Result of `fit_rate`: rate g and its standard error (1/time), power p.

    Examples
    --------
    >>> RateFit(rate=0.1, stderr=0.001, power=1.5).rate
    0.1
    """

    rate: float
    stderr: float
    power: float


def fit_rate(
    t: Any,
    train_error: Any,
    window: tuple[float, float] | None = None,
    limit: float = 0.0,
    power: float | None = None,
) -> RateFit:
    """Fit train_error - limit = C t^(-p) exp(-2 g t) by least squares in the logarithm.

    Where p is known the next term of the expansion in 1/t, a factor exp(c/t), is fitted too.

    Parameters
    ----------
    t : array_like, shape (T,)
        Increasing times.
    train_error : array_like, shape (T,)
        Train error at these times.
    window : (float, float), optional
        First and last time of the fit; the second half, [t[-1]/2, t[-1]], by default.
    limit : float
        Train error at t -> infinity; 0 for delta < 1.
    power : float, optional
        A known p, such as 3/2 (see `convergence_rate`): the slope of the logarithm is then
        -2 g - p/t - c/t^2. Fitted by default, without c.

    Returns
    -------
    RateFit
        g, its standard error and p. The standard error is that of the regression, enlarged by
        sqrt((1+c)/(1-c)) for the correlation c of successive residuals: those of a smooth
        curve measure what the form leaves out and are not independent.

    Raises
    ------
    ValueError
        If the shapes differ, the window holds fewer than 6 positive times, or train_error does
        not exceed `limit` in it.

    Examples
    --------
    >>> t = np.linspace(1.0, 20.0, 40)
    >>> round(fit_rate(t, np.exp(-0.6 * t), power=0.0).rate, 6)
    0.3
    """
    t, values = _trajectory(t, train_error, "train_error")
    low, high = (0.5 * t[-1], t[-1]) if window is None else window
    if not low < high:
        raise ValueError(f"window must be (first, last) with first < last; got {shown(window)}")
    inside = (t > 0) & (t >= low) & (t <= high)
    t, values = t[inside], values[inside] - require_finite("limit", limit)
    if t.size < 6:
        raise ValueError(
            f"window must hold at least 6 positive times; {low:g} to {high:g} holds {t.size}"
        )
    if np.any(values <= 0):
        raise ValueError(f"train_error must exceed limit = {limit:.17g} in the window; it does not")
    target = np.log(values)
    # centred and scaled columns keep the normal matrix well conditioned
    columns = [np.ones_like(t), (t - t.mean()) / np.ptp(t)]
    if power is None:
        columns.append(np.log(t) - np.log(t).mean())
    else:
        target = target + require_finite("power", power) * np.log(t)
        columns.append(t[0] / t)
    design = np.stack(columns, axis=1)
    solution = np.linalg.lstsq(design, target, rcond=None)[0]
    residual = target - design @ solution
    variance = residual @ residual / (t.size - design.shape[1])
    slope_variance = variance * np.linalg.inv(design.T @ design)[1, 1]
    scale = 2 * np.ptp(t)
    return RateFit(
        float(-solution[1] / scale),
        float(math.sqrt(slope_variance) * _correlation_factor(residual) / scale),
        float(-solution[2]) if power is None else float(power),
    )


def _correlation_factor(residual: np.ndarray) -> float:
    total = residual @ residual
    if total == 0:
        return 1.0
    correlation = float(residual[1:] @ residual[:-1] / total)
    correlation = min(max(correlation, 0.0), 1 - 2 / residual.size)
    return math.sqrt((1 + correlation) / (1 - correlation))
