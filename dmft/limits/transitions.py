"""When the flow changes its regime, predicted and detected.

A depth-two network leaves the lazy regime when u v = 1, at t = 2 log(alpha)/lam, and a small one
stops searching when its first coordinates have grown from alpha to 1, at
t = 2 log(1/alpha)/|h(0)| (arXiv:2510.01930).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.display import Summarised
from dmft.problem import Problem
from dmft.validation import (
    require_array,
    require_in_range,
    require_integer,
    require_times,
)

_GRID_STEP = 0.02  # of log t, for the detection of the steepest descent
_SMOOTHING = 0.1  # of log t, standard deviation
_FLAT = 0.25  # a slope below this part of the steepest one is a plateau
_RELEVANT = 0.1  # a descent below this part of the largest one is not counted


@dataclass(frozen=True, repr=False)
class Timescales(Summarised):
    """Times of the changes of regime; each is computed when it is asked for.

    `lazy_to_rich` and `search_to_descent` raise ValueError where the time is not defined.

    Parameters
    ----------
    problem : Problem
        The problem.
    dimension : int, optional
        Passed on to `search_to_descent_time`.

    Examples
    --------
    >>> round(timescales(Problem(delta=0.5, alpha=10.0, lam=0.1)).lazy_to_rich, 4)
    46.0517
    """

    problem: Problem
    dimension: int | None = None

    @property
    def lazy_to_rich(self) -> float:
        """`lazy_to_rich_time` of the problem."""
        return lazy_to_rich_time(self.problem)

    @property
    def search_to_descent(self) -> float:
        """`search_to_descent_time` of the problem."""
        return search_to_descent_time(self.problem, self.dimension)

    def summary(self) -> dict[str, str]:
        """Return the times, or why there are none."""
        rows = {"problem": repr(self.problem)}
        for name in ("lazy_to_rich", "search_to_descent"):
            try:
                rows[name] = f"t = {getattr(self, name):.6g}"
            except ValueError as error:
                rows[name] = f"none: {error}"
        return rows


timescales = Timescales  # as it is called in dmft


def lazy_to_rich_time(problem: Problem) -> float:
    """Return the time at which u v = 1, 2 log(alpha)/lam for equal starts.

    Parameters
    ----------
    problem : Problem
        Depth two, alpha > 1, lam > 0. For unequal starts alpha^2 is replaced by u(0) v(0).

    Returns
    -------
    float
        Time in the unit of `Problem`.

    Raises
    ------
    ValueError
        If the network has another depth, lam = 0 or u(0) v(0) <= 1.

    References
    ----------
    arXiv:2510.01930, lazy-to-rich transition.

    Examples
    --------
    >>> round(lazy_to_rich_time(Problem(delta=0.5, alpha=10.0, lam=0.1)), 4)  # 2 log(10)/0.1
    46.0517
    """
    scales = problem.mirror.pair_scales
    if scales is None:
        raise ValueError(f"network must have depth two; got {problem.mirror!r}")
    if problem.lam == 0:
        raise ValueError("lam must be > 0 for a lazy-to-rich transition; got 0.0")
    product = problem.alpha**2 * scales[0] * scales[1]
    if product <= 1:
        raise ValueError(
            "alpha must be > 1 for a lazy-to-rich transition (u v > 1 at the start); "
            f"got alpha = {problem.alpha!r}, u v = {product:g}"
        )
    return math.log(product) / problem.lam


def search_to_descent_time(
    problem: Problem, dimension: int | None = None, quantile: float = 0.5
) -> float:
    """Return the time in which the first coordinates grow from alpha to 1 at the initial force.

    While the weights are small the force on a coordinate is constant and has the law of
    h(0) = w(0) - w* + sqrt((E(w(0)-w*)^2 + sigma2)/delta) Z. For depth 2 the time is
    2 log(1/alpha)/|h(0)|, for depth L it is 2 (alpha^(2-L) - 1)/((L-2) |h(0)|). As d grows
    the largest |h(0)| grows without bound, so a convention is needed:

    - without `dimension`: the `quantile` of |h(0)| over the coordinates with w* != 0;
    - with `dimension`: the median of the largest |h(0)| of that many coordinates of any kind.

    Parameters
    ----------
    problem : Problem
        Diagonal or deep network, alpha < 1.
    dimension : int, optional
        d >= 1.
    quantile : float
        Probability in (0, 1), the median by default; not used with `dimension`.

    Returns
    -------
    float
        Time in the unit of `Problem`.

    Raises
    ------
    ValueError
        If alpha >= 1, the network is of another kind, an argument is out of range or (without
        `dimension`) every w* is 0.

    References
    ----------
    arXiv:2510.01930, search-to-descent transition; arXiv:2304.00488 for the first jump.

    Examples
    --------
    >>> small, smaller = (Problem(delta=0.5, alpha=a) for a in (1e-2, 1e-4))
    >>> round(search_to_descent_time(smaller) / search_to_descent_time(small), 6)
    2.0
    """
    growth = problem.mirror.growth(problem.alpha)
    if growth is None:
        raise ValueError(f"network must be diagonal or deep; got {problem.mirror!r}")
    if problem.alpha >= 1:
        raise ValueError(
            f"alpha must be < 1 for a search-to-descent transition; got {problem.alpha!r}"
        )
    if dimension is not None:
        probability = 0.5 ** (1 / require_integer("dimension", dimension, low=1))
    else:
        probability = require_in_range(
            "quantile", quantile, low=0.0, high=1.0, low_open=True, high_open=True
        )
    force = _force_quantile(problem, probability, signal_only=dimension is None)
    return growth / force


def _force_quantile(problem: Problem, probability: float, signal_only: bool) -> float:
    """Return the quantile of |h(0)|, over all coordinates or over those with w* != 0."""
    from scipy.optimize import brentq

    from dmft.limits.mixture import Mixture

    p, mean, std = problem.signal.mixture
    start = problem.mirror.initial_weight(problem.alpha)
    spread2 = (problem.signal.square_distance(start) + problem.sigma2) / problem.delta
    if signal_only:
        kept = (mean != 0) | (std > 0)
        if not kept.any():
            raise ValueError(f"signal must have entries other than 0; got {problem.signal!r}")
        p, mean, std = p[kept] / p[kept].sum(), mean[kept], std[kept]
    force = Mixture(p, start - mean, np.sqrt(std**2 + spread2))
    if not np.any(force.std) and not np.any(force.mean):
        raise ValueError("signal must differ from the start or sigma2 be > 0: the force is 0")

    def excess(x: float) -> float:
        edges = force.cdf(np.array([-x, x]))
        return float(edges[1] - edges[0]) - probability

    return float(brentq(excess, 0.0, np.abs(force.mean).max() + 40 * force.std.max()))


def detect_lazy_to_rich(t: Any, test_error: Any) -> float:
    """Return the time at which the test error falls fastest after the lazy plateau.

    Definition: the last local maximum of -d test_error/d log t that reaches 10 % of the largest
    one; before it there must be a plateau, where the slope is below a quarter of that
    maximum, and before the plateau the test error must already have moved by at least 10 % of
    what it loses after it. The curve is interpolated monotonically on a uniform grid of log t
    and its slope smoothed over 0.1 in log t.

    Parameters
    ----------
    t : array_like, shape (T,)
        Increasing times, T >= 8; they should reach back to the first fit of the data.
    test_error : array_like, shape (T,)
        Test error at these times.

    Returns
    -------
    float
        Time of the transition.

    Raises
    ------
    ValueError
        If there is no such descent, or the arrays do not fit.

    Examples
    --------
    >>> t = np.geomspace(0.01, 1e4, 400)
    >>> error = 1 / (1 + t) + 2 / (1 + (t / 100.0) ** 4)  # a fit at t = 1, another at t = 100
    >>> 80.0 < detect_lazy_to_rich(t, error) < 120.0
    True
    """
    t, values = _trajectory(t, test_error, "test_error")
    log_t, curve, descent = _logarithmic_slope(t, values)
    peak = _last_peak(descent)
    flat = np.flatnonzero(np.abs(descent[:peak]) <= _FLAT * descent[peak])
    if flat.size == 0:
        raise ValueError("test_error must show a descent after a plateau; no plateau was found")
    plateau = flat[-1]
    moved = np.abs(np.diff(curve[: plateau + 1])).sum() + abs(curve[0] - values[0])
    if moved < _RELEVANT * (curve[plateau] - curve[plateau:].min()):
        raise ValueError(
            "test_error must move before the plateau (the lazy fit) and fall after it; "
            "it has one descent only"
        )
    return float(np.exp(log_t[peak]))


def _logarithmic_slope(
    t: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.interpolate import PchipInterpolator
    from scipy.ndimage import gaussian_filter1d

    positive = t > 0
    if np.count_nonzero(positive) < 8:
        raise ValueError(f"t must hold at least 8 positive times; got {t.size} times")
    knots = np.log(t[positive])
    log_t = np.linspace(knots[0], knots[-1], max(16, math.ceil(np.ptp(knots) / _GRID_STEP)))
    curve = PchipInterpolator(knots, values[positive])(log_t)
    step = log_t[1] - log_t[0]
    descent = gaussian_filter1d(-np.gradient(curve, step), _SMOOTHING / step, mode="nearest")
    return log_t, curve, descent


def _last_peak(descent: np.ndarray) -> int:
    """Return the index of the last relevant maximum of the descent."""
    from scipy.signal import find_peaks

    largest = float(descent.max())
    if largest <= 0:
        raise ValueError("test_error must fall at some time; it never does")
    peaks, _ = find_peaks(descent, height=_RELEVANT * largest, prominence=_RELEVANT * largest)
    if peaks.size == 0:
        raise ValueError("test_error must have its steepest descent inside the times given")
    return int(peaks[-1])


def detect_search_to_descent(t: Any, test_error: Any, fraction: float = 0.1) -> float:
    """Return the first time at which the test error has lost a part of its total drop.

    Definition: with the drop from test_error[0] to the smallest test error, the first time (by
    linear interpolation) at which `fraction` of that drop has been lost.

    Parameters
    ----------
    t : array_like, shape (T,)
        Increasing times.
    test_error : array_like, shape (T,)
        Test error at these times.
    fraction : float
        Part of the drop, in (0, 1).

    Returns
    -------
    float
        Time of the transition.

    Raises
    ------
    ValueError
        If the test error never falls below its first value, or the arrays do not fit.

    Examples
    --------
    >>> detect_search_to_descent([0.0, 1.0, 2.0, 3.0], [1.0, 1.0, 0.5, 0.0])
    1.2
    """
    t, values = _trajectory(t, test_error, "test_error")
    require_in_range("fraction", fraction, low=0.0, high=1.0, low_open=True, high_open=True)
    return _fall_time(t, values, fraction, "test_error")


def grokking_delay(t: Any, train_error: Any, test_error: Any, fraction: float = 0.9) -> float:
    """Return by how much the test error lags behind the train error.

    Definition: each error's time is the first one after its maximum at which it has lost
    `fraction` of the drop from that maximum to the smallest later value (linear
    interpolation); the delay is the test error's time minus the train error's. It is
    negative if the test error falls first.

    Parameters
    ----------
    t : array_like, shape (T,)
        Increasing times.
    train_error, test_error : array_like, shape (T,)
        Errors at these times.
    fraction : float
        Part of the drop, in (0, 1).

    Returns
    -------
    float
        Delay in the unit of `t`.

    Raises
    ------
    ValueError
        If one of the errors never falls, or the arrays do not fit.

    Examples
    --------
    >>> t = [0.0, 1.0, 2.0, 3.0]
    >>> grokking_delay(t, [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], fraction=0.5)
    2.0
    """
    require_in_range("fraction", fraction, low=0.0, high=1.0, low_open=True, high_open=True)
    fall = []
    for name, error in (("train_error", train_error), ("test_error", test_error)):
        times, values = _trajectory(t, error, name)
        top = int(np.argmax(values))
        fall.append(_fall_time(times[top:], values[top:], fraction, name))
    return fall[1] - fall[0]


def _fall_time(t: np.ndarray, values: np.ndarray, fraction: float, name: str) -> float:
    drop = values[0] - values.min()
    if drop <= 1e-12 * abs(values[0]):
        raise ValueError(f"{name} must fall at some time; it never does")
    level = values[0] - fraction * drop
    after = int(np.argmax(values <= level))
    high, low = values[after - 1], values[after]
    return float(t[after - 1] + (t[after] - t[after - 1]) * (high - level) / (high - low))


def _trajectory(t: Any, values: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    times, errors = require_times("t", t), require_array(name, values)
    if times.size < 2:
        raise ValueError(f"t must be a 1-d array of at least 2 times; got shape {times.shape}")
    if errors.shape != times.shape:
        raise ValueError(f"{name} must have the shape of t, {times.shape}; got {errors.shape}")
    return times, errors
