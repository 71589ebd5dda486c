"""Laws P* of the entries of the target vector w*.

Every law is a finite mixture of Gaussians, an atom being a Gaussian of zero width:

    P* = sum_k p_k N(m_k, s_k^2).

The solver treats each component exactly: atoms as strata, Gaussian components as one more
Gaussian variable beside the noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmft.validation import require_finite, require_in_range


class Component(NamedTuple):
    """One Gaussian component of a signal law: weight, mean and standard deviation."""

    probability: float
    mean: float
    std: float


class SignalLaw(ABC):
    """Law of one entry of w*."""

    name: ClassVar[str]

    @abstractmethod
    def components(self) -> tuple[Component, ...]:
        """Return the mixture components; probabilities are positive and sum to one."""

    @property
    def mean(self) -> float:
        """E[w*]."""
        return _moments(self)[0]

    @property
    def second_moment(self) -> float:
        """E[w*^2]."""
        return _moments(self)[1]

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw `size` independent entries, shape (size,)."""
        parts = self.components()
        labels = rng.choice(len(parts), size=size, p=[c.probability for c in parts])
        means = np.array([c.mean for c in parts])[labels]
        stds = np.array([c.std for c in parts])[labels]
        return means + stds * rng.standard_normal(size)

    def config(self) -> dict[str, Any]:
        """Return the parameters as plain numbers and lists, with the law's `name`."""
        values = {
            key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in vars(self).items()
        }
        return {"name": self.name, **values}


@lru_cache(maxsize=8)
def _moments(law: SignalLaw) -> tuple[float, float]:
    """Return E[w*] and E[w*^2], which every sweep asks for."""
    probabilities, means, stds = np.array(law.components()).T
    return float(probabilities @ means), float(probabilities @ (means**2 + stds**2))


@dataclass(frozen=True)
class Bernoulli(SignalLaw):
    """w* = value with probability `density`, else 0.

    Raises
    ------
    ValueError
        If `density` is outside (0, 1] or `value` is not finite.
    """

    density: float = 0.1
    value: float = 1.0
    name: ClassVar[str] = "bernoulli"

    def __post_init__(self) -> None:
        """Check the parameters."""
        require_in_range("density", self.density, low=0.0, high=1.0, low_open=True)
        require_finite("value", self.value)

    def components(self) -> tuple[Component, ...]:
        """Return the atom at `value` and, for density < 1, the atom at 0."""
        atom = Component(self.density, self.value, 0.0)
        return (atom,) if self.density == 1.0 else (atom, Component(1 - self.density, 0.0, 0.0))


@dataclass(frozen=True)
class BernoulliGaussian(SignalLaw):
    """w* ~ N(mean, std^2) with probability `density`, else 0.

    Raises
    ------
    ValueError
        If `density` is outside (0, 1], `std` is not positive or a value is not finite.
    """

    density: float = 0.1
    std: float = 1.0
    mean_nonzero: float = 0.0
    name: ClassVar[str] = "bernoulli_gaussian"

    def __post_init__(self) -> None:
        """Check the parameters."""
        require_in_range("density", self.density, low=0.0, high=1.0, low_open=True)
        require_in_range("std", self.std, low=0.0, low_open=True)
        require_finite("mean_nonzero", self.mean_nonzero)

    def components(self) -> tuple[Component, ...]:
        """Return the Gaussian component and, for density < 1, the atom at 0."""
        bell = Component(self.density, self.mean_nonzero, self.std)
        return (bell,) if self.density == 1.0 else (bell, Component(1 - self.density, 0.0, 0.0))


@dataclass(frozen=True)
class Gaussian(SignalLaw):
    """w* ~ N(location, std^2).

    Raises
    ------
    ValueError
        If `std` is not positive or a value is not finite.
    """

    std: float = 1.0
    location: float = 0.0
    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        """Check the parameters."""
        require_in_range("std", self.std, low=0.0, low_open=True)
        require_finite("location", self.location)

    def components(self) -> tuple[Component, ...]:
        """Return the single Gaussian component."""
        return (Component(1.0, self.location, self.std),)


class _Atomic(SignalLaw):
    """A law given by atoms; equal values are merged."""

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def components(self) -> tuple[Component, ...]:
        """Return one component for each distinct value of positive probability."""
        values, probabilities = self._atoms()
        distinct, labels = np.unique(values, return_inverse=True)
        masses = np.bincount(labels, weights=probabilities)
        return tuple(
            Component(float(p), float(v), 0.0)
            for p, v in zip(masses / masses.sum(), distinct, strict=True)
            if p > 0
        )

    def __eq__(self, other: object) -> bool:
        """Two atomic laws are equal when they are of one kind with the same numbers."""
        return type(self) is type(other) and self.config() == other.config()

    def __hash__(self) -> int:
        """Hash of the kind and the atoms."""
        return hash((self.name, *(a.tobytes() for a in self._atoms())))


@dataclass(frozen=True, eq=False)
class Discrete(_Atomic):
    """w* = values[k] with probability probabilities[k].

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, a probability is negative or the
        probabilities do not sum to one within 1e-9.
    """

    values: np.ndarray
    probabilities: np.ndarray
    name: ClassVar[str] = "discrete"

    def __post_init__(self) -> None:
        """Check the parameters and store read-only arrays."""
        values = _frozen_vector("values", self.values)
        masses = _frozen_vector("probabilities", self.probabilities)
        if values.shape != masses.shape:
            raise ValueError(
                f"probabilities must have the shape of values, {values.shape}; got {masses.shape}"
            )
        if np.any(masses < 0):
            raise ValueError(f"probabilities must be >= 0; got {masses.min()!r}")
        if abs(masses.sum() - 1.0) > 1e-9:
            raise ValueError(f"probabilities must sum to 1; got {masses.sum()!r}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "probabilities", masses)

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        return self.values, self.probabilities


@dataclass(frozen=True, eq=False)
class Empirical(_Atomic):
    """w* drawn uniformly from the entries of `array`, shape (m,).

    Raises
    ------
    ValueError
        If the array is empty or holds a value that is not finite.
    """

    array: np.ndarray
    name: ClassVar[str] = "empirical"

    def __post_init__(self) -> None:
        """Check the array and store a read-only copy."""
        object.__setattr__(self, "array", _frozen_vector("array", self.array))

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        return self.array, np.full(self.array.size, 1.0 / self.array.size)


LAWS: dict[str, type[SignalLaw]] = {
    law.name: law for law in (Bernoulli, BernoulliGaussian, Gaussian, Discrete, Empirical)
}


def signal_from_config(config: dict[str, Any]) -> SignalLaw:
    """Rebuild a law from `SignalLaw.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in LAWS:
        raise ValueError(f"signal name must be one of {sorted(LAWS)}; got {name!r}")
    try:
        return LAWS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters of signal {name!r}: {error}") from None


def _frozen_vector(name: str, value: Any) -> np.ndarray:
    array = np.array(value, dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a non-empty 1-d array; got shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite; got {array[~np.isfinite(array)][0]!r}")
    array.setflags(write=False)
    return array
