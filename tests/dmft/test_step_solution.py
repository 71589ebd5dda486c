"""Solutions of training in steps: what they give, and that files hold all of it."""

from itertools import pairwise

import numpy as np
import pytest

import dmft
from dmft.solver.step_rounds import FIRST_PATHS, Marches

PROBLEM = dmft.Problem(delta=0.5, sigma2=0.1, dynamics=dmft.SGD(0.1, 0.25, label_noise=0.1))


@pytest.fixture(scope="module")
def solution():
    return dmft.solve(PROBLEM, t_max=1.0, t_eval=[0.0, 0.3, 1.0], rtol=0.05, rng=3)


def test_outcome(solution):
    assert solution.success
    assert solution.status == 0
    assert isinstance(solution, dmft.Solution)
    assert solution.C_w.shape == solution.error["R_w"].shape == (3, 3)
    assert np.all(np.triu(solution.R_w) == 0)
    assert solution.R_w[1, 0] < 0
    assert solution.error["test_error"][2] < 0.05 * solution.test_error[2]


def test_same_seed_same_solution(solution):
    assert dmft.solve(PROBLEM, t_max=1.0, t_eval=[0.0, 0.3, 1.0], rtol=0.05, rng=3) == solution
    assert dmft.solve(PROBLEM, t_max=1.0, t_eval=[0.0, 0.3, 1.0], rtol=0.05, rng=4) != solution


def test_file_holds_the_solution(solution, tmp_path):
    solution.save(tmp_path / "run.h5")
    loaded = dmft.load(tmp_path / "run.h5")
    assert loaded == solution
    np.testing.assert_array_equal(loaded.sample_paths(5, 1).w, solution.sample_paths(5, 1).w)
    assert isinstance(dmft.Solution.load(tmp_path / "run.h5"), dmft.StepSolution)


def test_sample_paths_have_the_solution_s_averages(solution):
    paths = solution.sample_paths(20000, 0)
    theta = paths.w - paths.w_star[:, None]
    np.testing.assert_allclose(theta.T @ theta / 20000, solution.C_w, rtol=0.08)
    np.testing.assert_allclose(0.5 * (paths.u**2 - paths.v**2), paths.w, atol=1e-12)
    # H_3 is the step times the sum of h_0, h_1, h_2, and u is its product at small steps
    np.testing.assert_allclose(paths.H[:, 0], 0.0)
    assert np.corrcoef(paths.H[:, 1], np.log(paths.v[:, 1] / paths.u[:, 1]))[0, 1] > 0.99


def test_values_between_steps_are_refused(solution):
    assert solution(0.3).test_error == solution.test_error[1]
    assert solution.at(1.0, 0.3).C_w == solution.C_w[2, 1]
    with pytest.raises(ValueError, match=r"t must be among the times .* got .*0.25"):
        solution(0.25)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"t_eval": [0.05]}, r"t_eval must hold multiples of step = 0.1; got 0.05"),
        ({"t_eval": [0.0, 2.0]}, "t_eval must be"),
        ({"rtol": 0.5}, "rtol must satisfy"),
        ({"rng": -1}, "rng must be an integer >= 0"),
        ({"grid": "fine"}, "grid must be absent for SGD"),
        ({"t_max": -1.0}, "t_max must satisfy"),
        ({"t_max": 1e4}, "max_memory must be at least .* bytes for 100000 steps; got 1e.09"),
        ({"t_max": 300.0, "max_memory": 1e10}, "t_max must be at most about .* steps"),
        ({"t_max": 100.0, "max_memory": 3e8}, "max_memory must be at least .* for 1000 steps"),
    ],
)
def test_bad_arguments_are_named(arguments, text):
    with pytest.raises(ValueError, match=text):
        dmft.solve(PROBLEM, **{"t_max": 1.0, **arguments})


def test_little_memory_takes_systems_one_by_one():
    times = np.array([0.5, 1.0])
    together, alone = (
        Marches.of(PROBLEM, times, room=room).round(FIRST_PATHS, None, 5) for room in (1e9, 2e5)
    )
    for name, values in together.values.items():
        np.testing.assert_allclose(alone.values[name], values, rtol=1e-7, atol=1e-12)
    assert Marches.of(PROBLEM, times, room=2e5).most_paths() < 32 * FIRST_PATHS


