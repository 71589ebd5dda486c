"""Weighted sets of normal vectors for averages of smooth functions.

    z = O c + (1 - O O^T) g,        c (r,),  g (D,),        O (D, r) with orthonormal columns

The first entry of c, along the direction in which a function varies most, takes equidistant nodes
with Gaussian weights, shifted at random: a rule that converges geometrically for smooth functions
and, averaged over the shift, is exact. Around each node the others are signs, in pairs c, -c. Half
as many as there are vectors at a node are columns of a Hadamard matrix, so that products of any
three of them average to zero; the rest, and g, are drawn at random. So functions that are quadratic
in all but the first direction are averaged exactly for r - 1 of the directions, and without bias
for the others. Signs have fourth moments of 1 in place of 3: directions along which that matters
get the size of a normal number beside its sign, which is without bias but no longer exact.
"""

from __future__ import annotations

import numpy as np

# Range of the nodes, in standard deviations: 6e-5 of the mass is left out. With 5, paths that run
# away with probability 1e-6, as no system of a million coordinates shows, made 2 of 40 random
# problems of training in steps overflow that simulations find stable; results otherwise agreed.
REACH = 4.0
NODES = 8  # of the coarsest rule; a spacing of 1 is exact to 3e-9 for polynomials of low degree
LEAST = 2 * NODES  # vectors: one pair at each node


def node_normals(
    count: int,
    dimension: int,
    directions: np.ndarray | None,
    rng: np.random.Generator,
    sized: int | None = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Return standard normal vectors and their weights in an average.

    Parameters
    ----------
    count : int
        Number n of vectors, LEAST times a power of two. The signs around each node double twice,
        then by turns with the nodes.
    dimension : int
        D >= 1.
    directions : ndarray, shape (D, R), optional
        Orthonormal columns, the direction of largest influence first; the first coordinates where
        absent.
    rng : Generator
    sized : int or None
        Number of directions after the first whose entries have the sizes of normal numbers; None
        for all of D.

    Returns
    -------
    z : ndarray, shape (n, D)
    weights : ndarray, shape (n,)
        Their sum is 1.

    Raises
    ------
    ValueError
        If count is not as stated.

    Examples
    --------
    >>> z, weights = node_normals(128, 3, None, np.random.default_rng(0))
    >>> bool(np.allclose(weights @ z**2, 1.0, atol=1e-3))
    True
    """
    doublings = int(count / LEAST).bit_length() - 1
    if count < LEAST or count != LEAST * 2**doublings:
        raise ValueError(f"count must be {LEAST} times a power of two; got {count!r}")
    nodes = NODES * 2 ** (max(doublings - 1, 0) // 2)
    half = count // nodes // 2
    along = np.eye(dimension) if directions is None else directions
    along = along[:, : half + 1]
    spacing = 2 * REACH / nodes
    x = spacing * (np.arange(nodes) - 0.5 * (nodes - 1) + rng.uniform(-0.5, 0.5))
    c = np.empty((nodes, 2, half, along.shape[1]))
    c[..., 0] = x[:, None, None]
    hadamard = _hadamard(half)
    for signs in c[..., 1:]:
        own = hadamard[:, rng.permutation(half)[: signs.shape[2]]]
        signs[0] = own * rng.choice([-1.0, 1.0], signs.shape[2])
        signs[1] = -signs[0]
        signs *= _sizes(half, signs.shape[2], sized, rng)
    g = rng.choice([-1.0, 1.0], (nodes, 1, half, dimension)) * np.array([1.0, -1.0])[:, None, None]
    if sized is None:
        g *= np.abs(rng.standard_normal((nodes, 1, half, dimension)))
    c, g = c.reshape(count, -1), g.reshape(count, -1)
    weights = np.repeat(np.exp(-0.5 * x**2), 2 * half)
    return g + (c - g @ along) @ along.T, weights / weights.sum()


def _sizes(half: int, width: int, sized: int | None, rng: np.random.Generator) -> np.ndarray:
    """Return the sizes (half, width) of the entries of half as many vectors: of normals, then 1.

    Those of a column are in different intervals of equal probability.
    """
    from scipy.special import ndtri

    sizes = np.ones((half, width))
    own = width if sized is None else min(sized, width)
    if own:
        shares = rng.permuted(np.tile(np.arange(half)[:, None], (1, own)), axis=0)
        sizes[:, :own] = ndtri(0.5 + 0.5 * (shares + rng.random((half, own))) / half)
    return sizes


def _hadamard(size: int) -> np.ndarray:
    """Return a matrix of signs with orthogonal columns; the size is a power of two."""
    signs = np.ones((1, 1))
    while len(signs) < size:
        signs = np.block([[signs, signs], [signs, -signs]])
    return signs
