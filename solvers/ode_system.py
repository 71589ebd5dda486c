"""What a system of ordinary differential equations states of itself, and how steps change."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Array = np.ndarray
Stages = tuple[Array, Array]

SAFETY = 0.9
SHRINK, GROW = 0.2, 5.0  # a step changes by a factor between these
TINY = np.finfo(float).tiny


class Linearisation(Protocol):
    """The Jacobian J at one point.

    Examples
    --------
    >>> Decay(2.0).linearise(np.ones(1)).solver(1.0)(np.array([6.0]))
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
    >>> Decay().velocity(np.ones(2))
    array([-1., -1.])
    """

    @property
    def stiff_cost(self) -> float:
        """Explicit work, in evaluations of f, that the stiff method is worth."""

    def velocity(self, z: Array) -> Array:
        """Return f(z), shape of z."""

    def set_stages(self, z: Array, K: Array, tableau: Array) -> tuple[Array, Array]:
        """Do what `stages_of` does with this velocity."""

    def linearise(self, z: Array) -> Linearisation:
        """Return df/dz at z."""

    def measure(self, z: Array) -> Callable[[Array], float]:
        """Return the size of a defect near z, over the permitted one."""

    def metric(self, z: Array) -> Array | float:
        """Return factors, shape of z, of a change of z in whose norm df/dz is nearly symmetric."""


def stages_of(velocity: Callable[[Array], Array], z: Array, K: Array, tableau: Array) -> Stages:
    """Fill K[1:] with the velocities of an explicit step's stages; return its last two states.

    Parameters
    ----------
    velocity : callable
        z -> f(z).
    z : ndarray
        State at the start, of any shape.
    K : ndarray, shape (S, *z.shape)
        Velocities of the stages, of which the first is given.
    tableau : ndarray, shape (S, S)
        Stage i is f(z + sum_{j < i} tableau[i, j] K[j]): the step is in the coefficients.

    Examples
    --------
    >>> K = np.ones((2, 1))
    >>> stages_of(lambda z: 2 * z, np.ones(1), K, np.array([[0.0, 0.0], [0.5, 0.0]]))[1].tolist()
    [1.5]
    """
    state = z
    for i in range(1, len(K)):
        before, state = state, z + np.tensordot(tableau[i, :i], K[:i], 1)
        K[i] = velocity(state)
    return before, state


@dataclass(frozen=True)
class Decay:
    """dz/dt = -rate z: the smallest system, which shows all that one states.

    Examples
    --------
    >>> Decay(rate=3.0).velocity(np.ones(1))
    array([-3.])
    """

    rate: float = 1.0
    stiff_cost: float = 1.0
    permitted: float = 1e-6  # absolute error of a step

    def velocity(self, z: Array) -> Array:
        """Return -rate z."""
        return -self.rate * z

    def set_stages(self, z: Array, K: Array, tableau: Array) -> Stages:
        """Fill the stages one by one."""
        return stages_of(self.velocity, z, K, tableau)

    def linearise(self, z: Array) -> Decay:
        """Return itself: the Jacobian is -rate everywhere."""
        return self

    def solver(self, shift: float) -> Callable[[Array], Array]:
        """Return the division by shift + rate."""
        return lambda b: b / (shift + self.rate)

    def measure(self, z: Array) -> Callable[[Array], float]:
        """Return the largest error over the permitted one."""
        return lambda error: float(np.max(np.abs(error)) / self.permitted)

    def metric(self, z: Array) -> float:
        """Return one."""
        return 1.0


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
