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
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

_NEWTON_STEPS = 80  # bisection alone reaches rounding from a bracket of width 2 in 54


class Curve(NamedTuple):
    """Points of the curve: weight, psi and their derivatives in y, arrays of one shape."""

    w: np.ndarray
    psi: np.ndarray
    w_y: np.ndarray
    psi_y: np.ndarray

    @property
    def hessian_inverse(self) -> np.ndarray:
        """D = dw/dpsi."""
        return self.w_y / self.psi_y


class Potential(ABC):
    """A mirror potential; w and psi are analytic for |Im y| below about pi step/2."""

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


@dataclass(frozen=True)
class Quadratic(Potential):
    """psi = w: linear regression, Psi = w^2/2."""

    def curve(self, y: np.ndarray) -> Curve:
        """Return w = psi = y."""
        y = np.asarray(y, dtype=float)
        return Curve(y, y, np.ones_like(y), np.ones_like(y))

    def solve(self, g: np.ndarray, shrink: float) -> np.ndarray:
        """Return g/(1 + shrink), shape of `g`."""
        return np.asarray(g, dtype=float) / (1 + shrink)

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return y^2/2, shape of `y`."""
        return 0.5 * np.asarray(y) ** 2


@dataclass(frozen=True)
class Hyperbolic(Potential):
    """psi = asinh(w/a) - c: two layers with u v = a and start w(0) = a sinh(c)."""

    a: float
    c: float = 0.0
    step: ClassVar[float] = 2.0

    def curve(self, y: np.ndarray) -> Curve:
        """Return w = a sinh(y), psi = y - c."""
        return Curve(self.a * np.sinh(y), y - self.c, self.a * np.cosh(y), np.ones_like(y))

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return a cosh(y) - a cosh(c), shape of `y`."""
        return 2 * self.a * np.sinh(0.5 * (y + self.c)) * np.sinh(0.5 * (y - self.c))


@dataclass(frozen=True)
class Power(Potential):
    """Depth L >= 3, w = (u^L - v^L)/L with both layers at alpha at the start.

    With x = tanh(s) and p = L/(L-2): u = alpha (1-x)^(-1/(L-2)), v with -x,
    psi = 2 alpha^(2-L) x/(L-2), w = (2/L) alpha^L cosh(s)^p sinh(p s); y = (p+1) s.
    """

    depth: int
    alpha: float

    def curve(self, y: np.ndarray) -> Curve:
        """Return the points at `y`."""
        L, p = self.depth, self.depth / (self.depth - 2)
        s = y / (p + 1)
        scale = 2 * self.alpha**L
        reach = 2 * self.alpha ** (2 - L) / (L - 2)
        cosh = np.cosh(s)
        return Curve(
            scale / L * cosh**p * np.sinh(p * s),
            reach * np.tanh(s),
            scale / (L - 2) * cosh ** (p - 1) * np.cosh((p + 1) * s) / (p + 1),
            reach / cosh**2 / (p + 1),
        )

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return (u^2 + v^2 - 2 alpha^2)/L, u = alpha (e^s cosh(s))^(1/(L-2)), shape of `y`."""
        q = 2 / (self.depth - 2)
        s = y * (self.depth - 2) / (2 * self.depth - 2)
        log_cosh = np.log1p(2 * np.sinh(0.5 * s) ** 2)  # accurate near s = 0
        growth = np.expm1(q * (log_cosh + s)) + np.expm1(q * (log_cosh - s))
        return self.alpha**2 / self.depth * growth


class ProductOfLayers(Potential):
    """w = prod_j u_j of two or more layers (arXiv:2412.16765, arXiv:2607.12332).

    With x the smallest layer, u_j = sqrt(x^2 + mu_j^2), mu_j^2 = u_j(0)^2 - x(0)^2:
    dpsi/dx = 2/prod_{j>0} u_j and D = (1/2) sum_j prod_{k != j} u_k^2; x = mu_1 sinh(s),
    y = (L-1) s. If two layers share the smallest start x stays positive, and so does w: then
    x = x(0) exp(s) and psi falls without bound as w -> 0.

    Parameters
    ----------
    starts : ndarray, shape (L,)
        Layers at the start, ascending; only the first may be 0.
    """

    def __init__(self, starts: np.ndarray) -> None:
        """Tabulate psi on panels of the smooth variable."""
        self.smallest = float(starts[0])
        self.mu = np.sqrt((starts - starts[0]) * (starts + starts[0]))
        self.depth = starts.size
        self._nodes, self._weights = np.polynomial.legendre.leggauss(12)
        # panels on both sides of the start, out to where u^L is still finite
        self._count = int(600 / self.depth) * (self.depth - 1)
        self._spacing = 1.0 / (self.depth - 1)
        self._start = float(np.arcsinh(starts[0] / self.mu[1])) if self.mu[1] > 0 else 0.0
        edges = self._start + self._spacing * np.arange(-self._count, self._count + 1)
        pieces = self._piece(edges[:-1], edges[1:])
        left = -np.cumsum(pieces[: self._count][::-1])[::-1]
        self._psi = np.concatenate([left, [0.0], np.cumsum(pieces[self._count :])])

    def _layer(self, s: np.ndarray) -> np.ndarray:
        """Return the smallest layer x(s); in either case dx/ds = u_1."""
        return self.mu[1] * np.sinh(s) if self.mu[1] > 0 else self.smallest * np.exp(s)

    def _slope(self, s: np.ndarray) -> np.ndarray:
        # dpsi/ds: the factor u_1 cancels dx/ds
        x = self._layer(s)
        return 2.0 / np.prod([np.ones_like(x), *(np.hypot(x, m) for m in self.mu[2:])], axis=0)

    def _piece(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        half = 0.5 * (high - low)
        s = (0.5 * (high + low))[..., None] + half[..., None] * self._nodes
        return half * (self._slope(s) @ self._weights)

    def _integral(self, s: np.ndarray) -> np.ndarray:
        panel = np.rint((s - self._start) / self._spacing).astype(int)
        panel = np.clip(panel, -self._count, self._count)
        nearest = self._start + panel * self._spacing
        return self._psi[panel + self._count] + self._piece(nearest, s)

    def curve(self, y: np.ndarray) -> Curve:
        """Return the points at `y`."""
        s = np.asarray(y) * self._spacing
        x = self._layer(s)
        layers = [x, *(np.hypot(x, m) for m in self.mu[1:])]
        squares = [u**2 for u in layers]
        D = 0.5 * sum(
            np.prod([q for k, q in enumerate(squares) if k != j], axis=0) for j in range(self.depth)
        )
        psi_y = self._slope(s) * self._spacing
        return Curve(np.prod(layers, axis=0), self._integral(s), D * psi_y, psi_y)

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return x^2 - x(0)^2, shape of `y`."""
        x = self._layer(np.asarray(y) * self._spacing)
        return (x - self.smallest) * (x + self.smallest)
