"""The effective process of one coordinate and its averages.

    H = G + K theta,   theta = phi(H) - w*,   G ~ GP(0, C_G),   w* ~ P*

A path depends on its noise and target only through the drive U = G - w* k, k = K 1, since
H = U + K phi(H). For an atom of P* the drive is Gaussian with covariance C_G around -w* k;
for a Gaussian component w* is one more Gaussian variable, and the principal modes are those
of the joint drive. Each component thus gives a linear map from independent standard
Gaussians, in descending order of variance, to the drive, on which a noise rule acts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dmft.kernels import Averages, Kernels
from dmft.problem import Problem
from dmft.signals import Component
from solvers.collocation import Grid
from solvers.noise_rules import NoiseRule, fold
from solvers.stretching import Thresholds, placed

INACTIVE = 1e-13  # D t_max below which a path does not respond
STEEP = 3.0  # standard deviation of H at the horizon from which thresholds count as sharp
DEEP = 30.0  # D at a threshold over D at H = 0 that makes it one
OUTGROWN = 0.7  # change of the log width at which nodes are placed anew
TOGETHER = 4096  # most paths of strata that are solved in one call
NEGLIGIBLE = 1e-5  # scale of modes that are left out


def compressed(components: tuple[Component, ...], atoms: int) -> tuple[Component, ...]:
    """Return at most `atoms` components, a Gauss rule of the law where it has more atoms.

    The Gauss rule shares the first 2 `atoms` - 1 moments of the law.
    """
    if len(components) <= atoms:
        return components
    from solvers.discrete_gauss import gauss_rule  # SciPy is imported only where it is needed

    masses, means, _ = (np.array(column) for column in zip(*components, strict=True))
    nodes, weights = gauss_rule(means, masses, atoms)
    return tuple(Component(float(p), float(m), 0.0) for m, p in zip(nodes, weights, strict=True))


@dataclass(frozen=True, eq=False)
class Drive:
    """Gaussian law of (U, w*) in one component of P*.

    U = mean + z modes^T and w* = target + target_modes . z + sqrt(rest) zeta with independent
    standard Gaussians z (r,) and zeta.

    Parameters
    ----------
    mean : ndarray, shape (N,)
    modes : ndarray, shape (N, r)
    scales : ndarray, shape (r,)
        Largest share of each mode in the standard deviation of U, in the sense of
        max_t |mode(t)| / sqrt(1 + Var U(t)).
    target : float
    target_modes : ndarray, shape (r,)
    """

    mean: np.ndarray
    modes: np.ndarray
    scales: np.ndarray
    target: float
    target_modes: np.ndarray

    @classmethod
    def of(
        cls, component: Component, k: np.ndarray, root: np.ndarray, weights: np.ndarray
    ) -> Drive:
        """Build the drive of a component; k is K 1, and `root` (N, r) a square root of C_G."""
        target_modes = np.zeros(root.shape[1])
        modes = root
        if component.std > 0:
            joint = np.concatenate([root, -component.std * k[:, None]], axis=1)
            modes, rotation = principal_modes(joint, weights)
            target_modes = component.std * rotation[-1]
        variance = np.sum(modes**2, axis=1)
        scales = np.abs(modes / np.sqrt(1 + variance)[:, None]).max(axis=0)
        return cls(-component.mean * k, modes, scales, component.mean, target_modes)

    def aligned(self, previous: Drive) -> Drive:
        """Return the drive with each mode's sign as in `previous`, for continuity in sweeps."""
        count = min(self.modes.shape[1], previous.modes.shape[1])
        sign = np.ones(self.modes.shape[1])
        products = np.sum(self.modes[:, :count] * previous.modes[:, :count], axis=0)
        sign[:count] = np.where(products < 0, -1.0, 1.0)
        return Drive(
            self.mean, self.modes * sign, self.scales, self.target, self.target_modes * sign
        )


def mode_weights(grid: Grid, C_G: np.ndarray) -> np.ndarray:
    """Return the weights of the inner product that defines principal modes, shape (N,).

    It is int f g dt / (t + 1e-3 t_max), about uniform in log t, so that early times count, plus
    f g at t_max, where modes of an integral alone fit worst, over the standard deviation of the
    noise, which may grow by orders of magnitude. It does not depend on how the grid is refined.
    """
    weights = grid.weights / (grid.nodes + 1e-3 * grid.t_max)
    weights[-1] += 1.0
    return weights / np.sqrt(1.0 + np.maximum(np.diag(C_G), 0.0))


