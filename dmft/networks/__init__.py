"""Networks: each states its mirror map, potential and layers in a file of its own."""

from dmft.networks.base import Network
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.potential import Curve, Potential
from dmft.networks.product import Product
from dmft.networks.registry import NETWORKS, as_network, network_from_config, register

__all__ = [
    "NETWORKS",
    "Curve",
    "Deep",
    "Diagonal",
    "Linear",
    "Network",
    "Potential",
    "Product",
    "as_network",
    "network_from_config",
    "register",
]
