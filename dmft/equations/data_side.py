"""The data side of the DMFT: what a sample's residual does to the coordinates.

With the response R_w and the correlation C_w of theta = w - w*, the residual of a sample obeys
r = -xi + omega + scale R_w r, omega ~ GP(0, C_w), xi of variance `noise`, scale = 1/delta.
It is linear, hence exactly

    R_r = (1 - scale R_w)^(-1),      C_r = R_r (C_w + noise 1 1^T) R_r^T,
    K = S R_r,                       C_G = scale S C_r S^T,

where K and C_G are the memory kernel and the noise covariance of the integrated gradient, S being
integration. Everything is a matrix that acts on values at some times (arXiv:2510.01930;
arXiv:2112.07572). `data_side` takes any times; `solve_residual` and `build_kernels` are the same
in compiled form for the panels of a collocation grid, where R_w = -A S.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np


class DataSide(NamedTuple):
    """Response and correlation of the residual, and the force that it exerts on a coordinate.

    Parameters
    ----------
    R_r : ndarray, shape (N, N)
        Response of the residual, with its delta function: its diagonal blocks do not vanish.
    C_r : ndarray, shape (N, N)
        Correlation of the residual, label noise included.
    K : ndarray, shape (N, N)
        Memory kernel.
    C_G : ndarray, shape (N, N)
        Covariance of the noise in the (integrated) gradient.
    """

    R_r: np.ndarray
    C_r: np.ndarray
    K: np.ndarray
    C_G: np.ndarray


def data_side(
    response: np.ndarray,
    covariance: np.ndarray,
    noise: float,
    scale: float,
    integration: np.ndarray | None = None,
) -> DataSide:
    """Solve the sample's equation for matrices that act on values at N times.

    Parameters
    ----------
    response : ndarray, shape (N, N)
        R_w as an operator: (R_w f)_k is the linear answer of theta(t_k) to the forces f. On a grid
        of collocation it includes the integration, in discrete steps it is strictly lower
        triangular.
    covariance : ndarray, shape (N, N)
        C_w of theta at these times.
    noise : float
        Variance of the label noise; >= 0.
    scale : float
        Coordinates for each sample, d/n: 1/delta.
    integration : ndarray, shape (N, N), optional
        S, from a force to its integral; the identity where absent.

    Returns
    -------
    DataSide

    Raises
    ------
    numpy.linalg.LinAlgError
        If 1 - scale R_w is singular, which no strictly causal response makes it.

    References
    ----------
    arXiv:2510.01930; arXiv:2112.07572.

    Examples
    --------
    One step of gradient descent of size 0.1 on w itself, from w = 0 with E[w*^2] = 1 and twice as
    many samples as coordinates:

    >>> import numpy as np
    >>> R_w = np.array([[0.0, 0.0], [-0.1, 0.0]])
    >>> side = data_side(R_w, covariance=np.ones((2, 2)), noise=0.5, scale=0.5)
    >>> side.R_r
    array([[ 1.  ,  0.  ],
           [-0.05,  1.  ]])
    >>> side.C_r.round(6)
    array([[1.5    , 1.425  ],
           [1.425  , 1.35375]])
    """
    R_r = np.linalg.solve(np.eye(len(response)) - scale * response, np.eye(len(response)))
    C_r = moved(R_r, covariance + noise)
    if integration is None:
        return DataSide(R_r, C_r, R_r, scale * C_r)
    return DataSide(R_r, C_r, integration @ R_r, scale * moved(integration, C_r))


def moved(operator: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return operator covariance operator^T, (N, N), symmetric to the last bit.

    Examples
    --------
    >>> moved(np.array([[1.0, 0.0], [1.0, 1.0]]), np.eye(2))
    array([[1., 1.],
           [1., 2.]])
    """
    product = operator @ covariance @ operator.T
    return 0.5 * (product + product.T)


class Integration(NamedTuple):
    """An integration matrix, and it and its transpose with zeros around them.

    Parameters
    ----------
    matrix : ndarray, shape (N, N)
    padded, transposed : ndarray, shape (W, W)
    """

    matrix: np.ndarray
    padded: np.ndarray
    transposed: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> Integration:
        """Pad a block-lower-triangular matrix (N, N)."""
        from dmft.solvers.causal_operators import padded  # numba is imported when a solve starts

        return cls(matrix, padded(matrix), padded(matrix.T))


