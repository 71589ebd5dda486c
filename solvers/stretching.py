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
ACCURACY = 1e-11  # of x(z)


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

    def seen_from(self, rest: np.ndarray) -> np.ndarray:
        """Return the leading coordinates of the thresholds at other modes (M, s), shape (M, q)."""
        count = min(rest.shape[1], self.slope.size)
        return self.positions - (rest[:, :count] @ self.slope[:count])[:, None]


def stretched(z: np.ndarray, positions: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x(z) and dx/dz for z (M,) and thresholds (M, q) or (1, q)."""
    away = (z[:, None] - positions) / width
    x = z + STRETCH * np.sum(np.arcsinh(away) + np.arcsinh(positions / width), axis=1)
    return x, 1.0 + STRETCH / width * np.sum(1.0 / np.sqrt(1.0 + away**2), axis=1)


def unstretched(
    x: np.ndarray, positions: np.ndarray, width: float, guess: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return z(x) and dx/dz there by Newton's method, bisecting where a step gains too little."""
    low, high = np.minimum(x, 0.0), np.maximum(x, 0.0)  # since x(0) = 0 and dx/dz >= 1
    z = 0.5 * (low + high) if guess is None else np.clip(guess, low, high)
    before = np.full_like(x, np.inf)
    while True:
        found, slope = stretched(z, positions, width)
        gap = found - x
        if np.all((np.abs(gap) < ACCURACY) | (high - low <= 1e-15 * np.abs(x))):
            return z, slope
        low, high = np.where(gap < 0, z, low), np.where(gap > 0, z, high)
        step = z - gap / slope
        good = (step > low) & (step < high) & (np.abs(gap) < 0.5 * before)
        z = np.where(good, step, 0.5 * (low + high))
        before = np.abs(gap)


def placed(
    nodes: np.ndarray, thresholds: Thresholds, guess: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes with x turned into z_0, and the factors of their weights.

    Parameters
    ----------
    nodes : ndarray, shape (M, r)
        x and the other modes.
    thresholds : Thresholds
    guess : ndarray, shape (M, r), optional
        The result for other thresholds close by.

    Returns
    -------
    z : ndarray, shape (M, r)
    factors : ndarray, shape (M,)
        exp(-z_0^2/2) dz_0/dx.
    """
    start = None if guess is None else guess[:, 0]
    z, slope = unstretched(nodes[:, 0], thresholds.seen_from(nodes[:, 1:]), thresholds.width, start)
    return np.concatenate([z[:, None], nodes[:, 1:]], axis=1), np.exp(-0.5 * z**2) / slope
