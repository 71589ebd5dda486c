"""Noise rules: moments, exactness on polynomials, thresholds, convergence, independence."""

from dataclasses import replace
from itertools import pairwise, product
from math import factorial, prod

import numpy as np
import pytest
from scipy.special import ndtr

from dmft.equations.noise_rules import MonteCarloRule, QuadraticRule, SobolRule, SparseRule, fold
from dmft.solvers.gaussian_rules import equidistant, gauss_hermite, smolyak

SCALES = np.array([1.0, 0.3, 0.1, 0.03, 0.01, 1e-4])
SPARSE = [
    SparseRule(0.5, 1e-3),
    SparseRule(0.5, 1e-3, offset=0.5),
    SparseRule(0.25, 1e-6),
    SparseRule(0.8, np.inf),
    SparseRule(0.5, 1e-9, max_modes=3),
]
RANDOM = [SobolRule(1024, 4, 3), MonteCarloRule(1024, 4, 3)]


def gaussian_moment(power):
    """E z^power = 1 3 5 ... (power - 1) for even powers."""
    return 0.0 if power % 2 else float(prod(range(1, power, 2)))


def excess_mean(gap, std=1.0):
    """E max(std z - gap, 0)."""
    x = gap / std
    return std * np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) - gap * ndtr(-x)


def soft_threshold_mean(mean, std, threshold):
    """E soft(mean + std z; threshold)."""
    return excess_mean(threshold - mean, std) - excess_mean(threshold + mean, std)


def soft(x, threshold):
    return np.sign(x) * np.maximum(np.abs(x) - threshold, 0.0)


# --- one-dimensional rules ---------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("spacing", [0.25, 0.4, 0.7])
def test_equidistant_moments(spacing, offset):
    x, weights = equidistant(spacing, offset, 6.5)
    assert weights.sum() == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(np.diff(x), spacing, rtol=1e-12)
    np.testing.assert_array_equal(x, -x[::-1])
    np.testing.assert_array_equal(weights, weights[::-1])
    assert x[-1] >= 6.5 - 0.5 * spacing
    # aliasing: E z^k is off by about (2 pi/spacing)^k exp(-(2 pi/spacing)^2/2)
    wave = 2 * np.pi / spacing
    for power in range(1, 7):
        allowed = 4 * wave**power * np.exp(-(wave**2) / 2) + 1e-5 * (power == 6) + 1e-6
        assert weights @ x**power == pytest.approx(gaussian_moment(power), abs=allowed)


def test_a_shifted_pair_errs_in_opposite_directions():
    # E cos(k z) = exp(-k^2/2); the rule adds exp(-(2 pi/h - k)^2/2) cos(2 pi offset)
    k, h = 3.0, 1.0
    exact = np.exp(-0.5 * k**2)
    errors = []
    for offset in (0.0, 0.5):
        x, weights = equidistant(h, offset, 8.0)
        errors.append(weights @ np.cos(k * x) - exact)
    alias = np.exp(-0.5 * (2 * np.pi / h - k) ** 2)
    assert errors[0] == pytest.approx(alias, rel=1e-3)
    assert errors[1] == pytest.approx(-alias, rel=1e-3)
    assert abs(np.mean(errors)) < 1e-3 * alias


def test_the_mean_of_a_shifted_pair_is_the_rule_of_half_the_spacing():
    def f(x):
        return soft(0.3 + x, 0.5)

    half = np.dot(*(equidistant(0.25, 0.0, 6.5)[1], f(equidistant(0.25, 0.0, 6.5)[0])))
    pair = [weights @ f(x) for x, weights in (equidistant(0.5, o, 6.5) for o in (0.0, 0.5))]
    assert np.mean(pair) == pytest.approx(half, abs=1e-9)


def test_equidistant_rule_resolves_a_threshold_at_second_order():
    # a kink costs h^2 B_2(its place between two nodes)/2 times the density there
    places = np.linspace(0.1, 0.9, 41)
    worst = []
    for spacing in (0.4, 0.2, 0.1, 0.05):
        x, weights = equidistant(spacing, 0.0, 6.5)
        found = np.maximum(x - places[:, None], 0.0) @ weights
        worst.append(np.max(np.abs(found - excess_mean(places))))
    assert worst[-1] < 2e-4
    for coarse, fine in pairwise(worst):
        assert 3.0 < coarse / fine < 5.0


