"""What a network's layers say, and the mirror potential that follows from it alone.

While h stays at one value and there is no decay, the layers of every coordinate follow one curve in
the integrated gradient. Gradient flow in the unit du/dt = -(d/2) dL/du moves them by
v = -(1/2) dw/dlayers for each unit of H, so that

    psi = -H,     D = dw/dpsi = 2 |v|^2,     d|layers|^2/dpsi = L w

for weights that are homogeneous of degree L. `LayerFlow` integrates this curve numerically, so a
network need not know it in closed form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from dmft.networks.potential import Curve, Potential

# Relative accuracy of a step. The potentials of diagonal, deep (3 and 6 layers) and product
# networks from alpha 0.03 and 3 then agree with closed forms to 1e-7, which a test holds them to,
# for |w| from 1e-3 to 1e25.
ACCURACY = 1e-12
SPACING = 0.25  # of the y among which the smallest D is sought; its bracket then is unique
# Size of a layer over alpha, or of psi, at which the curve is left: decay divides weights by up to
# 1e130 in the times that are resolved (`dmft.networks.precision`), layers by less.
REACH = 1e100
IMAGINARY = 1e-100  # step of a derivative along the imaginary axis, which has no cancellation
AGREEMENT = 1e-6  # relative, of derivatives that a network states with those of its own weight


class Layered(Protocol):
    """A network as seen from its layers.

    Examples
    --------
    >>> import dmft
    >>> dmft.Deep(3).depth
    3
    """

    def __hash__(self) -> int:
        """Potentials and tables are kept by network."""

    @property
    def depth(self) -> int:
        """Degree L of w in the layers."""

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return the layers at t = 0, shape (n,)."""

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w (d,) of layers (n, d)."""

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return d layers/dt (n, d)."""


