"""A small linear system for each entry of a matrix, all of one form.

The entry at (k, l) of c matrices has the p x p block 1 + s_kl a + t_kl b.
"""

from __future__ import annotations

import numpy as np


def inverse_blocks(a: np.ndarray, b: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return the inverses of 1 + s a + t b, by elimination without pivots.

    Parameters
    ----------
    a, b : ndarray, shape (p, p)
        Such that the leading blocks of 1 + s a + t b are invertible.
    s, t : ndarray, shape (c, N, N)

    Returns
    -------
    ndarray, shape (p, p, c, N, N)

    Examples
    --------
    >>> a, s = np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones((1, 1, 1))
    >>> inverse_blocks(a, a, s, s)[:, :, 0, 0, 0].tolist()
    [[0.3333333333333333, -0.1111111111111111], [0.0, 0.3333333333333333]]
    """
    p = len(a)
    tail = (1,) * s.ndim
    unit = np.eye(p, dtype=s.dtype).reshape(p, p, *tail)
    left = unit + a.reshape(p, p, *tail) * s + b.reshape(p, p, *tail) * t
    right = np.broadcast_to(unit, left.shape).copy()
    for k in range(p):
        pivot = 1 / left[k, k]
        left[k] *= pivot
        right[k] *= pivot
        for i in range(p):
            if i != k:
                factor = left[i, k].copy()
                left[i] -= factor * left[k]
                right[i] -= factor * right[k]
    return right


def apply_blocks(blocks: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return sum_j blocks_ij x_j for each entry.

    Parameters
    ----------
    blocks : ndarray, shape (p, p, c, N, N)
    x : ndarray, shape (p, c, r, N, N)

    Returns
    -------
    ndarray, shape (p, c, r, N, N)

    Examples
    --------
    >>> blocks = np.arange(4.0).reshape(2, 2, 1, 1, 1)
    >>> apply_blocks(blocks, np.ones((2, 1, 1, 1, 1))).ravel().tolist()
    [1.0, 5.0]
    """
    out = np.empty_like(x)
    part = np.empty_like(x[0])
    for i, row in enumerate(blocks):
        np.multiply(row[0][:, None], x[0], out=out[i])
        for j in range(1, len(row)):
            out[i] += np.multiply(row[j][:, None], x[j], out=part)
    return out
