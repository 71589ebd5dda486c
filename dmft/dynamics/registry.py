"""The dynamics by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmft.dynamics.base import Dynamics
from dmft.dynamics.descent import GradientDescent
from dmft.dynamics.flow import GradientFlow
from dmft.dynamics.sgd import SGD
from dmft.dynamics.stochastic import StochasticFlow
from dmft.parameters import build

DYNAMICS: dict[str, type[Dynamics]] = {
    d.name: d for d in (GradientFlow, GradientDescent, SGD, StochasticFlow)
}


def dynamics_from_config(config: Mapping[str, Any]) -> Dynamics:
    """Rebuild a dynamics from `Dynamics.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.

    Examples
    --------
    >>> import dmft
    >>> dynamics = dmft.GradientDescent(0.1, momentum=0.9)
    >>> dynamics_from_config(dynamics.config()) == dynamics
    True
    """
    return build("dynamics", DYNAMICS, config)
