"""Matrices at t = 0 whose spectra are those of the limit: what is random is their orientation.

Observables of sampled matrices of size N fluctuate by 1/N. Here the eigenvalues of Z(0) and Z* are
the means of equal parts of their limiting laws, with the first two moments of these, and the
eigenvectors are turned until five mixed moments are those of free matrices. Both the spread over
samples and the dependence on N shrink.
"""

from __future__ import annotations

import math

import numpy as np


def wishart_eigenvalues(size: int, ratio: float) -> np.ndarray:
    """Return eigenvalues of a normalised Wishart matrix in the limit, shape (size,), descending.

    Each is the mean of an equal part of the law; the part that holds the last share above the mass
    1 - ratio at zero, if it is not a whole one, counts by that share.

    Parameters
    ----------
    size : int
        N.
    ratio : float
        Columns over rows of its factor; > 0.

    Returns
    -------
    ndarray, shape (size,)
        With mean 1 and, if more than one is not zero, mean square 1 + 1/ratio.

    Examples
    --------
    >>> values = wishart_eigenvalues(40, 0.49)
    >>> float(round(values.mean(), 12)), float(round((values**2).mean() - 1 / 0.49, 12))
    (1.0, 1.0)
    """
    count, share = min(size, math.ceil(ratio * size - 1e-9)), min(ratio, 1.0)
    low, high = (1 - ratio**-0.5) ** 2, (1 + ratio**-0.5) ** 2
    angle = np.linspace(0, math.pi, 4001)[1:-1]
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angle)  # descending
    density = np.sin(angle) ** 2 / x
    mass, first = (np.concatenate([[0], np.cumsum(f)]) for f in (density, x * density))
    edges = np.minimum(np.arange(count + 1) / (share * size), 1.0) * mass[-1]
    values = np.zeros(size)
    values[:count] = np.diff(np.interp(edges, mass, first))
    values *= size / values.sum()
    return _with_mean_square(values, 1 + 1 / ratio)


def _with_mean_square(values: np.ndarray, target: float) -> np.ndarray:
    """Return v (1 + e (v - q)) with the given mean square and the mean that v has."""
    first, second = values.mean(), np.mean(values**2)
    change = values * (values - second / first)
    slope, curvature = 2 * np.mean(values * change), np.mean(change**2)
    if slope < 1e-12 * second:  # one value, or equal ones
        return values
    missing = target - second
    root = math.sqrt(max(slope**2 + 4 * curvature * missing, 0.0))
    return values + change * (2 * missing / (slope + root))


def free_rotation(s: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random rotation U that makes U diag(s) U^T free of diag(z) in low moments.

    With S = U diag(s) U^T and T = diag(z), Newton steps along the gradients of the moments bring
    Tr(S T), Tr(S^2 T), Tr(S T^2), Tr(S T S T) and Tr(S^2 T^2), over N, to their values for free
    matrices (Voiculescu).

    Parameters
    ----------
    s, z : ndarray, shape (N,)
        Eigenvalues.
    rng : Generator

    Returns
    -------
    ndarray, shape (N, N)
    """
    from scipy.linalg import expm

    size, T = len(s), np.diag(z)
    q, r = np.linalg.qr(rng.standard_normal((size, 2 * size)).view(complex))
    U = q * (np.diag(r) / np.abs(np.diag(r)))
    (s1, s2), (z1, z2) = ((v.mean(), np.mean(v**2)) for v in (s, z))
    target = [s1 * z1, s2 * z1, s1 * z2, s2 * z1**2 + s1**2 * (z2 - z1**2), s2 * z2]
    for _ in range(8):
        S: np.ndarray = (U * s) @ U.conj().T
        ST, TT = S @ T, T @ T
        moments = [np.trace(M).real / size for M in (ST, S @ ST, ST @ T, ST @ ST, S @ S @ TT)]
        gap = np.array(target) - moments
        if np.max(np.abs(gap)) < 1e-9 * max(target):
            break
        gradients = [T, ST + ST.conj().T, TT, 2 * T @ ST, S @ TT + TT @ S]
        turns = [G @ S - S @ G for G in gradients]
        moves = [A @ S - S @ A for A in turns]
        slopes = [[np.vdot(G, move).real / size for move in moves] for G in gradients]
        shares = np.linalg.lstsq(slopes, gap, rcond=1e-8)[0]
        turn = sum(share * A for share, A in zip(shares, turns, strict=True))
        turn = turn * min(1.0, 1.0 / max(float(np.linalg.norm(turn, 2)), 1e-300))
        U = expm(turn) @ U
    return U
