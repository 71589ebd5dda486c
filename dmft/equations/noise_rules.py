"""Quadrature rules for expectations over independent standard Gaussian modes.

A rule turns the scales of the modes, in descending order of variance, into nodes z of shape
(M, r) and weights of shape (M,) with E f(z) ~ sum_m weights[m] f(z[m]). It decides itself
how many modes r it keeps. Three rules share this interface:

- `SparseRule`: the leading mode resolved by an equidistant rule, which converges geometrically
  for smooth integrands, in a coordinate that is stretched around thresholds; the others by
  an anisotropic Smolyak sum of Gauss-Hermite rules whose index set follows the scales.
- `SobolRule`: a scrambled Sobol net.
- `MonteCarloRule`: independent draws, the reference that every other rule must agree with.

A fourth, `QuadraticRule`, is exact where paths are linear in the modes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np

from dmft.solvers.gaussian_rules import Rule, equidistant, smolyak
from dmft.solvers.thresholds import Thresholds


class Nodes(NamedTuple):
    """Nodes of a rule with two kinds of weights.

    Parameters
    ----------
    z : ndarray, shape (M, r)
    weights : ndarray, shape (M,)
    rest : ndarray, shape (M,)
        Weights of the paths around which the other modes act to first order; zero for a rule
        that leaves the other modes out.
    point : ndarray of int, shape (M,)
        Nodes that differ in the leading mode alone have the same number.
    mass : ndarray, shape (Q,)
        Sum of the weights of each point's nodes, once they are placed by
        `dmft.solvers.stretching.place`: what these miss of it, the rule leaves out.
    """

    z: np.ndarray
    weights: np.ndarray
    rest: np.ndarray
    point: np.ndarray
    mass: np.ndarray


class Check(NamedTuple):
    """A rule independent of another one, and how much of their difference improves the result.

    With I the integral by a rule and I_k those by its checks, I + sum_k share_k (I_k - I) is
    more accurate than I, and sum_k |I_k - I| estimates the error of I.
    """

    rule: NoiseRule
    share: float


class NoiseRule(Protocol):
    """What the effective process asks of a rule.

    Examples
    --------
    >>> import dmft
    >>> rule = dmft.SobolRule(paths=256)
    >>> rule.bends, rule.symmetric
    (False, False)
    """

    @property
    def symmetric(self) -> bool:
        """Whether z and -z always carry the same weight."""

    @property
    def fixed(self) -> bool:
        """Whether nodes placed once serve modes that change."""

    @property
    def atoms(self) -> int:
        """Most atoms of a discrete law that goes with the modes to be taken one by one."""

    @property
    def bends(self) -> bool:
        """Whether nodes may follow thresholds."""

    @property
    def uncovered(self) -> float:
        """Largest Gaussian mass that the nodes are meant to leave out."""

    @property
    def negligible(self) -> float:
        """Share in the drive of modes that may be left out even to first order."""

    def nodes(self, scales: np.ndarray, thresholds: Thresholds | None = None) -> Nodes:
        """Return the nodes for modes of these scales, shape (r_max,).

        With thresholds, which only a rule that `bends` takes, the leading coordinate is the
        stretched one; `dmft.solvers.stretching.place` gives the nodes and what the weights lack.
        """

    def weighted(self, share: float) -> NoiseRule:
        """Return the rule for a part that counts `share` times as much as the others do."""

    def seeded(self, seed: int) -> NoiseRule:
        """Return the rule with another stream of random numbers for each seed, if it has any."""

    def checks(self) -> tuple[Check, ...]:
        """Return the rules whose results tell this rule's error."""


