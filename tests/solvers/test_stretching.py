"""The stretched leading coordinate: inversion, and quadrature over sharp thresholds."""

import numpy as np
import pytest
from scipy.special import ndtr

from solvers.noise_rules import SparseRule
from solvers.stretching import Thresholds, placed, stretched, unstretched

CASES = [
    (np.array([-0.8, 0.8]), 0.02),
    (np.array([-2.3, -0.7]), 1e-6),
    (np.array([0.1, 7.5]), 0.3),
    (np.array([1.0]), 1e-10),
]


@pytest.mark.parametrize(("positions", "width"), CASES)
def test_the_coordinate_and_its_inverse(positions, width):
    z = np.concatenate([np.linspace(-7, 7, 201), positions, positions + width])
    x, slope = stretched(z, positions, width)
    assert stretched(np.zeros(1), positions, width)[0] == pytest.approx([0.0], abs=1e-14)
    assert np.all(slope >= 1.0)
    back, found = unstretched(x, positions, width)
    np.testing.assert_allclose(back, z, atol=1e-11)
    np.testing.assert_allclose(stretched(back, positions, width)[0], x, rtol=1e-9, atol=1e-9)
    assert np.all(found >= 1.0)


def test_placed_nodes_lie_at_their_stretched_coordinates():
    thresholds = Thresholds(np.array([-0.4, 1.1]), np.array([0.3, -0.2]), 1e-3)
    rng = np.random.default_rng(0)
    nodes = np.column_stack([rng.uniform(-9, 9, 50), rng.standard_normal((50, 2))])
    z, factors = placed(nodes, thresholds)
    np.testing.assert_array_equal(z[:, 1:], nodes[:, 1:])
    for (x, *rest), (leading, *_), factor in zip(nodes, z, factors, strict=True):
        seen = thresholds.positions - np.dot(rest, thresholds.slope)
        found, slope = stretched(np.array([leading]), seen, thresholds.width)
        assert found == pytest.approx([x], abs=1e-9)
        assert factor == pytest.approx(np.exp(-0.5 * leading**2) / slope[0], rel=1e-9)


@pytest.mark.parametrize(("positions", "width"), CASES)
def test_the_slope_is_the_derivative(positions, width):
    z = np.linspace(-3.0, 3.0, 37) + 0.01
    step = 1e-3 * np.minimum(1.0, np.abs(z[:, None] - positions).min(axis=1))
    up, down = (stretched(z + s * step, positions, width)[0] for s in (1, -1))
    _, slope = stretched(z, positions, width)
    np.testing.assert_allclose((up - down) / (2 * step), slope, rtol=1e-4)


def moved(rule, thresholds, scales):
    nodes, weights = rule.nodes(scales, thresholds)
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
        counts.append(len(SparseRule(0.5, np.inf).nodes(np.ones(1), thresholds)[0]))
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
