"""Eight doubles side by side, operation by operation against NumPy."""

import operator

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from dmft.solvers import lanes
from dmft.solvers.lanes import LANES, load, store
from dmft.solvers.scalar_maps import exponential

X = np.array([1.5, -2.0, 0.0, -0.0, np.inf, -np.inf, np.nan, 3e-310])
Y = np.array([0.5, -2.0, -0.0, np.nan, np.inf, 1.0, 2.0, -7.0])


def of_two(function):
    """Compile a function of two lanes into one of two arrays."""
    compiled = njit(function)

    @njit(error_model="numpy")
    def on_arrays(x, y):
        result = np.empty(LANES)
        store(result, 0, compiled(load(x, 0), load(y, 0)))
        return result

    return on_arrays


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv"])
def test_arithmetic(name):
    function = getattr(operator, name)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(of_two(lambda x, y: function(x, y))(X, Y), function(X, Y))


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_select(name):
    function = getattr(operator, name)
    choose = of_two(lambda x, y: lanes.select(function(x, y), x, 7.0))
    np.testing.assert_array_equal(choose(X, Y), np.where(function(X, Y), X, 7.0))


def test_sign_and_size():
    size = of_two(lambda x, y: lanes.absolute(x) * 0.5 - -y)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(size(X, Y), np.abs(X) * 0.5 + Y)


def test_a_float_counts_in_all_lanes():
    mixed = of_two(lambda x, y: 2.0 / (1.0 + x) - y * 3.0 + lanes.splat(0.25))
    x, y = np.random.default_rng(0).random((2, LANES))
    np.testing.assert_allclose(mixed(x, y), 2.0 / (1.0 + x) - y * 3.0 + 0.25, rtol=1e-14)


def test_extremes_return_the_second_beside_a_nan():
    smaller = of_two(lambda x, y: lanes.minimum(x, y))
    larger = of_two(lambda x, y: lanes.maximum(x, y))
    np.testing.assert_array_equal(smaller(X, Y), np.where(X < Y, X, Y))
    np.testing.assert_array_equal(larger(X, Y), np.where(X > Y, X, Y))


def test_masks_combine():
    both = of_two(lambda x, y: lanes.select((x > 0.0) & (y > 0.0), 1.0, 0.0))
    either = of_two(lambda x, y: lanes.select((x > 0.0) | ~(y > 0.0), 1.0, 0.0))
    np.testing.assert_array_equal(both(X, Y), (X > 0) & (Y > 0))
    np.testing.assert_array_equal(either(X, Y), (X > 0) | ~(Y > 0))


def test_reductions():
    @njit
    def reduced(x):
        positive = load(x, 0) > 0.0
        return lanes.any_lane(positive), lanes.all_lanes(positive), lanes.lane_sum(load(x, 0))

    for x in (np.arange(LANES) - 3.0, np.arange(LANES) + 1.0, -np.ones(LANES)):
        assert reduced(x) == (np.any(x > 0), np.all(x > 0), x.sum())
    assert reduced(X)[:2] == (True, False)  # nan is not positive
    assert np.isnan(reduced(X)[2])


def test_powers_of_two():
    power = of_two(lambda x, y: lanes.power_of_two(x + y))
    k = np.array([-1022.0, -3.0, -1.0, 0.0, 1.0, 2.0, 52.0, 1023.0])
    np.testing.assert_array_equal(power(k, np.full(LANES, 1.5 * 2.0**52)), 2.0**k)


def test_exponential_of_lanes_and_of_floats():
    inputs = np.linspace(-700.0, 705.0, 8000)
    inputs[:8] = [0.0, -0.0, 1e-300, 709.0, 709.1, -709.0, np.inf, -np.inf]

    @njit
    def evaluate(x):
        together, one_by_one = np.empty_like(x), np.empty_like(x)
        for k in range(x.size // LANES):
            store(together, k, exponential(load(x, k)))
        for k in range(x.size):
            one_by_one[k] = exponential(x[k])
        return together, one_by_one

    with np.errstate(over="ignore"):
        exact = np.where(inputs > 709.0, np.inf, np.where(inputs < -708.0, 0.0, np.exp(inputs)))
    for found in evaluate(inputs):
        np.testing.assert_allclose(found, exact, rtol=5e-16)
    for found in evaluate(np.full(LANES, np.nan)):
        assert np.all(np.isnan(found))


@pytest.mark.parametrize("rows", [1, 3, 8, 13])
def test_gather_and_scatter_repeat_the_last_row(rows):
    @njit
    def transpose(matrix, columns, back):
        for row in range(0, matrix.shape[0], LANES):
            for i in range(matrix.shape[1]):
                value = lanes.gather(matrix, row, i)
                store(columns, (row // LANES) * matrix.shape[1] + i, value)
                lanes.scatter(back, row, i, value + 1.0)

    matrix = np.random.default_rng(1).random((rows, 5))
    groups = -(-rows // LANES)
    columns, back = np.empty((groups, 5, LANES)), np.empty_like(matrix)
    transpose(matrix, columns, back)
    repeated = matrix[np.minimum(np.arange(groups * LANES), rows - 1)]
    expected = repeated.reshape(groups, LANES, 5).transpose(0, 2, 1)
    np.testing.assert_array_equal(columns, expected)
    np.testing.assert_array_equal(back, matrix + 1.0)


def test_tiles_are_matrix_products():
    @njit
    def products(scalars, vectors, x, start, out):
        for k in range(x.shape[0]):
            tile = lanes.zero_tile(3) if k == 0 else lanes.load_tile(out, 0, 3)
            tile = lanes.add_scaled(tile, scalars, k * scalars.shape[1] + start, load(x, k))
            tile = lanes.add_products(tile, vectors, k * vectors.shape[1] + start, load(x, k))
            lanes.store_tile(out, 0, tile)

    rng = np.random.default_rng(2)
    scalars, vectors, x = rng.random((4, 6)), rng.random((4, 6, LANES)), rng.random((4, LANES))
    out = np.zeros((4, LANES))
    products(scalars, vectors, x, 2, out)
    expected = np.einsum("ki,kl->il", scalars, x) + np.einsum("kil,kl->il", vectors, x)
    np.testing.assert_allclose(out[:3], expected[2:5], rtol=1e-14)
    assert not np.any(out[3])


@pytest.mark.parametrize("bad", [np.zeros(8, dtype=int), np.zeros((8, 2)).T, np.zeros(16)[::2]])
def test_lanes_live_in_contiguous_doubles(bad):
    @njit
    def first(x):
        return lanes.lane_sum(load(x, 0))

    with pytest.raises(TypingError, match="C-contiguous arrays of doubles"):
        first(bad)
