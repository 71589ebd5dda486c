"""The operations of `dmft.solvers.lanes` in NumPy, for code that numba is told not to compile.

With NUMBA_DISABLE_JIT=1 in the environment every compiled function is plain Python, through which a
debugger can step. Eight doubles side by side are then an array of eight, a mask is one of truth
values, and a tile a tuple of arrays. It is slower by a factor of a thousand and more. Each function
does what that of the same name in `dmft.solvers.lanes` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LANES = 8
BITS = 52  # of the mantissa of a double
BIAS = 1023  # of its exponent

Tile = tuple[np.ndarray, ...]


def minimum(x: Any, y: Any) -> Any:
    """Return the smaller one; y if one of them is nan.

    Examples
    --------
    >>> float(minimum(1.0, 2.0))
    1.0
    """
    return np.where(x < y, x, y)[()]


def maximum(x: Any, y: Any) -> Any:
    """Return the larger one; y if one of them is nan.

    Examples
    --------
    >>> float(maximum(1.0, 2.0))
    2.0
    """
    return np.where(x > y, x, y)[()]


def select(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, else y.

    Examples
    --------
    >>> x = np.array([-1.0, 2.0])
    >>> select(x > 0, x, 0.0)
    array([0., 2.])
    """
    return np.where(condition, x, y)[()]


def absolute(x: np.ndarray) -> np.ndarray:
    """Return |x|.

    Examples
    --------
    >>> absolute(np.array([-1.0, 2.0]))
    array([1., 2.])
    """
    return np.abs(x)


def power_of_two(x: Any) -> Any:
    """Return 2^k, where the integer k stands in the low bits of the double x.

    Examples
    --------
    >>> bits = np.array([3], dtype=np.int64).view(float)
    >>> float(power_of_two(bits)[0])
    8.0
    """
    low = np.asarray(x, dtype=float).view(np.int64)
    return ((low + BIAS) << BITS).view(float)[()]


def splat(x: float) -> np.ndarray:
    """Return a float in all lanes.

    Examples
    --------
    >>> splat(3.0).shape
    (8,)
    """
    return np.full(LANES, float(x))


def lane_sum(x: np.ndarray) -> float:
    """Return the sum over the lanes.

    Examples
    --------
    >>> lane_sum(splat(0.5))
    4.0
    """
    return float(x.sum())


def any_lane(condition: np.ndarray) -> bool:
    """Return whether a condition holds in some lane.

    Examples
    --------
    >>> any_lane(splat(1.0) > 0)
    True
    """
    return bool(np.any(condition))


def all_lanes(condition: np.ndarray) -> bool:
    """Return whether a condition holds in all lanes.

    Examples
    --------
    >>> all_lanes(splat(1.0) > 2)
    False
    """
    return bool(np.all(condition))


def load(array: np.ndarray, at: int) -> np.ndarray:
    """Return element `at` of an array seen as a flat sequence of lanes.

    Examples
    --------
    >>> load(np.arange(16.0).reshape(2, 8), 1)
    array([ 8.,  9., 10., 11., 12., 13., 14., 15.])
    """
    return array.reshape(-1)[at * LANES : (at + 1) * LANES].copy()


def store(array: np.ndarray, at: int, value: Any) -> None:
    """Set element `at` of an array seen as a flat sequence of lanes.

    Examples
    --------
    >>> array = np.zeros((2, 8))
    >>> store(array, 1, splat(2.0))
    >>> array.sum(axis=1)
    array([ 0., 16.])
    """
    array.reshape(-1)[at * LANES : (at + 1) * LANES] = value


def _rows(matrix: np.ndarray, row: int) -> np.ndarray:
    """Return the indices of eight rows; lanes beyond the last row share it."""
    return np.minimum(int(row) + np.arange(LANES), len(matrix) - 1)


def gather(matrix: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return one column of eight rows of a matrix; lanes beyond the last row repeat it.

    Examples
    --------
    >>> gather(np.arange(16.0).reshape(8, 2), 0, 1)
    array([ 1.,  3.,  5.,  7.,  9., 11., 13., 15.])
    """
    return matrix[_rows(matrix, row), column]


def scatter(matrix: np.ndarray, row: int, column: int, value: Any) -> None:
    """Set one column of eight rows of a matrix; see `gather`.

    Examples
    --------
    >>> matrix = np.zeros((8, 2))
    >>> scatter(matrix, 0, 1, splat(3.0))
    >>> matrix.sum(axis=0)
    array([ 0., 24.])
    """
    matrix[_rows(matrix, row), column] = value


def zero_tile(size: int) -> Tile:
    """Return a tile of zeros.

    Examples
    --------
    >>> len(zero_tile(4))
    4
    """
    return (np.zeros(LANES),) * size


def load_tile(array: np.ndarray, at: int, size: int) -> Tile:
    """Return elements at, ..., at + size - 1 of an array of lanes.

    Examples
    --------
    >>> len(load_tile(np.zeros((4, 8)), 1, 2))
    2
    """
    return tuple(load(array, at + i) for i in range(size))


def store_tile(array: np.ndarray, at: int, tile: Tile) -> None:
    """Set elements at, at + 1, ... of an array of lanes to a tile.

    Examples
    --------
    >>> array = np.ones((4, 8))
    >>> store_tile(array, 1, zero_tile(2))
    >>> array.sum(axis=1)
    array([8., 0., 0., 8.])
    """
    for i, value in enumerate(tile):
        store(array, at + i, value)


def add_scaled(tile: Tile, array: np.ndarray, at: int, x: np.ndarray) -> Tile:
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of doubles.

    Examples
    --------
    >>> tile = add_scaled(zero_tile(2), np.array([1.0, 2.0, 3.0]), 1, splat(10.0))
    >>> [float(lanes[0]) for lanes in tile]
    [20.0, 30.0]
    """
    factors = array.reshape(-1)
    return tuple(total + factors[at + i] * x for i, total in enumerate(tile))


def add_products(tile: Tile, array: np.ndarray, at: int, x: np.ndarray) -> Tile:
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of lanes.

    Examples
    --------
    >>> tile = add_products(zero_tile(2), np.ones((2, 8)), 0, splat(3.0))
    >>> [float(lanes[0]) for lanes in tile]
    [3.0, 3.0]
    """
    return tuple(total + load(array, at + i) * x for i, total in enumerate(tile))
