"""Products of layers, w = u_1 ... u_L, from a table of their flow (arXiv:2412.16765)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.networks.base import Network
from dmft.networks.diagonal import Diagonal
from dmft.networks.potential import Curve, Potential
from dmft.networks.precision import require_resolved_start
from dmft.parameters import numbers
from dmft.solvers import map_codes
from dmft.validation import require_in_range


@dataclass(frozen=True)
class Product(Network):
    """A general product w = prod_j u_j of L layers with u_j(0) = alpha scales[j].

    The differences u_j^2 - u_k^2 are conserved (times exp(-lam t)), so with x the layer of
    smallest start, dx/dH = -(1/2) prod_{j != x} sqrt(x^2 + mu_j^2), mu_j^2 = u_j(0)^2 - x(0)^2,
    and D = (1/2) sum_j prod_{k != j} u_k^2 (arXiv:2412.16765). scales = (sqrt 2, 0) is the
    default depth-two network.

    Raises
    ------
    ValueError
        If there are fewer than two scales, one is negative or more than one is zero.

    Examples
    --------
    >>> network = Product((1.0, 0.5, 0.2))
    >>> network.depth, network.initial_weight(alpha=1.0)
    (3, 0.1)
    """

    scales: tuple[float, ...] = numbers("start of each layer over alpha", (math.sqrt(2.0), 0.0))
    name: ClassVar[str] = "product"
    sources: ClassVar[tuple[str, ...]] = ("2412.16765",)

    def __post_init__(self) -> None:
        """Check the scales."""
        super().__post_init__()
        scales = self.scales
        if len(scales) < 2:
            raise ValueError(f"scales must hold at least 2 layers; got {scales!r}")
        for scale in scales:
            require_in_range("scales", scale, low=0.0)
        if sum(scale == 0 for scale in scales) > 1:
            raise ValueError(f"scales may hold at most one 0 (else w stays 0); got {scales!r}")

    @property
    def mirror_code(self) -> int:  # type: ignore[override]
        """Two layers have the closed form of the diagonal network."""
        return map_codes.TABLE if self._pair is None else map_codes.HYPERBOLIC

    @property
    def _pair(self) -> Diagonal | None:
        scales = self.pair_scales
        return Diagonal(*scales) if scales is not None and self.changes_sign else None

    @property
    def depth(self) -> int:
        """Number of scales."""
        return len(self.scales)

    @property
    def changes_sign(self) -> bool:
        """Whether one layer is the smallest: if two are, neither can pass through 0."""
        first, second = sorted(self.scales)[:2]
        return first < second

    @property
    def pair_scales(self) -> tuple[float, float] | None:
        """The sum and difference of two layers over sqrt(2); None for more layers."""
        if len(self.scales) > 2:
            return None
        first, second = self.scales
        return (first + second) / math.sqrt(2), abs(first - second) / math.sqrt(2)

    def from_start(self, start: tuple[float, ...]) -> Product:
        """Return the product of layers of these scales."""
        return Product(start)

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-L lam t/2), shape (N, 1), or those of the diagonal network, (N, 2)."""
        if self._pair is not None:
            return self._pair.mirror_parameters(alpha, lam, t)
        return super().mirror_parameters(alpha, lam, t)

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the hyperbolic entropy for two layers, else the integral over the smallest one."""
        if self._pair is not None:
            return self._pair.mirror_potential(alpha)
        return ProductOfLayers(alpha * np.sort(np.array(self.scales)))

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot resolve w."""
        if self.depth > 2 or alpha > 1:  # from a small start H of two layers grows slowly
            require_resolved_start(self, alpha)

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return alpha scales, shape (L,)."""
        return alpha * np.array(self.scales)

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return the product over the layers, shape (d,)."""
        return np.prod(layers, axis=0)

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return du_j/dt = -(h prod_{k != j} u_k + lam u_j)/2, shape (L, d)."""
        before = np.cumprod(np.concatenate([np.ones_like(layers[:1]), layers[:-1]]), axis=0)
        after = np.cumprod(np.concatenate([np.ones_like(layers[:1]), layers[:0:-1]]), axis=0)[::-1]
        return -0.5 * (h[None, :] * before * after + lam * layers)


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

    Examples
    --------
    >>> potential = ProductOfLayers(np.array([0.0, 1.0, 1.0]))  # w = x (x^2 + 1)
    >>> w = np.array([2.0])  # at x = 1, where Psi' = 2 atan(x)
    >>> bool(np.isclose(potential.gradient(w)[0], np.pi / 2))
    True
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

    @property
    def ends(self) -> tuple[float, float]:
        """Psi' at w = -infinity and infinity, which three layers and more keep finite.

        The half of each is the integral of dx/prod_{j>0} u_j from the smallest layer's start.
        """
        return float(self._psi[0]), float(self._psi[-1])

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
