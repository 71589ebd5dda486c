"""Linear regression, the network of one layer: w itself is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.networks.base import Network
from dmft.networks.potential import Curve, Potential
from dmft.parameters import number
from dmft.solvers import map_codes


@dataclass(frozen=True)
class Linear(Network):
    """Linear regression, w itself trained by dw/dt = -h - lam w (ridge for lam > 0).

    w = exp(-lam t) (w(0) - H) with w(0) = alpha scale, which is 0 unless it is stated.

    Examples
    --------
    >>> Linear().weight(alpha=1.0, lam=0.0, H=np.array([[-0.5]]), t=np.zeros(1))
    array([[0.5]])
    """

    scale: float = number("start of w over alpha", 0.0)
    name: ClassVar[str] = "linear"
    mirror_code: ClassVar[int] = map_codes.LINEAR
    linear: ClassVar[bool] = True
    mirror_under_noise: ClassVar[bool] = True

    @property
    def odd(self) -> bool:
        """A start at 0."""
        return self.scale == 0.0

    @property
    def depth(self) -> int:
        """One."""
        return 1

    def mirror_potential(self, alpha: float) -> Potential:
        """Return (w - w(0))^2/2."""
        return Quadratic(self.scale * alpha)

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-lam t) and w(0), shape (N, 2)."""
        decay = np.exp(-lam * np.asarray(t))
        return np.stack([decay, np.full_like(decay, alpha * self.scale)], axis=1)

    def from_start(self, start: tuple[float, ...]) -> Linear:
        """Return the network of this scale."""
        return Linear(*start)

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(lam t), shape (N,)."""
        return np.exp(lam * np.asarray(t))

    def clock(self, lam: float, t: np.ndarray, decay: np.ndarray) -> tuple[float, np.ndarray]:
        """Return lam and t: white noise adds up linearly."""
        return lam, np.asarray(t)

    def validate(self, alpha: float, lam: float) -> None:
        """Accept every start: the map is exact in doubles."""

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return w(0), shape (1,)."""
        return np.array([alpha * self.scale])

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,)."""
        return layers[0]

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return -h - lam w, shape (1, d)."""
        return -h[None, :] - lam * layers


@dataclass(frozen=True)
class Quadratic(Potential):
    """psi = w - w(0): linear regression, Psi = (w - w(0))^2/2.

    Examples
    --------
    >>> Quadratic().value(np.array([2.0]))
    array([2.])
    """

    start: float = 0.0

    def curve(self, y: np.ndarray) -> Curve:
        """Return w = y and psi = y - w(0)."""
        y = np.asarray(y, dtype=float)
        return Curve(y, y - self.start, np.ones_like(y), np.ones_like(y))

    def solve(self, g: np.ndarray, shrink: float) -> np.ndarray:
        """Return (g + shrink w(0))/(1 + shrink), shape of `g`."""
        return (np.asarray(g, dtype=float) + shrink * self.start) / (1 + shrink)

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return (y^2 - w(0)^2)/2, shape of `y`."""
        return 0.5 * (np.asarray(y) - self.start) * (np.asarray(y) + self.start)
