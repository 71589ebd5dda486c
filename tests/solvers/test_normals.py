"""Normal vectors with exact quadratic averages."""

import numpy as np
import pytest

from dmft.solvers.normals import matched_normals, quadratic_normals


@pytest.mark.parametrize("dimension", [1, 3, 8, 13])
def test_signs_average_quadratic_functions_exactly(dimension):
    z = quadratic_normals(dimension)
    assert len(z) % 8 == 0
    np.testing.assert_array_equal(z.sum(axis=0), 0.0)
    np.testing.assert_array_equal(z.T @ z, len(z) * np.eye(dimension))


def test_leading_directions_have_exact_second_moments():
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.normal(size=(50, 5)))[0]
    z = matched_normals(64, 50, directions, rng)
    np.testing.assert_allclose(z.sum(axis=0), 0.0, atol=1e-12)
    along = z @ directions
    np.testing.assert_allclose(along.T @ along / 64, np.eye(5), atol=1e-12)
    # the other directions do not mix with them
    across = z - along @ directions.T
    np.testing.assert_allclose(along.T @ across, 0.0, atol=1e-11)
    assert 0.7 < np.mean(across**2) * 50 / 45 < 1.3


def test_all_second_moments_are_exact_with_enough_points():
    z = matched_normals(128, 9, None, np.random.default_rng(2))
    np.testing.assert_allclose(z.T @ z / 128, np.eye(9), atol=1e-12)


def test_points_are_normal():
    draws = [matched_normals(64, 20, None, np.random.default_rng([5, s])) for s in range(200)]
    z = np.concatenate(draws)
    # unit vectors of 32 pairs, stretched: fourth moments are 3 n/(n + 2) for n = 32
    assert abs(np.mean(z[:, :16] ** 4) - 3.0 * 32 / 34) < 0.15
    assert abs(np.mean(z[:, 16:] ** 2) - 1.0) < 0.03
    assert 3.0 < np.mean(z[:, 16:] ** 4) < 3.5  # rows differ in what is left
