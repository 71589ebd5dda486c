"""The solver against closed forms, reference values and itself under other rules and grids."""

import dataclasses

import numpy as np
import pytest
from scipy.integrate import quad

import dmft
from dmft.equations import data_side, effective_process
from dmft.equations.noise_rules import MonteCarloRule, SobolRule, SparseRule
from dmft.solver.solve import solve
from dmft.solvers.collocation import Grid

DEFAULT = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
# test_error(10) and train_error(10) of DEFAULT, converged to 1e-9 by rules of increasing size
TEST_ERROR = 0.055905369
TRAIN_ERROR = 0.0015637834


@pytest.fixture(scope="module")
def default_solution():
    return solve(DEFAULT, 10.0, rtol=1e-4)


def marchenko_pastur(delta, function):
    """Return int f dF for the continuous part of the law of X^T X/delta."""
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2

    def integrand(angle):  # x = centre + radius cos(angle) removes the square-root edges
        x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
        density = delta / (2 * np.pi * x) * (0.5 * (high - low) * np.sin(angle)) ** 2
        return function(x) * density

    return quad(integrand, 0, np.pi, epsabs=1e-13, epsrel=1e-12, limit=200)[0]


def linear_regression(problem, t):
    """Return test and train error of gradient flow from w = 0 in closed form."""
    delta, sigma2 = problem.delta, problem.sigma2
    power = problem.signal.second_moment
    atom = max(0.0, 1 - delta)
    decay = atom + marchenko_pastur(delta, lambda x: np.exp(-2 * t * x))
    noise = marchenko_pastur(delta, lambda x: (1 - np.exp(-t * x)) ** 2 / x)
    slow = marchenko_pastur(delta, lambda x: x * np.exp(-2 * t * x))
    test = 0.5 * (power * decay + sigma2 / delta * noise)
    train = 0.5 * (power * slow + sigma2 * (1 - 1 / delta + decay / delta))
    return test, train


@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_linear_regression_follows_marchenko_pastur(delta):
    problem = dmft.Problem(delta=delta, sigma2=0.1, network="linear")
    times = np.array([0.0, 0.3, 1.0, 3.0, 10.0])
    solution = solve(problem, 10.0, t_eval=times, rtol=1e-7)
    exact = np.array([linear_regression(problem, t) for t in times]).T
    np.testing.assert_allclose(solution.test_error, exact[0], rtol=0, atol=1e-8)
    np.testing.assert_allclose(solution.train_error, exact[1], rtol=0, atol=1e-8)


@pytest.mark.parametrize("rtol", [1e-3, 1e-4, 1e-6])
def test_default_problem_reaches_the_requested_accuracy(rtol):
    solution = solve(DEFAULT, 10.0, rtol=rtol)
    test_miss = abs(solution.test_error[-1] - TEST_ERROR)
    train_miss = abs(solution.train_error[-1] - TRAIN_ERROR)
    assert solution.success
    assert test_miss <= rtol * TEST_ERROR
    assert train_miss <= rtol * TRAIN_ERROR
    assert test_miss <= 3 * solution.error["test_error"][-1] + 1e-9
    assert train_miss <= 3 * solution.error["train_error"][-1] + 1e-10


@pytest.mark.parametrize(
    "problem",
    [
        dmft.Problem(delta=0.3, alpha=0.1, sigma2=0.05),
        dmft.Problem(delta=2.0, alpha=0.5, lam=0.2, sigma2=0.2, signal=dmft.Gaussian(0.7)),
        dmft.Problem(delta=0.8, alpha=2.0, lam=0.05, signal=dmft.BernoulliGaussian(0.3)),
        dmft.Problem(
            delta=0.6, alpha=0.05, sigma2=0.1, signal=dmft.Discrete([-1, 0, 2], [0.1, 0.8, 0.1])
        ),
    ],
    ids=["bernoulli", "gaussian", "bernoulli-gaussian", "discrete"],
)
def test_errors_cover_the_difference_from_a_finer_solution(problem):
    times = np.linspace(0, 8, 9)
    coarse = solve(problem, 8.0, t_eval=times, rtol=3e-3)
    fine = solve(problem, 8.0, t_eval=times, rtol=1e-5)
    assert coarse.success
    assert fine.success
    for name in ("test_error", "train_error"):
        miss = np.abs(getattr(coarse, name) - getattr(fine, name))
        assert np.all(miss <= 3 * coarse.error[name] + fine.error[name] + 1e-12)
        scale = getattr(fine, name) + 1e-3 * getattr(fine, name)[0]
        assert np.all(miss <= 3 * 3e-3 * scale)


