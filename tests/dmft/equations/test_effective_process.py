"""The effective process: law of its drive, averages by rules against algebra and sampled paths."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from dmft.equations import families
from dmft.equations.drive import Drive, mode_weights, noise_root, principal_modes, time_weights
from dmft.equations.effective_process import EffectiveProcess, draw_paths
from dmft.equations.families import compressed
from dmft.equations.noise_rules import MonteCarloRule, Nodes, QuadraticRule, SobolRule, SparseRule
from dmft.equations.start import initial_state, initial_time
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Component, Discrete, Empirical, Gaussian
from dmft.solver.iteration import SelfConsistency
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid

GRID = Grid(np.array([0.0, 0.1, 0.4, 1.2, 3.0, 6.0]), 4)
NO_NOISE = np.zeros((GRID.size, GRID.size))
DEFAULT = Problem(0.5, 1.0, 0.1, 0.1)
WEIGHTS = mode_weights(time_weights(DEFAULT, GRID), NO_NOISE)


@cache
def kernels_of(problem, sweeps=4):
    """Kernels of a few sweeps: any will do for what is tested here."""
    system = SelfConsistency(problem, GRID, Tolerance(1e-4))
    process, x = system.process(SparseRule(0.5, 1e-2)), system.start()
    for _ in range(sweeps):
        x = system.image(process, x)
    return system.kernels(x)


def averages_of(problem, rule):
    return EffectiveProcess(problem, GRID, rule).averages(kernels_of(problem))


def agree(one, other, tolerance, names=("C_w", "A", "mean_w", "overlap", "mean_D")):
    for name in names:
        first, second = getattr(one, name), getattr(other, name)
        np.testing.assert_allclose(first, second, atol=tolerance * np.max(np.abs(second)) + 1e-12)


# --- the law of the drive ----------------------------------------------------------------------


def test_noise_root_reproduces_the_covariance_by_orthogonal_modes():
    C_G = kernels_of(DEFAULT).C_G
    root = noise_root(C_G, WEIGHTS)
    np.testing.assert_allclose(root @ root.T, C_G, atol=1e-12 * np.max(C_G))
    gram = (root.T * WEIGHTS) @ root
    variances = np.diag(gram)
    assert np.all(np.diff(variances) <= 0)
    np.testing.assert_allclose(gram - np.diag(variances), 0.0, atol=1e-13 * variances[0])
    assert variances[0] > 0.9 * variances.sum()  # G is smooth
    assert root.shape[1] < GRID.size


def test_noise_root_of_no_noise():
    assert noise_root(np.zeros((GRID.size, GRID.size)), WEIGHTS).shape == (GRID.size, 0)


def test_mode_weights_integrate_in_about_the_logarithm_of_time():
    start = initial_time(DEFAULT)
    assert start == pytest.approx(1.0 / ((1 + 2**0.5) ** 2 + 0.2**0.5))
    for t_max in (6.0, 1e4):  # the first times count as much over long horizons
        fine = Grid(np.r_[0.0, np.geomspace(1e-4, t_max, 60)], 6)
        exact = np.log((t_max + start) / start) + 1.0  # the point mass at t_max
        assert time_weights(DEFAULT, fine).sum() == pytest.approx(exact, rel=1e-9)
    np.testing.assert_array_equal(mode_weights(WEIGHTS, NO_NOISE), WEIGHTS)
    np.testing.assert_allclose(mode_weights(WEIGHTS, NO_NOISE + 3.0), WEIGHTS / 2.0, rtol=1e-14)


def test_principal_modes_rotate():
    rng = np.random.default_rng(0)
    root = rng.standard_normal((GRID.size, 7)) * 0.5 ** np.arange(7)
    modes, rotation = principal_modes(root, WEIGHTS)
    np.testing.assert_allclose(modes @ modes.T, root @ root.T, atol=1e-12)
    np.testing.assert_allclose(root @ rotation, modes, atol=1e-14)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(modes.shape[1]), atol=1e-12)
    gram = (modes.T * WEIGHTS) @ modes
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * gram[0, 0])
    assert np.all(np.diff(np.diag(gram)) <= 0)


@pytest.mark.parametrize("component", [Component(0.3, 0.7, 0.0), Component(1.0, -2.0, 0.0)])
def test_drive_of_an_atom(component):
    kernels = kernels_of(DEFAULT)
    drive = Drive.of(
        component.std, kernels.K.sum(axis=1), noise_root(kernels.C_G, WEIGHTS), WEIGHTS
    )
    np.testing.assert_allclose(drive.k, kernels.K @ np.ones(GRID.size))
    np.testing.assert_allclose(drive.modes @ drive.modes.T, kernels.C_G, atol=1e-11)
    assert not np.any(drive.target_modes)
    assert np.all(drive.scales <= 1.0)
    assert drive.scales[0] == np.max(drive.scales)


@pytest.mark.parametrize("component", [Component(0.3, 0.7, 1.5), Component(1.0, 0.0, 0.2)])
def test_drive_of_a_gaussian_component_has_the_joint_law_of_drive_and_target(component):
    # U = G - w* k with w* ~ N(m, s^2) independent of G
    kernels = kernels_of(DEFAULT)
    drive = Drive.of(
        component.std, kernels.K.sum(axis=1), noise_root(kernels.C_G, WEIGHTS), WEIGHTS
    )
    k, variance = kernels.K.sum(axis=1), component.std**2
    expected = kernels.C_G + variance * np.outer(k, k)
    np.testing.assert_allclose(drive.modes @ drive.modes.T, expected, atol=1e-11 * np.max(expected))
    np.testing.assert_allclose(
        drive.modes @ drive.target_modes, -variance * k, atol=1e-10 * variance * np.max(np.abs(k))
    )
    known = drive.target_modes @ drive.target_modes
    assert 0.1 * variance < known <= variance * (1 + 1e-12)
    gram = (drive.modes.T * WEIGHTS) @ drive.modes
    assert np.all(np.diff(np.diag(gram)) <= 0)


def test_aligned_drive_keeps_its_law_and_the_signs_of_the_previous():
    kernels = kernels_of(DEFAULT)
    root = noise_root(kernels.C_G, WEIGHTS)
    drive = Drive.of(0.8, kernels.K.sum(axis=1), root, WEIGHTS)
    signs = np.where(np.arange(drive.modes.shape[1]) % 3 == 1, -1.0, 1.0)
    flipped = replace(drive, modes=drive.modes * signs, target_modes=drive.target_modes * signs)
    aligned = flipped.aligned(drive)
    np.testing.assert_array_equal(aligned.modes, drive.modes)
    np.testing.assert_array_equal(aligned.target_modes, drive.target_modes)
    shorter = replace(drive, modes=drive.modes[:, :3], target_modes=drive.target_modes[:3])
    np.testing.assert_array_equal(flipped.aligned(shorter).modes[:, :3], shorter.modes)
    np.testing.assert_array_equal(shorter.aligned(flipped).modes, flipped.modes[:, :3])


def test_compressed_laws_keep_their_moments():
    array = np.random.default_rng(0).uniform(-1.0, 2.0, 300)
    law = Empirical(array)
    ((_, short),) = compressed(law.by_start(), 9)
    assert len(short) == 9
    for power in range(18):
        moment = sum(c.probability * c.mean**power for c in short)
        assert moment == pytest.approx(np.mean(array**power), rel=1e-10)
    assert compressed(law.by_start(), 300) == law.by_start()
    mixed = BernoulliGaussian(0.2).by_start()
    assert compressed(mixed, 2) == mixed


# --- averages of a linear network, exactly -----------------------------------------------------


@pytest.mark.parametrize(
    "signal",
    [
        Bernoulli(0.1),
        Bernoulli(0.4, -2.0),
        BernoulliGaussian(0.3, 1.5, 0.5),
        BernoulliGaussian(0.3, 1.5),
        Gaussian(1.2, -0.4),
        Empirical([-1.0, 0.1, 2.0]),
    ],
)
@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_averages_of_a_linear_network(signal, lam):
    # w = -P H, H = G + K theta: theta = -B G + w* (B k - 1), B = P (I + K P)^(-1)
    problem = Problem(0.7, lam=lam, sigma2=0.2, signal=signal, network=Linear())
    kernels = kernels_of(problem)
    P = np.exp(-lam * GRID.nodes)
    B = P[:, None] * np.linalg.inv(np.eye(GRID.size) + kernels.K * P)
    learned = np.r_[0.0, B @ kernels.K.sum(axis=1)]
    noise = np.zeros((GRID.size + 1, GRID.size + 1))
    noise[1:, 1:] = B @ kernels.C_G @ B.T
    power = signal.second_moment
    found = averages_of(problem, SparseRule(0.5, 1e-14))
    scale = max(power, noise.max())
    C_w = noise + power * np.outer(learned - 1, learned - 1)
    np.testing.assert_allclose(found.C_w, C_w, atol=2e-8 * scale)
    np.testing.assert_allclose(found.A, B, atol=1e-9)
    np.testing.assert_allclose(found.mean_w, signal.mean * learned, atol=1e-9 * scale)
    np.testing.assert_allclose(found.overlap, power * learned, atol=2e-8 * scale)
    np.testing.assert_allclose(found.mean_D, np.r_[1.0, P], rtol=1e-12)


@dataclass(frozen=True)
class SomeModes:
    """A sparse rule all of whose nodes have zeros in the modes `left_out`."""

    left_out: tuple[int, ...]
    atoms: int = 16
    symmetric: bool = False
    fixed: bool = True
    bends: bool = False
    negligible: float = 0.0

    def nodes(self, scales, thresholds=None):
        z, weights, _, *points = SparseRule(0.5, 1e-6).nodes(scales)
        z[:, self.left_out] = 0.0
        return Nodes(z, weights, np.zeros(len(z)), *points)

    def weighted(self, share):
        return self


@pytest.mark.parametrize("rule", [SparseRule(0.5, np.inf), SomeModes((2,))])
def test_modes_that_a_rule_leaves_out_still_count_for_the_target(rule):
    problem = Problem(0.7, sigma2=0.2, signal=Gaussian(1.2, -0.4), network=Linear())
    found = averages_of(problem, rule)
    assert found.C_w[0, 0] == pytest.approx(problem.signal.second_moment, rel=1e-6)


# --- averages of other networks ----------------------------------------------------------------

NONLINEAR = [
    DEFAULT,
    Problem(0.5, 0.9, 0.0, 0.2, Bernoulli(0.3, -1.5), Deep(3)),
    Problem(1.5, 0.6, 0.05, 0.1, BernoulliGaussian(0.4, 1.5, 0.5), Diagonal()),
    Problem(0.8, 1.0, 0.0, 0.1, Gaussian(1.0), Diagonal(1.2, 0.7)),
    Problem(0.8, 1.0, 0.1, 0.1, Discrete([-1.0, 0.0, 2.0], [0.2, 0.5, 0.3]), Product((0.4, 1.1))),
]
IDS = [f"{p.mirror.name}-{p.signal.name}" for p in NONLINEAR]
DRAWS = 20000


@cache
def sampled(problem):
    """theta at t = 0 and the nodes, H at the nodes, and w*, of independent paths."""
    rng = np.random.default_rng(11)
    H, w_star, _ = draw_paths(problem, GRID, kernels_of(problem), DRAWS, rng)
    w = problem.mirror.weight(problem.alpha, problem.lam, H, GRID.nodes)
    start = np.full((DRAWS, 1), problem.mirror.initial_weight(problem.alpha))
    return np.concatenate([start, w], axis=1) - w_star[:, None], H, w_star


def deviations(samples, expected):
    """(mean of samples (DRAWS, ...) - expected) in standard errors; 0 where nothing varies."""
    error = samples.std(axis=0) / np.sqrt(DRAWS)
    gap = samples.mean(axis=0) - expected
    np.testing.assert_allclose(np.where(error < 1e-14, gap, 0.0), 0.0, atol=1e-7)
    return gap / np.maximum(error, 1e-14) * (error >= 1e-14)


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_averages_agree_with_sampled_paths_at_two_times(problem):
    found = averages_of(problem, SparseRule(0.1, 1e-5))
    theta, _, w_star = sampled(problem)
    for row in range(theta.shape[1]):
        products = theta * theta[:, row : row + 1]
        assert np.max(np.abs(deviations(products, found.C_w[row]))) < 4.5
    w = theta + w_star[:, None]
    assert np.max(np.abs(deviations(w, found.mean_w))) < 4.5
    assert np.max(np.abs(deviations(w * w_star[:, None], found.overlap))) < 4.5
    # the test would see a process whose noise is drawn afresh at each time
    cross = theta[:, 5] * theta[:, -1]
    shuffled = theta[:, 5] * np.roll(theta[:, -1], 1)
    assert abs(cross.mean() - shuffled.mean()) > 20 * cross.std() / np.sqrt(DRAWS)


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_response_obeys_stein_with_the_sampled_noise(problem):
    # E theta(t) G(s) = -(A C_G)(t, s), since d theta/dG = -D (I + K D)^(-1)
    kernels = kernels_of(problem)
    found = averages_of(problem, SparseRule(0.1, 1e-5))
    theta, H, _ = sampled(problem)
    G = H - theta[:, 1:] @ kernels.K.T
    expected = -found.A @ kernels.C_G
    for column in range(0, GRID.size, 3):
        products = theta[:, 1:] * G[:, column : column + 1]
        assert np.max(np.abs(deviations(products, expected[:, column]))) < 4.5
        squares = G * G[:, column : column + 1]
        assert np.max(np.abs(deviations(squares, kernels.C_G[column]))) < 4.5


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_mean_response_of_the_map(problem):
    found = averages_of(problem, SparseRule(0.1, 1e-5))
    _, H, _ = sampled(problem)
    D = problem.mirror.hessian_inverse(problem.alpha, problem.lam, H, GRID.nodes)
    assert np.max(np.abs(deviations(D, found.mean_D[1:]))) < 4.5
    assert found.mean_D[0] == pytest.approx(initial_state(problem)[1], rel=1e-14)


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_rules_agree(problem):
    # a rule that folds pairs z, -z and one that cannot
    sparse = averages_of(problem, SparseRule(0.1, 1e-5))
    agree(averages_of(problem, SparseRule(0.1, 1e-5, offset=0.5)), sparse, 1e-6)
    agree(averages_of(problem, SobolRule(4096, 12, 1)), sparse, 6e-3)
    if problem.mirror.depth == 2:  # deeper ones take ten times as long, and draw the same numbers
        agree(averages_of(problem, MonteCarloRule(65536, 12, 1)), sparse, 0.15)


def test_a_gaussian_component_agrees_with_many_atoms():
    # the same law by strata of its own Gauss-Hermite rule, without a joint drive
    x, weights = np.polynomial.hermite_e.hermegauss(30)
    law = Gaussian(0.8, 0.3)
    bell = Problem(0.5, 1.0, 0.1, 0.1, law)
    atoms = replace(bell, signal=Discrete(0.3 + 0.8 * x, weights / weights.sum()))
    kernels = kernels_of(bell)
    rule = SparseRule(0.25, 1e-6, atoms=30)
    one, other = (EffectiveProcess(p, GRID, rule).averages(kernels) for p in (bell, atoms))
    agree(one, other, 1e-4)
    agree(one, other, 1e-7, names=("A", "mean_w", "mean_D"))


def test_many_atoms_may_be_compressed():
    law = Empirical(np.linspace(-1.0, 2.0, 60))
    problem = Problem(0.5, 1.0, 0.1, 0.1, law)
    full, short = (averages_of(problem, SparseRule(0.5, np.inf, atoms=n)) for n in (60, 12))
    agree(short, full, 1e-6)


def test_gaussian_components_are_never_compressed():
    law = BernoulliGaussian(0.3, 1.0, 0.5)
    assert compressed(law.by_start(), 1) == law.by_start()


# --- bookkeeping -------------------------------------------------------------------------------


def test_repeated_calls_evaluate_one_function():
    process = EffectiveProcess(DEFAULT, GRID, SparseRule(0.5, 1e-3))
    assert process.paths == process.paths_of(SparseRule(0.5, 1e-4)).sum() == 0
    first = process.averages(kernels_of(DEFAULT))
    assert process.paths > 0
    process.averages(kernels_of(DEFAULT, 1))
    agree(process.averages(kernels_of(DEFAULT)), first, 1e-9)
    assert process.failed_paths == 0


def test_paths_of_a_rule_are_counted_without_placing_them(monkeypatch):
    """Rules are sized by their number of paths before there is room for them."""
    system = SelfConsistency(Problem(0.5), GRID, Tolerance(1e-3))
    process = system.process(SparseRule(0.5, 1e-2))
    kernels = system.kernels(system.start())
    process.averages(kernels)
    rule = SparseRule(0.2, 1e-4)
    larger = system.process(rule)
    larger.averages(kernels)
    monkeypatch.setattr(SparseRule, "nodes", None)
    assert process.paths_of(rule).sum() == larger.paths


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_averages_do_not_depend_on_how_many_paths_are_solved_together(problem, monkeypatch):
    rule = SparseRule(0.5, 1e-2)
    together = averages_of(problem, rule)
    monkeypatch.setattr(families, "TOGETHER", 16)
    process = EffectiveProcess(problem, GRID, rule)
    in_parts = process.averages(kernels_of(problem))
    assert process.paths > 32
    agree(in_parts, together, 1e-9)


@pytest.mark.parametrize("problem", NONLINEAR, ids=IDS)
def test_negligible_modes_are_left_out(problem):
    exact, near, far = (
        averages_of(problem, SparseRule(0.5, np.inf, negligible=scale))
        for scale in (0.0, 1e-4, 0.3)
    )
    agree(near, exact, 1e-6)
    assert np.max(np.abs(far.C_w - exact.C_w)) > 1e-4 * np.max(exact.C_w)


def test_averages_are_causal():
    # changing the kernels in the last panel changes nothing before it
    kernels = kernels_of(DEFAULT)
    last = slice(GRID.size - 4, GRID.size)
    K, C_G = kernels.K.copy(), kernels.C_G.copy()
    K[last] *= 1.1
    C_G[last] *= 1.1
    C_G[:, last] *= 1.1
    rule = SparseRule(0.1, 1e-5)
    one, other = (
        EffectiveProcess(DEFAULT, GRID, rule).averages(k)
        for k in (kernels, replace(kernels, K=K, C_G=C_G))
    )
    early = GRID.size - 4
    np.testing.assert_allclose(other.A[:early], one.A[:early], atol=2e-5)
    np.testing.assert_allclose(
        other.C_w[: early + 1, : early + 1], one.C_w[: early + 1, : early + 1], atol=2e-5
    )
    assert np.max(np.abs(other.C_w - one.C_w)) > 1e-4


def test_unsolved_paths_are_counted_and_draws_refuse_them():
    kernels = kernels_of(DEFAULT)
    broken = replace(kernels, K=np.full_like(kernels.K, np.nan))
    process = EffectiveProcess(DEFAULT, GRID, SparseRule(0.5, 1e-1))
    process.averages(broken)
    assert process.failed_paths == process.paths > 0
    with pytest.raises(ArithmeticError, match="7 of 7 paths could not be solved"):
        draw_paths(DEFAULT, GRID, broken, 7, np.random.default_rng(0))


@pytest.mark.parametrize("signal", [Bernoulli(0.1), BernoulliGaussian(0.3, 1.0, 0.5)])
def test_noise_that_is_not_finite_leaves_no_path_solved(signal):
    kernels = kernels_of(DEFAULT)
    lost = replace(kernels, C_G=np.full_like(kernels.C_G, np.nan))
    process = EffectiveProcess(replace(DEFAULT, signal=signal), GRID, SparseRule(0.5, 1e-2))
    with np.errstate(invalid="ignore"):
        process.averages(lost)
    assert process.failed_paths == process.paths > 0


def test_averages_without_noise():
    problem = Problem(0.7, sigma2=0.2, network=Linear())
    kernels = replace(kernels_of(problem), C_G=NO_NOISE)
    exact = EffectiveProcess(problem, GRID, QuadraticRule()).averages(kernels)
    agree(EffectiveProcess(problem, GRID, SparseRule(0.5, 1e-2)).averages(kernels), exact, 1e-12)
    learned = kernels.K @ np.ones(GRID.size)
    B = np.linalg.inv(np.eye(GRID.size) + kernels.K)
    np.testing.assert_allclose(exact.mean_w[1:], problem.signal.mean * B @ learned, rtol=1e-10)


def test_draws_are_reproducible():
    one, other, third = (
        draw_paths(DEFAULT, GRID, kernels_of(DEFAULT), 50, np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1], other[1])
    assert not np.array_equal(one[0], third[0])


def test_initial_state():
    assert initial_state(Problem(1.0, 0.5)) == pytest.approx((0.0, 0.25))
    unequal = Problem(1.0, 0.5, network=Diagonal(2.0, 1.0))
    assert initial_state(unequal) == pytest.approx((0.375, 0.625))
    assert initial_state(Problem(1.0, 0.5, network=Deep(3))) == pytest.approx((0.0, 0.0625))
    assert initial_state(Problem(1.0, 0.5, network=Linear())) == (0.0, 1.0)
