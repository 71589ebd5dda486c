"""Integrate dz/dt = f(z) explicitly while that is cheap, by backward differences once it is not.

Explicit steps are those of Dormand and Prince of order 8; they are stable while the step h times
the spectral radius of J = df/dz is below 6. The growth of f between two stages shows when that
limit binds; if going on so would take too much work, the numerical differentiation formulas of
order k <= 5 carry on to the end. With the backward differences del^j z_n at a constant step,

    sum_{j=1}^{k} (1/j) del^j z_{n+1} = h f(z_{n+1}) + kappa_k gamma_k del^{k+1} z_{n+1},
    gamma_k = sum_{j=1}^{k} 1/j,

solved by a simplified Newton iteration whose matrix is shift - J; a change of the step transforms
the differences. The system supplies the solution of these linear equations, which may exploit its
structure, and its own measure of the error.

References
----------
E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I (1993), II.5, and
E. Hairer, G. Wanner, the same, II (1996), IV.2: the explicit method, detection of stiffness.
L. F. Shampine, M. W. Reichelt, SIAM J. Sci. Comput. 18, 1 (1997), section 2: the differentiation
formulas, the constants kappa_k, the change of step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Array = np.ndarray

SAFETY = 0.9
SHRINK, GROW = 0.2, 5.0  # a step changes by a factor between these
STIFF = 1.0  # h * rate beyond which stiffness, not the solution, sets the explicit steps
# Work ahead, over that of the stiff method, at which stiffness is not waited for to fade: in the
# regimes of `benchmarks/regimes.py` it fades by a factor of up to 8.
HOPELESS = 10.0
# h * rate of the longest step that is tried once stiffness shows: the method is stable below 6.
STABLE = 5.5
# The error estimate of order 8 is that of order 5 to 7 and far above the true error. Over 11 flows
# of all networks, with a tolerance of 1e-7 a step, the errors of test and train error were at most
# 4e-6 with a factor of 20, 6e-6 with 50 and 1e-5 with 100.
PESSIMISM = 20.0
START = 1.0  # h * rate of the first step
TINY = np.finfo(float).tiny

ORDER = 5
KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])
GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ORDER + 1))])
LEADING = (1 - KAPPA) * GAMMA
ERROR = KAPPA * GAMMA + 1 / np.arange(1, ORDER + 2)
NEWTON_STEPS = 4
NEWTON_TOLERANCE = 0.02  # of the permitted error
WORTHWHILE = 1.2  # a longer step must gain this factor, since it costs a factorisation


class Linearisation(Protocol):
    """The Jacobian J at one point."""

    @property
    def rate(self) -> float:
        """Bound on the modulus of the eigenvalues of J."""

    def solver(self, shift: float) -> Callable[[Array], Array]:
        """Return b -> (shift - J)^(-1) b; LinAlgError if there is none."""


class System(Protocol):
    """An autonomous system with its own measure of the error."""

    @property
    def stiff_cost(self) -> float:
        """Explicit work, in evaluations of f, that the stiff method is worth."""

    def velocity(self, z: Array) -> Array:
        """Return f(z), shape of z."""

    def linearise(self, z: Array) -> Linearisation:
        """Return df/dz at z."""

    def measure(self, z: Array) -> Callable[[Array], float]:
        """Return the size of a defect near z, over the permitted one."""


@dataclass
class Work:
    """Counts of what one integration has done."""

    evaluations: int = 0
    steps: int = 0
    rejected: int = 0
    factorisations: int = 0


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
    """
    work = Work(evaluations=1)
    rate = system.linearise(z0).rate
    h = min(float(times[-1]), START / max(rate, TINY))
    explicit = _Explicit(system, work, z0, system.velocity(z0), h)
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
        stiff = _Backward(system, work, explicit.z, explicit.f, explicit.t, explicit.h)
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


class _Explicit:
    """The method of order 8, which ends a step at each output."""

    def __init__(self, system: System, work: Work, z: Array, f: Array, h: float) -> None:
        from scipy.integrate import DOP853

        self.tableau = DOP853
        self.system, self.work = system, work
        self.z, self.f, self.t, self.h = z, f, 0.0, h
        self.stiff = False
        self.K = np.empty((DOP853.n_stages + 1, z.size))

    def cost(self, span: float) -> float:
        """Return the evaluations of f that `span` takes with the present step."""
        return span / self.h * self.tableau.n_stages

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
            self.work.evaluations += self.tableau.n_stages
            if error <= 1:
                break
            self.work.rejected += 1
            self.h = h * _factor(error, 8)
        # a step cut short by an output says little: keep the longer proposal
        self.h = max(h * _factor(error, 8), self.h if count == 1 else 0.0)
        if reach > STIFF:  # longer steps would be unstable, and be rejected later
            self.h = min(self.h, STABLE / reach * h)
        self.t = target if count == 1 else self.t + h
        self.f = self.K[self.tableau.n_stages].reshape(new.shape).copy()
        self.z, self.stiff = new, reach > STIFF

    def _velocity(self, flat: Array) -> Array:
        return self.system.velocity(flat.reshape(self.z.shape)).ravel()

    def _attempt(self, h: float) -> tuple[Array, float, float]:
        tableau, K, z = self.tableau, self.K, self.z.ravel()
        stages = tableau.n_stages
        K[0] = self.f.ravel()
        point = z
        for i in range(1, stages):
            point = z + h * (tableau.A[i, :i] @ K[:i])
            K[i] = self._velocity(point)
        new = z + h * (tableau.B @ K[:stages])
        K[stages] = self._velocity(new)
        measure = self.system.measure(new.reshape(self.z.shape))
        fifth, third = (
            measure(h * (weights @ K[: stages + 1]).reshape(self.z.shape))
            for weights in (tableau.E5, tableau.E3)
        )
        error = fifth * (fifth / math.hypot(fifth, 0.1 * third)) if fifth > 0 else fifth
        error /= PESSIMISM
        # the last stage and the result are two states at one time: f between them shows the rate
        apart = float(np.linalg.norm(new - point))
        reach = h * float(np.linalg.norm(K[stages] - K[stages - 1])) / apart if apart > 0 else 0.0
        return new.reshape(self.z.shape), error, reach


