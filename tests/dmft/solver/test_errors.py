"""Error estimates from differences of solutions whose errors are known."""

from dataclasses import replace

import numpy as np
import pytest

from dmft.equations.averages import Averages
from dmft.equations.observables import one_time_functions
from dmft.problem import Problem
from dmft.solver.errors import SAFETY, Difference, one_time_errors, two_time_errors, worst_error
from dmft.solver.iteration import SelfConsistency
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid

PROBLEM = Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
GRID = Grid(np.array([0.0, 1.0, 2.0, 4.0]), 5)
TIMES = np.array([0.0, 0.4, 1.0, 1.7, 2.0, 3.1, 4.0])
START = SelfConsistency(PROBLEM, GRID, Tolerance(1e-3)).start()
SAME = Difference((GRID, START), (GRID, START))


def changed(x, **factors):
    """Return averages whose fields are multiplied by arrays or numbers."""
    averages = Averages.unpack(x, GRID.size)
    return replace(averages, **{k: getattr(averages, k) * f for k, f in factors.items()}).pack()


def errors_of(noise, time, floor=0.0):
    values = one_time_functions(PROBLEM, GRID, Averages.unpack(START, GRID.size), TIMES)
    return one_time_errors(PROBLEM, noise, time, TIMES, values, floor, Tolerance(1e-3)), values


def test_equal_solutions_leave_the_floor():
    errors, values = errors_of([SAME], SAME, 1e-4)
    for name in ("test_error", "train_error"):
        size = values[name] + 1e-3 * values[name][0]  # both fall from their start
        np.testing.assert_allclose(errors[name], 1e-4 * size, rtol=1e-12)


def test_a_noise_rule_that_differs_once_counts_at_all_times():
    factor = np.ones(GRID.size + 1)
    factor[7] = 1.01
    x = changed(START, C_w=np.outer(factor, factor))
    pair = Difference((GRID, x), (GRID, START), 0.25)
    errors, values = errors_of([pair], SAME)
    expected = SAFETY * 0.25 * (1.01**2 - 1) / 1.001
    for name in ("test_error", "train_error"):  # the larger of the two counts for both
        relative = errors[name] / (values[name] + 1e-3 * values[name].max())
        np.testing.assert_allclose(relative, relative[0], rtol=1e-12)
        assert 0.99 * expected <= relative[0] < 3 * expected
    assert np.all(errors["mean_w"] < 1e-200)


def test_noise_differences_add_up():
    one = Difference((GRID, changed(START, C_w=1.01)), (GRID, START), 0.5)
    two = Difference((GRID, changed(START, C_w=0.98)), (GRID, START), 1.0)
    separate = [errors_of([pair], SAME)[0]["test_error"] for pair in (one, two)]
    together = errors_of([one, two], SAME)[0]["test_error"]
    np.testing.assert_allclose(together, separate[0] + separate[1], rtol=1e-12)
    np.testing.assert_allclose(separate[1], 4 * separate[0], rtol=1e-12)


def test_an_error_of_the_grid_counts_from_its_panel_on():
    factor = np.ones(GRID.size + 1)
    factor[8] = 1.01  # in the second panel
    x = changed(START, C_w=np.outer(factor, factor))
    errors, values = errors_of([], Difference((GRID, x), (GRID, START)))
    relative = errors["test_error"] / values["test_error"]
    assert np.all(relative[TIMES <= 1.0] < 1e-12)
    later = relative[TIMES > 1.0]
    np.testing.assert_allclose(later, later[0], rtol=1e-12)
    assert later[0] > SAFETY * 0.019


def test_errors_are_relative_to_the_result():
    pair = Difference((GRID, changed(START, C_w=1.01)), (GRID, START))
    halved = one_time_functions(
        PROBLEM, GRID, Averages.unpack(changed(START, C_w=0.5), GRID.size), TIMES
    )
    errors = one_time_errors(PROBLEM, [pair], SAME, TIMES, halved, 0.0, Tolerance(1e-3))[
        "test_error"
    ]
    reference, _ = errors_of([pair], SAME)
    np.testing.assert_allclose(errors, 0.5 * reference["test_error"], rtol=3e-3)


def test_two_time_errors_add_up():
    pair = Difference((GRID, changed(START, C_w=1.01)), (GRID, START), 0.5)
    errors = two_time_errors(PROBLEM, [pair, SAME], TIMES, 1e-5)
    C_w = 0.5 * 0.01 * SAFETY * 0.1 + 1e-5 * 0.1 * 1.01
    np.testing.assert_allclose(errors["C_w"], C_w, rtol=1e-9)


def test_worst_error_is_the_largest_over_the_allowed_one():
    values = {"test_error": np.array([0.05, 0.025]), "train_error": np.array([0.1, 0.05])}
    errors = {"test_error": 1e-4 * values["test_error"], "train_error": np.array([0.0, 1e-4])}
    worst = worst_error(Tolerance(1e-3), values, errors, np.array([0.05, 0.1]))
    assert worst == pytest.approx(1e-4 / (1e-3 * (0.05 + 1e-3 * 0.1)))
    strict = worst_error(Tolerance(1e-3, (None, 0.0)), values, errors, np.array([0.05, 0.1]))
    assert strict == pytest.approx(1e-4 / (1e-3 * 0.05))


def test_absolute_tolerances():
    observables = np.array([[0.05, 0.0], [0.1, 1e-9]])
    np.testing.assert_allclose(
        Tolerance.of(1e-2, None).allowed(observables),
        [[5e-4 + 5e-7, 5e-7], [1e-3 + 1e-6, 1e-11 + 1e-6]],
    )
    relative = Tolerance.of(1e-2, 0).allowed(observables)
    np.testing.assert_allclose(relative[1], [1e-3, 1e-11], rtol=1e-12)
    mixed = Tolerance.of(1e-2, {"train_error": 1e-4})
    np.testing.assert_allclose(mixed.floor(np.array([0.05, 0.1])), [5e-7, 1e-4])


@pytest.mark.parametrize("atol", [-1.0, float("nan"), "x", {"loss": 1.0}, {"test_error": -1.0}])
def test_bad_absolute_tolerances_are_refused(atol):
    with pytest.raises(ValueError, match="atol"):
        Tolerance.of(1e-2, atol)
