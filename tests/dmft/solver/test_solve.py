"""The solver against closed forms, reference values and itself under other rules and grids."""

import dataclasses

import numpy as np
import pytest
from dmft.solvers import volterra
from dmft.solvers.collocation import Grid
from scipy.integrate import quad

import dmft
from dmft.equations import data_side, effective_process
from dmft.equations.averages import Averages
from dmft.equations.noise_rules import MonteCarloRule, SobolRule, SparseRule
from dmft.solver import cheap_map
from dmft.solver import limits as solver_limits
from dmft.solver.iteration import Corrected, SelfConsistency
from dmft.solver.noise_correction import LEFT, SUDDEN, _refined, left_share
from dmft.solver.solve import solve
from dmft.solver.tolerance import Tolerance

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


def test_too_few_sweeps_are_reported():
    solution = solve(DEFAULT, 10.0, rtol=1e-4, max_sweeps=1)
    assert not solution.success
    assert solution.status == 2
    assert "max_sweeps" in solution.message
    assert len(solution.stats["residual_history"]) == solution.stats["sweeps"]


@pytest.mark.parametrize(("value", "sigma2"), [(0.01, 0.1), (0.0, 0.1), (0.0, 0.0), (1e-6, 0.1)])
def test_weak_and_absent_signals_succeed(value, sigma2):
    # at t = 0 the test error is that of the signal, far below what the noise makes of it later
    problem = dmft.Problem(0.5, 1.0, 0.1, sigma2, dmft.Bernoulli(0.1, value))
    times = np.array([0.0, 1.0, 5.0])
    solution = solve(problem, 5.0, times, rtol=1e-2)
    assert solution.success, solution.message
    exact = solve(problem, 5.0, times, rtol=1e-5)
    for name in ("test_error", "train_error"):
        miss = np.abs(solution.values[name] - exact.values[name])
        assert np.all(miss <= 1e-2 * (exact.values[name] + 1e-3 * exact.values[name].max()))


def test_the_message_says_where_the_absolute_tolerance_decides():
    problem = dmft.Problem(0.5, sigma2=0.1)  # its train error falls to 1e-6 of its start
    times = np.array([0.0, 1.0, 30.0])
    solution = solve(problem, 30.0, times, rtol=1e-2)
    assert solution.success
    assert solution.stats["atol_train_error"] == pytest.approx(1e-2 * 1e-3 * 0.1)
    assert "From t = 30 to 30 train_error is so small" in solution.message
    relative = solve(problem, 30.0, times, rtol=1e-2, atol={"train_error": 0.0})
    assert "is so small" not in relative.message
    assert relative.success == (
        relative.error["train_error"][-1] <= 1e-2 * relative.train_error[-1]
    )
    assert relative.error["train_error"][-1] < solution.error["train_error"][-1]


