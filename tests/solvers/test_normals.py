"""Normal vectors for averages: exact for quadratic functions, unbiased, fast for smooth ones."""

import math

import numpy as np
import pytest

from dmft.solvers.normals import LEAST, NODES, node_normals


@pytest.mark.parametrize(("doublings", "nodes"), [(0, NODES), (2, NODES), (4, 2 * NODES)])
def test_quadratic_functions_are_exact_around_every_node(doublings, nodes):
    """With coefficients that depend on the first direction."""
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(50, 20)))[0]
    count = LEAST * 2**doublings
    z, weights = node_normals(count, 50, directions, rng)
    along = z @ directions
    around = count // nodes
    balanced = 1 + min(19, around // 2)
    for node in np.split(along, nodes):
        assert np.ptp(node[:, 0]) < 1e-12
        signs = node[:, 1:balanced]
        np.testing.assert_allclose(signs.sum(axis=0), 0.0, atol=1e-12)
        np.testing.assert_allclose(signs.T @ signs / around, np.eye(balanced - 1), atol=1e-12)
    assert weights.sum() == pytest.approx(1.0)
    for power, moment in ((1, 0.0), (2, 1.0), (4, 3.0)):  # what is left out carries 2 % of the last
        assert weights @ along[:, 0] ** power == pytest.approx(moment, abs=0.06)


def test_average_of_an_exponential_is_unbiased():
    """E exp(a . z) = exp(|a|^2/2), with a steep first direction and many weak ones."""
    rng = np.random.default_rng(5)
    a = np.concatenate([[1.0], 0.1 * rng.normal(size=30)])
    values = []
    for _ in range(200):
        z, weights = node_normals(2 * LEAST, 31, None, rng)
        values.append(weights @ np.exp(z @ a))
    error = np.std(values) / math.sqrt(len(values))
    exact = math.exp(0.5 * a @ a)
    # signs in place of normals leave out sum a_j^4/12 of the logarithm, 4e-4 here
    assert abs(np.mean(values) - exact) < 4.0 * error + 1e-3 * exact
    assert error < 0.01 * exact


@pytest.mark.parametrize(("sized", "fourth"), [(0, 1.0), (3, 3.0), (None, 3.0)])
def test_sized_directions_have_the_fourth_moment_of_normals(sized, fourth):
    rng = np.random.default_rng(8)
    directions = np.linalg.qr(rng.normal(size=(30, 8)))[0]
    found = np.zeros(7)
    for _ in range(100):
        z, weights = node_normals(16 * LEAST, 30, directions, rng, sized)
        found += weights @ (z @ directions)[:, 1:] ** 4 / 100
    np.testing.assert_allclose(found[:3], fourth, rtol=0.06)
    # four pairs of columns at each node are balanced; the others are signs along all of z
    last = 3.0 if sized is None else 1.0
    np.testing.assert_allclose(found[3:7], last, rtol=0.06)


@pytest.mark.parametrize("count", [LEAST // 2, LEAST + 8])
def test_other_counts_are_refused(count):
    with pytest.raises(
        ValueError, match=f"count must be {LEAST} times a power of two; got {count}"
    ):
        node_normals(count, 3, None, np.random.default_rng(0))
