"""Linear regression, the network of one layer: w itself is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.networks.base import Network
from dmft.networks.potential import Curve, Potential
from dmft.solvers import map_codes


@dataclass(frozen=True)
class Linear(Network):
    """Linear regression, w itself trained from 0 by dw/dt = -h - lam w (ridge for lam > 0).

    Examples
    --------
    >>> Linear().weight(alpha=1.0, lam=0.0, H=np.array([[-0.5]]), t=np.zeros(1))
    array([[0.5]])
    """

    name: ClassVar[str] = "linear"
    mirror_code: ClassVar[int] = map_codes.LINEAR
    linear: ClassVar[bool] = True
    odd: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """One."""
        return 1

    def mirror_potential(self, alpha: float) -> Potential:
        """Return w^2/2."""
        return Quadratic()

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-lam t), shape (N, 1)."""
        return np.exp(-lam * np.asarray(t))[:, None]

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(lam t), shape (N,)."""
        return np.exp(lam * np.asarray(t))

    def validate(self, alpha: float, lam: float) -> None:
        """Accept every start, which does not matter here."""

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return w(0) = 0, shape (1,)."""
        return np.zeros(1)

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,)."""
        return layers[0]

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return -h - lam w, shape (1, d)."""
        return -h[None, :] - lam * layers


@dataclass(frozen=True)
class Quadratic(Potential):
    """psi = w: linear regression, Psi = w^2/2.

    Examples
    --------
    >>> Quadratic().value(np.array([2.0]))
    array([2.])
    """

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
