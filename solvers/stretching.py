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

from typing import NamedTuple

import numpy as np

STRETCH = 0.5  # nodes at STRETCH times the spacing for each unit of log distance
ACCURACY = 1e-10  # of x(z)
TABLE = 400  # points about each threshold, from which Newton steps start
MAX_STEPS = 50
FEW_STEPS = 8  # from a guess


class Thresholds(NamedTuple):
    """Where integrands bend, and how sharply.

    Parameters
    ----------
    positions : ndarray, shape (q,)
        z_k; they may be any real numbers.
    slope : ndarray, shape (r - 1,)
    width : float
    """

    positions: np.ndarray
    slope: np.ndarray
    width: float

    def shift(self, rest: np.ndarray) -> np.ndarray:
        """Return by how much other modes (M, s) move the thresholds down, shape (M,)."""
        count = min(rest.shape[1], self.slope.size)
        return rest[:, :count] @ self.slope[:count]


def stretched(z: np.ndarray, positions: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x(z) and dx/dz for z (M,) and thresholds (q,)."""
    away = (z - positions[:, None]) / width
    x = z + STRETCH * (np.arcsinh(away).sum(axis=0) + np.arcsinh(positions / width).sum())
    return x, 1.0 + STRETCH / width * (1.0 / np.sqrt(1.0 + away * away)).sum(axis=0)


def unstretched(
    x: np.ndarray, positions: np.ndarray, width: float, guess: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return z(x) and dx/dz there by Newton's method, from a guess where there is a good one."""
    if guess is not None:
        z, slope, done = _newton(x, positions, width, guess, -np.inf, np.inf, FEW_STEPS)
        if done:
            return z, slope
    low, high = min(x.min(), -1.0), max(x.max(), 1.0)  # they bracket z: x(0) = 0 and dx/dz >= 1
    reach = np.arcsinh((high - low) / width)
    distances = width * np.sinh(np.linspace(-reach, reach, TABLE))
    inner = (positions[:, None] + distances).ravel()
    table = np.unique(np.concatenate([[low], inner[(inner > low) & (inner < high)], [high]]))
    values, _ = stretched(table, positions, width)
    cell = np.clip(np.searchsorted(values, x) - 1, 0, table.size - 2)
    start = np.interp(x, values, table)
    ends = table[cell], table[cell + 1]
    z, slope, _ = _newton(x, positions, width, start, *ends, MAX_STEPS)
    return z, slope


def _newton(
    x: np.ndarray,
    positions: np.ndarray,
    width: float,
    z: np.ndarray,
    low: np.ndarray | float,
    high: np.ndarray | float,
    max_steps: int,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Solve x(z) = x from z within [low, high]; return z, dx/dz, and whether it converged."""
    for _ in range(max_steps):
        found, slope = stretched(z, positions, width)
        miss = found - x
        if np.abs(miss).max() < ACCURACY:
            return z, slope, True
        z = np.minimum(np.maximum(z - miss / slope, low), high)
    return z, slope, False


def placed(
    nodes: np.ndarray, thresholds: Thresholds, guess: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes with x turned into z_0, and the factors of their weights.

    Thresholds at z_k - s are those at z_k seen from z_0 + s, up to a constant:
    x(z_0; z_k - s) = x(z_0 + s; z_k) - x(s; z_k).

    Parameters
    ----------
    nodes : ndarray, shape (M, r)
        x and the other modes.
    thresholds : Thresholds
    guess : ndarray, shape (M,), optional
        z_0 for similar thresholds.

    Returns
    -------
    z : ndarray, shape (M, r)
    factors : ndarray, shape (M,)
        exp(-z_0^2/2) dz_0/dx.
    """
    positions, width = thresholds.positions, thresholds.width
    shift = thresholds.shift(nodes[:, 1:])
    origin, _ = stretched(shift, positions, width)
    if guess is not None:
        guess = guess + shift
    z, slope = unstretched(nodes[:, 0] + origin, positions, width, guess)
    z = z - shift
    return np.concatenate([z[:, None], nodes[:, 1:]], axis=1), np.exp(-0.5 * z**2) / slope
