"""A leading coordinate that is stretched where integrands bend sharply.

Many an integrand over Gaussian modes is nearly a soft threshold: it bends within a short distance
of the hyperplanes z_0 + slope . (z_1, ...) = z_k. In the coordinate

    x(z_0) = z_0 + STRETCH sum_k [asinh((z_0 - z_k)/width) + asinh(z_k/width)],

with the z_k seen from the other modes' values, equidistant nodes lie about `width` apart next to
the threshold and further apart in proportion to the distance beyond. The equidistant rule in
x thus resolves thresholds of any width by a number of nodes that grows like log(1/width),
and since its nodes follow the thresholds, integrals are smooth functions of where these lie.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from dmft.solvers.lanes import INNER
from dmft.solvers.thresholds import Thresholds

STRETCH = 0.5  # nodes at STRETCH times the spacing for each unit of log distance
ACCURACY = 1e-10  # of x(z)
MAX_STEPS = 60


@njit(cache=True, error_model="numpy")
def stretched(z, positions, width):
    """Return x(z) and dx/dz for one number z and thresholds `positions` (q,) of one width.

    Examples
    --------
    >>> x, slope = stretched(0.0, np.array([0.0]), 0.1)
    >>> slope > 1.0
    True
    """
    x, slope = z, 1.0
    for position in positions:
        away = (z - position) / width
        x += STRETCH * (math.asinh(away) + math.asinh(position / width))
        slope += STRETCH / (width * math.sqrt(1.0 + away * away))
    return x, slope


@njit(**INNER)
def _nearest(x, positions, width):
    """Return the threshold next to z(x)."""
    k = 0
    while k + 1 < positions.size:
        middle = 0.5 * (positions[k] + positions[k + 1])
        if x <= stretched(middle, positions, width)[0]:
            break
        k += 1
    return positions[k]


@njit(**INNER)
def _unstretched(x, positions, width, guess):
    """Return z(x) and dx/dz there, by Newton's method from a guess.

    The unknown is y = asinh((z - z_k)/width) about the nearest threshold, in which x is smooth:
    x = x(z_k) + width sinh(y) + STRETCH y + what the other thresholds add, which grows too. So
    either of the first two terms alone bounds |y|.
    """
    position = _nearest(x, positions, width)
    away = x - stretched(position, positions, width)[0]
    bound = min(math.asinh(abs(away) / width), abs(away) / STRETCH)
    low, high = (0.0, bound) if away > 0.0 else (-bound, 0.0)
    y = min(max(math.asinh((guess - position) / width), low), high)
    for _ in range(MAX_STEPS):
        z = position + width * math.sinh(y)
        found, slope = stretched(z, positions, width)
        miss = found - x
        if abs(miss) < ACCURACY:
            break
        if miss > 0.0:
            high = y
        else:
            low = y
        y -= miss / (slope * width * math.cosh(y))
        if not low < y < high:
            y = 0.5 * (low + high)
    return z, slope


@njit(cache=True, error_model="numpy")
def _ranges(others, positions, slopes, width, reach):
    """See `ranges`."""
    found = np.empty((len(others), 2))
    for q in range(len(others)):
        shift = _shift(others[q], slopes)
        origin, _ = stretched(shift, positions, width)
        for side in range(2):
            end = shift + (2 * side - 1) * reach
            found[q, side] = stretched(end, positions, width)[0] - origin
    return found


def ranges(others: np.ndarray, thresholds: Thresholds, reach: float) -> np.ndarray:
    """Return x at z_0 = -reach and z_0 = reach for values of the other modes, shape (Q, 2).

    Seen from other modes the thresholds lie elsewhere, so that each point has its own range.

    Parameters
    ----------
    others : ndarray, shape (Q, r - 1)
    thresholds : Thresholds
    reach : float

    Examples
    --------
    >>> from dmft.solvers.thresholds import Thresholds
    >>> thresholds = Thresholds(np.array([0.5]), np.zeros(1), 0.1)
    >>> ranges(np.zeros((3, 1)), thresholds, 6.0).shape
    (3, 2)
    """
    positions, slopes, width = thresholds
    others = np.ascontiguousarray(others)
    return _ranges(others, np.sort(positions), np.ascontiguousarray(slopes), width, reach)


@njit(**INNER)
def _shift(others, slopes):
    """Return how far values of the other modes move the thresholds."""
    shift = 0.0
    for k in range(min(slopes.size, others.size)):
        shift += slopes[k] * others[k]
    return shift


@njit(cache=True, error_model="numpy")
def _place(nodes, positions, slopes, width, z, factors):
    """See `place`."""
    for m in range(len(nodes)):
        shift = _shift(nodes[m, 1:], slopes)
        origin, _ = stretched(shift, positions, width)
        seen, slope = _unstretched(nodes[m, 0] + origin, positions, width, z[m, 0] + shift)
        z[m, 0] = seen - shift
        factors[m] = math.exp(-0.5 * z[m, 0] ** 2) / slope


def place(nodes: np.ndarray, thresholds: Thresholds, z: np.ndarray) -> np.ndarray:
    """Turn x into z_0, and return the factors exp(-z_0^2/2) dz_0/dx of the weights, shape (M,).

    Thresholds at z_k - s are those at z_k seen from z_0 + s, up to a constant:
    x(z_0; z_k - s) = x(z_0 + s; z_k) - x(s; z_k).

    Parameters
    ----------
    nodes : ndarray, shape (M, r)
        x and the other modes.
    thresholds : Thresholds
    z : ndarray, shape (M, r)
        Its first column holds a guess of z_0, and is overwritten by it.

    Examples
    --------
    >>> from dmft.solvers.thresholds import Thresholds
    >>> nodes, thresholds = np.zeros((3, 2)), Thresholds(np.array([0.5]), np.zeros(1), 0.1)
    >>> place(nodes, thresholds, np.zeros((3, 2))).shape
    (3,)
    """
    factors = np.empty(len(nodes))
    positions, slopes, width = thresholds
    _place(nodes, np.sort(positions), np.ascontiguousarray(slopes), width, z, factors)
    return factors


def compile_functions() -> None:
    """Compile the coordinate and its inverse, or load them from numba's cache.

    Examples
    --------
    >>> compile_functions()
    """
    thresholds = Thresholds(np.zeros(1), np.ones(1), 1.0)
    ranges(np.broadcast_to(0.0, (1, 1)), thresholds, 1.0)  # rules give read-only arrays
    place(np.zeros((1, 2)), thresholds, np.zeros((1, 2)))
