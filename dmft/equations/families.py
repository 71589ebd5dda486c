"""Components of the target's law that share a drive and a start, and the paths placed for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from dmft.equations.drive import Drive
from dmft.equations.noise_rules import Nodes
from dmft.equations.start import initial_state
from dmft.networks.base import Network
from dmft.problem import Problem
from dmft.signals import Component, Start
from dmft.solvers.collocation import Grid
from dmft.solvers.gaussian_rules import gauss_rule
from dmft.solvers.thresholds import Thresholds

OUTGROWN = 0.7  # change of the log width at which nodes are placed anew
TOGETHER = 4096  # most paths that are solved in one call, for the sake of memory
# Most multiplications of such a call, N^3 a path: it then takes a few seconds, so that a solve
# stops soon after its time is up.
MOST_WORK = 1e10


Groups = tuple[tuple[Start | None, tuple[Component, ...]], ...]
"""Starts of the layers and the components that go with each."""


def compressed(groups: Groups, atoms: int) -> Groups:
    """Return at most `atoms` components of each start, a Gauss rule where there are more atoms.

    The Gauss rule shares the first 2 `atoms` - 1 moments of the law given the start. Laws with
    Gaussian components stay as they are.
    """
    everything = [component for _, components in groups for component in components]
    if len(everything) <= atoms or any(component.std > 0 for component in everything):
        return groups
    return tuple((start, _gauss(components, atoms)) for start, components in groups)


def _gauss(components: tuple[Component, ...], atoms: int) -> tuple[Component, ...]:
    """Return at most `atoms` atoms with the moments of these ones."""
    if len(components) <= atoms:
        return components
    masses, means, _ = (np.array(column) for column in zip(*components, strict=True))
    nodes, weights = gauss_rule(means, masses, atoms)
    return tuple(Component(float(p), float(m), 0.0) for m, p in zip(nodes, weights, strict=True))


@dataclass(frozen=True, eq=False)
class Coordinate:
    """What the coordinates of one start share.

    Parameters
    ----------
    start : tuple of float, optional
        None for the network's own.
    network : Network
    map : tuple of (int, ndarray, ndarray)
        The network's map as compiled functions take it: code, parameters at the nodes, table.
    w, D : float
        At t = 0.
    """

    start: Start | None
    network: Network
    map: tuple[int, np.ndarray, np.ndarray]
    w: float
    D: float

    @classmethod
    def of(cls, problem: Problem, grid: Grid, start: Start | None) -> Coordinate:
        """Return what the coordinates with a start have; None is the network's own."""
        network = problem.network_from(start)
        parameters = network.mirror_parameters(problem.alpha, problem.lam, grid.nodes)
        table = network.mirror_table(problem.alpha)
        given = network.mirror_code, np.ascontiguousarray(parameters), table
        return cls(start, network, given, *initial_state(problem, start))

    def under(self, problem: Problem, grid: Grid, decay: np.ndarray | None) -> Coordinate:
        """Return the same under white noise of this integrated rate (N,); itself without any."""
        if decay is None:
            return self
        code, _, table = self.map
        clock = self.network.clock(problem.lam, grid.nodes, decay)
        parameters = self.network.mirror_parameters(problem.alpha, *clock)
        return replace(self, map=(code, np.ascontiguousarray(parameters), table))


def families_of(problem: Problem, grid: Grid, groups: Groups) -> list[Family]:
    """Return the components in families: atoms of one start together, Gaussian ones alone."""
    families = []
    for start, components in groups:
        coordinate = Coordinate.of(problem, grid, start)
        atoms = tuple(c for c in components if c.std == 0)
        alone = [(c,) for c in components if c.std > 0]
        families += [Family(members, coordinate) for members in (atoms, *alone) if members]
    return families


class Stratum(NamedTuple):
    """A component's nodes as the rule gave them; `folded` where they are half of them."""

    component: Component
    folded: bool
    nodes: Nodes


