"""Gauss rules of discrete measures: moments, known polynomials, optimality."""

from math import comb

import numpy as np
import pytest

from dmft.solvers.gaussian_rules import gauss_rule


def random_measure(size, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-2.0, 3.0, size), rng.uniform(0.1, 1.0, size)


@pytest.mark.parametrize("size", [30, 3000])
@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_moments_to_degree_2n_minus_1_and_no_further(size, count):
    points, masses = random_measure(size)
    nodes, weights = gauss_rule(points, masses, count)
    assert nodes.shape == weights.shape == (count,)
    assert np.all(weights > 0)
    assert np.all(np.diff(nodes) > 0)
    assert points.min() < nodes[0]
    assert nodes[-1] < points.max()
    legendre = np.polynomial.legendre.legvander  # well-scaled powers on [-2, 3]
    degree = 2 * count
    exact = masses @ legendre((points - 0.5) / 2.5, degree)
    found = weights @ legendre((nodes - 0.5) / 2.5, degree)
    np.testing.assert_allclose(found[:-1], exact[:-1], atol=1e-11 * masses.sum())
    assert abs(found[-1] - exact[-1]) > 1e-6 * masses.sum()


def test_one_node_is_the_mean():
    nodes, weights = gauss_rule(np.array([0.0, 1.0, 4.0]), np.array([1.0, 2.0, 1.0]), 1)
    np.testing.assert_allclose(nodes, 1.5)
    np.testing.assert_allclose(weights, 4.0)


def test_as_many_nodes_as_atoms_are_the_atoms():
    points = np.array([2.0, -1.0, 0.5, 7.0])
    masses = np.array([0.1, 0.4, 0.2, 0.3])
    nodes, weights = gauss_rule(points, masses, 4)
    order = np.argsort(points)
    np.testing.assert_allclose(nodes, points[order], atol=1e-13)
    np.testing.assert_allclose(weights, masses[order], rtol=1e-11)


def test_many_equal_atoms_approach_gauss_legendre():
    points = (np.arange(20000) + 0.5) / 10000 - 1
    nodes, weights = gauss_rule(points, np.full(20000, 1e-4), 6)
    expected = np.polynomial.legendre.leggauss(6)
    np.testing.assert_allclose(nodes, expected[0], atol=1e-7)
    np.testing.assert_allclose(weights, expected[1], atol=1e-7)


def test_binomial_measure_has_krawtchouk_nodes():
    # K_2(x) = 0 for Binomial(n, 1/2): x = (n +- sqrt n)/2, equal weights
    n = 9
    points = np.arange(n + 1.0)
    masses = np.array([comb(n, k) for k in range(n + 1)]) / 2.0**n
    nodes, weights = gauss_rule(points, masses, 2)
    np.testing.assert_allclose(nodes, [3.0, 6.0], rtol=1e-12)
    np.testing.assert_allclose(weights, 0.5, rtol=1e-12)


def test_shift_and_scale():
    points, masses = random_measure(40, seed=3)
    nodes, weights = gauss_rule(points, masses, 5)
    moved, moved_weights = gauss_rule(1e6 + 1e-3 * points, 7 * masses, 5)
    np.testing.assert_allclose((moved - 1e6) / 1e-3, nodes, atol=1e-5)
    np.testing.assert_allclose(moved_weights, 7 * weights, rtol=1e-6)
