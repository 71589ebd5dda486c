import numpy as np
import pytest
from scipy.optimize import nnls

from dmft.solvers.sign_constrained import least_norm_on_face, sign_constrained_least_squares


def problem(seed, n, m):
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 0.0, 1.0], size=m, p=[0.4, 0.2, 0.4])
    return rng.standard_normal((n, m)), rng.standard_normal(n), signs


def reference(A, b, signs):
    free = np.flatnonzero(signs)
    weights = np.zeros(A.shape[1])
    weights[free] = signs[free] * nnls(A[:, free] * signs[free], b)[0]
    return weights


@pytest.mark.parametrize("seed", range(12))
def test_agrees_with_nonnegative_least_squares(seed):
    n, m = [(12, 5), (12, 12), (6, 15), (40, 60), (60, 30)][seed % 5]
    A, b, signs = problem(seed, n, m)
    solution = sign_constrained_least_squares(A, b, signs)
    expected = reference(A, b, signs)
    assert solution.converged
    np.testing.assert_allclose(solution.residual, b - A @ expected, atol=1e-12)
    if m <= n:
        np.testing.assert_allclose(solution.weights, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_optimality_conditions_hold(seed):
    A, b, signs = problem(seed, 20, 35)
    solution = sign_constrained_least_squares(A, b, signs)
    w, support = solution.weights, solution.support.columns
    exact = A.T @ (b - A @ w)
    assert np.all(w * signs >= 0)
    assert set(np.flatnonzero(w)) == set(support)
    assert np.all(solution.descent[support] == 0)
    np.testing.assert_allclose(solution.descent, exact, atol=1e-11)
    assert np.all(signs * solution.descent <= 0)


def test_warm_start_gives_the_solution_of_a_cold_start():
    A, b, signs = problem(3, 30, 25)
    rng = np.random.default_rng(0)
    solution = sign_constrained_least_squares(A, b, signs)
    for _ in range(40):
        signs = signs.copy()
        signs[rng.integers(25, size=3)] = rng.choice([-1.0, 0.0, 1.0], size=3)
        solution = sign_constrained_least_squares(A, b, signs, solution)
        cold = sign_constrained_least_squares(A, b, signs)
        np.testing.assert_allclose(solution.weights, cold.weights, atol=1e-12)
        columns, Q, R = solution.support
        np.testing.assert_allclose(Q @ R, A[:, columns], atol=1e-12)
        np.testing.assert_allclose(Q.T @ Q, np.eye(columns.size), atol=1e-12)


def test_no_permitted_sign_leaves_the_weights_at_zero():
    A, b, _ = problem(1, 4, 3)
    solution = sign_constrained_least_squares(A, b, np.zeros(3))
    assert solution.converged
    np.testing.assert_array_equal(solution.weights, 0)
    np.testing.assert_allclose(solution.descent, A.T @ b, atol=1e-14)


def test_dependent_columns_never_share_the_support():
    rng = np.random.default_rng(2)
    B = rng.standard_normal((10, 3))
    A = np.hstack([B, -B, 2 * B, np.zeros((10, 1)), B @ rng.standard_normal((3, 4))])
    b = rng.standard_normal(10)
    solution = sign_constrained_least_squares(A, b, np.ones(A.shape[1]))
    assert solution.converged
    assert solution.support.columns.size <= 3
    np.testing.assert_allclose(
        solution.residual, b - A @ reference(A, b, np.ones(A.shape[1])), atol=1e-12
    )


def test_pivots_are_capped():
    A, b, signs = problem(4, 30, 30)
    assert not sign_constrained_least_squares(A, b, signs, max_pivots=2).converged


def test_unique_minimiser_has_no_face():
    A, b, signs = problem(5, 20, 10)
    assert least_norm_on_face(A, sign_constrained_least_squares(A, b, signs), signs) is None


@pytest.mark.parametrize("seed", range(10))
def test_least_norm_on_the_face(seed):
    # The minimiser of |A w - b|^2 + e^2 |w|^2 of the same signs tends to it like e^2.
    A, _, signs = problem(seed, 6, 14)
    b = A @ (signs * np.abs(np.random.default_rng(seed + 100).standard_normal(14)))
    weights = least_norm_on_face(A, sign_constrained_least_squares(A, b, signs), signs)
    regular = reference(np.vstack([A, 1e-5 * np.eye(14)]), np.append(b, np.zeros(14)), signs)
    np.testing.assert_allclose(A @ weights, b, atol=1e-10)
    np.testing.assert_allclose(weights, regular, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_nearly_dependent_columns_keep_the_factors_and_the_conditions_accurate(seed):
    A = 1 / (1.0 + np.arange(20)[:, None] + np.arange(25))  # Hilbert: condition beyond 1e16
    rng = np.random.default_rng(seed)
    b = rng.standard_normal(20)
    signs = rng.choice([-1.0, 1.0], size=25)
    solution = sign_constrained_least_squares(A, b, signs)
    columns, Q, _ = solution.support
    assert solution.converged
    assert columns.size > 4
    np.testing.assert_allclose(Q.T @ Q, np.eye(columns.size), atol=1e-13)
    assert np.all(solution.descent[columns] == 0)
    scale = np.linalg.norm(b) + np.abs(solution.weights) @ np.linalg.norm(A, axis=0)
    assert np.all(np.abs(A[:, columns].T @ solution.residual) < 1e-14 * scale)
