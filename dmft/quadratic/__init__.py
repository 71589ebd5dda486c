"""Extensive-width quadratic networks: the same mean-field theory with a matrix for a coordinate."""

from __future__ import annotations

from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.recovery import recovery_threshold
from dmft.quadratic.steady_state import (
    QuadraticSteadyState,
    steady_state,
    steady_states,
)

__all__ = [
    "QuadraticProblem",
    "QuadraticSteadyState",
    "recovery_threshold",
    "steady_state",
    "steady_states",
]
