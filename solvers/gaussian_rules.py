"""Quadrature for independent standard Gaussians and for discrete measures."""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import product

import numpy as np

Rule = tuple[np.ndarray, np.ndarray]


def equidistant(spacing: float, offset: float, reach: float) -> Rule:
    """Return the equidistant rule for the standard Gaussian on [-reach, reach], weights sum 1.

    Examples
    --------
    >>> rule = equidistant(0.5, 0.0, 6.5)
    >>> round(float(rule[1].sum()), 12), round(float(rule[1] @ rule[0] ** 2), 12)
    (1.0, 0.999999999548)
    """
    count = int(np.ceil(reach / spacing))
    x = spacing * (np.arange(-count, count + 1 - (offset > 0)) + offset)
    weights = np.exp(-0.5 * x**2)
    return x, weights / weights.sum()


@cache
def gauss_hermite(count: int) -> Rule:
    """Return the Gauss rule for the standard Gaussian, symmetric to the last bit."""
    x, weights = np.polynomial.hermite_e.hermegauss(count)
    x = 0.5 * (x - x[::-1])
    weights = weights + weights[::-1]
    return x, weights / weights.sum()


@lru_cache(maxsize=64)
def smolyak(indices: tuple[tuple[int, ...], ...], modes: int) -> Rule:
    """Return the sparse grid of a downward closed set of multi-indices; it is kept for later calls.

    Parameters
    ----------
    indices : tuple of tuples
        Levels of each mode; level l stands for 2 l + 1 Gauss-Hermite nodes.
    modes : int
        Length of the multi-indices.

    Returns
    -------
    nodes : ndarray, shape (M, modes)
    weights : ndarray, shape (M,)
        They sum to one; some are negative.
    """
    members = set(indices)
    total: dict[tuple[float, ...], float] = {}
    for index in indices:
        coefficient = _combination_coefficient(index, members)
        if coefficient == 0:
            continue
        support = [k for k in range(modes) if index[k] > 0]
        rules = [gauss_hermite(2 * index[k] + 1) for k in support]
        for picks in product(*(range(rule[0].size) for rule in rules)):
            point = [0.0] * modes
            weight = float(coefficient)
            for k, rule, pick in zip(support, rules, picks, strict=True):
                point[k] = float(rule[0][pick]) + 0.0  # -0.0 becomes 0.0
                weight *= float(rule[1][pick])
            key = tuple(point)
            total[key] = total.get(key, 0.0) + weight
    nodes = np.array(list(total)).reshape(len(total), modes)
    weights = np.array(list(total.values()))
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights


def _combination_coefficient(index: tuple[int, ...], members: set[tuple[int, ...]]) -> int:
    """Return sum over e in {0,1}^r with index + e in the set of (-1)^|e|."""
    raised = [k for k in range(len(index)) if _raised(index, k) in members]
    coefficient = 0
    stack = [(index, 0, 1)]
    while stack:
        current, start, sign = stack.pop()
        coefficient += sign
        for position in range(start, len(raised)):
            above = _raised(current, raised[position])
            if above in members:
                stack.append((above, position + 1, -sign))
    return coefficient


def _raised(index: tuple[int, ...], k: int) -> tuple[int, ...]:
    """Return the multi-index with its entry k one higher."""
    return (*index[:k], index[k] + 1, *index[k + 1 :])


def gauss_rule(points: np.ndarray, masses: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights, shape (count,), with the first 2 count - 1 moments of a measure.

    The Jacobi matrix comes from the Lanczos process on diag(points), with full
    reorthogonalisation.

    Parameters
    ----------
    points, masses : ndarray, shape (m,)
        Distinct atoms and their positive masses.
    count : int
        Number of nodes, at most m.

    Examples
    --------
    >>> points = np.array([-1.0, 0.0, 1.0])
    >>> nodes, weights = gauss_rule(points, np.full(3, 1 / 3), 2)
    >>> float(weights.sum().round(12)), float((weights @ nodes**2).round(12))
    (1.0, 0.666666666667)
    """
    from scipy.linalg import eigh_tridiagonal  # SciPy is imported only where it is needed

    centre = np.average(points, weights=masses)
    spread = np.max(np.abs(points - centre))
    x = (points - centre) / spread
    basis = np.empty((count, points.size))
    diagonal = np.empty(count)
    off = np.empty(count - 1)
    basis[0] = np.sqrt(masses / masses.sum())
    for k in range(count):
        image = x * basis[k]
        diagonal[k] = image @ basis[k]
        for _ in range(2):
            image -= basis[: k + 1].T @ (basis[: k + 1] @ image)
        if k + 1 < count:
            off[k] = np.linalg.norm(image)
            basis[k + 1] = image / off[k]
    nodes, vectors = eigh_tridiagonal(diagonal, off)
    return centre + spread * nodes, masses.sum() * vectors[0] ** 2
