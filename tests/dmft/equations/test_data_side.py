"""The data side against gradient descent for linear regression, which is exactly solvable.

With F the Marchenko-Pastur law of X^T X/delta and steps of size eta from w = 0,

    R_w[k, j] = -eta int (1 - eta x)^(k-1-j) dF,
    R_r[k, j] = 1_kj - (eta/delta) int x (1 - eta x)^(k-1-j) dF                     (j < k),
    C_w[k, l] = E[w*^2] int q^(k+l) dF + (sigma2/delta) int (1 - q^k)(1 - q^l)/x dF,
    C_r[k, l] = E[w*^2] int x q^(k+l) dF + sigma2 [1 - (1 - int q^(k+l) dF)/delta],

q = 1 - eta x: two sides of one model, of which `data_side` gives the second from the first.
"""

import numpy as np
import pytest

from dmft.equations.data_side import Integration, build_kernels, data_side, solve_residual
from dmft.solvers.collocation import Grid

STEPS, ETA, POWER, NOISE = 12, 0.2, 0.7, 0.3


def spectrum(delta):
    """Nodes and weights for integrals over F without its atom at 0, whose mass is 1 - delta."""
    centre, radius, count = 1 + 1 / delta, 2 / np.sqrt(delta), 400
    angle = np.pi * np.arange(1, count + 1) / (count + 1)
    x = centre + radius * np.cos(angle)
    return x, 0.5 * delta * radius**2 * np.sin(angle) ** 2 / (count + 1) / x


def descent(delta):
    """R_w, R_r, C_w and C_r of gradient descent, each of shape (STEPS + 1, STEPS + 1)."""
    x, weights = spectrum(delta)
    atom = max(1 - delta, 0.0)
    k = np.arange(STEPS + 1)
    lag, total = k[:, None] - k - 1, k[:, None] + k
    powers = (1 - ETA * x) ** np.arange(2 * STEPS + 1)[:, None]
    mean, first = powers @ weights + atom, powers @ (x * weights)
    back = np.maximum(lag, 0)
    R_w = np.where(lag >= 0, -ETA * mean[back], 0.0)
    R_r = np.where(lag >= 0, -ETA / delta * first[back], 0.0) + np.eye(STEPS + 1)
    lost = 1 - powers[: STEPS + 1]
    C_w = POWER * mean[total] + NOISE / delta * (lost * (weights / x)) @ lost.T
    C_r = POWER * first[total] + NOISE * (1 - (1 - mean[total]) / delta)
    return R_w, R_r, C_w, C_r


@pytest.mark.parametrize("delta", [0.4, 3.0])
def test_gives_the_residual_of_gradient_descent(delta):
    R_w, R_r, C_w, C_r = descent(delta)
    side = data_side(R_w, C_w, NOISE, 1 / delta)
    np.testing.assert_allclose(side.R_r, R_r, rtol=0, atol=1e-12)
    np.testing.assert_allclose(side.C_r, C_r, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(side.K, side.R_r)
    np.testing.assert_allclose(side.C_G, C_r / delta, rtol=0, atol=1e-11)


def test_the_compiled_form_on_a_grid_is_the_same():
    rng = np.random.default_rng(5)
    grid = Grid(np.array([0.0, 0.3, 1.0, 2.5, 7.0]), 5)
    size, p = grid.size, grid.stages
    blocks = np.kron(np.tril(np.ones((grid.panels, grid.panels))), np.ones((p, p)))
    A = np.eye(size) + 0.1 * blocks * rng.standard_normal((size, size))
    S = grid.integration * np.exp(-0.1 * grid.nodes)
    root = rng.standard_normal((size + 1, 4))
    C_w = root @ root.T
    residual = solve_residual(A, Integration.of(S), C_w, NOISE, 2.5, p)
    kernels = build_kernels(residual)
    plain = data_side(-A @ S, C_w[1:, 1:], NOISE, 2.5, S)
    found = (residual.R_r, residual.C_r[1:, 1:], kernels.K, kernels.C_G)
    for name, one, other in zip(plain._fields, found, plain, strict=True):
        np.testing.assert_allclose(
            one, other, rtol=0, atol=1e-11 * abs(other).max(), err_msg=f"{name}, seed 5"
        )
    np.testing.assert_allclose(residual.variance, np.diag(residual.C_r), rtol=1e-11)
    assert residual.C_r[0, 0] == C_w[0, 0] + NOISE
