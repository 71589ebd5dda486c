"""The fixed point (C_w, A) = F(C_w, A) of the DMFT under one noise rule, or two of them.

F runs through: averages -> kernels -> drive -> paths -> averages. The expensive rule need not
be iterated to convergence by itself. With F_f the fine and F_c a cheap map, the solution of

    y = F_c(y) + [F_f(x) - F_c(x)]

is a better x for the fine map: the error shrinks by the small difference of the two maps'
derivatives (defect correction; Stetter, Numer. Math. 29, 425, 1978). The same step from the
fine solution with a second fine rule tells how far the solution moves under that rule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dmft.effective_process import EffectiveProcess, initial_state
from dmft.kernels import Averages, build_kernels
from dmft.problem import Problem
from solvers.collocation import Grid
from solvers.fixed_point import FixedPoint, iterate
from solvers.noise_rules import NoiseRule

Vector = np.ndarray


@dataclass(frozen=True)
class Tolerance:
    """Largest error allowed at each time: rtol |value| + atol_fraction rtol |value at 0|."""

    rtol: float
    atol_fraction: float = 1e-3

    def allowed(self, observable: np.ndarray, start: float) -> np.ndarray:
        """Return the allowed error of an observable that is `start` at t = 0, shape (T,)."""
        return self.rtol * (np.abs(observable) + self.atol_fraction * max(start, 1e-300))


@dataclass(frozen=True)
class SelfConsistency:
    """The problem on one grid, with its tolerance.

    Parameters
    ----------
    problem : Problem
    grid : Grid
    tolerance : Tolerance
    """

    problem: Problem
    grid: Grid
    tolerance: Tolerance

    def process(self, rule: NoiseRule) -> EffectiveProcess:
        """Return the effective process under a noise rule."""
        return EffectiveProcess(self.problem, self.grid, rule)

    def start(self) -> Vector:
        """Return the averages of paths that stay at their initial weight."""
        problem, size = self.problem, self.grid.size
        w, _ = initial_state(problem)
        law = problem.signal
        C_w = np.full((size + 1, size + 1), law.second_moment - 2 * w * law.mean + w**2)
        D = problem.mirror.hessian_inverse(
            problem.alpha, problem.lam, np.zeros(size + 1), self.grid.nodes_with_start
        )
        level = np.ones(size + 1)
        return Averages(C_w, np.diag(D[1:]), w * level, w * law.mean * level, D).pack()

    def image(self, process: EffectiveProcess, x: Vector) -> Vector:
        """Return F(x) for the process."""
        kernels = build_kernels(self.problem, self.grid, Averages.unpack(x, self.grid.size))
        return process.averages(kernels).pack()

    def observables(self, x: Vector) -> np.ndarray:
        """Return test error and train error at t = 0 and the nodes, shape (2, N + 1)."""
        averages = Averages.unpack(x, self.grid.size)
        C_r = build_kernels(self.problem, self.grid, averages).C_r
        return 0.5 * np.stack([np.diag(averages.C_w), np.diag(C_r)])

    def distance(self, new: Vector, old: Vector) -> float:
        """Return the largest change of an observable over its allowed error."""
        return self.ratio(self.observables(new), self.observables(old))

    def ratio(self, new: np.ndarray, old: np.ndarray) -> float:
        """Return the largest difference of two sets of observables over the allowed error."""
        allowed = np.stack([self.tolerance.allowed(row, row[0]) for row in new])
        worst = np.max(np.abs(new - old) / allowed)
        return float(worst) if np.isfinite(worst) else float("inf")

    def solve(
        self,
        process: EffectiveProcess,
        x: Vector,
        tolerance: float,
        max_sweeps: int,
        offset: Vector | float = 0.0,
    ) -> FixedPoint:
        """Iterate x <- F(x) + offset until the change is below `tolerance` allowed errors."""
        return iterate(
            lambda y: self.image(process, y) + offset, x, self.distance, tolerance, max_sweeps
        )

    def corrected(
        self, cheap: EffectiveProcess, fine: EffectiveProcess, x: Vector, max_sweeps: int
    ) -> tuple[FixedPoint, float]:
        """Return one step of defect correction from x and the fine map's residual at x."""
        image = self.image(fine, x)
        offset = image - self.image(cheap, x)
        residual = self.distance(image, x)
        return self.solve(cheap, image, 0.02, max_sweeps, offset), residual

    def solve_fine(
        self,
        cheap: EffectiveProcess,
        fine: EffectiveProcess,
        x: Vector,
        tolerance: float,
        max_sweeps: int,
    ) -> FixedPoint:
        """Repeat the correction until it moves x by less than `tolerance` allowed errors.

        Where the cheap map misleads, that is the residual grows, plain iteration takes over.
        """
        history: list[float] = []
        best = np.inf
        for _ in range(max_sweeps):
            step, residual = self.corrected(cheap, fine, x, max_sweeps)
            history.append(residual)
            if not step.success or residual > 2 * best:
                rest = self.solve(fine, x, tolerance, max_sweeps)
                return FixedPoint(rest.x, rest.success, tuple(history) + rest.history)
            moved = self.distance(step.x, x)
            x, best = step.x, min(best, residual)
            if moved <= tolerance:
                return FixedPoint(x, True, tuple(history))
        return FixedPoint(x, False, tuple(history))