def principal_modes(root: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate the columns of `root` (N, m) into principal modes in the weighted inner product.

    Returns
    -------
    modes : ndarray, shape (N, r)
        In descending order, modes @ modes.T = root @ root.T up to rounding.
    rotation : ndarray, shape (m, r)
        modes = root @ rotation.
    """
    metric = np.sqrt(weights)[:, None]
    _, singular, right = np.linalg.svd(metric * root, full_matrices=False)
    rotation = right[singular > 1e-8 * singular[0]].T
    return root @ rotation, rotation


def noise_root(C_G: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the principal modes of the covariance C_G, shape (N, r), in descending order."""
    from solvers.low_rank import square_root  # numba is imported only when a solve starts

    metric = np.sqrt(weights)
    return square_root(metric[:, None] * C_G * metric, 1e-15) / metric[:, None]


def initial_state(problem: Problem) -> tuple[float, float]:
    """Return w(0) and D(0)."""
    zero = np.zeros(1)
    D = problem.mirror.hessian_inverse(problem.alpha, problem.lam, zero, zero)
    return problem.mirror.initial_weight(problem.alpha), float(D[0])


def mirror_arguments(problem: Problem, grid: Grid) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the network's map as the compiled kernels take it: code, parameters, table."""
    parameters = problem.mirror.mirror_parameters(problem.alpha, problem.lam, grid.nodes)
    table = problem.mirror.mirror_table(problem.alpha)
    return problem.mirror.mirror_code, np.ascontiguousarray(parameters), table


def draw_paths(
    problem: Problem, grid: Grid, kernels: Kernels, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw n independent paths: H on the nodes, shape (n, N), and w*, shape (n,).

    Raises
    ------
    ArithmeticError
        If the equation of a path cannot be solved.
    """
    from solvers import volterra

    w_star = problem.signal.sample(rng, n)
    root = noise_root(kernels.C_G, mode_weights(grid, kernels.C_G))
    noise = rng.standard_normal((n, root.shape[1])) @ root.T
    U = noise - w_star[:, None] * kernels.K.sum(axis=1)
    H = np.zeros_like(U)
    K = np.ascontiguousarray(kernels.K)
    *_, iterations = volterra.solve_paths(*mirror_arguments(problem, grid), K, grid.stages, U, H)
    if np.any(iterations < 0):
        raise ArithmeticError(f"{np.sum(iterations < 0)} of {n} paths could not be solved")
    return H, w_star


class EffectiveProcess:
    """Averages of the effective process by one noise rule on one grid.

    The nodes of a fixed rule are drawn at the first call and kept, so that repeated calls evaluate
    one fixed function of the kernels; the paths of the last call are the next call's guess.

    Parameters
    ----------
    problem : Problem
    grid : Grid
    rule : NoiseRule
    """

    def __init__(self, problem: Problem, grid: Grid, rule: NoiseRule) -> None:
        """Place nothing yet: the nodes need the first kernels."""
        self.problem = problem
        self.grid = grid
        self.rule = rule
        self.components = compressed(problem.signal.components(), rule.atoms)
        self.failed_paths = 0
        self._strata: list[_Stratum] | None = None
        self._map = mirror_arguments(problem, grid)
        self._start = initial_state(problem)

    @property
    def paths(self) -> int:
        """Number of paths of one call; 0 before the first."""
        return sum(len(s.reference) for s in self._strata or [])

    def paths_of(self, rule: NoiseRule) -> int:
        """Return the number of paths of another rule at the modes of the last call."""
        return sum(
            len(self._placed(s.component, rule, s.drive, s.thresholds).reference)
            for s in self._strata or []
        )

    def averages(self, kernels: Kernels) -> Averages:
        """Return the averages of the process that the kernels drive."""
        known = self._strata if self.rule.fixed else None
        drives = self._drives(kernels, known)
        self._strata = [
            self._stratum(c, drive, known[k] if known else None)
            for k, (c, drive) in enumerate(zip(self.components, drives, strict=True))
        ]
        self.failed_paths = 0
        parts = [self._joint_averages(group, kernels) for group in _groups(self._strata)]
        return Averages.unpack(np.sum(parts, axis=0), self.grid.size)

    def _drives(self, kernels: Kernels, known: list[_Stratum] | None) -> list[Drive]:
        """Return the drive of each component; atoms share their modes."""
        weights = mode_weights(self.grid, kernels.C_G)
        root = noise_root(kernels.C_G, weights)
        k = kernels.K.sum(axis=1)
        drives: list[Drive] = []
        atom: Drive | None = None
        for index, component in enumerate(self.components):
            if component.std == 0 and atom is not None:
                drive = replace(atom, mean=-component.mean * k, target=component.mean)
            else:
                drive = Drive.of(component, k, root, weights)
                drive = drive.aligned(known[index].drive) if known else drive
                atom = drive if component.std == 0 else atom
            drives.append(drive)
        return drives

    def _stratum(self, component: Component, drive: Drive, known: _Stratum | None) -> _Stratum:
        """Return the component's nodes for a drive: the known ones, unless it has outgrown them."""
        thresholds = self.thresholds(drive)
        if known is None or known.outgrown(thresholds):
            known = self._placed(component, self.rule, drive, thresholds)
        known.move(drive, thresholds)
        return known

    def _placed(
        self, component: Component, rule: NoiseRule, drive: Drive, thresholds: Thresholds | None
    ) -> _Stratum:
        """Place the nodes of a rule for a component."""
        share = component.probability * len(self.components)
        return _Stratum.of(self.problem, component, rule.weighted(share), drive, thresholds)

    def thresholds(self, drive: Drive) -> Thresholds | None:
        """Return where paths turn from inactive to active at the horizon.

        A path that has just become active there has a |w| of `width` times the typical size of
        weights, where `width` is the step of the leading mode that changes H by one. None where
        paths turn gradually, or the rule does not follow thresholds.
        """
        from solvers import mirror_kernels

        slope = drive.modes[-1]
        follows = self.rule.bends and not self.problem.mirror.linear
        if not (follows and slope.size and abs(slope[0]) > STEEP):
            return None
        code, parameters, table = self._map
        width = float(1.0 / abs(slope[0]))
        size = width * np.sqrt(self.problem.signal.second_moment + self.problem.sigma2)
        edges = np.array(
            [mirror_kernels.inverse(code, w, parameters[-1], table) for w in (-size, size)]
        )
        H = np.concatenate([[0.0], edges])
        _, D = mirror_kernels.evaluate(code, H[:, None], parameters[-1:], table)
        if not np.all(D[1:] > DEEP * D[0]):
            return None
        return Thresholds(np.sort((edges - drive.mean[-1]) / slope[0]), slope[1:] / slope[0], width)

    def _joint_averages(self, strata: list[_Stratum], kernels: Kernels) -> np.ndarray:
        """Return the packed sum of the averages over strata that share their modes."""
        from solvers import volterra  # numba is imported only when a solve starts

        drive = strata[0].drive
        K = np.ascontiguousarray(kernels.K)
        z, weights, rest, target, w, D = self._paths(strata, K)
        sampled = np.zeros(drive.scales.size, dtype=bool)
        sampled[: z.shape[1]] = strata[0].sampled[: z.shape[1]]
        # what the rule leaves at zero acts to first order on the paths that carry it
        small = ~sampled & (drive.scales > NEGLIGIBLE) & bool(rest.any())
        root = np.ascontiguousarray(drive.modes[:, small])
        cutoff = INACTIVE / self.grid.t_max
        A, moved, square = volterra.mean_response(
            K, self.grid.stages, D, weights, root, rest, cutoff
        )
        start, start_D = self._start
        mass = weights.sum()
        mean_D = np.concatenate([[start_D * mass], weights @ D])
        w = np.concatenate([np.full((len(w), 1), start), w], axis=1)
        target_modes = np.where(sampled, drive.target_modes, 0.0)
        target = target + z @ target_modes[: z.shape[1]]
        theta = w - target[:, None]
        C_w = (theta.T * weights) @ theta
        C_w[1:, 1:] += square
        C_w += mass * max(strata[0].component.std ** 2 - target_modes @ target_modes, 0.0)
        shared = np.concatenate([[0.0], moved @ drive.target_modes[small]])
        C_w += shared[:, None] + shared
        folded = np.repeat([s.folded for s in strata], [len(s.nodes) for s in strata])
        mean_w = np.where(folded, 0.0, weights) @ w  # w is odd in z where half the paths stand
        overlap = (weights * target) @ w - shared
        return Averages(C_w, A, mean_w, overlap, mean_D).pack()

    def _paths(self, strata: list[_Stratum], K: np.ndarray) -> tuple[np.ndarray, ...]:
        """Solve the paths of strata that share their modes.

        Returns their modes z (M, r), weights, first-order weights and target without its modes
        (M,), and w and D at the nodes (M, N).
        """
        from solvers import volterra

        modes = strata[0].drive.modes
        counts = [len(stratum.nodes) for stratum in strata]
        z = np.concatenate([stratum.nodes for stratum in strata])[:, : modes.shape[1]]
        weights = np.concatenate([s.component.probability * s.weights for s in strata])
        rest = np.concatenate([s.component.probability * s.rest_weights for s in strata])
        target = np.repeat([stratum.drive.target for stratum in strata], counts)
        means = np.stack([stratum.drive.mean for stratum in strata])
        U = np.repeat(means, counts, axis=0) + z @ modes[:, : z.shape[1]].T
        H = np.concatenate([s.paths(self.grid.size) for s in strata])
        w, D, iterations = volterra.solve_paths(*self._map, K, self.grid.stages, U, H)
        failed = iterations < 0
        self.failed_paths += int(np.count_nonzero(failed))
        H[failed] = 0.0
        for stratum, paths in zip(strata, np.split(H, np.cumsum(counts)[:-1]), strict=True):
            stratum.H = paths
        return z, weights, rest, target, w, D


def _groups(strata: list[_Stratum]) -> list[list[_Stratum]]:
    """Return strata that share their modes, and which of them they sample, in groups.

    Small strata cost less together, large ones take less memory one by one.
    """
    groups: list[list[_Stratum]] = []
    last: dict[tuple[int, bytes], list[_Stratum]] = {}
    for stratum in strata:
        key = id(stratum.drive.modes), stratum.sampled.tobytes()
        group = last.get(key, [])
        if not group or sum(len(s.nodes) for s in group) + len(stratum.nodes) > TOGETHER:
            group = last[key] = []
            groups.append(group)
        group.append(stratum)
    return groups


@dataclass(eq=False)
class _Stratum:
    """One component's nodes, and the paths of the last sweep.

    `sampled` (r,) says which modes the nodes run through.
    `reference` (M, r), `reference_weights` and `reference_rest` (M,) are what the rule gave for
    thresholds of `reference_width`, 0 without thresholds. The rest is set by `move`; `thresholds`
    are those that the nodes follow now.
    """

    component: Component
    drive: Drive
    folded: bool
    sampled: np.ndarray
    reference: np.ndarray
    reference_weights: np.ndarray
    reference_rest: np.ndarray
    reference_width: float
    thresholds: Thresholds | None
    nodes: np.ndarray
    weights: np.ndarray
    rest_weights: np.ndarray
    H: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        component: Component,
        rule: NoiseRule,
        drive: Drive,
        thresholds: Thresholds | None,
    ) -> _Stratum:
        nodes, weights = rule.nodes(drive.scales, thresholds)
        rest = rule.rest_weights(nodes, weights)
        folded = rule.symmetric and component.mean == 0.0 and problem.mirror.odd
        if folded:
            _, rest = fold(nodes, rest)
            nodes, weights = fold(nodes, weights)
        width = 0.0 if thresholds is None else thresholds.width
        reference = (nodes, weights, rest, width)
        sampled = np.any(nodes != 0, axis=0)
        return cls(component, drive, folded, sampled, *reference, None, nodes, weights, rest)

    def paths(self, size: int) -> np.ndarray:
        """Return the paths of the last sweep, zeros before the first, shape (M, size)."""
        return np.zeros((len(self.nodes), size)) if self.H is None else self.H

    def outgrown(self, thresholds: Thresholds | None) -> bool:
        """Whether the reference was made for thresholds of quite another width."""
        if thresholds is None or self.reference_width == 0.0:
            return (thresholds is None) != (self.reference_width == 0.0)
        return abs(np.log(thresholds.width / self.reference_width)) > OUTGROWN

    def move(self, drive: Drive, thresholds: Thresholds | None) -> None:
        """Take over a drive, and let the nodes follow its thresholds."""
        guess = None if self.thresholds is None else self.nodes[:, 0]
        self.drive, self.thresholds = drive, thresholds
        if thresholds is None:
            return
        self.nodes, factors = placed(self.reference, thresholds, guess)
        weights, rest = self.reference_weights * factors, self.reference_rest * factors
        self.weights, self.rest_weights = weights / weights.sum(), rest / rest.sum()
