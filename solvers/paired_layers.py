"""The gradient flow of pairs of layers u, v > 0 in their logarithms, compiled.

With w = (u^L - v^L)/L and h = Y^T (Y w - b),

    d log(u)/dt = -(h u^(L-2) + lam)/2,     d log(v)/dt = (h v^(L-2) - lam)/2.

The matrix is read once: each few rows give their part of Y w - b and add it to h while they are in
the cache. Matrices have columns of zeros up to a multiple of eight (see `padded`).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import INNER, LANES, lane_sum, load, maximum, splat, store
from dmft.solvers.scalar_maps import exponential

LOWEST = -300.0  # logarithm of a layer below which it counts as exp(-300): squares stay normal


def padded(Y: np.ndarray) -> np.ndarray:
    """Return Y (m, d) with columns of zeros up to a multiple of eight.

    Examples
    --------
    >>> padded(np.ones((2, 9))).shape
    (2, 16)
    """
    return np.ascontiguousarray(np.pad(Y, ((0, 0), (0, -Y.shape[1] % LANES))))


@njit(cache=True, **INNER)
def _power(x, exponent):
    result = splat(1.0)
    for _ in range(exponent):
        result = result * x
    return result


@njit(cache=True, **INNER)
def _add_gradient(Y, triangular, b, w, h):
    """Add Y^T (Y w - b) to h, four rows at a time."""
    m, d = Y.shape
    width = d // LANES
    for i in range(0, m - m % 4, 4):
        at, first = i * width, i // LANES if triangular else 0
        p, q, r, s = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for k in range(first, width):
            x = load(w, k)
            p = p + load(Y, at + k) * x
            q = q + load(Y, at + width + k) * x
            r = r + load(Y, at + 2 * width + k) * x
            s = s + load(Y, at + 3 * width + k) * x
        a0, a1 = lane_sum(p) - b[i], lane_sum(q) - b[i + 1]
        a2, a3 = lane_sum(r) - b[i + 2], lane_sum(s) - b[i + 3]
        for k in range(first, width):
            low = load(Y, at + k) * a0 + load(Y, at + width + k) * a1
            high = load(Y, at + 2 * width + k) * a2 + load(Y, at + 3 * width + k) * a3
            store(h, k, load(h, k) + (low + high))
    for i in range(m - m % 4, m):
        p = splat(0.0)
        for k in range(width):
            p = p + load(Y, i * width + k) * load(w, k)
        a0 = lane_sum(p) - b[i]
        for k in range(width):
            store(h, k, load(h, k) + load(Y, i * width + k) * a0)


@njit(cache=True, **INNER)
def _set_rates(z, Y, triangular, b, lam, depth, x, w, h, out):
    """Set `out` to the rates at z; x (2, D), w (D,) and h (D,) are overwritten."""
    d, width = z.shape[1], Y.shape[1] // LANES
    for layer in range(2):
        for i in range(d):
            x[layer, i] = z[layer, i]
        for i in range(d, Y.shape[1]):
            x[layer, i] = 0.0
    for k in range(2 * width):
        store(x, k, exponential(maximum(splat(LOWEST), load(x, k))))
    for k in range(width):
        u, v = load(x, k), load(x, width + k)
        p, q = _power(u, depth - 2), _power(v, depth - 2)
        if depth == 2:
            store(w, k, 0.5 * (u - v) * (u + v))
        else:
            store(w, k, (p * u * u - q * v * v) / float(depth))
        store(x, k, p)
        store(x, width + k, q)
        store(h, k, splat(0.0))
    _add_gradient(Y, triangular, b, w, h)
    for i in range(d):
        out[0, i] = -0.5 * (h[i] * x[0, i] + lam)
        out[1, i] = 0.5 * (h[i] * x[1, i] - lam)


@njit(cache=True, error_model="numpy")
def set_stages(z, K, tableau, Y, triangular, b, lam, depth):
    """Fill the rates of an explicit Runge-Kutta step from z, and return its last two states.

    Parameters
    ----------
    z : ndarray, shape (2, d)
        Logarithms of u and v.
    K : ndarray, shape (S, 2, d)
        Rates of the stages, of which the first is given; the others are overwritten.
    tableau : ndarray, shape (S, S)
        Stage i is z + sum_{j < i} tableau[i, j] K[j]: the step is in the coefficients.
    Y : ndarray, shape (m, D)
        `padded` from d to D columns.
    triangular : bool
        Whether Y is upper triangular.
    b : ndarray, shape (m,)
    lam : float
    depth : int
        L >= 2.

    Returns
    -------
    before, last : ndarray, shape (2, d)
        Stages S - 2 and S - 1.

    Examples
    --------
    >>> z, Y, b = np.log([[2.0], [1.0]]), padded(np.eye(1)), np.array([0.5])  # w = 3/2, h = 1
    >>> K = np.zeros((2, 2, 1))
    >>> _, last = set_stages(z, K, np.zeros((2, 2)), Y, True, b, 0.1, 2)
    >>> K[1].round(12).tolist()
    [[-0.55], [0.45]]
    """
    x, w, h = np.empty((2, Y.shape[1])), np.empty(Y.shape[1]), np.empty(Y.shape[1])
    states = np.empty((2, *z.shape))
    for i in range(1, len(K)):
        state = states[(len(K) - 1 - i) % 2]
        for layer in range(2):
            for k in range(z.shape[1]):
                state[layer, k] = z[layer, k]
            for j in range(i):
                if tableau[i, j] != 0.0:
                    for k in range(z.shape[1]):
                        state[layer, k] += tableau[i, j] * K[j, layer, k]
        _set_rates(state, Y, triangular, b, lam, depth, x, w, h, K[i])
    return states[1], states[0]


def compile_functions() -> None:
    """Compile the stages, or load them from numba's cache."""
    z, K, one = np.zeros((2, 1)), np.zeros((2, 2, 1)), np.ones((1, 1))
    set_stages(z, K, np.zeros((2, 2)), padded(one), False, one[0], 0.0, 2)
