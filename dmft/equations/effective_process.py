"""The effective process of one coordinate and its averages.

    H = G + K theta,   theta = phi(H) - w*,   G ~ GP(0, C_G),   w* ~ P*

A path depends on its noise and target only through the drive U = G - w* k, k = K 1, since
H = U + K phi(H). For an atom of P* the drive is Gaussian with covariance C_G around -w* k;
for a Gaussian component w* is one more Gaussian variable, and the principal modes are those
of the joint drive. Each component thus gives a linear map from independent standard
Gaussians, in descending order of variance, to the drive, on which a noise rule acts.
"""

from __future__ import annotations

import math
import time

import numpy as np

from dmft.equations.averages import Averages
from dmft.equations.data_side import Kernels
from dmft.equations.drive import Drive, mode_weights, noise_root, shares, time_weights
from dmft.equations.families import Coordinate, Family, Part, Stratum, compressed, families_of
from dmft.equations.noise_rules import Nodes, NoiseRule, SparseRule, fold
from dmft.equations.start import labelled, typical_size
from dmft.problem import Problem
from dmft.signals import Component
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import Exhausted
from dmft.solvers.thresholds import Thresholds

INACTIVE = 1e-13  # D t_max below which a path does not respond
STEEP = 3.0  # standard deviation of H at the horizon from which thresholds count as sharp
DEEP = 30.0  # D at a threshold over D at H = 0 that makes it one
TRUNCATION = 0.03  # of the scale from which modes count, for what is left of the noise
TINY = 1e-150  # in place of zero, below what may occur


