"""Laws of one weight or of what is observed of it: mixtures of Gaussians and atoms, as arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

_CELL_NODES = 16  # interpolation over a cell 2 tau wide is then exact to about 1e-11
_FEW_ATOMS = 200  # so many or fewer are kept as they are: they cost less than their compression


class Mixture(NamedTuple):
    """sum_k p_k N(m_k, s_k^2), arrays of shape (K,); weights of a compressed law may be < 0.

    Examples
    --------
    >>> law = Mixture(np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.zeros(2))
    >>> law.cdf(np.array([0.5])), law.convolved(2.0).std
    (array([0.5]), array([2., 2.]))
    """

    probability: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def average(self, values: np.ndarray) -> float:
        """Average one value for each component."""
        return float(self.probability @ values)

    def compressed(self, tau: float) -> Mixture:
        """Return a law with fewer atoms and the same averages of functions smooth on scale tau.

        An average over w* after convolution with N(0, tau^2) is analytic in w*, so the atoms of
        a cell of width 2 tau are replaced by its Chebyshev nodes, weighted by interpolation.
        """
        atom = self.std == 0
        if tau == 0 or np.count_nonzero(atom) <= _FEW_ATOMS:
            return self
        position = self.mean[atom] / (2 * tau)
        occupied, cell = np.unique(np.floor(position), return_inverse=True)
        if occupied.size * _CELL_NODES >= position.size:
            return self
        nodes = np.cos(np.pi * (np.arange(_CELL_NODES) + 0.5) / _CELL_NODES)
        vander = np.polynomial.chebyshev.chebvander
        to_nodes = vander(nodes, _CELL_NODES - 1).T * (2.0 / _CELL_NODES)
        to_nodes[0] *= 0.5
        local = 2 * (position - occupied[cell]) - 1
        shares = self.probability[atom][:, None] * (vander(local, _CELL_NODES - 1) @ to_nodes)
        weights = np.zeros((occupied.size, _CELL_NODES))
        np.add.at(weights, cell, shares)
        means = 2 * tau * (occupied[:, None] + 0.5 * (nodes + 1))
        return Mixture(
            np.concatenate([self.probability[~atom], weights.ravel()]),
            np.concatenate([self.mean[~atom], means.ravel()]),
            np.concatenate([self.std[~atom], np.zeros(weights.size)]),
        )

    def convolved(self, tau: float) -> Mixture:
        """Return the law of w* + tau Z with one component for each of this law."""
        return self._replace(std=np.hypot(self.std, tau))

    def cdf(self, x: np.ndarray, strict: bool = False) -> np.ndarray:
        """Return P(value <= x), or P(value < x) if `strict`, shape of `x`."""
        atom = self.std == 0
        order = np.argsort(self.mean[atom])
        steps = np.concatenate([[0.0], np.cumsum(self.probability[atom][order])])
        places = self.mean[atom][order]
        total = steps[np.searchsorted(places, x, side="left" if strict else "right")]
        bells = zip(self.probability[~atom], self.mean[~atom], self.std[~atom], strict=True)
        return total + sum(p * ndtr((x - m) / s) for p, m, s in bells)

    def quantile(self, p: np.ndarray) -> np.ndarray:
        """Return the smallest x with P(value <= x) >= p, shape of `p`; infinite at p = 0, 1."""
        low = np.full(p.shape, (self.mean - 40 * self.std).min() - 1.0)
        high = np.full(p.shape, (self.mean + 40 * self.std).max() + 1.0)
        for _ in range(200):
            middle = 0.5 * (low + high)
            if np.all((middle == low) | (middle == high)):
                break
            reached = self.cdf(middle) >= p
            high = np.where(reached, middle, high)
            low = np.where(reached, low, middle)
        return np.where(p <= 0, -np.inf, np.where(p >= 1, np.inf, high))
