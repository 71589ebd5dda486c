"""The statement of one problem: (delta, alpha, lam, sigma2), the signal law and the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dmft.dynamics.base import Dynamics
from dmft.dynamics.flow import GradientFlow
from dmft.dynamics.registry import dynamics_from_config
from dmft.networks.base import Network
from dmft.networks.diagonal import Diagonal
from dmft.networks.registry import as_network, network_from_config
from dmft.networks.starts import SeveralStarts, started
from dmft.parameters import limits_of, number
from dmft.signals import Bernoulli, Start, as_signal, signal_from_config
from dmft.validation import require_in_range

# Beyond these the terms of the equations differ by more than nine orders of magnitude: of the
# sixteen digits of a double fewer are left than the usual rtol asks for.
LEAST_DELTA, MOST_DELTA = 1e-9, 1e9
# Squares of numbers up to here, and products with other such numbers, are in the range of doubles.
MOST_SIZE = 1e100
# alpha^2 is the size of D(0), which must be a normal double.
LEAST_ALPHA, MOST_ALPHA = 1e-150, 1e150


@dataclass(frozen=True)
class Problem:
    """Training of a diagonal network on random data in the limit d -> infinity.

    n samples in dimension d with n/d -> delta, X of shape (n, d) with independent N(0, 1/d)
    entries, y = X w* + xi, xi ~ N(0, sigma2); loss |y - X w|^2/(2 n) + lam/(2 d) |layers|^2;
    time unit du/dt = -(d/2) dL/du (arXiv:2510.01930).

    Parameters
    ----------
    delta : float
        Samples over dimension, n/d; from 1e-9 to 1e9.
    alpha : float
        Scale of the initial layers; from 1e-150 to 1e150, and where doubles resolve the network's
        weights.
    lam : float
        Weight decay; from 0 to 1e100.
    sigma2 : float
        Variance of the label noise; from 0 to 1e100.
    signal : SignalLaw, scipy distribution or array_like
        Law of the entries of w*, with E[w*^2] <= 1e100. A frozen distribution of scipy.stats stands
        for itself, an array for the law of one of its entries; `Joint` gives each coordinate a
        start of its layers with its target.
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

    Examples
    --------
    >>> Problem(delta=0.5, lam=0.1, signal=[0.0, 0.0, 0.0, 1.0]).signal.mean
    0.25
    """

    delta: float = number("samples over dimension, n/d > 0", low=LEAST_DELTA, high=MOST_DELTA)
    alpha: float = number("scale of the initial layers, > 0", 1.0, low=LEAST_ALPHA, high=MOST_ALPHA)
    lam: float = number("weight decay, >= 0", 0.0, low=0.0, high=MOST_SIZE)
    sigma2: float = number("variance of the label noise, >= 0", 0.0, low=0.0, high=MOST_SIZE)
    signal: Any = field(default_factory=Bernoulli)
    network: Any = field(default_factory=Diagonal)
    dynamics: Dynamics = field(default_factory=GradientFlow)

    def __post_init__(self) -> None:
        """Check every value; replace what stands for a law or a network by it."""
        for name, limits in limits_of(self).items():
            low_open = limits["low"] > 0  # what is not positive is a mistake, not just extreme
            value = require_in_range(name, getattr(self, name), low=0.0, low_open=low_open)
            object.__setattr__(self, name, require_in_range(name, value, **limits))
        law = as_signal(self.signal)
        object.__setattr__(self, "signal", law)
        if not law.second_moment <= MOST_SIZE:
            raise ValueError(
                f"signal must satisfy E[w*^2] <= {MOST_SIZE:g}; "
                f"got {law.second_moment:g} for {law!r}"
            )
        object.__setattr__(self, "network", as_network(self.network))
        for start in law.layer_starts or (None,):
            self.network_from(start).validate(self.alpha, self.lam)
        if not isinstance(self.dynamics, Dynamics):
            raise TypeError(f"dynamics must be such as SGD(0.1, batch=0.1); got {self.dynamics!r}")

    @cached_property
    def mirror(self) -> Network:
        """The network; where the law of w* gives the layers' start, what needs one start raises."""
        return SeveralStarts(self.network) if self.signal.layer_starts else self.network

    def network_from(self, start: Start | None) -> Network:
        """Return the network of coordinates with a start of the signal's law; None is its own."""
        return self.network if start is None else started(self.network, start)

    @property
    def keeps_mirror(self) -> bool:
        """Whether weights are a map of the integrated gradient, as in every flow without noise."""
        return not self.dynamics.noisy or self.mirror.mirror_under_noise

    def config(self) -> dict[str, Any]:
        """Return the whole problem as plain numbers, strings and dicts."""
        return {
            "delta": self.delta,
            "alpha": self.alpha,
            "lam": self.lam,
            "sigma2": self.sigma2,
            "signal": self.signal.config(),
            "network": self.network.config(),
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