def draw_paths(
    problem: Problem, grid: Grid, kernels: Kernels, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Draw n independent paths: H on the nodes, (n, N), w* (n,), and starts as a law draws them.

    Raises
    ------
    ArithmeticError
        If the equation of a path cannot be solved.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 1.0, rtol=0.1)
    >>> solution.sample_paths(5, rng=1).H.shape == (5, solution.t.size)
    True
    """
    from dmft.solvers import families

    w_star, starts = problem.signal.sample_with_start(rng, n)
    root = noise_root(kernels.C_G, mode_weights(time_weights(problem, grid), kernels.C_G))
    noise = rng.standard_normal((n, root.shape[1])) @ root.T
    U = noise - w_star[:, None] * kernels.K.sum(axis=1)
    H, failed = np.zeros_like(U), 0
    for start, here in labelled(starts):
        own = H[here]
        coordinate = Coordinate.of(problem, grid, start).under(problem, grid, kernels.decay)
        *_, iterations = families.solve_paths(*coordinate.map, kernels.K, grid.stages, U[here], own)
        H[here] = own
        failed += int(np.count_nonzero(iterations < 0))
    if failed:
        raise ArithmeticError(f"{failed} of {n} paths could not be solved")
    return H, w_star, starts


class EffectiveProcess:
    """Averages of the effective process by one noise rule on one grid.

    The nodes of a fixed rule are drawn at the first call and kept, so that repeated calls evaluate
    one fixed function of the kernels; the paths of the last call are the next call's guess.

    Parameters
    ----------
    problem : Problem
    grid : Grid
    rule : NoiseRule
    deadline : float
        Time of `time.monotonic` after which `averages` raises Exhausted.

    Attributes
    ----------
    failed_paths : int
        Paths of the last call whose equation was not solved.
    uncovered : float
        Gaussian mass of the leading mode that the nodes of the last call left out, the largest of
        all points of the sparse grid; 0 where nodes do not follow thresholds.
    """

    def __init__(
        self, problem: Problem, grid: Grid, rule: NoiseRule, deadline: float = math.inf
    ) -> None:
        """Place nothing yet: the nodes need the first kernels."""
        self.problem = problem
        self.grid = grid
        self.rule = rule
        self._deadline = deadline
        self.failed_paths = 0
        self.uncovered = 0.0
        groups = compressed(problem.signal.by_start(), rule.atoms)
        self._families = families_of(problem, grid, groups)
        components = [component for _, members in groups for component in members]
        self._count = len(components)
        # modes of Gaussian targets count by their share in the target too, see `_counts`
        atoms = all(component.std == 0 for component in components)
        self._truncation = TRUNCATION * rule.negligible if atoms else 0.0
        self._time_weights = time_weights(problem, grid)
        self._size = typical_size(problem)
        self._second_moment = problem.signal.second_moment
        # the H that moves a weight by its typical size at the start, or 1 where that is less: modes
        # count in proportion to it, as large starts stay in the linear part of their map
        fastest = max(family.coordinate.D for family in self._families)
        self._unit = float(np.clip(self._size / (fastest + TINY), TINY, 1.0))

    def on(self, grid: Grid) -> EffectiveProcess:
        """Return the process on another grid with the very nodes that it has on this one.

        A rule that places its nodes anew takes others, as the modes' scales differ a little; what
        two grids differ by would then not be due to the grids alone.
        """
        other = EffectiveProcess(self.problem, grid, self.rule, self._deadline)
        for mine, its in zip(self._families, other._families, strict=True):
            its.width, its.uncovered = mine.width, mine.uncovered
            its.parts = [part.on(grid.size) for part in mine.parts]
        return other

    @property
    def paths(self) -> int:
        """Number of paths of one call; 0 before the first."""
        return sum(len(part.weights) for family in self._families for part in family.parts)

    def paths_of(self, rule: SparseRule) -> np.ndarray:
        """Return the paths of each component under another rule, at the modes of the last call.

        No node is placed for it: the rule may be larger than memory.
        """
        groups = compressed(self.problem.signal.by_start(), rule.atoms)
        count = sum(len(components) for _, components in groups)
        families = {family.key: family for family in self._families}
        pairs = [(families[start, c.std], c) for start, components in groups for c in components]
        return np.array(
            [
                self._count_nodes(rule, family, component, count)
                for family, component in pairs
                if family.parts
            ]
        )

    def second_mode(self, least: float) -> float:
        """Return the smallest importance of a component's second mode from `least` > 0 on.

        It falls with the component's probability, which does not count here where the target is
        Gaussian: all of the error may be that of a rare component. Infinite if there is none.
        """
        found = math.inf
        for family in self._families:
            for component in family.components:
                square = float(np.sum(family.drive.scales[1:2] ** 2))
                share = component.probability * self._count
                if square * (share if component.std == 0 else 1.0) >= least:
                    found = min(found, share * square)
        return found

    def averages(self, kernels: Kernels) -> Averages:
        """Return the averages of the process that the kernels drive.

        Raises
        ------
        Exhausted
            If the deadline has passed before they are complete.
        """
        weights = mode_weights(self._time_weights, kernels.C_G)
        root = noise_root(kernels.C_G, weights, self._truncation, self._unit)
        k = kernels.K @ np.ones(self.grid.size)
        self.failed_paths, self.uncovered = 0, 0.0
        total = Averages.zeros(self.grid.size)
        for family in self._families:
            family.coordinate = family.coordinate.under(self.problem, self.grid, kernels.decay)
            drive = Drive.of(family.components[0].std, k, root, weights)
            self.uncovered = max(self.uncovered, self._move(family, drive))
            for part in family.parts:
                for batch in part.batches():
                    if time.monotonic() > self._deadline:
                        raise Exhausted
                    self._add_averages(part, batch, family, kernels.K, total)
        return total

    def _move(self, family: Family, drive: Drive) -> float:
        """Let a family take over a drive; return the Gaussian mass that its nodes do not cover.

        Nodes are placed where that has not been done, and anew where they do not suit thresholds
        that have moved.
        """
        if family.placed and self.rule.fixed:
            drive = drive.aligned(family.drive)
        thresholds = self._thresholds(drive, family.coordinate)
        kept = self.rule.fixed and not family.outgrown(thresholds)
        family.drive, family.thresholds = drive, thresholds
        if kept:
            uncovered = family.follow()
            if uncovered <= family.uncovered + self.rule.uncovered:
                return uncovered
        family.width = 0.0 if thresholds is None else thresholds.width
        family.parts = self._placed(family)
        family.uncovered = family.follow()
        return family.uncovered

    def _placed(self, family: Family) -> list[Part]:
        """Place the nodes of a family, those that run through the same modes together."""
        strata: dict[bytes, list[Stratum]] = {}
        for component in family.components:
            nodes = self._nodes(self.rule, family, component, self._count)
            strata.setdefault(np.any(nodes.z != 0, axis=0).tobytes(), []).append(
                Stratum(component, self._folds(component, family), nodes)
            )
        return [Part(members, self.grid.size) for members in strata.values()]

    def _nodes(self, rule: NoiseRule, family: Family, component: Component, count: int) -> Nodes:
        """Return the nodes of a rule for one of a number of components."""
        rule = rule.weighted(component.probability * count)
        nodes = rule.nodes(family.drive.scales, family.thresholds_of(component))
        return fold(nodes) if self._folds(component, family) else nodes

    def _count_nodes(
        self, rule: SparseRule, family: Family, component: Component, count: int
    ) -> int:
        """Return the number of nodes that `_nodes` would place; of pairs half are counted."""
        rule = rule.weighted(component.probability * count)
        found = rule.count(family.drive.scales, family.thresholds_of(component))
        return -(-found // 2) if self._folds(component, family) else found

    def _folds(self, component: Component, family: Family) -> bool:
        """Whether paths come in pairs of opposite sign, of which one is enough."""
        odd = family.coordinate.network.odd
        return self.rule.symmetric and component.mean == 0.0 and odd

    def _thresholds(self, drive: Drive, coordinate: Coordinate) -> Thresholds | None:
        """Return where paths of target 0 turn from inactive to active at the horizon.

        A path that has just become active there has a |w| of `width` times the typical size of
        weights, where `width` is the step of the leading mode that changes H by one. None where
        paths turn gradually, or the rule does not follow thresholds.
        """
        from dmft.solvers import scalar_maps

        slope = drive.modes[-1]
        follows = self.rule.bends and not self.problem.mirror.linear
        if not (follows and slope.size and abs(slope[0]) > STEEP):
            return None
        code, parameters, table = coordinate.map
        width = float(1.0 / abs(slope[0]))
        size = width * self._size
        edges = [scalar_maps.inverse(code, w, parameters[-1], table) for w in (-size, size)]
        H = np.array([0.0, *edges])
        _, D = scalar_maps.evaluate(code, H[:, None], parameters[-1:], table)
        if not np.all(D[1:] > DEEP * D[0]):
            return None
        return Thresholds(np.sort(H[1:] / slope[0]), slope[1:] / slope[0], width)

    def _add_averages(
        self, part: Part, batch: slice, family: Family, K: np.ndarray, total: Averages
    ) -> None:
        """Add the averages over a batch of paths to the total."""
        from dmft.solvers import families  # numba is imported only when a solve starts

        drive, coordinate = family.drive, family.coordinate
        z, H = part.z[batch, : drive.scales.size], part.H[batch]
        weights, rest, shift = part.weights[batch], part.rest[batch], part.means[batch]
        used = z.shape[1]
        sampled = np.zeros(drive.scales.size, dtype=bool)
        sampled[:used] = part.sampled[:used]
        # what the rule leaves at zero acts to first order on the paths that carry it
        carried = ~sampled & self._counts(drive) & bool(rest.any())
        sampled_target = np.where(sampled, drive.target_modes, 0.0)
        target = shift + z @ sampled_target[:used] if part.std > 0 else shift
        paths = families.Paths(z, shift, target, weights, part.odd_weights[batch], rest, H)
        sums, iterations = families.family_averages(
            coordinate.map,
            K,
            self.grid.stages,
            drive.modes[:, :used],
            drive.k,
            (coordinate.w, coordinate.D),
            paths,
            drive.modes[:, carried],
            INACTIVE / self.grid.t_max,
        )
        failed = iterations < 0
        if failed.any():
            self.failed_paths += int(np.count_nonzero(failed))
            H[failed] = 0.0
        for name in ("C_w", "A", "mean_w", "overlap", "mean_D"):
            getattr(total, name)[:] += getattr(sums, name)
        if part.std > 0:
            unsampled = max(part.std**2 - sampled_target @ sampled_target, 0.0)
            total.C_w[:] += weights.sum() * unsampled
            shared = np.concatenate([[0.0], sums.moved @ drive.target_modes[carried]])
            total.C_w[:] += shared[:, None] + shared
            total.overlap[:] -= shared

    def _counts(self, drive: Drive) -> np.ndarray:
        """Return which modes count, to first order, for the correlations of w and target."""
        own = shares(drive.modes, self._unit)
        target = np.abs(drive.target_modes) / np.sqrt(self._second_moment + TINY)
        return own * np.maximum(own, target) > self.rule.negligible**2
