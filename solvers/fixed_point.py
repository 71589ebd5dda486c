"""Fixed points x = F(x) of an expensive contraction."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

LEAST_RATE = 0.5  # in a sweep, that the error is taken to fall by
LEAST_DAMPING = 0.25
RECOVERY = 1.5  # of the damping in each sweep whose change falls


class Exhausted(Exception):
    """Raised by a mapping that has no time left; an iteration then ends with its best.

    Examples
    --------
    >>> issubclass(Exhausted, Exception)
    True
    """


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Outcome of an iteration.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Last image, refined; where the iteration ends unfinished, that of the smallest change.
    argument : ndarray, shape (n,)
        What it is the image of.
    image : ndarray, shape (n,)
        The image as it was.
    change : float
        Size of the change from the argument to x.
    success : bool
        Whether the error left is at most the tolerance.
    history : tuple of float
        Size of the change in each sweep.

    Examples
    --------
    >>> import numpy as np
    >>> distance = lambda x, y: float(np.max(np.abs(x - y)))
    >>> found = iterate(np.cos, np.array([1.0]), distance, 1e-8, 50)
    >>> found.success, found.x.round(6)
    (True, array([0.739085]))
    """

    x: np.ndarray
    argument: np.ndarray
    image: np.ndarray
    change: float
    success: bool
    history: tuple[float, ...]


def iterate(
    mapping: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    distance: Callable[[np.ndarray, np.ndarray], float],
    tolerance: float,
    max_sweeps: int,
    memory: int = 5,
    refined: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> FixedPoint:
    """Iterate towards x = F(x) until the error left is at most the tolerance.

    From the changes d_k = distance(F(x), x), which fall by a factor r in each sweep, it is
    r d_k / (1 - r). r is the larger of the last two factors, and a half at least, as a fast fall
    may hide a slow one; a single change counts in full.

    Anderson mixing: the next x is the combination of the last images whose residuals cancel
    best (Walker and Ni, SIAM J. Numer. Anal. 49, 1715, 2011). It starts only once the changes
    decrease, and after a change that grows it forgets the past and goes on from the image, as
    the plain iteration does, which for causal maps converges in the end whatever the start. Where
    the change has turned round too, the image lies too far: half of the way is taken, or a quarter
    if it happens again, and more and more of it while changes fall.

    Parameters
    ----------
    mapping : callable
        F, from shape (n,) to shape (n,).
    start : ndarray, shape (n,)
        First x.
    distance : callable
        Size of the change from its second to its first argument.
    tolerance : float
        Largest error that counts as converged.
    max_sweeps : int
        Bound on the evaluations of F.
    memory : int
        Earlier residuals that the mixing uses; 0 is the plain iteration.
    refined : callable, optional
        Takes x and F(x) to where a model of F expects the fixed point; F(x) itself if absent.
        Then all that is said here of images is true of these.

    Returns
    -------
    FixedPoint
        `x` is the refined image of the last x, or of the best one.

    Raises
    ------
    Exhausted
        If the mapping raises it before there is any image.

    Examples
    --------
    >>> import numpy as np
    >>> distance = lambda x, y: float(np.max(np.abs(x - y)))
    >>> iterate(np.cos, np.array([1.0]), distance, 1e-8, 50).x.round(6)
    array([0.739085])
    """
    x = start
    best: tuple[np.ndarray, np.ndarray, np.ndarray, float] | None = None
    history: list[float] = []
    before: tuple[np.ndarray, np.ndarray] | None = None
    steps = _Steps(memory, x.size)
    damping = 1.0
    for _ in range(max_sweeps):
        try:
            image = mapping(x)
        except Exhausted:
            if best is None:
                raise
            break
        better = refined(x, image) if refined else image
        change = distance(better, x)
        history.append(change)
        left = _error_left(history)
        if best is None or change < best[-1]:
            best = better, x, image, change
        if left <= tolerance:
            return FixedPoint(better, x, image, change, True, tuple(history))
        if not np.isfinite(change):
            break
        residual = better - x
        if len(history) > 1 and change > history[-2]:
            steps.forget()
            if before is not None and residual @ before[1] < 0.0:
                damping = max(0.5 * damping, LEAST_DAMPING)
        elif before is not None:
            steps.add(better - before[0], residual - before[1])
            damping = min(RECOVERY * damping, 1.0)
        before = better, residual
        x = steps.mixed(better, residual, damping)
    assert best is not None
    return FixedPoint(*best, False, tuple(history))


def _error_left(history: list[float]) -> float:
    """Return the error of the last image that a geometric series of changes would leave."""
    last = history[-3:]
    if last[-1] == 0.0:
        return 0.0
    if len(last) == 1:
        return last[0]
    rate = max(LEAST_RATE, *(after / before for before, after in pairwise(last)))
    return rate * last[-1] / (1.0 - rate) if rate < 1.0 else math.inf


class _Steps:
    """The last steps of images and residuals, and how they mix."""

    def __init__(self, memory: int, size: int) -> None:
        self._images = np.empty((memory, size))
        self._residuals = np.empty((memory, size))
        self._gram = np.empty((memory, memory))  # of the residuals' steps
        self._taken = 0

    def forget(self) -> None:
        """Drop all steps."""
        self._taken = 0

    def add(self, image: np.ndarray, residual: np.ndarray) -> None:
        """Take a step in place of the oldest."""
        if len(self._gram) == 0:
            return
        slot = self._taken % len(self._gram)
        self._taken += 1
        self._images[slot], self._residuals[slot] = image, residual
        count = min(self._taken, len(self._gram))
        products = self._residuals[:count] @ residual
        self._gram[slot, :count] = self._gram[:count, slot] = products

    def mixed(self, image: np.ndarray, residual: np.ndarray, damping: float) -> np.ndarray:
        """Return the image after the steps that make its residual smallest, damped."""
        shares = self._shares(residual)
        count = shares.size
        x = image - shares @ self._images[:count] if count else image
        if damping == 1.0:
            return x
        left = residual - shares @ self._residuals[:count] if count else residual
        return x - (1.0 - damping) * left

    def _shares(self, residual: np.ndarray) -> np.ndarray:
        """Return the share of each step, none where there is no telling."""
        count = min(self._taken, len(self._gram))
        gram = self._gram[:count, :count] + 0.0
        gram.flat[:: count + 1] *= 1.0 + 1e-12  # parallel steps share their weight
        target = self._residuals[:count] @ residual
        finite = np.isfinite(gram).all() and np.isfinite(target).all()
        if not (count and finite and gram.diagonal().all()):
            return np.empty(0)
        return np.linalg.solve(gram, target)
