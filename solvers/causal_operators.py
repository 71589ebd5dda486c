"""Compiled products and inverses of causal operators' matrices and of covariances.

A causal operator on a collocation grid is a block-lower-triangular matrix with blocks of p nodes.
What is formed here are sums over the first index of two matrices,

    sum_k left[k, i] right[k, j],

over the panels where neither vanishes, for tiles of six i and eight j in the lanes of the vector
registers (`dmft.solvers.lanes`). So operators go in and come out transposed where they stand on the
right, and all matrices are *padded*: with zeros, to a common multiple of both sides of a tile.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import (
    INNER,
    LANES,
    add_scaled,
    load,
    splat,
    store,
    store_tile,
    zero_tile,
)

ROWS = 6  # of a tile
WHOLE = 24  # of which padded sizes are multiples


def _padded_size(size: int) -> int:
    return WHOLE * (-(-(size + ROWS) // WHOLE))


_width = njit(**INNER)(_padded_size)


def padded(matrix: np.ndarray) -> np.ndarray:
    """Return a square matrix (N, N) with zeros around it, shape (W, W), W >= N + ROWS.

    Examples
    --------
    >>> padded(np.eye(2)).shape
    (24, 24)
    """
    size = len(matrix)
    width = _padded_size(size)
    whole = np.zeros((width, width))
    whole[:size, :size] = matrix
    return whole


@njit(**INNER)
def _panel_end(node, p, size):
    """Return the end of the panel of a node; that of the last panel beyond it."""
    return min((node // p + 1) * p, size)


@njit(**INNER)
def _sum(left, right, row, group, begin, end):
    """Return sum_k left[k, row + i] right[k, j], k in [begin, end), j in the group of lanes."""
    width = left.shape[1]
    groups = right.shape[1] // LANES
    tile = zero_tile(6)
    for k in range(begin, end):
        tile = add_scaled(tile, left, k * width + row, load(right, k * groups + group))
    return tile


@njit(**INNER)
def _set_tile(out, row, group, tile):
    """Set out[row + i, lanes of the group] to a tile."""
    groups = out.shape[1] // LANES
    a, b, c, d, e, f = tile
    at = row * groups + group
    store(out, at, a)
    store(out, at + groups, b)
    store(out, at + 2 * groups, c)
    store(out, at + 3 * groups, d)
    store(out, at + 4 * groups, e)
    store(out, at + 5 * groups, f)


@njit(**INNER)
def _transposed(matrix, first):
    """Return matrix[first + i, first + j] as padded[j, i]."""
    size = len(matrix) - first
    width = _width(size)
    out = np.zeros((width, width))
    for i in range(size):
        for j in range(size):
            out[j, i] = matrix[first + i, first + j]
    return out


@njit(**INNER)
def _invert_block(matrix, first, p, inverse, augmented):
    """Set inverse to that of a block on the diagonal, by elimination with pivots."""
    for i in range(p):
        for j in range(p):
            augmented[i, j] = matrix[first + i, first + j]
            augmented[i, p + j] = 1.0 if i == j else 0.0
    for k in range(p):
        pivot = k
        for i in range(k + 1, p):
            if abs(augmented[i, k]) > abs(augmented[pivot, k]):
                pivot = i
        for j in range(2 * p):
            x = augmented[pivot, j]
            augmented[pivot, j] = augmented[k, j]
            augmented[k, j] = x
        for i in range(p):
            if i != k:
                factor = augmented[i, k] / augmented[k, k]
                for j in range(k, 2 * p):
                    augmented[i, j] -= factor * augmented[k, j]
    for i in range(p):
        for j in range(p):
            inverse[i, j] = augmented[i, p + j] / augmented[i, i]


@njit(**INNER)
def _set_inverse(matrix, p, size, inverse):
    """Set the transpose of the inverse of a padded matrix.

    From the last panel of a row i backwards, inverse_iq = (1_iq - sum_{r > q} inverse_ir M_rq)
    M_qq^(-1).
    """
    groups = matrix.shape[1] // LANES
    block, augmented = np.empty((p, p)), np.empty((p, 2 * p))
    rest = np.zeros((p + ROWS) * LANES)
    for first in range(size - p, -1, -p):
        _invert_block(matrix, first, p, block, augmented)
        for group in range(first // LANES, -(-size // LANES)):
            end = _panel_end(group * LANES + LANES - 1, p, size)
            for i in range(0, p, ROWS):
                tile = _sum(matrix, inverse, first + i, group, first + p, end)
                store_tile(rest, i, tile)
            for i in range(p):
                x = -load(rest, i)
                store(rest, i, x)
                lane = first + i - group * LANES
                if 0 <= lane < LANES:
                    rest[i * LANES + lane] += 1.0
            for j in range(p):
                x = splat(0.0)
                for i in range(p):
                    x = x + block[i, j] * load(rest, i)
                store(inverse, (first + j) * groups + group, x)


@njit(**INNER)
def _one_plus_product(A, S, scale, p):
    """Return 1 + scale A S, padded."""
    size = len(A)
    left = _transposed(A, 0)
    product = np.zeros_like(left)
    for row in range(0, size, ROWS):
        end = _panel_end(row + ROWS - 1, p, size)
        for group in range(-(-end // LANES)):
            begin = group * LANES // p * p
            _set_tile(product, row, group, _sum(left, S, row, group, begin, end))
    for i in range(size):
        for j in range(size):
            product[i, j] *= scale
        product[i, i] += 1.0
    return product


@njit(**INNER)
def _set_variances(operator, covariance, p, size, variances):
    """Set the diagonal of operator covariance operator^T; the operator is transposed."""
    groups = operator.shape[1] // LANES
    for group in range(-(-size // LANES)):
        end = _panel_end(group * LANES + LANES - 1, p, size)
        total = splat(0.0)
        for row in range(0, end, ROWS):
            a, b, c, d, e, f = _sum(covariance, operator, row, group, 0, end)
            at = row * groups + group
            total = total + a * load(operator, at) + b * load(operator, at + groups)
            total = total + c * load(operator, at + 2 * groups)
            total = total + d * load(operator, at + 3 * groups)
            total = total + e * load(operator, at + 4 * groups)
            total = total + f * load(operator, at + 5 * groups)
        store(variances, group, total)


@njit(cache=True, error_model="numpy")
def feedback(A, S, scale, C, p):
    """Return the response to a feedback A S, and how it transforms a covariance.

    Parameters
    ----------
    A : ndarray, shape (N, N)
        Block-lower-triangular, like all operators here.
    S : ndarray, shape (W, W)
        Padded.
    scale : float
    C : ndarray, shape (N + 1, N + 1)
        Covariance; its first row and column, at t = 0, do not count.
    p : int
        Nodes in a panel.

    Returns
    -------
    response : ndarray, shape (W, W)
        R = (1 + scale A S)^(-1), transposed and padded; not finite where R is not.
    variances : ndarray, shape (N + 1,)
        Diagonal of R C R^T after C[0, 0].

    Examples
    --------
    >>> A = np.tril(np.ones((2, 2)))
    >>> response, variances = feedback(A, padded(np.eye(2)), 1.0, np.eye(3), 1)
    >>> response[:2, :2].T  # (1 + A)^(-1)
    array([[ 0.5 ,  0.  ],
           [-0.25,  0.5 ]])
    """
    size = len(A)
    matrix = _one_plus_product(A, S, scale, p)
    response, later = np.zeros_like(matrix), np.zeros(len(matrix))
    _set_inverse(matrix, p, size, response)
    _set_variances(response, _transposed(C, 1), p, size, later)
    variances = np.empty(size + 1)
    variances[0] = C[0, 0]
    for i in range(size):  # setting a slice takes seconds to compile
        variances[1 + i] = later[i]
    return response, variances


@njit(**INNER)
def _set_square(operator, covariance, p, size, square):
    """Set the blocks on and below the diagonal of operator covariance operator^T."""
    product = np.zeros_like(operator)
    for group in range(-(-size // LANES)):
        end = _panel_end(group * LANES + LANES - 1, p, size)
        for row in range(0, end, ROWS):
            _set_tile(product, row, group, _sum(covariance, operator, row, group, 0, end))
    for group in range(-(-size // LANES)):
        end = _panel_end(group * LANES + LANES - 1, p, size)
        for row in range(group * LANES // ROWS * ROWS, size, ROWS):
            _set_tile(square, row, group, _sum(product, operator, row, group, 0, end))


@njit(cache=True, error_model="numpy")
def filtered(response, S, scale, C, p):
    """Return what follows a response, S R, and the covariance it makes of another one.

    Parameters
    ----------
    response : ndarray, shape (W, W)
        R, transposed and padded.
    S : ndarray, shape (W, W)
        Transposed and padded.
    scale, C, p
        As for `feedback`.

    Returns
    -------
    K : ndarray, shape (W, W)
        S R, transposed and padded.
    covariance : ndarray, shape (N, N)
        scale K C K^T.

    Examples
    --------
    >>> identity = padded(np.eye(2))
    >>> _, covariance = filtered(identity, identity, 3.0, np.eye(3), 1)
    >>> covariance
    array([[3., 0.],
           [0., 3.]])
    """
    size = len(C) - 1
    plain = response.T.copy()
    K, square = np.zeros_like(response), np.zeros_like(response)
    for group in range(-(-size // LANES)):
        end = _panel_end(group * LANES + LANES - 1, p, size)
        for row in range(0, end, ROWS):
            _set_tile(K, row, group, _sum(plain, S, row, group, row // p * p, end))
    _set_square(K, _transposed(C, 1), p, size, square)
    covariance = np.empty((size, size))
    for i in range(size):
        for j in range(i + 1):
            covariance[i, j] = covariance[j, i] = scale * square[i, j]
    return K, covariance


def compile_functions() -> None:
    """Compile both kernels, or load them from numba's cache.

    Examples
    --------
    >>> compile_functions()
    """
    C = np.eye(3)
    response, _ = feedback(np.eye(2), padded(np.eye(2)), 1.0, C, 2)
    filtered(response, padded(np.eye(2)), 1.0, C, 2)
