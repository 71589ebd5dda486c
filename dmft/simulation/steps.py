"""Training in steps at finite dimension, by the layers themselves.

    u_{k+1} = u_k + step velocity(u_k, h_k) + momentum (u_k - u_{k-1}),
    h_k = (d/n) X^T S_k (X w_k - y - zeta_k),

with the batch's weights in S_k and fresh label noise zeta_k for each sample of the batch. Nothing
here is taken from the mean-field side: batches are drawn and rows of X multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dmft.dynamics.base import Descent
from dmft.problem import Problem
from dmft.simulation.data import Data

BLOCK = 2**17  # entries of X multiplied twice while they are in the cache, 1 MB

Batch = tuple[np.ndarray, float]


def descend(
    problem: Problem, data: Data, t: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Return the weights (T, d) before the steps at the times `t` (T,), and the number of steps."""
    descent, network = problem.dynamics, problem.mirror
    assert isinstance(descent, Descent)
    steps = descent.steps_of(t)
    gradient = _fresh_gradient if descent.sampling == "one_pass" else _batch_gradient
    h_of = gradient(problem, data, descent, rng)
    layers = data.layers(problem)
    change = np.zeros_like(layers)
    weights: list[np.ndarray] = []
    for k in range(steps[-1] + 1):
        if k == steps[len(weights)]:
            weights.append(network.output_weight(layers))
        inertia = descent.momentum * change
        at = layers + inertia if descent.nesterov else layers
        h = h_of(network.output_weight(at))
        change = descent.step * network.layer_velocity(at, h, problem.lam) + inertia
        layers = layers + change
    return np.stack(weights), int(steps[-1])


def _batch_gradient(
    problem: Problem, data: Data, descent: Descent, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that gives h_k of w_k, (d,), and draws a batch at each call."""
    n, d = data.X.shape
    batches = _batches(n, descent, rng)
    rows = max(1, BLOCK // d)
    deviation = np.sqrt(descent.label_noise)

    def gradient(w: np.ndarray) -> np.ndarray:
        batch, weight = next(batches)
        h = np.zeros(d)
        for first in range(0, len(batch), rows):
            part = batch[first : first + rows]
            # all samples in their order need no copy
            X = data.X[first : first + rows] if len(batch) == n and weight == 1 else data.X[part]
            residual = X @ w - data.y[part]
            if deviation:
                residual -= deviation * rng.standard_normal(len(part))
            h += residual @ X
        return h * (weight * d / n)

    return gradient


def _fresh_gradient(
    problem: Problem, data: Data, descent: Descent, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that gives h_k of w_k from fresh Gaussian samples at each call."""
    n, d = data.X.shape
    size = max(1, round(descent.batch * n))
    rows = max(1, BLOCK // d)
    deviation = np.sqrt(problem.sigma2 + descent.label_noise)

    def gradient(w: np.ndarray) -> np.ndarray:
        h, theta = np.zeros(d), w - data.w_star
        for first in range(0, size, rows):
            count = min(rows, size - first)
            X = rng.standard_normal((count, d))  # of d times the variance
            residual = X @ theta / np.sqrt(d) - deviation * rng.standard_normal(count)
            h += residual @ X
        return h * (np.sqrt(d) / size)

    return gradient


def _batches(n: int, descent: Descent, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield the indices of each step's batch, and what its samples weigh."""
    sampling, share = descent.sampling, descent.batch
    everything = np.arange(n)
    size = max(1, round(share * n))
    order = everything
    while True:
        if share == 1.0 and sampling != "with_replacement":
            yield everything, 1.0
        elif sampling == "bernoulli":
            yield np.flatnonzero(rng.random(n) < share), 1.0 / share
        elif sampling == "without_replacement":
            yield rng.choice(n, size, replace=False, shuffle=False), n / size
        elif sampling == "with_replacement":
            yield rng.integers(0, n, size), n / size
        else:
            if sampling == "reshuffle" or order is everything:
                order = rng.permutation(n)
            parts = np.array_split(order, max(1, round(1 / share)))
            for part in parts:
                yield part, float(len(parts))
