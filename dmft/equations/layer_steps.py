"""The layers of a network along paths in steps, with their derivatives.

Derivatives are taken along the imaginary axis, where they have no cancellation: one call of the
network gives a value, as the real part, and all its derivatives, from copies that are moved each
in its own variable.
"""

from __future__ import annotations

import numpy as np

from dmft.dynamics.base import Descent
from dmft.problem import Problem

IMAGINARY = 1e-100  # step of a derivative along the imaginary axis


class Walk:
    """The layers (L, d) of d coordinates that train in steps.

    Parameters
    ----------
    problem : Problem
        With dynamics in steps.
    size : int
        Number d of coordinates.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(delta=0.5, dynamics=dmft.GradientDescent(0.1))
    >>> walk = Walk(problem, 1)
    >>> walk.advance(np.array([-1.0]))
    >>> walk.layers.round(3).tolist(), walk.weights().round(3).tolist()
    ([[1.05], [0.95]], [0.1])
    """

    def __init__(self, problem: Problem, size: int) -> None:
        """Stand at the start."""
        descent = problem.dynamics
        assert isinstance(descent, Descent)
        self._network, self._lam, self._descent = problem.mirror, problem.lam, descent
        start = self._network.initial_layers(problem.alpha)
        self.layers = np.repeat(start[:, None], size, axis=1)
        self.seen = self.layers  # where the gradient is taken
        self._change = np.zeros_like(self.layers)

    def weights(self) -> np.ndarray:
        """Return w (d,) where the gradient is taken."""
        return self._network.output_weight(self.seen)

    def readings(self, layers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return w (d,) of layers (L, d), and its derivatives with respect to them (L, d)."""
        count = len(layers)
        w = self._network.output_weight(moved(layers, count)).reshape(count, -1)
        return w[0].real, w.imag / IMAGINARY

    def coupled(self) -> bool:
        """Return whether the velocity of a layer depends on the others."""
        layers = 1.0 + np.arange(1.0, 1 + len(self.seen))[:, None]
        count = len(layers)
        copies = np.ones(count) + 0j
        velocity = self._network.layer_velocity(moved(layers, count), copies, self._lam)
        return bool(np.any(velocity.imag - np.diag(np.diag(velocity.imag))))

    def jacobians(self, h: np.ndarray, coupled: bool) -> np.ndarray:
        """Return d x_{k+1}/d x_k of a step without momentum at gradients h (d,).

        Shape (L, L, d), or (L, 1, d) the diagonal alone of layers that are not coupled.
        """
        count, size = self.seen.shape
        if not coupled:
            velocity = self._network.layer_velocity(self.seen + 1j * IMAGINARY, h, self._lam)
            return 1.0 + (self._descent.step / IMAGINARY) * velocity.imag[:, None]
        copies = np.tile(h, count)
        velocity = self._network.layer_velocity(moved(self.seen, count), copies, self._lam)
        derivatives = velocity.imag.reshape(count, count, size) * (self._descent.step / IMAGINARY)
        derivatives[np.arange(count), np.arange(count)] += 1.0
        return derivatives

    def gain(self) -> float:
        """Return (d x_{k+1}/d h_k)/(d w_k/d x_k), one number as layers follow the gradient of w."""
        layers = self.seen[:, :1]
        nudged = self._network.layer_velocity(layers + 0j, np.array([1j * IMAGINARY]), self._lam)
        _, outputs = self.readings(layers)
        pushes = self._descent.step * nudged.imag / IMAGINARY
        return float(np.sum(pushes * outputs) / np.sum(outputs**2))

    def advance(self, h: np.ndarray) -> None:
        """Take one step at gradients h (d,)."""
        descent = self._descent
        velocity = self._network.layer_velocity(self.seen, h, self._lam)
        self._change = descent.momentum * self._change + descent.step * velocity
        self.layers = self.layers + self._change
        self.seen = self.layers
        if descent.nesterov:
            self.seen = self.layers + descent.momentum * self._change


def responses(problem: Problem, layers: np.ndarray) -> np.ndarray:
    """Return D = -d(dw/dt)/dh, shape (d,), of layers (L, d).

    Examples
    --------
    >>> import dmft
    >>> responses(dmft.Problem(delta=0.5), np.array([[2.0], [1.0]])).tolist()  # (u^2 + v^2)/2
    [2.5]
    """
    network, size = problem.mirror, layers.shape[1]
    nudge = np.full(size, 1j * IMAGINARY)
    velocity = network.layer_velocity(layers + 0j, nudge, problem.lam).imag / IMAGINARY
    w = network.output_weight(moved(layers, len(layers)))
    readings = w.imag.reshape(len(layers), size) / IMAGINARY
    return -np.sum(readings * velocity, axis=0)


def moved(x: np.ndarray, copies: int) -> np.ndarray:
    """Return copies of x (L, d), side by side, copy l with layer l moved along i, (L, copies d).

    Examples
    --------
    >>> (moved(np.ones((2, 1)), 2).imag / IMAGINARY).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    layers, size = x.shape
    result = np.empty((layers, copies, size), dtype=complex)
    result[:] = x[:, None]
    for layer in range(layers):
        result[layer, layer] += 1j * IMAGINARY
    return result.reshape(layers, copies * size)
