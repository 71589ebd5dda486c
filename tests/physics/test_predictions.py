"""Predictions that need no solve against solutions of the mean-field equations."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from dmft.limits.rates import convergence_rate, fit_rate
from dmft.limits.small_start import extrapolate_start
from dmft.limits.steady_states import steady_state
from dmft.limits.transitions import (
    detect_lazy_to_rich,
    detect_search_to_descent,
    grokking_delay,
    lazy_to_rich_time,
    search_to_descent_time,
)
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Gaussian
from dmft.simulation.data import draw_data
from dmft.simulation.saddle_ensemble import saddle_ensemble
from dmft.simulation.simulate import simulate
from dmft.solver.solve import solve

SIGNED = Discrete([-1.0, 0.0, 2.0], [0.1, 0.8, 0.1])
NEGATIVE = Bernoulli(0.2, -1.0)
SPREAD = BernoulliGaussian(0.2)

# --- steady states -----------------------------------------------------------------------------

# (branch, problem, horizon): exponential approach. What is left at the horizon T is below
# exp(-g T) for the test error and exp(-2 g T), for ridge exp(-g T), for the train error.
EXPONENTIAL = [
    ("ridge", Problem(2.0, 1.0, 0.5, 0.1, Gaussian(0.7), "linear"), 20.0),
    ("least squares", Problem(2.0, 1.0, 0.0, 0.2, SIGNED, "linear"), 90.0),
    ("least squares", Problem(3.0, 1.0, 0.0, 0.1, Gaussian(0.7), Deep(4)), 40.0),
    ("least-norm interpolator", Problem(0.3, 1.0, 0.0, 0.1, SPREAD, "linear"), 15.0),
    ("mirror interpolator", Problem(0.5, 0.7, 0.0, 0.1), 70.0),
    ("mirror interpolator", Problem(0.4, 1.0, 0.0, 0.1, SIGNED, Diagonal(1.5, 0.5)), 40.0),
    ("mirror interpolator", Problem(0.4, 1.0, 0.0, 0.05, NEGATIVE, Deep(4)), 30.0),
    ("mirror interpolator", Problem(0.5, 0.8, 0.0, 0.0, NEGATIVE, Product((1.4, 0.3))), 60.0),
]


@pytest.mark.parametrize(("branch", "problem", "horizon"), EXPONENTIAL)
def test_long_runs_end_at_the_steady_state(branch, problem, horizon):
    state, rate = steady_state(problem), convergence_rate(problem)
    solution = solve(problem, horizon, rtol=1e-3)
    rest = math.exp(-rate * horizon)
    assert rest < 0.02
    assert state.branch == branch
    miss = abs(solution.test_error[-1] - state.test_error)
    assert miss <= 1e-3 * state.test_error + rest * solution.test_error[0]
    assert miss <= 2e-3 * state.test_error
    train_rest = rest if branch == "ridge" else rest**2
    miss = abs(solution.train_error[-1] - state.train_error)
    start = solution.train_error[0]
    assert miss <= 1e-3 * state.train_error + (train_rest + 1e-5) * start


# (problem, horizon, gaps of test and train error that are left at it, relative)
ALGEBRAIC = [
    (Problem(0.5, 1.0, 0.2, 0.1), 100.0, 0.04, 0.005),
    (Problem(2.0, 0.5, 0.2, 0.2, SPREAD), 60.0, 0.01, 0.005),
    (Problem(0.7, 3.0, 0.3, 0.05, SIGNED), 60.0, 0.03, 0.02),
]


@pytest.mark.parametrize(("problem", "horizon", "test_gap", "train_gap"), ALGEBRAIC)
def test_decay_leads_to_the_lasso_slowly(problem, horizon, test_gap, train_gap):
    state = steady_state(problem)
    assert state.branch == "lasso"
    solution = solve(problem, horizon, t_eval=[horizon / 2, horizon], rtol=3e-3)
    test = np.abs(solution.test_error / state.test_error - 1)
    train = np.abs(solution.train_error / state.train_error - 1)
    assert test[1] < test_gap
    assert train[1] < train_gap
    # closer at twice the time: of a wrong limit the gap would stay
    assert test[1] < 0.75 * test[0] + 1e-3
    assert train[1] < 0.75 * train[0] + 1e-3


def marchenko_pastur(delta, function):
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2

    def integrand(angle):  # x = centre + radius cos(angle) removes the square-root edges
        x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
        return function(x) * delta / (2 * np.pi * x) * (0.5 * (high - low) * np.sin(angle)) ** 2

    return quad(integrand, 0, np.pi, epsabs=1e-12, epsrel=1e-10, limit=200)[0]


@pytest.mark.parametrize(("alpha", "rtol"), [(5.0, 1e-2), (30.0, 1e-3)])
def test_a_large_start_is_linear_regression_in_the_time_alpha2_t(alpha, rtol):
    problem = Problem(0.5, alpha, 0.0, 0.1)
    scaled = np.array([0.1, 0.3, 1.0, 3.0])
    solution = solve(problem, 3.0 / alpha**2, t_eval=scaled / alpha**2, rtol=rtol)
    power = problem.signal.second_moment
    for k, x in enumerate(scaled):
        decay = 0.5 + marchenko_pastur(0.5, lambda z, x=x: np.exp(-2 * x * z))
        noise = marchenko_pastur(0.5, lambda z, x=x: (1 - np.exp(-x * z)) ** 2 / z)
        test = 0.5 * (power * decay + 0.1 / 0.5 * noise)
        curvature = 0.1 / alpha**4  # of sinh, relative
        assert solution.test_error[k] == pytest.approx(test, rel=rtol + curvature)


# --- rates and timescales ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        Problem(0.5, 1.0, 0.0, 0.1),
        Problem(0.3, 3.0, 0.0, 0.1),
        Problem(0.4, 1.0, 0.0, 0.1, SIGNED, Diagonal(1.5, 0.5)),
        Problem(0.5, 1.0, 0.0, 0.1, network=Linear()),
        Problem(0.3, 0.8, 0.0, 0.1, network=Product((1.3, 0.9, 0.4))),
    ],
)
def test_train_error_decays_at_the_predicted_rate(problem):
    rate = convergence_rate(problem)
    horizon = 4.0 / rate  # later the train error falls below the solver's absolute accuracy
    t = np.linspace(0.4 * horizon, horizon, 40)
    train = solve(problem, horizon, t_eval=t, rtol=2e-4).train_error
    assert fit_rate(t, train, power=1.5).rate == pytest.approx(rate, rel=0.02)


def test_ridge_train_error_approaches_at_the_single_rate():
    problem = Problem(0.5, 1.0, 0.2, 0.1, network="linear")
    rate = convergence_rate(problem)
    t = np.linspace(3 / rate, 7 / rate, 40)
    train = solve(problem, 7 / rate, t_eval=t, rtol=1e-5).train_error
    gap = train - steady_state(problem).train_error
    # the form of the fit is exp(-2 g t): residual and limit are not orthogonal, and 2 g is the rate
    assert 2 * fit_rate(t, gap).rate == pytest.approx(rate, rel=0.05)


@pytest.fixture(scope="module")
def decaying():
    """Return noiseless runs with alpha = 10 and 20, lam = 0.1, that grok."""
    runs = []
    for alpha in (10.0, 20.0):
        horizon = 4 * 2 * math.log(alpha) / 0.1
        t = np.concatenate([[0.0], np.geomspace(0.01 / alpha**2, 0.999 * horizon, 150)])
        runs.append(solve(Problem(0.5, alpha, 0.1), horizon, t_eval=t, rtol=3e-2))
    return runs


def test_lazy_to_rich_time_shifts_by_two_log_alpha_over_lam(decaying):
    detected = [detect_lazy_to_rich(run.t, run.test_error) for run in decaying]
    predicted = [lazy_to_rich_time(run.problem) for run in decaying]
    # u v = 1 is where the transition starts; steepest is the descent some 1/lam later
    assert np.diff(detected) == pytest.approx(np.diff(predicted), rel=0.05)
    assert all(3 < 0.1 * (d - p) < 4 for d, p in zip(detected, predicted, strict=True))


def test_grokking_delay_grows_with_the_lazy_to_rich_time(decaying):
    delays = [grokking_delay(run.t, run.train_error, run.test_error) for run in decaying]
    predicted = [lazy_to_rich_time(run.problem) for run in decaying]
    assert all(2 * p < d < 3 * p for d, p in zip(delays, predicted, strict=True))
    assert np.diff(delays) == pytest.approx(np.diff(predicted), rel=0.15)


@pytest.mark.parametrize(
    ("alpha", "lam", "ratio"),
    [(2.0, 0.5, 1.5), (2.0, 0.1, 1.5), (5.0, 0.5, 1.0), (5.0, 0.1, 1.15)],
)
def test_lazy_to_rich_time_is_detected_in_noisy_runs(alpha, lam, ratio):
    predicted = 2 * math.log(alpha) / lam
    t = np.concatenate([[0.0], np.geomspace(0.02 / alpha**2, 4 * predicted, 150)])
    t[-1] = 4 * predicted
    run = solve(Problem(0.5, alpha, lam, 0.1), 4 * predicted, t_eval=t, rtol=3e-2)
    detected = detect_lazy_to_rich(t, run.test_error)
    assert detected / predicted == pytest.approx(ratio, rel=0.05)


def test_search_time_grows_like_log_one_over_alpha():
    detected, predicted = [], []
    for alpha in (1e-2, 1e-4):
        problem = Problem(0.5, alpha, 0.0, 0.1)
        horizon = 2 * math.log(1 / alpha)
        t = np.linspace(0, horizon, 200)
        solution = solve(problem, horizon, t_eval=t, rtol=3e-2)
        detected.append(detect_search_to_descent(t, solution.test_error))
        predicted.append(search_to_descent_time(problem))
    assert predicted[1] == pytest.approx(2 * predicted[0], rel=0.01)
    assert 0.25 < detected[0] / predicted[0] < 1.0  # the larger forces come first
    assert detected[1] / detected[0] == pytest.approx(2.0, rel=0.1)


# --- the limit alpha -> 0 ----------------------------------------------------------------------


def test_extrapolation_is_exact_for_polynomials():
    alphas = np.array([1e-2, 1e-4, 1e-8])
    x = -1 / np.log(alphas)
    values = np.stack([2 + 3 * x - x**2, 1 - x], axis=1)
    result = extrapolate_start(alphas, values, 1e-3)
    np.testing.assert_allclose(result.limit, [2.0, 1.0], rtol=1e-12)
    # weights 1/3, -2 and 8/3 for x in the ratio 4 : 2 : 1
    np.testing.assert_allclose(result.numerical_error, 5e-3, rtol=1e-12)
    assert result.truncation[1] < 1e-14 < result.truncation[0]


def test_saddle_ensemble_is_the_limit_of_gradient_flow_on_the_same_data():
    # Jumps come late by O(1/log(1/alpha)), so that the mean distance along tau falls like this.
    signal, tau = Bernoulli(0.5), np.linspace(0.0, 3.0, 600)
    saddles = saddle_ensemble(Problem(0.5, 0.1, 0.0, 0.1, signal), tau, 20, 3, 7)
    assert all(np.unique(row).size > 3 for row in saddles.runs["train_error"])
    misses = []
    for alpha in (1e-30, 1e-120):
        t = 2 * math.log(1 / alpha) * tau
        flow = simulate(Problem(0.5, alpha, 0.0, 0.1, signal), t, 20, 3, 7, rtol=1e-4)
        distance = [
            np.abs(flow.runs[name] - rows) / rows[:, :1] for name, rows in saddles.runs.items()
        ]
        misses.append([float(np.mean(d)) for d in distance])
    assert np.max(misses[1]) < 0.01
    np.testing.assert_allclose(np.divide(misses[1], misses[0]), 0.25, atol=0.05)


def test_saddles_end_at_an_interpolator():
    problem = Problem(0.5, 1e-2, 0.0, 0.1)
    ensemble = saddle_ensemble(problem, [0.0, 1e9], dimension=30, seeds=2, rng=1)
    assert np.all(ensemble.runs["train_error"][:, 1] < 1e-20)
    data = draw_data(problem, 30, rng=np.random.SeedSequence(1, spawn_key=(0,)))
    start = [data.w_star @ data.w_star / 60, data.y @ data.y / 30]
    first = [ensemble.runs[name][0, 0] for name in ("test_error", "train_error")]
    np.testing.assert_allclose(first, start, rtol=1e-12)


def test_theory_tends_to_the_saddle_average():
    tau = np.array([0.75, 1.0, 1.5])
    alphas = (1e-2, 1e-4, 1e-8)
    runs = []
    for alpha in alphas:
        scale = 2 * math.log(1 / alpha)
        problem = Problem(0.5, alpha, 0.0, 0.1)
        runs.append(solve(problem, 1.5 * scale, t_eval=scale * tau, rtol=5e-3))
    saddles = saddle_ensemble(runs[0].problem, tau, dimension=200, seeds=16, rng=2)
    for name in ("test_error", "train_error"):
        values = np.stack([run.values[name] for run in runs])
        limit = extrapolate_start(alphas, values, [run.error[name] for run in runs])
        error = np.hypot(saddles.standard_error(name), limit.numerical_error)
        bias = 5 / saddles.dimension * limit.limit
        assert np.all(np.abs(saddles.mean(name) - limit.limit) <= 4 * error + bias)
        # the distance shrinks like 1/log(1/alpha), by half when alpha is squared
        gaps = np.abs(values - limit.limit)
        np.testing.assert_allclose(gaps[1:] / gaps[:-1], 0.5, atol=0.15)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"problem": Problem(0.5, 0.1, 0.1)}, "lam"),
        ({"problem": Problem(0.5, 0.1, network=Deep(3))}, "network"),
        ({"tau": [1.0, 0.5]}, "tau"),
        ({"dimension": 0}, "dimension"),
        ({"seeds": 1}, "seeds"),
        ({"rng": -1}, "rng"),
    ],
)
def test_bad_ensembles_are_refused(change, word):
    arguments = {"problem": Problem(0.5, 0.1), "tau": [1.0], **change}
    with pytest.raises(ValueError, match=f"{word} must"):
        saddle_ensemble(**arguments)


@pytest.mark.parametrize("alphas", [[0.1], [0.1, 0.2], [0.1, 0.0], [2.0, 0.1], [[0.1, 0.01]]])
def test_bad_extrapolations_are_refused(alphas):
    with pytest.raises(ValueError, match="alphas must be at least 2 decreasing"):
        extrapolate_start(alphas, [[1.0], [1.0]])
    with pytest.raises(ValueError, match="values must have shape"):
        extrapolate_start([0.1, 0.01], [1.0, 1.0])
