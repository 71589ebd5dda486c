"""Direct simulation of the gradient flow at finite dimension d, without any mean-field theory.

For each seed draw X (n, d) with independent entries of variance 1/d, w* and xi, and integrate the
layers of the network by their own gradient flow in the unit du/dt = -(d/2) dL/du,

    d layers/dt = velocity(layers, h, lam),     h = (d/n) X^T (X w - y),

which uses the network's layers only, nothing of its mirror map. Layers that multiply their own
velocity (u' proportional to u) are followed through their logarithms, so that a start of 1e-8 costs
no accuracy; others as they are, with an error relative to the largest layer of the coordinate.

The factor in h is d/n with the integer n = round(delta d), not 1/delta: it is the gradient of the
loss |y - X w|^2/(2 n) itself and keeps E[h] = w - w* at t = 0 exact, where 1/delta would be off by
the rounding of n. What remains is the solution at delta = n/d and effects of order 1/d.

The Jacobian in stiff stretches is a block-diagonal part plus one of rank min(n, d), since
velocities couple coordinates through h alone. With F = velocity, B = dF/dlayers, g = dF/dh,
k = dw/dlayers and Y^T Y = (d/n) X^T X,

    (shift - J)^(-1) b = q + M g Y^T p,    M = (shift - B)^(-1),    q = M b,
    (I + Y D Y^T) p = Y (k.q),             D = -k.M g,

a symmetric positive definite system of size min(n, d).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dmft.networks.base import Network
from dmft.problem import Problem
from dmft.simulation.data import Data
from dmft.solvers import paired_layers
from dmft.solvers.ode_system import stages_of
from dmft.solvers.paired_layers import LOWEST, padded

# Errors are relative to |w - w*| and |y - X w|, but to this part of their scale once they vanish.
FLOOR = 1e-6
LOCAL = 0.1  # error permitted in one step, over rtol: the errors of many steps add up
ROUNDING = 10 * np.finfo(float).eps
# What a stiff integration costs, in evaluations of the velocity, with m rows of Y: STIFF_STEPS +
# STIFF_ROWS m. In the stiff regimes of `benchmarks/regimes.py` it takes as long as 7000 to 15000
# evaluations at m = 250; explicit steps are counted at their present length, which grows as the
# layers decay.
STIFF_STEPS, STIFF_ROWS = 6000.0, 20.0
# The norm of Y is found to this accuracy, in at most so many products.
NORM_RTOL, NORM_PRODUCTS = 3e-2, 30
TINY = 1e-300
IMAGINARY = 1e-100  # step of the derivatives along the imaginary axis, which have no cancellation
TOLERATED = 1e-8  # difference of two ways to one velocity, far above rounding


class Flow:
    """The gradient flow of one draw, as the system that `dmft.solvers.stiff_ode` integrates.

    Its state z holds the layers (L, d), or their logarithms where each layer's velocity is
    proportional to the layer. With Y^T Y = X^T X/delta and Y^T b = X^T y/delta, delta = n/d,
    h = Y^T (Y w - b); Y has min(n, d) rows.
    """

    def __init__(self, problem: Problem, data: Data, rtol: float) -> None:
        """Prepare the flow from the start of the layers."""
        n, d = data.X.shape
        self.network: Network = problem.mirror
        self.lam, self.w_star, self.tolerance = problem.lam, data.w_star, LOCAL * rtol
        self.logarithmic = self.network.layers_keep_sign
        self.Y, self.b = data.X / np.sqrt(n / d), data.y / np.sqrt(n / d)
        self.outside = 0.0  # |part of b that no w can fit|^2
        if n > d:
            R: Any = np.linalg.qr(np.column_stack([self.Y, self.b]), mode="r")
            self.Y, self.b = np.ascontiguousarray(R[:d, :d]), R[:d, d].copy()
            self.outside = float(R[d, d] ** 2)
        self.padded, self.triangular = padded(self.Y), n > d
        self.norm = _norm(self.Y)
        # stiff integrations take some hundreds of steps and some tens of factorisations
        self.stiff_cost = STIFF_STEPS + STIFF_ROWS * len(self.b)
        layers = data.layers(problem)
        self.start = np.log(layers) if self.logarithmic else layers
        self.depth = self._compiled_depth()
        weight = self.network.output_weight(layers)
        self.scale = float(sum(map(np.linalg.norm, (data.w_star, weight, data.y))))

    def layers(self, z: np.ndarray) -> np.ndarray:
        """Return the layers of a state."""
        if not self.logarithmic:
            return z
        layers = np.maximum(z, LOWEST)
        return np.exp(layers, out=layers)

    def velocity(self, z: np.ndarray) -> np.ndarray:
        """Return dz/dt."""
        x = self.layers(z)
        v = self.network.layer_velocity(x, self._gradient(x), self.lam)
        if self.logarithmic:
            v /= x
        return v

    def set_stages(
        self, z: np.ndarray, K: np.ndarray, tableau: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Fill in the velocities of an explicit step's stages and return its last two states."""
        if self.depth is None:
            return stages_of(self.velocity, z, K, tableau)
        return self._compiled_stages(z, K, tableau)

    def _compiled_stages(
        self, z: np.ndarray, K: np.ndarray, tableau: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        paired = (self.padded, self.triangular, self.b, self.lam, self.depth)
        return paired_layers.set_stages(z, K, tableau, *paired)

    def _compiled_depth(self) -> int | None:
        """Return L where compiled code has the velocity that the network states, else None.

        A class that inherits from such a network may state another one: it is tried once.
        """
        depth = self.depth = self.network.paired_depth
        if depth is None:
            return None
        z = self.start + np.array([[0.1], [-0.2]])
        K = np.zeros((2, *z.shape))
        self._compiled_stages(z, K, np.zeros((2, 2)))
        stated = self.velocity(z)
        scale = TOLERATED * (1 + np.abs(stated).max())
        return depth if np.max(np.abs(K[1] - stated)) <= scale else None

    def linearise(self, z: np.ndarray) -> _Jacobian:
        """Return the Jacobian of the velocity at z."""
        x, network = self.layers(z), self.network
        h = self._gradient(x)
        g = network.layer_velocity(x + 0j, h + 1j * IMAGINARY, self.lam).imag / IMAGINARY
        k = self._weight_derivative(x)
        B = np.stack(
            [network.layer_velocity(p, h, self.lam).imag / IMAGINARY for p in _perturbed(x)], axis=1
        )
        if self.logarithmic:  # the same in log x: d(v/x)/d log x = (dv/dx) x/x - v/x
            own = network.layer_velocity(x, h, self.lam) / x
            B = B * (x[None, :] / x[:, None]) - np.eye(len(x))[:, :, None] * own
            g, k = g / x, k * x
        return _Jacobian(self.Y, self.norm, B, g, k)

    def measure(self, z: np.ndarray) -> Callable[[np.ndarray], float]:
        """Return the function that gives the size of a defect near z, over the permitted one.

        It is the largest of the relative errors of |w - w*|, of |y - X w| and, since layers
        amplify them, of the layers themselves, each relative to the largest of its coordinate.
        """
        x = self.layers(z)
        w = self.network.output_weight(x)
        k = self._weight_derivative(x)
        kx = k * x
        rounding = ROUNDING / self.tolerance * math.sqrt(len(x)) * _length(kx.ravel())
        floor = FLOOR * self.scale + rounding + TINY
        residual = self.Y @ w - self.b
        errors = _length(w - self.w_star) + floor
        residuals = math.sqrt(float(residual @ residual) + self.outside) + self.norm * floor
        largest = np.maximum(np.abs(x).max(axis=0), TINY)
        relative = x / largest if self.logarithmic else 1.0 / largest
        k = kx if self.logarithmic else k

        def size(defect: np.ndarray) -> float:
            change = np.einsum("ld,ld->d", k, defect)
            parts: list[float] = [_length(change) / errors, _length(self.Y @ change) / residuals]
            if len(x) > 1:
                parts.append(_length((relative * defect).ravel()) / math.sqrt(len(change)))
            # numpy's maximum keeps what is not a number
            return float(np.max(parts)) / self.tolerance

        return size

    def metric(self, z: np.ndarray) -> np.ndarray | float:
        """Return the layers where z holds their logarithms, else 1.

        The layers follow a gradient, whose derivative is symmetric, but for weights on the layers;
        a change of the logarithms times the layers is one of the layers.
        """
        return self.layers(z) if self.logarithmic else 1.0

    def _gradient(self, x: np.ndarray) -> np.ndarray:
        return self.Y.T @ (self.Y @ self.network.output_weight(x) - self.b)

    def _weight_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return dw/dlayers, shape (L, d)."""
        if self.depth is not None:
            u, v = x if self.depth == 2 else x ** (self.depth - 1)
            return np.array([u, -v])
        return np.array([self.network.output_weight(p).imag / IMAGINARY for p in _perturbed(x)])


class _Jacobian:
    """J = B + g Y^T Y k^T with blocks B (L, L, d), vectors g, k (L, d) and Y (m, d)."""

    def __init__(
        self, Y: np.ndarray, norm: float, B: np.ndarray, g: np.ndarray, k: np.ndarray
    ) -> None:
        self.Y, self.B, self.g, self.k = Y, B, g, k
        coupling = np.max(-np.sum(k * g, axis=0))
        self.rate = float(norm**2 * coupling + np.max(np.sum(np.abs(B), axis=1)))

    def solver(self, shift: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return b -> (shift - J)^(-1) b; LinAlgError where the shift is inside the spectrum."""
        from scipy.linalg import blas, cho_factor, cho_solve

        Y, k = self.Y, self.k
        blocks = shift * np.eye(len(k)) - np.moveaxis(self.B, -1, 0)
        M = np.moveaxis(np.linalg.inv(blocks), 0, -1).copy()
        Mg = np.einsum("lmd,md->ld", M, self.g)
        D = -np.sum(k * Mg, axis=0)
        if not np.min(D) >= -1e-10 * np.max(D):
            raise np.linalg.LinAlgError("the shift is inside the spectrum")
        # dsyrk fills one triangle, half the work of a product; cho_factor reads the same one
        gram = blas.dsyrk(1.0, (Y * np.sqrt(np.maximum(D, 0.0))).T, trans=1)
        gram[np.diag_indices_from(gram)] += 1.0
        factor = cho_factor(gram, overwrite_a=True, check_finite=False)

        def solve(b: np.ndarray) -> np.ndarray:
            q = np.einsum("lmd,md->ld", M, b)
            p = cho_solve(factor, Y @ np.sum(k * q, axis=0), check_finite=False)
            return q + Mg * (Y.T @ p)

        return solve


def _length(vector: np.ndarray) -> float:
    """Return the Euclidean norm of a vector (N,)."""
    return math.sqrt(float(vector @ vector))


def _norm(Y: np.ndarray) -> float:
    """Return the largest singular value of Y by power iteration."""
    start = np.random.default_rng(0).standard_normal((Y.shape[1],))
    unit, square = start / _length(start), 0.0
    for _ in range(NORM_PRODUCTS):
        product = Y.T @ (Y @ unit)
        last, square = square, _length(product)
        if square - last <= NORM_RTOL * square:
            break
        unit = product / square
    return math.sqrt(square)


def _perturbed(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield x with one layer after the other moved along the imaginary axis."""
    for layer in range(len(x)):
        point = x + 0j
        point[layer] += 1j * IMAGINARY
        yield point
