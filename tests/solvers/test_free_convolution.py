import math

import numpy as np
import pytest

from dmft.solvers.free_convolution import FreeConvolution

LAWS = [(0.5, 0.1), (0.5, 1e-3), (1.0, 0.2), (2.0, 0.01), (0.6, 0.3)]


def quadrature(law, function, b=-math.inf, count=400):
    """Return int_b^inf of function; with x = c - h cos(angle) ends of the support are smooth."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    angle, total = (nodes + 1) * math.pi / 2, 0.0
    for low, high in law.support:
        low = max(low, b)
        if low < high:
            half = (high - low) / 2
            x = low + half * (1 - np.cos(angle))
            total += math.pi / 2 * half * np.sum(weights * np.sin(angle) * function(x))
    return total


@pytest.mark.parametrize(("ratio", "variance"), LAWS)
def test_the_density_integrates_to_one_and_has_the_moments_of_the_sum(ratio, variance):
    law = FreeConvolution(ratio, variance)
    moments = [quadrature(law, lambda x, k=k: x**k * law.density(x), count=1000) for k in range(3)]
    assert moments == pytest.approx([1, 1, 1 + 1 / ratio + variance], abs=1e-10)


@pytest.mark.parametrize(("ratio", "variance"), LAWS[:3])
def test_tails_are_the_integrals_of_the_density_and_its_transform(ratio, variance):
    law = FreeConvolution(ratio, variance)
    for share in (0.2, 0.7):
        b = law.upper_quantile(share)
        expected = [
            quadrature(law, law.density, b),
            quadrature(law, lambda x: x * law.density(x), b),
            quadrature(law, lambda x: x**2 * law.density(x), b),
            quadrature(law, lambda x: law.density(x) * law.hilbert(x), b),
            quadrature(law, lambda x: x * law.density(x) * law.hilbert(x), b),
        ]
        assert law.tail(b) == pytest.approx(expected, abs=1e-9)
        assert expected[0] == pytest.approx(share, abs=1e-9)


def test_eigenvalues_of_sampled_matrices():
    seed, d, ratio, variance = 7, 600, 0.4, 0.15
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((d, int(ratio * d)))
    noise = rng.standard_normal((d, d)) / math.sqrt(2 * d)
    sum_of_both = factor @ factor.T / factor.shape[1] + math.sqrt(variance) * (noise + noise.T)
    eigenvalues = np.linalg.eigvalsh(sum_of_both)
    law = FreeConvolution(ratio, variance)
    points = np.linspace(-0.7, 7.0, 12)
    theory = [law.tail(x).mass for x in points]
    sampled = [np.mean(eigenvalues > x) for x in points]
    # eigenvalues repel each other: counts fluctuate by a few out of d
    assert sampled == pytest.approx(theory, abs=4 / d), f"seed {seed}"


def test_without_a_semicircle_it_is_the_marchenko_pastur_law():
    ratio = 2.0
    low, high = (1 - ratio**-0.5) ** 2, (1 + ratio**-0.5) ** 2
    x = np.linspace(low + 0.01, high - 0.01, 7)
    expected = ratio * np.sqrt((x - low) * (high - x)) / (2 * math.pi * x)
    assert FreeConvolution(ratio, 1e-10).density(x) == pytest.approx(expected, rel=1e-6)


def test_a_wide_factor_is_the_identity_and_leaves_the_semicircle():
    variance = 0.3
    x = np.linspace(0.1, 1.9, 7)
    expected = np.sqrt(4 * variance - (x - 1) ** 2) / (2 * math.pi * variance)
    assert FreeConvolution(1e8, variance).density(x) == pytest.approx(expected, rel=1e-6)


def test_the_null_space_has_its_own_interval_where_the_semicircle_is_narrow():
    ratio = 0.3
    (low, left), (right, high) = FreeConvolution(ratio, 1e-4).support
    law = FreeConvolution(ratio, 1e-4)
    assert law.tail((left + right) / 2).mass == pytest.approx(ratio, abs=1e-13)
    assert law.tail(low - 1).mass == 1.0
    assert law.tail(high).mass == 0.0
    assert np.all(law.density([low - 0.1, (left + right) / 2, high + 0.1]) == 0)


@pytest.mark.parametrize(("ratio", "variance"), [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
def test_bad_input(ratio, variance):
    with pytest.raises(ValueError, match="must be positive and finite"):
        FreeConvolution(ratio, variance)
