"""The networks that have a name, for configurations and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
from dmft.networks.base import Network
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product

NETWORKS: dict[str, type[Network]] = {n.name: n for n in (Diagonal, Linear, Deep, Product)}


def network_from_config(config: dict[str, Any]) -> Network:
    """Rebuild a network from `Network.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {sorted(NETWORKS)}; got {name!r}")
    try:
        return NETWORKS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters of network {name!r}: {error}") from None
