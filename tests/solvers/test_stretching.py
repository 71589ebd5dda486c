"""The stretched leading coordinate: inversion, and quadrature over sharp thresholds."""

import numpy as np
import pytest
from scipy.special import ndtr

from dmft.equations.noise_rules import SparseRule
from dmft.solvers.stretching import place, stretched
from dmft.solvers.thresholds import Thresholds

CASES = [
    (np.array([-0.8, 0.8]), 0.02),
    (np.array([-2.3, -0.7]), 1e-6),
    (np.array([0.1, 7.5]), 0.3),
    (np.array([1.0]), 1e-10),
]


def coordinate(z, positions, width):
    """x(z) and dx/dz of an array."""
    return np.array([stretched(one, positions, width) for one in z]).T


def placed(nodes, thresholds, guess=0.0):
    """Nodes with x turned into z_0, and the factors of their weights."""
    z = nodes.copy()
    z[:, 0] = guess
    return z, place(nodes, thresholds, z)


@pytest.mark.parametrize("guess", [0.0, 1e3, -2.5])
@pytest.mark.parametrize(("positions", "width"), CASES)
def test_the_coordinate_and_its_inverse(positions, width, guess):
    z = np.concatenate([np.linspace(-7, 7, 201), positions, positions + width])
    x, slope = coordinate(z, positions, width)
    assert stretched(0.0, positions, width)[0] == pytest.approx(0.0, abs=1e-14)
    assert np.all(slope >= 1.0)
    back, factors = placed(x[:, None], Thresholds(positions, np.zeros(0), width), guess)
    np.testing.assert_allclose(back[:, 0], z, atol=1e-11)
    again, found = coordinate(back[:, 0], positions, width)
    np.testing.assert_allclose(again, x, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(factors, np.exp(-0.5 * back[:, 0] ** 2) / found, rtol=1e-12)


def test_the_order_of_thresholds_does_not_matter():
    nodes = np.linspace(-20.0, 20.0, 50)[:, None]
    one, other = (
        placed(nodes, Thresholds(np.array(positions), np.zeros(0), 1e-3))
        for positions in ((-0.4, 1.1, 0.2), (1.1, 0.2, -0.4))
    )
    np.testing.assert_allclose(one[0], other[0], atol=1e-12)


def test_placed_nodes_lie_at_their_stretched_coordinates():
    thresholds = Thresholds(np.array([-0.4, 1.1]), np.array([0.3, -0.2]), 1e-3)
    rng = np.random.default_rng(0)
    nodes = np.column_stack([rng.uniform(-9, 9, 50), rng.standard_normal((50, 2))])
    z, factors = placed(nodes, thresholds)
    np.testing.assert_array_equal(z[:, 1:], nodes[:, 1:])
    for (x, *rest), (leading, *_), factor in zip(nodes, z, factors, strict=True):
        seen = thresholds.positions - np.dot(rest, thresholds.slope)
        found, slope = stretched(leading, seen, thresholds.width)
        assert found == pytest.approx(x, abs=1e-9)
        assert factor == pytest.approx(np.exp(-0.5 * leading**2) / slope, rel=1e-9)


@pytest.mark.parametrize(("positions", "width"), CASES)
def test_the_slope_is_the_derivative(positions, width):
    z = np.linspace(-3.0, 3.0, 37) + 0.01
    step = 1e-3 * np.minimum(1.0, np.abs(z[:, None] - positions).min(axis=1))
    up, down = (coordinate(z + s * step, positions, width)[0] for s in (1, -1))
    _, slope = coordinate(z, positions, width)
    np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-4)


def moved(rule, thresholds, scales):
    nodes, weights, *_ = rule.nodes(scales, thresholds)
    z, factors = placed(nodes, thresholds)
    return z, weights * factors / np.sum(weights * factors)


@pytest.mark.parametrize("width", [0.1, 1e-3, 1e-6])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_soft_thresholds_of_any_width_are_resolved(width, offset):
    # width E log(1 + exp((z - a)/width)), which is near E max(z - a, 0), and its derivative
    a = 0.7
    thresholds = Thresholds(np.array([-a, a]), np.zeros(0), width)
    z, weights = moved(SparseRule(0.5, np.inf, offset), thresholds, np.ones(1))
    fine = np.linspace(-9.0, 9.0, 4_000_001)
    density = np.exp(-0.5 * fine**2)
    values = width * np.logaddexp(0.0, (fine - a) / width)
    exact = density @ values / density.sum()
    found = weights @ (width * np.logaddexp(0.0, (z[:, 0] - a) / width))
    assert found == pytest.approx(exact, rel=2e-6)
    step = 1.0 / (1.0 + np.exp(np.clip((a - fine) / width, -700, 700)))
    smooth = 1.0 / (1.0 + np.exp(np.clip((a - z[:, 0]) / width, -700, 700)))
    assert weights @ smooth == pytest.approx(density @ step / density.sum(), rel=2e-5)