def test_noise_rules_agree_within_their_errors(default_solution):
    times = np.array([1.0, 5.0, 10.0])
    exact = solve(DEFAULT, 10.0, t_eval=times, rtol=1e-5)
    for rule in (SobolRule(paths=2048), MonteCarloRule(paths=8192)):
        other = solve(DEFAULT, 10.0, t_eval=times, rtol=0.1, rule=rule)
        miss = np.abs(other.test_error - exact.test_error)
        assert np.all(miss <= 3 * other.error["test_error"])
        assert np.all(miss <= 0.03 * exact.test_error)


def test_solution_does_not_depend_on_the_grid():
    times = np.array([0.5, 4.0, 10.0])
    uniform = Grid(np.linspace(0, 10, 25), stages=4)
    rule = SparseRule(spacing=0.5, tolerance=3e-6)
    given = solve(DEFAULT, 10.0, t_eval=times, rtol=1e-3, grid=uniform, rule=rule)
    automatic = solve(DEFAULT, 10.0, t_eval=times, rtol=1e-5)
    for name in ("test_error", "train_error"):
        miss = np.abs(getattr(given, name) - getattr(automatic, name))
        assert np.all(miss <= 2e-4 * getattr(automatic, name))
        assert np.all(miss <= 3 * given.error[name])
    assert given.stats["panels"] == 24


def test_long_horizon_reaches_the_lasso():
    solution = solve(DEFAULT, 400.0, rtol=3e-3)
    assert solution.test_error[-1] == pytest.approx(0.0675425, rel=0.02)
    assert solution.train_error[-1] == pytest.approx(0.00326828, rel=0.01)
    wide = solve(dataclasses.replace(DEFAULT, delta=2.0), 400.0, rtol=3e-3)
    assert wide.test_error[-1] == pytest.approx(0.0151419, rel=0.01)
    assert wide.train_error[-1] == pytest.approx(0.0312628, rel=0.01)


def test_long_horizon_reaches_the_interpolator():
    solution = solve(dmft.Problem(delta=0.5, sigma2=0.1), 60.0, rtol=1e-4)
    assert solution.test_error[-1] == pytest.approx(0.074545, abs=2e-6)
    assert solution.train_error[-1] < 1e-9


def test_observables_are_consistent(default_solution):
    s = default_solution
    power = DEFAULT.signal.second_moment
    np.testing.assert_allclose(s.test_error, 0.5 * np.diag(s.C_w), rtol=1e-14)
    np.testing.assert_allclose(s.norm_w, 2 * s.test_error + 2 * s.overlap - power, atol=1e-14)
    np.testing.assert_allclose(s.C_w, s.C_w.T, atol=1e-14)
    assert s.test_error[0] == pytest.approx(0.05, abs=1e-15)
    assert s.train_error[0] == pytest.approx(0.1, abs=1e-15)
    assert s.mean_w[0] == 0
    assert np.all(np.diag(s.R_w) < 0)  # R_w(t+, t) = -E[D(t)]
    assert s.R_w[0, 0] == pytest.approx(-(DEFAULT.alpha**2))
    assert np.all(s.R_w[np.triu_indices(s.t.size, 1)] == 0)
    np.testing.assert_allclose(np.diag(s.R_r), np.diag(s.R_w) / DEFAULT.delta, rtol=1e-10)


