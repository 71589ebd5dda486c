"""What a network states, and what follows from it.

Under gradient flow in the unit du/dt = -(d/2) dL/du each weight of a diagonal network is a
function of one integrated gradient,

    w(t) = phi(H(t), t),     H(t) = int_0^t c(s) h(s) ds,     D(t) = -d phi / d H >= 0,

with h = (1/delta) X^T (X w - y). A network supplies phi (through a scalar map of
`dmft.solvers.scalar_maps` and its parameters at each time) and the drift factor c for the DMFT;
the potential Psi, Psi'(phi(H, 0)) = -H, whose mirror flow it is at weight decay 0, for the
limits of the flow; and, apart from these and by other formulas, its layers and their velocities
for the direct simulation. With decay phi(H, t) = s phi(H, 0), so that the potential at time t is
s Psi(w/s), with s = exp(-L lam t/2) in depth L >= 2 and exp(-lam t) in linear regression.

Sources: arXiv:2510.01930 (depth 2), arXiv:2412.16765 (products of layers), arXiv:2607.12332
(depth L).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dmft.parameters import Parameters
from dmft.validation import shown

if TYPE_CHECKING:
    from dmft.networks.potential import Potential


class Network(Parameters, ABC):
    """A diagonal network: its mirror map for the theory, its layers for the simulation."""

    mirror_code: ClassVar[int]
    linear: ClassVar[bool] = False  # whether phi is linear in H
    sources: ClassVar[tuple[str, ...]] = ()  # of its equations, by the keys of dmft.citations

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
        """Return the mirror potential at weight decay 0 (see `dmft.networks.potential`)."""

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

    @abstractmethod
    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return the value of each layer at t = 0, shape (L,), the same for all coordinates."""

    @abstractmethod
    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,), of layers, shape (L, d)."""

    @abstractmethod
    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return d layers/dt, shape (L, d), for layers (L, d) and h (d,)."""

    def validate(self, alpha: float, lam: float) -> None:
        """Raise ValueError where double precision cannot follow the network."""
