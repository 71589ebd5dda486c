"""Saddle-to-saddle dynamics: gradient flow of a diagonal network as its start goes to zero.

On a given data set the flow from w = 0 waits at saddles of the loss l(w) = (c/2)|X w - y|^2 and
jumps between them at times that follow from the integrated gradient s(tau) alone
(arXiv:2304.00488, Algorithm 1; arXiv:2607.12332 for more layers). From tau = 0, s = 0, w = 0, and
while grad l(w) != 0:

    1. Delta = min{ e > 0 : s_i - e grad_i l(w) = t_i^+ or -t_i^- for some i with grad_i l(w) != 0 }
    2. tau <- tau + Delta,   s <- s - Delta grad l(w)
    3. w = argmin l   subject to   w_i >= 0 where s_i = t_i^+, w_i <= 0 where s_i = -t_i^-,
                                   w_i = 0 elsewhere.

A depth of two has the thresholds t^+ = t^- = 1. The last w minimises sum_i t_i^+ w_i^+ +
t_i^- w_i^- among the minimisers of the loss: at depth two it has the least l1 norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.networks.product import ProductOfLayers
from dmft.solvers.sign_constrained import (
    SignConstrainedSolution,
    least_norm_on_face,
    sign_constrained_least_squares,
)
from dmft.validation import require_in_range, require_integer, shown
from dmft.values import Value

SNAP = 1e-12  # coordinates this near their threshold (relative) reach it together


@dataclass(frozen=True, eq=False, repr=False)
class SaddlePath(Value):
    """The saddles that the flow visits and the times at which it reaches them.

    Attributes
    ----------
    times : ndarray, shape (K,)
        tau_0 = 0 < tau_1 < ...: the flow stays at saddle k from times[k] to times[k + 1].
    saddles : ndarray, shape (K, d)
        The weights w; saddles[0] = 0.
    losses : ndarray, shape (K,)
        (loss_scale/2) |X w - y|^2 at each saddle.
    active_sets : tuple of K ndarrays
        Indices of the non-zero weights of each saddle, ascending.
    success : bool
        Whether the last saddle minimises the loss.
    message : str
        How the computation ended, and which weights were not unique.

    Examples
    --------
    >>> import dmft
    >>> path = dmft.saddle_to_saddle([[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]], [1, 0])
    >>> path.saddles.shape, path.active_sets[-1]
    ((4, 4), array([2, 3]))
    """

    times: np.ndarray
    saddles: np.ndarray
    losses: np.ndarray
    active_sets: tuple[np.ndarray, ...]
    success: bool
    message: str

    @property
    def sources(self) -> tuple[str, ...]:
        """What the path rests on, by the keys of `dmft.citations`."""
        return ("2304.00488", "2607.12332")

    def summary(self) -> dict[str, str]:
        """Return the outcome, the first and the last saddle."""
        jumps = len(self.times) - 1
        return {
            "outcome": f"{'success' if self.success else 'no success'}: {self.message}",
            "jumps": f"{jumps}, the last at {self.times[-1]:.6g}",
            "loss": f"from {self.losses[0]:.6g} to {self.losses[-1]:.6g}",
            "weights": f"{self.active_sets[-1].size} of {self.saddles.shape[1]} are not 0 at last",
        }


def saddle_to_saddle(
    X: Any,
    y: Any,
    layer_scales: Any = None,
    *,
    loss_scale: float = 1.0,
    max_saddles: int | None = None,
) -> SaddlePath:
    """Compute the saddles and jump times of gradient flow from a vanishing start.

    The loss is l(w) = (loss_scale/2) |X w - y|^2 and the flow du/dt = -(1/2) dl/du, for every
    layer u; loss_scale = 1/delta gives the flow du/dt = -(d/2) dL/du of `dmft.Problem`, with
    L = |X w - y|^2/(2 n). In that flow saddle k is reached at the time

        t = 2 log(1/alpha) times[k]     for w = (u^2 - v^2)/2, u(0) = v(0) = alpha -> 0,
        t = 2 s0^-(L-2) times[k]        for w = u_1 ... u_L, u_j(0) = s0 layer_scales[j], s0 -> 0.

    Two layers, L = 2, have t = 2 log(1/s0) times[k] whatever their scales: w = (u^2 - v^2)/2 is
    the product of (u + v)/sqrt 2 and (u - v)/sqrt 2. In the flow du/dt = -dl/du every t halves.
    These are limits: the first is approached like 1/log(1/alpha), the second like s0^(L-2).
    A network w = (u^L - v^L)/L with u(0) = v(0) = alpha has the thresholds 1/(L-2) on both sides:
    it visits the saddles of depth two at t = 2 alpha^-(L-2) times[k]/(L-2).

    Parameters
    ----------
    X : array_like, shape (n, d)
        Design matrix, of any shape and rank.
    y : array_like, shape (n,)
        Labels.
    layer_scales : array_like, shape (L,) or (L, d), optional
        Initial values of the layers in units of s0, for all weights or for each; see
        `layer_thresholds`. None stands for depth two.
    loss_scale : float
        Factor c of the loss (c/2) |X w - y|^2; > 0. It divides the times and leaves the
        saddles alone.
    max_saddles : int, optional
        Largest number of jumps; 20 (n + d) by default.

    Returns
    -------
    SaddlePath
        Entry 0 is the start, w = 0 at time 0. Each saddle meets the conditions of step 3 up to
        rounding. Where columns are so nearly dependent that rounding would decide the next saddle,
        the path ends before it with success = False. If columns of X that are linearly dependent
        reach their thresholds together, the weights of a saddle are not unique: those of least
        Euclidean norm are returned and the message says so; times, losses and X w do not depend
        on that choice.

    Raises
    ------
    ValueError
        If an array is empty, of the wrong shape or not finite, if the smallest layer is not
        unique, or if a number is out of its range.

    References
    ----------
    S. Pesme, N. Flammarion, arXiv:2304.00488, Algorithm 1. Zhao et al., arXiv:2607.12332.

    Examples
    --------
    >>> import dmft
    >>> path = dmft.saddle_to_saddle([[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]], [1, 0])
    >>> path.times.round(4)
    array([0.    , 1.    , 4.    , 5.6327])
    """
    X, y = _finite_array("X", X, 2), _finite_array("y", y, 1)
    if y.shape != X.shape[:1]:
        raise ValueError(f"y must have shape ({X.shape[0]},), one label a row of X; got {y.shape}")
    loss_scale = require_in_range("loss_scale", loss_scale, low=0.0, low_open=True)
    if max_saddles is None:
        max_saddles = 20 * sum(X.shape)
    max_saddles = require_integer("max_saddles", max_saddles, low=1)
    upper, lower = _thresholds_of_weights(layer_scales, X.shape[1])
    return _follow(np.asfortranarray(X), y, upper, lower, loss_scale, max_saddles)


def layer_thresholds(layer_scales: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the thresholds t^+ and t^- of a product of layers w = u_1 ... u_L.

    Let a_L be the layer of smallest modulus, signed so that the others are positive, and
    mu_j^2 = a_j^2 - a_L^2, which the flow conserves. For L >= 3

        t^+ = int_{a_L}^inf dx / prod_{j<L} sqrt(x^2 + mu_j^2),

    t^- is the same integral from -inf to a_L, and the flow dx/dt = -g prod sqrt(x^2 + mu_j^2)
    diverges when the integral of -g reaches t^+ or -t^-. For L = 2 both integrals diverge
    logarithmically and alike: t^+ = t^- = 1 in units of log(1/s0).

    Parameters
    ----------
    layer_scales : array_like, shape (L,) or (L, d)
        Initial values of the layers in units of s0, in any order and of any sign.

    Returns
    -------
    t_plus, t_minus : ndarray, shape () or (d,)
        Thresholds, in units of layer_scales^(2-L).

    Raises
    ------
    ValueError
        If there are fewer than two layers, a value is not finite, or two layers share the
        smallest modulus (such a weight cannot change its sign and t^- is infinite).

    References
    ----------
    Zhao et al., arXiv:2607.12332.

    Examples
    --------
    >>> plus, minus = layer_thresholds([[1.0, 2.0], [0.5, 0.0]])
    >>> plus.round(4), minus.round(4)
    (array([1., 1.]), array([1., 1.]))
    """
    scales = _finite_array("layer_scales", layer_scales, 1, 2)
    if scales.shape[0] < 2:
        raise ValueError(f"layer_scales must hold at least 2 layers; got {scales.shape[0]}")
    sizes = np.sort(np.abs(scales), axis=0)
    if np.any(sizes[0] == sizes[1]):
        raise ValueError(
            "layer_scales must hold one layer of smallest modulus for each weight; got two of "
            f"{shown(sizes[0][sizes[0] == sizes[1]].flat[0])}"
        )
    if scales.shape[0] == 2:
        return np.ones(scales.shape[1:]), np.ones(scales.shape[1:])
    distinct, labels = np.unique(sizes.reshape(len(sizes), -1), axis=1, return_inverse=True)
    near, far = np.array([_distances(column) for column in distinct.T]).T[:, labels.ravel()]
    # The sign of w far out in the direction of x is that of the product of all layers.
    forward = (np.prod(np.sign(scales), axis=0) >= 0).reshape(near.shape)
    shape = scales.shape[1:]
    return np.where(forward, near, far).reshape(shape), np.where(forward, far, near).reshape(shape)


