"""Mirror potentials Psi of separable networks, each as a smooth curve y -> (w, psi).

At weight decay 0 a network with w = phi(H) is the mirror flow of a convex potential Psi with

    psi(w) = Psi'(w) = -H(w),     psi'(w) = 1/D(w),     psi(w(0)) = 0.

w is homogeneous of degree L in its L (or, for powers of u and v, two) layers, and these follow
d layers/dpsi = (1/2) dw/dlayers, so the growth of their squares is the conjugate potential:

    d|layers|^2/dpsi = L w,     Psi*(psi) = int w dpsi = (|layers|^2 - |layers(0)|^2)/L,
    Psi(w) = w psi - Psi*(psi),     Psi(w(0)) = 0.

For a small start psi is nearly a step as a function of w. Both are smooth functions of a third
variable y, so everything here is a function of y. The proximal map of Psi/k solves

    w(y) + psi(y)/k = g.

Sources: arXiv:2412.16765 (products of layers), arXiv:2510.01930 (depth 2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np

_NEWTON_STEPS = 80  # bisection alone reaches rounding from a bracket of width 2 in 54


class Curve(NamedTuple):
    """Points of the curve: weight, psi and their derivatives in y, arrays of one shape.

    Examples
    --------
    >>> point = Curve(*(np.array([x]) for x in (2.0, 1.0, 3.0, 0.5)))
    >>> point.hessian_inverse
    array([6.])
    """

    w: np.ndarray
    psi: np.ndarray
    w_y: np.ndarray
    psi_y: np.ndarray

    @property
    def hessian_inverse(self) -> np.ndarray:
        """D = dw/dpsi."""
        return self.w_y / self.psi_y


class Potential(ABC):
    """A mirror potential; w and psi are analytic for |Im y| below about pi step/2.

    Examples
    --------
    >>> from dmft.networks.linear import Quadratic
    >>> y = Quadratic().solve(np.array([3.0]), shrink=0.5)  # w + psi(w)/2 = 3
    >>> Quadratic().curve(y).w
    array([2.])
    """

    step: ClassVar[float] = 1.0

    @abstractmethod
    def curve(self, y: np.ndarray) -> Curve:
        """Return the points at `y`; w and psi increase with y, D is smallest at y = 0."""

    @abstractmethod
    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return Psi*(psi(y)), shape of `y`."""

    def value(self, w: np.ndarray) -> np.ndarray:
        """Return Psi(w), shape of `w`."""
        y = self.solve(w, 0.0)
        point = self.curve(y)
        return point.w * point.psi - self.conjugate(y)

    def gradient(self, w: np.ndarray) -> np.ndarray:
        """Return psi(w) = Psi'(w), shape of `w`."""
        return self.curve(self.solve(w, 0.0)).psi

    def hessian(self, w: np.ndarray) -> np.ndarray:
        """Return Psi''(w) = 1/D(w), shape of `w`."""
        return 1.0 / self.curve(self.solve(w, 0.0)).hessian_inverse

    def grid(self, low: float, high: float, shrink: float) -> np.ndarray:
        """Return multiples of `step` over which w + shrink psi runs from `low` to `high`."""
        count = 0
        while True:
            count += 8
            end = self.curve(np.array([-count, count]) * self.step)
            g = end.w + shrink * end.psi
            if g[0] <= low and g[1] >= high:
                return np.arange(-count, count + 1) * self.step

    def solve(self, g: np.ndarray, shrink: float) -> np.ndarray:
        """Return y with w(y) + shrink psi(y) = g, shape of `g` (safeguarded Newton).

        Parameters
        ----------
        g : ndarray
            Right-hand sides.
        shrink : float
            1/k >= 0.
        """
        grid = self.grid(float(np.min(g)), float(np.max(g)), shrink)
        points = self.curve(grid)
        values = points.w + shrink * points.psi
        right = np.clip(np.searchsorted(values, g), 1, grid.size - 1)
        low, high = grid[right - 1], grid[right]
        below, above = values[right - 1], values[right]
        y = low + (high - low) * np.clip((g - below) / (above - below), 0.0, 1.0)
        for _ in range(_NEWTON_STEPS):
            point = self.curve(y)
            residual = point.w + shrink * point.psi - g
            low = np.where(residual < 0, y, low)
            high = np.where(residual > 0, y, high)
            newton = y - residual / (point.w_y + shrink * point.psi_y)
            inside = (newton >= low) & (newton <= high)
            new = np.where(inside, newton, 0.5 * (low + high))
            rounding = 4e-16 * (np.abs(point.w) + shrink * np.abs(point.psi) + np.abs(g))
            exact = np.abs(residual) <= rounding
            new = np.where(residual == 0, y, new)
            done = np.all(exact | (np.abs(new - y) <= 4e-16 * (1 + np.abs(y))))
            y = new
            if done:
                break
        return y
