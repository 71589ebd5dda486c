"""Coordinates in a growing basis: their products are those of the vectors."""

import numpy as np

from dmft.solvers.growing_basis import GrowingBasis


def factor_of(vectors):
    """Return F (S, K, K) of vectors (S, K, W) that are taken one after the other."""
    systems, count, width = vectors.shape
    basis, factor, used = GrowingBasis(systems, count, width), np.zeros((systems, count, count)), 0
    for k in range(count):
        known, new = basis.add(vectors[:, k])
        factor[:, k, :used] = known
        if new is not None:
            factor[:, k, used] = new
            used += 1
    return factor, used


def test_nearly_dependent_vectors_keep_their_products():
    """A smooth family, whose Gram matrix has eigenvalues down to rounding."""
    x = np.linspace(0.0, 1.0, 200)
    rates = np.linspace(0.0, 3.0, 40)
    vectors = np.stack([np.exp(-np.outer(rates, x)), np.cos(np.outer(rates, x))])
    factor, used = factor_of(vectors)
    assert used < 25
    gram = vectors @ np.swapaxes(vectors, 1, 2)
    np.testing.assert_allclose(factor @ np.swapaxes(factor, 1, 2), gram, rtol=1e-13)
    # small differences of vectors keep their relative accuracy
    step = np.diff(vectors, 4, axis=1)
    found = np.diff(factor, 4, axis=1)
    exact = np.linalg.norm(step, axis=2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), exact, rtol=1e-3)


def test_vectors_may_grow_longer():
    rng = np.random.default_rng(0)
    vectors = np.tril(rng.normal(size=(6, 6)))[None]
    basis = GrowingBasis(1, 6, 6)
    rows = []
    for k in range(6):
        known, new = basis.add(vectors[:, k, : k + 1])
        rows.append(np.append(known, new))
    gram = [[rows[i] @ np.pad(rows[j], (0, i - j)) for j in range(i + 1)] for i in range(6)]
    for i in range(6):
        np.testing.assert_allclose(gram[i], (vectors @ np.swapaxes(vectors, 1, 2))[0, i, : i + 1])