def _distances(sizes: np.ndarray) -> tuple[float, float]:
    """Return the integrals of `layer_thresholds` from sizes[0] to inf and to -inf."""
    low, high = ProductOfLayers(sizes).ends
    return 0.5 * high, -0.5 * low


def _thresholds_of_weights(layer_scales: Any, d: int) -> tuple[np.ndarray, np.ndarray]:
    if layer_scales is None:
        return np.ones(d), np.ones(d)
    upper, lower = layer_thresholds(layer_scales)
    if upper.shape not in ((), (d,)):
        raise ValueError(
            f"layer_scales must have shape (L,) or (L, {d}); got (L, {upper.shape[0]})"
        )
    return np.full(d, upper), np.full(d, lower)


def _follow(
    X: np.ndarray,
    y: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    loss_scale: float,
    max_saddles: int,
) -> SaddlePath:
    """Run the algorithm of the module's head, step by step."""
    tau, s = 0.0, np.zeros(X.shape[1])
    signs = np.zeros(X.shape[1])
    solution = sign_constrained_least_squares(X, y, signs)
    times, saddles, residuals, ambiguous = [tau], [solution.weights], [solution.residual], []
    while solution.converged and len(times) <= max_saddles and solution.descent.any():
        Delta, s = _next_hit(s, loss_scale * solution.descent, upper, lower)
        signs = np.where(s == upper, 1.0, np.where(s == -lower, -1.0, 0.0))
        solution = sign_constrained_least_squares(X, y, signs, solution)
        if not solution.resolved:
            break
        tau += Delta
        shared = least_norm_on_face(X, solution, signs)
        if shared is not None:
            ambiguous.append(len(times))
        times.append(tau)
        saddles.append(solution.weights if shared is None else shared)
        residuals.append(solution.residual)
    return SaddlePath(
        times=np.array(times),
        saddles=np.array(saddles),
        losses=np.array([0.5 * loss_scale * float(r @ r) for r in residuals]),
        active_sets=tuple(np.flatnonzero(w) for w in saddles),
        success=solution.converged and solution.resolved and not solution.descent.any(),
        message=_message(solution, len(times), ambiguous),
    )