@dataclass(eq=False)
class Family:
    """Components that share a drive, and their paths.

    `thresholds` are those of target 0; `width` is theirs when the nodes were placed, 0 without
    thresholds; `uncovered` is the mass that the nodes left out then.
    """

    components: tuple[Component, ...]
    coordinate: Coordinate
    drive: Drive = field(init=False)
    thresholds: Thresholds | None = None
    width: float = 0.0
    uncovered: float = 0.0
    parts: list[Part] = field(default_factory=list)

    @property
    def key(self) -> tuple[Start | None, float]:
        """Start of the layers and standard deviation of the targets."""
        return self.coordinate.start, self.components[0].std

    @property
    def placed(self) -> bool:
        """Whether the nodes were placed for the modes of a drive on this grid."""
        return bool(self.parts) and hasattr(self, "drive")

    def thresholds_of(self, component: Component) -> Thresholds | None:
        """Return the thresholds of a component's paths, where the family has any."""
        if self.thresholds is None:
            return None
        return self.thresholds.moved(component.mean * self.drive.threshold_drift)

    def follow(self) -> float:
        """Move the nodes with the thresholds; return the Gaussian mass that they do not cover."""
        if self.thresholds is None:
            return 0.0
        drift = self.drive.threshold_drift
        return max(part.follow(self.thresholds, drift) for part in self.parts)

    def outgrown(self, thresholds: Thresholds | None) -> bool:
        """Whether there are no nodes for thresholds of about this width."""
        if not self.parts:
            return True
        if thresholds is None or self.width == 0.0:
            return (thresholds is None) != (self.width == 0.0)
        return abs(np.log(thresholds.width / self.width)) > OUTGROWN


class Part:
    """Paths of the components of a family whose nodes run through the same modes.

    Attributes
    ----------
    std : float
        Standard deviation of the target in the components.
    sampled : ndarray of bool, shape (r,)
        Which modes the nodes run through.
    z : ndarray, shape (M, r)
    weights, rest, odd_weights : ndarray, shape (M,)
        Weights of the paths; where other modes act to first order; and of what is odd in z.
    means : ndarray, shape (M,)
        Mean target of each path's component.
    H : ndarray, shape (M, N)
        Paths of the last sweep, zeros before the first.
    """

    def __init__(self, strata: list[Stratum], size: int) -> None:
        """Take the nodes of all strata together."""
        self._strata = strata
        self._components = [s.component for s in strata]
        columns = zip(*(s.nodes for s in strata), strict=True)
        self._reference = Nodes(*(np.concatenate(column) for column in columns))
        self._masses = [s.nodes.mass for s in strata]
        counts = [len(s.nodes.weights) for s in strata]
        stops = np.cumsum(counts)
        self._slices = [slice(b - n, b) for n, b in zip(counts, stops, strict=True)]
        probabilities = np.repeat([s.component.probability for s in strata], counts)
        self._unfolded = np.repeat([0.0 if s.folded else 1.0 for s in strata], counts)
        self.std = strata[0].component.std
        self.z = self._reference.z.copy()
        self.sampled = np.any(self.z != 0, axis=0)
        self.means = np.repeat([s.component.mean for s in strata], counts)
        self.weights = probabilities * self._reference.weights
        self.rest = probabilities * self._reference.rest
        self.H = np.zeros((len(self.z), size))

    def on(self, size: int) -> Part:
        """Return the same nodes for a grid of another size."""
        return Part(self._strata, size)

    @property
    def odd_weights(self) -> np.ndarray:
        """Weights of averages that are odd in z, shape (M,)."""
        return self._unfolded * self.weights

    def batches(self) -> Iterator[slice]:
        """Yield slices of paths that are solved together."""
        work = max(float(self.H.shape[1]) ** 3, 1.0)
        count = int(np.clip(MOST_WORK / work, 16, TOGETHER))
        for begin in range(0, len(self.z), count):
            yield slice(begin, begin + count)

    def follow(self, thresholds: Thresholds, drift: float) -> float:
        """Move the nodes with thresholds, given for target 0, that drift with the target.

        Returns the largest miss of a point's weights, |sum / mass - 1|, before they are normalised.
        """
        from dmft.solvers.stretching import place

        missed = 0.0
        for component, mass, here in zip(self._components, self._masses, self._slices, strict=True):
            own = thresholds.moved(component.mean * drift)
            factors = place(self._reference.z[here], own, self.z[here])
            weights, point = self._reference.weights[here] * factors, self._reference.point[here]
            # of two points that mirror each other one may be left out
            meant = (np.bincount(point, minlength=mass.size) > 0) & (mass != 0.0)
            sums = np.bincount(point, weights, mass.size)
            missed = max(missed, float(np.max(np.abs(sums[meant] / mass[meant] - 1.0))))
            scale = component.probability / weights.sum()
            self.weights[here] = scale * weights
            rest = self._reference.rest[here] * factors
            self.rest[here] = component.probability / rest.sum() * rest
        return missed