@pytest.mark.parametrize("count", [1, 3, 5, 9, 13])
def test_gauss_hermite_is_exact_to_degree_2n_minus_1(count):
    x, weights = gauss_hermite(count)
    np.testing.assert_array_equal(x, -x[::-1])
    np.testing.assert_array_equal(weights, weights[::-1])
    for power in range(2 * count):
        size = weights @ np.abs(x) ** power + 1
        assert weights @ x**power == pytest.approx(gaussian_moment(power), abs=1e-13 * size)
    missing = gaussian_moment(2 * count) - weights @ x ** (2 * count)
    assert missing == pytest.approx(factorial(count), rel=1e-2)


# --- sparse grids ------------------------------------------------------------------------------


def downward_closed(tops):
    return sorted({i for top in tops for i in product(*(range(t + 1) for t in top))})


INDEX_SETS = [
    [(0, 0, 0)],
    downward_closed([(1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    downward_closed([(2, 1, 0), (0, 0, 1)]),
    downward_closed([(3, 0, 0), (1, 1, 1), (0, 2, 0)]),
]


@pytest.mark.parametrize("indices", INDEX_SETS)
def test_smolyak_is_exact_on_the_polynomials_of_its_index_set(indices):
    nodes, weights = smolyak(tuple(indices), 3)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert len({tuple(z) for z in nodes}) == len(nodes)  # shared points are merged
    # level l integrates z^k exactly for k <= 4 l + 1, so z^a needs the levels ceil((a - 1)/4)
    for powers in product(range(7), repeat=3):
        if any(powers[k] % 2 for k in range(3)):
            continue
        levels = tuple(-(-max(a - 1, 0) // 4) for a in powers)
        exact = prod(gaussian_moment(a) for a in powers)
        found = weights @ np.prod(nodes**powers, axis=1)
        if levels in indices:
            assert found == pytest.approx(exact, rel=1e-11), powers
        else:
            assert found != pytest.approx(exact, rel=1e-3), powers


@pytest.mark.parametrize("indices", INDEX_SETS)
def test_smolyak_is_symmetric_in_every_mode(indices):
    nodes, weights = smolyak(tuple(indices), 3)
    table = {tuple(z): w for z, w in zip(nodes.tolist(), weights, strict=True)}
    for signs in product((1.0, -1.0), repeat=3):
        for z, w in table.items():
            mirrored = tuple(s * x + 0.0 for s, x in zip(signs, z, strict=True))
            assert table[mirrored] == pytest.approx(w, rel=1e-12)


# --- whole rules -------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", SPARSE)
def test_sparse_rule_moments(rule):
    z, weights, *_ = rule.nodes(SCALES)
    assert z.shape == (weights.size, z.shape[1])
    assert weights.sum() == pytest.approx(1.0, abs=1e-13)
    np.testing.assert_allclose(weights @ z, 0.0, atol=1e-13)
    second = (z.T * weights) @ z
    # the truncation at reach = 6.5 costs 5e-9; a mode of level 0 is left at its mean
    diagonal = np.diag(second)
    kept = np.any(z != 0, axis=0)
    np.testing.assert_allclose(diagonal[kept], 1.0, atol=1e-8)
    np.testing.assert_array_equal(diagonal[~kept], 0.0)
    np.testing.assert_allclose(second - np.diag(diagonal), 0.0, atol=1e-13)
    fourth = weights @ z[:, kept] ** 4
    if rule.spacing <= 0.5:
        assert fourth[0] == pytest.approx(3.0, abs=1e-6)
    np.testing.assert_allclose(fourth[1:], 3.0, rtol=1e-9)  # level 1: degree 5


def test_kept_modes_follow_the_scales_and_the_tolerance():
    counts = [SparseRule(0.5, tol).nodes(SCALES).z.shape[1] for tol in (np.inf, 0.02, 1e-3, 1e-9)]
    assert counts == [1, 2, 3, 6]  # scales^2 of the other modes: .09, .01, 9e-4, 1e-4, 1e-8
    assert SparseRule(0.5, 1e-9, max_modes=3).nodes(SCALES).z.shape[1] == 3
    rules = [SparseRule(0.5, tolerance).nodes(SCALES) for tolerance in (2e-2, 5e-5)]
    sixth = [weights @ z[:, 1] ** 6 for z, weights, *_ in rules]
    assert sixth[0] == pytest.approx(9.0)  # three nodes at 0 and +-sqrt 3
    assert sixth[1] == pytest.approx(15.0)  # scale^4 = 8.1e-3 passes: level 2 is exact


def test_cross_terms_need_a_smaller_tolerance():
    # scale_1^2 scale_2^2 = 9e-4
    for tolerance, expected in ((1e-3, 0.0), (8e-4, 1.0)):
        z, weights, *_ = SparseRule(0.5, tolerance).nodes(SCALES)
        assert weights @ (z[:, 1] ** 2 * z[:, 2] ** 2) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rule", [SparseRule(0.5, 1e-9, max_points=30), SparseRule(0.5, 1e-4)])
def test_number_of_points_is_bounded(rule):
    leading = equidistant(rule.spacing, rule.offset, rule.reach)[0].size
    z, weights, *_ = rule.nodes(np.full(20, 0.6))
    assert len(z) <= leading * rule.max_points
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("rule", SPARSE)
def test_the_leading_rule_alone_carries_the_other_modes(rule):
    z, _, carried, *_ = rule.nodes(SCALES)
    leading, leading_weights = equidistant(rule.spacing, rule.offset, rule.reach)
    np.testing.assert_array_equal(z[carried > 0, 0], leading)
    assert not np.any(z[carried > 0, 1:])
    np.testing.assert_allclose(carried[carried > 0], leading_weights, rtol=1e-14)


@pytest.mark.parametrize("rule", [SobolRule(64, 3), MonteCarloRule(64, 3), QuadraticRule()])
def test_other_rules_carry_no_modes_beyond_their_own(rule):
    z, _, carried, *_ = rule.nodes(SCALES)
    np.testing.assert_array_equal(carried, np.zeros(len(z)))


@pytest.mark.parametrize("rule", SPARSE)
def test_symmetric_rules_carry_z_and_minus_z_alike(rule):
    assert rule.symmetric
    z, weights, *_ = rule.nodes(SCALES)
    table = {tuple(point): w for point, w in zip((z + 0.0).tolist(), weights, strict=True)}
    assert len(table) == len(z)
    for point, weight in table.items():
        assert table[tuple(0.0 - x for x in point)] == pytest.approx(weight, rel=1e-12, abs=1e-18)


@pytest.mark.parametrize("rule", RANDOM)
def test_random_rules_are_not_symmetric(rule):
    assert not rule.symmetric
    z, *_ = rule.nodes(SCALES)
    assert not np.any(np.all(np.isclose(z[:, None], -z[None, :20]), axis=2))


@pytest.mark.parametrize("rule", SPARSE)
def test_fold_keeps_integrals_of_even_functions(rule):
    z, weights, rest, *_ = nodes = rule.nodes(SCALES)
    half, double, carried, *_ = fold(nodes)
    at_zero = int(np.sum(np.all(z == 0, axis=1)))
    assert len(half) == (len(z) + at_zero) // 2
    assert double.sum() == pytest.approx(1.0, abs=1e-13)
    assert carried @ half[:, 0] ** 2 == pytest.approx(rest @ z[:, 0] ** 2, rel=1e-13)
    direction = np.linspace(1.0, 0.4, z.shape[1])
    for even in (np.cos, np.cosh, np.square):
        assert double @ even(half @ direction) == pytest.approx(weights @ even(z @ direction))
    np.testing.assert_allclose((half.T * double) @ half, (z.T * weights) @ z, atol=1e-12)


def test_sparse_rule_is_exact_enough_for_a_smooth_function_of_all_modes():
    # E cos(a.z + b) = cos(b) exp(-|a|^2/2)
    exact = np.cos(0.7) * np.exp(-0.5 * SCALES @ SCALES)
    errors = []
    for tolerance in (np.inf, 0.05, 1e-3, 1e-8):
        z, weights, *_ = SparseRule(0.25, tolerance).nodes(SCALES)
        found = weights @ np.cos(z @ SCALES[: z.shape[1]] + 0.7)
        errors.append(abs(found - exact))
    assert all(fine < coarse / 8 for coarse, fine in pairwise(errors))
    assert errors[3] < 1e-7


def test_sparse_rule_resolves_a_threshold_in_the_leading_mode():
    mean, threshold = 0.4, 0.6
    scales = np.array([1.0, 0.2, 0.05])
    exact = soft_threshold_mean(mean, np.sqrt(scales @ scales), threshold)
    z, weights, *_ = SparseRule(0.025, 1e-5).nodes(scales)
    found = weights @ soft(mean + z @ scales[: z.shape[1]], threshold)
    assert found == pytest.approx(exact, abs=2e-4)
    leading = weights @ soft(mean + z[:, 0], threshold)
    assert leading == pytest.approx(soft_threshold_mean(mean, 1.0, threshold), abs=2e-5)
    assert abs(leading - exact) > 3e-3  # the other modes do matter


# --- random rules ------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RANDOM)
def test_random_rules(rule):
    z, weights, *_ = rule.nodes(SCALES)
    assert z.shape == (1024, 4)
    np.testing.assert_array_equal(weights, 1 / 1024)
    assert replace(rule, modes=50).nodes(SCALES).z.shape == (1024, 6)
    again, *_ = rule.nodes(SCALES)
    np.testing.assert_array_equal(z, again)
    other, *_ = replace(rule, seed=4).nodes(SCALES)
    assert not np.any(z == other)
    error = 1 / np.sqrt(1024)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=4 * error)
    np.testing.assert_allclose(z.T @ z / 1024, np.eye(4), atol=5 * np.sqrt(2) * error)
    np.testing.assert_allclose(np.mean(z**4, axis=0), 3.0, atol=5 * np.sqrt(96) * error)


def rms_errors(kind, sizes):
    """Root mean square over 12 seeds of the error of E cos(a.z + b)."""
    exact = np.cos(0.7) * np.exp(-0.5 * SCALES @ SCALES)

    def error(size, seed):
        z, weights, *_ = kind(size, 6, seed).nodes(SCALES)
        return weights @ np.cos(z @ SCALES + 0.7) - exact

    return [np.sqrt(np.mean([error(n, s) ** 2 for s in range(12)])) for n in sizes]


def test_convergence_of_the_random_rules():
    sizes = (128, 1024, 8192)
    net, draws = rms_errors(SobolRule, sizes), rms_errors(MonteCarloRule, sizes)
    slope = [np.polyfit(np.log(sizes), np.log(errors), 1)[0] for errors in (net, draws)]
    assert slope[0] < -0.8
    assert slope[1] == pytest.approx(-0.5, abs=0.15)
    assert np.all(np.array(net) < 0.3 * np.array(draws))
    # one draw's standard deviation: Var cos = (1 + cos 2b e^{-2v})/2 - (cos b e^{-v/2})^2
    v = SCALES @ SCALES
    variance = 0.5 * (1 + np.cos(1.4) * np.exp(-2 * v)) - np.cos(0.7) ** 2 * np.exp(-v)
    assert draws[0] == pytest.approx(np.sqrt(variance / 128), rel=0.6)


# --- checks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*SPARSE[:3], *RANDOM])
def test_checks_are_other_rules(rule):
    checks = rule.checks()
    rules = [rule, *(check.rule for check in checks)]
    assert len(rules) == 3
    points = [r.nodes(SCALES).z for r in rules]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert rules[one] != rules[two]
        same = points[one].shape == points[two].shape and np.allclose(points[one], points[two])
        assert not same
    assert rule.checks() == checks  # reproducible


def test_checks_of_the_sparse_rule():
    rule = SparseRule(0.5, 1e-3)
    shifted, larger = rule.checks()
    assert (shifted.rule.offset, shifted.share) == (0.5, 0.5)
    assert shifted.rule.checks()[0].rule == rule
    assert larger.share == 1.0
    assert larger.rule.tolerance < rule.tolerance
    assert larger.rule.atoms > rule.atoms
    assert len(larger.rule.nodes(SCALES).z) > len(rule.nodes(SCALES).z)


def improved(rule, f):
    """The integral by a rule and that which its checks improve."""

    def integral(r):
        z, weights, *_ = r.nodes(SCALES)
        return weights @ f(z @ SCALES[: z.shape[1]])

    first = integral(rule)
    return first, first + sum(c.share * (integral(c.rule) - first) for c in rule.checks())


@pytest.mark.parametrize(
    ("rule", "wave"), [(SparseRule(1.0, 1e-2), 3.0), (SparseRule(0.5, 3e-2), 0.9)]
)
def test_checks_improve_a_smooth_integral(rule, wave):
    exact = np.exp(-0.5 * wave**2 * SCALES @ SCALES)
    first, better = improved(rule, lambda x: np.cos(wave * x))
    assert abs(better - exact) < 0.2 * abs(first - exact)


def test_checks_of_random_rules_average_three_of_them():
    rule = SobolRule(256, 4, 1)
    rules = [rule, *(check.rule for check in rule.checks())]
    _, better = improved(rule, np.cos)
    parts = [np.cos(r.nodes(SCALES).z @ SCALES[:4]).mean() for r in rules]
    assert better == pytest.approx(np.mean(parts), rel=1e-12)


def test_a_smaller_share_asks_for_fewer_points():
    rule = SparseRule(0.5, 1e-4)
    assert rule.weighted(1.0) == rule
    counts = [len(rule.weighted(share).nodes(SCALES).z) for share in (4.0, 1.0, 0.25, 1e-9)]
    assert counts[0] > counts[1] > counts[2] > counts[3] == len(equidistant(0.5, 0.0, 6.5)[0])
    for other in (SobolRule(), MonteCarloRule(), QuadraticRule()):
        assert other.weighted(0.1) is other
