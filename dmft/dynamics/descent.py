"""Gradient descent on all samples, with momentum and label noise."""

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


@dataclass(frozen=True)
class GradientDescent(Descent):
    """Gradient descent: every step sees all samples.

    Parameters
    ----------
    step : float
        Step in the project's unit of time, du/dt = -(d/2) dL/du; > 0.
    momentum : float
        Factor of the last change of the layers (heavy ball), in [0, 1).
    nesterov : bool
        Whether the gradient is taken after the momentum (Nesterov) instead of before.
    label_noise : float
        Variance of Gaussian noise that each step adds afresh to the labels; >= 0.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(delta=0.5, dynamics=dmft.GradientDescent(0.2, momentum=0.5))
    >>> dmft.solve(problem, t_max=2.0, t_eval=[0.0, 2.0]).test_error.round(4).tolist()
    [0.05, 0.0253]
    """

    step: float = step_field()
    momentum: float = momentum_field()
    nesterov: bool = nesterov_field()
    label_noise: float = label_noise_field()
    name: ClassVar[str] = "gradient_descent"

    @property
    def selection(self) -> Selection:
        """All samples in each step."""
        return Selection()
