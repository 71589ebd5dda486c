"""Square roots of covariances against eigenvalue decompositions."""

import numpy as np
import pytest

from dmft.solvers.principal_modes import square_root

T = np.linspace(0.05, 1.0, 40)
COVARIANCES = {
    "Brownian motion": np.minimum.outer(T, T),
    "analytic": np.exp(-(np.subtract.outer(T, T) ** 2)),
    "rank one": np.outer(T, T),
    "unit": np.eye(40),
    "wide range": np.outer(np.exp(20 * T), np.exp(20 * T)) * np.minimum.outer(T, T),
}


ONE = np.ones(40)


@pytest.mark.parametrize("covariance", COVARIANCES.values(), ids=COVARIANCES)
def test_principal_modes_of_a_covariance(covariance):
    modes = square_root(covariance, ONE, 1e-15)
    largest = np.max(np.abs(covariance))
    np.testing.assert_allclose(modes @ modes.T, covariance, atol=1e-13 * largest)
    gram = modes.T @ modes
    values = np.linalg.eigvalsh(covariance)[::-1]
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-13 * values[0])
    np.testing.assert_allclose(np.diag(gram), values[: len(gram)], atol=1e-13 * values[0])


def test_modes_are_orthogonal_in_the_weighted_inner_product():
    covariance, weights = COVARIANCES["Brownian motion"], np.exp(3 * T)
    modes = square_root(covariance, weights, 1e-15)
    np.testing.assert_allclose(modes @ modes.T, covariance, atol=1e-13)
    gram = (modes.T * weights) @ modes
    metric = np.sqrt(weights)
    values = np.linalg.eigvalsh(metric[:, None] * covariance * metric)[::-1]
    np.testing.assert_allclose(gram, np.diag(values[: len(gram)]), atol=1e-13 * values[0])


def test_few_modes_suffice_for_an_analytic_covariance():
    assert square_root(COVARIANCES["analytic"], ONE, 1e-15).shape[1] < 15
    assert square_root(COVARIANCES["analytic"], ONE, 1e-3).shape[1] < 5
    assert square_root(COVARIANCES["rank one"], ONE, 1e-15).shape == (40, 1)


@pytest.mark.parametrize("unit", [1.0, 1e-3])
def test_what_is_negligible_everywhere_is_left_out(unit):
    covariance = COVARIANCES["analytic"] * np.outer(T, T) ** 3
    short = square_root(covariance, ONE, 1e-15, 1e-3, unit)
    allowed = 1e-6 * (unit**2 + np.diag(covariance))
    assert np.all(np.diag(covariance - short @ short.T) < allowed)
    shorter = short[:, :-1]
    assert np.any(np.diag(covariance - shorter @ shorter.T) > allowed)
    assert short.shape[1] < square_root(covariance, ONE, 1e-15).shape[1]


def test_no_covariance_has_no_modes():
    assert square_root(np.zeros((5, 5)), ONE[:5], 1e-15).shape == (5, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_modes_of_a_covariance_that_is_not_finite(bad):
    covariance = np.eye(4)
    covariance[2, 2] = bad
    assert np.all(np.isnan(square_root(covariance, ONE[:4], 1e-15)))
