"""Backward differences: the numerical differentiation formulas of order k <= 5.

With the backward differences del^j z_n at a constant step,

    sum_{j=1}^{k} (1/j) del^j z_{n+1} = h f(z_{n+1}) + kappa_k gamma_k del^{k+1} z_{n+1},
    gamma_k = sum_{j=1}^{k} 1/j,

solved by a simplified Newton iteration whose matrix is shift - J; a change of the step transforms
the differences. The system supplies the solution of these linear equations, which may exploit its
structure, and its own measure of the error.

References
----------
L. F. Shampine, M. W. Reichelt, SIAM J. Sci. Comput. 18, 1 (1997), section 2: the differentiation
formulas, the constants kappa_k, the change of step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dmft.solvers.ode_system import Array, System, Work, factor

ORDER = 5
KAPPA = np.array([0.0, -0.1850, -1 / 9, -0.0823, -0.0415, 0.0])
GAMMA = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, ORDER + 1))])
LEADING = (1 - KAPPA) * GAMMA
ERROR = KAPPA * GAMMA + 1 / np.arange(1, ORDER + 2)
NEWTON_STEPS = 4
NEWTON_TOLERANCE = 0.02  # of the permitted error
WORTHWHILE = 1.2  # a longer step must gain this factor, since it costs a factorisation


class Backward:
    """The differentiation formulas of variable step and order; outputs are interpolated.

    Examples
    --------
    >>> from dmft.solvers.ode_system import Decay, Work
    >>> import numpy as np
    >>> z = np.ones(1)
    >>> method = Backward(Decay(), Work(), z, -z, 0.0, 1e-4)
    >>> method.step()
    >>> bool(abs(method.interpolate(method.t)[0] - np.exp(-method.t)) < 1e-5)
    True
    """

    def __init__(self, system: System, work: Work, z: Array, f: Array, t: float, h: float) -> None:
        """Begin at order 1 from z at t, where its velocity is f."""
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
            self._rescale(factor(error, k + 1))
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
        gains = {k: factor(error, k + 1)}
        if k > 1:
            gains[k - 1] = factor(measure(ERROR[k - 1] * D[k]), k)
        if k < ORDER:
            gains[k + 1] = factor(measure(ERROR[k + 1] * D[k + 2]), k + 2)
        best = max(gains, key=lambda order: gains[order])
        if gains[best] > WORTHWHILE:
            self.order = best
            self._rescale(gains[best])

    def _rescale(self, factor: float) -> None:
        """Change the step by `factor`: the interpolating polynomial stays, its nodes move."""
        k = self.order
        change = difference_matrix(k, factor) @ difference_matrix(k, 1.0)
        self.D[: k + 1] = np.tensordot(change.T, self.D[: k + 1], 1)
        self.h *= factor
        self.equal_steps, self.solve = 0, None


def difference_matrix(order: int, factor: float) -> Array:
    """Return the matrix (order + 1, order + 1) of differences at a step times `factor`.

    Its product with the same matrix of factor 1 maps old differences to new ones.

    Examples
    --------
    >>> (difference_matrix(2, 1.0) @ difference_matrix(2, 1.0)).tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    j = np.arange(1, order + 1)
    M = np.zeros((order + 1, order + 1))
    M[0] = 1.0
    M[1:, 1:] = (j[:, None] - 1 - factor * j[None, :]) / j[:, None]
    return np.cumprod(M, axis=0)
