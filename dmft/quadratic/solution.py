"""The solution of one quadratic network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from dmft.quadratic.averages import MatrixAverages, one_time_functions, two_time_functions
from dmft.quadratic.observables import (
    ERRORS_LABEL,
    ONE_TIME,
    REFERENCE,
    RESPONSES,
    TEXTS,
    TIME,
    TIME_LABEL,
    TWO_TIME,
)
from dmft.quadratic.problem import QuadraticProblem
from dmft.solvers.collocation import Grid
from dmft.storage import Group, Record, Variable, configuration_of
from dmft.trajectory import Functions, Trajectory, read_only
from dmft.validation import require_times
from dmft.values import frozen

AXES = {
    "C_Z": ("t_start", "s_start"),
    "R_Z": ("t_node", "s_node"),
    "force": ("t_start",),
    "overlap": ("t_start",),
    "trace": ("t_start",),
}


@dataclass(frozen=True, eq=False, repr=False)
class QuadraticSolution(Trajectory):
    """What `dmft.solve` returns for a quadratic network.

    Parameters
    ----------
    problem : QuadraticProblem
    t : ndarray, shape (T,)
        Times, in the unit dW/dt = -d dL/dW.
    values, error : mapping of str to ndarray
        Functions of time and their standard errors, each also an attribute:

        mse, test_error               Tr[(Z - Z*)^2]/d and half of it
        train_error                   sum_k (Tr(X_k Z) - y_k)^2/(4 n), label noise included
        clean_train_error             the same against labels without noise
        overlap, trace                Tr[Z Z*]/d and Tr Z/d
        C_Z, C_f                      correlations of Z - Z* and of the residuals, (T, T)
        R_f, R_Z                      responses of residual and Z, (T, T), 0 for s > t; that of the
        residual leaves out its delta function
    eigenvalues : ndarray, shape (draws, T, N)
        Of Z(t) in the largest samples, ascending.
    grid : Grid
        The solver's time grid.
    averages : MatrixAverages
        Extrapolated averages on that grid, from which `solution(t)` and `at` are evaluated.
    rtol : float
        Accuracy asked for.
    seed : int
    success : bool
        Whether all samples converged and the errors meet the tolerance.
    status : int
        0 success; 1 error above the tolerance; 2 no convergence.
    message : str
        The outcome in a sentence.
    stats : dict
        samples and sizes, panels, sweeps, failed_samples, error_over_tolerance, and wall_time in
        seconds.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.QuadraticProblem(0.3, 0.7, 0.5)
    >>> solution = dmft.solve(problem, 0.2, [0.0, 0.2], rtol=0.3, rng=1)
    >>> round(float(solution.mse[0] / problem.initial_mse), 6)
    1.0
    """

    problem: QuadraticProblem
    t: np.ndarray
    values: Mapping[str, np.ndarray]
    error: Mapping[str, np.ndarray]
    eigenvalues: np.ndarray
    grid: Grid
    averages: MatrixAverages
    rtol: float
    seed: int
    success: bool
    status: int
    message: str
    stats: dict[str, Any]

    texts: ClassVar[Mapping[str, str]] = TEXTS
    time_text: ClassVar[str] = TIME
    time_label: ClassVar[str] = TIME_LABEL
    errors_label: ClassVar[str] = ERRORS_LABEL

    def __post_init__(self) -> None:
        """Check the times and make all arrays read-only."""
        checked = {
            "t": read_only(require_times("t", self.t)),
            "values": Functions(self.values),
            "error": Functions(self.error),
            "eigenvalues": read_only(self.eigenvalues),
            "averages": MatrixAverages(
                *(read_only(getattr(self.averages, f.name)) for f in fields(MatrixAverages))
            ),
            "stats": frozen(dict(self.stats)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __call__(self, t: Any) -> Functions:
        """Return the observables at any times in [0, t_max], arrays of the shape of `t`.

        Raises
        ------
        ValueError
            If a time is not finite or out of the range.
        """
        times, back = self._times("t", t)
        values = one_time_functions(self.problem, self.grid, self.averages, times)
        return Functions({name: value[back] for name, value in values.items()})

    def at(self, t: Any, s: Any) -> Functions:
        """Return the two-time functions at pairs of times, with the axes of `t` and then of `s`.

        Raises
        ------
        ValueError
            If a time is not finite or out of the range.
        """
        (first, to_t), (second, to_s) = self._times("t", t), self._times("s", s)
        times = np.union1d(first, second)
        rows = np.searchsorted(times, first)[to_t]
        columns = np.searchsorted(times, second)[to_s]
        place = (rows.reshape(rows.shape + (1,) * columns.ndim), columns)
        values = two_time_functions(self.problem, self.grid, self.averages, times)
        return Functions({name: value[place] for name, value in values.items()})

    def _times(self, name: str, value: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the ascending distinct times in `value`, and where each of its entries is."""
        array = np.asarray(value, dtype=float)
        times, back = np.unique(array, return_inverse=True)
        require_times(name, times, self.grid.t_max)
        return times, back.reshape(array.shape)

    def summary(self) -> dict[str, str]:
        """Return the outcome, the times and the last errors."""
        return {
            "problem": repr(self.problem),
            "outcome": f"{'success' if self.success else 'no success'}: {self.message}",
            **self.functions_summary(),
            "rtol, seed": f"{self.rtol:g}, {self.seed}",
            "wall time": f"{self.stats['wall_time']:.3g} s" if "wall_time" in self.stats else "",
        }

    @property
    def sources(self) -> tuple[str, ...]:
        """What the theory rests on, by the keys of `dmft.citations`."""
        return ("2601.10483",)

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        settings = {
            "problem": configuration_of("problem", self.problem),
            "t_max": self.grid.t_max,
            "rtol": float(self.rtol),
            "seed": int(self.seed),
        }
        outcome = {
            "success": int(self.success),
            "status": int(self.status),
            "message": self.message,
        }
        axes = ("draw_index", "t", "eigenvalue_index")
        eigenvalues = Variable(axes, self.eigenvalues, TEXTS["eigenvalues"])
        variables = {**self.function_variables(), "eigenvalues": eigenvalues}
        groups = {"solver": self._state_group(), "stats": Group.of_stats(self.stats)}
        content = Group(variables, outcome, groups)
        return Record("DMFT of a quadratic network", settings, content, REFERENCE)

    def _state_group(self) -> Group:
        """Return the averages on the solver's grid."""
        variables = {"edges": Variable(("edges",), self.grid.edges, f"panel edges, {TIME}")}
        for name, axes in AXES.items():
            text = f"extrapolated average on the solver's grid: {name}"
            variables[name] = Variable(axes, getattr(self.averages, name), text)
        return Group(variables, {"stages": self.grid.stages})

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the solution that `record` was made of."""
        content, settings = record.content, record.configuration
        solver, names = content.groups["solver"], (*ONE_TIME, *TWO_TIME, *RESPONSES)
        return cls(
            problem=QuadraticProblem.from_config(settings["problem"]),
            t=content["t"],
            values={name: content[name] for name in names},
            error={name: content[f"{cls.error_prefix}{name}"] for name in names},
            eigenvalues=content["eigenvalues"],
            grid=Grid(solver["edges"], int(solver.attributes["stages"])),
            averages=MatrixAverages(**{name: solver[name] for name in AXES}),
            rtol=settings["rtol"],
            seed=settings["seed"],
            success=bool(content.attributes["success"]),
            status=int(content.attributes["status"]),
            message=content.attributes["message"],
            stats=content.groups["stats"].as_stats(),
        )
