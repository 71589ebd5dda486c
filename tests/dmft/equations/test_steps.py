"""The march against closed forms and limits."""

import numpy as np
import pytest

import dmft
from dmft.equations.steps import march, observables
from dmft.solver.step_draws import exact_draws, random_draws

SPARSE = {"delta": 0.5, "sigma2": 0.1}


def linear_values(step, nu, label_noise, steps, delta=0.5, power=0.1, sigma2=0.1):
    """Return test and train error of a linear network, by the residual's spectral recursion.

    The law of X X^T/delta is integrated by the Chebyshev rule of the second kind, which is exact up
    to rounding.
    """
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    angle = np.arange(1, 400) * np.pi / 400
    x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
    p = np.sin(angle) ** 2 / x
    p /= p.sum()
    np.testing.assert_allclose(p @ x, 1 / delta, rtol=1e-12)
    c, m = power * delta * x + sigma2, np.full_like(x, -sigma2)
    test, train = [], []
    for _ in range(steps):
        rho = p @ c
        train.append(rho / 2)
        test.append(((1 - delta) * power + p @ ((c + 2 * m + sigma2) / x)) / 2)
        V = nu * rho + (1 + nu) * label_noise
        c, m = (1 - step * x) ** 2 * c + step**2 * x**2 * V, (1 - step * x) * m
    return np.array(test), np.array(train)


@pytest.mark.filterwarnings("ignore:step = 0.1 is beyond the edge")  # of the last one, by 6 %
@pytest.mark.parametrize(
    ("step", "batch", "label_noise", "values"),
    [
        (0.1, 0.2, 0.0, (0.0639915832, 0.00166545687)),
        (0.2, 0.5, 0.3, (0.126763814, 0.127702554)),
        (0.1, 0.1, 0.0, (0.245648179, 0.407396808)),
    ],
)
def test_linear_network_is_exact(step, batch, label_noise, values):
    test, train = linear_values(step, 1 / batch - 1, label_noise, 41)
    np.testing.assert_allclose((test[40], train[40]), values, rtol=3e-9)
    dynamics = dmft.SGD(step, batch, label_noise=label_noise)
    problem = dmft.Problem(**SPARSE, network="linear", dynamics=dynamics)
    solution = dmft.solve(problem, t_max=40 * step)
    np.testing.assert_allclose(solution.test_error, test, rtol=1e-10)
    np.testing.assert_allclose(solution.train_error, train, rtol=1e-10)


def test_law_of_the_target_enters_linear_networks_by_two_moments():
    dynamics, numbers = dmft.SGD(0.1, 0.2), np.random.default_rng(0).normal(1.0, 2.0, 50)
    laws = dmft.Empirical(numbers), dmft.Gaussian(numbers.std(), numbers.mean())
    first, second = (
        dmft.solve(dmft.Problem(0.7, signal=law, network="linear", dynamics=dynamics), 1.0)
        for law in laws
    )
    np.testing.assert_allclose(first.test_error, second.test_error, rtol=1e-11)
    np.testing.assert_allclose(first.overlap, second.overlap, rtol=1e-11)


def values_of(dynamics, steps=13, count=64, **settings):
    problem = dmft.Problem(**{**SPARSE, **settings}, dynamics=dynamics)
    draws = random_draws(problem, steps, count, None, 0, range(2))
    return observables(march(problem, steps, draws), np.arange(steps))


@pytest.mark.parametrize("network", [dmft.Diagonal(), dmft.Deep(3), dmft.Product((1.0, 0.5, 0.2))])
def test_whole_batches_are_gradient_descent(network):
    reference = values_of(dmft.GradientDescent(0.1), network=network)
    for sampling in ("bernoulli", "without_replacement", "reshuffle", "cyclic"):
        values = values_of(dmft.SGD(0.1, 1.0, sampling), network=network)
        for name, value in values.items():
            np.testing.assert_allclose(value, reference[name], rtol=1e-12, err_msg=sampling)


def test_nesterov_without_momentum_is_gradient_descent():
    reference = values_of(dmft.GradientDescent(0.2))
    for name, value in values_of(dmft.GradientDescent(0.2, nesterov=True)).items():
        np.testing.assert_allclose(value, reference[name], rtol=1e-10, atol=1e-14)


