"""Compiled kernels for families of nonlinear Volterra equations with a common kernel.

Each path m solves, at the nodes of a collocation grid,

    H = U_m + K phi(H),        K block-lower-triangular in panels of p nodes,

panel by panel with a damped Newton iteration in each panel, and its linear response is

    X_m = D (I + K D)^(-1),    D = diag(-phi'(H)),

accumulated as the weighted sum over the paths. Small Gaussian noise of covariance R R^T on top
of the drive moves phi(H) by -X_m R z to first order; the mean of that and of its square is
accumulated over the paths that ask for it.

Eight paths go through every loop side by side, one in each lane of the vector registers, with
the paths innermost in all arrays. Systems of p equations are eliminated by hand, a LAPACK call
costs more than they do.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np
from numba import config, njit

from solvers.mirror_kernels import exponential, inverse, mirror
from solvers.mirror_maps import HYPERBOLIC, LINEAR

LANES = 8
NEWTON_TOLERANCE = 1e-8  # of a quadratically convergent step: the error left is its square
MAX_NEWTON = 100
OVERSHOOT = 4.0
CHUNKS = 8  # of the paths, for threads; fixed, so that results do not depend on their number
LEAST_PATHS = 64  # in a chunk
THREADS = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
T = TypeVar("T")


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _eliminate(matrix, rhs, p):
    """Solve matrix x = rhs in every lane (x in rhs) by elimination without pivoting.

    matrix has the shape (p, p, LANES). The matrices are I + A D with A a Radau IIA block and
    D >= 0. The leading minors of A are positive, hence so are the pivots.
    """
    for k in range(p):
        for lane in range(LANES):
            matrix[k, k, lane] = 1.0 / matrix[k, k, lane]
        for i in range(k + 1, p):
            for lane in range(LANES):
                matrix[i, k, lane] *= matrix[k, k, lane]
            for j in range(k + 1, p):
                for lane in range(LANES):
                    matrix[i, j, lane] -= matrix[i, k, lane] * matrix[k, j, lane]
            for lane in range(LANES):
                rhs[i, lane] -= matrix[i, k, lane] * rhs[k, lane]
    for i in range(p - 1, -1, -1):
        for j in range(i + 1, p):
            for lane in range(LANES):
                rhs[i, lane] -= matrix[i, j, lane] * rhs[j, lane]
        for lane in range(LANES):
            rhs[i, lane] *= matrix[i, i, lane]


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _invert(matrix, factor, p):
    """Invert (p, p, LANES) in place by Gauss-Jordan elimination; see `_eliminate`."""
    for k in range(p):
        for lane in range(LANES):
            factor[lane] = 1.0 / matrix[k, k, lane]
            matrix[k, k, lane] = 1.0
        for j in range(p):
            for lane in range(LANES):
                matrix[k, j, lane] *= factor[lane]
        for i in range(p):
            if i != k:
                for lane in range(LANES):
                    factor[lane] = matrix[i, k, lane]
                    matrix[i, k, lane] = 0.0
                for j in range(p):
                    for lane in range(LANES):
                        matrix[i, j, lane] -= factor[lane] * matrix[k, j, lane]


@njit(cache=True, error_model="numpy")
def _evaluate_map(code, p, table, bound, H, w, D):
    """Set w, D (LANES,) to the map at H, after moving H to where |w| <= bound if beyond."""
    if code == HYPERBOLIC:
        for lane in range(LANES):
            up = 0.5 * exponential(p[0] - H[lane])
            down = 0.5 * exponential(p[1] + H[lane])
            w[lane] = up - down
            D[lane] = up + down
    elif code == LINEAR:
        for lane in range(LANES):
            w[lane] = -p[0] * H[lane]
            D[lane] = p[0]
    else:
        for lane in range(LANES):
            w[lane], D[lane] = mirror(code, H[lane], p, table)
    inside = True
    for lane in range(LANES):
        inside &= abs(w[lane]) <= bound[lane]  # False for nan
    if not inside:
        for lane in range(LANES):
            if not abs(w[lane]) <= bound[lane]:
                H[lane] = inverse(code, -bound[lane] if H[lane] > 0 else bound[lane], p, table)
                w[lane], D[lane] = mirror(code, H[lane], p, table)


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def _newton_system(K, first, p, known, H, w, D, matrix, step):
    """Set matrix = I + K_qq D and step = known + K_qq w - H on the panel at node `first`."""
    for i in range(p):
        for lane in range(LANES):
            step[i, lane] = known[i, lane] - H[first + i, lane]
        for j in range(p):
            k = K[first + i, first + j]
            for lane in range(LANES):
                step[i, lane] += k * w[first + j, lane]
                matrix[i, j, lane] = k * D[first + j, lane]
        for lane in range(LANES):
            matrix[i, i, lane] += 1.0


@njit(cache=True, error_model="numpy")
def _solve_panel(code, parameters, table, K, first, p, known, H, w, D, work, used):
    """Solve H = known + K phi(H) on the panel that starts at node `first`; H holds the guess.

    The exponential of the map makes a plain Newton step from its flat part overshoot by far.
    The solution obeys |K_ii w_i| <~ |known|, so H is kept where |w| stays below a multiple of
    that bound. Adds the number of iterations to `used`, or sets it to -1, in the lanes where the
    step did not fall below the tolerance.
    """
    matrix, step, size, bound, previous, damping, done = work
    for lane in range(LANES):
        size[lane] = 1.0
        previous[lane] = np.inf
        damping[lane] = 1.0
        done[lane] = False
        for i in range(p):
            size[lane] = max(size[lane], abs(known[i, lane]))
    for iteration in range(MAX_NEWTON):
        for i in range(first, first + p):
            for lane in range(LANES):
                bound[lane] = OVERSHOOT * size[lane] / abs(K[i, i])
            _evaluate_map(code, parameters[i], table, bound, H[i], w[i], D[i])
        _newton_system(K, first, p, known, H, w, D, matrix, step)
        _eliminate(matrix, step, p)
        finished = True
        for lane in range(LANES):
            largest = 0.0
            scale = 1.0
            finite = True
            for i in range(p):
                finite &= abs(step[i, lane]) < np.inf  # compiled max() drops a nan
                largest = max(largest, abs(step[i, lane]))
                scale = max(scale, abs(H[first + i, lane]))
            if not finite:
                used[lane] = -1
                done[lane] = True
                for i in range(p):
                    step[i, lane] = 0.0
                    H[first + i, lane] = 0.0
                continue
            # Far up the exponential every step is about 1, which is no circling. A damped step
            # shrinks by its damping at best.
            if iteration > 40 and largest > (1.0 - 0.3 * damping[lane]) * previous[lane]:
                damping[lane] = max(0.5 * damping[lane], 1.0 / 64.0)
            elif damping[lane] < 1.0:
                damping[lane] = min(1.0, 1.5 * damping[lane])
            previous[lane] = largest
            if not done[lane]:
                if used[lane] >= 0:
                    used[lane] += 1
                done[lane] = largest <= NEWTON_TOLERANCE + 1e-13 * scale
            finished &= done[lane]
        for i in range(p):
            for lane in range(LANES):
                H[first + i, lane] += damping[lane] * step[i, lane]
        if finished:
            for i in range(p):  # to first order; the error is of the size of the step squared
                for lane in range(LANES):
                    w[first + i, lane] -= D[first + i, lane] * step[i, lane]
            return
    for lane in range(LANES):
        if not done[lane]:
            used[lane] = -1


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _history(K, first, p, w, known):
    """Add sum_{j < first} K[first + i, j] w[j] to known[i] for the p rows of a panel."""
    for i in range(p):
        row = K[first + i]
        for j in range(0, first - 3, 4):
            for lane in range(LANES):
                known[i, lane] += (
                    row[j] * w[j, lane]
                    + row[j + 1] * w[j + 1, lane]
                    + row[j + 2] * w[j + 2, lane]
                    + row[j + 3] * w[j + 3, lane]
                )
        for j in range(first - first % 4, first):
            for lane in range(LANES):
                known[i, lane] += row[j] * w[j, lane]


@njit(cache=True, error_model="numpy", nogil=True)
def _solve_chunk(code, parameters, table, K, p, U, H, w, D, iterations):
    """Solve the paths of one chunk; see `solve_paths`."""
    M, N = U.shape
    lanes_H = np.empty((N, LANES))
    lanes_w = np.empty((N, LANES))
    lanes_D = np.empty((N, LANES))
    known = np.empty((p, LANES))
    used = np.empty(LANES, dtype=np.int64)
    work = (
        np.empty((p, p, LANES)),
        np.empty((p, LANES)),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES),
        np.empty(LANES, dtype=np.bool_),
    )
    for begin in range(0, M, LANES):
        for lane in range(LANES):
            used[lane] = 0
            m = min(begin + lane, M - 1)  # idle lanes repeat the last path
            for i in range(N):
                lanes_H[i, lane] = H[m, i]
        for first in range(0, N, p):
            for lane in range(LANES):
                m = min(begin + lane, M - 1)
                for i in range(p):
                    known[i, lane] = U[m, first + i]
                if first > 0 and lanes_H[first, lane] == 0.0:  # no guess: where the path has come
                    for i in range(first, first + p):
                        lanes_H[i, lane] = lanes_H[first - 1, lane]
            _history(K, first, p, lanes_w, known)
            _solve_panel(
                code, parameters, table, K, first, p, known, lanes_H, lanes_w, lanes_D, work, used
            )
        for lane in range(min(LANES, M - begin)):
            m = begin + lane
            iterations[m] = used[lane]
            for i in range(N):
                H[m, i] = lanes_H[i, lane]
                w[m, i] = lanes_w[i, lane]
                D[m, i] = lanes_D[i, lane]


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
        Map of `solvers.mirror_maps`.
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
        Initial guess, 0 where there is none; overwritten by the solution.

    Returns
    -------
    w, D : ndarray, shape (M, N)
        phi(H) and -phi'(H).
    iterations : ndarray of int, shape (M,)
        Newton iterations of each path, -1 where a panel did not converge.
    """
    w, D = np.empty_like(U), np.empty_like(U)
    iterations = np.empty(len(U), dtype=np.int64)

    def solve(chunk: slice) -> None:
        part = (U[chunk], H[chunk], w[chunk], D[chunk], iterations[chunk])
        _solve_chunk(code, parameters, table, K, p, *part)

    _in_chunks(solve, len(U))
    return w, D, iterations


