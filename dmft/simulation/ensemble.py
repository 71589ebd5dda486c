"""Simulations over many seeds: the raw runs and the averages that they give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import ClassVar, Self

import numpy as np

from dmft.equations.observables import LONG_NAMES
from dmft.problem import Problem
from dmft.storage import Group, Record, Variable, configuration_of
from dmft.trajectory import Functions, Trajectory
from dmft.validation import require_times
from dmft.values import read_only

TWO_TIME_LIMIT = 200  # times up to which two-time functions are kept: their size is T^2 a seed

RUNS = "runs_of_"  # begins the names of variables that hold each seed


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Trajectory):
    """Simulations of one problem at finite dimension, over independent seeds.

    Attributes
    ----------
    problem : Problem
        The problem that was simulated.
    t : ndarray, shape (T,)
        Times.
    dimension, samples : int
        d and n = round(delta d).
    design : str
        Law of the entries of X, or "data" for a given matrix.
    seed : int
        Draw k is `draw_data(..., rng=SeedSequence(seed, spawn_key=(k,)))`.
    runs : dict of str to ndarray
        Raw values, one row a seed: "test_error" |w - w*|^2/(2d), "train_error" |y - X w|^2/(2n),
        "mean_w" sum w/d and "overlap" w.w*/d, shape (seeds, T); "C_w" theta(t).theta(s)/d with
        theta = w - w*, and "C_r" r(t).r(s)/n with r = X w - y, shape (seeds, T, T), for T up to
        `TWO_TIME_LIMIT`.
    stats : dict of str to ndarray
        For each seed, shape (seeds,): "wall_time" in seconds, "evaluations" of the velocity,
        "steps", and "factorisations" in stiff stretches; for a given matrix "shared", the share of
        its entries that two draws have in common.
    values, error : mapping of str to ndarray
        Means over seeds of `runs`, shape (T,) or (T, T), and their standard errors. The names are
        also attributes: `ensemble.test_error`.

    Examples
    --------
    >>> import dmft
    >>> ensemble = dmft.simulate(dmft.Problem(0.5), [0.0, 1.0], dimension=100, seeds=4)
    >>> ensemble.values["test_error"].shape, ensemble.runs["test_error"].shape
    ((2,), (4, 2))
    """

    problem: Problem
    t: np.ndarray
    dimension: int
    samples: int
    design: str
    seed: int
    runs: dict[str, np.ndarray]
    stats: dict[str, np.ndarray]
    values: Mapping[str, np.ndarray] = field(init=False)
    error: Mapping[str, np.ndarray] = field(init=False)

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(self.runs["test_error"])

    texts: ClassVar[Mapping[str, str]] = LONG_NAMES
    simulated: ClassVar[bool] = True
    value_text: ClassVar[str] = "mean over seeds: "
    error_prefix: ClassVar[str] = "standard_error_of_"
    error_text: ClassVar[str] = "standard error of the mean over seeds: "

    def __post_init__(self) -> None:
        """Check the times and make all arrays read-only."""
        object.__setattr__(self, "t", read_only(require_times("t", self.t)))
        for name in ("runs", "stats"):
            arrays = {key: read_only(value) for key, value in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)
        means = {name: runs.mean(axis=0) for name, runs in self.runs.items()}
        errors = {name: self._standard_error(runs) for name, runs in self.runs.items()}
        object.__setattr__(self, "values", Functions(means))
        object.__setattr__(self, "error", Functions(errors))

    def _standard_error(self, runs: np.ndarray) -> np.ndarray:
        if self.seeds == 1:
            return np.full(runs.shape[1:], np.inf)
        return runs.std(axis=0, ddof=1) / np.sqrt(self.seeds)

    def mean(self, name: str) -> np.ndarray:
        """Return `values[name]`, the mean over seeds of a quantity, shape (T,) or (T, T).

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        return self._function(self.values, name)

    def standard_error(self, name: str) -> np.ndarray:
        """Return `error[name]`, the standard error of the mean; infinite for a single seed.

        Raises
        ------
        ValueError
            If there is no such quantity.
        """
        return self._function(self.error, name)

    def _function(self, functions: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if name not in functions:
            raise ValueError(
                f"name must be one of {sorted(self.runs)}; got {name!r} "
                f"(C_w and C_r are kept for at most {TWO_TIME_LIMIT} times)"
            )
        return functions[name]

    @property
    def sources(self) -> tuple[str, ...]:
        """What describes the simulated model, by the keys of `dmft.citations`."""
        return ("2510.01930", *self.problem.mirror.sources)

    def summary(self) -> dict[str, str]:
        """Return the setting, the times and the last errors."""
        return {
            "problem": repr(self.problem),
            "dimension": f"d = {self.dimension}, n = {self.samples}, {self.design} design",
            "seeds": f"{self.seeds}, from seed {self.seed}",
            **self.functions_summary(),
        }

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        settings = {
            "problem": configuration_of("problem", self.problem),
            "dimension": self.dimension,
            "samples": self.samples,
            "design": self.design,
            "seed": self.seed,
        }
        index = Variable(("seed_index",), np.arange(self.seeds), "index of the seed")
        variables = {**self.function_variables(), "seed_index": index}
        for name, runs in self.runs.items():
            dimensions = ("seed_index", "t", "s")[: runs.ndim]
            text = f"each seed: {self.texts[name]}"
            variables[f"{RUNS}{name}"] = Variable(dimensions, runs, text)
        stats = Group.of_stats(self.stats, ("seed_index",))
        content = Group(variables, groups={"stats": stats})
        return Record("Simulations of a diagonal network", settings, content)

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the ensemble that `record` was made of."""
        content, settings = record.content, dict(record.configuration)
        problem = Problem.from_config(settings.pop("problem"))
        names = [name for name in cls.texts if f"{RUNS}{name}" in content.variables]
        runs = {name: content[f"{RUNS}{name}"] for name in names}
        stats = content.groups["stats"].as_stats()
        return cls(problem, content["t"], runs=runs, stats=stats, **settings)


def save_ensemble(ensemble: Ensemble, path: str | PathLike[str]) -> None:
    """Write an ensemble to a file; the same as `ensemble.save(path)`.

    Raises
    ------
    TypeError
        If `ensemble` is not an Ensemble.
    ValueError, OSError
        As of `Ensemble.save`.

    Examples
    --------
    >>> import dmft, tempfile
    >>> ensemble = dmft.simulate(dmft.Problem(0.5), [0.0, 1.0], dimension=20, seeds=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dmft.save_ensemble(ensemble, f"{folder}/runs.h5")
    ...     dmft.load_ensemble(f"{folder}/runs.h5") == ensemble
    True
    """
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"ensemble must be a dmft.Ensemble; got {type(ensemble).__name__}")
    ensemble.save(path)


def load_ensemble(path: str | PathLike[str]) -> Ensemble:
    """Read an ensemble from a file; the same as `Ensemble.load(path)`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something else; see `dmft.load`.

    Examples
    --------
    >>> import dmft, tempfile
    >>> ensemble = dmft.simulate(dmft.Problem(0.5), [0.0, 1.0], dimension=20, seeds=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ensemble.save(f"{folder}/runs.h5")
    ...     dmft.load_ensemble(f"{folder}/runs.h5").seeds
    2
    """
    return Ensemble.load(path)
