"""The map of a network as a table that compiled functions interpolate, from its own curve."""

from __future__ import annotations

import functools
import math

import numpy as np

from dmft.networks.precision import PotentialNetwork, longest_decay

MARGIN = 100.0  # largest weight that a table covers at any time, where targets are of size 1
# At this length a cubic interpolation of three- and four-layer products from alpha 1e-4 to 5 is
# off by at most 1e-9 of w, or of D(0) where that is larger.
ROWS = 12001
SMALLEST = 1e-18  # w over w(0) at which the table ends where w cannot reach 0


@functools.lru_cache(maxsize=32)
def mirror_table(network: PotentialNetwork, alpha: float) -> np.ndarray:
    """Return H (increasing), w and D of the undamped flow, shape (J, 3).

    It reaches as far as double precision resolves w (`dmft.networks.precision`); the start is one
    of its rows.

    Examples
    --------
    >>> from dmft.networks.product import Product
    >>> H, w, D = mirror_table(Product((1.0, 0.5, 0.0)), 1.0).T
    >>> bool(np.all(np.diff(H) > 0) and np.all(np.diff(w) < 0) and np.all(D > 0))
    True
    """
    potential = network.mirror_potential(alpha)
    reach = MARGIN * math.exp(0.5 * network.depth * longest_decay(network, alpha))
    start = network.initial_weight(alpha)
    lowest = -reach if network.changes_sign else SMALLEST * start
    low, middle, high = potential.solve(np.array([lowest, start, reach]), 0.0)
    below = round(ROWS * (middle - low) / (high - low))
    y = np.concatenate(
        [np.linspace(low, middle, below + 1)[:-1], np.linspace(middle, high, ROWS - below)]
    )
    point = potential.curve(y)
    H = -point.psi
    H[below] = 0.0
    return np.ascontiguousarray(np.stack([H, point.w, point.hessian_inverse], axis=1)[::-1])
