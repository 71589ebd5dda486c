"""The statement of one problem: (delta, alpha, lam, sigma2), the signal law and the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dmft.dynamics.base import Dynamics
from dmft.dynamics.flow import GradientFlow
from dmft.dynamics.registry import dynamics_from_config
from dmft.networks.base import Network
from dmft.networks.diagonal import Diagonal
from dmft.networks.registry import network_from_config
from dmft.signals import Bernoulli, SignalLaw, signal_from_config
from dmft.validation import require_in_range


@dataclass(frozen=True)
class Problem:
    """Training of a diagonal network on random data in the limit d -> infinity.

    n samples in dimension d with n/d -> delta, X of shape (n, d) with independent N(0, 1/d)
    entries, y = X w* + xi, xi ~ N(0, sigma2); loss |y - X w|^2/(2 n) + lam/(2 d) |layers|^2;
    time unit du/dt = -(d/2) dL/du (arXiv:2510.01930).

    Parameters
    ----------
    delta : float
        Samples over dimension, n/d; > 0.
    alpha : float
        Scale of the initial layers; > 0.
    lam : float
        Weight decay; >= 0.
    sigma2 : float
        Variance of the label noise; >= 0.
    signal : SignalLaw
        Law of the entries of w*.
    network : Network or str
        Mirror map; a string names one with its default parameters.
    dynamics : Dynamics
        How the layers are trained: GradientFlow(), GradientDescent(step), SGD(step, batch) or
        StochasticFlow(temperature).

    Raises
    ------
    ValueError
        If a number is out of its range or not finite, or the network's name is unknown.
    TypeError
        If `signal`, `network` or `dynamics` is of another type.
    """

    delta: float
    alpha: float = 1.0
    lam: float = 0.0
    sigma2: float = 0.0
    signal: SignalLaw = field(default_factory=Bernoulli)
    network: Network | str = field(default_factory=Diagonal)
    dynamics: Dynamics = field(default_factory=GradientFlow)

    def __post_init__(self) -> None:
        """Check every value and replace a network's name by the network."""
        for name, low_open in (("delta", True), ("alpha", True), ("lam", False), ("sigma2", False)):
            value = require_in_range(name, getattr(self, name), low=0.0, low_open=low_open)
            object.__setattr__(self, name, value)
        if not isinstance(self.signal, SignalLaw):
            raise TypeError(f"signal must be a law such as Bernoulli(0.1); got {self.signal!r}")
        if isinstance(self.network, str):
            object.__setattr__(self, "network", network_from_config({"name": self.network}))
        if not isinstance(self.network, Network):
            raise TypeError(f"network must be a Network or its name; got {self.network!r}")
        self.network.validate(self.alpha, self.lam)
        if not isinstance(self.dynamics, Dynamics):
            raise TypeError(f"dynamics must be such as SGD(0.1, batch=0.1); got {self.dynamics!r}")

    @property
    def mirror(self) -> Network:
        """The network, after a name has been replaced by it."""
        assert isinstance(self.network, Network)
        return self.network

    def config(self) -> dict[str, Any]:
        """Return the whole problem as plain numbers, strings and dicts."""
        return {
            "delta": self.delta,
            "alpha": self.alpha,
            "lam": self.lam,
            "sigma2": self.sigma2,
            "signal": self.signal.config(),
            "network": self.mirror.config(),
            "dynamics": self.dynamics.config(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Problem:
        """Rebuild a problem from `config()`.

        Raises
        ------
        ValueError
            If a name is unknown or a value is out of range.
        """
        values = dict(config)
        values["signal"] = signal_from_config(values["signal"])
        values["network"] = network_from_config(values["network"])
        if "dynamics" in values:  # files of earlier versions hold flows only
            values["dynamics"] = dynamics_from_config(values["dynamics"])
        return cls(**values)
