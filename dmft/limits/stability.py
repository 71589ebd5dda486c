"""How large a step may be, and what noise does to small ones.

Near a point where the weights' responses are D = -dw/dH, a step multiplies the residual in an
eigendirection of X D X^T/delta, of eigenvalue x, by 1 - a, a = step (x + decay), which momentum
turns into a recursion of second order. It is stable for all x up to the right edge of the spectrum

    x_max = min_{0 < s < 1/max D} { 1/s + (1/delta) E[D/(1 - s D)] }

if step (x_max + decay) < 2 (1 + momentum), or 2 (1 + momentum)/(1 + 2 momentum) with Nesterov's. A
batch adds noise of variance nu rho step^2 x^2 to the square of that direction, rho = E r^2; summed
over time this gives rise to a rho of its own, and the sum converges if

    nu E_x[ step^2 x^2 g(a) ] < 1,        g(a) = 1/(a (2 - a))     without momentum,

with x from the law of X X^T/delta and g the variance of the recursion's r for noise of variance 1.
All of this is exact for linear networks (D = 1), and for others at their start, where D is one
number.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dmft.dynamics.base import Descent
from dmft.dynamics.flow import GradientFlow
from dmft.limits.steady_states import SteadyState, steady_state
from dmft.problem import Problem
from dmft.solution import Solution
from dmft.validation import require_integer


class BeyondTheEdge(UserWarning):
    """The step is beyond the edge of stability at the start."""


NODES = 400  # of the Chebyshev rule, exact up to rounding for functions that are smooth on [a, b]


def largest_stable_step(problem: Problem) -> float:
    """Return the largest stable step at the start; at all times for a linear network.

    Above it the train error grows at first. A linear network then diverges; a diagonal one may
    also move to where its responses are smaller and settle (a catapult).

    Parameters
    ----------
    problem : Problem
        With dynamics in steps; the step itself does not matter.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the dynamics is not in steps, or sees its samples in epochs, for which no closed form
        is known.

    Examples
    --------
    >>> import dmft
    >>> gd, sgd = dmft.GradientDescent(0.1), dmft.SGD(0.1, batch=0.5)
    >>> round(dmft.largest_stable_step(dmft.Problem(delta=0.5, dynamics=gd)), 4)
    0.3431
    >>> round(dmft.largest_stable_step(dmft.Problem(delta=0.5, dynamics=sgd)), 4)
    0.3333

    References
    ----------
    Paquette et al., SGD in the large (arXiv:2102.04396): the same condition for linear regression.
    """
    edge = edge_at_start(problem)
    if edge is None:
        raise ValueError(
            "dynamics must be in steps and see batches independent of each other, or all samples; "
            f"got {problem.dynamics!r}"
        )
    return edge


def edge_at_start(problem: Problem) -> float | None:
    """Return the largest stable step at the start, or None where no closed form is known.

    Examples
    --------
    >>> import dmft
    >>> round(edge_at_start(dmft.Problem(0.5, 1.0, dynamics=dmft.GradientDescent(0.1))), 4)
    0.3431
    """
    descent = problem.dynamics
    if not isinstance(descent, Descent):
        return None
    selection = descent.selection
    if selection.epoch > 1 or selection.classes > 1:
        return None
    network, alpha = problem.mirror, problem.alpha
    D = float(network.hessian_inverse(alpha, problem.lam, np.zeros((1, 1)), np.zeros(1))[0, 0])
    decay = problem.lam * max(1.0, 0.5 * network.depth)
    if selection.classes == 0:  # fresh data: E h = theta, and noise of variance E theta^2/(b delta)
        x, p = np.array([D]), np.array([D / (selection.share * problem.delta)])
        largest, noise = D, 1.0
    else:
        x, p = spectrum(problem.delta, D)
        largest, noise = D * (1 + problem.delta**-0.5) ** 2, selection.variance
    momentum = descent.momentum
    last = 2 * (1 + momentum) / (1 + 2 * momentum if descent.nesterov else 1)
    edge = last / (largest + decay)
    if noise == 0:
        return edge

    def excess(step: float) -> float:
        a = step * (x + decay)
        gain = _gain(a, momentum, descent.nesterov)
        return float(noise * (p @ (step**2 * x**2 * gain)) - 1.0)

    from scipy.optimize import brentq

    highest = edge * (1 - 1e-12)
    return edge if excess(highest) < 0 else float(brentq(excess, 1e-9 * edge, highest))


def _gain(a: np.ndarray, momentum: float, nesterov: bool) -> np.ndarray:
    """Return E r^2 of r~_k in r_{k+1} = f r_k + g r_{k-1} + noise of variance 1."""
    if nesterov:
        f, g = (1 + momentum) * (1 - a), -momentum * (1 - a)
    else:
        f, g = 1 + momentum - a, np.full_like(a, -momentum)
    variance = (1 - g) / ((1 + g) * ((1 - g) ** 2 - f**2))
    if not nesterov:
        return variance
    square = (1 + momentum) ** 2 + momentum**2
    return variance * (square - 2 * momentum * (1 + momentum) * f / (1 - g))


def spectrum(delta: float, D: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes x > 0 and weights of the law of D X X^T/delta; the rest of 1 is at x = 0.

    Examples
    --------
    >>> x, weights = spectrum(2.0)
    >>> round(float(weights.sum()), 6), round(float(weights @ x), 6)
    (0.5, 0.5)
    """
    low, high = D * (1 - delta**-0.5) ** 2, D * (1 + delta**-0.5) ** 2
    angle = np.arange(1, NODES) * np.pi / NODES
    x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
    # density of the semicircle over x; the mean is D/delta
    p = np.sin(angle) ** 2 / x
    return x, p * (D / delta) / (p @ x)


