"""Piecewise Radau collocation of causal operators on a time grid.

The grid splits [0, t_max] into panels, each with the p right-end Radau nodes. A function is
stood for by its values at the nodes (and at t = 0 where it is continuous there), a causal
operator by a block-lower-triangular matrix acting on node values. The integration matrix

    S[i, j] = int_0^{t_i} l_j(s) ds        (l_j: Lagrange polynomials of the panel of t_j)

turns Volterra integral equations into block-triangular linear algebra that converges like
h^(2p-1) at the panel ends (Radau IIA; Hairer and Wanner, Solving ODEs II, section IV.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.polynomial import Legendre


@cache
def radau_nodes(stages: int) -> np.ndarray:
    """Return the right-end Radau nodes on [0, 1], ascending, shape (stages,), last node 1.

    They are the zeros of P_p - P_(p-1), P the Legendre polynomials on [0, 1].
    """
    difference = Legendre.basis(stages, [0, 1]) - Legendre.basis(stages - 1, [0, 1])
    nodes = np.sort(difference.roots().real)
    for _ in range(2):  # polish the companion-matrix roots to rounding
        nodes = nodes - difference(nodes) / difference.deriv()(nodes)
    nodes[-1] = 1.0
    nodes.setflags(write=False)
    return nodes


@cache
def integration_block(stages: int) -> np.ndarray:
    """Return the Radau IIA matrix a[i, j] = int_0^{c_i} l_j, shape (stages, stages).

    Its last row holds the quadrature weights of the panel.
    """
    c = radau_nodes(stages)
    values = _legendre_values(c, stages)
    integrals = _legendre_integrals(c, stages)
    block = np.linalg.solve(values.T, integrals.T).T
    block.setflags(write=False)
    return block


def _legendre_values(x: np.ndarray, count: int) -> np.ndarray:
    """Return P_0..P_(count-1) on [0, 1] at x, shape (len(x), count)."""
    return np.polynomial.legendre.legvander(2 * x - 1, count - 1)


def _legendre_integrals(x: np.ndarray, count: int) -> np.ndarray:
    """Return int_0^x P_k for k < count, shape (len(x), count)."""
    columns = [Legendre.basis(k, [0, 1]).integ(lbnd=0)(x) for k in range(count)]
    return np.stack(columns, axis=-1)


def lagrange_matrix(nodes: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the values l_j(x_i) of the Lagrange polynomials of `nodes`, shape (len(x), p).

    Examples
    --------
    >>> lagrange_matrix(np.array([0.0, 1.0]), np.array([0.25]))
    array([[0.75, 0.25]])
    """
    gaps = nodes[:, None] - nodes[None, :]
    np.fill_diagonal(gaps, 1.0)
    weights = 1.0 / gaps.prod(axis=1)
    distance = x[:, None] - nodes[None, :]
    exact = distance == 0
    ratio = weights / np.where(exact, 1.0, distance)
    matrix = ratio / ratio.sum(axis=1, keepdims=True)
    hit = exact.any(axis=1)
    matrix[hit] = exact[hit]
    return matrix


