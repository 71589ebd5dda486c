"""The solution of one problem: observables, two-time functions, their errors, sample paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.data_side import build_kernels
from dmft.equations.effective_process import draw_paths
from dmft.equations.observables import ONE_TIME, TWO_TIME, one_time_functions, two_time_functions
from dmft.problem import Problem
from dmft.solvers.collocation import Grid
from dmft.validation import require_integer


@dataclass(frozen=True, eq=False)
class Paths:
    """Trajectories of the effective process.

    Parameters
    ----------
    t : ndarray, shape (T,)
    H, w : ndarray, shape (n, T)
        Integrated gradient and weight of each draw.
    u, v : ndarray, shape (n, T), or None
        Layers, for the networks that have this pair.
    w_star : ndarray, shape (n,)
        Target of each draw.
    """

    t: np.ndarray
    H: np.ndarray
    u: np.ndarray | None
    v: np.ndarray | None
    w: np.ndarray
    w_star: np.ndarray


class Lazy(dict[str, np.ndarray]):
    """Arrays by name, some of which a function gives all at once when one is first wanted.

    Two-time functions take longer to evaluate than many a solve.
    """

    def __init__(
        self, known: dict[str, np.ndarray], rest: Callable[[], dict[str, np.ndarray]]
    ) -> None:
        """Hold what is known and how to get the rest."""
        super().__init__(known)
        self._rest = rest

    def __missing__(self, name: str) -> np.ndarray:
        """Evaluate the rest."""
        for key, value in self._rest().items():
            self.setdefault(key, value)
        if name not in self:
            raise KeyError(name)
        return self[name]


@dataclass(frozen=True, eq=False)
class Solution:
    """What `dmft.solve` returns.

    Parameters
    ----------
    problem : Problem
    t : ndarray, shape (T,)
        Times, in the unit du/dt = -(d/2) dL/du.
    values, error : dict of str to ndarray
        Observables of shape (T,) and two-time functions of shape (T, T), and estimates of
        their absolute errors. Two-time functions of a fresh solution are evaluated, and listed,
        once one of them has been read. The names are also attributes:

        test_error, train_error   |w - w*|^2/(2 d) and |y - X w|^2/(2 n)
        mean_w, overlap, norm_w   E[w], E[w w*], E[w^2]
        alignment                 E[w w*] / sqrt(E[w^2] E[w*^2]), 0 where w = 0
        C_w, C_r                  correlations of theta = w - w* and of the residual
        R_w                       response d theta(t)/d h(s), 0 for s > t, R_w(t+, t) at s = t
        R_r                       response of the residual without its delta function at s = t
    grid : Grid
        The solver's time grid.
    averages : Averages
        The solver's unknowns on that grid.
    rtol : float
        Accuracy asked for.
    seed : int
    success : bool
        Whether the iteration converged and the estimated error meets the tolerance.
    status : int
        0 success; 1 error above the tolerance; 2 no convergence.
    message : str
        The outcome in a sentence, with what to change where it failed.
    stats : dict
        sweeps, residual_history (change of each sweep over the tolerance), paths, nodes,
        panels, noise_rule, error_over_tolerance, failed_paths (of every rule and grid that gave
        the result), uncovered_mass (of the Gaussian noise, that the rule's nodes left out),
        wall_time and compile_time in seconds.
    """

    problem: Problem
    t: np.ndarray
    values: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    grid: Grid
    averages: Averages
    rtol: float
    seed: int
    success: bool
    status: int
    message: str
    stats: dict[str, Any]

    def __getattr__(self, name: str) -> np.ndarray:
        """Return an observable or two-time function by its name."""
        if name in ONE_TIME or name in TWO_TIME:
            return self.values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __eq__(self, other: object) -> bool:
        """Two solutions are equal when all their numbers are."""
        if not isinstance(other, Solution):
            return NotImplemented
        return self._numbers() == other._numbers()

    def _numbers(self) -> tuple[Any, ...]:
        arrays = (
            self.t,
            self.grid.edges,
            self.averages.pack(),
            *(self.values[name] for name in (*ONE_TIME, *TWO_TIME)),
            *(self.error[name] for name in (*ONE_TIME, *TWO_TIME)),
        )
        # as text, since nan, which a history may hold, does not equal itself
        stats = {k: repr(np.asarray(v).tolist()) for k, v in self.stats.items()}
        scalars = (self.rtol, self.seed, self.success, self.status, self.message, stats)
        return (self.problem, self.grid.stages, scalars, *(a.tobytes() for a in arrays))

    def sample_paths(self, n: int, rng: int | np.random.Generator | None = None) -> Paths:
        """Draw trajectories of the effective process on `t`.

        Parameters
        ----------
        n : int
            Number of draws; >= 1.
        rng : int or Generator, optional
            Seed; the solution's own where absent.

        Raises
        ------
        ValueError
            If `n` is not a positive integer.
        """
        require_integer("n", n, low=1)
        generator = np.random.default_rng(self.seed if rng is None else rng)
        kernels = build_kernels(build_residual(self.problem, self.grid, self.averages))
        H_nodes, w_star = draw_paths(self.problem, self.grid, kernels, n, generator)
        start = np.zeros((n, 1))
        H = np.concatenate([start, H_nodes], axis=1) @ self.grid.interpolation(self.t).T
        alpha, lam = self.problem.alpha, self.problem.lam
        pair = self.problem.mirror.layer_pair(alpha, lam, H, self.t)
        u, v = (None, None) if pair is None else pair
        return Paths(self.t, H, u, v, self.problem.mirror.weight(alpha, lam, H, self.t), w_star)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the solution to an HDF5 file; see `dmft.hdf5`."""
        from dmft.storage.hdf5 import save

        save(self, path)


def evaluate(
    problem: Problem, grid: Grid, averages: Averages, t: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every observable and two-time function at the times t (T,); see `Solution`."""
    return {
        **one_time_functions(problem, grid, averages, t),
        **two_time_functions(problem, grid, averages, t),
    }
