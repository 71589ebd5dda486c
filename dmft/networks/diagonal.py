"""The diagonal linear network of depth two, w = (u^2 - v^2)/2 (arXiv:2510.01930)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.networks.base import Network
from dmft.networks.potential import Curve, Potential
from dmft.networks.precision import require_resolved_start
from dmft.parameters import number
from dmft.solvers import map_codes


@dataclass(frozen=True)
class Diagonal(Network):
    """Depth two, w = (u^2 - v^2)/2 with u(0) = alpha scale_u, v(0) = alpha scale_v.

    phi = (exp(lu - H) - exp(lv + H))/2 with lu = 2 log(alpha scale_u) - lam t, so that equal
    scales give -alpha^2 exp(-lam t) sinh(H).

    Raises
    ------
    ValueError
        If a scale is not positive.

    Examples
    --------
    >>> H, t = np.array([[-1.0]]), np.zeros(1)
    >>> w = Diagonal().weight(alpha=1.0, lam=0.0, H=H, t=t)
    >>> bool(np.isclose(w[0, 0], np.sinh(1.0)))
    True
    """

    scale_u: float = number("start of u over alpha", 1.0, low=0.0, low_open=True)
    scale_v: float = number("start of v over alpha", 1.0, low=0.0, low_open=True)
    name: ClassVar[str] = "diagonal"
    mirror_code: ClassVar[int] = map_codes.HYPERBOLIC
    layers_keep_sign: ClassVar[bool] = True
    mirror_under_noise: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """Two."""
        return 2

    @property
    def odd(self) -> bool:
        """Equal starts."""
        return self.scale_u == self.scale_v

    @property
    def pair_scales(self) -> tuple[float, float]:
        """Both scales."""
        return self.scale_u, self.scale_v

    def from_start(self, start: tuple[float, ...]) -> Diagonal:
        """Return the network of these scales of u and v."""
        return Diagonal(*start)

    @property
    def paired_depth(self) -> int:
        """Two."""
        return 2

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return lu and lv at the times `t`, shape (N, 2)."""
        starts = 2 * np.log(alpha * np.array([self.scale_u, self.scale_v]))
        return starts[None, :] - lam * np.asarray(t)[:, None]

    def clock(self, lam: float, t: np.ndarray, decay: np.ndarray) -> tuple[float, np.ndarray]:
        """Return 1 and lam t + decay/4: by Ito's rule the noise shrinks u v like a weight decay."""
        return 1.0, lam * np.asarray(t) + 0.25 * decay

    def layer_pair(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return u = alpha scale_u exp(-(H + lam t)/2) and v with -H, shape of H."""
        exponents = 0.5 * self.mirror_parameters(alpha, lam, t)
        return np.exp(exponents[:, 0] - 0.5 * H), np.exp(exponents[:, 1] + 0.5 * H)

    def growth(self, alpha: float) -> float:
        """Return 2 log(1/alpha), from du/dH = -u/2."""
        return -2 * math.log(alpha)

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the hyperbolic entropy of a = u(0) v(0)."""
        a = alpha**2 * self.scale_u * self.scale_v
        return Hyperbolic(a, math.log(self.scale_u / self.scale_v))

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot resolve w, as in a large start."""
        if alpha > 1:  # from a small one H grows like log(1/alpha) only
            require_resolved_start(self, alpha)

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return u(0) and v(0), shape (2,)."""
        return alpha * np.array([self.scale_u, self.scale_v])

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return (u^2 - v^2)/2, shape (d,)."""
        u, v = layers
        return 0.5 * (u - v) * (u + v)

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return du/dt = -(h + lam) u/2 and dv/dt = (h - lam) v/2, shape (2, d)."""
        u, v = layers
        return np.array([-0.5 * (h + lam) * u, 0.5 * (h - lam) * v])


@dataclass(frozen=True)
class Hyperbolic(Potential):
    """psi = asinh(w/a) - c: two layers with u v = a and start w(0) = a sinh(c).

    Examples
    --------
    >>> w = np.array([0.0, 2.0])
    >>> bool(np.allclose(Hyperbolic(0.5, 0.0).gradient(w), np.arcsinh(w / 0.5)))
    True
    """

    a: float
    c: float = 0.0
    step: ClassVar[float] = 2.0

    def curve(self, y: np.ndarray) -> Curve:
        """Return w = a sinh(y), psi = y - c."""
        return Curve(self.a * np.sinh(y), y - self.c, self.a * np.cosh(y), np.ones_like(y))

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return a cosh(y) - a cosh(c), shape of `y`."""
        return 2 * self.a * np.sinh(0.5 * (y + self.c)) * np.sinh(0.5 * (y - self.c))
