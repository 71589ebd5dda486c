"""What a network states, and what follows from it.

Under gradient flow in the unit du/dt = -(d/2) dL/du each weight of a diagonal network is a
function of one integrated gradient,

    w(t) = phi(H(t), t),     H(t) = int_0^t c(s) h(s) ds,     D(t) = -d phi / d H >= 0,

with h = (1/delta) X^T (X w - y). A network states its layers: their start, the weight that they
give and their velocities. That is all that the direct simulation and training in steps need. For
the mean-field theory w must be homogeneous of a degree L >= 2 in the layers: then decay only
rescales,

    phi(H, t) = s phi(H, 0),     s = exp(-L lam t/2),     c = exp(-(L-2) lam t/2),

and phi(H, 0) is the inverse of the derivative of a mirror potential, Psi'(phi(H, 0)) = -H, which
`dmft.networks.layers` finds from the layers. From it the map's table is made. What a network knows
in closed form it states in place of these: its potential, for accuracy, and a compiled map of
`dmft.solvers.map_codes`, for speed.

Sources: arXiv:2510.01930 (depth 2), arXiv:2412.16765 (products of layers), arXiv:2607.12332
(depth L).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from dmft.networks.layers import layer_flow
from dmft.networks.potential import Potential
from dmft.networks.precision import require_resolved_start, require_resolved_times
from dmft.networks.table import mirror_table
from dmft.parameters import Parameters
from dmft.solvers import map_codes
from dmft.validation import shown


class Network(Parameters, ABC):
    """A diagonal network: a frozen dataclass that states its layers.

    What is given here for the mean-field theory holds for every w that is homogeneous of degree
    `depth` in layers that follow its gradient.

    Examples
    --------
    A network that is new to this package, w = u^2 v from v(0) = 0:

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Squared(Network):
    ...     name = "squared"
    ...     depth = 3
    ...     def initial_layers(self, alpha):
    ...         return np.array([alpha, 0.0])
    ...     def output_weight(self, layers):
    ...         u, v = layers
    ...         return u**2 * v
    ...     def layer_velocity(self, layers, h, lam):
    ...         u, v = layers
    ...         return -0.5 * np.stack([2 * h * u * v + lam * u, h * u**2 + lam * v])
    >>> w = Squared().weight(alpha=1.0, lam=0.0, H=np.array([[0.0], [-1.0]]), t=np.zeros(1))
    >>> [round(float(x), 6) for x in w[:, 0]]  # -tan(H/sqrt 2)/(sqrt 2 cos(H/sqrt 2)^2)
    [0.0, 1.045432]
    """

    mirror_code: ClassVar[int] = map_codes.TABLE
    linear: ClassVar[bool] = False  # whether phi is linear in H
    sources: ClassVar[tuple[str, ...]] = ()  # of its equations, by the keys of dmft.citations
    mirror_under_noise: ClassVar[bool] = False  # whether white noise leaves a map of H, `clock`
    layers_keep_sign: ClassVar[bool] = False  # whether du/dt is u times a function, for all layers

    @property
    @abstractmethod
    def depth(self) -> int:
        """Number L of layers that w multiplies: its degree in them."""

    @property
    def odd(self) -> bool:
        """Whether phi(-H) = -phi(H), of which paths of opposite sign may make use."""
        return False

    @property
    def changes_sign(self) -> bool:
        """Whether w takes every real value; otherwise w > 0 at all times."""
        return True

    @property
    def pair_scales(self) -> tuple[float, float] | None:
        """u(0)/alpha and v(0)/alpha where w = (u^2 - v^2)/2 in some u and v, or None."""
        return None

    @property
    def paired_depth(self) -> int | None:
        """L where w = (u^L - v^L)/L in layers u, v > 0, which is compiled; None elsewhere."""
        return None

    @abstractmethod
    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return the value of each layer at t = 0, shape (n,), the same for all coordinates."""

    @abstractmethod
    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,), of layers, shape (n, d), real or complex."""

    @abstractmethod
    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return d layers/dt = -(h dw/dlayers + lam layers)/2, shape (n, d).

        Layers (n, d) and h (d,) are real or complex: derivatives are taken along the imaginary
        axis.
        """

    def from_start(self, start: tuple[float, ...]) -> Network | None:
        """Return the network from layers at alpha `start`, or None where no closed form is known.

        There is a number for each layer; see `dmft.networks.starts`.
        """
        return None

    def mirror_parameters(self, alpha: float, lam: float, t: np.ndarray) -> np.ndarray:
        """Return the parameters of phi at the times `t` (N,), shape (N, P)."""
        t = np.asarray(t)
        require_resolved_times(self, alpha, lam, t)
        return np.exp(-0.5 * self.depth * lam * t)[:, None]

    def mirror_table(self, alpha: float) -> np.ndarray:
        """Return the table that phi interpolates, shape (J, 3); empty where phi is explicit."""
        if self.mirror_code != map_codes.TABLE:
            return np.empty((0, 3))
        return mirror_table(self, alpha)

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return c(t), shape (N,), the factor of h in H."""
        return np.exp(-0.5 * (self.depth - 2) * lam * np.asarray(t))

    def clock(self, lam: float, t: np.ndarray, decay: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the weight decay and the times at which phi is what white noise makes of it.

        `decay` (N,) is the integrated rate of the white noise in h up to the times `t`. Only
        networks with `mirror_under_noise` state it.
        """
        raise NotImplementedError

    def initial_weight(self, alpha: float) -> float:
        """Return w(0)."""
        return float(self.output_weight(self.initial_layers(alpha)[:, None])[0])

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

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the mirror potential at weight decay 0 (see `dmft.networks.potential`)."""
        return layer_flow(self, alpha)

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
            raise ValueError(f"w must be finite; got {shown(w)}")
        if not self.changes_sign and np.any(weights <= 0):
            raise ValueError(f"w must be > 0 for {self!r}, which cannot reach 0; got {shown(w)}")
        return weights

    def _mirror(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        from dmft.solvers import scalar_maps  # numba is imported only when it is needed

        t = np.atleast_1d(np.asarray(t, dtype=float))
        H = np.asarray(H, dtype=float)
        flat = np.ascontiguousarray(np.broadcast_to(H, np.broadcast_shapes(H.shape, t.shape)))
        parameters = self.mirror_parameters(alpha, lam, t)
        w, D = scalar_maps.evaluate(
            self.mirror_code, flat.reshape(-1, t.size), parameters, self.mirror_table(alpha)
        )
        return w.reshape(flat.shape), D.reshape(flat.shape)

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot follow the network."""
        require_resolved_start(self, alpha)
