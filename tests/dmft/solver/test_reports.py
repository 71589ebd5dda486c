"""What a solve says of itself: accuracy, bounds on time and memory, sources of error."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft.equations import effective_process
from dmft.equations.noise_rules import SobolRule, SparseRule
from dmft.solver import cheap_map
from dmft.solver import limits as solver_limits
from dmft.solver.noise_correction import LEFT, SUDDEN, left_share
from dmft.solver.solve import reached, solve
from dmft.solvers import families

DEFAULT = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
# test_error(10) and train_error(10) of DEFAULT, converged to 1e-9 by rules of increasing size
TEST_ERROR = 0.055905369


@pytest.fixture(scope="module")
def default_solution():
    return solve(DEFAULT, 10.0, rtol=1e-4)


def test_too_few_sweeps_are_reported():
    solution = solve(DEFAULT, 10.0, [10.0], rtol=1e-4, max_sweeps=1)
    assert not solution.success
    assert solution.status == 1  # a larger tolerance needs fewer, and is better than nothing
    assert "At rtol itself: The iteration did not converge" in solution.message
    assert "max_sweeps" in solution.message
    error = solution.error["test_error"][-1]
    assert abs(solution.test_error[-1] - TEST_ERROR) < error < 0.1 * TEST_ERROR
    assert error > 1e-4 * TEST_ERROR
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
    family_averages = families.family_averages

    def failing(mirror, K, stages, *arguments):
        sums, iterations = family_averages(mirror, K, stages, *arguments)
        return sums, np.full_like(iterations, -1) if stages >= 9 else iterations

    monkeypatch.setattr(families, "family_averages", failing)
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


def test_a_tighter_tolerance_never_ends_worse():
    # memory has no room for what the tighter one starts with: alone it ends at twice the error
    problem = dmft.Problem(delta=1.0, alpha=0.5, sigma2=0.3)
    ends = [solve(problem, 20.0, [5.0, 20.0], rtol=rtol, max_memory=3e8) for rtol in (1e-6, 1e-7)]
    assert not ends[1].success
    assert ends[1].rtol == 1e-7
    assert reached(ends[1]) <= reached(ends[0])
    for name in ("test_error", "train_error"):
        miss = np.abs(ends[0].values[name] - ends[1].values[name])
        assert np.all(miss <= ends[0].error[name] + ends[1].error[name])