def right_edge(delta: float, D: np.ndarray) -> float:
    """Return the largest eigenvalue of X diag(D) X^T/delta in the limit of large D (m,), D >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> round(right_edge(0.5, np.ones(10)), 4), round((1 + 0.5**-0.5) ** 2, 4)
    (5.8284, 5.8284)
    """
    from scipy.optimize import brentq

    largest = float(np.max(D))
    if not np.isfinite(largest) or largest == 0:
        return largest
    unit = D / largest

    def slope(s: float) -> float:
        return float(np.mean((s * unit / (1 - s * unit)) ** 2)) - delta

    # the top atom alone gives the bracket: slope -> infinity as s -> 1
    s = float(brentq(slope, 0.0, 1.0 - 1e-12))
    return largest * float(1 / s + np.mean(unit / (1 - s * unit)) / delta)


def sharpness(solution: Solution, n: int = 4096, rng: int = 0) -> np.ndarray:
    """Return the largest eigenvalue of X D X^T/delta along a solution.

    In steps the training is at the edge of stability where step times this is 2 (1 + momentum).

    Parameters
    ----------
    solution : Solution
        Of a flow or of training in steps.
    n : int
        Number of weights drawn; as tails of the law of D have no largest value, the result is
        that of a system of about this dimension.
    rng : int
        Seed of the draws.

    Returns
    -------
    ndarray, shape (T,)

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(delta=0.5), t_max=1.0, t_eval=[0.0, 1.0])
    >>> dmft.sharpness(solution)[0].round(4)
    np.float64(5.8284)
    """
    require_integer("n", n, low=1)
    D = solution.sample_responses(n, rng)
    return np.array([right_edge(solution.problem.delta, D[:, k]) for k in range(D.shape[1])])


def effective_decay(solution: Solution) -> np.ndarray:
    """Return the weight decay that the noise of small steps amounts to, lam + noise/(4 delta).

    By Ito's rule noise of rate v = step (nu 2 train_error + (1 + nu) label_noise) shrinks the
    product u v of a diagonal network by exp(-v t/(4 delta)), like a decay of v/(4 delta).

    Parameters
    ----------
    solution : Solution

    Returns
    -------
    ndarray, shape (T,)

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(0.5, lam=0.1, dynamics=dmft.GradientDescent(0.05))
    >>> solution = dmft.solve(problem, 0.5, rtol=0.05)
    >>> effective_decay(solution).shape == solution.t.shape
    True
    """
    problem = solution.problem
    rate = problem.dynamics.noise_rate(2 * solution.train_error)
    return problem.lam + rate / (4 * problem.delta)


def label_noise_limit(problem: Problem) -> SteadyState:
    """Return where training with label noise ends as the noise becomes small: a LASSO.

    Fresh label noise of rate v = step (1 + nu) label_noise acts on a diagonal network of depth two
    like a weight decay of v/(4 delta), on top of lam, and is otherwise of order v itself: as v -> 0
    the end is that of the flow with lam + v/(4 delta). The statement is derived, by Ito's rule.
    Late weights of simulations at v/(4 delta) = 0.05 and 0.1 agree with it to two standard errors
    of 2 and 3 % of the test error, and not with half or twice the penalty; train errors are above
    the limit's by a term proportional to v.

    Parameters
    ----------
    problem : Problem
        With label noise and a diagonal network of depth two.

    Returns
    -------
    SteadyState

    Raises
    ------
    ValueError
        If there is no label noise with a limit of small steps, or the network is another one.

    References
    ----------
    HaoChen et al. (arXiv:2006.08680): label noise finds sparse solutions.

    Examples
    --------
    >>> import dmft
    >>> noisy = dmft.GradientDescent(0.1, label_noise=1.0)
    >>> limit = label_noise_limit(dmft.Problem(delta=0.5, sigma2=0.1, dynamics=noisy))
    >>> limit.branch, round(limit.test_error, 5)
    ('lasso', 0.08112)
    """
    rates = problem.dynamics.rates
    if rates is None or rates[1] == 0:
        raise ValueError(
            "dynamics must have label noise, and batches independent of each other without "
            f"momentum; got {problem.dynamics!r}"
        )
    if problem.mirror.pair_scales is None:
        raise ValueError(f"network must be diagonal, of depth two; got {problem.network!r}")
    lam = problem.lam + rates[1] / (4 * problem.delta)
    return steady_state(replace(problem, lam=lam, dynamics=GradientFlow()))
