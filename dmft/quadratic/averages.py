"""What the samples of the effective process average to, and the functions of time that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from dmft.equations.data_side import DataSide, data_side
from dmft.quadratic.problem import QuadraticProblem
from dmft.solvers.collocation import Grid


@dataclass(frozen=True, eq=False)
class MatrixAverages:
    """Averages at t = 0 and the n nodes of a grid.

    Parameters
    ----------
    C_Z : ndarray, shape (n + 1, n + 1)
        Tr[(Z(t) - Z*)(Z(s) - Z*)]/N.
    R_Z : ndarray, shape (n, n)
        Response of Z on the nodes, with the integration.
    force : ndarray, shape (n + 1,)
        Tr[M (Z - Z*)]/N.
    overlap, trace : ndarray, shape (n + 1,)
        Tr[Z Z*]/N and Tr Z/N.
    """

    C_Z: np.ndarray
    R_Z: np.ndarray
    force: np.ndarray
    overlap: np.ndarray
    trace: np.ndarray

    @classmethod
    def combined(cls, parts: Sequence[MatrixAverages], weights: Sequence[float]) -> MatrixAverages:
        """Return the sum of weighted averages on one grid."""
        return cls(
            *(
                sum(w * getattr(part, field.name) for w, part in zip(weights, parts, strict=True))
                for field in fields(cls)
            )
        )

    def residual(self, problem: QuadraticProblem) -> Residual:
        """Return the sample's side."""
        side = data_side(-self.R_Z, 2 * self.C_Z[1:, 1:], problem.label_noise, 1 / problem.alpha)
        return Residual(problem, self, side)


@dataclass(frozen=True)
class Residual:
    """Residuals r = Tr(X Z) - y that belong to the averages."""

    problem: QuadraticProblem
    averages: MatrixAverages
    side: DataSide

    @cached_property
    def reach(self) -> np.ndarray:
        """R_f at t = 0, where nothing has responded yet, and the nodes, (n + 1, n + 1)."""
        size = len(self.averages.C_Z)
        reach = np.zeros((size, size))
        reach[0, 0] = 1.0
        reach[1:, 1:] = self.side.R_r
        return reach

    @cached_property
    def C_f(self) -> np.ndarray:
        """Correlation of the residuals, (n + 1, n + 1).

        On its diagonal it is the mean of two expressions that the limit makes equal, R_f (2 C_Z +
        Delta) R_f^T and, by Stein's lemma, Tr[M (Z - Z*)]/N + Delta R_f 1. Their sampling errors
        are of opposite sign.
        """
        C = self.reach @ (2 * self.averages.C_Z + self.problem.label_noise) @ self.reach.T
        C[np.diag_indices_from(C)] -= 0.5 * self.mismatch(C)
        return 0.5 * (C + C.T)

    def mismatch(self, C: np.ndarray) -> np.ndarray:
        """Return the difference of the two expressions for C_f(t, t), (n + 1,)."""
        return np.diag(C) - self.averages.force - self.problem.label_noise * self.memory

    @cached_property
    def memory(self) -> np.ndarray:
        """R_f 1: what is left of a constant label error in the residual, (n + 1,)."""
        return self.reach.sum(axis=1)


def one_time_functions(
    problem: QuadraticProblem, grid: Grid, averages: MatrixAverages, t: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the observables at times t (T,); see `dmft.quadratic.observables`."""
    residual, move = averages.residual(problem), grid.interpolation(t)
    noise, memory = problem.label_noise, residual.memory
    train = np.diag(residual.C_f)
    mse = np.einsum("ti,ti->t", move @ averages.C_Z, move)
    # the labels' noise enters r with -1 and comes back with 1 - R_f 1
    clean = train + noise * (1 - 2 * memory)
    return {
        "mse": mse,
        "test_error": mse / 2,
        "train_error": move @ train / 4,
        "clean_train_error": move @ clean / 4,
        "overlap": move @ averages.overlap,
        "trace": move @ averages.trace,
    }


def two_time_functions(
    problem: QuadraticProblem, grid: Grid, averages: MatrixAverages, t: np.ndarray
) -> dict[str, np.ndarray]:
    """Return correlations and responses at ascending times t, each of shape (T, T)."""
    from dmft.solvers.kernel_values import kernel_values

    residual, move = averages.residual(problem), grid.interpolation(t)
    jump = 2 * averages.trace
    smooth = residual.side.R_r - np.eye(grid.size)
    return {
        "C_Z": move @ averages.C_Z @ move.T,
        "C_f": move @ residual.C_f @ move.T,
        "R_f": kernel_values(grid, smooth, -jump / problem.alpha, t),
        "R_Z": kernel_values(grid, averages.R_Z, jump, t),
    }
