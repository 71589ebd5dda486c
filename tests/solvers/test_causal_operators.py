"""Products and inverses of causal operators against dense linear algebra."""

import numpy as np
import pytest

from dmft.solvers.causal_operators import feedback, filtered, padded

SHAPES = [(1, 2), (3, 2), (5, 4), (9, 5), (7, 6), (17, 6), (4, 7), (11, 8), (16, 9)]


def causal(panels, stages, seed):
    """A random block-lower-triangular matrix."""
    blocks = np.kron(np.tril(np.ones((panels, panels))), np.ones((stages, stages)))
    matrix = np.random.default_rng(seed).standard_normal(blocks.shape)
    return blocks * matrix / len(blocks)


def covariance(size):
    root = np.random.default_rng(9).standard_normal((size, size))
    return root @ root.T


def close(found, exact):
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))


@pytest.mark.parametrize(("panels", "stages"), SHAPES)
def test_feedback_and_filter_are_dense_linear_algebra(panels, stages):
    A, S = causal(panels, stages, 0), causal(panels, stages, 1)
    size = panels * stages
    C = covariance(size + 1)
    R = np.linalg.inv(np.eye(size) + 2.5 * A @ S)
    response, variances = feedback(A, padded(S), 2.5, C, stages)
    close(response[:size, :size].T, R)
    assert not np.any(response[size:])
    assert not np.any(response[:, size:])
    assert variances[0] == C[0, 0]
    close(variances[1:], np.diag(R @ C[1:, 1:] @ R.T))
    K, square = filtered(response, padded(S.T), 0.3, C, stages)
    close(K[:size, :size].T, S @ R)
    close(square, 0.3 * S @ R @ C[1:, 1:] @ (S @ R).T)
    np.testing.assert_array_equal(square, square.T)


def test_what_the_inverse_takes_over_is_causal():
    A, S = causal(5, 4, 0), causal(5, 4, 1)
    response, _ = feedback(A, padded(S), 1.0, np.eye(21), 4)
    panel = np.repeat(np.arange(5), 4)
    assert not np.any(response[:20, :20].T[panel[:, None] < panel])


def test_blocks_on_the_diagonal_are_inverted_with_pivots():
    A = np.array([[-1.0, 2.0], [3.0, -1.0]])
    response, _ = feedback(A, padded(np.eye(2)), 1.0, np.eye(3), 2)
    close(response[:2, :2].T, [[0.0, 1 / 3], [0.5, 0.0]])


def test_a_singular_matrix_has_no_finite_inverse():
    response, variances = feedback(-np.eye(4), padded(np.eye(4)), 1.0, np.eye(5), 2)
    assert not np.all(np.isfinite(response))
    assert not np.all(np.isfinite(variances))
