"""How far double precision follows a network: from which starts, and up to which times."""

from __future__ import annotations

import functools
import math
from typing import Protocol

import numpy as np

from dmft.networks.layers import Layered
from dmft.networks.potential import Potential

ROUNDING = float(np.finfo(float).eps)
RESOLUTION = 1e-6  # largest rounding error of a weight of size 1, a hundredth of the usual rtol
EXTREME = 200.0  # of |log alpha^L|: far beyond that resolution, and not yet at the range of doubles
LONGEST = 60.0  # of lam t: w of two equal layers is resolved at any time, but its table must end


class PotentialNetwork(Layered, Protocol):
    """A network as seen from its layers and its mirror potential.

    Examples
    --------
    >>> import dmft
    >>> dmft.Product((1.0, 0.5, 0.2)).depth
    3
    """

    @property
    def changes_sign(self) -> bool:
        """Whether w takes every real value; otherwise w > 0 at all times."""

    def initial_weight(self, alpha: float) -> float:
        """Return w(0)."""

    def mirror_potential(self, alpha: float) -> Potential:
        """Return the mirror potential at weight decay 0."""


def _rounding(network: PotentialNetwork, alpha: float, decay: float) -> float:
    """Return the rounding error of phi at a weight of size 1 once lam t = `decay`.

    phi(H) with an H of relative error eps has the error eps |H| D, and a difference of products
    of layers the error eps alpha^L. With s = exp(-L lam t/2), phi(H, t) = s phi(H, 0).
    """
    potential = network.mirror_potential(alpha)
    scale = math.exp(-0.5 * network.depth * decay)
    ends = np.array([-1.0, 1.0] if network.changes_sign else [1.0]) / scale
    point = potential.curve(potential.solve(ends, 0.0))
    response = float(np.max(np.abs(point.psi) * point.hessian_inverse))
    return ROUNDING * scale * (response + math.exp(_log_size(network, alpha)))


def _log_size(network: PotentialNetwork, alpha: float) -> float:
    """Return the logarithm of the product of all layers at the start, 0 apart."""
    layers = np.abs(network.initial_layers(alpha))
    return network.depth * float(np.mean(np.log(layers[layers > 0])))


def require_resolved_start(network: PotentialNetwork, alpha: float) -> None:
    """Raise ValueError where doubles do not resolve a weight of size 1 at the start.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> require_resolved_start(Deep(3), 0.1)
    >>> require_resolved_start(Deep(3), 1e-40)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: alpha must be nearer to 1 for 3 layers: ...
    """
    extreme = abs(_log_size(network, alpha)) > EXTREME
    if extreme or not _rounding(network, alpha, 0.0) <= RESOLUTION:
        raise ValueError(
            f"alpha must be nearer to 1 for {network.depth} layers: double precision resolves "
            f"weights of size 1 only while alpha^(2 - L) and alpha^L stay below about 1e9; got "
            f"alpha = {alpha!r} for {network!r}"
        )


@functools.lru_cache(maxsize=64)
def longest_decay(network: PotentialNetwork, alpha: float) -> float:
    """Return the largest lam t at which weights of size 1 are resolved, at most `LONGEST`.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> 30.0 < longest_decay(Deep(3), 1.0) < 60.0
    True
    """
    low, high = 0.0, min(LONGEST, 3 * EXTREME / network.depth)
    if _rounding(network, alpha, high) <= RESOLUTION:
        return high
    while high - low > 0.01:
        middle = 0.5 * (low + high)
        resolved = _rounding(network, alpha, middle) <= RESOLUTION
        low, high = (middle, high) if resolved else (low, middle)
    return low


def require_resolved_times(
    network: PotentialNetwork, alpha: float, lam: float, t: np.ndarray
) -> None:
    """Raise ValueError where decay has gone further than doubles resolve a weight of size 1.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> require_resolved_times(Deep(3), alpha=1.0, lam=0.1, t=np.array([0.0, 100.0]))
    """
    if lam == 0 or t.size == 0:
        return
    longest = longest_decay(network, alpha)
    if lam * np.max(t) > longest:
        raise ValueError(
            f"t must be <= {longest / lam:.6g} for lam = {lam!r} and alpha = {alpha!r}: later, "
            f"double precision cannot resolve w of {network!r}; got {np.max(t):g}"
        )
