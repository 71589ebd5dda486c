"""Networks whose layers do not start as they state it themselves.

The law of a coordinate's target may be joint with one of its layers' start (`dmft.signals.Joint`).
Each start is then a network of its own in the equations, and the problem's network has no start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

import numpy as np

from dmft.networks.base import Network
from dmft.networks.potential import Potential
from dmft.validation import require_in_range


def started(network: Network, start: tuple[float, ...]) -> Network:
    """Return the network from layers that start at alpha times these numbers.

    Raises
    ------
    ValueError
        If there is not one number for each layer, or the network cannot start there.

    Examples
    --------
    >>> from dmft.networks.diagonal import Diagonal
    >>> started(Diagonal(), (2.0, 1.0))
    Diagonal(scale_u=2.0, scale_v=1.0)
    """
    own = network.initial_layers(1.0)
    if len(start) != own.size:
        raise ValueError(
            f"signal must give a start for each of {own.size} layers of {network!r}; got {start}"
        )
    if network.layers_keep_sign:
        for number in start:
            require_in_range("start of a layer", number, low=0.0, low_open=True)
    return network.from_start(start) or Started(network, start)


@dataclass(frozen=True)
class _Around(Network):
    """A network but for its start."""

    network: Network
    mirror_code: ClassVar[int] = Network.mirror_code

    @property
    def depth(self) -> int:
        """Number of layers."""
        return self.network.depth

    @property
    def changes_sign(self) -> bool:
        """Whether w takes every real value."""
        return self.network.changes_sign

    @property
    def linear(self) -> bool:  # type: ignore[override]
        """Whether phi is linear."""
        return self.network.linear

    @property
    def layers_keep_sign(self) -> bool:  # type: ignore[override]
        """Whether du/dt is u times a function, for all layers."""
        return self.network.layers_keep_sign

    @property
    def sources(self) -> tuple[str, ...]:  # type: ignore[override]
        """Sources of its equations."""
        return self.network.sources

    def output_weight(self, layers: np.ndarray) -> np.ndarray:
        """Return w, shape (d,)."""
        return self.network.output_weight(layers)

    def layer_velocity(self, layers: np.ndarray, h: np.ndarray, lam: float) -> np.ndarray:
        """Return d layers/dt, shape (n, d)."""
        return self.network.layer_velocity(layers, h, lam)

    def drift(self, lam: float, t: np.ndarray) -> np.ndarray:
        """Return the factor of h in H, shape (N,)."""
        return self.network.drift(lam, t)


@dataclass(frozen=True)
class Started(_Around):
    """A network from layers that start at alpha `start`; its map is a table made from them.

    Examples
    --------
    >>> from dmft.networks.deep import Deep
    >>> Started(Deep(3), (1.0, 0.5)).initial_layers(2.0)
    array([2., 1.])
    """

    start: tuple[float, ...]

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Return alpha start, shape (n,)."""
        return alpha * np.array(self.start)


@dataclass(frozen=True)
class SeveralStarts(_Around):
    """A network whose coordinates have different starts: what needs one start raises ValueError.

    Examples
    --------
    >>> from dmft.networks.diagonal import Diagonal
    >>> SeveralStarts(Diagonal()).initial_weight(1.0)
    Traceback (most recent call last):
    ...
    ValueError: signal must leave the start of the layers to the network for what assumes the same \
start of all coordinates; it has starts of its own
    """

    def initial_layers(self, alpha: float) -> np.ndarray:
        """Refuse, as all that follows from a start does."""
        self._refuse()

    @property
    def pair_scales(self) -> tuple[float, float] | None:
        """Refused."""
        self._refuse()

    def mirror_potential(self, alpha: float) -> Potential:
        """Refuse."""
        self._refuse()

    def layer_pair(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Refuse."""
        self._refuse()

    def growth(self, alpha: float) -> float | None:
        """Refuse."""
        self._refuse()

    def _mirror(
        self, alpha: float, lam: float, H: np.ndarray, t: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ValueError(
            "signal must leave the start of the layers to the network for what assumes the same "
            "start of all coordinates; it has starts of its own"
        )
