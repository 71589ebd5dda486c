"""Steady states against the minimisers of finite systems."""

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import norm

from dmft.limits.mixture import Mixture
from dmft.limits.state_evolution import SoftThreshold
from dmft.limits.steady_states import steady_state
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Gaussian


def draw(problem, d, seed):
    rng = np.random.default_rng(seed)
    n = round(problem.delta * d)
    X = rng.standard_normal((n, d)) / math.sqrt(d)
    target = problem.signal.sample(rng, d)
    return X, target, X @ target + math.sqrt(problem.sigma2) * rng.standard_normal(n)


def assert_within_errors(samples, expected, power=0.05):
    samples = np.array(samples)
    error = samples.std(ddof=1) / math.sqrt(samples.size)
    assert error < power * abs(expected)  # the comparison must be able to fail
    assert abs(samples.mean() - expected) < 4 * error


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_lasso_agrees_with_sklearn(delta):
    from sklearn.linear_model import Lasso

    problem = Problem(delta, 1.0, 0.1, 0.1)
    state = steady_state(problem)
    d, tests, trains, densities = 1000, [], [], []
    for seed in range(8):
        X, target, y = draw(problem, d, seed)
        model = Lasso(alpha=problem.lam / d, fit_intercept=False, tol=1e-5, max_iter=20000)
        w = model.fit(X, y).coef_
        tests.append(np.sum((w - target) ** 2) / (2 * d))
        trains.append(np.sum((y - X @ w) ** 2) / (2 * y.size))
        densities.append(np.mean(w != 0))
    assert_within_errors(tests, state.test_error)
    assert_within_errors(trains, state.train_error)
    assert_within_errors(densities, state.density)


def interpolate(X, y, weight_and_slope):
    """Least-potential interpolator by damped Newton on the dual: psi(w) = X^T nu."""
    nu = np.zeros(y.size)
    w, D = weight_and_slope(X.T @ nu)
    for _ in range(200):
        residual = y - X @ w
        if np.abs(residual).max() < 1e-10:
            return w
        step = np.linalg.solve((X * D) @ X.T, residual)
        size = 1.0
        while True:
            with np.errstate(all="ignore"):
                trial, D_trial = weight_and_slope(X.T @ (nu + size * step))
                norm_trial = np.linalg.norm(y - X @ trial)
            if norm_trial < (1 - 0.1 * size) * np.linalg.norm(residual):
                break
            size *= 0.5
        nu, w, D = nu + size * step, trial, D_trial
    raise AssertionError("the dual Newton iteration did not converge")


def hyperbolic(alpha, su, sv):
    def map_(q):
        u2, v2 = (alpha * su) ** 2 * np.exp(q), (alpha * sv) ** 2 * np.exp(-q)
        return (u2 - v2) / 2, (u2 + v2) / 2

    return map_


def deep(alpha, L):
    def map_(q):
        u = (alpha ** (2 - L) - (L - 2) * q / 2) ** (-1 / (L - 2))
        v = (alpha ** (2 - L) + (L - 2) * q / 2) ** (-1 / (L - 2))
        power = 2 * L - 2
        return (u**L - v**L) / L, (u**power + v**power) / 2

    return map_


@pytest.mark.parametrize(
    ("problem", "map_"),
    [
        (Problem(0.5, 0.5, 0.0, 0.1), hyperbolic(0.5, 1, 1)),
        (Problem(0.5, 0.5, 0.0, 0.1, network=Diagonal(1.5, 0.5)), hyperbolic(0.5, 1.5, 0.5)),
        (Problem(0.6, 0.5, 0.0, 0.1, network=Deep(3)), deep(0.5, 3)),
        (Problem(0.4, 0.6, 0.0, 0.1, Gaussian(0.5, 0.5), Deep(4)), deep(0.6, 4)),
    ],
)
def test_interpolators_agree_with_the_dual_newton_method(problem, map_):
    state = steady_state(problem)
    d, tests, means = 400, [], []
    for seed in range(12):
        X, target, y = draw(problem, d, seed)
        w = interpolate(X, y, map_)
        tests.append(np.sum((w - target) ** 2) / (2 * d))
        means.append(w.mean())
    assert_within_errors(tests, state.test_error)
    assert_within_errors(means, state.mean_w, power=0.2)


def test_product_agrees_with_gradient_flow_of_its_layers():
    network = Product((1.0, 0.7, 0.2))
    problem = Problem(0.4, 1.0, 0.0, 0.05, network=network)
    state = steady_state(problem)
    d, tests, means = 200, [], []
    for seed in range(10):
        X, target, y = draw(problem, d, seed)

        def velocity(t, flat, X=X, y=y):
            layers = flat.reshape(3, -1)
            h = X.T @ (X @ layers.prod(axis=0) - y) / problem.delta
            return network.layer_velocity(layers, h, 0.0).ravel()

        start = np.repeat(network.initial_layers(problem.alpha), d)
        flow = solve_ivp(velocity, (0, 150), start, method="RK23", rtol=1e-5, atol=1e-7)
        w = flow.y[:, -1].reshape(3, d).prod(axis=0)
        assert np.mean((X @ w - y) ** 2) < 1e-5
        tests.append(np.sum((w - target) ** 2) / (2 * d))
        means.append(w.mean())
    assert_within_errors(tests, state.test_error)
    assert_within_errors(means, state.mean_w, power=0.2)


@pytest.mark.parametrize("threshold", [0.01, 0.6, 0.9, 3.0])
def test_soft_threshold_moments_against_a_fine_sum(threshold):
    mean, std = np.array([0.0, 0.7, -2.0]), np.array([0.7, 0.5, 1.0])
    moments = SoftThreshold(threshold).moments(Mixture(np.ones(3) / 3, mean, std))
    z = np.linspace(-9, 9, 400001)
    measure = norm.pdf(z) * (z[1] - z[0])
    for k in range(3):
        g = mean[k] + std[k] * z
        clipped = np.clip(g, -threshold, threshold)
        expected = [measure @ (np.abs(g) > threshold), measure @ clipped**2, measure @ clipped]
        np.testing.assert_allclose([m[k] for m in moments], expected, rtol=1e-4, atol=1e-4)
