"""Steps of another size that have the same limit of small steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmft.dynamics.base import Descent, Selection
from dmft.parameters import number


@dataclass(frozen=True)
class SmallStep(Descent):
    """A step of any size, noisy enough for a given temperature and rate of the label noise.

    The variance temperature/step of a sample's weight may be any positive number: no batch need
    have it. As the step becomes small this is `StochasticFlow(temperature, label_rate)`.

    Examples
    --------
    >>> SmallStep(step=0.01, temperature=0.1, label_rate=0.0).step
    0.01
    """

    step: float
    temperature: float = number("step times the variance of a sample's weight", low=0.0)
    label_rate: float = number("step times the variance of the label noise that counts", low=0.0)
    momentum: ClassVar[float] = 0.0  # type: ignore[misc]
    nesterov: ClassVar[bool] = False  # type: ignore[misc]
    name: ClassVar[str] = "small_step"

    @property
    def label_noise(self) -> float:  # type: ignore[override]
        """Variance of the label noise that has the given rate."""
        return self.label_rate / (self.step * (1.0 + self.temperature / self.step))

    @property
    def selection(self) -> Selection:
        """Weights of variance temperature/step."""
        return Selection(variance=self.temperature / self.step)