def test_heavy_ball_with_little_momentum_is_gradient_descent():
    reference = values_of(dmft.GradientDescent(0.2, momentum=0.0))
    for momentum, size in ((1e-6, 1e-6), (2e-6, 2e-6)):
        values = values_of(dmft.GradientDescent(0.2, momentum=momentum))
        for name, value in values.items():
            scale = np.abs(reference[name]).max()
            assert np.abs(value - reference[name]).max() < 20 * size * scale, name
        change = np.abs(values["C_w"] - reference["C_w"]).max()
        assert change > 0.05 * size * np.abs(reference["C_w"]).max()


def test_small_steps_of_the_diagonal_network_tend_to_the_flow():
    """The error of a step is of first order, and what extrapolation leaves of the second."""
    times = [0.0, 1.0, 2.0]
    flow = dmft.solve(dmft.Problem(**SPARSE), 2.0, times, rtol=1e-5)
    steps = np.array([0.2, 0.1, 0.05])
    for name in ("test_error", "train_error", "C_w"):
        apart = []
        for step in steps:
            problem = dmft.Problem(**SPARSE, dynamics=dmft.GradientDescent(float(step)))
            solution = dmft.solve(problem, 2.0, times, rtol=2e-3)
            apart.append((solution.values[name] - flow.values[name]).flat[-1])
        orders = np.log2(np.abs(apart[:-1]) / np.abs(apart[1:]))
        assert np.all((orders > 0.8) & (orders < 1.2)), (name, orders)
        left = 2 * apart[2] - apart[1]
        assert abs(left) < 0.25 * abs(apart[2]), (name, apart)


def test_one_step_by_hand():
    """After one step theta = -eta (theta_0 + noise) - w* , exactly."""
    step, batch = 0.1, 0.25
    problem = dmft.Problem(**SPARSE, network="linear", dynamics=dmft.SGD(step, batch))
    values = observables(march(problem, 2, exact_draws(problem, 2)), np.arange(2))
    power, nu = 0.1, 1 / batch - 1
    # h_0 = -w* + sqrt((E w*^2 + sigma2)(1 + nu)/delta) z and theta_1 = -w* - eta h_0
    variance = (power + 0.1) * (1 + nu) / 0.5
    expected = (1 - step) ** 2 * power + step**2 * variance
    np.testing.assert_allclose(values["C_w"][0, 1, 1], expected, rtol=1e-12)
    np.testing.assert_allclose(values["R_w"][0, 1, 0], -step, rtol=1e-12)


def test_linear_network_with_momentum_is_exact():
    """With momentum, where w is a polynomial of the covariance matrix."""
    for dynamics in (
        dmft.GradientDescent(0.05, momentum=0.6),
        dmft.GradientDescent(0.05, momentum=0.6, nesterov=True),
    ):
        problem = dmft.Problem(**SPARSE, network="linear", dynamics=dynamics)
        solution = dmft.solve(problem, t_max=1.5)
        test, train = momentum_values(dynamics, len(solution.t))
        np.testing.assert_allclose(solution.test_error, test, rtol=1e-10)
        np.testing.assert_allclose(solution.train_error, train, rtol=1e-10)


def momentum_values(dynamics, steps, delta=0.5, power=0.1, sigma2=0.1):
    """Return test and train error of a linear network: w is a polynomial of X^T X/delta."""
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    angle = np.arange(1, 800) * np.pi / 800
    x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
    p = np.sin(angle) ** 2 / x
    p *= delta / p.sum()  # of X^T X/delta, with an atom 1 - delta at 0
    # w_k = g_k(A) (w* + A^+ X^T xi/delta) with A = X^T X/delta
    g, before, test, train = np.zeros_like(x), np.zeros_like(x), [], []
    beta, step = dynamics.momentum, dynamics.step
    for _ in range(steps):
        error = (1 - g) ** 2 * power + g**2 * sigma2 / (delta * x)
        test.append(((1 - delta) * power + p @ error) / 2)
        train.append(p @ (x * (1 - g) ** 2 * power + (1 - g) ** 2 * sigma2 / delta) / 2)
        at = g + beta * (g - before)
        seen = at if dynamics.nesterov else g
        g, before = at + step * x * (1 - seen), g
    return np.array(test), np.array(train)
