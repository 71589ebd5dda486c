"""Checks of arguments: each error names the argument, its value and the permitted range."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

Rng = int | np.random.Generator | np.random.SeedSequence | None
"""What every `rng` argument may be; None draws fresh entropy."""


def shown(value: Any) -> str:
    """Return how a value reads in a message: NumPy's numbers as numbers, arrays in short.

    Examples
    --------
    >>> shown(np.float64(1.1)), shown(np.arange(3))
    ('1.1', 'array([0, 1, 2])')
    """
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.ndarray):
        with np.printoptions(threshold=10):
            return " ".join(repr(value).split()) if value.ndim > 1 else repr(value)
    return repr(value)


def require_finite(name: str, value: Any) -> float:
    """Return `value` as a float.

    Raises
    ------
    ValueError
        If it is not a finite real number.

    Examples
    --------
    >>> require_finite("alpha", 2)
    2.0
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    try:
        number = float(value) if real else math.nan
    except OverflowError:  # an integer or a fraction beyond the range of doubles
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be a finite real number; got {shown(value)}")
    return number


def require_in_range(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> float:
    """Return `value` as a float inside the interval from `low` to `high`.

    Raises
    ------
    ValueError
        If it is not a finite real number in that interval.

    Examples
    --------
    >>> require_in_range("delta", 0.5, low=0.0, low_open=True)
    0.5
    """
    number = require_finite(name, value)
    below = number <= low if low_open else number < low
    above = number >= high if high_open else number > high
    if below or above:
        left = "" if low == -math.inf else f"{name} {'>' if low_open else '>='} {low:g}"
        right = "" if high == math.inf else f"{name} {'<' if high_open else '<='} {high:g}"
        permitted = " and ".join(part for part in (left, right) if part)
        raise ValueError(f"{name} must satisfy {permitted}; got {shown(value)}")
    return number


def require_integer(name: str, value: Any, low: int) -> int:
    """Return `value` as an int that is at least `low`.

    Raises
    ------
    ValueError
        If it is not an integer or is smaller than `low`.

    Examples
    --------
    >>> require_integer("seeds", 3, 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < low:
        raise ValueError(f"{name} must be an integer >= {low}; got {shown(value)}")
    return int(value)


def require_array(name: str, value: Any) -> np.ndarray:
    """Return `value` as a read-only array of finite numbers, shape (m,), m >= 1; a copy.

    Raises
    ------
    ValueError
        If it is empty, not one-dimensional, or holds what is not a finite number.

    Examples
    --------
    >>> require_array("values", [1, 2])
    array([1., 2.])
    >>> require_array("values", [[1.0]])
    Traceback (most recent call last):
    ...
    ValueError: values must be a non-empty 1-d array; got shape (1, 1)
    """
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} must be an array of real numbers; got {shown(value)}") from None
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-d array; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite; got {float(array[~np.isfinite(array)][0])}")
    array.setflags(write=False)
    return array


def require_times(name: str, value: Any, t_max: float = math.inf) -> np.ndarray:
    """Return `value` as a strictly increasing array of times in [0, t_max], shape (T,).

    Raises
    ------
    ValueError
        If it is empty, not one-dimensional, not finite, not increasing or out of range.

    Examples
    --------
    >>> require_times("t_eval", [0, 0.5, 1], 1.0)
    array([0. , 0.5, 1. ])
    """
    times = np.array(value, dtype=float)
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-d array; got shape {times.shape}")
    if not np.all(np.isfinite(times)):
        raise ValueError(f"{name} must be finite; got {shown(times[~np.isfinite(times)][0])}")
    falls = np.flatnonzero(np.diff(times) <= 0)
    if falls.size:
        first, second = map(shown, times[falls[0] : falls[0] + 2])
        raise ValueError(f"{name} must be strictly increasing; got {first} followed by {second}")
    if times[0] < 0 or times[-1] > t_max:
        upper = "" if t_max == math.inf else f" and <= t_max = {shown(t_max)}"
        wrong = shown(times[0] if times[0] < 0 else times[-1])
        raise ValueError(f"{name} must be >= 0{upper}; got {wrong}")
    return times


def check_rng(rng: Any) -> None:
    """Check a source of randomness.

    Raises
    ------
    TypeError
        If it is neither an int nor a Generator, a SeedSequence or None.
    ValueError
        If it is a negative int.

    Examples
    --------
    >>> check_rng(-1)
    Traceback (most recent call last):
    ...
    ValueError: rng must be an integer >= 0; got -1
    """
    if rng is None or isinstance(rng, np.random.Generator | np.random.SeedSequence):
        return
    if isinstance(rng, bool) or not isinstance(rng, numbers.Integral):
        raise TypeError(f"rng must be an int, Generator, SeedSequence or None; got {rng!r}")
    require_integer("rng", rng, low=0)


def recorded_seed(rng: Rng) -> int:
    """Return one integer that stands for a source of randomness and can be recorded.

    Parameters
    ----------
    rng : int, Generator, SeedSequence or None
        An int stands for itself; a Generator moves on by one draw; None gives fresh entropy.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or a negative int.

    Examples
    --------
    >>> recorded_seed(7)
    7
    >>> recorded_seed(np.random.SeedSequence(7)) == recorded_seed(np.random.SeedSequence(7))
    True
    """
    check_rng(rng)
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**63))
    if isinstance(rng, np.random.SeedSequence):
        return int(rng.generate_state(1, np.uint64)[0])
    return int(np.random.SeedSequence().entropy) if rng is None else int(rng)  # type: ignore[arg-type]
