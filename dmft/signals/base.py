"""What a law P* of the entries of the target vector w* states, and what follows from it.

Every law is a finite mixture of Gaussians, an atom being a Gaussian of zero width:

    P* = sum_k p_k N(m_k, s_k^2).

The solver treats each component exactly: atoms as strata, Gaussian components as one more
Gaussian variable beside the noise. Continuous laws of other kinds are sets of atoms, by their own
quadrature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import NamedTuple

import numpy as np

from dmft.parameters import Parameters


class Component(NamedTuple):
    """One Gaussian component of a signal law: weight, mean and standard deviation.

    Examples
    --------
    >>> Component(probability=0.5, mean=1.0, std=0.0)
    Component(probability=0.5, mean=1.0, std=0.0)
    """

    probability: float
    mean: float
    std: float


Start = tuple[float, ...]
"""The layers of a coordinate at t = 0 over alpha."""


class SignalLaw(Parameters, ABC):
    """Law of one entry of w*: a frozen dataclass with `name` and `components`.

    Examples
    --------
    A law that is new to this package, w* = +-1 with equal probability or 0:

    >>> from dataclasses import dataclass
    >>> from dmft.parameters import number
    >>> @dataclass(frozen=True)
    ... class Ternary(SignalLaw):
    ...     density: float = number("P(w* != 0)", 0.1, low=0.0, high=1.0)
    ...     name = "ternary"
    ...     def components(self):
    ...         half = 0.5 * self.density
    ...         rest = Component(1 - self.density, 0.0, 0.0)
    ...         return Component(half, -1.0, 0.0), rest, Component(half, 1.0, 0.0)
    >>> Ternary(0.2).mean, Ternary(0.2).second_moment
    (0.0, 0.2)
    """

    @abstractmethod
    def components(self) -> tuple[Component, ...]:
        """Return the mixture components; probabilities are positive and sum to one."""

    @property
    def mixture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities, means and standard deviations, shape (K,) each."""
        probabilities, means, stds = np.array(self.components(), dtype=float).T
        return probabilities, means, stds

    @property
    def layer_starts(self) -> tuple[Start, ...]:
        """The distinct starts of the layers; empty where the network states its own."""
        return ()

    def by_start(self) -> tuple[tuple[Start | None, tuple[Component, ...]], ...]:
        """Return each start, None for the network's own, and the components that go with it.

        The probabilities of all components together sum to one.
        """
        return ((None, self.components()),)

    @cached_property
    def mean(self) -> float:
        """E[w*]."""
        probabilities, means, _ = self.mixture
        return float(probabilities @ means)

    @cached_property
    def second_moment(self) -> float:
        """E[w*^2]."""
        probabilities, means, stds = self.mixture
        with np.errstate(over="ignore"):
            return float(probabilities @ (means**2 + stds**2))

    def square_distance(self, w: float) -> float:
        """Return E[(w* - w)^2] for one number w."""
        return self.second_moment - 2 * w * self.mean + w**2

    def sample_with_start(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw `size` entries (size,), and the start of their layers over alpha (n, size).

        The start is None where it is that of the network.
        """
        return self.sample(rng, size), None

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw `size` independent entries, shape (size,)."""
        probabilities, means, stds = self.mixture
        labels = rng.choice(len(probabilities), size=size, p=probabilities)
        return means[labels] + stds[labels] * rng.standard_normal(size)