@dataclass(frozen=True, eq=False)
class Residual:
    """The residual on a collocation grid; what is derived is evaluated when first read.

    Parameters
    ----------
    A : ndarray, shape (N, N)
        R_w = -A S: the response without the integration of the force.
    integration : Integration
    scale : float
        1/delta.
    stages : int
        Nodes in a panel.
    padded_response : ndarray, shape (W, W)
        Transpose of R_r with zeros around it.
    labels : ndarray, shape (N + 1, N + 1)
        C_w + noise at t = 0 and the nodes.
    variance : ndarray, shape (N + 1,)
        Diagonal of C_r at t = 0 and the nodes.
    """

    A: np.ndarray
    integration: Integration
    scale: float
    stages: int
    padded_response: np.ndarray
    labels: np.ndarray
    variance: np.ndarray

    @cached_property
    def R_w(self) -> np.ndarray:
        """Response of theta, shape (N, N)."""
        return -self.A @ self.integration.matrix

    @cached_property
    def R_r(self) -> np.ndarray:
        """Response of the residual, with its delta function, shape (N, N)."""
        size = len(self.A)
        return np.ascontiguousarray(self.padded_response[:size, :size].T)

    @property
    def decay(self) -> np.ndarray | None:
        """Integrated rate of white noise in the gradient, shape (N,); None without any."""
        return None

    def white_covariance(self) -> np.ndarray | None:
        """Return what white noise adds to the covariance of G, (N, N); None without any."""
        return None

    @cached_property
    def C_r(self) -> np.ndarray:
        """Residual correlation at t = 0 and the nodes, shape (N + 1, N + 1)."""
        reach = np.zeros_like(self.labels)
        reach[0, 0] = 1.0  # at t = 0 nothing has responded yet
        reach[1:, 1:] = self.R_r
        return moved(reach, self.labels)


@dataclass(frozen=True, eq=False)
class Kernels:
    """What drives the effective process.

    Parameters
    ----------
    K : ndarray, shape (N, N)
        Memory kernel.
    C_G : ndarray, shape (N, N)
        Covariance of the integrated noise G.
    decay : ndarray, shape (N,), optional
        Integrated rate of the white part of that noise.
    """

    K: np.ndarray
    C_G: np.ndarray
    decay: np.ndarray | None = None


def solve_residual(
    A: np.ndarray,
    integration: Integration,
    covariance: np.ndarray,
    noise: float,
    scale: float,
    stages: int,
) -> Residual:
    """Return the residual on a collocation grid; `data_side` at R_w = -A S in compiled form.

    Parameters
    ----------
    A : ndarray, shape (N, N)
        Block-lower-triangular in panels of `stages` nodes.
    integration : Integration
        S, block-lower-triangular too.
    covariance : ndarray, shape (N + 1, N + 1)
        C_w at t = 0 and the nodes.
    noise : float
        Variance of the label noise.
    scale : float
        1/delta.
    stages : int
        Nodes in a panel.

    Examples
    --------
    >>> import numpy as np
    >>> from dmft.solvers.collocation import Grid
    >>> grid = Grid(np.array([0.0, 1.0, 3.0]), 4)
    >>> S = Integration.of(grid.integration)
    >>> residual = solve_residual(np.eye(8), S, np.ones((9, 9)), 0.1, scale=2.0, stages=4)
    >>> direct = data_side(-grid.integration, np.ones((8, 8)), 0.1, 2.0, grid.integration)
    >>> bool(np.allclose(residual.C_r[1:, 1:], direct.C_r, rtol=0, atol=1e-12))
    True
    """
    from dmft.solvers.causal_operators import feedback

    labels = covariance + noise
    response, variance = feedback(A, integration.padded, scale, labels, stages)
    return Residual(A, integration, scale, stages, response, labels, variance)


def build_kernels(residual: Residual) -> Kernels:
    """Return the kernels that belong to a residual on a collocation grid, K and C_G.

    Examples
    --------
    >>> from dmft.solvers.collocation import Grid
    >>> grid = Grid(np.array([0.0, 1.0]), 3)
    >>> S = Integration.of(grid.integration)
    >>> residual = solve_residual(np.zeros((3, 3)), S, np.ones((4, 4)), 0.0, scale=2.0, stages=3)
    >>> kernels = build_kernels(residual)  # nothing responds: K = S, C_G = 2 t s
    >>> bool(np.allclose(kernels.C_G, 2.0 * np.outer(grid.nodes, grid.nodes)))
    True
    """
    from dmft.solvers.causal_operators import filtered

    size, transposed = len(residual.A), residual.integration.transposed
    K, C_G = filtered(
        residual.padded_response, transposed, residual.scale, residual.labels, residual.stages
    )
    white = residual.white_covariance()
    return Kernels(K[:size, :size].T, C_G if white is None else C_G + white, residual.decay)


def variances_at(move: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the diagonal of a covariance (N + 1, N + 1) moved to other times, shape (T,).

    Interpolation in both arguments, by `move` (T, N + 1), is more accurate than that of the
    diagonal, above all where it is a small difference of large terms.

    Examples
    --------
    >>> variances_at(np.array([[0.5, 0.5]]), np.array([[4.0, 2.0], [2.0, 1.0]]))
    array([2.25])
    """
    return np.einsum("ti,ti->t", move @ covariance, move)
