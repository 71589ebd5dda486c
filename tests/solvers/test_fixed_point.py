"""Fixed points of linear, causal, nonlinear and divergent maps."""

import numpy as np
import pytest

from dmft.solvers.fixed_point import iterate


def largest(new, old):
    return float(np.max(np.abs(new - old)))


def linear_problem(size=30, radius=0.9, seed=0):
    """x -> M x + b with spectral radius `radius`, and its fixed point (I - M)^(-1) b."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.standard_normal((size, size)))[0]
    M = vectors * (radius * np.linspace(-0.5, 1.0, size)) @ vectors.T
    b = rng.standard_normal(size)
    return M, b, np.linalg.solve(np.eye(size) - M, b)


@pytest.mark.parametrize("memory", [0, 1, 2, 4])
def test_linear_map_in_closed_form(memory):
    M, b, exact = linear_problem()
    found = iterate(lambda x: M @ x + b, np.zeros(30), largest, 1e-10, 1000, memory)
    assert found.success
    assert found.history[-1] <= 1e-10
    np.testing.assert_allclose(found.x, exact, atol=1e-8)


def test_plain_iteration_is_the_power_series():
    M, b, _ = linear_problem()
    found = iterate(lambda x: M @ x + b, np.zeros(30), largest, 0.0, 7, memory=0)
    series = sum(np.linalg.matrix_power(M, k) @ b for k in range(7))
    np.testing.assert_allclose(found.x, series, rtol=1e-12)
    assert not found.success
    changes = [np.max(np.abs(np.linalg.matrix_power(M, k) @ b)) for k in range(7)]
    np.testing.assert_allclose(found.history, changes, rtol=1e-10)


def test_mixing_needs_fewer_sweeps():
    M, b, _ = linear_problem()
    sweeps = [
        len(iterate(lambda x: M @ x + b, np.zeros(30), largest, 1e-8, 1000, memory).history)
        for memory in (0, 1, 2)
    ]
    assert sweeps[2] < 0.6 * sweeps[0]
    assert sweeps[1] < sweeps[0]


@pytest.mark.parametrize("slope", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("memory", [1, 5])
def test_changes_that_turn_round_are_damped(slope, memory):
    # the plain iteration ends in a cycle of two: the slope at the fixed point is below -1
    rng = np.random.default_rng(1)
    axes = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    M = axes * np.linspace(0.1, slope, 30) @ axes.T
    b = 0.1 * rng.standard_normal(30)
    plain = np.zeros(30)
    for _ in range(500):
        plain, last = b - np.tanh(M @ plain), plain
    assert largest(plain, last) > 0.5
    found = iterate(lambda x: b - np.tanh(M @ x), np.zeros(30), largest, 1e-8, 100, memory)
    assert found.success
    np.testing.assert_allclose(b - np.tanh(M @ found.x), found.x, atol=1e-7)


def test_mixing_solves_few_dimensions_exactly():
    # two residual differences span the plane, so the fourth sweep confirms the fixed point
    M = np.array([[0.5, 0.3], [-0.2, 0.6]])
    b = np.array([1.0, -2.0])
    found = iterate(lambda x: M @ x + b, np.zeros(2), largest, 1e-8, 50, memory=2)
    assert found.success
    assert len(found.history) <= 5
    np.testing.assert_allclose(found.x, np.linalg.solve(np.eye(2) - M, b), atol=1e-8)


@pytest.mark.parametrize("memory", [0, 2])
def test_nonlinear_map(memory):
    found = iterate(np.cos, np.array([0.2, 1.0, -3.0]), largest, 1e-12, 200, memory)
    assert found.success
    np.testing.assert_allclose(found.x, 0.7390851332151607, atol=1e-11)


@pytest.mark.parametrize("memory", [0, 2])
def test_causal_map_converges_whatever_its_size(memory):
    # strictly lower triangular: each sweep settles one more entry, although changes grow at first
    size = 12
    M = 5.0 * np.tril(np.ones((size, size)), -1)
    exact = np.linalg.solve(np.eye(size) - M, np.ones(size))
    scale = np.max(np.abs(exact))
    found = iterate(lambda x: M @ x + 1.0, np.zeros(size), largest, 1e-9 * scale, 400, memory)
    assert found.success
    assert max(found.history) > found.history[0]
    np.testing.assert_allclose(found.x, exact, atol=1e-8 * scale)
    if memory == 0:
        assert len(found.history) == size + 1


@pytest.mark.parametrize("memory", [0, 2])
def test_start_at_the_fixed_point_takes_one_sweep(memory):
    M, b, exact = linear_problem()
    found = iterate(lambda x: M @ x + b, exact, largest, 1e-9, 10, memory)
    assert found.success
    assert len(found.history) == 1


def test_max_sweeps_bounds_the_evaluations():
    calls = []

    def mapping(x):
        calls.append(x)
        return 0.999 * x + 1.0

    found = iterate(mapping, np.zeros(3), largest, 1e-12, 9, memory=0)
    assert not found.success
    assert len(calls) == len(found.history) == 9


@pytest.mark.parametrize("memory", [0, 2])
def test_divergence_is_reported(memory):
    found = iterate(lambda x: x**2 + 2.0, np.array([2.0, 3.0]), largest, 1e-6, 6, memory)
    assert not found.success
    assert len(found.history) == 6
    assert found.history[-1] > 1e6


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_change_that_is_not_finite_ends_the_iteration(bad):
    changes = iter([1.0, bad])
    found = iterate(lambda x: x + 1.0, np.zeros(1), lambda new, old: next(changes), 1e-9, 100)
    assert not found.success
    assert len(found.history) == 2


def test_distance_gets_the_image_first():
    seen = []

    def distance(new, old):
        seen.append((new.copy(), old.copy()))
        return 0.0

    iterate(lambda x: x + 3.0, np.ones(2), distance, 1.0, 5)
    np.testing.assert_array_equal(seen[0], [[4.0, 4.0], [1.0, 1.0]])


@pytest.mark.parametrize("shift", [1.0, np.array([1.0, -2.0])])
def test_equal_residuals_do_not_break_the_mixing(shift):
    # x -> x + c has no fixed point, and no difference of residuals to mix by
    found = iterate(lambda x: x + shift, np.zeros(2), largest, 1e-9, 8)
    assert not found.success
    assert len(found.history) == 8
    assert np.all(np.isfinite(found.x))


def test_entries_that_do_not_change_are_harmless():
    found = iterate(
        lambda x: np.array([0.5 * x[0] + 1.0, 7.0, x[2]]),
        np.array([0.0, 7.0, 3.0]),
        largest,
        1e-10,
        60,
    )
    assert found.success
    np.testing.assert_allclose(found.x, [2.0, 7.0, 3.0], atol=1e-9)


def test_a_fast_fall_may_hide_a_slow_one():
    # the changes fall by a factor of 1e-3 and then by 0.4
    fast_and_slow = np.array([1e-3, 0.5])
    found = iterate(lambda x: fast_and_slow * x, np.array([1.0, 3e-3]), largest, 5e-4, 100, 0)
    assert found.success
    assert largest(found.x, 0.0) <= 5e-4


@pytest.mark.parametrize("radius", [0.5, 0.9, 0.99])
def test_the_tolerance_bounds_the_error_and_not_the_change(radius):
    # all changes of x -> r x are in one direction: the series that is left sums to r d / (1 - r)
    found = iterate(lambda x: radius * x, np.ones(3), largest, 1e-6, 5000, memory=0)
    assert found.success
    assert 0.2e-6 < np.max(np.abs(found.x)) <= 1.0001e-6
    np.testing.assert_array_equal(found.x, radius * found.argument)


def test_a_fall_from_great_height_is_no_convergence():
    changes = iter([1e15, 1e7, 50.0, 40.0, 0.0])
    found = iterate(lambda x: x, np.zeros(1), lambda new, old: next(changes), 1.0, 5)
    assert len(found.history) == 5


def test_refined_images_take_the_place_of_images():
    # with the exact fixed point from a linear map's image, one more sweep confirms it
    M, b, exact = linear_problem()

    def newton(x, image):
        return x + np.linalg.solve(np.eye(30) - M, image - x)

    found = iterate(lambda x: M @ x + b, np.zeros(30), largest, 1e-10, 9, refined=newton)
    assert found.success
    assert len(found.history) == 2
    np.testing.assert_allclose(found.x, exact, atol=1e-10)
    np.testing.assert_array_equal(found.image, M @ found.argument + b)


def test_the_change_is_that_of_the_refined_image():
    # F moves by a tenth of the error that its slow contraction leaves; the refined image by all
    found = iterate(
        lambda x: 0.9 * x, np.ones(1), largest, 0.5, 1, refined=lambda x, image: 0.0 * x
    )
    assert not found.success
    assert found.history == (1.0,)


def test_an_unfinished_iteration_returns_its_best_sweep():
    # slope -3: every step goes further away from the fixed point at 0
    found = iterate(lambda x: -3.0 * x, np.ones(1), largest, 1e-3, 3, memory=0)
    assert not found.success
    assert found.change == min(found.history)
    np.testing.assert_array_equal(found.image, -3.0 * found.argument)
    assert largest(found.x, found.argument) == found.change
