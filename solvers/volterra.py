"""Compiled kernels for families of nonlinear Volterra equations with a common kernel.

Each path m solves, at the nodes of a collocation grid,

    H = U_m + K phi(H),        K block-lower-triangular in panels of p nodes,

panel by panel with a damped Newton iteration in each panel, and its linear response is

    X_m = D (I + K D)^(-1),    D = diag(-phi'(H)),

accumulated as the weighted sum over the paths. The history sums and the response, the cubic
part of the work, run over contiguous columns so that they vectorise; systems of p equations
are eliminated by hand, a LAPACK call costs more than they do.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from solvers.mirror_kernels import inverse, mirror
from solvers.mirror_maps import LINEAR

NEWTON_TOLERANCE = 1e-8  # of a quadratically convergent step: the error left is its square
MAX_NEWTON = 100
OVERSHOOT = 4.0


@njit(cache=True, error_model="numpy")
def _solve_small(matrix, rhs, p):
    """Solve matrix x = rhs in place (x in rhs) by elimination without pivoting.

    The matrices are I + A D with A a Radau IIA block and D >= 0. The leading minors of A are
    positive, hence so are the pivots.
    """
    for k in range(p):
        scale = 1.0 / matrix[k, k]
        for i in range(k + 1, p):
            factor = matrix[i, k] * scale
            for j in range(k + 1, p):
                matrix[i, j] -= factor * matrix[k, j]
            rhs[i] -= factor * rhs[k]
        matrix[k, k] = scale
    for i in range(p - 1, -1, -1):
        total = rhs[i]
        for j in range(i + 1, p):
            total -= matrix[i, j] * rhs[j]
        rhs[i] = total * matrix[i, i]


@njit(cache=True, error_model="numpy")
def _invert_small(matrix, p):
    """Invert in place by Gauss-Jordan elimination without pivoting; see `_solve_small`."""
    for k in range(p):
        scale = 1.0 / matrix[k, k]
        matrix[k, k] = 1.0
        for j in range(p):
            matrix[k, j] *= scale
        for i in range(p):
            if i != k:
                factor = matrix[i, k]
                matrix[i, k] = 0.0
                for j in range(p):
                    matrix[i, j] -= factor * matrix[k, j]


@njit(cache=True, error_model="numpy")
def _bounded_mirror(code, parameters, table, bound, H, i):
    """Return (w, D) at H[i], after moving H[i] to where |w| <= bound if it is beyond."""
    w, D = mirror(code, H[i], parameters[i], table)
    if not abs(w) <= bound:
        H[i] = inverse(code, -bound if H[i] > 0 else bound, parameters[i], table)
        w, D = mirror(code, H[i], parameters[i], table)
    return w, D


@njit(cache=True, error_model="numpy")
def _solve_panel(code, parameters, table, K, first, p, known, H, w, D, matrix, step):
    """Solve H = known + K phi(H) on the panel that starts at node `first`; H holds the guess.

    The exponential of the map makes a plain Newton step from its flat part overshoot by far.
    The solution obeys |K_ii w_i| <~ |known|, so H is kept where |w| stays below a multiple of
    that bound. Returns the number of iterations, or -1 where the step did not fall below the
    tolerance.
    """
    size = 1.0
    for i in range(p):
        size = max(size, abs(known[i]))
    previous = np.inf
    damping = 1.0
    for iteration in range(MAX_NEWTON):
        for i in range(first, first + p):
            bound = OVERSHOOT * size / abs(K[i, i])
            w[i], D[i] = _bounded_mirror(code, parameters, table, bound, H, i)
        scale = 1.0
        for i in range(p):
            value = known[i] - H[first + i]
            for j in range(p):
                k = K[first + i, first + j]
                value += k * w[first + j]
                matrix[i, j] = k * D[first + j]
            matrix[i, i] += 1.0
            step[i] = value
            scale = max(scale, abs(H[first + i]))
        _solve_small(matrix, step, p)
        largest = 0.0
        for i in range(p):
            if not abs(step[i]) < np.inf:  # compiled max() drops a nan
                return -1
            largest = max(largest, abs(step[i]))
        # Far up the exponential every step is about 1, which is no circling. A damped step shrinks
        # by its damping at best.
        if iteration > 40 and largest > (1.0 - 0.3 * damping) * previous:
            damping = max(0.5 * damping, 1.0 / 64.0)
        elif damping < 1.0:
            damping = min(1.0, 1.5 * damping)
        previous = largest
        for i in range(p):
            H[first + i] += damping * step[i]
        if largest <= NEWTON_TOLERANCE + 1e-13 * scale:
            for i in range(p):  # to first order; the error is of the size of the step squared
                w[first + i] -= D[first + i] * step[i]
            return iteration + 1
    return -1


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _history(K, row, stop, w):
    """Return sum_{j < stop} K[row, j] w[j]; reordering the sum lets it vectorise."""
    total = 0.0
    for j in range(stop):
        total += K[row, j] * w[j]
    return total


@njit(cache=True, error_model="numpy", parallel=True, nogil=True)
def solve_paths(code, parameters, table, K, p, U, H):
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
        Initial guess; overwritten by the solution.

    Returns
    -------
    w, D : ndarray, shape (M, N)
        phi(H) and -phi'(H).
    iterations : ndarray of int, shape (M,)
        Newton iterations of each path, -1 where a panel did not converge.
    """
    M, N = U.shape
    w = np.empty((M, N))
    D = np.empty((M, N))
    iterations = np.zeros(M, dtype=np.int64)
    chunk = 16
    for block in prange((M + chunk - 1) // chunk):
        matrix = np.empty((p, p))
        step = np.empty(p)
        known = np.empty(p)
        for m in range(block * chunk, min(M, (block + 1) * chunk)):
            for first in range(0, N, p):
                for i in range(p):
                    known[i] = U[m, first + i] + _history(K, first + i, first, w[m])
                used = _solve_panel(
                    code, parameters, table, K, first, p, known, H[m], w[m], D[m], matrix, step
                )
                if used < 0:
                    iterations[m] = -1
                elif iterations[m] >= 0:
                    iterations[m] += used
    return w, D, iterations


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _multiply_history(K, row, X, p, stop, out):
    """out[c] = -sum_{j < stop} K[row, j] X[j, c] for c < stop; X is block-lower-triangular."""
    for c in range(stop):
        out[c] = 0.0
    for j in range(0, stop - stop % 4, 4):  # four rows at a time: one pass over `out` for four
        k0, k1, k2, k3 = K[row, j], K[row, j + 1], K[row, j + 2], K[row, j + 3]
        for c in range(min(stop, j + 3 + p)):
            out[c] -= k0 * X[j, c] + k1 * X[j + 1, c] + k2 * X[j + 2, c] + k3 * X[j + 3, c]
    for j in range(stop - stop % 4, stop):
        k0 = K[row, j]
        for c in range(stop):
            out[c] -= k0 * X[j, c]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _response(K, p, D, N, X, block, rows):
    """X = D (I + K D)^(-1) for the leading N nodes, panel by panel.

    X_q = B_q (1 - sum_{r < q} K_qr X_r) with B_q = D (I + K_qq D)^(-1).
    """
    for first in range(0, N, p):
        for i in range(p):
            for j in range(p):
                block[i, j] = K[first + i, first + j] * D[first + j]
            block[i, i] += 1.0
        _invert_small(block, p)
        for i in range(p):
            for j in range(p):
                block[i, j] *= D[first + i]
        for i in range(p):
            _multiply_history(K, first + i, X, p, first, rows[i])
        for i in range(p):
            for c in range(first):
                X[first + i, c] = 0.0
            for j in range(p):
                factor = block[i, j]
                for c in range(first):
                    X[first + i, c] += factor * rows[j, c]
            for c in range(p):
                X[first + i, first + c] = block[i, c]
            for c in range(first + p, min(N, first + p + 3)):
                X[first + i, c] = 0.0  # read, and to be ignored, by the passes of four rows


@njit(cache=True, error_model="numpy", parallel=True, nogil=True)
def mean_response(K, p, D, weights, cutoff):
    """Return the mean response sum_m weights[m] D_m (I + K D_m)^(-1) of a family of paths.

    Rows and columns of panels where D stays below the cutoff are left out path by path: they
    vanish in proportion to D. The sum runs over a fixed number of chunks, so that it does not
    depend on the number of threads.

    Parameters
    ----------
    K : ndarray, shape (N, N)
        Memory kernel, block-lower-triangular.
    p : int
        Nodes in a panel.
    D : ndarray, shape (M, N)
        Local response along each path.
    weights : ndarray, shape (M,)
        Weight of each path.
    cutoff : float
        D that counts as zero.

    Returns
    -------
    ndarray, shape (N, N)
        Block-lower-triangular.
    """
    M, N = D.shape
    chunks = 8
    partial = np.zeros((chunks, N, N))
    for chunk in prange(chunks):
        X = np.zeros((N, N))
        packed_K = np.empty((N, N))
        packed_D = np.empty(N)
        active = np.empty(N, dtype=np.int64)
        block = np.empty((p, p))
        rows = np.empty((p, N))
        for m in range(chunk, M, chunks):
            count = 0
            for first in range(0, N, p):
                largest = 0.0
                for i in range(first, first + p):
                    largest = max(largest, D[m, i])
                if largest > cutoff:
                    for i in range(first, first + p):
                        active[count] = i
                        packed_D[count] = D[m, i]
                        count += 1
            weight = weights[m]
            if count == N:
                _response(K, p, D[m], N, X, block, rows)
            else:
                for i in range(count):
                    for j in range((i // p + 1) * p):
                        packed_K[i, j] = K[active[i], active[j]]
                _response(packed_K, p, packed_D, count, X, block, rows)
            for i in range(count):
                for c in range((i // p + 1) * p):
                    partial[chunk, active[i], active[c]] += weight * X[i, c]
    total = np.zeros((N, N))
    for chunk in range(chunks):
        total += partial[chunk]
    return total


def compile_kernels() -> None:
    """Compile both kernels, or load them from numba's cache."""
    one = np.ones((1, 2))
    K = 0.1 * np.eye(2)
    _, D, _ = solve_paths(LINEAR, one.reshape(2, 1), np.empty((0, 3)), K, 2, one, 0.0 * one)
    mean_response(K, 2, D, np.ones(1), 0.0)
