"""Compiled kernels for families of nonlinear Volterra equations with a common kernel.

Each path m solves, at the nodes of a collocation grid,

    H = U_m + K phi(H),        K block-lower-triangular in panels of p nodes,

panel by panel with a damped Newton iteration in each panel, and its linear response is

    X_m = D (I + K D)^(-1),    D = diag(-phi'(H)),

accumulated as the weighted sum over the paths. Small Gaussian noise of covariance R R^T on top
of the drive moves phi(H) by Z_m R = -X_m R to first order; the mean of X_m R and of the square
of these moves is accumulated over the paths that ask for it.

Eight paths go through every loop side by side (`dmft.solvers.lanes`), the panels' systems of p
equations included: a LAPACK call costs more than they do. What a panel takes over from earlier
ones are matrix products; they are formed for tiles of six or three nodes of the panel, which stay
in registers. The last tile may reach beyond the panel, by SLACK nodes at most: what is found
there is not used, but the arrays must have the room.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from dmft.solvers.lanes import (
    INNER,
    LANES,
    absolute,
    add_products,
    add_scaled,
    all_lanes,
    any_lane,
    gather,
    lane_sum,
    load,
    load_tile,
    maximum,
    minimum,
    scatter,
    select,
    splat,
    store,
    store_tile,
    zero_tile,
)
from dmft.solvers.map_codes import HYPERBOLIC, LINEAR
from dmft.solvers.scalar_maps import exponential, inverse, mirror
from numba import config, njit

NEWTON_TOLERANCE = 1e-8  # of a quadratically convergent step: the error left is its square
MAX_NEWTON = 100
OVERSHOOT = 4.0
SLACK = 2
START, NEXT = np.int64(0), np.int64(1)  # numba compiles anew for every literal argument
CHUNKS = 8  # of the paths, for threads; fixed, so that results do not depend on their number
LEAST_WORK = 4e6  # in a chunk, in multiplications, which take about as long as to start a thread
NEWTON_WORK = 30.0  # multiplications of a path's solution over the square of its nodes
THREADS = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
T = TypeVar("T")


# --- panels and their products -----------------------------------------------------------------


@njit(**INNER)
def _scaled_sum(columns, row, nodes, begin, end, x, at, sums):
    """Return sums[i] + sum_j columns[j, row + i] x[at + j], j in nodes[begin:end]."""
    width = columns.shape[1]
    for k in range(begin, end):
        j = nodes[k]
        sums = add_scaled(sums, columns, j * width + row, load(x, at + j))
    return sums


@njit(**INNER, forceinline=True)
def _add_history(columns, first, p, nodes, begin, end, x, at, rows):
    """Add sum_j K[first + i, j] x[at + j], j in nodes[begin:end], to rows[i] for i < p."""
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
def _set_products(a, at, step, x, x_at, x_step, count, p, out, out_at):
    """Set out[out_at + i] = sum_k a[at + k step + i] x[x_at + k x_step], k < count, for i < p."""
    for i in range(0, p, 6):
        if p - i > 3:
            tile = zero_tile(6)
            tile = _product_sum(a, at + i, step, x, x_at, x_step, count, tile)
            store_tile(out, out_at + i, tile)
        else:
            rest = zero_tile(3)
            rest = _product_sum(a, at + i, step, x, x_at, x_step, count, rest)
            store_tile(out, out_at + i, rest)


def _columns(matrix: np.ndarray) -> np.ndarray:
    """Return the transpose of a matrix, with room for the tiles that reach beyond its end."""
    rows, columns = matrix.shape
    transpose = np.zeros((columns, rows + SLACK))
    transpose[:, :rows] = matrix.T
    return transpose


# --- paths -------------------------------------------------------------------------------------


@njit(**INNER)
def _eliminate(matrix, rhs, p):
    """Solve matrix x = rhs in every lane (x in rhs) by elimination without pivoting.

    The p x p matrices are I + A D with A a Radau IIA block and D >= 0. The leading minors of A are
    positive, hence so are the pivots. Their inverse is left on the diagonal.
    """
    for k in range(p):
        pivot = 1.0 / load(matrix, k * p + k)
        store(matrix, k * p + k, pivot)
        for i in range(k + 1, p):
            factor = load(matrix, i * p + k) * pivot
            for j in range(k + 1, p):
                entry = load(matrix, i * p + j) - factor * load(matrix, k * p + j)
                store(matrix, i * p + j, entry)
            store(rhs, i, load(rhs, i) - factor * load(rhs, k))
    for i in range(p - 1, -1, -1):
        x = load(rhs, i)
        for j in range(i + 1, p):
            x = x - load(matrix, i * p + j) * load(rhs, j)
        store(rhs, i, x * load(matrix, i * p + i))


@njit(**INNER)
def _evaluate_lane(code, p, table, bound, H, w, D, at):
    """Set w, D to the map at H in one lane, after moving H to where |w| <= bound if beyond."""
    w[at], D[at] = mirror(code, H[at], p, table)
    if not abs(w[at]) <= bound:  # also for nan
        H[at] = inverse(code, -bound if H[at] > 0 else bound, p, table)
        w[at], D[at] = mirror(code, H[at], p, table)


@njit(**INNER)
def _evaluate_map(code, p, table, bounds, H, w, D, i):
    """Set w, D at node i to the map at H, after moving H to where |w| <= bound if beyond."""
    if code == HYPERBOLIC:
        up = 0.5 * exponential(p[0] - load(H, i))
        down = 0.5 * exponential(p[1] + load(H, i))
        store(w, i, up - down)
        store(D, i, up + down)
        if all_lanes(absolute(up - down) <= load(bounds, 0)):
            return
    for lane in range(LANES):
        at = i * LANES + lane
        if code != HYPERBOLIC or not abs(w[at]) <= bounds[lane]:
            _evaluate_lane(code, p, table, bounds[lane], H, w, D, at)


@njit(**INNER)
def _newton_system(columns, first, p, known, H, w, D, matrix, step):
    """Set matrix = I + K_qq D and step = known + K_qq w - H on the panel at node `first`."""
    for i in range(p):
        defect = load(known, i) - load(H, first + i)
        for j in range(p):
            k = columns[first + j, first + i]
            defect = defect + k * load(w, first + j)
            store(matrix, i * p + j, k * load(D, first + j))
        store(matrix, i * p + i, 1.0 + load(matrix, i * p + i))
        store(step, i, defect)


@njit(**INNER)
def _measure(first, p, H, step):
    """Return the largest |step| in each lane, that of |H| and 1, and where all is finite."""
    largest, scale = splat(0.0), splat(1.0)
    finite = largest < np.inf
    for i in range(p):
        size = absolute(load(step, i))
        finite = finite & (size < np.inf)
        largest = maximum(size, largest)  # drops a nan
        scale = maximum(absolute(load(H, first + i)), scale)
    return largest, scale, finite


@njit(**INNER)
def _reset(first, p, lost, H, step):
    """Set H and step to zero in the lanes that are lost."""
    for i in range(p):
        store(H, first + i, select(lost, 0.0, load(H, first + i)))
        store(step, i, select(lost, 0.0, load(step, i)))


@njit(**INNER)
def _next_damping(iteration, damping, largest, previous):
    """Return the share of the next step to take: less where the iteration circles.

    Far up the exponential every step is about 1, which is no circling. A damped step shrinks by
    its damping at best.
    """
    relaxed = minimum(1.5 * damping, 1.0)
    if iteration <= 40:
        return relaxed
    circling = largest > (1.0 - 0.3 * damping) * previous
    return select(circling, maximum(0.5 * damping, 1.0 / 64.0), relaxed)


@njit(**INNER)
def _solve_panel(code, parameters, table, columns, first, p, known, H, w, D, work, used):
    """Solve H = known + K phi(H) on the panel that starts at node `first`; H holds the guess.

    The exponential of the map makes a plain Newton step from its flat part overshoot by far.
    The solution obeys |K_ii w_i| <~ |known|, so H is kept where |w| stays below a multiple of
    that bound. Returns `used` with the number of iterations added, or -1 in the lanes where the
    step did not fall below the tolerance.
    """
    matrix, step, bounds = work
    size, damping, previous = splat(1.0), splat(1.0), splat(np.inf)
    for i in range(p):
        size = maximum(absolute(load(known, i)), size)
    done = size < 0.0  # nowhere
    for iteration in range(MAX_NEWTON):
        for i in range(first, first + p):
            store(bounds, 0, (OVERSHOOT / abs(columns[i, i])) * size)
            _evaluate_map(code, parameters[i], table, bounds, H, w, D, i)
        _newton_system(columns, first, p, known, H, w, D, matrix, step)
        _eliminate(matrix, step, p)
        largest, scale, finite = _measure(first, p, H, step)
        if not all_lanes(finite):
            _reset(first, p, ~finite, H, step)
            used = select(finite, used, -1.0)
            done = done | ~finite
        damping = _next_damping(iteration, damping, largest, previous)
        previous = largest
        used = select(done | (used < 0.0), used, used + 1.0)
        done = done | (largest <= NEWTON_TOLERANCE + 1e-13 * scale)
        for i in range(p):
            store(H, first + i, load(H, first + i) + damping * load(step, i))
        if all_lanes(done):
            for i in range(first, first + p):  # to first order; the error left is the step squared
                store(w, i, load(w, i) - load(D, i) * load(step, i - first))
            return used
    return select(done, used, -1.0)


@njit(**INNER)
def _continue_guess(H, first, p):
    """Start a panel without a guess from where the path has come."""
    absent = load(H, first) == 0.0
    for i in range(first, first + p):
        store(H, i, select(absent, load(H, first - 1), load(H, i)))


@njit(cache=True, error_model="numpy", nogil=True)
def _solve_chunk(code, parameters, table, columns, p, nodes, U, H, w, D, iterations):
    """Solve the paths of one chunk; see `solve_paths`. Idle lanes repeat the last path."""
    M, N = U.shape
    lanes_H = np.empty(N * LANES)
    lanes_w = np.empty(N * LANES)
    lanes_D = np.empty(N * LANES)
    known = np.empty((p + SLACK) * LANES)
    work = np.empty(p * p * LANES), np.empty(p * LANES), np.empty(LANES)
    for begin in range(0, M, LANES):
        for i in range(N):
            store(lanes_H, i, gather(H, begin, i))
        used = splat(0.0)
        for first in range(0, N, p):
            for i in range(p):
                store(known, i, gather(U, begin, first + i))
            if first > 0:
                _continue_guess(lanes_H, first, p)
            _add_history(columns, first, p, nodes, START, first, lanes_w, START, known)
            used = _solve_panel(
                code,
                parameters,
                table,
                columns,
                first,
                p,
                known,
                lanes_H,
                lanes_w,
                lanes_D,
                work,
                used,
            )
        scatter(iterations, begin, 0, used)
        for i in range(N):
            scatter(H, begin, i, load(lanes_H, i))
            scatter(w, begin, i, load(lanes_w, i))
            scatter(D, begin, i, load(lanes_D, i))


def solve_paths(
    code: int,
    parameters: np.ndarray,
    table: np.ndarray,
    K: np.ndarray,
    p: int,
    U: np.ndarray,
    H: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve H = U + K phi(H) for each path.

    Parameters
    ----------
    code : int
        Map of `dmft.solvers.map_codes`.
    parameters : ndarray, shape (N, P)
        Parameters of the map at the nodes.
    table : ndarray, shape (J, 3)
        Table of the map, empty where it needs none.
    K : ndarray, shape (N, N)
        Memory kernel, block-lower-triangular.
    p : int
        Nodes in a panel.
    U : ndarray, shape (M, N)
        Drive of each path.
    H : ndarray, shape (M, N)
        Initial guess, C-contiguous, 0 where there is none; overwritten by the solution.

    Returns
    -------
    w, D : ndarray, shape (M, N)
        phi(H) and -phi'(H).
    iterations : ndarray of int, shape (M,)
        Newton iterations of each path, -1 where a panel did not converge.
    """
    U = np.ascontiguousarray(U)
    w, D = np.empty_like(U), np.empty_like(U)
    iterations = np.empty((len(U), 1))
    columns, nodes = _columns(K), np.arange(len(K))

    def solve(chunk: slice) -> None:
        part = (U[chunk], H[chunk], w[chunk], D[chunk], iterations[chunk])
        _solve_chunk(code, parameters, table, columns, p, nodes, *part)

    _in_chunks(solve, len(U), NEWTON_WORK * len(K) ** 2)
    return w, D, iterations[:, 0].astype(np.int64)


