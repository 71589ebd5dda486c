"""The networks that have a name, and what stands for a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmft.networks.base import Network
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.parameters import build, register_in

NETWORKS: dict[str, type[Network]] = {n.name: n for n in (Diagonal, Linear, Deep, Product)}


def register(network: type[Network]) -> type[Network]:
    """Enter a network by its `name`, so that files, configurations and the command line know it.

    It serves as a decorator. A network need not be registered to be solved.

    Raises
    ------
    ValueError
        If the class has no `name`, or another network has the same one.

    Examples
    --------
    >>> register(Deep) is Deep
    True
    """
    return register_in("network", NETWORKS, network)


def network_from_config(config: Mapping[str, Any]) -> Network:
    """Rebuild a network from `Network.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.

    Examples
    --------
    >>> network_from_config({"name": "deep", "depth": 4})
    Deep(depth=4)
    """
    return build("network", NETWORKS, config)


def as_network(value: Any) -> Network:
    """Return the network that a value stands for: a name gives one of default parameters.

    Raises
    ------
    TypeError
        If it is neither a network nor a string.
    ValueError
        If no network has the name.

    Examples
    --------
    >>> as_network("deep")
    Deep(depth=3)
    """
    network = build("network", NETWORKS, {"name": value}) if isinstance(value, str) else value
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network or its name; got {value!r}")
    return network
