"""Responses of many linear recursions that share a memory, by adjoint sweeps.

Each of P recursions ("paths") has its own coefficients; the memory M (lower triangular) is common:

    x_{k+1} = J_k x_k + gain c_k (h_k + f_k) + momentum (x_k - x_{k-1}),
    h_k     = y_k + sum_{l<k} M(k, l) h_l,        y_k = c_k . x_k,

with x (L,) and everything 0 before the first step. With `nesterov` the momentum acts before the
step: x_{k+1} = J_k x~_k + gain c_k (h_k + f_k) and y_k = c_k . x~_k at x~_k = x_k + momentum (x_k -
x_{k-1}). The response of an output o . x_k, or o . x~_k, to the fields f_j is found by one sweep,

    m_j      = gain c_j . lambda_{j+1}                   (the response to f_j),
    q_j      = m_j + sum_{i>j} M(i, j) q_i,
    kappa_j  = J_j^T lambda_{j+1} + c_j q_j,
    lambda_j = kappa_j + momentum (lambda_{j+1} - lambda_{j+2}),
               or (1 + momentum) kappa_j - momentum kappa_{j+1}   with `nesterov`,

from lambda_k = o or kappa_k = o downwards: lambda and kappa are the derivatives of the output with
respect to x and x~. Eight paths fill the lanes of a vector register. The sum over i, which is
nearly all of the work (K^3/6 products a path for all outputs), is taken for four j at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from dmft.solvers.lanes import (
    LANES,
    add_scaled,
    lane_sum,
    load,
    splat,
    store,
    store_tile,
    zero_tile,
)

TILE = 4  # values of j whose sums stay in registers: two of sixteen registers for each


class Responses:
    """Coefficients of the recursions up to a step, from which responses are taken.

    Parameters
    ----------
    systems : int
        Number of independent sets of paths, each with a memory of its own.
    strata : int
        Number of groups of paths in a system, over each of which responses are summed.
    paths : int
        Paths of one group; a multiple of eight.
    layers : int
        Length L of x.
    steps : int
        Largest number of steps K.
    gain, momentum : float
    nesterov : bool
    coupled : bool
        Whether J has entries off its diagonal.

    Raises
    ------
    ValueError
        If paths is not a multiple of eight.

    Examples
    --------
    x_1 = x_0 - 0.1 f_0, without memory:

    >>> responses = Responses(1, 1, 8, 1, 2, gain=-0.1)
    >>> ones = np.ones((1, 1, 8))
    >>> responses.set_output(0, ones)
    >>> responses.set_step(0, ones[None])
    >>> responses.total(1, ones / 8).round(6).tolist()
    [[[-0.1]]]
    """

    def __init__(
        self,
        systems: int,
        strata: int,
        paths: int,
        layers: int,
        steps: int,
        gain: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        coupled: bool = True,
    ) -> None:
        """Hold no coefficients yet."""
        if paths % LANES:
            raise ValueError(f"paths must be a multiple of {LANES}; got {paths!r}")
        sets, groups = systems * strata, paths // LANES
        self._systems, self._strata = systems, strata
        self._gain, self._momentum, self._nesterov = gain, momentum, nesterov
        self._tiles = -(-steps // TILE)
        width = layers if coupled else 1
        self._jacobians = np.empty((sets, groups, steps, layers, width, LANES))
        self._outputs = np.empty((sets, groups, steps, layers, LANES))
        self._memory = np.zeros((systems, self._tiles, self._tiles * TILE, TILE))

    def set_output(self, k: int, c: np.ndarray) -> None:
        """Set c_k, shape (L, systems * strata, paths)."""
        self._outputs[:, :, k] = _grouped(c)

    def set_step(self, k: int, jacobians: np.ndarray) -> None:
        """Set J_k, shape (L, L, systems * strata, paths), or (L, 1, ...) its diagonal."""
        self._jacobians[:, :, k] = _grouped(jacobians)

    def set_memory(self, k: int, row: np.ndarray) -> None:
        """Set M(k, l) for l < k, shape (systems, k)."""
        padded = np.zeros((len(row), self._tiles * TILE))
        padded[:, :k] = row
        self._memory[:, :, k] = padded.reshape(len(row), self._tiles, TILE)

    def total(self, k: int, output: np.ndarray, seen: bool = True) -> np.ndarray:
        """Return the sum over paths of the responses of an output at step k to earlier fields.

        Parameters
        ----------
        k : int
        output : ndarray, shape (L, systems * strata, paths)
            o of each path.
        seen : bool
            Whether the output is o . x~_k, which differs from o . x_k with `nesterov` only.

        Returns
        -------
        ndarray, shape (systems, strata, k)
        """
        start = _grouped(output)
        rows = np.zeros((len(start), k))
        pair = self._jacobians.shape[3:5] == (2, 1) and not self._nesterov
        (_add_responses_of_pairs if pair else _add_responses)(
            self._jacobians,
            self._outputs,
            self._memory,
            start,
            k,
            self._gain,
            seen and self._nesterov,
            self._momentum,
            self._nesterov,
            rows,
        )
        return rows.reshape(self._systems, self._strata, k)


def _grouped(values: np.ndarray) -> np.ndarray:
    """Return values (..., systems, paths) as (systems, groups, ..., 8)."""
    systems, paths = values.shape[-2:]
    split = values.reshape(-1, systems, paths // LANES, LANES)
    shape = (systems, paths // LANES, *values.shape[:-2], LANES)
    return np.ascontiguousarray(split.transpose(1, 2, 0, 3)).reshape(shape)


@njit(cache=True, error_model="numpy")
def _add_responses(
    jacobians, outputs, memory, start, k, gain, seen, momentum, nesterov, row
):  # pragma: no cover
    """Add the responses to f_0, ..., f_{k-1}, summed over each set's paths, to `row` (S, k).

    Shapes: jacobians (S, G, K, L, L, 8) or (S, G, K, L, 1, 8), outputs (S, G, K, L, 8), start (S,
    G, L, 8); memory (M, T, W, 4) with M(i, j) at [j // 4, i, j % 4], of S/M sets each.
    """
    sets, groups, layers = start.shape[:3]
    steps, coupled = jacobians.shape[2], jacobians.shape[4] > 1
    tiles, width = memory.shape[1], memory.shape[2]
    share = sets // memory.shape[0]
    q = np.zeros((width, LANES))
    total = np.zeros((width, LANES))
    last = np.empty((layers, LANES))  # lambda_{j+1}
    other = np.empty((layers, LANES))  # lambda_{j+2}, or kappa_{j+1} with nesterov
    new = np.empty((layers, LANES))
    far = np.empty((TILE, LANES))
    for s in range(sets):
        total[:] = 0.0
        for g in range(s * groups, (s + 1) * groups):
            for a in range(layers):
                value = load(start, g * layers + a)
                store(last, a, (1.0 + momentum) * value if seen else value)
                store(other, a, value if seen else splat(0.0))
            for top in range((k - 1) // TILE * TILE, -1, -TILE):
                end = min(top + TILE, k)
                column = (s // share * tiles + top // TILE) * width
                tile = zero_tile(4)
                for i in range(end, k):
                    tile = add_scaled(tile, memory, (column + i) * TILE, load(q, i))
                store_tile(far, 0, tile)
                for j in range(end - 1, top - 1, -1):
                    at = (g * steps + j) * layers
                    m = load(outputs, at) * load(last, 0)
                    for a in range(1, layers):
                        m = m + load(outputs, at + a) * load(last, a)
                    m = gain * m
                    store(total, j, load(total, j) + m)
                    x = m + load(far, j - top)
                    for i in range(j + 1, end):
                        x = x + memory[s // share, top // TILE, i, j - top] * load(q, i)
                    store(q, j, x)
                    for a in range(layers):
                        value = load(outputs, at + a) * x
                        if coupled:
                            for b in range(layers):
                                here = load(jacobians, (at + b) * layers + a)
                                value = value + here * load(last, b)
                        else:
                            value = value + load(jacobians, at + a) * load(last, a)
                        store(new, a, value)
                    for a in range(layers):
                        value, old, previous = load(new, a), load(last, a), load(other, a)
                        if nesterov:
                            store(last, a, (1.0 + momentum) * value - momentum * previous)
                            store(other, a, value)
                        else:
                            store(last, a, value + momentum * (old - previous))
                            store(other, a, old)
        for j in range(k):
            row[s, j] += lane_sum(load(total, j))


@njit(cache=True, error_model="numpy")
def _add_responses_of_pairs(
    jacobians, outputs, memory, start, k, gain, seen, momentum, nesterov, row
):  # pragma: no cover
    """Do what `_add_responses` does for two layers that are not coupled, without Nesterov's step.

    All that goes from one j to the next stays in registers, which halves the time.
    """
    sets, groups = start.shape[:2]
    steps, tiles, width = jacobians.shape[2], memory.shape[1], memory.shape[2]
    share = sets // memory.shape[0]
    q = np.zeros((width, LANES))
    total = np.zeros((width, LANES))
    far = np.empty((TILE, LANES))
    for s in range(sets):
        total[:] = 0.0
        for g in range(s * groups, (s + 1) * groups):
            u, v = load(start, 2 * g), load(start, 2 * g + 1)  # lambda_{j+1}
            old_u, old_v = splat(0.0), splat(0.0)
            for top in range((k - 1) // TILE * TILE, -1, -TILE):
                end = min(top + TILE, k)
                column = (s // share * tiles + top // TILE) * width
                tile = zero_tile(4)
                for i in range(end, k):
                    tile = add_scaled(tile, memory, (column + i) * TILE, load(q, i))
                store_tile(far, 0, tile)
                for j in range(end - 1, top - 1, -1):
                    at = 2 * (g * steps + j)
                    c, d = load(outputs, at), load(outputs, at + 1)
                    m = gain * (c * u + d * v)
                    store(total, j, load(total, j) + m)
                    x = m + load(far, j - top)
                    for i in range(j + 1, end):
                        x = x + memory[s // share, top // TILE, i, j - top] * load(q, i)
                    store(q, j, x)
                    new_u = c * x + load(jacobians, at) * u + momentum * (u - old_u)
                    new_v = d * x + load(jacobians, at + 1) * v + momentum * (v - old_v)
                    old_u, old_v, u, v = u, v, new_u, new_v
        for j in range(k):
            row[s, j] += lane_sum(load(total, j))


def compile_functions() -> None:
    """Load or compile the sweeps.

    Examples
    --------
    >>> compile_functions()
    """
    for layers in (1, 2):
        responses = Responses(1, 1, LANES, layers, 2, 1.0, coupled=False)
        ones = np.ones((layers, 1, LANES))
        responses.set_output(0, ones)
        responses.set_step(0, ones[:, None])
        responses.total(1, ones)