class Clock:
    """Stands for the module time; each reading of the clock takes a second."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("max_time", [1, 6, 12, 16, 19])
def test_time_that_runs_out_leaves_the_best_result(monkeypatch, max_time):
    clock = Clock()
    for module in (effective_process, cheap_map, solver_limits):
        monkeypatch.setattr(module, "time", clock)
    times = np.array([1.0, 10.0])
    solution = solve(DEFAULT, 10.0, times, rtol=1e-4, max_time=max_time)
    assert not solution.success
    assert solution.status == 3
    assert "max_time" in solution.message
    assert clock.now < max_time + 8
    miss = abs(solution.test_error[-1] - TEST_ERROR)
    assert miss <= solution.error["test_error"][-1]
    if max_time > 12:
        assert miss < 1e-3 * TEST_ERROR


def test_enough_time_changes_nothing(default_solution):
    solution = solve(DEFAULT, 10.0, rtol=1e-4, max_time=1e6)
    np.testing.assert_array_equal(solution.test_error, default_solution.test_error)


def test_memory_bounds_the_noise_rule():
    problem = dmft.Problem(delta=0.5, alpha=1e-2, sigma2=0.1)
    solution = solve(problem, 25.0, rtol=1e-5, max_memory=3e8)
    assert not solution.success
    assert solution.stats["paths"] * solution.stats["nodes"] <= 2 * (3e8 - 2e8) / 50
    assert "max_memory" in solution.message
    assert "tail of the noise" in solution.message


def test_errors_by_source_add_up_to_the_estimate(default_solution):
    sources = default_solution.errors_by_source
    assert set(sources) == {"time", "leading_mode", "tail", "iteration"}
    assert all(error > 0 for error in sources.values())
    total = default_solution.stats["error_over_tolerance"] * 1e-4
    assert total == pytest.approx(sum(sources.values()), rel=0.5)


@pytest.mark.parametrize("network", ["diagonal", "linear"])
def test_unsolved_paths_of_the_grid_that_gives_the_result_are_reported(monkeypatch, network):
    solve_paths = volterra.solve_paths

    def failing(code, parameters, table, K, stages, U, H):
        w, D, iterations = solve_paths(code, parameters, table, K, stages, U, H)
        return w, D, np.full_like(iterations, -1) if stages >= 9 else iterations

    monkeypatch.setattr(volterra, "solve_paths", failing)
    solution = solve(dataclasses.replace(DEFAULT, network=network), 10.0, rtol=1e-2)
    assert solution.grid.stages == 9
    assert solution.stats["failed_paths"] > 0
    assert not solution.success
    assert "unsolved" in solution.message


def test_nodes_that_leave_a_part_of_the_noise_out_are_reported(monkeypatch):
    # the points of the sparse grid off its centre lose what lies below -1.8 standard deviations
    whole = SparseRule._stretched

    def cut(self, others, thresholds):
        leading, point = whole(self, others, thresholds)
        kept = (leading > -3.0) | ~others.any(axis=1)[point]
        return leading[kept], point[kept]

    problem, rule = dmft.Problem(0.5, 1e-3, sigma2=0.1), SparseRule(0.25, 1e-2)
    arguments = {"rtol": 0.05, "rule": rule, "max_sweeps": 30}
    right = solve(problem, 20.0, **arguments)
    assert right.success
    assert right.stats["uncovered_mass"] < 1e-6
    monkeypatch.setattr(SparseRule, "_stretched", cut)
    solution = solve(problem, 20.0, **arguments)
    assert solution.stats["uncovered_mass"] > 1e-3
    assert not solution.success
    assert "leave out" in solution.message


def test_errors_between_nodes_of_long_panels_are_estimated():
    # an interpolated correction would be rough between the nodes of the last panels
    problem = dmft.Problem(0.05, 1.0, 0.05, 0.1)
    times = np.concatenate([[0.0], np.geomspace(0.5, 100.0, 25)])
    rough = solve(problem, 100.0, times, rtol=1e-5)
    exact = solve(problem, 100.0, times, rtol=1e-6)
    assert rough.success
    for name in ("test_error", "train_error"):
        miss = np.abs(rough.values[name] - exact.values[name])
        assert np.all(miss <= rough.error[name] + exact.error[name])


def test_few_sweeps_at_a_time_end_at_the_same_solution():
    # what two sweeps leave of a correction is the next step's to do
    times = np.linspace(0.0, 10.0, 11)
    hurried = solve(DEFAULT, 10.0, times, rtol=1e-4, max_sweeps=2)
    exact = solve(DEFAULT, 10.0, times, rtol=1e-6)
    assert hurried.success
    for name in ("test_error", "train_error"):
        error = np.abs(hurried.values[name] - exact.values[name])
        assert np.all(error <= hurried.error[name])
        assert np.all(error <= 1e-4 * (1 + 1e-3) * exact.values[name])


def test_sudden_agreement_of_two_grids_is_not_believed():
    assert left_share(2.0, 0.0) == left_share(2.0, 10.0) == LEFT
    assert left_share(0.2, 24.0) * 0.2 == pytest.approx(LEFT * SUDDEN * 24.0)


def test_a_coarse_rule_is_reported_as_inaccurate():
    solution = solve(DEFAULT, 10.0, rtol=1e-6, rule=SobolRule(paths=256))
    assert not solution.success
    assert solution.status == 1
    assert "rtol" in solution.message


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

    def miss(self):
        solution = solve(DEFAULT, 10.0, rtol=1e-2, max_sweeps=20)
        return abs(solution.test_error[-1] / TEST_ERROR - 1)

    def test_unchanged(self):
        assert self.miss() < 1e-3

    def test_memory_dropped(self, monkeypatch):
        build = data_side.build_kernels

        def without_memory(residual):
            k = build(residual)
            return dataclasses.replace(k, K=residual.integration.matrix)

        monkeypatch.setattr("dmft.solver.iteration.build_kernels", without_memory)
        assert not self.miss() < 0.02

    def test_factor_of_delta_dropped(self, monkeypatch):
        build = data_side.build_kernels

        def without_delta(residual):
            k = build(residual)
            return dataclasses.replace(k, C_G=DEFAULT.delta * k.C_G)

        monkeypatch.setattr("dmft.solver.iteration.build_kernels", without_delta)
        assert not self.miss() < 0.02

    def test_sign_of_the_response(self, monkeypatch):
        averages = effective_process.EffectiveProcess.averages

        def flipped(self, kernel):
            result = averages(self, kernel)
            return dataclasses.replace(result, A=-result.A)

        monkeypatch.setattr(effective_process.EffectiveProcess, "averages", flipped)
        assert not self.miss() < 0.02


@pytest.mark.parametrize(("alpha", "value"), [(100.0, 1.0), (1e4, 1.0), (1.0, 1e-4)])
def test_large_starts_train_like_the_linear_network(alpha, value):
    # w moves by far less than alpha^2, so that D stays at D(0) and time runs D(0) times as fast
    law = dmft.Bernoulli(0.1, value)
    lazy = dmft.Problem(0.7, alpha, sigma2=0.2 * value**2, signal=law)
    linear = dataclasses.replace(lazy, network=dmft.Linear())
    _, D = effective_process.initial_state(lazy)
    times = np.array([0.0, 1.0, 3.0])
    solution = solve(lazy, 3.0 / D, t_eval=times / D, rtol=1e-3)
    exact = solve(linear, 3.0, t_eval=times, rtol=1e-5)
    assert solution.success
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(solution.values[name], exact.values[name], rtol=2e-4)


def test_long_horizons_end_in_the_steady_state():
    problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.003, sigma2=0.01)
    lines = []
    solution = solve(problem, 6667.0, t_eval=[6667.0], rtol=1e-2, progress=lines.append)
    assert solution.success
    assert any(line.startswith("up to t = ") for line in lines)  # it was taken part by part
    steady = dmft.steady_state(problem)
    for name in ("test_error", "train_error"):
        value = getattr(steady, name)
        assert abs(solution.values[name][-1] / value - 1) < 2e-2


@pytest.mark.parametrize("adapt", [True, False])
def test_panels_that_do_not_settle_are_cut(monkeypatch, adapt):
    monkeypatch.setattr(cheap_map, "PATIENCE", 4)
    tolerance = Tolerance(1e-3)
    system = SelfConsistency(DEFAULT, Grid(np.array([0.0, 0.3, 1.0, 3.0, 10.0]), 4), tolerance)
    run = cheap_map.Run(tolerance, 100, lambda text: None)
    rule = cheap_map.cheap_rule(None, 1e-3)
    found, x = cheap_map._marched(system, rule, adapt, run)
    assert (found.grid.panels > 4) == adapt
    exact = found.solve(found.process(rule), x, 1e-6, 100)
    assert exact.success
    assert (found.distance(x, exact.x) < 1.0) == adapt


def test_laws_of_many_atoms_are_resolved():
    # eight atoms in place of the sixty would leave 20 times the tolerance in the test error
    law = dmft.Empirical(np.random.default_rng(1).laplace(size=60))
    problem = dmft.Problem(delta=3.0, alpha=0.3, sigma2=0.2, signal=law)
    times, lines = [1.0, 5.0, 20.0], []
    solution = solve(problem, 20.0, t_eval=times, rtol=1e-3, progress=lines.append)
    assert solution.success
    assert any(line.startswith("law resolved") for line in lines)
    all_atoms = SparseRule(0.35, 1e-3, reach=5.7, atoms=60)
    other = solve(problem, 20.0, t_eval=times, rtol=1e-3, rule=all_atoms)
    assert other.success
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(solution.values[name], other.values[name], rtol=2e-4)


def test_the_spacing_follows_the_decay_that_was_measured():
    # changes exp(-decay / spacing): as many steps as the decay asks for end below the share
    def steps(decay):
        tried = [(2.0, 50.0)]
        while tried[-1][1] > cheap_map.LEADING_SHARE:
            fineness = 1.0 / cheap_map._leading_spacing(tried)
            tried.append((fineness, 50.0 * np.exp(decay * (2.0 - fineness))))
        return len(tried) - 1

    assert steps(cheap_map.DECAY) == 1
    assert steps(0.6 * cheap_map.DECAY) == 2
    assert steps(0.2 * cheap_map.DECAY) <= 5
    assert cheap_map._leading_spacing([(2.0, np.inf)]) == 0.25


def test_the_spacing_ends_at_its_least(monkeypatch):
    monkeypatch.setattr(cheap_map, "LEADING_SHARE", 1e-9)
    lines = []
    solve(DEFAULT, 2.0, rtol=1e-2, progress=lines.append)
    spacings = [float(line.split()[-1]) for line in lines if line.startswith("leading mode")]
    assert len(spacings) > 2
    assert cheap_map.LAST_SPACING < min(spacings) < 2 * cheap_map.LAST_SPACING


def test_atoms_follow_the_decay_that_was_measured():
    more = cheap_map._more_atoms
    assert more(8, [], 6) == 8  # the law has fewer
    assert more(8, [], 200) == 12
    assert more(8, [], 10) == 10
    assert more(12, [(8.0, 50.0)], 200) == 18  # nothing is known of the decay
    assert more(18, [(8.0, 50.0), (12.0, 5.0)], 200) == 27
    slow = [(8.0, 50.0), (12.0, 40.0)]
    assert more(18, slow, 200) == 54
    assert more(18, slow, 40) == 40
    assert more(18, [(8.0, np.inf), (12.0, 5.0)], 200) == 27
    assert more(18, [(8.0, 5.0), (12.0, np.inf)], 200) == 54


def test_horizons_of_a_million_keep_early_times_resolved():
    # the modes of the noise count early times as much as late ones
    problem = dmft.Problem(delta=0.5, alpha=0.1, lam=0.1, sigma2=0.1)
    times = np.array([0.5, 3.0, 10.0])
    long = solve(problem, 1e6, t_eval=[*times, 1e6], rtol=1e-2)
    assert long.success
    assert long.grid.size < 150
    short = solve(problem, 10.0, t_eval=times, rtol=1e-3)
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(long.values[name][:3], short.values[name], rtol=1e-2)
        value = getattr(dmft.steady_state(problem), name)
        assert abs(long.values[name][-1] / value - 1) < 1e-2


def test_averages_without_a_residual_are_no_solution():
    grid = Grid(np.array([0.0, 1.0, 2.0]), 4)
    system = SelfConsistency(DEFAULT, grid, Tolerance(1e-3))
    start = system.start()
    lost = Averages.unpack(start.copy(), grid.size)
    lost.A[0, 0] = np.nan
    assert system.distance(lost.pack(), start) == np.inf


def test_a_damped_correction_takes_its_share_of_the_way():
    grid = Grid(np.array([0.0, 0.5, 2.0, 6.0]), 4)
    system = SelfConsistency(DEFAULT, grid, Tolerance(1e-4))
    cheap, other = (system.process(SparseRule(0.5, tol)) for tol in (np.inf, 1e-3))
    point = system.solve(cheap, system.start(), 1e-6, 100)
    known = Corrected(point, np.zeros_like(point.x))
    full, half = (
        system.corrected(cheap, known, other, cheap, 1e-6, 100, damping) for damping in (1.0, 0.5)
    )
    assert full.point.success
    assert half.point.success
    np.testing.assert_allclose(half.correction, 0.5 * full.correction, rtol=1e-8, atol=1e-11)
    way, part = (system.distance(found.x, known.x) for found in (full, half))
    assert way > 1.0
    assert 0.45 * way < part < 0.55 * way
    # a step from there changes the correction in proportion, not from nothing
    stay = system.corrected(cheap, full, other, cheap, 1e-6, 100, 1e-12)
    np.testing.assert_allclose(stay.correction, full.correction, rtol=1e-6, atol=1e-12)


def test_the_coarse_grid_stands_where_the_finer_one_does_not_settle(monkeypatch, default_solution):
    monkeypatch.setattr("dmft.solver.noise_correction.on_finer_grid", lambda *_: None)
    solution = solve(DEFAULT, 10.0, t_eval=[1.0, 10.0], rtol=1e-4)
    assert solution.grid.stages < default_solution.grid.stages
    assert solution.status < 2
    miss = abs(solution.test_error[-1] - TEST_ERROR), abs(solution.train_error[-1] - TRAIN_ERROR)
    assert miss[0] < solution.error["test_error"][-1]
    assert miss[1] < solution.error["train_error"][-1]
    # the whole difference of the grids counts
    assert solution.error["test_error"][-1] > default_solution.error["test_error"][-1]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_grid_that_is_never_good_enough_is_reported(monkeypatch, rounds):
    # the last thing that happens to the grid is that its panels are split
    monkeypatch.setattr("dmft.solver.cheap_map.MAX_ROUNDS", rounds)
    monkeypatch.setattr(
        "dmft.solver.cheap_map.inaccurate_panels", lambda grid, *_: np.ones(grid.panels, dtype=bool)
    )
    solution = solve(DEFAULT, 10.0, t_eval=[0.0, 10.0], rtol=1e-2, rule=SparseRule(0.5, 1e-2))
    assert not solution.success
    assert solution.status == 2


def test_the_second_mode_of_a_rare_component_is_seen():
    # without noise and close to delta = 1 all errors are those of the rare Gaussian component
    signal = dmft.BernoulliGaussian(0.05482, 1.099, 0.0)
    problem = dmft.Problem(1.058, 1.536e-4, signal=signal)
    times = np.array([7.0, 10.0, 15.0, 20.0])
    exact = solve(problem, 61.34, times, rtol=1e-3)
    rough = solve(problem, 61.34, times, rtol=1e-2)
    assert exact.success
    for name in ("test_error", "train_error"):
        assert np.all(np.abs(rough.values[name] / exact.values[name] - 1) < 2e-2)


def test_corrections_that_are_rough_in_time_are_resolved(monkeypatch):
    # weights become active throughout the last panel; the cheap map is smoother than its correction
    monkeypatch.setattr("dmft.solver.solve.GRID_SHARE", 1.5)
    monkeypatch.setattr("dmft.solver.noise_correction.GRID_SHARE", 1.5)
    problem = dmft.Problem(delta=0.5, alpha=3.0, lam=0.1, sigma2=0.1)
    times = np.array([29.4, 31.7, 35.5, 37.9, 45.8])
    rough = solve(problem, 60.0, times, rtol=1e-4)
    exact = solve(problem, 60.0, times, rtol=1e-5)
    assert exact.success
    error = np.abs(rough.train_error / exact.train_error - 1)
    assert np.all(error < 1.2 * rough.error["train_error"] / rough.train_error)


def test_errors_of_a_rare_component_are_estimated():
    # a grid that grew in the other component alone would change nothing, and say so
    problem = dmft.Problem(1.898, 1.506e-3, signal=dmft.BernoulliGaussian(0.0832, 1.841, 0.0))
    times = np.array([5.0, 7.2, 9.0, 12.0])
    exact = solve(problem, 12.24, times, rtol=1e-4)
    rough = solve(problem, 12.24, times, rtol=1e-3)
    assert exact.success
    for name in ("test_error", "train_error"):
        assert np.all(np.abs(rough.values[name] - exact.values[name]) < 2 * rough.error[name])


def test_grids_of_all_components_grow():
    problem = dmft.Problem(1.9, 1.5e-3, signal=dmft.BernoulliGaussian(0.08, 1.8))
    system = SelfConsistency(
        problem, Grid(np.array([0.0, 0.6, 2.0, 5.0, 12.0]), 4), Tolerance(1e-3)
    )
    cheap = system.process(cheap_map.cheap_rule(None, 1e-3))
    settled = system.kernels(system.solve(cheap, system.start(), 0.1, 100).x)
    rule, before = SparseRule(0.3, 7e-4), np.zeros(2)
    for _ in range(5):
        process = system.process(rule)
        process.averages(settled)
        paths = process.paths_of(rule)
        assert paths.sum() == process.paths
        assert np.all(paths >= 1.1 * before)
        rule, before = _refined(rule, process, 1e5), paths


def test_a_component_that_cannot_grow_does_not_hinder_the_others(monkeypatch):
    monkeypatch.setattr("dmft.solver.noise_correction.OWN_GROWTH", 1e9)
    assert solve(DEFAULT, 10.0, rtol=1e-3).success
