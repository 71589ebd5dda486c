"""Compiled scalar maps w = phi(H) with D = -dphi/dH and their inverse.

The maps and their codes are listed in `dmft.solvers.map_codes`. Everything here is called from
compiled loops with a row `p` of parameters for the time at hand.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from dmft.solvers.lanes import INNER, maximum, minimum, power_of_two, select
from dmft.solvers.map_codes import HYPERBOLIC, LINEAR, POWER

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # ln 2 in two parts, the first with trailing zero bits
LN2_LOW = 1.90821492927058770002e-10
ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the nearest integer in the low bits
LOWEST, HIGHEST = -708.0, 709.0  # arguments beyond give 0 and infinity


@njit(**INNER, fastmath={"contract"})
def exponential(x):
    """Return exp(x), of a float or of lanes, to within two units in the last place.

    exp(x) = 2^k exp(r) with |r| <= ln(2)/2 and exp(r) by its Taylor polynomial of degree 13.
    There is no branch in it.

    Examples
    --------
    >>> from numba import njit
    >>> @njit
    ... def of_a_float(x):
    ...     return exponential(x)
    >>> round(of_a_float(1.0), 12)
    2.718281828459
    """
    clipped = minimum(HIGHEST, maximum(LOWEST, x))  # nan stays nan
    shifted = clipped * LOG2_E + ROUND
    k = shifted - ROUND
    r = (clipped - k * LN2_HIGH) - k * LN2_LOW
    y = 1.0 / 6227020800.0
    y = y * r + 1.0 / 479001600.0
    y = y * r + 1.0 / 39916800.0
    y = y * r + 1.0 / 3628800.0
    y = y * r + 1.0 / 362880.0
    y = y * r + 1.0 / 40320.0
    y = y * r + 1.0 / 5040.0
    y = y * r + 1.0 / 720.0
    y = y * r + 1.0 / 120.0
    y = y * r + 1.0 / 24.0
    y = y * r + 1.0 / 6.0
    y = y * r + 0.5
    y = y * r + 1.0
    y = y * r + 1.0
    y = y * power_of_two(shifted)
    y = select(x > HIGHEST, math.inf, y)
    return select(x < LOWEST, 0.0, y)


@njit(cache=True, error_model="numpy")
def mirror(code, H, p, table):
    """Return (w, D) at H.

    Examples
    --------
    >>> w, D = mirror(HYPERBOLIC, -1.0, np.zeros(2), np.empty((0, 3)))
    >>> bool(np.isclose(w, np.sinh(1.0)) and np.isclose(D, np.cosh(1.0)))
    True
    """
    if code == HYPERBOLIC:
        up = 0.5 * exponential(p[0] - H)
        down = 0.5 * exponential(p[1] + H)
        return up - down, up + down
    if code == LINEAR:
        return p[0] * (p[1] - H), p[0]
    if code == POWER:
        depth = p[0]
        gap = depth - 2.0
        if not 0.5 * gap * abs(H) < p[1]:  # odd powers are finite beyond the barrier too
            return math.nan, math.nan
        u = (p[1] + 0.5 * gap * H) ** (-1.0 / gap)
        v = (p[1] - 0.5 * gap * H) ** (-1.0 / gap)
        w = p[2] * (u**depth - v**depth) / depth
        return w, 0.5 * p[2] * (u ** (2 * depth - 2) + v ** (2 * depth - 2))
    return _interpolate(H, p[0], table)


@njit(cache=True, error_model="numpy")
def inverse(code, w, p, table):
    """Return an H at which |phi(H)| is about |w| on the side of w (exact up to rounding).

    Examples
    --------
    >>> H = inverse(HYPERBOLIC, 2.0, np.zeros(2), np.empty((0, 3)))
    >>> bool(np.isclose(H, -np.arcsinh(2.0)))
    True
    """
    if code == HYPERBOLIC:
        # w = e^m sinh(c - H) with m, c the half sum and half difference of the exponents
        mean = 0.5 * (p[0] + p[1])
        centre = 0.5 * (p[0] - p[1])
        if w == 0.0:
            return centre
        size = math.log(abs(w)) - mean
        if size < 300.0:
            size = math.asinh(math.exp(size))
        else:
            size += math.log(2.0)
        return centre - size if w > 0 else centre + size
    if code == LINEAR:
        return p[1] - w / p[0]
    if code == POWER:
        depth = p[0]
        gap = depth - 2.0
        u = (depth * abs(w) / p[2] + p[1] ** (-depth / gap)) ** (1.0 / depth)
        H = (u ** (-gap) - p[1]) * 2.0 / gap
        return H if w > 0 else -H
    return _search(w / p[0], table)


@njit(**INNER)
def _cell(x, table, column, sign):
    """Return k with sign column[k] <= x < sign column[k + 1], clipped; sign column ascends."""
    low, high = 0, table.shape[0] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if sign * table[middle, column] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(**INNER)
def _interpolate(H, scale, table):
    """Cubic Hermite interpolation of the table's w(H), and minus its derivative."""
    last = table.shape[0] - 1
    if table[0, 0] >= H or table[last, 0] <= H:  # linear beyond the table
        k = 0 if table[0, 0] >= H else last
        return scale * (table[k, 1] - table[k, 2] * (H - table[k, 0])), scale * table[k, 2]
    k = _cell(H, table, 0, 1.0)
    step = table[k + 1, 0] - table[k, 0]
    x = (H - table[k, 0]) / step
    rise = table[k + 1, 1] - table[k, 1]
    left = -step * table[k, 2] - rise
    right = step * table[k + 1, 2] + rise
    bend = left * (1.0 - x) + right * x
    w = table[k, 1] + x * rise + x * (1.0 - x) * bend
    slope = rise + (1.0 - 2.0 * x) * bend + x * (1.0 - x) * (right - left)
    return scale * w, -scale * slope / step


@njit(**INNER)
def _search(w, table):
    """Return an H at which the table's w is about `w`."""
    k = _cell(-w, table, 1, -1.0)
    rise = table[k + 1, 1] - table[k, 1]
    x = min(max((w - table[k, 1]) / rise, 0.0), 1.0)
    return table[k, 0] + x * (table[k + 1, 0] - table[k, 0])


@njit(cache=True, error_model="numpy")
def evaluate(code, H, parameters, table):
    """Return w and D, each of shape (M, N), for H (M, N) and parameters (N, P).

    Examples
    --------
    >>> H, parameters = np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    >>> w, D = evaluate(LINEAR, H, parameters, np.empty((0, 3)))
    >>> w
    array([[-1., -2.]])
    """
    w = np.empty_like(H)
    D = np.empty_like(H)
    for m in range(H.shape[0]):
        for i in range(H.shape[1]):
            w[m, i], D[m, i] = mirror(code, H[m, i], parameters[i], table)
    return w, D


def compile_functions() -> None:
    """Compile the maps, or load them from numba's cache.

    Examples
    --------
    >>> compile_functions()
    """
    one, table, parameters = np.ones((1, 1)), np.empty((0, 3)), np.ones((1, 2))
    evaluate(LINEAR, one, parameters, table)
    evaluate(LINEAR, np.broadcast_to(one, (1, 1)), parameters, table)  # of a read-only array
    inverse(LINEAR, 1.0, parameters[0], table)
