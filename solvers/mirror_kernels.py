"""Compiled scalar maps w = phi(H) with D = -dphi/dH and their inverse.

The maps and their codes are listed in `solvers.mirror_maps`. Everything here is called from
compiled loops with a row `p` of parameters for the time at hand.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from solvers.mirror_maps import HYPERBOLIC, LINEAR, POWER

BARRIER_MARGIN = 1e-12


@njit(cache=True, error_model="numpy", inline="always")
def mirror(code, H, p, table):
    """Return (w, D) at H."""
    if code == HYPERBOLIC:
        if p[0] == p[1]:  # equal starts: sinh and cosh from one exponential
            big = 0.5 * math.exp(p[0] + abs(H))
            small = 0.5 * math.exp(p[0] - abs(H))
            w = small - big if H > 0 else big - small
            return w, big + small
        up = 0.5 * math.exp(p[0] - H)
        down = 0.5 * math.exp(p[1] + H)
        return up - down, up + down
    if code == LINEAR:
        return -p[0] * H, p[0]
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


@njit(cache=True, error_model="numpy", inline="always")
def inverse(code, w, p, table):
    """Return an H at which |phi(H)| is about |w| on the side of w (exact up to rounding)."""
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
        return -w / p[0]
    if code == POWER:
        depth = p[0]
        gap = depth - 2.0
        u = (depth * abs(w) / p[2] + p[1] ** (-depth / gap)) ** (1.0 / depth)
        H = (u ** (-gap) - p[1]) * 2.0 / gap
        return H if w > 0 else -H
    return _search(w / p[0], table)


@njit(cache=True, error_model="numpy")
def _cell(x, column):
    """Return k with column[k] <= x < column[k + 1], clipped to the table; column ascends."""
    low, high = 0, column.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if column[middle] <= x:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True, error_model="numpy")
def _interpolate(H, scale, table):
    """Cubic Hermite interpolation of the table's w(H), and minus its derivative."""
    last = table.shape[0] - 1
    if table[0, 0] >= H or table[last, 0] <= H:  # linear beyond the table
        k = 0 if table[0, 0] >= H else last
        return scale * (table[k, 1] - table[k, 2] * (H - table[k, 0])), scale * table[k, 2]
    k = _cell(H, table[:, 0])
    step = table[k + 1, 0] - table[k, 0]
    x = (H - table[k, 0]) / step
    rise = table[k + 1, 1] - table[k, 1]
    left = -step * table[k, 2] - rise
    right = step * table[k + 1, 2] + rise
    bend = left * (1.0 - x) + right * x
    w = table[k, 1] + x * rise + x * (1.0 - x) * bend
    slope = rise + (1.0 - 2.0 * x) * bend + x * (1.0 - x) * (right - left)
    return scale * w, -scale * slope / step


@njit(cache=True, error_model="numpy")
def _search(w, table):
    """Return an H at which the table's w is about `w`."""
    k = _cell(-w, -table[:, 1])
    rise = table[k + 1, 1] - table[k, 1]
    x = min(max((w - table[k, 1]) / rise, 0.0), 1.0)
    return table[k, 0] + x * (table[k + 1, 0] - table[k, 0])


@njit(cache=True, error_model="numpy")
def evaluate(code, H, parameters, table):
    """Return w and D, each of shape (M, N), for H (M, N) and parameters (N, P)."""
    w = np.empty_like(H)
    D = np.empty_like(H)
    for m in range(H.shape[0]):
        for i in range(H.shape[1]):
            w[m, i], D[m, i] = mirror(code, H[m, i], parameters[i], table)
    return w, D