def test_sample_paths_have_the_two_time_correlation(default_solution):
    s = default_solution
    n = 20000
    paths = s.sample_paths(n, rng=3)
    theta = paths.w - paths.w_star[:, None]
    product = theta[:, :, None] * theta[:, None, :]
    standard_error = product.std(axis=0) / np.sqrt(n)
    deviation = np.abs(product.mean(axis=0) - s.C_w) / (standard_error + 1e-12)
    assert deviation[1:, 1:].max() < 5
    np.testing.assert_allclose(paths.w, 0.5 * (paths.u**2 - paths.v**2), atol=1e-12)
    product_uv = DEFAULT.alpha**2 * np.exp(-DEFAULT.lam * s.t)
    np.testing.assert_allclose(
        paths.u * paths.v, np.broadcast_to(product_uv, paths.w.shape), rtol=1e-12
    )
    again = s.sample_paths(5, rng=3)
    np.testing.assert_array_equal(again.w, s.sample_paths(5, rng=3).w)
    assert np.any(again.w != s.sample_paths(5, rng=4).w)


def test_t_eval_gives_the_times_asked_for(default_solution):
    times = np.array([0.0, 0.1, 2.5, 10.0])
    solution = solve(DEFAULT, 10.0, t_eval=times, rtol=1e-4)
    np.testing.assert_array_equal(solution.t, times)
    move = default_solution.grid.interpolation(times)
    np.testing.assert_allclose(
        solution.test_error, move @ default_solution.test_error, rtol=1e-4, atol=0
    )
    assert solution.C_w.shape == (4, 4)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"t_max": 0.0}, "t_max"),
        ({"t_max": -1.0}, "t_max"),
        ({"t_max": float("nan")}, "t_max"),
        ({"t_max": 5e-324}, "t_max"),
        ({"t_max": 1e200}, "t_max"),
        ({"t_eval": [2.0, 1.0]}, "t_eval"),
        ({"t_eval": [0.0, 11.0]}, "t_eval"),
        ({"t_eval": []}, "t_eval"),
        ({"rtol": 0.0}, "rtol"),
        ({"rtol": 1.0}, "rtol"),
        ({"rng": -1}, "rng"),
        ({"max_sweeps": 0}, "max_sweeps"),
        ({"max_time": 0.0}, "max_time"),
        ({"max_memory": 1e6}, "max_memory"),
        ({"atol": -1.0}, "atol"),
        ({"grid": Grid(np.array([0.0, 5.0]))}, "grid"),
    ],
)
def test_bad_arguments_are_refused(arguments, word):
    with pytest.raises(ValueError, match=word):
        solve(DEFAULT, **{"t_max": 10.0, **arguments})


def test_problem_must_be_a_problem():
    with pytest.raises(TypeError, match="problem"):
        solve("default", 10.0)


class TestWrongPhysicsIsSeen:
    """Each mutation of the equations moves the reference values by far more than the error."""

    def outcome(self):
        solution = solve(DEFAULT, 10.0, rtol=1e-2, max_sweeps=20)
        return solution.success, abs(solution.test_error[-1] / TEST_ERROR - 1)

    def is_seen(self):
        # a finite value that is far off, or a solve that says that it failed: nan alone is neither
        success, miss = self.outcome()
        return not success or 0.02 < miss < np.inf

    def test_unchanged(self):
        success, miss = self.outcome()
        assert success
        assert miss < 1e-3

    def test_memory_dropped(self, monkeypatch):
        build = data_side.build_kernels

        def without_memory(residual):
            k = build(residual)
            return dataclasses.replace(k, K=residual.integration.matrix)

        monkeypatch.setattr("dmft.solver.iteration.build_kernels", without_memory)
        assert self.is_seen()

    def test_factor_of_delta_dropped(self, monkeypatch):
        build = data_side.build_kernels

        def without_delta(residual):
            k = build(residual)
            return dataclasses.replace(k, C_G=DEFAULT.delta * k.C_G)

        monkeypatch.setattr("dmft.solver.iteration.build_kernels", without_delta)
        assert self.is_seen()

    def test_sign_of_the_response(self, monkeypatch):
        averages = effective_process.EffectiveProcess.averages

        def flipped(self, kernel):
            result = averages(self, kernel)
            return dataclasses.replace(result, A=-result.A)

        monkeypatch.setattr(effective_process.EffectiveProcess, "averages", flipped)
        assert self.is_seen()
