"""Explicit steps of order 8, which notice when stiffness limits them.

The steps are stable while h times the spectral radius of J = df/dz is below 6. The growth of f
between two stages at one time shows when that limit binds.

References
----------
E. Hairer, G. Wanner, Solving Ordinary Differential Equations II (1996), IV.2: detection of
stiffness.
"""

from __future__ import annotations

import math

import numpy as np

from dmft.solvers.dormand_prince import FIFTH, ORDER, STAGES, THIRD
from dmft.solvers.ode_system import Array, System, Work, factor

NEW_STAGES = (
    len(STAGES) - 1
)  # evaluations of a step, as the last stage of one is the first of the next
STIFF = 1.0  # h * rate beyond which stiffness, not the solution, sets the explicit steps
# h * rate of the longest step that is tried once stiffness shows: the method is stable below 6.
STABLE = 5.5
# The error estimate of order 8 is that of order 5 to 7 and far above the true error: it is divided
# by this. Over 240 random flows of all networks at a tolerance of 1e-7 a step, the relative errors
# of test and train error that steps left were below 7e-7 in nine of ten and at most 2e-5; with 50
# in place of 20 they reached 4e-5, with 100 3e-4.
PESSIMISM = 20.0


class Explicit:
    """The method of order 8, which ends a step at each output.

    Examples
    --------
    >>> from dmft.solvers.ode_system import Decay, Work
    >>> import numpy as np
    >>> z = np.ones(1)
    >>> method = Explicit(Decay(), Work(), z, -z, 0.1)
    >>> method.step(0.1)
    >>> round(float(method.z[0]), 6)
    0.904837
    """

    def __init__(self, system: System, work: Work, z: Array, f: Array, h: float) -> None:
        """Begin with a step h from z at t = 0, where its velocity is f."""
        self.system, self.work = system, work
        self.z, self.f, self.t, self.h = z, f, 0.0, h
        self.stiff = False
        self.K = np.empty((len(STAGES), *z.shape))

    def cost(self, span: float) -> float:
        """Return the evaluations of f that `span` takes with the present step."""
        return span / self.h * NEW_STAGES

    def step(self, target: float) -> None:
        """Advance by one step towards `target`, not beyond it."""
        left = target - self.t
        while True:
            count = math.ceil(left / self.h)
            h = left / count
            if self.t + 0.1 * h == self.t:
                raise RuntimeError(f"the step became too small at t = {self.t:g}")
            new, error, reach = self._attempt(h)
            self.work.steps += 1
            self.work.evaluations += NEW_STAGES
            if error <= 1:
                break
            self.work.rejected += 1
            self.h = h * factor(error, ORDER)
        # a step cut short by an output says little: keep the longer proposal
        self.h = max(h * factor(error, ORDER), self.h if count == 1 else 0.0)
        if reach > STIFF:  # longer steps would be unstable, and be rejected later
            self.h = min(self.h, STABLE / reach * h)
        self.t = target if count == 1 else self.t + h
        self.f = self.K[-1].copy()
        self.z, self.stiff = new, reach > STIFF

    def _attempt(self, h: float) -> tuple[Array, float, float]:
        """Return the state after a step h, its error over the permitted one, and h * rate."""
        system, K = self.system, self.K
        K[0] = self.f
        before, new = system.set_stages(self.z, K, h * STAGES)
        measure = system.measure(new)
        rows, shape = K.reshape(len(K), -1), new.shape
        fifth, third = (measure((h * row @ rows).reshape(shape)) for row in (FIFTH, THIRD))
        error = fifth * (fifth / math.hypot(fifth, 0.1 * third)) if fifth > 0 else fifth
        # the last two stages are two states at one time: f between them shows the rate
        metric = system.metric(new)
        apart, growth = _length(metric * (new - before)), _length(metric * (K[-1] - K[-2]))
        reach = h * growth / apart if apart > 0 else 0.0
        return new, error / PESSIMISM, reach


def _length(array: Array) -> float:
    return math.sqrt(float(np.vdot(array, array)))