class _Backward:
    """The differentiation formulas of variable step and order; outputs are interpolated."""

    def __init__(self, system: System, work: Work, z: Array, f: Array, t: float, h: float) -> None:
        self.system, self.work, self.t, self.h = system, work, t, h
        self.D = np.zeros((ORDER + 3, *z.shape))
        self.D[0], self.D[1] = z, h * f
        self.order, self.equal_steps = 1, 0
        self.solve: Callable[[Array], Array] | None = None
        self.contraction = 1.0

    def interpolate(self, t: float) -> Array:
        """Return the state at `t`, within the last step."""
        j = np.arange(self.order)
        basis = np.cumprod((t - self.t + j * self.h) / ((j + 1) * self.h))
        return self.D[0] + np.tensordot(basis, self.D[1 : self.order + 1], 1)

    def step(self) -> None:
        """Advance by one step."""
        D, k = self.D, self.order
        while True:
            if self.t + self.h == self.t:
                raise RuntimeError(f"the step became too small at t = {self.t:g}")
            self.work.steps += 1
            predicted = D[: k + 1].sum(axis=0)
            measure = self.system.measure(predicted)
            correction = self._correction(predicted, measure)
            if correction is None:
                self._rescale(0.5)
                continue
            error = measure(ERROR[k] * correction)
            if error <= 1:
                break
            self.work.rejected += 1
            self._rescale(_factor(error, k + 1))
        self.t += self.h
        self.equal_steps += 1
        D[k + 2] = correction - D[k + 1]
        D[k + 1] = correction
        for j in reversed(range(k + 1)):
            D[j] += D[j + 1]
        if self.equal_steps > k:
            self._choose_order(measure, error)

    def _correction(self, predicted: Array, measure: Callable[[Array], float]) -> Array | None:
        """Return z_{n+1} minus its prediction, or None where Newton's iteration fails."""
        if self.solve is not None:
            correction = self._newton(predicted, measure, self.solve)
            if correction is not None:
                return correction
        self.work.factorisations += 1
        self.contraction = 1.0
        try:
            shift = LEADING[self.order] / self.h
            self.solve = self.system.linearise(predicted).solver(shift)
        except np.linalg.LinAlgError:
            return None
        return self._newton(predicted, measure, self.solve)

    def _newton(
        self,
        predicted: Array,
        measure: Callable[[Array], float],
        solve: Callable[[Array], Array],
    ) -> Array | None:
        k = self.order
        shift = LEADING[k] / self.h
        history = np.tensordot(GAMMA[1 : k + 1], self.D[1 : k + 1], 1) / self.h
        correction, last = np.zeros_like(predicted), math.inf
        for iteration in range(NEWTON_STEPS):
            self.work.evaluations += 1
            f = self.system.velocity(predicted + correction)
            change = solve(f - history - shift * correction)
            size = measure(change)
            if not math.isfinite(size):
                return None
            correction += change
            if iteration > 0:
                self.contraction = size / last
            if self.contraction < 1:
                ahead = self.contraction / (1 - self.contraction) * size
                if ahead < NEWTON_TOLERANCE:
                    return correction
                left = NEWTON_STEPS - 1 - iteration
                if ahead * self.contraction**left > NEWTON_TOLERANCE:
                    return None
            elif iteration > 0:
                return correction if size < NEWTON_TOLERANCE else None
            elif size == 0:
                return correction
            last = size
        return None

    def _choose_order(self, measure: Callable[[Array], float], error: float) -> None:
        k, D = self.order, self.D
        gains = {k: _factor(error, k + 1)}
        if k > 1:
            gains[k - 1] = _factor(measure(ERROR[k - 1] * D[k]), k)
        if k < ORDER:
            gains[k + 1] = _factor(measure(ERROR[k + 1] * D[k + 2]), k + 2)
        best = max(gains, key=lambda order: gains[order])
        if gains[best] > WORTHWHILE:
            self.order = best
            self._rescale(gains[best])

    def _rescale(self, factor: float) -> None:
        """Change the step by `factor`: the interpolating polynomial stays, its nodes move."""
        k = self.order
        change = _difference_matrix(k, factor) @ _difference_matrix(k, 1.0)
        self.D[: k + 1] = np.tensordot(change.T, self.D[: k + 1], 1)
        self.h *= factor
        self.equal_steps, self.solve = 0, None


def _difference_matrix(order: int, factor: float) -> Array:
    j = np.arange(1, order + 1)
    M = np.zeros((order + 1, order + 1))
    M[0] = 1.0
    M[1:, 1:] = (j[:, None] - 1 - factor * j[None, :]) / j[:, None]
    return np.cumprod(M, axis=0)


def _factor(error: float, power: int) -> float:
    if not math.isfinite(error):
        return SHRINK
    return min(GROW, max(SHRINK, SAFETY * max(error, TINY) ** (-1 / power)))