@dataclass(frozen=True)
class SparseRule:
    """Equidistant leading mode times an anisotropic sparse grid over the other modes.

    A multi-index i over the other modes (level l: 2 l + 1 Gauss-Hermite nodes) is kept while

        prod_k scales[k]^(2 i_k) >= tolerance,

    the size that its contribution has for an integrand whose scale of variation is that of the
    leading mode.

    Parameters
    ----------
    spacing : float
        Distance of the leading nodes, in standard deviations.
    tolerance : float
        Smallest importance of a kept multi-index.
    offset : float
        Shift of the leading nodes in units of the spacing: 0 or 0.5. The two rules are
        independent of each other: their leading aliasing errors have opposite signs.
    reach : float
        The leading nodes cover [-reach, reach].
    atoms : int
        Atoms of the target's law to be taken one by one; a longer law is compressed to them.
    negligible : float
        Share in the drive of modes that are left out even to first order.
    max_modes, max_points : int
        Bounds on the modes kept and on the points of the sparse grid; the tolerance is raised
        where they would be exceeded.

    Examples
    --------
    >>> rule = SparseRule(spacing=0.5, tolerance=1e-3)
    >>> nodes = rule.nodes(np.array([1.0, 0.1]))
    >>> round(float(nodes.weights.sum()), 4)
    1.0
    """

    spacing: float
    tolerance: float
    offset: float = 0.0
    reach: float = 6.5
    max_modes: int = 24
    max_points: int = 10_000
    atoms: int = 16
    negligible: float = 1e-5
    symmetric: ClassVar[bool] = True
    fixed: ClassVar[bool] = True
    bends: ClassVar[bool] = True
    CHECK_FACTOR: ClassVar[float] = 0.1

    def nodes(self, scales: np.ndarray, thresholds: Thresholds | None = None) -> Nodes:
        """Return nodes and weights; see the class and `NoiseRule`.

        Other modes act to first order on the paths that the leading rule runs through alone.
        """
        others, other_weights = self._sparse_grid(np.asarray(scales)[1 : self.max_modes])
        count = len(others)
        if thresholds is None:
            x, leading_weights = equidistant(self.spacing, self.offset, self.reach)
            leading, point = np.repeat(x, count), np.tile(np.arange(count), x.size)
            leading_weights = np.repeat(leading_weights, count)
        else:
            leading, point = self._stretched(others, thresholds)
            leading_weights = np.full(leading.size, self.spacing / math.sqrt(2 * math.pi))
        z = np.column_stack([leading, others[point]])
        alone = np.logical_not(others.any(axis=1))
        weights = leading_weights * other_weights[point]
        return Nodes(z, weights, leading_weights * alone[point], point, other_weights)

    def count(self, scales: np.ndarray, thresholds: Thresholds | None = None) -> int:
        """Return the number of nodes, which takes no room in memory."""
        others, _ = self._sparse_grid(np.asarray(scales)[1 : self.max_modes])
        if thresholds is None:
            return len(others) * equidistant(self.spacing, self.offset, self.reach)[0].size
        return int(self._own_ranges(others, thresholds)[1].sum())

    def _own_ranges(
        self, others: np.ndarray, thresholds: Thresholds
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the first step of every point's leading nodes and their number, shape (P,)."""
        from dmft.solvers.stretching import ranges  # imports numba

        ends = ranges(others, thresholds, self.reach) / self.spacing - self.offset
        first, last = np.floor(ends[:, 0]).astype(int), np.ceil(ends[:, 1]).astype(int)
        return first, last - first + 1

    def _stretched(
        self, others: np.ndarray, thresholds: Thresholds
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the stretched leading coordinates of all points (M,), and the points (M,).

        Every point has nodes over its own range. They are in the order of the coordinate, so that
        neighbours are similar paths.
        """
        first, counts = self._own_ranges(others, thresholds)
        point = np.repeat(np.arange(len(others)), counts)
        starts = np.cumsum(counts) - counts
        steps = np.arange(point.size) - np.repeat(starts - first, counts)
        order = np.argsort(steps, kind="stable")
        return self.spacing * (steps[order] + self.offset), point[order]

    def weighted(self, share: float) -> SparseRule:
        """Return the rule that keeps terms of this share and importance from `tolerance` on."""
        return replace(self, tolerance=self.tolerance / share)

    def seeded(self, seed: int) -> SparseRule:
        """Return the rule itself: nothing in it is random."""
        return self

    def checks(self) -> tuple[Check, ...]:
        """Return the rule shifted by half a spacing, and one with a larger sparse grid.

        The leading errors of the shifted pair cancel in their mean.
        """
        shifted = replace(self, offset=0.5 - self.offset)
        larger = replace(
            self,
            tolerance=self.tolerance * self.CHECK_FACTOR,
            max_points=2 * self.max_points,
            atoms=self.atoms + 5,
        )
        return Check(shifted, 0.5), Check(larger, 1.0)

    @property
    def uncovered(self) -> float:
        """Twice the Gaussian mass beyond `reach` in both directions."""
        return 2.0 * math.erfc(self.reach / math.sqrt(2.0))

    def _sparse_grid(self, scales: np.ndarray) -> Rule:
        squares = np.minimum(scales, 0.7) ** 2
        tolerance = self.tolerance
        while True:
            kept = np.flatnonzero(squares >= tolerance)
            used = squares[: kept[-1] + 1 if kept.size else 0]
            candidates = _important_indices(tuple(used), tolerance)
            indices = [
                index + (0,) * (used.size - len(index))
                for index in islice(candidates, self.max_points + 1)
            ]
            if _point_bound(indices) <= self.max_points:
                return smolyak(tuple(indices), used.size)
            tolerance *= 2.0


def _point_bound(indices: list[tuple[int, ...]]) -> int:
    return sum(int(np.prod([2 * level for level in index if level])) for index in indices)


def _important_indices(factors: tuple[float, ...], floor: float) -> Iterator[tuple[int, ...]]:
    """Yield 0 and the multi-indices with prod_k factors[k]^i_k >= floor, trailing zeros cut."""

    def extend(index: tuple[int, ...], importance: float) -> Iterator[tuple[int, ...]]:
        yield index
        for k in range(len(index), len(factors)):
            level, value = 1, importance * factors[k]
            while value >= floor:
                yield from extend(index + (0,) * (k - len(index)) + (level,), value)
                level += 1
                value *= factors[k]

    yield from extend((), 1.0)


class _OwnModes:
    """What the rules share whose modes are all that counts, wherever these bend."""

    fixed: ClassVar[bool] = True
    bends: ClassVar[bool] = False
    uncovered: ClassVar[float] = 0.0
    negligible: ClassVar[float] = 0.0

    def weighted(self, share: float) -> Self:
        """Return the rule itself, whatever the share."""
        return self

    def seeded(self, seed: int) -> Self:
        """Return the rule itself, unless something in it is random."""
        return self


@dataclass(frozen=True)
class RandomRule(_OwnModes):
    """A rule of random nodes of equal weight: a subclass states `draws` alone.

    Parameters
    ----------
    paths : int
        Nodes for each atom of the target's law.
    modes : int
        The leading modes that they run through; the others are left out.
    seed : int
    atoms : int
        Atoms of the target's law to be taken one by one; a longer law is compressed to them.

    Examples
    --------
    >>> class Coin(RandomRule):
    ...     def draws(self, modes):
    ...         return np.random.default_rng(self.seed).choice([-1.0, 1.0], (self.paths, modes))
    >>> Coin(paths=4, modes=2).nodes(np.ones(5)).z.shape
    (4, 2)
    """

    paths: int = 4096
    modes: int = 12
    seed: int = 0
    atoms: int = 64
    symmetric: ClassVar[bool] = False

    def draws(self, modes: int) -> np.ndarray:
        """Return standard Gaussian nodes that follow from the seed, shape (paths, modes)."""
        raise NotImplementedError

    def nodes(self, scales: np.ndarray, thresholds: Thresholds | None = None) -> Nodes:
        """Return nodes (paths, r) and equal weights, r = min(modes, len(scales))."""
        return _equal(self.draws(min(self.modes, len(scales))))

    def seeded(self, seed: int) -> Self:
        """Return the rule with a stream that follows from its own seed and this one."""
        return replace(self, seed=_mixed(self.seed, seed)[0])

    def checks(self) -> tuple[Check, ...]:
        """Return two more streams; the mean of all three is the improved result."""
        return tuple(Check(replace(self, seed=seed), 1.0 / 3.0) for seed in _mixed(self.seed))


class SobolRule(RandomRule):
    """A scrambled Sobol net of `paths` points over the leading `modes` modes.

    Examples
    --------
    >>> nodes = SobolRule(paths=64, modes=2).nodes(np.array([1.0, 0.1]))
    >>> nodes.z.shape
    (64, 2)
    """

    def draws(self, modes: int) -> np.ndarray:
        """Return a scrambled net, shape (paths, modes)."""
        from scipy.special import ndtri
        from scipy.stats import qmc

        return ndtri(qmc.Sobol(modes, scramble=True, rng=self.seed).random(self.paths))


class MonteCarloRule(RandomRule):
    """`paths` independent draws of the leading `modes` modes.

    Examples
    --------
    >>> nodes = MonteCarloRule(paths=64, modes=2, seed=1).nodes(np.array([1.0, 0.1]))
    >>> nodes.z.shape
    (64, 2)
    """

    def draws(self, modes: int) -> np.ndarray:
        """Return independent numbers, shape (paths, modes)."""
        return np.random.default_rng(self.seed).standard_normal((self.paths, modes))


@dataclass(frozen=True)
class QuadraticRule(_OwnModes):
    """The nodes +-sqrt(r) e_k, exact for polynomials up to degree three in all r modes.

    Every mode counts, so that the nodes follow their number. It is the rule for maps that are
    linear in the modes, whose correlations it gives exactly.

    Examples
    --------
    >>> nodes = QuadraticRule().nodes(np.array([1.0, 0.1]))
    >>> len(nodes.z), round(float(nodes.weights @ nodes.z[:, 0] ** 2), 6)
    (4, 1.0)
    """

    atoms: int = 1_000_000
    symmetric: ClassVar[bool] = True
    fixed: ClassVar[bool] = False

    def nodes(self, scales: np.ndarray, thresholds: Thresholds | None = None) -> Nodes:
        """Return the 2 r nodes and equal weights."""
        count = len(scales)
        if count == 0:
            return _equal(np.zeros((1, 0)))
        axes = np.sqrt(count) * np.eye(count)
        return _equal(np.concatenate([axes, -axes]))

    def checks(self) -> tuple[Check, ...]:
        """Return nothing: there is no error to estimate."""
        return ()


def _mixed(*seeds: int) -> list[int]:
    """Return two seeds that follow from these."""
    return [int(seed) for seed in np.random.SeedSequence(seeds).generate_state(2, np.uint64)]


def _equal(z: np.ndarray) -> Nodes:
    weights = np.full(len(z), 1.0 / len(z))
    return Nodes(z, weights, np.zeros(len(z)), np.arange(len(z)), weights)


def fold(nodes: Nodes) -> Nodes:
    """Return one of each pair z, -z of a symmetric rule, with twice the weight.

    It serves integrands that are even in z. Points other than zero are kept or left out as a whole.

    Examples
    --------
    >>> nodes = QuadraticRule().nodes(np.array([1.0, 0.1]))
    >>> len(nodes.z), len(fold(nodes).z)
    (4, 2)
    """
    z, weights, rest, point, mass = nodes
    if z.shape[1] == 0:
        return nodes
    last = z.shape[1] - 1 - np.argmax(z[:, ::-1] != 0, axis=1)
    sign = np.sign(z[np.arange(len(z)), last])
    keep = sign >= 0
    double = np.where(sign > 0, 2.0, 1.0)[keep]
    pairs = np.zeros(mass.size, dtype=bool)
    pairs[point[z[:, 1:].any(axis=1)]] = True
    mass = np.where(pairs, 2.0, 1.0) * mass
    return Nodes(z[keep], double * weights[keep], double * rest[keep], point[keep], mass)
