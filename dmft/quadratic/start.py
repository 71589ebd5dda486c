"""Matrices at t = 0 whose spectra are those of the limit: what is random is their orientation.

Observables of sampled matrices of size N fluctuate by 1/N and are shifted by as much. Here the
eigenvalues of Z(0) and Z* are the means of equal parts of their limiting laws, with the first two
moments of these, and the eigenvectors are turned until five mixed moments are those of free
matrices. Both the spread over samples and the dependence on N shrink.
"""

from __future__ import annotations

import math

import numpy as np


def wishart_eigenvalues(size: int, width: int) -> np.ndarray:
    """Return eigenvalues of a normalised Wishart matrix in the limit, shape (size,), descending.

    Parameters
    ----------
    size, width : int
        Rows and columns of its factor; the last size - width eigenvalues vanish.

    Returns
    -------
    ndarray, shape (size,)
        With mean 1 and mean square 1 + size/width.

    Examples
    --------
    >>> values = wishart_eigenvalues(40, 20)
    >>> float(round(values.mean(), 12)), float(round((values**2).mean(), 12))
    (1.0, 3.0)
    """
    ratio, count = width / size, min(size, width)
    low, high = (1 - ratio**-0.5) ** 2, (1 + ratio**-0.5) ** 2
    angle = np.linspace(0, math.pi, 4001)[1:-1]
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angle)  # descending
    density = np.sin(angle) ** 2 / x
    mass, first = (np.concatenate([[0], np.cumsum(f)]) for f in (density, x * density))
    edges = np.linspace(0, mass[-1], count + 1)
    means = np.diff(np.interp(edges, mass, first)) / np.diff(edges)
    mean, square = size / count, (size + size**2 / width) / count
    spread = math.sqrt(max(square - mean**2, 0.0) / max(means.var(), 1e-300))
    values = np.zeros(size)
    values[:count] = np.maximum(mean + spread * (means - means.mean()), 0.0)
    return values


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
    q, r = np.linalg.qr(rng.standard_normal((size, size)))
    U = q * np.sign(np.diag(r))
    (s1, s2), (z1, z2) = ((v.mean(), np.mean(v**2)) for v in (s, z))
    target = [s1 * z1, s2 * z1, s1 * z2, s2 * z1**2 + s1**2 * (z2 - z1**2), s2 * z2]
    for _ in range(8):
        S: np.ndarray = (U * s) @ U.T
        ST, TT = S @ T, T @ T
        moments = [np.trace(M) / size for M in (ST, S @ ST, ST @ T, ST @ ST, S @ S @ TT)]
        gap = np.array(target) - moments
        if np.max(np.abs(gap)) < 1e-9 * max(target):
            break
        gradients = [T, ST + ST.T, TT, 2 * T @ ST, S @ TT + TT @ S]
        turns = [G @ S - S @ G for G in gradients]
        slopes = [[np.sum(G * (A @ S - S @ A)) / size for A in turns] for G in gradients]
        shares = np.linalg.lstsq(slopes, gap, rcond=1e-8)[0]
        turn = sum(share * A for share, A in zip(shares, turns, strict=True))
        turn = turn * min(1.0, 1.0 / max(float(np.linalg.norm(turn, 2)), 1e-300))
        U = expm(turn) @ U
    return U


def matching_size(size: int, kappas: tuple[float, ...]) -> int:
    """Return the N within a tenth of `size` for which all kappa N are closest to whole numbers."""
    near = range(max(4, round(0.9 * size)), round(1.1 * size) + 1)

    def mismatch(count: int) -> float:
        return max(abs(max(1, round(k * count)) / count - k) / k for k in kappas)

    return min(near, key=lambda count: (round(mismatch(count), 12), abs(count - size)))
