"""Laws with one Gaussian component or atom, and perhaps a part that is 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmft.parameters import number
from dmft.signals.base import Component, SignalLaw


def _sparse(density: float, mean: float, std: float) -> tuple[Component, ...]:
    """Return a component of probability `density` and, for density < 1, the atom at 0."""
    part = Component(density, mean, std)
    return (part,) if density == 1.0 else (part, Component(1 - density, 0.0, 0.0))


@dataclass(frozen=True)
class Bernoulli(SignalLaw):
    """w* = value with probability `density`, else 0.

    Raises
    ------
    ValueError
        If `density` is outside (0, 1] or `value` is not finite.

    Examples
    --------
    >>> Bernoulli(0.2, value=3.0).mean.__round__(6)
    0.6
    """

    density: float = number("P(w* != 0)", 0.1, low=0.0, high=1.0, low_open=True)
    value: float = number("the value that is not 0", 1.0)
    name: ClassVar[str] = "bernoulli"

    def components(self) -> tuple[Component, ...]:
        """Return the atom at `value` and, for density < 1, the atom at 0."""
        return _sparse(self.density, self.value, 0.0)


@dataclass(frozen=True)
class BernoulliGaussian(SignalLaw):
    """w* ~ N(mean_nonzero, std^2) with probability `density`, else 0.

    Raises
    ------
    ValueError
        If `density` is outside (0, 1], `std` is not positive or a value is not finite.

    Examples
    --------
    >>> BernoulliGaussian(0.25, std=2.0).second_moment
    1.0
    """

    density: float = number("P(w* != 0)", 0.1, low=0.0, high=1.0, low_open=True)
    std: float = number("standard deviation of the part that is not 0", 1.0, low=0.0, low_open=True)
    mean_nonzero: float = number("mean of the part that is not 0", 0.0)
    name: ClassVar[str] = "bernoulli_gaussian"

    def components(self) -> tuple[Component, ...]:
        """Return the Gaussian component and, for density < 1, the atom at 0."""
        return _sparse(self.density, self.mean_nonzero, self.std)


@dataclass(frozen=True)
class Gaussian(SignalLaw):
    """w* ~ N(location, std^2).

    Raises
    ------
    ValueError
        If `std` is not positive or a value is not finite.

    Examples
    --------
    >>> Gaussian(std=2.0, location=1.0).second_moment
    5.0
    """

    std: float = number("standard deviation", 1.0, low=0.0, low_open=True)
    location: float = number("mean", 0.0)
    name: ClassVar[str] = "gaussian"

    def components(self) -> tuple[Component, ...]:
        """Return the single Gaussian component."""
        return (Component(1.0, self.location, self.std),)
