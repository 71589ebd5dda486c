"""A joint law of a target and of the start of its coordinate's layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from dmft.parameters import structure, vector
from dmft.signals.base import Component, SignalLaw, Start
from dmft.signals.registry import as_signal, register, signal_from_config
from dmft.validation import require_array


@register
@dataclass(frozen=True, eq=False)
class Joint(SignalLaw):
    """The layers start at alpha starts[k] and w* has the law laws[k], with probabilities[k].

    Coordinates thus have different starts, which may go with their targets. A start has one number
    for each layer of the network: u and v of a diagonal network, w of a linear one. Equal starts
    may occur several times.

    Parameters
    ----------
    starts : array_like, shape (m, n)
        Layers at t = 0 over alpha.
    laws : law or sequence of m laws
        What `Problem` takes as a signal. A single law goes with all starts: w* is independent of
        them.
    probabilities : array_like, shape (m,), optional
        Of sum 1; equal where absent.

    Raises
    ------
    ValueError
        If the shapes differ, a number is not finite, or the probabilities are negative or do not
        sum to one within 1e-9.
    TypeError
        If something else stands for a law.

    Examples
    --------
    One coordinate in five starts three times as large in u, and is more often relevant:

    >>> from dmft.signals import Bernoulli
    >>> law = Joint([[1.0, 1.0], [3.0, 1.0]], [Bernoulli(0.05), Bernoulli(0.3)], [0.8, 0.2])
    >>> round(law.mean, 6)
    0.1
    """

    starts: tuple[Start, ...] = structure("layers at t = 0 over alpha")
    laws: tuple[SignalLaw, ...] = structure("law of w* for each start, or one for all")
    probabilities: Any = vector("probability of each start, equal where absent", None)
    name: ClassVar[str] = "joint"

    def __post_init__(self) -> None:
        """Check the parameters; replace what stands for a law by it."""
        starts = _matrix(self.starts)
        laws = _laws(self.laws, len(starts))
        if self.probabilities is None:
            object.__setattr__(self, "probabilities", np.full(len(starts), 1.0 / len(starts)))
        object.__setattr__(self, "starts", tuple(tuple(row) for row in starts.tolist()))
        object.__setattr__(self, "laws", laws)
        super().__post_init__()
        masses = self.probabilities
        if masses.shape != (len(starts),):
            raise ValueError(
                f"probabilities must have one number for each of the {len(starts)} starts; got "
                f"shape {masses.shape}"
            )
        if np.any(masses < 0):
            raise ValueError(f"probabilities must be >= 0; got {float(masses.min())}")
        if abs(masses.sum() - 1.0) > 1e-9:
            raise ValueError(f"probabilities must sum to 1; got {float(masses.sum())}")

    @property
    def layer_starts(self) -> tuple[Start, ...]:
        """The distinct starts."""
        return tuple(start for start, _ in self._by_start)

    @cached_property
    def _by_start(self) -> tuple[tuple[Start, tuple[Component, ...]], ...]:
        found: dict[Start, list[Component]] = {}
        masses = self.probabilities.tolist()
        for start, law, mass in zip(self.starts, self.laws, masses, strict=True):
            parts = (c._replace(probability=mass * c.probability) for c in law.components())
            found.setdefault(start, []).extend(c for c in parts if c.probability > 0)
        return tuple(
            (start, tuple(components)) for start, components in found.items() if components
        )

    def by_start(self) -> tuple[tuple[Start | None, tuple[Component, ...]], ...]:
        """Return each distinct start and the components that go with it."""
        return self._by_start

    def components(self) -> tuple[Component, ...]:
        """Return the components of all laws."""
        return tuple(c for _, components in self._by_start for c in components)

    @property
    def mixture(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Probabilities, means and standard deviations of all laws, shape (K,) each."""
        parts = [law.mixture for law in self.laws]
        masses = [mass * part[0] for mass, part in zip(self.probabilities, parts, strict=True)]
        means, stds = (np.concatenate([part[k] for part in parts]) for k in (1, 2))
        return np.concatenate(masses), means, stds

    def sample_with_start(
        self, rng: np.random.Generator, size: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw `size` pairs: w* (size,) and the start of its layers over alpha (n, size)."""
        labels = rng.choice(len(self.laws), size=size, p=self.probabilities)
        w_star = np.empty(size)
        for k, law in enumerate(self.laws):
            here = np.flatnonzero(labels == k)
            w_star[here] = law.sample(rng, here.size)
        return w_star, np.array(self.starts)[labels].T

    def sample(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Draw `size` independent entries, shape (size,)."""
        return self.sample_with_start(rng, size)[0]

    def config(self) -> dict[str, Any]:
        """Return starts, laws and probabilities as plain numbers, lists and dicts."""
        laws = [law.config() for law in self.laws]
        return {
            "name": self.name,
            "starts": [list(start) for start in self.starts],
            "laws": laws,
            "probabilities": self.probabilities.tolist(),
        }

    def __eq__(self, other: object) -> bool:
        """Two are equal when their starts, laws and probabilities are."""
        if not isinstance(other, Joint):
            return NotImplemented
        same = (self.starts, self.laws) == (other.starts, other.laws)
        return same and np.array_equal(self.probabilities, other.probabilities)

    def __hash__(self) -> int:
        """Hash of the starts, laws and probabilities."""
        return hash((self.starts, self.laws, self.probabilities.tobytes()))


def _matrix(starts: Any) -> np.ndarray:
    """Return starts as a matrix (m, n) of finite numbers."""
    array = np.array(starts, dtype=float)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            "starts must have a row for each start and a column for each layer; got shape "
            f"{array.shape}"
        )
    require_array("starts", array.ravel())
    return array


def _laws(laws: Any, count: int) -> tuple[SignalLaw, ...]:
    """Return a law for each of `count` starts."""
    if isinstance(laws, np.ndarray) and laws.ndim == 2:
        laws = tuple(laws)
    if isinstance(laws, (list, tuple)) and not all(isinstance(x, Real) for x in laws):
        each = tuple(
            signal_from_config(x) if isinstance(x, Mapping) else as_signal(x) for x in laws
        )
    else:
        each = (as_signal(laws),) * count
    if len(each) != count:
        raise ValueError(f"laws must be one, or one for each of {count} starts; got {len(each)}")
    for law in each:
        if law.layer_starts:
            raise ValueError(f"laws must not have starts of their own; got {law!r}")
    return each
