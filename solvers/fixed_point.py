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
) -> FixedPoint:
    """Iterate x <- F(x) until distance(F(x), x) <= tolerance.

    For causal maps the plain iteration converges faster than any geometric series.

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
    """
    x = start
    history: list[float] = []
    for _ in range(max_sweeps):
        image = mapping(x)
        change = distance(image, x)
        history.append(change)
        x = image
        if not np.isfinite(change):
            break
        if change <= tolerance:
            return FixedPoint(x, True, tuple(history))
    return FixedPoint(x, False, tuple(history))
