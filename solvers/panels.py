"""What families of paths share: products over the panels of a kernel, and work in chunks.

A path's values at the nodes stand in the lanes of the vector registers, eight paths side by side
(`dmft.solvers.lanes`). What a panel of p nodes takes over from earlier ones are matrix products;
they are formed for tiles of six or three nodes of the panel, which stay in registers. The last tile
may reach beyond the panel, by SLACK nodes at most: what is found there is not used, but the arrays
must have the room.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numba import config, njit

from dmft.solvers.lanes import (
    INNER,
    LANES,
    add_products,
    add_scaled,
    load,
    load_tile,
    store_tile,
    zero_tile,
)

SLACK = 2  # a panel's last tile has three nodes where one of them is needed
START, NEXT = np.int64(0), np.int64(1)  # numba compiles anew for every literal argument
# Chunks of the paths, for threads. Their number is fixed, so that results do not depend on that of
# the threads.
CHUNKS = 8
LEAST_WORK = 4e6  # in a chunk, in multiplications, which take about as long as to start a thread
THREADS = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
T = TypeVar("T")


@njit(**INNER)
def _scaled_sum(columns, row, nodes, begin, end, x, at, sums):
    """Return sums[i] + sum_j columns[j, row + i] x[at + j], j in nodes[begin:end]."""
    width = columns.shape[1]
    for k in range(begin, end):
        j = nodes[k]
        sums = add_scaled(sums, columns, j * width + row, load(x, at + j))
    return sums


@njit(**INNER, forceinline=True)
def add_history(columns, first, p, nodes, begin, end, x, at, rows):
    """Add sum_j K[first + i, j] x[at + j], j in nodes[begin:end], to rows[i] for i < p.

    Examples
    --------
    >>> from numba import njit
    >>> @njit
    ... def first_row(columns, nodes, x, rows):
    ...     add_history(columns, 0, 1, nodes, 0, 2, x, 0, rows)
    >>> rows = np.zeros((3, LANES))
    >>> K = np.array([[2.0, 3.0]])
    >>> first_row(columns_of(K), np.arange(2), np.ones((2, LANES)), rows)
    >>> rows[0, :2]
    array([5., 5.])
    """
    for i in range(0, p, 6):
        if p - i > 3:
            tile = load_tile(rows, i, 6)
            tile = _scaled_sum(columns, first + i, nodes, begin, end, x, at, tile)
            store_tile(rows, i, tile)
        else:
            rest = load_tile(rows, i, 3)
            rest = _scaled_sum(columns, first + i, nodes, begin, end, x, at, rest)
            store_tile(rows, i, rest)


@njit(**INNER)
def _product_sum(a, at, step, x, x_at, x_step, count, sums):
    """Return sums[i] + sum_k a[at + k step + i] x[x_at + k x_step], k < count."""
    for k in range(count):
        sums = add_products(sums, a, at + k * step, load(x, x_at + k * x_step))
    return sums


@njit(**INNER, forceinline=True)
def set_products(a, at, step, x, x_at, x_step, count, p, out, out_at):
    """Set out[out_at + i] = sum_k a[at + k step + i] x[x_at + k x_step], k < count, for i < p.

    Examples
    --------
    >>> from numba import njit
    >>> @njit
    ... def first(a, x, out):
    ...     set_products(a, 0, 3, x, 0, 1, 2, 1, out, 0)
    >>> out = np.zeros((3, LANES))
    >>> first(np.ones((8, LANES)), np.full((2, LANES), 2.0), out)
    >>> float(out[0, 0])
    4.0
    """
    for i in range(0, p, 6):
        if p - i > 3:
            tile = zero_tile(6)
            tile = _product_sum(a, at + i, step, x, x_at, x_step, count, tile)
            store_tile(out, out_at + i, tile)
        else:
            rest = zero_tile(3)
            rest = _product_sum(a, at + i, step, x, x_at, x_step, count, rest)
            store_tile(out, out_at + i, rest)


def columns_of(matrix: np.ndarray) -> np.ndarray:
    """Return the transpose of a matrix, with room for the tiles that reach beyond its end.

    Examples
    --------
    >>> columns_of(np.array([[1.0, 2.0], [3.0, 4.0]]))[:2, :2]
    array([[1., 3.],
           [2., 4.]])
    """
    rows, columns = matrix.shape
    transpose = np.zeros((columns, rows + SLACK))
    transpose[:, :rows] = matrix.T
    return transpose


def in_chunks(task: Callable[[slice], T], paths: int, work: float) -> list[T]:
    """Run a task on chunks of the paths, in threads where that pays; return the results in order.

    The chunks follow from the number of paths and the work for each, and so do all results. The
    calling thread takes part, since others take as long to wake up as a chunk lasts.

    Examples
    --------
    >>> in_chunks(lambda part: part.stop - part.start, 100, 1.0)
    [104]
    """
    chunks = max(1, min(CHUNKS, int(paths * work / LEAST_WORK), paths // LANES))
    size = LANES * -(-paths // (LANES * chunks))
    parts = [slice(begin, begin + size) for begin in range(0, paths, size)]
    if THREADS == 1 or len(parts) == 1:
        return [task(part) for part in parts]
    left = iter(range(len(parts)))  # its next is atomic
    results: dict[int, T] = {}

    def work_on() -> None:
        for k in left:
            results[k] = task(parts[k])

    helpers = [_pool().submit(work_on) for _ in range(min(THREADS, len(parts)) - 1)]
    try:
        work_on()
    finally:
        for _ in left:  # where the work has failed, helpers stop too
            pass
        for helper in helpers:
            if not helper.cancel():  # one that has not woken up by now has nothing left to do
                helper.result()
    return [results[k] for k in range(len(parts))]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS - 1)