def _in_chunks(task: Callable[[slice], T], paths: int) -> list[T]:
    """Run a task on chunks of the paths, in threads where that pays; return the results in order.

    The chunks follow from the number of paths alone, and so do all results.
    """
    chunks = max(1, min(CHUNKS, paths // LEAST_PATHS))
    size = LANES * -(-paths // (LANES * chunks))
    parts = [slice(begin, begin + size) for begin in range(0, paths, size)]
    if THREADS == 1 or len(parts) == 1:
        return [task(part) for part in parts]
    return list(_pool().map(task, parts))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _response_history(K, first, p, X, rows):
    """rows[i] = -sum_{j < first} K[first + i, j] X[j] for the p rows of a panel.

    X (N, N LANES) is block-lower-triangular: row j ends with the panel of j.
    """
    width = first * LANES
    for i in range(p):
        row = K[first + i]
        out = rows[i]
        for c in range(width):
            out[c] = 0.0
        for j in range(0, first - 3, 4):  # four rows at a time: one pass over `out` for four
            k0, k1, k2, k3 = row[j], row[j + 1], row[j + 2], row[j + 3]
            x0, x1, x2, x3 = X[j], X[j + 1], X[j + 2], X[j + 3]
            for c in range(min(first, ((j + 3) // p + 1) * p) * LANES):
                out[c] -= k0 * x0[c] + k1 * x1[c] + k2 * x2[c] + k3 * x3[c]
        for j in range(first - first % 4, first):
            k0, x0 = row[j], X[j]
            for c in range(width):
                out[c] -= k0 * x0[c]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _response(K, p, D, N, X, block, rows, factor):
    """X = D (I + K D)^(-1) for the leading N nodes, panel by panel; X is (N, N LANES).

    X_q = B_q (1 - sum_{r < q} K_qr X_r) with B_q = D (I + K_qq D)^(-1).
    """
    for first in range(0, N, p):
        for i in range(p):
            for j in range(p):
                k = K[first + i, first + j]
                for lane in range(LANES):
                    block[i, j, lane] = k * D[first + j, lane]
            for lane in range(LANES):
                block[i, i, lane] += 1.0
        _invert(block, factor, p)
        for i in range(p):
            for j in range(p):
                for lane in range(LANES):
                    block[i, j, lane] *= D[first + i, lane]
        _response_history(K, first, p, X, rows)
        for i in range(p):
            x = X[first + i]
            for c in range(0, first * LANES, LANES):
                for lane in range(LANES):
                    x[c + lane] = block[i, 0, lane] * rows[0, c + lane]
                for j in range(1, p):
                    for lane in range(LANES):
                        x[c + lane] += block[i, j, lane] * rows[j, c + lane]
            for j in range(p):
                for lane in range(LANES):
                    x[(first + j) * LANES + lane] = block[i, j, lane]
            for c in range((first + p) * LANES, min(N, first + p + 3) * LANES):
                x[c] = 0.0  # read, and to be ignored, by the passes of four rows


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _moved(X, p, N, root, Y):
    """Y[i, k LANES + lane] = sum_j X[i, j LANES + lane] root[j, k] for the leading N nodes."""
    for i in range(N):
        x, y = X[i], Y[i]
        for c in range(root.shape[1] * LANES):
            y[c] = 0.0
        for j in range((i // p + 1) * p):
            for k in range(root.shape[1]):
                factor = root[j, k]
                for lane in range(LANES):
                    y[k * LANES + lane] += factor * x[j * LANES + lane]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _inner(x, y):
    """Return the inner product; reordering the sum lets it vectorise."""
    total = 0.0
    for c in range(x.size):
        total += x[c] * y[c]
    return total


@njit(cache=True, error_model="numpy")
def _active_nodes(D, p, cutoff, active):
    """List the nodes of the panels where D exceeds the cutoff in a lane; return their number."""
    count = 0
    for first in range(0, D.shape[0], p):
        largest = 0.0
        for i in range(first, first + p):
            for lane in range(LANES):
                largest = max(largest, D[i, lane])
        if largest > cutoff:
            for i in range(first, first + p):
                active[count] = i
                count += 1
    return count


@njit(cache=True, error_model="numpy", nogil=True)
def _sum_chunk(K, p, D, weights, root, root_weights, cutoff):
    """Return the sums of `mean_response` over the paths of one chunk."""
    M, N = D.shape
    r = root.shape[1]
    mean = np.zeros((N, N))
    moved = np.zeros((N, r))
    square = np.zeros((N, N))
    X = np.zeros((N, N * LANES))
    Y = np.empty((N, r * LANES))
    weighted_Y = np.empty((N, r * LANES))
    lanes_D = np.empty((N, LANES))
    packed_D = np.empty((N, LANES))
    packed_K = np.empty((N, N))
    packed_root = np.empty((N, r))
    active = np.empty(N, dtype=np.int64)
    block = np.empty((p, p, LANES))
    rows = np.empty((p, N * LANES))
    weight = np.empty(LANES)
    root_weight = np.empty(LANES)
    factor = np.empty(LANES)
    for begin in range(0, M, LANES):
        carries = False
        for lane in range(LANES):
            m = min(begin + lane, M - 1)  # idle lanes repeat the last path, without weight
            weight[lane] = weights[m] if begin + lane < M else 0.0
            root_weight[lane] = root_weights[m] if begin + lane < M else 0.0
            carries |= root_weight[lane] != 0.0
            for i in range(N):
                lanes_D[i, lane] = D[m, i]
        count = _active_nodes(lanes_D, p, cutoff, active)
        for i in range(count):
            for lane in range(LANES):
                packed_D[i, lane] = lanes_D[active[i], lane]
            for j in range((i // p + 1) * p):
                packed_K[i, j] = K[active[i], active[j]]
        _response(packed_K, p, packed_D, count, X, block, rows, factor)
        for i in range(count):
            for j in range((i // p + 1) * p):
                total = 0.0
                for lane in range(LANES):
                    total += weight[lane] * X[i, j * LANES + lane]
                mean[active[i], active[j]] += total
        if not carries or r == 0:
            continue
        for i in range(count):
            for k in range(r):
                packed_root[i, k] = root[active[i], k]
        _moved(X, p, count, packed_root, Y)
        for i in range(count):
            for k in range(r):
                total = 0.0
                for lane in range(LANES):
                    c = k * LANES + lane
                    weighted_Y[i, c] = root_weight[lane] * Y[i, c]
                    total += weighted_Y[i, c]
                moved[active[i], k] += total
        for i in range(count):
            for j in range(i + 1):
                total = _inner(weighted_Y[i], Y[j])
                square[active[i], active[j]] += total
                if j < i:
                    square[active[j], active[i]] += total
    return mean, moved, square


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
        return _sum_chunk(K, p, D[chunk], weights[chunk], root, root_weights[chunk], cutoff)

    parts = zip(*_in_chunks(add, len(D)), strict=True)
    mean, moved, square = (np.sum(part, axis=0) for part in parts)
    return mean, moved, square


def compiled() -> bool:
    """Whether both kernels are compiled, or loaded from numba's cache."""
    return bool(_solve_chunk.signatures and _sum_chunk.signatures)


def compile_kernels() -> None:
    """Compile both kernels, or load them from numba's cache."""
    one = np.ones((1, 2))
    K = 0.1 * np.eye(2)
    _, D, _ = solve_paths(LINEAR, one.reshape(2, 1), np.empty((0, 3)), K, 2, one, 0.0 * one)
    mean_response(K, 2, D, np.ones(1), one.reshape(2, 1), np.ones(1), 0.0)
