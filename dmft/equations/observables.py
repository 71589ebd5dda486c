"""One-time and two-time functions of a solution, from the averages of the effective process."""

from __future__ import annotations

import numpy as np

from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.data_side import variances_at
from dmft.problem import Problem
from dmft.solvers.collocation import Grid
from dmft.solvers.kernel_values import kernel_values

LONG_NAMES = {
    "test_error": "test error |w - w*|^2/(2 d)",
    "train_error": "train error |y - X w|^2/(2 n)",
    "mean_w": "mean weight E[w]",
    "overlap": "overlap of weight and target E[w w*]",
    "norm_w": "second moment of the weight E[w^2]",
    "alignment": "alignment of weight and target E[w w*]/sqrt(E[w^2] E[w*^2])",
    "C_w": "correlation E[theta(t) theta(s)] of theta = w - w*",
    "R_w": "response d theta(t)/d h(s) of theta = w - w*, 0 for s > t",
    "C_r": "correlation E[r(t) r(s)] of the residual r = X w - y",
    "R_r": "response of the residual without its delta function at s = t, 0 for s > t",
}
ONE_TIME = ("test_error", "train_error", "mean_w", "overlap", "norm_w", "alignment")
TWO_TIME = ("C_w", "R_w", "C_r", "R_r")
# Rounding error of E[w^2] = C_w + 2 E[w w*] - E[w*^2] over the sum of its terms. Each of them is
# rounded once and interpolation adds a few roundings more.
ROUNDING = 4 * float(np.finfo(float).eps)


def one_time_functions(
    problem: Problem, grid: Grid, averages: Averages, t: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the observables (T,), at 0 and the nodes where t is absent; see `Solution`.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.01)
    >>> found = one_time_functions(solution.problem, solution.grid, solution.averages)
    >>> round(float(found["test_error"][0]), 3)
    0.05
    """
    residual = build_residual(problem, grid, averages)
    mean_w, overlap = averages.mean_w, averages.overlap
    if t is None:
        C_w, C_r = np.diag(averages.C_w), residual.variance
    else:
        move = grid.interpolation(t)
        if problem.dynamics.noisy:  # correlations have a kink at s = t, but the variance has none
            C_w, C_r = move @ np.diag(averages.C_w), move @ residual.variance
        else:
            C_w, C_r = variances_at(move, averages.C_w), variances_at(move, residual.C_r)
        mean_w, overlap = move @ mean_w, move @ overlap
    power = problem.signal.second_moment
    norm_w = C_w + 2 * overlap - power
    # a difference of terms of this size, so that less than their rounding errors is nothing
    rounding = ROUNDING * (np.abs(C_w) + 2 * np.abs(overlap) + power)
    norm_w = np.where(norm_w > rounding, norm_w, 0.0)
    size = np.sqrt(norm_w * power)
    return {
        "test_error": np.maximum(0.5 * C_w, 0.0),
        "train_error": np.maximum(0.5 * C_r, 0.0),
        "mean_w": mean_w,
        "overlap": overlap,
        "norm_w": norm_w,
        "alignment": np.divide(overlap, size, out=np.zeros_like(size), where=size > 1e-12),
    }


def two_time_functions(
    problem: Problem, grid: Grid, averages: Averages, t: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the correlations and responses of shape (T, T); see `Solution`.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.01)
    >>> t = np.array([0.0, 1.0])
    >>> two_time_functions(solution.problem, solution.grid, solution.averages, t)["C_w"].shape
    (2, 2)
    """
    residual = build_residual(problem, grid, averages)
    move = grid.interpolation(t)
    drift = problem.mirror.drift(problem.lam, grid.nodes_with_start)
    jump = -averages.mean_D * drift
    smooth = residual.R_r - np.eye(grid.size)
    return {
        "C_w": move @ averages.C_w @ move.T,
        "R_w": kernel_values(grid, residual.R_w, jump, t),
        "C_r": move @ residual.C_r @ move.T,
        "R_r": kernel_values(grid, smooth, jump / problem.delta, t),
    }
