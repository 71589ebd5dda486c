"""Compiled averages over a family of paths: solved, answered and summed in one pass.

Path m has the drive U_m = z_m modes^T - shift_m k, solves H = U + K phi(H) as in
`dmft.solvers.volterra`, and answers to small forces by X_m = D (I + K D)^(-1), as in
`dmft.solvers.responses`. Eight paths side by side go from their nodes z to the sums over paths, so
that nothing of a path is kept but H, the guess of the next pass.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from dmft.solvers.lanes import (
    INNER,
    LANES,
    any_lane,
    gather,
    lane_sum,
    load,
    scatter,
    splat,
    store,
)
from dmft.solvers.panels import SLACK, START, add_history, columns_of, in_chunks, set_products
from dmft.solvers.responses import active_nodes, respond
from dmft.solvers.volterra import continue_guess, solve_panel

TILE: Any = np.int64(6)  # columns of a matrix that are summed together
KEPT: Any = np.int64(8)  # paths in each lane whose values are kept until their products are summed
Mirror = tuple[int, np.ndarray, np.ndarray]
"""A scalar map: code, parameters at the nodes (N, P), table (J, 3)."""


class Paths(NamedTuple):
    """What tells the paths of a family apart.

    Parameters
    ----------
    z : ndarray, shape (M, r)
        Their nodes.
    shift, target : ndarray, shape (M,)
        Multiple of -k in the drive, and what w is compared with.
    weights, odd, rest : ndarray, shape (M,)
        Weights of the averages, of the mean of w, and of the moves by small noise.
    H : ndarray, shape (M, N)
        Guesses, 0 where there are none; overwritten by the solutions.

    Examples
    --------
    >>> one = np.ones(1)
    >>> Paths(one[:, None], one, one, one, one, one, np.zeros((1, 2))).H.shape
    (1, 2)
    """

    z: np.ndarray
    shift: np.ndarray
    target: np.ndarray
    weights: np.ndarray
    odd: np.ndarray
    rest: np.ndarray
    H: np.ndarray


class Sums(NamedTuple):
    """Weighted sums over paths, at the start and the nodes.

    Parameters
    ----------
    C_w : ndarray, shape (N + 1, N + 1)
        (w - target)(w - target)^T, and on the nodes X root root^T X^T.
    A : ndarray, shape (N, N)
        X, block-lower-triangular.
    mean_w, overlap, mean_D : ndarray, shape (N + 1,)
        w by the weights `odd`, w target, and D.
    moved : ndarray, shape (N, s)
        X root.

    Examples
    --------
    >>> zero = np.zeros(3)
    >>> Sums(np.zeros((3, 3)), np.eye(2), zero, zero, zero, np.zeros((2, 0))).A.shape
    (2, 2)
    """

    C_w: np.ndarray
    A: np.ndarray
    mean_w: np.ndarray
    overlap: np.ndarray
    mean_D: np.ndarray
    moved: np.ndarray


@njit(**INNER)
def _solve(code, parameters, table, columns, p, everything, modes, k, z, shift, lanes, work):
    """Solve eight paths from the guesses in H; set H, w, D. Return the iterations used."""
    H, w, D, known = lanes
    used = splat(0.0)
    for first in range(0, k.size, p):
        for i in range(p):
            store(known, i, -k[first + i] * shift)
        add_history(modes, first, p, everything, START, len(modes), z, START, known)
        if first > 0:
            continue_guess(H, first, p)
        add_history(columns, first, p, everything, START, first, w, START, known)
        used = solve_panel(code, parameters, table, columns, first, p, known, H, w, D, work, used)
    return used


@njit(**INNER)
def _add(sums, at, term):
    """Add a term to an element of an array of lanes."""
    store(sums, at, load(sums, at) + term)


@njit(**INNER)
def _set_values(w, D, start, start_D, weight, odd, target, at, theta, weighted, vectors):
    """Set theta = w - target from `at` on, and add what w and D give to the three vectors."""
    size = w.size // LANES + 1
    for i in range(size):
        value = splat(start) if i == 0 else load(w, i - 1)
        slope = splat(start_D) if i == 0 else load(D, i - 1)
        _add(vectors, i, odd * value)
        _add(vectors, size + i, weight * target * value)
        _add(vectors, 2 * size + i, weight * slope)
        own = value - target
        store(theta, at + i, own)
        store(weighted, at + i, weight * own)


@njit(**INNER)
def _add_products(theta, weighted, step, count, rows, C):
    """Add sum_g weighted_g theta_g^T, g < count, in blocks that hold the lower triangle, to C."""
    size = len(C)
    for first in range(0, size, TILE):
        for i in range(first, size):
            set_products(theta, first, step, weighted, i, step, count, TILE, rows, START)
            for j in range(min(TILE, size - first)):
                C[i, first + j] += lane_sum(load(rows, j))


@njit(**INNER)
def _add_column(Z, at, nodes, begin, count, weight, total):
    """Add the weighted sum over the lanes of the column of Z that begins at `at` to `total`."""
    for k in range(begin, count):
        total[nodes[k]] += lane_sum(weight * load(Z, at + nodes[k]))


@njit(**INNER)
def _add_moves(Z, N, height, rank, p, nodes, count, rest, rows, C, moved):
    """Add what the moves by small noise, columns N on of Z, give to C and their own sums."""
    for r in range(rank):
        _add_column(Z, (N + r) * height, nodes, START, count, -rest, moved[r])
    start = N * height
    for r in range(0, count, p):  # the columns of a panel stay in the fastest cache
        first = nodes[r]
        for k in range(r, count):
            i = nodes[k]
            set_products(Z, start + first, height, Z, start + i, height, rank, p, rows, START)
            for j in range(p):
                C[i + 1, first + 1 + j] += lane_sum(rest * load(rows, j))


@njit(**INNER)
def _finish(C, vectors, sums):
    """Mirror the lower triangle of C, and sum the vectors over the lanes."""
    for i in range(len(C)):
        for j in range(i):
            C[j, i] = C[i, j]
    for i in range(3 * len(C)):
        sums[i] = lane_sum(load(vectors, i))


@njit(cache=True, error_model="numpy", nogil=True)
def _average_chunk(
    code, parameters, table, columns, p, modes, k, start, roots, cutoff, z, scalars, H, used,
    w, D, C, A, sums, moved,
):  # fmt: skip
    """Add the sums over one chunk of paths; idle lanes repeat the last one weightless.

    A is transposed, and sums holds the three vectors one after the other. w and D are set where
    they are not empty.
    """
    (M, N), rank = H.shape, len(roots)
    height = (N + SLACK) | 1  # odd, or the rows of many columns would share a set of the cache
    step = (N + TILE) | 1
    groups = scalars.shape[1] // LANES
    nodes, everything = np.empty(N, dtype=np.int64), np.arange(max(N, len(modes)))
    Z = np.empty((N + rank) * height * LANES)
    lanes_z = np.empty(len(modes) * LANES)
    lanes_H, lanes_w, lanes_D = np.empty(N * LANES), np.empty(N * LANES), np.empty(N * LANES)
    known = np.empty((p + SLACK) * LANES)
    newton = np.empty(p * p * LANES), np.empty(p * LANES), np.empty(p * LANES)
    work = np.empty((p * p + SLACK) * LANES), np.empty((max(p, TILE) + SLACK) * LANES)
    theta, weighted = np.zeros(KEPT * step * LANES), np.zeros(KEPT * step * LANES)
    vectors, kept = np.zeros(3 * (N + 1) * LANES), START
    for begin in range(0, M, LANES):
        at = begin // LANES
        shift, target = load(scalars, at), load(scalars, groups + at)
        weight, odd = load(scalars, 2 * groups + at), load(scalars, 3 * groups + at)
        rest = load(scalars, 4 * groups + at)
        for r in range(len(modes)):
            store(lanes_z, r, gather(z, begin, r))
        for i in range(N):
            store(lanes_H, i, gather(H, begin, i))
        lanes = lanes_H, lanes_w, lanes_D, known
        iterations = _solve(
            code, parameters, table, columns, p, everything, modes, k, lanes_z, shift, lanes, newton
        )
        scatter(used, begin, 0, iterations)
        for i in range(N):
            scatter(H, begin, i, load(lanes_H, i))
            if len(w):
                scatter(w, begin, i, load(lanes_w, i))
                scatter(D, begin, i, load(lanes_D, i))
        _set_values(
            lanes_w, lanes_D, start[0], start[1], weight, odd, target,
            kept * step, theta, weighted, vectors,
        )  # fmt: skip
        kept += 1
        if kept == KEPT or begin + LANES >= M:
            _add_products(theta, weighted, step, kept, work[1], C)
            kept = START
        carries = rank > 0 and any_lane(rest != 0.0)
        count = active_nodes(lanes_D, p, cutoff, nodes)
        respond(columns, roots, rank if carries else 0, p, lanes_D, nodes, count, height, Z, work)
        for c in range(count):
            _add_column(Z, nodes[c] * height, nodes, c - c % p, count, -weight, A[nodes[c]])
        if carries:
            _add_moves(Z, N, height, rank, p, nodes, count, rest, work[1], C, moved)
    _finish(C, vectors, sums)


def family_averages(
    mirror: Mirror,
    K: np.ndarray,
    p: int,
    modes: np.ndarray,
    k: np.ndarray,
    start: tuple[float, float],
    paths: Paths,
    root: np.ndarray,
    cutoff: float = 0.0,
) -> tuple[Sums, np.ndarray]:
    """Solve the paths of a family and return sums over them.

    Parameters
    ----------
    mirror : tuple
        Code, parameters and table of the map; see `dmft.solvers.map_codes`.
    K : ndarray, shape (N, N)
        Memory kernel, block-lower-triangular.
    p : int
        Nodes in a panel.
    modes : ndarray, shape (N, r)
    k : ndarray, shape (N,)
    start : tuple of float
        w and D at t = 0.
    paths : Paths
    root : ndarray, shape (N, s)
        Square root of the covariance of small noise on the drive of the paths with a weight `rest`.
    cutoff : float
        D that counts as zero: rows and columns of panels where it stays below are left out of the
        responses, eight paths at a time; they vanish in proportion to D.

    Returns
    -------
    sums : Sums
    iterations : ndarray, shape (M,)
        Newton iterations of each path, -1 where a panel did not converge.

    Examples
    --------
    Two paths of w = -H with the memory 1, of drives 1 and -1:

    >>> from dmft.solvers.map_codes import LINEAR
    >>> mirror = LINEAR, np.array([[1.0, 0.0]] * 2), np.empty((0, 3))
    >>> zero, half = np.zeros(2), np.full(2, 0.5)
    >>> z, H = np.array([[1.0], [-1.0]]), np.zeros((2, 2))
    >>> paths = Paths(z, zero, zero, half, half, zero, H)
    >>> K, none = np.tril(np.ones((2, 2))), np.empty((2, 0))
    >>> sums, _ = family_averages(mirror, K, 1, np.ones((2, 1)), zero, (0.0, 1.0), paths, none)
    >>> sums.A  # (1 + K)^(-1)
    array([[ 0.5 ,  0.  ],
           [-0.25,  0.5 ]])
    >>> sums.C_w  # w = -(1 + K)^(-1) U
    array([[0.    , 0.    , 0.    ],
           [0.    , 0.25  , 0.125 ],
           [0.    , 0.125 , 0.0625]])
    """
    none = np.empty((0, len(K)))
    return _averages(mirror, K, p, modes, k, start, paths, root, cutoff, none, none)


def _averages(
    mirror: Mirror,
    K: np.ndarray,
    p: int,
    modes: np.ndarray,
    k: np.ndarray,
    start: tuple[float, float],
    paths: Paths,
    root: np.ndarray,
    cutoff: float,
    w: np.ndarray,
    D: np.ndarray,
) -> tuple[Sums, np.ndarray]:
    """Return what `family_averages` does, and set w and D (M, N) where they are not empty."""
    (M, N), rank = paths.H.shape, root.shape[1]
    scalars = np.zeros((5, LANES * -(-M // LANES)))
    scalars[:, :M] = paths[1:6]
    scalars[0, M:] = scalars[0, M - 1]  # idle lanes write to the last path's H
    z, columns, iterations = np.ascontiguousarray(paths.z), columns_of(K), np.empty((M, 1))
    drive = columns_of(modes), np.ascontiguousarray(k), start, columns_of(root), cutoff

    def sums(chunk: slice) -> tuple[np.ndarray, ...]:
        own = np.zeros((N + 1, N + 1)), np.zeros((N, N)), np.zeros(3 * (N + 1)), np.zeros((rank, N))
        filled = np.ascontiguousarray(scalars[:, chunk])
        part = z[chunk], filled, paths.H[chunk], iterations[chunk], w[chunk], D[chunk]
        _average_chunk(*mirror, columns, p, *drive, *part, *own)
        return own

    parts = zip(*in_chunks(sums, M, float(N) ** 3), strict=True)
    C, A, vectors, moved = (sum(part[1:], start=part[0]) for part in parts)
    mean_w, overlap, mean_D = vectors.reshape(3, N + 1)
    return Sums(C, A.T, mean_w, overlap, mean_D, moved.T), iterations[:, 0]


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

    Examples
    --------
    >>> from dmft.solvers.map_codes import LINEAR
    >>> U, H = np.ones((1, 3)), np.zeros((1, 3))
    >>> K = np.tril(np.ones((3, 3)))  # H_i = 1 - sum_{j <= i} H_j
    >>> parameters = np.array([[1.0, 0.0]] * 3)
    >>> w, _, _ = solve_paths(LINEAR, parameters, np.empty((0, 3)), K, 1, U, H)
    >>> H
    array([[0.5  , 0.25 , 0.125]])
    """
    N, none = U.shape[1], np.zeros(len(U))
    paths = Paths(U, none, none, none, none, none, H)
    unit, nothing = np.eye(N), np.empty((N, 0))
    mirror = code, parameters, table
    w, D = np.empty_like(H), np.empty_like(H)
    _, iterations = _averages(
        mirror, K, p, unit, np.zeros(N), (0.0, 0.0), paths, nothing, math.inf, w, D
    )
    return w, D, iterations.astype(np.int64)


def compile_functions() -> None:
    """Compile the averages, or load them from numba's cache.

    Examples
    --------
    >>> compile_functions()
    """
    mirror = 0, np.ones((2, 2)), np.empty((0, 3))
    one, path = np.ones(1), np.ones((1, 2))
    paths = Paths(one[:, None], *(one,) * 5, 0.0 * path)
    family_averages(
        mirror, 0.1 * np.eye(2), 2, path.T.copy(), path[0], (0.0, 1.0), paths, path.T.copy()
    )
