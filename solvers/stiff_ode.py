"""Integrate dz/dt = f(z) explicitly while that is cheap, by backward differences once it is not.

Where stiffness limits explicit steps and going on so would take too much work, backward
differences carry on to the end.
"""

from __future__ import annotations

from dmft.solvers.backward_steps import Backward
from dmft.solvers.explicit_steps import Explicit
from dmft.solvers.ode_system import TINY, Array, System, Work

# Work ahead, over that of the stiff method, at which stiffness is not waited for to fade: in the
# regimes of `benchmarks/regimes.py` it fades by a factor of up to 8.
HOPELESS = 10.0
START = 1.0  # h * rate of the first step


def integrate(system: System, z0: Array, times: Array) -> tuple[list[Array], Work]:
    """Integrate dz/dt = f(z) from z0 at t = 0 and return z at each of `times`.

    Parameters
    ----------
    system : System
        Velocity, linearisation and measure of the error.
    z0 : ndarray
        State at t = 0, of any shape.
    times : ndarray, shape (T,)
        Increasing times >= 0.

    Returns
    -------
    states : list of ndarray
        The state at each time.
    work : Work
        Counts of evaluations, steps and factorisations.

    Raises
    ------
    RuntimeError
        If the step becomes too small to advance the time.

    Examples
    --------
    >>> import numpy as np
    >>> from dmft.solvers.ode_system import Decay
    >>> states, work = integrate(Decay(), np.ones(1), np.array([1.0]))
    >>> round(float(states[0][0]), 4)
    0.3679
    """
    work = Work(evaluations=1)
    rate = system.linearise(z0).rate
    h = min(float(times[-1]), START / max(rate, TINY))
    explicit = Explicit(system, work, z0, system.velocity(z0), h)
    states: list[Array] = []
    while len(states) < len(times):
        target = float(times[len(states)])
        if explicit.t >= target:
            states.append(explicit.z)
            continue
        explicit.step(target)
        left = float(times[-1]) - explicit.t
        if explicit.stiff and _too_long(explicit.cost(left), work, system):
            break
    if len(states) < len(times):
        stiff = Backward(system, work, explicit.z, explicit.f, explicit.t, explicit.h)
        for target in times[len(states) :]:
            while stiff.t < target:
                stiff.step()
            states.append(stiff.interpolate(float(target)))
    return states, work


def _too_long(ahead: float, work: Work, system: System) -> bool:
    """Return whether stiffness makes the explicit method too dear.

    Stiffness often fades, so the work that seems to be ahead need not come: the method goes on
    until it has done as much work as the stiff one would have taken, unless far more is ahead.
    """
    spent = work.evaluations > system.stiff_cost or ahead > HOPELESS * system.stiff_cost
    return spent and ahead > system.stiff_cost
