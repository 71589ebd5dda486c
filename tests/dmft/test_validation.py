"""Checks of arguments: what passes, what does not, and what the error says."""

import math

import numpy as np
import pytest

from dmft.validation import require_finite, require_in_range, require_integer, require_times


@pytest.mark.parametrize("value", [1, -2.5, np.float32(0.5), np.int64(3), 1e300])
def test_finite_numbers_pass_as_floats(value):
    found = require_finite("x", value)
    assert type(found) is float
    assert found == value


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, "1", None, True, 1j, [1.0], np.ones(1)]
)
def test_what_is_not_a_finite_number(value):
    with pytest.raises(ValueError, match="speed must be a finite real number; got"):
        require_finite("speed", value)


def test_range_is_closed_unless_open():
    assert require_in_range("x", 0, low=0.0, high=1.0) == 0.0
    assert require_in_range("x", 1, low=0.0, high=1.0) == 1.0
    assert require_in_range("x", -1e9) == -1e9
    for value in (0.0, 1.0, -0.1, 1.1):
        with pytest.raises(ValueError, match=r"x must satisfy x > 0 and x < 1; got"):
            require_in_range("x", value, 0.0, 1.0, low_open=True, high_open=True)


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"low": 2.0}, "x >= 2;"),
        ({"high": 0.5}, "x <= 0.5;"),
        ({"low": 1.0, "low_open": True, "high": 1e-9}, "x > 1 and x <= 1e-09;"),
    ],
)
def test_message_names_value_and_permitted_range(bounds, text):
    with pytest.raises(ValueError, match=rf"x must satisfy {text} got 1\.0"):
        require_in_range("x", 1.0, **bounds)


def test_range_needs_a_number_first():
    with pytest.raises(ValueError, match="finite real number; got nan"):
        require_in_range("x", math.nan, low=0.0)


@pytest.mark.parametrize("value", [3, np.int64(4)])
def test_integers_pass(value):
    found = require_integer("n", value, low=3)
    assert type(found) is int
    assert found == value


@pytest.mark.parametrize("value", [2, 3.0, True, "4", None, np.float64(5), math.inf])
def test_what_is_not_such_an_integer(value):
    with pytest.raises(ValueError, match="n must be an integer >= 3; got"):
        require_integer("n", value, low=3)


def test_times_are_copied():
    values = [0, 1, 2.5]
    np.testing.assert_array_equal(require_times("t", values), [0.0, 1.0, 2.5])
    array = np.array([0.5, 2.0])
    found = require_times("t", array, t_max=2.0)
    found[0] = 9.0
    assert array[0] == 0.5


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ([], "non-empty 1-d array; got shape"),
        (1.0, "non-empty 1-d array; got shape"),
        ([[0.0, 1.0]], "non-empty 1-d array; got shape"),
        ([0.0, math.nan], "must be finite; got"),
        ([0.0, math.inf], "must be finite; got"),
        ([0.0, 1.0, 1.0], "strictly increasing"),
        ([2.0, 1.0], "strictly increasing"),
        ([-0.1, 1.0], r">= 0 and <= t_max = 3\.0; got -0\.1$"),
        ([0.0, 3.1], r"t_max = 3\.0; got 3\.1$"),
    ],
)
def test_bad_times(times, text):
    with pytest.raises(ValueError, match=f"t_eval .*{text}"):
        require_times("t_eval", times, t_max=3.0)


@pytest.mark.parametrize("value", [np.float64(-1.1), np.int64(-1), np.float32(-1.5)])
def test_numbers_of_numpy_read_as_numbers(value):
    with pytest.raises(ValueError, match=rf"got {value.item()!r}$"):
        require_in_range("x", value, low=0.0)
    with pytest.raises(ValueError, match=rf"got {value.item()!r}$"):
        require_integer("x", value, low=0)
