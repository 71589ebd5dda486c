"""Compiled linear responses of nonlinear Volterra equations, eight paths side by side.

A path of `dmft.solvers.volterra` answers to small forces by

    X = D (I + K D)^(-1),    D = diag(-phi'(H)).

Small Gaussian noise of covariance R R^T on top of the drive moves phi(H) by Z R = -X R to first
order. `dmft.solvers.families` sums both over paths.
"""

from __future__ import annotations

from numba import njit

from dmft.solvers.lanes import (
    INNER,
    any_lane,
    load,
    maximum,
    splat,
    store,
)
from dmft.solvers.panels import NEXT, START, add_history, set_products


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
def respond(columns, roots, driven, p, D, nodes, count, height, Z, work):
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
def active_nodes(D, p, cutoff, nodes):
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
