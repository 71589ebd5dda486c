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
    """Return the smaller one; y if one of them is nan."""
    return np.where(x < y, x, y)[()]


def maximum(x: Any, y: Any) -> Any:
    """Return the larger one; y if one of them is nan."""
    return np.where(x > y, x, y)[()]


def select(condition: Any, x: Any, y: Any) -> Any:
    """Return x where the condition holds, else y."""
    return np.where(condition, x, y)[()]


def absolute(x: np.ndarray) -> np.ndarray:
    """Return |x|."""
    return np.abs(x)


def power_of_two(x: Any) -> Any:
    """Return 2^k, where the integer k stands in the low bits of the double x."""
    low = np.asarray(x, dtype=float).view(np.int64)
    return ((low + BIAS) << BITS).view(float)[()]


def splat(x: float) -> np.ndarray:
    """Return a float in all lanes."""
    return np.full(LANES, float(x))


def lane_sum(x: np.ndarray) -> float:
    """Return the sum over the lanes."""
    return float(x.sum())


def any_lane(condition: np.ndarray) -> bool:
    """Return whether a condition holds in some lane."""
    return bool(np.any(condition))


def all_lanes(condition: np.ndarray) -> bool:
    """Return whether a condition holds in all lanes."""
    return bool(np.all(condition))


def load(array: np.ndarray, at: int) -> np.ndarray:
    """Return element `at` of an array seen as a flat sequence of lanes."""
    return array.reshape(-1)[at * LANES : (at + 1) * LANES].copy()


def store(array: np.ndarray, at: int, value: Any) -> None:
    """Set element `at` of an array seen as a flat sequence of lanes."""
    array.reshape(-1)[at * LANES : (at + 1) * LANES] = value


def _rows(matrix: np.ndarray, row: int) -> np.ndarray:
    """Return the indices of eight rows; lanes beyond the last row share it."""
    return np.minimum(int(row) + np.arange(LANES), len(matrix) - 1)


def gather(matrix: np.ndarray, row: int, column: int) -> np.ndarray:
    """Return one column of eight rows of a matrix; lanes beyond the last row repeat it."""
    return matrix[_rows(matrix, row), column]


def scatter(matrix: np.ndarray, row: int, column: int, value: Any) -> None:
    """Set one column of eight rows of a matrix; see `gather`."""
    matrix[_rows(matrix, row), column] = value


def zero_tile(size: int) -> Tile:
    """Return a tile of zeros."""
    return (np.zeros(LANES),) * size


def load_tile(array: np.ndarray, at: int, size: int) -> Tile:
    """Return elements at, ..., at + size - 1 of an array of lanes."""
    return tuple(load(array, at + i) for i in range(size))


def store_tile(array: np.ndarray, at: int, tile: Tile) -> None:
    """Set elements at, at + 1, ... of an array of lanes to a tile."""
    for i, value in enumerate(tile):
        store(array, at + i, value)


def add_scaled(tile: Tile, array: np.ndarray, at: int, x: np.ndarray) -> Tile:
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of doubles."""
    factors = array.reshape(-1)
    return tuple(total + factors[at + i] * x for i, total in enumerate(tile))


def add_products(tile: Tile, array: np.ndarray, at: int, x: np.ndarray) -> Tile:
    """Return tile[i] + array[at + i] x, the array seen as a flat sequence of lanes."""
    return tuple(total + load(array, at + i) * x for i, total in enumerate(tile))
