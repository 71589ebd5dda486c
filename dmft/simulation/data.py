"""Random data of the model at finite dimension, and the checks of what asks for them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmft.problem import Problem
from dmft.validation import Rng, check_rng, require_integer

DESIGNS = ("gaussian", "rademacher", "student_t")
STUDENT_FREEDOM = 5
OWN_DATA = "data"  # the design of an ensemble whose X was given

# A simulation whose n/d is further (relative) from delta is warned of: d log f/d log delta
# of the errors f is below 5 in all benchmark problems, so 1 % moves them by 5 % at most.
ROUNDING_WARNED = 0.01


@dataclass(frozen=True, eq=False)
class Data:
    """One draw of X (n, d), w* (d,) and y (n,), which it unpacks to.

    `start` (L, d) holds the layers at t = 0 over alpha where they are drawn with w*; it is None
    where the network states them.
    """

    X: np.ndarray
    w_star: np.ndarray
    y: np.ndarray
    start: np.ndarray | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield X, w* and y."""
        return iter((self.X, self.w_star, self.y))

    def layers(self, problem: Problem) -> np.ndarray:
        """Return the layers at t = 0, shape (L, d)."""
        if self.start is not None:
            return problem.alpha * self.start
        own = problem.mirror.initial_layers(problem.alpha)
        return np.repeat(own[:, None], self.X.shape[1], axis=1)


class HeldOut(NamedTuple):
    """Samples of a draw that no flow sees: X (m, d) and y (m,)."""

    X: np.ndarray
    y: np.ndarray


def draw_data(problem: Problem, dimension: int, design: str = "gaussian", rng: Rng = None) -> Data:
    """Draw the data of one seed.

    Draw k of an ensemble has `rng = numpy.random.SeedSequence(ensemble.seed, spawn_key=(k,))`.

    Parameters
    ----------
    problem : Problem
        Gives delta, sigma2 and the law of w*.
    dimension : int
        d >= 1; n = round(delta d), which must not be 0.
    design : {"gaussian", "rademacher", "student_t"}
        Law of the entries of X, of variance 1/d; Student's t has 5 degrees of freedom.
    rng : int, Generator, SeedSequence or None
        Source of randomness; None draws fresh entropy.

    Returns
    -------
    Data
        X (n, d), w_star (d,) and y = X w_star + xi (n,).

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of another type.

    Warns
    -----
    UserWarning
        If n/d differs from delta by more than 1 %.
    """
    check_problem(problem)
    check_dimension(problem, dimension)
    check_design(design)
    check_rng(rng)
    return drawn_data(problem, dimension, design, rng)


@dataclass(frozen=True)
class DesignSource:
    """Draws of independent entries of a design, with targets and noise of the problem."""

    samples: int
    dimension: int
    design: str
    shared: ClassVar[float] = 0.0  # draws have nothing in common

    def draw(self, problem: Problem, child: np.random.SeedSequence) -> tuple[Data, HeldOut | None]:
        """Return the data of one seed; nothing is held out, since w* is known."""
        return drawn_data(problem, self.dimension, self.design, child), None


def drawn_data(problem: Problem, dimension: int, design: str, rng: Rng) -> Data:
    """Return `draw_data` of arguments that have been checked."""
    generator = np.random.default_rng(rng)
    shape = (samples(problem, dimension), dimension)
    X = _entries(design, shape, generator) / np.sqrt(dimension)
    w_star, start = problem.signal.sample_with_start(generator, dimension)
    noise = np.sqrt(problem.sigma2) * generator.standard_normal(shape[0])
    return Data(X, w_star, X @ w_star + noise, start)


def samples(problem: Problem, dimension: int) -> int:
    """Return n = round(delta d)."""
    return round(problem.delta * dimension)


def check_dimension(problem: Problem, dimension: Any) -> int:
    """Return d; raise ValueError where delta d rounds to 0, warn where n/d is not near delta."""
    d = require_integer("dimension", dimension, low=1)
    n, delta = samples(problem, d), problem.delta
    if n == 0:
        raise ValueError(
            f"dimension must be at least {math.floor(0.5 / delta) + 1} for delta = {delta:g}, so "
            f"that round(delta d) is 1 or more; got {dimension!r}"
        )
    deviation = n / (delta * d) - 1
    if abs(deviation) > ROUNDING_WARNED:
        warnings.warn(
            f"n = {n} samples in dimension {d} are delta = {n / d:.6g}, {100 * deviation:+.2g} % "
            f"from delta = {delta:g}: choose a dimension for which delta d is nearly an integer",
            UserWarning,
            stacklevel=3,
        )
    return d


def _entries(design: str, shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return independent entries of mean 0 and variance 1."""
    if design == "rademacher":
        return 2.0 * generator.integers(0, 2, size=shape) - 1.0
    if design == "student_t":
        variance = STUDENT_FREEDOM / (STUDENT_FREEDOM - 2)
        return generator.standard_t(STUDENT_FREEDOM, size=shape) / np.sqrt(variance)
    return generator.standard_normal(shape)


def check_problem(problem: Any) -> None:
    """Raise TypeError unless it is a Problem."""
    if not isinstance(problem, Problem):
        raise TypeError(f"problem must be a Problem; got {problem!r}")


def check_design(design: Any) -> None:
    """Raise ValueError unless it is one of `DESIGNS`, TypeError if it is data."""
    if hasattr(design, "shape"):
        raise TypeError(
            f"design must be a name of {DESIGNS}; got an array of shape {design.shape}: give "
            "your own data as data=(X, y)"
        )
    if not isinstance(design, str) or design not in DESIGNS:
        raise ValueError(f"design must be one of {DESIGNS}; got {design!r}")