def _in_chunks(task: Callable[[slice], T], paths: int, work: float) -> list[T]:
    """Run a task on chunks of the paths, in threads where that pays; return the results in order.

    The chunks follow from the number of paths and the work for each, and so do all results. The
    calling thread takes part, since others take as long to wake up as a chunk lasts.
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


# --- responses ---------------------------------------------------------------------------------


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
            _add_history(columns, first, p, nodes, begin, end, Z, at, rows)
            _set_products(block, START, p, rows, START, NEXT, p, p, Z, at + first)


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
            _set_products(Z, start + first, height, Z, start + i, height, rank, p, rows, START)
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
    """

    def add(chunk: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = D[chunk], lane_weights[chunk], roots, lane_root_weights[chunk]
        sums = np.zeros((N, N)), np.zeros((rank, N)), np.zeros((N, N))
        _sum_chunk(columns, p, *part, cutoff, np.empty(N, dtype=np.int64), *sums)
        return sums

    D = np.ascontiguousarray(D)
    N, rank = root.shape
    columns, roots = _columns(K), _columns(root)
    lane_weights, lane_root_weights = _filled_up(weights), _filled_up(root_weights)
    parts = zip(*_in_chunks(add, len(D), float(len(K)) ** 3), strict=True)
    mean, moved, square = (sum(part[1:], start=part[0]) for part in parts)
    return mean.T.copy(), moved.T.copy(), square


def _filled_up(weights: np.ndarray) -> np.ndarray:
    """Append zeros for idle lanes."""
    filled = np.zeros(LANES * -(-len(weights) // LANES))
    filled[: len(weights)] = weights
    return filled


def compile_functions() -> None:
    """Compile both kernels, or load them from numba's cache."""
    one = np.ones((1, 2))
    K = 0.1 * np.eye(2)
    _, D, _ = solve_paths(LINEAR, one.reshape(2, 1), np.empty((0, 3)), K, 2, one, 0.0 * one)
    mean_response(K, 2, D, np.ones(1), one.reshape(2, 1), np.ones(1), 0.0)
