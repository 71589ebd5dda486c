"""Fixed points x = F(x) of an expensive contraction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Outcome of an iteration.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Last iterate.
    success : bool
        Whether the last change was at most the tolerance.
    history : tuple of float
        Size of the change in each sweep.
    """

    x: np.ndarray
    success: bool
    history: tuple[float, ...]


def iterate(
    mapping: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    distance: Callable[[np.ndarray, np.ndarray], float],
    tolerance: float,
    max_sweeps: int,
    memory: int = 5,
) -> FixedPoint:
    """Iterate towards x = F(x) until distance(F(x), x) <= tolerance.

    Anderson mixing: the next x is the combination of the last images whose residuals cancel
    best (Walker and Ni, SIAM J. Numer. Anal. 49, 1715, 2011). It starts only once the changes
    decrease, and after a change that grows it forgets the past and goes on from the image, as
    the plain iteration does, which for causal maps converges in the end whatever the start.

    Parameters
    ----------
    mapping : callable
        F, from shape (n,) to shape (n,).
    start : ndarray, shape (n,)
        First x.
    distance : callable
        Size of the change from its second to its first argument.
    tolerance : float
        Largest change that counts as converged.
    max_sweeps : int
        Bound on the evaluations of F.
    memory : int
        Earlier residuals that the mixing uses; 0 is the plain iteration.

    Returns
    -------
    FixedPoint
        `x` is the image F(x) of the last x.
    """
    x = start
    history: list[float] = []
    images: list[np.ndarray] = []
    residuals: list[np.ndarray] = []
    for _ in range(max_sweeps):
        image = mapping(x)
        change = distance(image, x)
        history.append(change)
        if change <= tolerance:
            return FixedPoint(image, True, tuple(history))
        if not np.isfinite(change):
            return FixedPoint(image, False, tuple(history))
        if len(history) > 1 and change > history[-2]:
            images, residuals = [], []
        images = [*images, image][-memory - 1 :]
        residuals = [*residuals, image - x][-memory - 1 :]
        x = _mixed(images, residuals)
    return FixedPoint(image, False, tuple(history))


def _mixed(images: list[np.ndarray], residuals: list[np.ndarray]) -> np.ndarray:
    """Return the combination of images, weights summing to one, of least residual norm."""
    if len(images) == 1:
        return images[0]
    steps = np.diff(np.stack(residuals), axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # a diverging iteration is reported later
        gram = steps @ steps.T
        gram[np.diag_indices_from(gram)] *= 1.0 + 1e-12  # parallel steps share their weight
        target = steps @ residuals[-1]
    if not (np.all(np.isfinite(gram)) and np.all(np.isfinite(target)) and np.all(gram.diagonal())):
        return images[-1]
    return images[-1] - np.linalg.solve(gram, target) @ np.diff(np.stack(images), axis=0)
