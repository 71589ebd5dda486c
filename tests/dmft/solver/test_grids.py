"""The automatic time grid: its first panels, which panels it splits, moves between grids."""

import numpy as np
import pytest

from dmft.equations.averages import Averages
from dmft.problem import Problem
from dmft.signals import Bernoulli
from dmft.solver.grids import (
    GRID_SHARE,
    MAX_PANELS,
    extended,
    inaccurate_panels,
    initial_grid,
    transferred,
    unresolved_panels,
)
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid

GRID = Grid(np.array([0.0, 0.4, 1.0, 2.0, 4.0]), 4)
PROBLEM = Problem(0.5, sigma2=0.1)


def averages_of(grid, profile, level=0.0):
    """C_w = profile(t) profile(s), a small smooth operator A, one-time averages of a parabola."""
    t = grid.nodes_with_start
    f = profile(t)
    A = level * np.linalg.inv(np.eye(grid.size) + grid.integration)
    return Averages(np.outer(f, f), A, t**2, 1.0 - t, 2.0 + t * 0.5)


# --- the first grid ----------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 1.0, 5.0, 30.0])
@pytest.mark.parametrize("t_max", [0.1, 10.0, 1e4])
@pytest.mark.parametrize("network", ["diagonal", "linear", "deep"])
def test_first_panel_resolves_the_fastest_rate(alpha, t_max, network):
    problem = Problem(0.5, alpha=alpha, sigma2=0.1, network=network)
    grid = initial_grid(problem, t_max, 1e-4)
    assert grid.edges[0] == 0.0
    assert grid.t_max == t_max
    assert 3 <= grid.panels <= MAX_PANELS
    D = {"diagonal": alpha**2, "linear": 1.0, "deep": alpha**4}[network]
    rate = D * (1 + np.sqrt(2.0)) ** 2 + np.sqrt(0.2)
    assert grid.edges[1] == pytest.approx(min(1 / rate, t_max / 3), rel=1e-9)
    ratios = grid.edges[2:] / grid.edges[1:-1]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-9)
    assert 1.4 < ratios[0] < 4.7


def test_larger_signals_need_shorter_panels():
    first = [
        initial_grid(Problem(1.0, alpha=1e-3, signal=Bernoulli(0.1, v)), 10.0, 1e-4).edges[1]
        for v in (1.0, 10.0)
    ]
    assert first[0] > 8 * first[1]


def test_sharp_tolerances_get_more_stages():
    stages = [initial_grid(PROBLEM, 5.0, rtol).stages for rtol in (1e-2, 1e-6, 1e-7)]
    assert stages[0] == stages[1] < stages[2]


# --- splitting ---------------------------------------------------------------------------------


def test_resolved_profiles_are_left_alone():
    averages = averages_of(GRID, lambda t: 1.0 / (1.0 + 0.05 * t))
    assert not unresolved_panels(PROBLEM, GRID, averages, Tolerance(1e-4)).any()


@pytest.mark.parametrize("panel", range(4))
def test_the_panel_with_a_sharp_feature_is_marked(panel):
    left, right = GRID.edges[panel : panel + 2]
    middle, width = 0.5 * (left + right), 0.1 * (right - left)
    averages = averages_of(GRID, lambda t: 1.0 - 0.5 * np.exp(-(((t - middle) / width) ** 2)))
    marked = unresolved_panels(PROBLEM, GRID, averages, Tolerance(1e-4))
    assert np.flatnonzero(marked).tolist() == [panel]
    loose = unresolved_panels(PROBLEM, GRID, averages, Tolerance(1.0))
    assert not loose.any()


def test_a_fast_residual_marks_panels_although_the_weights_are_smooth():
    # C_w is constant, so only C_r = R_r C R_r^T can ask for more panels
    slow = unresolved_panels(PROBLEM, GRID, averages_of(GRID, np.ones_like), Tolerance(1e-3))
    assert not slow.any()
    fast = averages_of(GRID, np.ones_like, level=8.0)
    assert unresolved_panels(PROBLEM, GRID, fast, Tolerance(1e-3)).any()


