"""Laws given by atoms, of which there may be millions."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from dmft.parameters import vector
from dmft.signals.base import Component, SignalLaw
from dmft.solvers.gaussian_rules import gauss_rule

# Laws of more atoms than this are condensed for the solver. A law of this length costs less than
# 0.1 s of a solve, one of a million atoms cost 90 s.
LONG = 4096
# A condensed law keeps the atoms that carry more than 1/BINS of its mass and those at 0. The
# others are divided into bins of equal mass and bins of equal width, BINS of each, and every bin
# is replaced by a Gauss rule of BIN_NODES nodes. For 1e6 Gaussian and Student-t numbers that
# changed no average of tanh(5 w*) or of a kink smoothed over 0.3 by more than 1e-12.
BINS = 256
BIN_NODES = 6


class Atomic(SignalLaw):
    """A law given by atoms; equal values are merged.

    Examples
    --------
    >>> import dmft
    >>> dmft.Discrete([1.0, 0.0, 1.0], [0.2, 0.5, 0.3]).second_moment
    0.5
    """

    @abstractmethod
    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the values and their probabilities, shape (m,) each."""

    @cached_property
    def _merged(self) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and distinct values of positive probability, ascending."""
        values, probabilities = self.atoms()
        distinct, labels = np.unique(values, return_inverse=True)
        masses = np.bincount(labels, weights=probabilities)
        masses, distinct = masses[masses > 0], distinct[masses > 0]
        return masses / masses.sum(), distinct

    @cached_property
    def _components(self) -> tuple[Component, ...]:
        masses, values = condensed(*self._merged)
        pairs = zip(masses.tolist(), values.tolist(), strict=True)
        return tuple(Component(p, v, 0.0) for p, v in pairs)

    def components(self) -> tuple[Component, ...]:
        """Return a component for each distinct value of positive probability.

        A law of more than `LONG` values is condensed to fewer atoms with the same averages of
        smooth functions; `mixture`, the moments and samples are exact at any length.
        """
        return self._components

    @property
    def mixture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities, means and standard deviations of all distinct values, shape (K,) each."""
        masses, values = self._merged
        return masses, values, np.zeros_like(values)

    def __eq__(self, other: object) -> bool:
        """Two atomic laws are equal when they are of one kind with the same numbers."""
        if type(self) is not type(other):
            return NotImplemented
        pairs = zip(self.atoms(), other.atoms(), strict=True)
        return all(np.array_equal(one, two) for one, two in pairs)

    def __hash__(self) -> int:
        """Hash of the kind and the atoms."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, *(a.tobytes() for a in self.atoms())))


def condensed(masses: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return masses and values of at most `LONG` atoms with the same averages of smooth functions.

    Parameters
    ----------
    masses, values : ndarray, shape (m,)
        Positive masses of sum 1, and distinct ascending values.

    Examples
    --------
    >>> x = np.linspace(-1.0, 1.0, 100_001)
    >>> masses, values = condensed(np.full(x.size, 1 / x.size), x)
    >>> bool(np.isclose(masses @ np.exp(values), np.mean(np.exp(x)), rtol=1e-12))
    True
    >>> len(values) < 4096
    True
    """
    if values.size <= LONG:
        return masses, values
    alone = (masses > 1.0 / BINS) | (values == 0.0)
    parts = [(masses[alone], values[alone])]
    masses, values = masses[~alone], values[~alone]
    reached = np.cumsum(masses)
    by_mass = np.searchsorted(reached, np.linspace(0.0, reached[-1], BINS + 1)[1:-1])
    by_width = np.searchsorted(values, np.linspace(values[0], values[-1], BINS + 1)[1:-1])
    edges = np.unique(np.concatenate([[0], by_mass, by_width, [values.size]]))
    for begin, end in itertools.pairwise(edges):
        parts.append(_reduced(masses[begin:end], values[begin:end]))
    found, places = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(places)
    return found[order] / found.sum(), places[order]


def _reduced(masses: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a Gauss rule of a few atoms; of one atom less where rounding spoils it."""
    if values.size <= BIN_NODES:
        return masses, values
    for count in range(BIN_NODES, 0, -1):
        with np.errstate(all="ignore"):
            nodes, weights = gauss_rule(values, masses, count)
        if np.all(np.isfinite(nodes)) and np.all(weights > 0) and np.all(np.isfinite(weights)):
            return weights, nodes
    raise ArithmeticError(f"no Gauss rule for atoms from {values[0]!r} to {values[-1]!r}")


@dataclass(frozen=True, eq=False)
class Discrete(Atomic):
    """w* = values[k] with probability probabilities[k].

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, a probability is negative or the
        probabilities do not sum to one within 1e-9.

    Examples
    --------
    >>> Discrete([-1.0, 0.0, 2.0], [0.25, 0.5, 0.25]).mean
    0.25
    """

    values: np.ndarray = vector("the values")
    probabilities: np.ndarray = vector("their probabilities, of sum 1")
    name: ClassVar[str] = "discrete"

    def __post_init__(self) -> None:
        """Check the parameters and store read-only arrays."""
        super().__post_init__()
        values, masses = self.values, self.probabilities
        if values.shape != masses.shape:
            raise ValueError(
                f"probabilities must have the shape of values, {values.shape}; got {masses.shape}"
            )
        if np.any(masses < 0):
            raise ValueError(f"probabilities must be >= 0; got {float(masses.min())}")
        if abs(masses.sum() - 1.0) > 1e-9:
            raise ValueError(f"probabilities must sum to 1; got {float(masses.sum())}")

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the values and their probabilities."""
        return self.values, self.probabilities


@dataclass(frozen=True, eq=False)
class Empirical(Atomic):
    """w* drawn uniformly from the entries of `array`, shape (m,).

    Raises
    ------
    ValueError
        If the array is empty or holds a value that is not finite.

    Examples
    --------
    >>> Empirical([0.0, 1.0, 1.0, -2.0]).second_moment
    1.5
    """

    array: np.ndarray = vector("the numbers, a file of them: .npy or text", file=True)
    name: ClassVar[str] = "empirical"

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries and their equal probabilities."""
        return self.array, np.full(self.array.size, 1.0 / self.array.size)

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw `size` entries with replacement, shape (size,)."""
        return rng.choice(self.array, size=size)
