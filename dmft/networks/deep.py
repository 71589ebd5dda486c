"""Deep diagonal networks, w = (u^L - v^L)/L with L >= 3 (arXiv:2607.12332)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.networks.base import Network
from dmft.networks.potential import Curve, Potential
from dmft.networks.precision import require_resolved_times
from dmft.parameters import integer
from dmft.solvers import map_codes


@dataclass(frozen=True)
class Deep(Network):
    """Depth L >= 3, w = (u^L - v^L)/L with u(0) = v(0) = alpha.

    In H = int exp(-(L-2) lam s/2) h ds, u = exp(-lam t/2) (alpha^(2-L) + (L-2) H/2)^(-1/(L-2))
    and v the same with -H, for |H| < 2 alpha^(2-L)/(L-2).

    Raises
    ------
    ValueError
        If `depth` is not an integer >= 3.

    Examples
    --------
    >>> Deep(4).initial_layers(alpha=0.5)
    array([0.5, 0.5])
    """

    depth: int = integer("number of layers, >= 3", 3, low=3)
    name: ClassVar[str] = "deep"
    sources: ClassVar[tuple[str, ...]] = ("2607.12332",)
    mirror_code: ClassVar[int] = map_codes.POWER
    layers_keep_sign: ClassVar[bool] = True
    odd: ClassVar[bool] = True  # both layers start equal

    @property
    def paired_depth(self) -> int:
        """L."""
        return self.depth

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return L, alpha^(2-L) and exp(-L lam t/2) at each time, shape (N, 3)."""
        t = np.asarray(t)
        require_resolved_times(self, alpha, lam, t)
        decay = np.exp(-0.5 * self.depth * lam * t)
        return np.stack(
            [np.full_like(t, self.depth), np.full_like(t, alpha ** (2 - self.depth)), decay], axis=1
        )

    def layer_pair(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return u = exp(-lam t/2) (alpha^(2-L) + (L-2) H/2)^(-1/(L-2)) and v with -H."""
        gap = self.depth - 2
        decay = np.exp(-0.5 * lam * np.asarray(t))
        power = -1.0 / gap
        u = decay * (alpha**-gap + 0.5 * gap * H) ** power
        return u, decay * (alpha**-gap - 0.5 * gap * H) ** power

    def growth(self, alpha: float) -> float:
        """Return 2 (alpha^(2-L) - 1)/(L-2), from du/dH = -u^(L-1)/2."""
        gap = self.depth - 2
        return 2 * math.expm1(-gap * math.log(alpha)) / gap

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the inverse of phi."""
        return Power(self.depth, alpha)

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return u(0) and v(0), shape (2,)."""
        return np.array([alpha, alpha])

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return (u^L - v^L)/L, shape (d,)."""
        u, v = layers
        return (u**self.depth - v**self.depth) / self.depth

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return du/dt = -(h u^(L-1) + lam u)/2 and the same for v with -h, shape (2, d)."""
        u, v = layers
        power = self.depth - 1
        return np.array([-0.5 * (h * u**power + lam * u), 0.5 * (h * v**power - lam * v)])


@dataclass(frozen=True)
class Power(Potential):
    """Depth L >= 3, w = (u^L - v^L)/L with both layers at alpha at the start.

    With x = tanh(s) and p = L/(L-2): u = alpha (1-x)^(-1/(L-2)), v with -x,
    psi = 2 alpha^(2-L) x/(L-2), w = (2/L) alpha^L cosh(s)^p sinh(p s); y = (p+1) s.

    Examples
    --------
    >>> w = np.array([-1.0, 0.0, 1.0])
    >>> psi = Power(depth=3, alpha=1.0).gradient(w)
    >>> bool(psi[1] == 0 and psi[2] == -psi[0] and abs(psi[2]) < 2.0)  # the barrier in H
    True
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
