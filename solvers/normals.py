"""Sets of normal vectors whose averages of quadratic functions are exact, or nearly so.

    z = s O^T + g (1 - O O^T),      s (n, r),  g (n, D),

is standard normal for normal s and g and any O (D, r) with orthonormal columns. The r directions
in which an integrand varies most are filled by a scrambled Sobol net; each point comes with its
mirror image -z, which integrates odd functions exactly; and the points are adjusted so that the
average of z z^T is the identity, exactly in all directions where there are enough points, else in
the leading ones. Exact quadratic averages cut the scatter of mean squares, whose integrand is
close to quadratic, far more than the net alone does.
"""

from __future__ import annotations

import numpy as np

NET = 16  # directions filled by the net: more than these gain nothing in GD and SGD problems
# Directions whose second moments are made exact, over the number of mirrored pairs: adjusting all
# that the points can bear would leave rows of nearly equal length, whose fourth moments are off.
ADJUSTED = 0.5


def matched_normals(
    count: int, dimension: int, directions: np.ndarray | None, rng: np.random.Generator
) -> np.ndarray:
    """Return `count` standard normal vectors for the average of a function.

    Parameters
    ----------
    count : int
        Number n of vectors; even.
    dimension : int
        D >= 1.
    directions : ndarray, shape (D, r), optional
        Orthonormal columns, the direction of largest influence first; the first coordinates where
        absent.
    rng : Generator

    Returns
    -------
    ndarray, shape (n, D)
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    half = count // 2
    adjusted = min(dimension, int(ADJUSTED * half))
    rank = adjusted if directions is None else min(adjusted, directions.shape[1])
    net = min(rank, NET)
    leading = rng.standard_normal((half, rank))
    if net:
        points = qmc.Sobol(net, scramble=True, rng=rng).random(half)
        leading[:, :net] = ndtri(np.clip(points, 1e-12, 1.0 - 1e-12))
        leading = _whitened(leading)
    rest = rng.standard_normal((half, dimension))
    # what is left of variance 1 beside the leading columns is restored
    rest -= leading @ (leading.T @ rest / half)
    rest *= np.sqrt(half / (half - rank))
    if directions is None:
        z = np.concatenate([leading, rest[:, rank:]], axis=1)
    else:
        along = directions[:, :rank]
        z = rest + (leading - rest @ along) @ along.T
    if dimension <= adjusted:
        z = _whitened(z)
    return np.concatenate([z, -z])


def quadratic_normals(dimension: int) -> np.ndarray:
    """Return vectors that average every quadratic function exactly, at least eight of them.

    They are the columns of a Hadamard matrix and their mirror images: signs of which any two
    different coordinates agree as often as not, shape (n, D) with n >= 2 D.
    """
    signs = np.ones((1, 1))
    while len(signs) < max(dimension, 4):
        signs = np.block([[signs, signs], [signs, -signs]])
    signs = signs[:, :dimension]
    return np.concatenate([signs, -signs])


def _whitened(z: np.ndarray) -> np.ndarray:
    """Return the nearest points (n, r) with average z z^T = 1, the polar factor."""
    left, _, right = np.linalg.svd(z, full_matrices=False)
    return np.sqrt(len(z)) * (left @ right)
