"""Split weighted paths into their mean response to independent normals and a rest.

A quantity theta of a path depends on normals z, of mean response L = E d theta/d z in each of A
groups ("strata") of paths:

    theta = L z + rest,      E theta = E rest,      E theta theta' = L . L' + E rest rest'.

The vector of theta holds sigma, the rests times the roots of their weights, and L times the roots
of the strata's probabilities, one normal after the other: products of two such vectors are E theta
theta' + sigma^2.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy")
def split(theta, linear, normals, weights, probabilities, sigma, vector, rest):  # pragma: no cover
    """Set the vectors of S systems, and their rests.

    Parameters
    ----------
    theta : ndarray, shape (S, A, n)
    linear : ndarray, shape (S, A, D)
        L.
    normals : ndarray, shape (S, D', n)
        z; D' >= D.
    weights : ndarray, shape (S, n)
    probabilities : ndarray, shape (A,)
    sigma : float
    vector : ndarray, shape (S, 1 + A n + A D)
    rest : ndarray, shape (S, A, n)

    Examples
    --------
    >>> theta, z = np.array([[[3.0, -1.0]]]), np.array([[[1.0, -1.0]]])
    >>> vector, rest = np.empty((1, 4)), np.empty((1, 1, 2))
    >>> half = np.array([[0.5, 0.5]])
    >>> split(theta, np.array([[[2.0]]]), z, half, np.ones(1), 0.0, vector, rest)
    >>> rest.tolist(), float(vector[0] @ vector[0])  # E theta^2 = (9 + 1)/2
    ([[[1.0, 1.0]]], 5.0)
    """
    systems, strata, paths = theta.shape
    used = linear.shape[2]
    for s in range(systems):
        vector[s, 0] = sigma
        for a in range(strata):
            own = rest[s, a]
            own[:] = theta[s, a]
            for c in range(used):
                factor = linear[s, a, c]
                z = normals[s, c]
                for i in range(paths):
                    own[i] -= factor * z[i]
            first = 1 + a * paths
            for i in range(paths):
                vector[s, first + i] = np.sqrt(probabilities[a] * weights[s, i]) * own[i]
            root = np.sqrt(probabilities[a])
            first = 1 + strata * paths + a
            for c in range(used):
                vector[s, first + c * strata] = root * linear[s, a, c]


def compile_functions() -> None:
    """Load or compile the split.

    Examples
    --------
    >>> compile_functions()
    """
    three, two = np.ones((1, 1, 1)), np.ones((1, 1))
    split(three, three, three, two, np.ones(1), 0.0, np.empty((1, 3)), np.empty((1, 1, 1)))
