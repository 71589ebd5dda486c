"""The dynamics by name."""

from __future__ import annotations

from typing import Any

from dmft.dynamics.base import Dynamics
from dmft.dynamics.descent import GradientDescent
from dmft.dynamics.flow import GradientFlow
from dmft.dynamics.sgd import SGD
from dmft.dynamics.stochastic import StochasticFlow

DYNAMICS: dict[str, type[Dynamics]] = {
    d.name: d for d in (GradientFlow, GradientDescent, SGD, StochasticFlow)
}


def dynamics_from_config(config: dict[str, Any]) -> Dynamics:
    """Rebuild a dynamics from `Dynamics.config()`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in DYNAMICS:
        raise ValueError(f"dynamics must be one of {sorted(DYNAMICS)}; got {name!r}")
    try:
        return DYNAMICS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters of dynamics {name!r}: {error}") from None
