"""Compiled averages of the linear responses of a family of nonlinear Volterra equations.

Each path m of `dmft.solvers.volterra` answers to small forces by

    X_m = D (I + K D)^(-1),    D = diag(-phi'(H)),

accumulated as the weighted sum over the paths. Small Gaussian noise of covariance R R^T on top
of the drive moves phi(H) by Z_m R = -X_m R to first order; the mean of X_m R and of the square
of these moves is accumulated over the paths that ask for it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import (
    INNER,
    LANES,
    any_lane,
    gather,
    lane_sum,
    load,
    maximum,
    splat,
    store,
)
from dmft.solvers.panels import NEXT, SLACK, START, add_history, columns_of, in_chunks, set_products


@njit(**INNER)
def _invert(matrix, p):
    """Invert the p x p matrices in place by Gauss-Jordan elimination; see `_eliminate`."""
    for k in range(p):
        pivot = 1.0 / load(matrix, k * p + k)
        store(matrix, k * p + k, 1.0)
        for j in range(k * p, k * p + p):
            store(matrix, j, pivot * load(matrix, j))
        for i in range(p):
            if i != k:
                factor = load(matrix, i * p + k)
                store(matrix, i * p + k, 0.0)
                for j in range(p):
                    entry = load(matrix, i * p + j) - factor * load(matrix, k * p + j)
                    store(matrix, i * p + j, entry)


@njit(**INNER)
def _set_block(columns, first, p, D, block):
    """Set block to the transpose of B = -D (I + K_qq D)^(-1) of the panel at node `first`."""
    for j in range(p):
        for i in range(p):
            store(block, j * p + i, columns[first + j, first + i] * load(D, first + j))
        store(block, j * p + j, 1.0 + load(block, j * p + j))
    _invert(block, p)
    for j in range(p):
        for i in range(p):
            store(block, j * p + i, load(block, j * p + i) * -load(D, first + i))


@njit(**INNER)
def _respond(columns, roots, driven, p, D, nodes, count, height, Z, work):
    """Set the columns of Z = -D (I + K D)^(-1) and Z root, `driven` many, on the active nodes.

    Panel by panel, Z_q = B_q (rhs_q + sum_{r < q} K_qr Z_r) with B_q = -D (I + K_qq D)^(-1) and
    the right-hand side I or root. Column c of Z begins at c height.
    """
    block, rows = work
    N = columns.shape[0]
    for end in range(0, count, p):
        first = nodes[end]
        _set_block(columns, first, p, D, block)
        for j in range(p):
            for i in range(p):
                store(Z, (first + j) * height + first + i, load(block, j * p + i))
        for k in range(end + driven):
            column, begin = (nodes[k], k - k % p) if k < end else (N + k - end, 0)
            for i in range(p):
                store(rows, i, 0.0 if k < end else roots[k - end, first + i])
            at = column * height
            add_history(columns, first, p, nodes, begin, end, Z, at, rows)
            set_products(block, START, p, rows, START, NEXT, p, p, Z, at + first)


@njit(**INNER)
def _active_nodes(D, p, cutoff, nodes):
    """List the nodes of the panels where D exceeds the cutoff in a lane; return their number."""
    count = 0
    for first in range(0, nodes.size, p):
        largest = splat(0.0)
        for i in range(first, first + p):
            largest = maximum(load(D, i), largest)
        if any_lane(largest > cutoff):
            for i in range(first, first + p):
                nodes[count] = i
                count += 1
    return count


@njit(**INNER)
def _add_mean(Z, at, nodes, begin, count, weight, total):
    """Add the weighted sum over the lanes of the column of Z that begins at `at` to `total`."""
    for k in range(begin, count):
        total[nodes[k]] += lane_sum(weight * load(Z, at + nodes[k]))


@njit(**INNER)
def _add_square(Z, start, height, rank, p, nodes, count, weight, work, square):
    """Add the lower triangle of Z Z^T, over lanes and the `rank` columns from `start` on.

    The columns of one panel j after the other stay in the fastest cache, and meet all later i.
    """
    _, rows = work
    for r in range(0, count, p):
        first = nodes[r]
        for k in range(r, count):
            i = nodes[k]
            set_products(Z, start + first, height, Z, start + i, height, rank, p, rows, START)
            for j in range(p):
                square[i, first + j] += lane_sum(weight * load(rows, j))


@njit(**INNER)
def _mirror_triangle(matrix):
    """Set the upper triangle of a symmetric matrix to the lower one."""
    for i in range(matrix.shape[0]):
        for j in range(i):
            matrix[j, i] = matrix[i, j]


@njit(cache=True, error_model="numpy", nogil=True)
def _sum_chunk(columns, p, D, weights, roots, root_weights, cutoff, nodes, mean, moved, square):
    """Add the sums of `mean_response` over the paths of one chunk.

    The first two are transposed. Idle lanes repeat the last path, without weight. `nodes` has
    room for the list of active ones.
    """
    M, N = D.shape
    rank = roots.shape[0]
    height = (N + SLACK) | 1  # odd, or the rows of many columns would share a set of the cache
    Z = np.empty((N + rank) * height * LANES)
    lanes_D = np.empty(N * LANES)
    work = np.empty((p * p + SLACK) * LANES), np.empty((p + SLACK) * LANES)
    for begin in range(0, M, LANES):
        weight, root_weight = load(weights, begin // LANES), load(root_weights, begin // LANES)
        carries = rank > 0 and any_lane(root_weight != 0.0)
        for i in range(N):
            store(lanes_D, i, gather(D, begin, i))
        count = _active_nodes(lanes_D, p, cutoff, nodes)
        _respond(columns, roots, rank if carries else 0, p, lanes_D, nodes, count, height, Z, work)
        for k in range(count):
            _add_mean(Z, nodes[k] * height, nodes, k - k % p, count, -weight, mean[nodes[k]])
        if carries:
            for k in range(rank):
                _add_mean(Z, (N + k) * height, nodes, START, count, -root_weight, moved[k])
            _add_square(Z, N * height, height, rank, p, nodes, count, root_weight, work, square)
    _mirror_triangle(square)


def mean_response(
    K: np.ndarray,
    p: int,
    D: np.ndarray,
    weights: np.ndarray,
    root: np.ndarray,
    root_weights: np.ndarray,
    cutoff: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return averages over a family of paths of their responses X_m = D_m (I + K D_m)^(-1).

    Rows and columns of panels where D stays below the cutoff are left out, eight paths at a
    time: they vanish in proportion to D.

    Parameters
    ----------
    K : ndarray, shape (N, N)
        Memory kernel, block-lower-triangular.
    p : int
        Nodes in a panel.
    D : ndarray, shape (M, N)
        Local response along each path.
    weights : ndarray, shape (M,)
        Weight of each path in the mean response.
    root : ndarray, shape (N, r)
        Square root of the covariance of a small noise on the drive.
    root_weights : ndarray, shape (M,)
        Weight of each path in the averages over that noise.
    cutoff : float
        D that counts as zero.

    Returns
    -------
    mean : ndarray, shape (N, N)
        sum_m weights[m] X_m, block-lower-triangular.
    moved : ndarray, shape (N, r)
        sum_m root_weights[m] X_m root.
    square : ndarray, shape (N, N)
        sum_m root_weights[m] X_m root root^T X_m^T.

    Examples
    --------
    >>> K, D = np.tril(np.ones((2, 2))), np.ones((1, 2))
    >>> one = np.ones(1)
    >>> mean, _, _ = mean_response(K, 1, D, one, np.zeros((2, 0)), 0.0 * one, 0.0)
    >>> mean  # (1 + K)^(-1)
    array([[ 0.5 ,  0.  ],
           [-0.25,  0.5 ]])
    """

    def add(chunk: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = D[chunk], lane_weights[chunk], roots, lane_root_weights[chunk]
        sums = np.zeros((N, N)), np.zeros((rank, N)), np.zeros((N, N))
        _sum_chunk(columns, p, *part, cutoff, np.empty(N, dtype=np.int64), *sums)
        return sums

    D = np.ascontiguousarray(D)
    N, rank = root.shape
    columns, roots = columns_of(K), columns_of(root)
    lane_weights, lane_root_weights = _filled_up(weights), _filled_up(root_weights)
    parts = zip(*in_chunks(add, len(D), float(len(K)) ** 3), strict=True)
    mean, moved, square = (sum(part[1:], start=part[0]) for part in parts)
    return mean.T.copy(), moved.T.copy(), square


def _filled_up(weights: np.ndarray) -> np.ndarray:
    """Append zeros for idle lanes."""
    filled = np.zeros(LANES * -(-len(weights) // LANES))
    filled[: len(weights)] = weights
    return filled


def compile_functions() -> None:
    """Compile the averages, or load them from numba's cache."""
    one = np.ones((1, 2))
    mean_response(0.1 * np.eye(2), 2, one, np.ones(1), one.reshape(2, 1), np.ones(1), 0.0)
