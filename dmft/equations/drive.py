"""The Gaussian law of (U, w*) in principal modes.

A path of the effective process depends on its noise and target only through the drive
U = G - w* k, k = K 1. For an atom of P* the drive is Gaussian with covariance C_G around -w* k;
for a Gaussian component w* is one more Gaussian variable, and the principal modes are those of
the joint law. Each component thus gives a linear map from independent standard Gaussians, in
descending order of variance, to the drive, on which a noise rule acts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmft.equations.start import initial_time
from dmft.problem import Problem
from dmft.solvers.collocation import Grid


@dataclass(frozen=True, eq=False)
class Drive:
    """Gaussian law of (U, w*) in the components of P* with one standard deviation.

    In a component of mean m, U = z modes^T - m k and w* = m + target_modes . z + sqrt(rest) zeta
    with independent standard Gaussians z (r,) and zeta.

    Parameters
    ----------
    k : ndarray, shape (N,)
        K 1.
    modes : ndarray, shape (N, r)
    scales : ndarray, shape (r,)
        Largest share of each mode in the standard deviation of U, in the sense of
        max_t |mode(t)| / sqrt(1 + Var U(t)): paths bend where H changes by one.
    target_modes : ndarray, shape (r,)
    """

    k: np.ndarray
    modes: np.ndarray
    scales: np.ndarray
    target_modes: np.ndarray

    @classmethod
    def of(cls, std: float, k: np.ndarray, root: np.ndarray, weights: np.ndarray) -> Drive:
        """Build the drive of components of a standard deviation; `root` (N, r) is one of C_G."""
        target_modes = np.zeros(root.shape[1])
        modes = root
        if std > 0 and np.isfinite(root).all():
            joint = np.concatenate([root, -std * k[:, None]], axis=1)
            modes, rotation = principal_modes(joint, weights)
            target_modes = std * rotation[-1]
        return cls(k, modes, shares(modes, 1.0), target_modes)

    @property
    def threshold_drift(self) -> float:
        """Change of the leading mode's value at a given H at the horizon with the target's mean."""
        return float(self.k[-1] / self.modes[-1, 0])

    def aligned(self, previous: Drive) -> Drive:
        """Return the drive with each mode's sign as in `previous`, for continuity in sweeps."""
        count = min(self.modes.shape[1], previous.modes.shape[1])
        products = np.einsum("ij,ij->j", self.modes[:, :count], previous.modes[:, :count])
        sign = np.ones(self.modes.shape[1])
        sign[:count][products < 0] = -1.0
        return Drive(self.k, self.modes * sign, self.scales, self.target_modes * sign)


def time_weights(problem: Problem, grid: Grid) -> np.ndarray:
    """Return the weights of int f g dt / (t + initial time) + f g at t_max, shape (N,).

    It is about uniform in log t, so that early times count; at t_max modes of an integral alone
    fit worst. It does not depend on how the grid is refined.

    Examples
    --------
    >>> import dmft
    >>> grid = dmft.Grid([0.0, 0.5, 1.0], 3)
    >>> time_weights(dmft.Problem(0.5), grid).shape
    (6,)
    """
    weights = grid.weights / (grid.nodes + initial_time(problem))
    weights[-1] += 1.0
    return weights


def mode_weights(time_weights: np.ndarray, C_G: np.ndarray) -> np.ndarray:
    """Return the weights of the inner product that defines principal modes, shape (N,).

    They are those of time over the standard deviation of the noise, which may grow by orders of
    magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> mode_weights(np.ones(2), np.diag([0.0, 3.0]))
    array([1. , 0.5])
    """
    return time_weights / np.sqrt(1.0 + np.maximum(C_G.diagonal(), 0.0))


def principal_modes(root: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate the columns of `root` (N, m) into principal modes in the weighted inner product.

    Returns
    -------
    modes : ndarray, shape (N, r)
        In descending order, modes @ modes.T = root @ root.T up to rounding.
    rotation : ndarray, shape (m, r)
        modes = root @ rotation.

    Examples
    --------
    >>> import numpy as np
    >>> modes, rotation = principal_modes(np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([2.0, 1.0]))
    >>> bool(abs(modes[:, 0] @ (modes[:, 1] * [2.0, 1.0])) < 1e-12)
    True
    """
    metric = np.sqrt(weights)[:, None]
    _, singular, right = np.linalg.svd(metric * root, full_matrices=False)
    rotation = right[singular > 1e-8 * singular[0]].T
    return root @ rotation, rotation


def shares(modes: np.ndarray, unit: float) -> np.ndarray:
    """Return max_t |mode(t)| / sqrt(unit^2 + sum of all mode(t)^2), shape (r,), of modes (N, r).

    Examples
    --------
    >>> import numpy as np
    >>> shares(np.array([[0.0, 3.0], [0.0, 4.0]]), 0.0)
    array([0., 1.])
    """
    deviation = np.sqrt(unit**2 + np.einsum("ij,ij->i", modes, modes))
    return np.abs(modes / deviation[:, None]).max(axis=0)


def noise_root(
    C_G: np.ndarray, weights: np.ndarray, negligible: float = 0.0, unit: float = 1.0
) -> np.ndarray:
    """Return the principal modes of the covariance C_G, shape (N, r), in descending order.

    What is left of the noise has a share below `negligible` in the sense of `shares`.

    Examples
    --------
    >>> import numpy as np
    >>> root = noise_root(np.array([[2.0, 1.0], [1.0, 2.0]]), np.ones(2))
    >>> (root @ root.T).round(6)
    array([[2., 1.],
           [1., 2.]])
    """
    from dmft.solvers.principal_modes import square_root  # imports numba

    return square_root(C_G, weights, 1e-15, negligible, unit)