def test_errors_count_where_they_rise():
    ratios = np.full((2, GRID.size + 1), 0.01)
    ratios[0, 9:] = 3.0  # made in the third panel, inherited by the fourth
    assert np.flatnonzero(inaccurate_panels(GRID, ratios)).tolist() == [2]
    ratios[1, 14] = 5.0
    assert np.flatnonzero(inaccurate_panels(GRID, ratios)).tolist() == [2, 3]


def test_errors_within_the_share_of_the_grid_are_fine():
    ratios = np.linspace(0.0, 0.99 * GRID_SHARE, GRID.size + 1)
    assert not inaccurate_panels(GRID, ratios).any()
    assert inaccurate_panels(GRID, 1.1 * ratios).any()


def test_a_slow_rise_over_all_panels_still_marks_some():
    ratios = GRID_SHARE * np.linspace(0.0, 1.2, GRID.size + 1)
    assert inaccurate_panels(GRID, ratios).any()


# --- moves between grids -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [GRID.split(np.ones(4, dtype=bool)), Grid(np.array([0.0, 1.5, 4.0]), 5), GRID]
)
def test_moved_averages_of_polynomials_are_exact(target):
    def cubic(t):
        return 1.0 - 0.3 * t + 0.02 * t**3

    moved = transferred(averages_of(GRID, cubic), GRID, target)
    expected = averages_of(target, cubic)
    for name in ("C_w", "mean_w", "overlap", "mean_D"):
        np.testing.assert_allclose(getattr(moved, name), getattr(expected, name), atol=1e-11)
    assert moved.A.shape == (target.size, target.size)


def test_moved_response_acts_alike():
    fine = GRID.split(np.ones(4, dtype=bool))
    errors = []
    for grid in (GRID, fine):
        target = grid.split(np.ones(grid.panels, dtype=bool))
        moved = transferred(averages_of(grid, np.ones_like, 1.0), grid, target)
        exact = averages_of(target, np.ones_like, 1.0)
        f = np.cos(target.nodes)
        errors.append(np.max(np.abs((moved.A - exact.A) @ f)))
    assert errors[0] < 1e-2
    assert errors[1] < errors[0] / 8


def test_an_extended_solution_stays_where_it_was():
    short = GRID.leading(2)
    size, rng = short.size, np.random.default_rng(0)
    A = np.tril(rng.standard_normal((size, size)))
    C_w = rng.standard_normal((size + 1, size + 1))
    vectors = rng.standard_normal((3, size + 1))
    longer = extended(Averages(C_w, A, *vectors), GRID, held=False)
    np.testing.assert_array_equal(longer.C_w[: size + 1, : size + 1], C_w)
    np.testing.assert_array_equal(
        longer.C_w[size + 1 :, : size + 1], np.tile(C_w[-1], (GRID.size - size, 1))
    )
    for found, vector in zip((longer.mean_w, longer.overlap, longer.mean_D), vectors, strict=True):
        np.testing.assert_array_equal(found[: size + 1], vector)
        np.testing.assert_array_equal(found[size + 1 :], vector[-1])
    # the response to what came before stays at its last value
    response = (longer.A @ GRID.integration)[:, :size]
    before = A @ short.integration
    np.testing.assert_allclose(response[:size], before, atol=1e-12)
    np.testing.assert_allclose(
        response[size:], np.tile(before[-1], (GRID.size - size, 1)), atol=1e-12
    )


def test_weights_that_are_held_forget_as_they_did_before():
    # A = E[D (I + K D)^(-1)] of stiff panels is K^(-1), which scales with their length
    grid = Grid(np.array([0.0, 1.0, 3.0, 9.0, 18.0]), 4)
    short = grid.leading(2)
    inverse = np.linalg.inv(grid.integration)
    A = np.linalg.inv(short.integration)
    rest = np.ones(short.size + 1)
    longer = extended(Averages(np.outer(rest, rest), A, rest, rest, rest), grid, held=True)
    for q in range(4):
        here = slice(4 * q, 4 * q + 4)
        np.testing.assert_allclose(longer.A[here, here], inverse[here, here], atol=1e-12)
    assert not np.any(np.triu(longer.A, 4))
    np.testing.assert_allclose(longer.A[8:12, 4:8], A[4:8, :4] / 3.0, atol=1e-14)
