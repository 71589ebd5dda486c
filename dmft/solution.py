"""The solution of one problem: observables, two-time functions, their errors, sample paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np

from dmft.equations.assembly import build_residual
from dmft.equations.averages import Averages
from dmft.equations.data_side import build_kernels
from dmft.equations.effective_process import draw_paths
from dmft.equations.observables import (
    LONG_NAMES,
    ONE_TIME,
    TWO_TIME,
    one_time_functions,
    two_time_functions,
)
from dmft.equations.start import labelled
from dmft.networks.base import Network
from dmft.problem import Problem
from dmft.solvers.collocation import Grid
from dmft.storage import Group, Record, Variable, configuration_of
from dmft.trajectory import Functions, Trajectory
from dmft.validation import Rng, check_rng, require_integer, require_times
from dmft.values import Value, frozen, read_only

# What to cite for a noise rule, by the name of its class.
RULE_SOURCES = {"SparseRule": ("gerstner1998",), "SobolRule": ("joe2008",)}
AVERAGES = {
    "C_w": (("t_start", "s_start"), "E[theta(t) theta(s)] at t = 0 and the nodes"),
    "A": (("t_node", "s_node"), "E[D (I + K D)^(-1)] on the nodes"),
    "mean_w": (("t_start",), "E[w] at t = 0 and the nodes"),
    "overlap": (("t_start",), "E[w w*] at t = 0 and the nodes"),
    "mean_D": (("t_start",), "E[D] at t = 0 and the nodes"),
}


@dataclass(frozen=True, eq=False, repr=False)
class Paths(Value):
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

    Examples
    --------
    >>> import dmft
    >>> paths = dmft.solve(dmft.Problem(0.5), 1.0, [0.0, 1.0], rtol=0.1).sample_paths(7, rng=1)
    >>> paths.w.shape, paths.w_star.shape
    ((7, 2), (7,))
    """

    t: np.ndarray
    H: np.ndarray
    u: np.ndarray | None
    v: np.ndarray | None
    w: np.ndarray
    w_star: np.ndarray

    def summary(self) -> dict[str, str]:
        """Return the numbers of paths and times, and the range of the last weights."""
        last = self.w[:, -1]
        return {
            "paths": str(len(self.w)),
            "t": f"{self.t.size} times from {self.t[0]:g} to {self.t[-1]:g}",
            "w": f"from {last.min():.4g} to {last.max():.4g} at t = {self.t[-1]:g}",
            "layers": "H, w" if self.u is None else "H, u, v, w",
        }


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Trajectory):
    """What `dmft.solve` returns.

    Parameters
    ----------
    problem : Problem
    t : ndarray, shape (T,)
        Times, in the unit du/dt = -(d/2) dL/du.
    values, error : mapping of str to ndarray
        Observables of shape (T,) and two-time functions of shape (T, T), and estimates of
        their absolute errors, read-only. Two-time functions of a fresh solution are evaluated
        once one of them is read. The names are also attributes:

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
        0 success; 1 error above the tolerance; 2 no convergence; 3 time ran out.
    message : str
        The outcome in a sentence, with what to change where it failed.
    stats : dict
        sweeps, residual_history (change of each sweep over the tolerance), paths, nodes,
        panels, noise_rule, error_over_tolerance, atol_test_error and atol_train_error (the
        absolute tolerances: one decides where rtol times the value is less), failed_paths (of
        every rule and grid that gave the result), uncovered_mass (of the Gaussian noise, that
        the rule's nodes left out),
        wall_time and compile_time in seconds.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1), 10.0)
    >>> solution.success, list(solution.values) == list(solution.error)
    (True, True)
    >>> round(float(solution.test_error[-1]), 4)
    0.0559
    """

    problem: Problem
    t: np.ndarray
    values: Mapping[str, np.ndarray]
    error: Mapping[str, np.ndarray]
    grid: Grid
    averages: Averages
    rtol: float
    seed: int
    success: bool
    status: int
    message: str
    stats: dict[str, Any]

    texts: ClassVar[Mapping[str, str]] = LONG_NAMES
    # Sources of the collocation and the defect correction by which it was found.
    methods: ClassVar[tuple[str, ...]] = ("hairer1996", "stetter1978")

    def __post_init__(self) -> None:
        """Check the times and make all arrays read-only."""
        checked = {
            "t": read_only(require_times("t", self.t)),
            "values": _functions(self.values),
            "error": _functions(self.error),
            "stats": frozen(dict(self.stats)),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._freeze_state()

    def _freeze_state(self) -> None:
        """Make the arrays of the solver's state read-only."""
        averages = {f.name: read_only(getattr(self.averages, f.name)) for f in fields(Averages)}
        object.__setattr__(self, "averages", Averages(**averages))

    def __call__(self, t: Any) -> Functions:
        """Return the observables at any times, to the accuracy of the solution.

        Parameters
        ----------
        t : float or array_like
            Times in [0, t_max], in any order.

        Returns
        -------
        Functions
            Arrays of the shape of `t` by name: `solution(2.5)["test_error"]`, or
            `solution(2.5).test_error`.

        Raises
        ------
        ValueError
            If a time is not finite or out of the range.

        Examples
        --------
        >>> import dmft
        >>> solution = dmft.solve(dmft.Problem(0.5), 5.0)
        >>> solution([0.0, 2.5]).test_error[0].round(12)
        np.float64(0.05)
        """
        times, back = self._times("t", t)
        values = one_time_functions(self.problem, self.grid, self.averages, times)
        return Functions({name: value[back] for name, value in values.items()})

    def at(self, t: Any, s: Any) -> Functions:
        """Return the two-time functions at any pairs of times, to the accuracy of the solution.

        Parameters
        ----------
        t, s : float or array_like
            Times in [0, t_max], in any order.

        Returns
        -------
        Functions
            Arrays by name with the axes of `t` followed by those of `s`: for vectors, the shape
            is (len(t), len(s)).

        Raises
        ------
        ValueError
            If a time is not finite or out of the range.

        Examples
        --------
        >>> import dmft
        >>> solution = dmft.solve(dmft.Problem(0.5), 5.0)
        >>> solution.at([1.0, 2.0, 3.0], [0.5, 1.5]).C_w.shape
        (3, 2)
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

    @property
    def errors_by_source(self) -> dict[str, float]:
        """Largest estimated relative error of test and train error by its source.

        time (the grid), leading_mode and tail (of the noise), checks (of a rule that was given),
        iteration.
        """
        prefix = "error_from_"
        found = ((k, v) for k, v in self.stats.items() if k.startswith(prefix))
        return {name.removeprefix(prefix): float(value) for name, value in found}

    def floors(self) -> dict[str, float]:
        """Return the values of test and train error below which `atol` decides, not `rtol`.

        Examples
        --------
        >>> import dmft
        >>> dmft.solve(dmft.Problem(0.5), 1.0, rtol=1e-3, atol=1e-6).floors()
        {'test_error': 0.001, 'train_error': 0.001}
        """
        prefix = "atol_"
        found = ((k, v) for k, v in self.stats.items() if k.startswith(prefix))
        return {name.removeprefix(prefix): float(value) / self.rtol for name, value in found}

    def sample_paths(self, n: int, rng: Rng = None) -> Paths:
        """Draw trajectories of the effective process on `t`.

        Parameters
        ----------
        n : int
            Number of draws; >= 1.
        rng : int, Generator or SeedSequence, optional
            Source of randomness; the solution's own where absent.

        Raises
        ------
        ValueError
            If `n` is not a positive integer.

        Examples
        --------
        >>> import dmft
        >>> solution = dmft.solve(dmft.Problem(0.5), 5.0, [0.0, 1.0, 5.0])
        >>> solution.sample_paths(100).w.shape
        (100, 3)
        """
        H, decay, w_star, starts = self._draws(n, rng)
        w, layers = np.empty_like(H), np.empty((2, *H.shape))
        paired = True
        for start, here in labelled(starts):
            network = self.problem.network_from(start)
            given = self._at(H[here], decay, network)
            w[here] = network.weight(*given)
            pair = network.layer_pair(*given)
            paired = paired and pair is not None
            if pair is not None:
                layers[:, here] = pair
        u, v = layers if paired else (None, None)
        return Paths(self.t, H, u, v, w, w_star)

    def sample_responses(self, n: int, rng: Rng = None) -> np.ndarray:
        """Draw D = -dw/dH of n coordinates at the times `t`, shape (n, T); see `sample_paths`."""
        H, decay, _, starts = self._draws(n, rng)
        D = np.empty_like(H)
        for start, here in labelled(starts):
            network = self.problem.network_from(start)
            D[here] = network.hessian_inverse(*self._at(H[here], decay, network))
        return D

    def _at(
        self, H: np.ndarray, decay: np.ndarray | None, network: Network
    ) -> tuple[float, float, np.ndarray, np.ndarray]:
        """Return what a network is asked at: alpha, lam, H and the times, or its clock's."""
        alpha, lam = self.problem.alpha, self.problem.lam
        if decay is None:
            return alpha, lam, H, self.t
        lam, t = network.clock(lam, self.t, decay)
        return alpha, lam, H, t

    def _draws(
        self, n: int, rng: Rng
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
        """Draw H (n, T), w* (n,) and the layers' starts; see `draw_paths`.

        H is followed by the integrated rate of white noise at the times (T,), where there is any.
        """
        require_integer("n", n, low=1)
        check_rng(rng)
        generator = np.random.default_rng(self.seed if rng is None else rng)
        kernels = build_kernels(build_residual(self.problem, self.grid, self.averages))
        H, w_star, starts = draw_paths(self.problem, self.grid, kernels, n, generator)
        move, decay = self.grid.interpolation(self.t), kernels.decay
        if decay is not None:
            decay = move @ np.concatenate([[0.0], decay])
        return np.concatenate([np.zeros((n, 1)), H], axis=1) @ move.T, decay, w_star, starts

    @property
    def sources(self) -> tuple[str, ...]:
        """What the theory and the methods rest on, by the keys of `dmft.citations`."""
        rule = str(self.stats.get("noise_rule", "")).split("(")[0]
        theory = ("2510.01930", "2112.07572", *self.problem.mirror.sources)
        return (*theory, *self.methods, *RULE_SOURCES.get(rule, ()))

    def summary(self) -> dict[str, str]:
        """Return the outcome, the times and the last errors."""
        cost = f"{self.stats['wall_time']:.3g} s" if "wall_time" in self.stats else ""
        return {
            "problem": repr(self.problem),
            "outcome": f"{'success' if self.success else 'no success'}: {self.message}",
            **self.functions_summary(),
            "rtol, seed": f"{self.rtol:g}, {self.seed}",
            "wall time": cost,
        }

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        settings = {
            "problem": configuration_of("problem", self.problem),
            "t_max": self._t_max,
            "rtol": float(self.rtol),
            "seed": int(self.seed),
        }
        outcome = {
            "success": int(self.success),
            "status": int(self.status),
            "message": self.message,
        }
        groups = {"solver": self._state_group(), "stats": Group.of_stats(self.stats)}
        content = Group(self.function_variables(), outcome, groups)
        return Record("DMFT of a diagonal network", settings, content)

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the solution that `record` was made of."""
        content, settings = record.content, record.configuration
        names = (*ONE_TIME, *TWO_TIME)
        return cls(
            problem=Problem.from_config(settings["problem"]),
            t=content["t"],
            values={name: content[name] for name in names},
            error={name: content[f"{cls.error_prefix}{name}"] for name in names},
            rtol=settings["rtol"],
            seed=settings["seed"],
            success=bool(content.attributes["success"]),
            status=int(content.attributes["status"]),
            message=content.attributes["message"],
            stats=content.groups["stats"].as_stats(),
            **cls._state(content.groups["solver"]),
        )

    @property
    def _t_max(self) -> float:
        return self.grid.t_max

    @staticmethod
    def _state(solver: Group) -> dict[str, Any]:
        """Return the fields that `_state_group` has stored."""
        return {
            "grid": Grid(solver["edges"], int(solver.attributes["stages"])),
            "averages": Averages(**{name: solver[name] for name in AVERAGES}),
        }

    def _state_group(self) -> Group:
        """Return what the solver needs to go on from the solution."""
        grid, time = self.grid, self.time_text
        times = {"start": (grid.nodes_with_start, "0 and the solver's nodes")}
        times["node"] = (grid.nodes, "the solver's nodes")
        variables = {"edges": Variable(("edges",), grid.edges, f"panel edges, {time}")}
        for letter in "ts":
            for name, (values, text) in times.items():
                axis = f"{letter}_{name}"
                variables[axis] = Variable((axis,), values, f"{text}, {time}")
        for name, (dimensions, text) in AVERAGES.items():
            variables[name] = Variable(dimensions, getattr(self.averages, name), text)
        return Group(variables, {"stages": grid.stages})


def _functions(values: Mapping[str, np.ndarray]) -> Functions:
    return values if isinstance(values, Functions) else Functions(values)