@dataclass(frozen=True, eq=False)
class Grid:
    """Panels of Radau nodes.

    Parameters
    ----------
    edges : ndarray, shape (P + 1,)
        Panel boundaries, strictly increasing from 0.
    stages : int
        Nodes in each panel, p >= 2.

    Raises
    ------
    ValueError
        If the edges do not increase from 0 or there are fewer than two stages.

    Examples
    --------
    >>> grid = Grid(np.array([0.0, 0.5, 1.0]), 3)
    >>> grid.size, float(grid.nodes[-1])
    (6, 1.0)
    """

    edges: np.ndarray
    stages: int = 4

    def __post_init__(self) -> None:
        """Check the edges and store a read-only copy."""
        edges = np.array(self.edges, dtype=float)
        finite = edges.ndim == 1 and edges.size > 1 and np.all(np.isfinite(edges))
        if not finite or edges[0] != 0 or np.any(np.diff(edges) <= 0):
            raise ValueError(f"edges must be finite and increase from 0; got {self.edges!r}")
        if self.stages < 2:
            raise ValueError(f"stages must be >= 2; got {self.stages!r}")
        edges.setflags(write=False)
        object.__setattr__(self, "edges", edges)

    @cached_property
    def panels(self) -> int:
        """Number of panels."""
        return self.edges.size - 1

    @cached_property
    def size(self) -> int:
        """Number of nodes."""
        return self.panels * self.stages

    @property
    def t_max(self) -> float:
        """Right end of the last panel."""
        return float(self.edges[-1])

    @cached_property
    def nodes(self) -> np.ndarray:
        """All nodes, ascending, shape (N,); the last is t_max, and 0 is not one of them."""
        steps = np.diff(self.edges)
        nodes = (self.edges[:-1, None] + steps[:, None] * radau_nodes(self.stages)).ravel()
        nodes[self.stages - 1 :: self.stages] = self.edges[1:]
        return nodes

    @cached_property
    def nodes_with_start(self) -> np.ndarray:
        """The time 0 followed by all nodes, shape (N + 1,)."""
        return np.concatenate([[0.0], self.nodes])

    @cached_property
    def weights(self) -> np.ndarray:
        """Quadrature weights of int_0^t_max, shape (N,)."""
        return np.outer(np.diff(self.edges), integration_block(self.stages)[-1]).ravel()

    @cached_property
    def integration(self) -> np.ndarray:
        """The integration matrix S, shape (N, N)."""
        p = self.stages
        S = np.tril(np.broadcast_to(self.weights, (self.size, self.size)))
        steps = np.diff(self.edges)
        for q in range(self.panels):
            here = slice(q * p, (q + 1) * p)
            S[here, here] = steps[q] * integration_block(p)
        return S

    def split(self, marked: np.ndarray) -> Grid:
        """Return the grid with every marked panel (boolean, shape (P,)) cut in two."""
        middles = 0.5 * (self.edges[1:] + self.edges[:-1])
        return Grid(np.sort(np.concatenate([self.edges, middles[marked]])), self.stages)

    def leading(self, count: int) -> Grid:
        """Return the grid of the first `count` panels."""
        return Grid(self.edges[: count + 1], self.stages)

    def locate(self, t: np.ndarray) -> np.ndarray:
        """Return the panel of each time, an edge belonging to the panel on its left."""
        return np.clip(np.searchsorted(self.edges, t, side="left") - 1, 0, self.panels - 1)

    def interpolation(self, t: np.ndarray) -> np.ndarray:
        """Return the matrix from values at 0 and the nodes (N + 1) to values at t (T,).

        In each panel it is the polynomial of degree p through the panel's left end and nodes,
        so that the interpolant is continuous.
        """
        t = np.asarray(t, dtype=float)
        local_nodes = np.concatenate([[0.0], radau_nodes(self.stages)])
        panel = self.locate(t)
        x = (t - self.edges[panel]) / np.diff(self.edges)[panel]
        values = lagrange_matrix(local_nodes, x)
        matrix = np.zeros((t.size, self.size + 1))
        columns = panel[:, None] * self.stages + np.arange(self.stages + 1)
        np.put_along_axis(matrix, columns, values, axis=1)
        return matrix

    def node_interpolation(self, t: np.ndarray, last_panel: int | None = None) -> np.ndarray:
        """Return the matrix from values at the nodes alone (N) to values at t (T,).

        In each panel it is the polynomial of degree p - 1 through the nodes; beyond
        `last_panel` that panel's polynomial continues.
        """
        t = np.asarray(t, dtype=float)
        panel = self.locate(t)
        if last_panel is not None:
            panel = np.minimum(panel, last_panel)
        x = (t - self.edges[panel]) / np.diff(self.edges)[panel]
        matrix = np.zeros((t.size, self.size))
        columns = panel[:, None] * self.stages + np.arange(self.stages)
        values = lagrange_matrix(radau_nodes(self.stages), x)
        np.put_along_axis(matrix, columns, values, axis=1)
        return matrix

    def resolution(self, values: np.ndarray) -> np.ndarray:
        """Return the size of the last Legendre coefficient of `values` in each panel.

        Parameters
        ----------
        values : ndarray, shape (..., N + 1)
            Values at the start and the nodes.

        Returns
        -------
        ndarray, shape (..., P)
            The coefficient of degree p, larger than what the panel's polynomial is missing.
        """
        p = self.stages
        local_nodes = np.concatenate([[0.0], radau_nodes(p)])
        last = np.linalg.inv(_legendre_values(local_nodes, p + 1))[-1]
        windows = np.lib.stride_tricks.sliding_window_view(values, p + 1, axis=-1)[..., ::p, :]
        return np.abs(windows @ last)


class Transfer:
    """Interpolation from one grid to another of the same length.

    Parameters
    ----------
    grid, target : Grid

    Attributes
    ----------
    values : ndarray, shape (target.size + 1, grid.size + 1)
        Matrix from values at 0 and the nodes to those of the target.

    Examples
    --------
    >>> coarse, fine = Grid(np.array([0.0, 1.0]), 3), Grid(np.array([0.0, 0.5, 1.0]), 3)
    >>> type(Transfer(coarse, fine)).__name__
    'Transfer'
    """

    def __init__(self, grid: Grid, target: Grid) -> None:
        """Build the matrices."""
        self.values = grid.interpolation(target.nodes_with_start)
        self._target = target
        self._rows = grid.node_interpolation(target.nodes)
        stops = (grid.locate(target.edges[1:]) + 1) * grid.stages
        within = target.node_interpolation(grid.nodes)
        panel = target.locate(grid.nodes)
        self._columns = []
        for q, stop in enumerate(stops):
            columns = within[:stop].copy()
            beyond = panel[:stop] > q
            if beyond.any():
                columns[beyond] = target.node_interpolation(grid.nodes[:stop][beyond], q)
            self._columns.append(columns)

    def operator(self, operator: np.ndarray) -> np.ndarray:
        """Return a causal operator's matrix (N, N) on the target grid.

        The result agrees with `operator` on smooth functions. Within a panel the operator's
        rows use the whole panel's polynomial; a shorter panel of the target has only its own
        nodes up to there, and extends their polynomial, so that the result is causal.
        """
        size, stages = self._target.size, self._target.stages
        moved = np.zeros((size, size))
        rows = self._rows @ operator
        for q, columns in enumerate(self._columns):
            here = slice(q * stages, (q + 1) * stages)
            moved[here] = rows[here, : len(columns)] @ columns
        return moved