def test_unstable_training_is_a_result():
    problem = dmft.Problem(delta=0.5, sigma2=0.1, dynamics=dmft.SGD(0.3, 0.1))
    with pytest.warns(UserWarning, match=r"step = 0.3 is beyond the edge .* 0.09474"):
        solution = dmft.solve(problem, t_max=15.0, t_eval=[0.0, 15.0])
    assert solution.status == 3
    assert not solution.success
    assert "Unstable" in solution.message


# --- small steps -------------------------------------------------------------------------------


def linear(dynamics):
    return dmft.Problem(delta=0.5, sigma2=0.1, network="linear", dynamics=dynamics)


def test_stochastic_flow_without_noise_is_the_flow():
    times = [0.0, 0.37, 1.0]
    flow = dmft.solve(linear(dmft.GradientFlow()), 1.0, times)
    limit = dmft.solve(linear(dmft.StochasticFlow(0.0)), 1.0, times, rtol=1e-3)
    assert limit.success
    for name in ("test_error", "train_error", "C_w"):
        difference = np.abs(limit.values[name] - flow.values[name])
        assert np.all(difference <= limit.error[name] + flow.error[name] + 1e-12), name
    # densities of the response: -1 at equal times, decaying
    np.testing.assert_allclose(limit.R_w[2, 1], flow.R_w[2, 1], rtol=5e-3)


def test_small_steps_are_extrapolated_to_what_they_give(monkeypatch):
    problem = linear(dmft.SGD(0.005, 1 / 21, label_noise=0.01))  # temperature 0.1
    exact = dmft.solve(problem, 1.0, [0.0, 0.5, 1.0])
    monkeypatch.setattr("dmft.solver.step_rounds.MANY_STEPS", 100)
    monkeypatch.setattr("dmft.solver.step_rounds.COARSEST", 0.4)
    quick = dmft.solve(problem, 1.0, [0.0, 0.5, 1.0])
    assert quick.stats["extrapolated"]
    assert not exact.stats["extrapolated"]
    assert quick.stats["steps"] < 120
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(quick.values[name], exact.values[name], rtol=3e-3)
        assert np.all(np.abs(quick.values[name] - exact.values[name]) <= quick.error[name] + 1e-9)


def test_extrapolated_steps_are_of_second_order_and_their_error_is_not_too_small():
    problem, times = linear(dmft.StochasticFlow(0.1, label_noise=0.05)), np.array([0.5, 1.0])
    rounds = [Marches(problem, times, 0.0, coarse).round(16, None, 0) for coarse in (16, 32, 64)]
    for name in ("test_error", "train_error"):
        first, second = (np.abs(a.mean(name) - b.mean(name)) for a, b in pairwise(rounds))
        np.testing.assert_allclose(np.log2(first / second), 2.0, atol=0.2, err_msg=name)
        # the estimate is the error of larger steps: four times that of the result
        assert np.all(rounds[0].time_error[name] > first + second)
        assert np.all(rounds[0].time_error[name] < 8 * first)


def test_noise_of_small_steps_is_a_diagonal_network_s_decay():
    """The stochastic flow of a diagonal network: the noise shrinks u v like a weight decay."""
    problem = dmft.Problem(delta=0.5, dynamics=dmft.StochasticFlow(0.0, label_noise=0.4))
    solution = dmft.solve(problem, 0.5, [0.0, 0.5], rtol=0.1)
    paths = solution.sample_paths(4000, 1)
    product = np.mean(np.log(paths.u[:, -1] * paths.v[:, -1]))
    # log(u v) falls at the rate label_noise/(4 delta) and, at finite steps h, by h int h^2/4 more
    assert product == pytest.approx(-0.5 * 0.4 / 2.0, rel=0.15)


def test_default_times_are_steps():
    problem = linear(dmft.GradientDescent(0.1))
    np.testing.assert_allclose(dmft.solve(problem, 1.05).t, 0.1 * np.arange(11))
    times = dmft.solve(problem, 30.0).t
    assert len(times) <= 201
    assert times[-1] == pytest.approx(30.0)
    np.testing.assert_allclose(times / 0.1, np.rint(times / 0.1), atol=1e-9)
