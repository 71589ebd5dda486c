"""Stochastic gradient descent: each step sees a batch of the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmft.dynamics.base import (
    Descent,
    Selection,
    label_noise_field,
    momentum_field,
    nesterov_field,
    step_field,
)
from dmft.parameters import number, text

SAMPLINGS = (
    "bernoulli",
    "without_replacement",
    "with_replacement",
    "reshuffle",
    "cyclic",
    "one_pass",
)
IN_EPOCHS = ("reshuffle", "cyclic")


@dataclass(frozen=True)
class SGD(Descent):
    """Stochastic gradient descent with batches of a finite share of the samples.

    Parameters
    ----------
    step : float
        Step in the project's unit of time, du/dt = -(d/2) dL/du; > 0.
    batch : float
        Samples of one step over n, in (0, 1].
    sampling : {"bernoulli", "without_replacement", "with_replacement", "reshuffle", "cyclic", \
"one_pass"}
        Each sample with probability `batch`; batch n of them, independently in each step, without
        or with replacement; epochs of 1/batch steps that see each sample once, in a new order each
        time or always in the same one (1/batch must be an integer); batch n fresh samples in each
        step. The first two have one limit.
    momentum, nesterov, label_noise
        As in `GradientDescent`. Label noise is drawn for each sample of each step.

    Raises
    ------
    ValueError
        If a value is out of its range, the sampling is unknown or 1/batch is not an integer where
        it must be.

    Examples
    --------
    >>> import dmft
    >>> dmft.SGD(0.1, 0.25, sampling="reshuffle").selection
    Selection(variance=3.0, epoch=4, classes=1, share=1.0)
    """

    step: float = step_field()
    batch: float = number("samples of one step over n", low=0.0, high=1.0, low_open=True)
    sampling: str = text("how batches are drawn: " + ", ".join(SAMPLINGS), "bernoulli")
    momentum: float = momentum_field()
    nesterov: bool = nesterov_field()
    label_noise: float = label_noise_field()
    name: ClassVar[str] = "sgd"

    def __post_init__(self) -> None:
        """Check the parameters."""
        super().__post_init__()
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling must be one of {SAMPLINGS}; got {self.sampling!r}")
        if self.sampling in IN_EPOCHS and abs(self.batches_per_epoch * self.batch - 1) > 1e-9:
            raise ValueError(
                f"batch must be 1/M with an integer M for sampling {self.sampling!r}; got "
                f"{self.batch!r}"
            )

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches that hold as many samples as there are, 1/batch rounded."""
        return max(1, round(1 / self.batch))

    @property
    def selection(self) -> Selection:
        """Weights of variance 1/batch - 1 (1/batch with replacement), epochs or own data sets."""
        if self.sampling == "with_replacement":
            return Selection(variance=1 / self.batch)
        if self.sampling == "cyclic":
            return Selection(classes=self.batches_per_epoch, share=self.batch)
        if self.sampling == "one_pass":
            return Selection(classes=0, share=self.batch)
        epoch = self.batches_per_epoch if self.sampling == "reshuffle" else 1
        return Selection(variance=1 / self.batch - 1, epoch=epoch)
