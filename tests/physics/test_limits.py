"""Limits of the flow: the scalar equations against long runs of the solver and simulations."""

import math

import numpy as np
import pytest

import dmft
from dmft import BernoulliGaussian, Deep, Diagonal, Discrete, Gaussian, Linear, Problem, Product

SPIN = Discrete([-1.0, 0.0, 2.0], [0.1, 0.8, 0.1])

# One of each branch and network, with a horizon at which it has nearly arrived.
LONG_RUNS = {
    "lasso": (Problem(2.0, 1.0, 0.1, 0.1), 120.0),
    "lasso, unequal starts": (Problem(0.7, 1.0, 0.3, 0.05, SPIN, Diagonal(1.5, 0.5)), 60.0),
    "lasso, product": (Problem(1.0, 1.0, 0.4, 0.1, Gaussian(), Product((1.2, 0.4))), 60.0),
    "ridge": (Problem(0.5, 1.0, 0.2, 0.1, network=Linear()), 40.0),
    "ridge, more data": (Problem(2.0, 1.0, 0.2, 0.1, network=Linear()), 40.0),
    "least squares": (Problem(2.0, 1.0, 0.0, 0.1), 80.0),
    "least squares, linear": (Problem(2.0, 1.0, 0.0, 0.1, network=Linear()), 80.0),
    "least squares, deep": (Problem(3.0, 1.0, 0.0, 0.2, network=Deep(3)), 40.0),
    "interpolator": (Problem(0.5, 1.0, 0.0, 0.1), 60.0),
    "interpolator, lazy": (Problem(0.5, 3.0, 0.0, 0.1), 8.0),
    "interpolator, small start": (Problem(0.3, 0.3, 0.0, 0.1, BernoulliGaussian(0.2)), 60.0),
    "interpolator, unequal starts": (
        Problem(0.6, 0.8, 0.0, 0.05, SPIN, Diagonal(1.5, 0.5)),
        100.0,
    ),
    "interpolator, linear": (Problem(0.4, 1.0, 0.0, 0.1, network=Linear()), 40.0),
    "interpolator, deep": (Problem(0.5, 0.7, 0.0, 0.1, network=Deep(3)), 80.0),
    "interpolator, four layers": (Problem(0.4, 0.8, 0.0, 0.1, Gaussian(0.5, 0.5), Deep(4)), 40.0),
    "interpolator, product": (
        Problem(0.4, 1.0, 0.0, 0.05, network=Product((1.0, 0.7, 0.2))),
        60.0,
    ),
    "interpolator, two layers": (
        Problem(0.5, 0.8, 0.0, 0.1, Gaussian(0.5), Product((1.2, 0.4))),
        60.0,
    ),
}

SCALES = {
    "train_error": lambda problem: 0.5 * problem.sigma2,
    "mean_w": lambda problem: math.sqrt(problem.signal.second_moment),
    "overlap": lambda problem: problem.signal.second_moment,
}


@pytest.mark.parametrize(("problem", "t_max"), LONG_RUNS.values(), ids=LONG_RUNS)
def test_steady_state_is_the_end_of_a_long_run(problem, t_max):
    # what is missing at t_max is at most the change since t_max/2, as it is for 1/t
    state = dmft.steady_state(problem)
    solution = dmft.solve(problem, t_max, t_eval=[0.5 * t_max, t_max], rtol=1e-2)
    assert solution.status != 2  # an error above rtol would count below: it is part of `allowed`
    for name in ("test_error", "train_error", "mean_w", "overlap"):
        predicted = getattr(state, name)
        values = solution.values[name]
        allowed = abs(values[1] - values[0]) + solution.error[name][1]
        assert abs(values[1] - predicted) <= allowed + 1e-9, name
        # the comparison must be able to fail; the train error of an interpolator tends to 0
        size = predicted if name == "test_error" else SCALES[name](problem)
        assert allowed <= 0.06 * size, name


@pytest.mark.parametrize(
    "name",
    ["lasso", "lasso, unequal starts", "interpolator", "interpolator, product"],
)
def test_steady_state_is_the_end_of_simulations(name):
    problem, t_max = LONG_RUNS[name]
    state = dmft.steady_state(problem)
    times = [0.0, 0.5 * t_max, t_max]
    ensemble = dmft.simulate(problem, times, dimension=90, seeds=12, rng=2, workers=1, rtol=1e-4)
    for name in ("test_error", "train_error", "mean_w", "overlap"):
        found, error = ensemble.mean(name), ensemble.standard_error(name)
        missing = abs(found[-1] - found[-2])
        bias = 0.03 * abs(getattr(state, name))  # of order 1/d
        allowed = 4 * error[-1] + missing + bias
        assert abs(found[-1] - getattr(state, name)) <= allowed + 1e-9, name


# Values of the theory page, to the digits in which they are known.


@pytest.mark.parametrize(
    ("problem", "test", "train"),
    [
        (Problem(0.5, 1.0, 0.0, 0.1), "0.074545", "0"),
        (Problem(0.5, 1.0, 0.1, 0.1), "0.0675425", "0.00326828"),
        (Problem(2.0, 1.0, 0.1, 0.1), "0.0151419", "0.0312628"),
    ],
)
def test_reference_values_to_every_digit(problem, test, train):
    state = dmft.steady_state(problem)
    for found, known in ((state.test_error, test), (state.train_error, train)):
        decimals = len(known.partition(".")[2])
        assert f"{found:.{decimals}f}" == known


# Rates. The slope of log train_error is -2 g - 3/(2 t) - c/t^2: a spectrum with an edge like a
# square root has the power 3/2, and c is fitted. What is left is of order 1/t^3.


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("delta", [0.3, 0.5])  # 0.8 takes longer: see benchmarks/limits.py
def test_rate_is_the_fitted_slope(alpha, delta):
    problem = Problem(delta, alpha, 0.0, 0.1)
    rate = dmft.convergence_rate(problem)
    times = np.linspace(1.25, 2.5, 31) / rate
    solution = dmft.solve(problem, times[-1], t_eval=times, rtol=1e-3)
    window = (times[0], times[-1])
    fit = dmft.fit_rate(times, solution.train_error, window, power=1.5)
    assert math.isclose(fit.rate, rate, rel_tol=0.03)
    # the slope alone is far off, by 3/(4 t), and a free power comes out near 3/2
    plain = -0.5 * np.polyfit(times, np.log(solution.train_error), 1)[0]
    assert plain > 1.25 * rate
    assert 1.0 < dmft.fit_rate(times, solution.train_error, window).power < 1.8


def test_rate_of_other_networks_is_the_fitted_slope():
    for network in (Deep(3), Product((1.0, 0.7, 0.2)), Diagonal(1.5, 0.5), Linear()):
        problem = Problem(0.3, 0.9, 0.0, 0.1, network=network)
        rate = dmft.convergence_rate(problem)
        times = np.linspace(1.25, 2.5, 31) / rate
        solution = dmft.solve(problem, times[-1], t_eval=times, rtol=1e-3)
        fit = dmft.fit_rate(times, solution.train_error, (times[0], times[-1]), power=1.5)
        assert math.isclose(fit.rate, rate, rel_tol=0.03), network
