"""The fixed point x = F(x) of the DMFT's averages under a noise rule, and how it moves.

F runs through: averages -> kernels -> drive -> paths -> averages. How far a solution x moves
under a second rule F_2 needs no second solve: with a cheap map F_c, the solution of

    y = F_c(y) + [F_2(x) - F_c(x)]

is close to the fixed point of F_2 (defect correction; Stetter, Numer. Math. 29, 425, 1978).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.data_side import Kernels, Residual, build_kernels, variances_at
from dmft.equations.effective_process import EffectiveProcess
from dmft.equations.linear_response import LinearResponse
from dmft.equations.noise_rules import NoiseRule
from dmft.equations.start import initial_averages
from dmft.problem import Problem
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import FixedPoint, iterate

Vector = np.ndarray

SETTLED = 0.5  # of a sweep's change that sweeps of the linear model may leave
MODEL_SWEEPS = 8
UNFINISHED = 0.03  # share of a correction that may be left to the next one


@dataclass(frozen=True)
class SelfConsistency:
    """The problem on one grid, with its tolerance.

    Parameters
    ----------
    problem : Problem
    grid : Grid
    tolerance : Tolerance
    deadline : float
        Time of `time.monotonic` after which no averages are taken; Exhausted is raised then.
    """

    problem: Problem
    grid: Grid
    tolerance: Tolerance
    deadline: float = math.inf
    _recent: deque[_Point] = field(
        default_factory=lambda: deque(maxlen=8), repr=False, compare=False
    )

    def on(self, grid: Grid) -> SelfConsistency:
        """Return the problem on another grid."""
        return SelfConsistency(self.problem, grid, self.tolerance, self.deadline)

    def process(self, rule: NoiseRule) -> EffectiveProcess:
        """Return the effective process under a noise rule."""
        return EffectiveProcess(self.problem, self.grid, rule, self.deadline)

    def start(self) -> Vector:
        """Return the averages of paths that stay at their initial weight."""
        return initial_averages(self.problem, self.grid).pack()

    def _point(self, x: Vector) -> _Point:
        """Return what follows from the averages x, kept for the last few x."""
        for point in self._recent:
            if point.x is x:
                return point
        point = _Point(self.problem, self.grid, self.tolerance, x)
        self._recent.append(point)
        return point

    def kernels(self, x: Vector) -> Kernels:
        """Return the kernels of the averages x."""
        return self._point(x).kernels

    def image(self, process: EffectiveProcess, x: Vector) -> Vector:
        """Return F(x) for the process."""
        return process.averages(self.kernels(x)).pack()

    def observables(self, x: Vector) -> np.ndarray:
        """Return test error and train error at t = 0 and the nodes, shape (2, N + 1)."""
        return self._point(x).observables

    def observables_at(self, x: Vector, t: np.ndarray) -> np.ndarray:
        """Return test error and train error at the times t (T,), shape (2, T)."""
        point, move = self._point(x), self.grid.interpolation(t)
        both = point.averages.C_w, point.residual.C_r
        return 0.5 * np.array([variances_at(move, C) for C in both])

    def distance(self, new: Vector, old: Vector) -> float:
        """Return the largest change of an observable over its allowed error."""
        worst = float(self.ratios(new, self.observables(old)).max())
        return worst if math.isfinite(worst) else math.inf

    def ratios(self, x: Vector, others: np.ndarray) -> np.ndarray:
        """Return how far the observables of x are from others, over the allowed error.

        All are at t = 0 and the nodes, shape (2, N + 1).
        """
        point = self._point(x)
        return np.abs(point.observables - others) / point.allowed

    def solve(
        self,
        process: EffectiveProcess,
        x: Vector,
        tolerance: float,
        max_sweeps: int,
        offset: Vector | float = 0.0,
    ) -> FixedPoint:
        """Iterate to x = F(x) + offset until the change is below `tolerance` allowed errors."""
        return iterate(
            lambda y: self.image(process, y) + offset,
            x,
            self.distance,
            tolerance,
            max_sweeps,
            refined=self.refined,
        )

    def refined(self, x: Vector, image: Vector) -> Vector:
        """Return where the image F(x) leads if all weights respond as the mean does."""
        averages = self._point(image).averages
        model = LinearResponse(self.problem, averages, self.kernels(x), self.grid.stages)
        last = self.distance(image, x)
        enough = SETTLED * last
        for _ in range(MODEL_SWEEPS):
            following = model.at(self.kernels(image)).pack()
            change = self.distance(following, image)
            if not change < last:  # or nan
                break
            image, last = following, change
            if change <= enough:
                break
        return image

    def corrected(
        self,
        cheap: EffectiveProcess,
        known: Corrected,
        process: EffectiveProcess,
        base: EffectiveProcess,
        tolerance: float,
        max_sweeps: int,
        damping: float = 1.0,
        unfinished: float = UNFINISHED,
    ) -> Corrected:
        """Take a step of defect correction from a known solution of the cheap map.

        What `process` adds to `base` there is carried through the fixed point by the cheap map.
        The next step corrects what this one leaves, so that sweeps may leave a share, `unfinished`,
        of it. With `damping` < 1 only this share of the change of the correction is taken.
        """
        argument = known.point.argument
        image = known.point.image - known.correction  # the cheap map's, of that argument
        base_image = image if base is cheap else self.image(base, argument)
        correction = self.image(process, argument) - base_image
        step = damping * (correction - known.correction)
        start, correction = known.x + step, known.correction + step
        tolerance = max(tolerance, unfinished * self.distance(start, known.x))
        point = self.solve(cheap, start, tolerance, max_sweeps, correction)
        return Corrected(point, correction, point.success and damping == 1.0)


@dataclass(eq=False)
class _Point:
    """What follows from averages x, evaluated when first read."""

    problem: Problem
    grid: Grid
    tolerance: Tolerance
    x: Vector

    @cached_property
    def averages(self) -> Averages:
        return Averages.unpack(self.x, self.grid.size)

    @cached_property
    def residual(self) -> Residual:
        return build_residual(self.problem, self.grid, self.averages)

    @cached_property
    def kernels(self) -> Kernels:
        return build_kernels(self.residual)

    @cached_property
    def observables(self) -> np.ndarray:
        """Test error and train error at t = 0 and the nodes, shape (2, N + 1)."""
        return 0.5 * np.array([self.averages.C_w.diagonal(), self.residual.variance])

    @cached_property
    def allowed(self) -> np.ndarray:
        """Allowed errors of the observables, shape (2, N + 1)."""
        return self.tolerance.allowed(self.observables)


@dataclass(frozen=True, eq=False)
class Corrected:
    """Solution of x = F_c(x) + correction.

    Parameters
    ----------
    point : FixedPoint
    correction : ndarray, shape (n,)
    settled : bool
        Whether the sweeps did, and the whole step to the correction was taken.
    """

    point: FixedPoint
    correction: Vector
    settled: bool = True

    @property
    def x(self) -> Vector:
        """The solution."""
        return self.point.x
