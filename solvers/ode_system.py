"""What a system of ordinary differential equations states of itself, and how steps change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Array = np.ndarray

SAFETY = 0.9
SHRINK, GROW = 0.2, 5.0  # a step changes by a factor between these
TINY = np.finfo(float).tiny


class Linearisation(Protocol):
    """The Jacobian J at one point.

    Examples
    --------
    >>> import numpy as np
    >>> class Decay:
    ...     rate = 2.0
    ...
    ...     def solver(self, shift):
    ...         return lambda b: b / (shift + 2.0)
    >>> Decay().solver(1.0)(np.array([6.0]))
    array([2.])
    """

    @property
    def rate(self) -> float:
        """Bound on the modulus of the eigenvalues of J."""

    def solver(self, shift: float) -> Callable[[Array], Array]:
        """Return b -> (shift - J)^(-1) b; LinAlgError if there is none."""


class System(Protocol):
    """An autonomous system with its own measure of the error.

    Examples
    --------
    >>> import numpy as np
    >>> class Decay:
    ...     stiff_cost = 1.0
    ...
    ...     def velocity(self, z):
    ...         return -z
    >>> Decay().velocity(np.ones(2))
    array([-1., -1.])
    """

    @property
    def stiff_cost(self) -> float:
        """Explicit work, in evaluations of f, that the stiff method is worth."""

    def velocity(self, z: Array) -> Array:
        """Return f(z), shape of z."""

    def set_stages(self, z: Array, K: Array, tableau: Array) -> tuple[Array, Array]:
        """Do what `dmft.solvers.explicit_steps.stages_of` does with this velocity."""

    def linearise(self, z: Array) -> Linearisation:
        """Return df/dz at z."""

    def measure(self, z: Array) -> Callable[[Array], float]:
        """Return the size of a defect near z, over the permitted one."""

    def metric(self, z: Array) -> Array | float:
        """Return factors, shape of z, of a change of z in whose norm df/dz is nearly symmetric."""


@dataclass
class Work:
    """Counts of what one integration has done.

    Examples
    --------
    >>> Work(evaluations=10, steps=3)
    Work(evaluations=10, steps=3, rejected=0, factorisations=0)
    """

    evaluations: int = 0
    steps: int = 0
    rejected: int = 0
    factorisations: int = 0


def factor(error: float, power: int) -> float:
    """Return by what a step may change whose error, over the permitted one, falls with `power`.

    Examples
    --------
    >>> round(factor(0.5, 1), 6), factor(float("nan"), 8)
    (1.8, 0.2)
    """
    if not math.isfinite(error):
        return SHRINK
    return min(GROW, max(SHRINK, SAFETY * max(error, TINY) ** (-1 / power)))