def test_nodes_grow_with_the_logarithm_of_the_width():
    counts = []
    for width in (1e-2, 1e-4, 1e-6, 1e-8):
        thresholds = Thresholds(np.array([-1.0, 1.0]), np.zeros(0), width)
        counts.append(len(SparseRule(0.5, np.inf).nodes(np.ones(1), thresholds).z))
    growth = np.diff(counts)
    assert np.all(np.abs(growth - growth[0]) <= 4)
    assert counts[-1] < 4 * counts[0]


def test_thresholds_seen_from_other_modes():
    # a step at z_0 + 0.3 z_1 = 0.5: its mean is that of one Gaussian of variance 1 + 0.3^2
    thresholds = Thresholds(np.array([0.5]), np.array([0.3]), 1e-4)
    z, weights = moved(SparseRule(0.25, 1e-12, max_modes=2), thresholds, np.array([1.0, 0.5]))
    assert z.shape[1] == 2
    value = z[:, 0] + 0.3 * z[:, 1] - 0.5
    smooth = 1.0 / (1.0 + np.exp(np.clip(-value / 1e-4, -700, 700)))
    assert weights @ smooth == pytest.approx(ndtr(-0.5 / np.sqrt(1.09)), abs=1e-5)


def test_averages_vary_smoothly_with_the_thresholds():
    # a fixed rule moves by whole nodes here, in steps of weight 0.02
    values = []
    for a in np.linspace(0.5, 0.5 + 1e-4, 9):
        thresholds = Thresholds(np.array([a]), np.zeros(0), 1e-5)
        z, weights = moved(SparseRule(0.5, np.inf), thresholds, np.ones(1))
        values.append(weights @ (1.0 / (1.0 + np.exp(np.clip((a - z[:, 0]) / 1e-5, -700, 700)))))
    slope = np.diff(values) / (1e-4 / 8)
    np.testing.assert_allclose(slope, -np.exp(-0.125) / np.sqrt(2 * np.pi), rtol=2e-3)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_every_point_of_the_other_modes_covers_the_whole_gaussian(offset):
    # thresholds at +-.04, 5 widths away, that the second mode moves beyond themselves
    thresholds = Thresholds(np.array([-0.04, 0.04]), np.array([0.7]), 0.0076)
    rule = SparseRule(0.25, 1e-3, offset)
    nodes, weights, _, point, mass = rule.nodes(np.array([1.0, 0.6]), thresholds)
    z, factors = placed(nodes, thresholds)
    assert mass.size > 5
    for q, share in enumerate(mass):
        here = point == q
        assert np.all(np.diff(np.sort(z[here, 0])) <= 0.25 * (1 + 1e-9))
        assert -6.75 <= z[here, 0].min() < -6.5
        assert 6.5 < z[here, 0].max() <= 6.75
        assert (weights * factors)[here].sum() == pytest.approx(share, rel=1e-9)


def test_soft_thresholds_under_a_second_mode_of_the_same_size():
    # E max(|y| - a, 0)^2 of y = z_0 + .7 z_1: (v + a^2) P(|y| > a) - 2 a sqrt(v) f(a/sqrt(v))
    a, variance = 0.04, 1.49
    thresholds = Thresholds(np.array([-a, a]), np.array([0.7]), 0.0076)
    z, weights = moved(SparseRule(0.2, 1e-4), thresholds, np.array([1.0, 0.7]))
    found = weights @ np.maximum(np.abs(z[:, 0] + 0.7 * z[:, 1]) - a, 0.0) ** 2
    gap = a / np.sqrt(variance)
    density = np.exp(-0.5 * gap**2) / np.sqrt(2 * np.pi)
    exact = 2 * ((variance + a**2) * ndtr(-gap) - a * np.sqrt(variance) * density)
    assert found == pytest.approx(exact, rel=2e-4)