class LayerFlow(Potential):
    """The mirror potential of a network, from a numerical solution of its layers' flow.

    The variable y grows by one where the velocity of the layers, or else psi, changes by a share
    of order one: dy/dpsi = sqrt(|dv/dpsi|^2/|v|^2 + 1/(1 + psi^2)).

    Raises
    ------
    ValueError
        If the layers' velocity is not half the gradient of w, or w not homogeneous of degree L.

    Examples
    --------
    >>> from dmft.networks.diagonal import Diagonal
    >>> psi = LayerFlow(Diagonal(), 0.5).gradient(np.array([0.0, 1.0]))
    >>> bool(np.allclose(psi, np.arcsinh([0.0, 1.0 / 0.5**2]), atol=1e-10))
    True
    """

    def __init__(self, network: Layered, alpha: float) -> None:
        """Prepare the curve on both sides of the start, and find its narrowest point."""
        self._network, self._unit = network, alpha
        self._start = np.asarray(network.initial_layers(alpha), dtype=float)
        require_gradient_flow(network, self._start)
        state = np.concatenate([self._start / alpha, [0.0]])
        self._sides = tuple(_Side(self._slope, state, sign) for sign in (-1.0, 1.0))
        self._centre = 0.0
        self._centre = self._narrowest()

    def _narrowest(self) -> float:
        """Return the y, counted from the start, at which D is smallest; 0 if D falls for ever."""
        from scipy.optimize import minimize_scalar

        def size(y: float) -> float:
            return float(np.log(self.curve(np.array([y])).hessian_inverse[0]))

        for reach in (4.0, 16.0, 64.0):
            y = np.arange(-reach, reach + SPACING, SPACING)
            k = int(np.argmin(self.curve(y).hessian_inverse))
            if 0 < k < y.size - 1:
                around = (y[k - 1], y[k], y[k + 1])
                return float(minimize_scalar(size, bracket=around, tol=1e-9).x)
        return 0.0

    def _velocity(self, layers: np.ndarray) -> np.ndarray:
        """Return d layers/dpsi, shape of `layers` (n, M)."""
        return -self._network.layer_velocity(layers, np.ones(layers.shape[1]), 0.0)

    def _slope(self, y: float, state: np.ndarray) -> np.ndarray:
        """Return d(layers/alpha, psi)/dy."""
        layers, psi = self._unit * state[:-1, None], state[-1]
        v = self._velocity(layers)
        bend = self._velocity(layers + 1j * IMAGINARY * v).imag / IMAGINARY
        psi_y = _spacing(v, bend, np.array([psi]))
        return np.concatenate([v[:, 0] / self._unit, [1.0]]) * psi_y

    def _state(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return layers (n, M) and psi (M,) at y (M,)."""
        y = y + self._centre
        state = np.empty((self._start.size + 1, y.size))
        for side, there in zip(self._sides, (y < 0, y >= 0), strict=True):
            if there.any():
                state[:, there] = side.at(np.abs(y[there]))
        return self._unit * state[:-1], state[-1]

    def curve(self, y: np.ndarray) -> Curve:
        """Return the points at `y`."""
        y = np.asarray(y, dtype=float)
        layers, psi = self._state(y.ravel())
        v = self._velocity(layers)
        bend = self._velocity(layers + 1j * IMAGINARY * v).imag / IMAGINARY
        psi_y = _spacing(v, bend, psi)
        w_y = 2.0 * np.sum(v**2, axis=0) * psi_y
        w = self._network.output_weight(layers)
        return Curve(*(part.reshape(y.shape) for part in (w, psi, w_y, psi_y)))

    def conjugate(self, y: np.ndarray) -> np.ndarray:
        """Return (|layers|^2 - |layers(0)|^2)/L, shape of `y`."""
        y = np.asarray(y, dtype=float)
        layers, _ = self._state(y.ravel())
        start = self._start[:, None]
        growth = np.sum((layers - start) * (layers + start), axis=0) / self._network.depth
        return growth.reshape(y.shape)


class _Side:
    """The curve on one side of the start, integrated as far as has been asked for."""

    def __init__(self, slope: Callable[..., Any], state: np.ndarray, sign: float) -> None:
        from scipy.integrate import DOP853

        self._solver: Any = DOP853(
            lambda y, state: sign * slope(y, state),
            0.0,
            state,
            np.inf,
            rtol=ACCURACY,
            atol=ACCURACY,
        )
        self._ends, self._pieces = [0.0], []  # type: ignore[var-annotated]

    def at(self, y: np.ndarray) -> np.ndarray:
        """Return the states at y >= 0 (M,), shape (n + 1, M)."""
        from scipy.integrate import OdeSolution

        while self._ends[-1] <= y.max():
            self._solver.step()
            if self._solver.status != "running" or np.abs(self._solver.y).max() > REACH:
                raise ValueError("w must be nearer to its start: its curve was left at 1e100")
            self._ends.append(self._solver.t)
            self._pieces.append(self._solver.dense_output())
        return OdeSolution(self._ends, self._pieces)(y)


def _spacing(v: np.ndarray, bend: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Return dpsi/dy (M,) where the layers' velocity v (n, M) changes at the rate `bend`."""
    rates = np.linalg.norm(bend, axis=0) / np.linalg.norm(v, axis=0)
    return 1.0 / np.hypot(rates, 1.0 / np.hypot(1.0, psi))


@lru_cache(maxsize=32)
def layer_flow(network: Layered, alpha: float) -> LayerFlow:
    """Return the potential of a network at a start, kept for later calls.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> layer_flow(Deep(3), 1.0) is layer_flow(Deep(3), 1.0)
    True
    """
    return LayerFlow(network, alpha)


def require_gradient_flow(network: Layered, start: np.ndarray) -> None:
    """Raise ValueError unless the layers follow half the gradient of a homogeneous weight.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> require_gradient_flow(Deep(3), np.ones(2))
    """
    layers = np.random.default_rng(0).uniform(0.5, 1.5, (start.size, 1))
    w = network.output_weight(layers)
    scaled = network.output_weight(2.0 * layers)
    if not np.allclose(scaled, 2.0**network.depth * w, rtol=AGREEMENT):
        raise ValueError(
            f"depth must be the degree of w in the layers: twice the layers give "
            f"{float((scaled / w)[0]):g} w, not 2^{network.depth} w, for {network!r}"
        )
    velocity = network.layer_velocity(layers, np.ones(1), 0.0)
    for j in range(start.size):
        moved = layers.astype(complex)
        moved[j] += 1j * IMAGINARY
        half = -0.5 * network.output_weight(moved).imag / IMAGINARY
        if not np.allclose(velocity[j], half, rtol=AGREEMENT):
            raise ValueError(
                f"layer_velocity must be -(h dw/du + lam u)/2: for layer {j} of {network!r} it is "
                f"{float(velocity[j, 0]):g} where -dw/du/2 is {float(half[0]):g}"
            )