def _next_hit(
    s: np.ndarray, descent: np.ndarray, upper: np.ndarray, lower: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the waiting time and s at its end, exactly at each threshold that was reached."""
    moving = descent != 0
    target = np.where(descent > 0, upper, -lower)
    waits = (target[moving] - s[moving]) / descent[moving]
    Delta = float(waits.min())
    s = s + Delta * descent
    reached = moving & (np.abs(target - s) <= SNAP * (upper + lower))
    return Delta, np.where(reached, target, s)


def _message(solution: SignConstrainedSolution, count: int, ambiguous: list[int]) -> str:
    if not solution.resolved:
        message = (
            f"the path cannot be followed beyond saddle {count - 1} in double precision: the next "
            f"needs a column of X that is within {solution.sine:.0e} of its length of the span of "
            "others"
        )
    elif not solution.converged:
        message = f"the weights of saddle {count - 1} did not converge"
    elif solution.descent.any():
        message = f"stopped after max_saddles = {count - 1} jumps, before the loss was minimal"
    elif count == 1:
        message = "the start w = 0 minimises the loss: X^T y = 0"
    else:
        message = "the last saddle minimises the loss"
    if ambiguous:
        message += (
            "; linearly dependent columns of X reached their thresholds together, so the weights "
            f"of saddles {ambiguous} are not unique: those of least norm are given"
        )
    return message


def _finite_array(name: str, value: Any, *ndims: int) -> np.ndarray:
    permitted = " or ".join(f"{ndim}-d" for ndim in ndims)
    try:
        array = np.array(value)
        if np.iscomplexobj(array):
            raise TypeError  # a cast would drop the imaginary part
        array = array.astype(float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be an array of real numbers; got {value!r}") from None
    if array.ndim not in ndims or array.size == 0:
        raise ValueError(f"{name} must be a non-empty {permitted} array; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite; got {shown(array[~np.isfinite(array)][0])}")
    return array
