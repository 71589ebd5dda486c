"""What a dynamics states: how the layers move, and which samples a step sees.

In steps, with t = k step and u_{-1} = u_0,

    u_{k+1} = u_k + step velocity(u_k, h_k) + momentum (u_k - u_{k-1}),
    h_k = (1/delta) X^T S_k (X w_k - y - zeta_k),

with the network's own layer velocity, S_k the diagonal of sample weights of mean 1 (for SGD 1/b
where the sample is in the batch of step k, else 0) and zeta_k fresh label noise. With `nesterov`
the momentum acts before the step: it starts from u~_k = u_k + momentum (u_k - u_{k-1}), and h_k is
that of u~_k.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from dmft.parameters import Parameters, flag, number

ON_STEP = 1e-6  # distance of a time from a multiple of the step, in steps, that is rounding


class Selection(NamedTuple):
    """Which samples the steps see, in the limit d -> infinity; the default sees all of them.

    Parameters
    ----------
    variance : float
        Variance of a sample's weight in one step, given all earlier ones.
    epoch : int
        Length of an epoch in which each sample is seen once; 1 where steps are independent.
    classes : int
        Number of data sets used in turn; 0 where each step has one of its own.
    share : float
        Samples in one data set over n.

    Examples
    --------
    >>> Selection(variance=3.0)
    Selection(variance=3.0, epoch=1, classes=1, share=1.0)
    """

    variance: float = 0.0
    epoch: int = 1
    classes: int = 1
    share: float = 1.0


@dataclass(frozen=True)
class Dynamics(Parameters, ABC):
    """A way to train the layers.

    Examples
    --------
    >>> import dmft
    >>> dmft.SGD(0.1, batch=0.25).config()["batch"]
    0.25
    """

    in_steps: ClassVar[bool] = False  # whether time is a number of steps
    noisy: ClassVar[bool] = False  # whether the flow of the layers has a white noise
    default_rtol: ClassVar[float] = 1e-4  # accuracy where none is asked for

    def attainable(self, times: np.ndarray) -> np.ndarray:
        """Return the distinct times next to some times (T,) at which there are values."""
        return times

    @property
    def rates(self) -> tuple[float, float] | None:
        """Temperature and rate of the label noise of the limit of small steps; None without one."""
        return None

    def noise_rate(self, square: np.ndarray) -> np.ndarray:
        """Return the rate of the white noise of small steps, from E r^2 of the residual."""
        return np.zeros_like(square)

    def require_simulated(self, times: np.ndarray) -> None:
        """Raise ValueError where a simulation cannot give values at `times` (T,)."""


def step_field() -> Any:
    """Return the field of a step."""
    return number("step in the unit of time du/dt = -(d/2) dL/du", low=0.0, low_open=True)


def momentum_field() -> Any:
    """Return the field of the momentum.

    Examples
    --------
    >>> import dmft
    >>> dmft.GradientDescent(0.1, momentum=0.9).momentum
    0.9
    """
    help = "factor of the last change of the layers"
    return number(help, 0.0, low=0.0, high=1.0, high_open=True)


def nesterov_field() -> Any:
    """Return the field that chooses Nesterov's momentum.

    Examples
    --------
    >>> import dmft
    >>> dmft.GradientDescent(0.1, momentum=0.9, nesterov=True).nesterov
    True
    """
    return flag("whether the gradient is taken after the momentum", False)


def label_noise_field() -> Any:
    """Return the field of the label noise.

    Examples
    --------
    >>> import dmft
    >>> dmft.GradientDescent(0.1, label_noise=0.01).label_noise
    0.01
    """
    return number("variance of the noise that each step adds afresh to the labels", 0.0, low=0.0)


class Descent(Dynamics):
    """Training in steps; `selection` states which samples a step sees.

    The dataclasses below it declare these fields, each in its own order; who sees all samples in
    every step declares neither `batch` nor `sampling`.

    Examples
    --------
    >>> import dmft
    >>> dmft.SGD(0.1, batch=0.25).selection.variance
    3.0
    """

    in_steps: ClassVar[bool] = True
    # Averages over random paths: their error falls like n^-1/2 to n^-1 with the number of paths.
    noisy: ClassVar[bool] = False  # whether the flow of the layers has a white noise
    default_rtol: ClassVar[float] = 1e-2

    step: float
    batch: float = 1.0
    sampling: str = "without_replacement"
    momentum: float
    nesterov: bool
    label_noise: float

    @property
    def selection(self) -> Selection:
        """Which samples the steps see."""
        raise NotImplementedError

    @property
    def rates(self) -> tuple[float, float] | None:
        """Of independent steps without momentum."""
        selection = self.selection
        if self.momentum or selection.epoch != 1 or selection.classes != 1:
            return None
        nu = selection.variance
        return self.step * nu, self.step * (1 + nu) * self.label_noise

    def noise_rate(self, square: np.ndarray) -> np.ndarray:
        """Return step (nu E r^2 + (1 + nu) label_noise)."""
        nu = self.selection.variance
        return self.step * (nu * square + (1 + nu) * self.label_noise)

    def require_simulated(self, times: np.ndarray) -> None:
        """Raise ValueError if a time is not a multiple of the step."""
        self.steps_of(times)

    def attainable(self, times: np.ndarray) -> np.ndarray:
        """Return the multiples of the step next to some times, none beyond the last one."""
        last = np.floor(np.max(times) / self.step + ON_STEP)
        return self.step * np.unique(np.minimum(np.rint(times / self.step), last))

    def steps_of(self, times: np.ndarray) -> np.ndarray:
        """Return the whole numbers of steps k of times t = k step, shape of `times`.

        Raises
        ------
        ValueError
            If a time is not a multiple of the step.
        """
        steps = np.rint(times / self.step)
        off = np.abs(times / self.step - steps) > ON_STEP * np.maximum(1.0, steps)
        if np.any(off):
            wrong = float(times[off].flat[0])
            raise ValueError(
                f"t_eval must hold multiples of step = {self.step:g}; got {wrong:g}, next to "
                f"{self.step * round(wrong / self.step):.10g}"
            )
        return steps.astype(int)
