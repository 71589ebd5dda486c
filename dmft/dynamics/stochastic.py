"""Stochastic gradient flow, the limit of SGD with small steps at fixed temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dmft.dynamics.base import Dynamics, label_noise_field
from dmft.parameters import number


@dataclass(frozen=True)
class StochasticFlow(Dynamics):
    """The limit step -> 0 of SGD at fixed temperature step (1/batch - 1).

    Parameters
    ----------
    temperature : float
        Step times the variance of a sample's weight in one step; >= 0.
    label_noise : float
        Step times the second moment of that weight, times the variance of the label noise; >= 0.

    Raises
    ------
    ValueError
        If a number is negative or not finite.

    Examples
    --------
    >>> import dmft
    >>> dmft.StochasticFlow(temperature=0.2)
    StochasticFlow(temperature=0.2, label_noise=0.0)
    """

    temperature: float = number("step times the variance of a sample's weight", low=0.0)
    label_noise: float = label_noise_field()
    name: ClassVar[str] = "stochastic_flow"
    default_rtol: ClassVar[float] = 1e-2
    noisy: ClassVar[bool] = True

    @property
    def rates(self) -> tuple[float, float]:
        """Temperature and label noise."""
        return self.temperature, self.label_noise

    def noise_rate(self, square: np.ndarray) -> np.ndarray:
        """Return temperature E r^2 + label_noise."""
        return self.temperature * square + self.label_noise

    def require_simulated(self, times: np.ndarray) -> None:
        """Raise ValueError: a limit of training in steps has no simulation of its own."""
        raise ValueError(
            "dynamics must be in steps to be simulated: SGD(step, batch) with a small step and "
            f"step (1/batch - 1) = {self.temperature:g}; got {self!r}"
        )
