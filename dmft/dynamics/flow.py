"""Gradient flow, the limit of small steps without noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dmft.dynamics.base import Dynamics


@dataclass(frozen=True)
class GradientFlow(Dynamics):
    """Gradient flow, du/dt = velocity(u, h) with h = (1/delta) X^T (X w - y).

    Examples
    --------
    >>> import dmft
    >>> dmft.Problem(delta=0.5).dynamics
    GradientFlow()
    """

    name: ClassVar[str] = "gradient_flow"
