"""Networks as mirror maps; this is the one place that states a network.

Under gradient flow in the unit du/dt = -(d/2) dL/du each weight of a diagonal network is a
function of one integrated gradient,

    w(t) = phi(H(t), t),     H(t) = int_0^t c(s) h(s) ds,     D(t) = -d phi / d H >= 0,

with h = (1/delta) X^T (X w - y). A network supplies phi (through the numba branch of
`solvers.mirror_kernels` and its parameters at each time) and the drift factor c for the DMFT;
the potential Psi, Psi'(phi(H, 0)) = -H, whose mirror flow it is at weight decay 0, for the
limits of the flow; and, apart from these and by other formulas, its layers and their velocities
for the direct simulation. With decay phi(H, t) = s phi(H, 0), so that the potential at time t is
s Psi(w/s), with s = exp(-L lam t/2) in depth L >= 2 and exp(-lam t) in linear regression.

Sources: arXiv:2510.01930 (depth 2), arXiv:2412.16765 (products of layers), arXiv:2607.12332
(depth L).
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dmft.validation import require_in_range, require_integer
from solvers import mirror_maps

if TYPE_CHECKING:
    from solvers.potentials import Potential

ROUNDING = float(np.finfo(float).eps)
RESOLUTION = 1e-6  # largest rounding error of a weight of size 1, a hundredth of the usual rtol
EXTREME = 200.0  # of |log alpha^L|: far beyond that resolution, and not yet at the range of doubles
LONGEST = 60.0  # of lam t: w of two equal layers is resolved at any time, but its table must end
MARGIN = 100.0  # largest weight that a table covers at any time
TABLE_ROWS = 12001


class Network(ABC):
    """A diagonal network: its mirror map for the theory, its layers for the simulation."""

    name: ClassVar[str]
    mirror_code: ClassVar[int]
    linear: ClassVar[bool] = False  # whether phi is linear in H

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number L of layers that w multiplies."""

    @property
    def odd(self) -> bool:
        """Whether phi(-H) = -phi(H)."""
        return True

    @property
    def changes_sign(self) -> bool:
        """Whether w takes every real value; otherwise w > 0 at all times."""
        return True

    @property
    def pair_scales(self) -> tuple[float, float] | None:
        """u(0)/alpha and v(0)/alpha where w = (u^2 - v^2)/2 in some u and v, or None."""
        return None

    # --- the theory's side -------------------------------------------------------------

    @abstractmethod
    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return the parameters of phi at the times `t` (N,), shape (N, P)."""

    def mirror_table(self, alpha: float) -> np.ndarray:
        """Return the table that phi interpolates, shape (J, 3); empty where phi is explicit."""
        return np.empty((0, 3))

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return c(t), shape (N,), the factor of h in H."""
        return np.ones_like(t)

    def initial_weight(self, alpha: float) -> float:
        """Return w(0)."""
        return 0.0

    def weight(self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return phi(H, t) for H (..., N) and t (N,), shape (..., N)."""
        return self._mirror(alpha, lam, H, t)[0]

    def hessian_inverse(self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray) -> np.ndarray:
        """Return D(H, t), the inverse Hessian of the mirror potential, shape of H."""
        return self._mirror(alpha, lam, H, t)[1]

    def layer_pair(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the layers u and v at H (..., N) and t (N,), or None without such a pair."""
        return None

    def growth(self, alpha: float) -> float | None:
        """Return the integrated force |H| in which a layer grows from alpha to 1, if known."""
        return None

    @abstractmethod
    def mirror_potential(self, alpha: float) -> Potential:
        """Return the mirror potential at weight decay 0, as a curve (see `solvers.potentials`)."""

    def potential(self, alpha: float, w: Any) -> np.ndarray:
        """Return the mirror potential Psi(w) at weight decay 0.

        Psi is convex and separable: the flow is d Psi'(w)/dt = -h. Psi(w(0)) = Psi'(w(0)) = 0.

        Parameters
        ----------
        alpha : float
            Scale of the start.
        w : array_like
            Weights.

        Returns
        -------
        ndarray
            Psi for each weight, shape of `w`; the potential of a weight vector is the sum.

        Raises
        ------
        ValueError
            If a weight is not finite, or not positive where the network keeps w > 0.

        References
        ----------
        arXiv:2412.16765, mirror flow of deep diagonal networks.
        """
        return self.mirror_potential(alpha).value(self._weights(w))

    def potential_gradient(self, alpha: float, w: Any) -> np.ndarray:
        """Return Psi'(w), minus the H at which phi(H, 0) = w; see `potential`."""
        return self.mirror_potential(alpha).gradient(self._weights(w))

    def hessian(self, alpha: float, w: Any) -> np.ndarray:
        """Return Psi''(w) = 1/D, the diagonal of the Hessian; see `potential`."""
        return self.mirror_potential(alpha).hessian(self._weights(w))

    def _weights(self, w: Any) -> np.ndarray:
        weights = np.array(w, dtype=float)
        if not np.all(np.isfinite(weights)):
            raise ValueError(f"w must be finite; got {w!r}")
        if not self.changes_sign and np.any(weights <= 0):
            raise ValueError(f"w must be > 0 for {self!r}, which cannot reach 0; got {w!r}")
        return weights

    def _mirror(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        from solvers import mirror_kernels  # numba is imported only when it is needed

        t = np.atleast_1d(np.asarray(t, dtype=float))
        H = np.asarray(H, dtype=float)
        flat = np.ascontiguousarray(np.broadcast_to(H, np.broadcast_shapes(H.shape, t.shape)))
        parameters = self.mirror_parameters(alpha, lam, t)
        w, D = mirror_kernels.evaluate(
            self.mirror_code, flat.reshape(-1, t.size), parameters, self.mirror_table(alpha)
        )
        return w.reshape(flat.shape), D.reshape(flat.shape)

    # --- the simulation's side -----------------------------------------------------------

    @abstractmethod
    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return the value of each layer at t = 0, shape (L,), the same for all coordinates."""

    @abstractmethod
    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,), of layers, shape (L, d)."""

    @abstractmethod
    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return d layers/dt, shape (L, d), for layers (L, d) and h (d,)."""

    def config(self) -> dict[str, Any]:
        """Return the parameters as plain numbers and lists, with the network's `name`."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        return {"name": self.name, **values}

    def validate(self, alpha: float, lam: float) -> None:  # noqa: B027
        """Raise ValueError where double precision cannot follow the network."""


@dataclass(frozen=True)
class Diagonal(Network):
    """Depth two, w = (u^2 - v^2)/2 with u(0) = alpha scale_u, v(0) = alpha scale_v.

    phi = (exp(lu - H) - exp(lv + H))/2 with lu = 2 log(alpha scale_u) - lam t, so that equal
    scales give -alpha^2 exp(-lam t) sinh(H).

    Raises
    ------
    ValueError
        If a scale is not positive.
    """

    scale_u: float = 1.0
    scale_v: float = 1.0
    name: ClassVar[str] = "diagonal"
    mirror_code: ClassVar[int] = mirror_maps.HYPERBOLIC

    def __post_init__(self) -> None:
        """Check the parameters."""
        require_in_range("scale_u", self.scale_u, low=0.0, low_open=True)
        require_in_range("scale_v", self.scale_v, low=0.0, low_open=True)

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

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return lu and lv at the times `t`, shape (N, 2)."""
        starts = 2 * np.log(alpha * np.array([self.scale_u, self.scale_v]))
        return starts[None, :] - lam * np.asarray(t)[:, None]

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
        from solvers.potentials import Hyperbolic

        a = alpha**2 * self.scale_u * self.scale_v
        return Hyperbolic(a, math.log(self.scale_u / self.scale_v))

    def initial_weight(self, alpha: float) -> float:
        """Return alpha^2 (scale_u^2 - scale_v^2)/2."""
        return 0.5 * alpha**2 * (self.scale_u**2 - self.scale_v**2)

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
        return np.stack([-0.5 * (h + lam) * u, 0.5 * (h - lam) * v])


@dataclass(frozen=True)
class Linear(Network):
    """Linear regression, w itself trained from 0 by dw/dt = -h - lam w (ridge for lam > 0)."""

    name: ClassVar[str] = "linear"
    mirror_code: ClassVar[int] = mirror_maps.LINEAR
    linear: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        """One."""
        return 1

    def mirror_potential(self, alpha: float) -> Potential:
        """Return w^2/2."""
        from solvers.potentials import Quadratic

        return Quadratic()

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-lam t), shape (N, 1)."""
        return np.exp(-lam * np.asarray(t))[:, None]

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(lam t), shape (N,)."""
        return np.exp(lam * np.asarray(t))

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
class Deep(Network):
    """Depth L >= 3, w = (u^L - v^L)/L with u(0) = v(0) = alpha.

    In H = int exp(-(L-2) lam s/2) h ds, u = exp(-lam t/2) (alpha^(2-L) + (L-2) H/2)^(-1/(L-2))
    and v the same with -H, for |H| < 2 alpha^(2-L)/(L-2).

    Raises
    ------
    ValueError
        If `depth` is not an integer >= 3.
    """

    depth: int = 3
    name: ClassVar[str] = "deep"
    mirror_code: ClassVar[int] = mirror_maps.POWER

    def __post_init__(self) -> None:
        """Check the depth."""
        require_integer("depth", self.depth, low=3)

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return L, alpha^(2-L) and exp(-L lam t/2) at each time, shape (N, 3)."""
        t = np.asarray(t)
        _require_resolved_times(self, alpha, lam, t)
        decay = np.exp(-0.5 * self.depth * lam * t)
        return np.stack(
            [np.full_like(t, self.depth), np.full_like(t, alpha ** (2 - self.depth)), decay], axis=1
        )

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-(L-2) lam t/2), shape (N,)."""
        return np.exp(-0.5 * (self.depth - 2) * lam * np.asarray(t))

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
        from solvers.potentials import Power

        return Power(self.depth, alpha)

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot resolve w."""
        _require_resolved_start(self, alpha)

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
        return np.stack([-0.5 * (h * u**power + lam * u), 0.5 * (h * v**power - lam * v)])


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
    """

    scales: tuple[float, ...] = (math.sqrt(2.0), 0.0)
    name: ClassVar[str] = "product"

    def __post_init__(self) -> None:
        """Check the scales and store them as a tuple."""
        scales = tuple(float(s) for s in self.scales)
        if len(scales) < 2:
            raise ValueError(f"scales must hold at least 2 layers; got {scales!r}")
        for scale in scales:
            require_in_range("scales", scale, low=0.0)
        if sum(scale == 0 for scale in scales) > 1:
            raise ValueError(f"scales may hold at most one 0 (else w stays 0); got {scales!r}")
        object.__setattr__(self, "scales", scales)

    @property
    def mirror_code(self) -> int:  # type: ignore[override]
        """Two layers have the closed form of the diagonal network."""
        return mirror_maps.TABLE if self._pair is None else mirror_maps.HYPERBOLIC

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

    @property
    def odd(self) -> bool:
        """A product is odd only where one layer starts at zero; it is not exploited."""
        return False

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-L lam t/2), shape (N, 1), or those of the diagonal network, (N, 2)."""
        if self._pair is not None:
            return self._pair.mirror_parameters(alpha, lam, t)
        _require_resolved_times(self, alpha, lam, np.asarray(t))
        return np.exp(-0.5 * self.depth * lam * np.asarray(t))[:, None]

    def mirror_table(self, alpha: float) -> np.ndarray:
        """Return H, w and D of the undamped flow on a fine grid, shape (J, 3), H increasing."""
        return super().mirror_table(alpha) if self._pair is not None else _table(self, alpha)

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return exp(-(L-2) lam t/2), shape (N,)."""
        return np.exp(-0.5 * (self.depth - 2) * lam * np.asarray(t))

    def initial_weight(self, alpha: float) -> float:
        """Return alpha^L prod(scales)."""
        return float(np.prod(self.initial_layers(alpha)))

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the hyperbolic entropy for two layers, else the integral over the smallest one."""
        from solvers.potentials import ProductOfLayers

        if self._pair is not None:
            return self._pair.mirror_potential(alpha)
        return ProductOfLayers(alpha * np.sort(np.array(self.scales)))

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot resolve w."""
        if self.depth > 2:  # the H of two layers grows like log(1/alpha) only
            _require_resolved_start(self, alpha)

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


# --- what doubles resolve ---------------------------------------------------------------------


def _rounding(network: Network, alpha: float, decay: float) -> float:
    """Return the rounding error of phi at a weight of size 1 once lam t = `decay`.

    phi(H) with an H of relative error eps has the error eps |H| D, and a difference of products
    of layers the error eps alpha^L. With s = exp(-L lam t/2), phi(H, t) = s phi(H, 0).
    """
    potential = network.mirror_potential(alpha)
    scale = math.exp(-0.5 * network.depth * decay)
    ends = np.array([-1.0, 1.0] if network.changes_sign else [1.0]) / scale
    point = potential.curve(potential.solve(ends, 0.0))
    response = float(np.max(np.abs(point.psi) * point.hessian_inverse))
    return ROUNDING * scale * (response + math.exp(_log_size(network, alpha)))


def _log_size(network: Network, alpha: float) -> float:
    """Return the logarithm of the product of all layers at the start, 0 apart."""
    layers = network.initial_layers(alpha)
    return network.depth * float(np.mean(np.log(layers[layers > 0])))


def _require_resolved_start(network: Network, alpha: float) -> None:
    extreme = abs(_log_size(network, alpha)) > EXTREME
    if extreme or not _rounding(network, alpha, 0.0) <= RESOLUTION:
        raise ValueError(
            f"alpha must be nearer to 1 for {network.depth} layers: double precision resolves "
            f"weights of size 1 only while alpha^(2 - L) and alpha^L stay below about 1e9; got "
            f"alpha = {alpha!r} for {network!r}"
        )


@functools.lru_cache(maxsize=64)
def _longest_decay(network: Network, alpha: float) -> float:
    """Return the largest lam t at which weights of size 1 are resolved, at most `LONGEST`."""
    low, high = 0.0, min(LONGEST, 3 * EXTREME / network.depth)
    if _rounding(network, alpha, high) <= RESOLUTION:
        return high
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        resolved = _rounding(network, alpha, middle) <= RESOLUTION
        low, high = (middle, high) if resolved else (low, middle)
    return low


def _require_resolved_times(network: Network, alpha: float, lam: float, t: np.ndarray) -> None:
    if lam == 0 or t.size == 0:
        return
    longest = _longest_decay(network, alpha)
    if lam * np.max(t) > longest:
        raise ValueError(
            f"t must be <= {longest / lam:.6g} for lam = {lam!r} and alpha = {alpha!r}: later, "
            f"double precision cannot resolve w of {network!r}; got {np.max(t):g}"
        )


@functools.lru_cache(maxsize=8)
def _table(network: Product, alpha: float) -> np.ndarray:
    """Return a table that reaches as far as w is resolved; it costs some ten milliseconds."""
    reach = MARGIN * math.exp(0.5 * network.depth * _longest_decay(network, alpha))
    starts = alpha * np.sort(np.array(network.scales))
    return mirror_maps.product_table(starts, TABLE_ROWS, reach)


NETWORKS: dict[str, type[Network]] = {n.name: n for n in (Diagonal, Linear, Deep, Product)}


def network_from_config(config: dict[str, Any]) -> Network:
    """Rebuild a network from `Network.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {sorted(NETWORKS)}; got {name!r}")
    try:
        return NETWORKS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters of network {name!r}: {error}") from None
