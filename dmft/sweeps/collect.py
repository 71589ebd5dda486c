"""The points of a sweep as arrays over its dimensions."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np

from dmft.storage import Group, Record, Result, Variable
from dmft.sweeps.folder import folder_of
from dmft.sweeps.point import DONE, FAILED, Part, SweepPoint
from dmft.values import read_only

MISSING = "missing"
# Begins the names of what a simulation gave; the theory's stand alone.
PREFIX = {"solve": "", "simulate": "simulated_"}
ERROR = "error_of_"
ERROR_TEXT = {
    "solve": "estimated absolute error of: ",
    "simulate": "standard error of the mean over seeds: ",
}


@dataclass(frozen=True, eq=False, repr=False)
class Sweep(Result):
    """What `dmft.sweep` returns: functions of time over the dimensions of the sweep.

    Parameters
    ----------
    description : dict
        The problem, the axes and the options, as JSON values.
    variables : dict of str to Variable
        Axes; `status` ("done", "failed" or "missing"), `message` and `wall_time` in seconds of
        each point; `success` of the theory; and each function, such as "test_error", with its
        error "error_of_test_error", nan where there is none. What was simulated begins with
        "simulated_". `sweep["test_error"]` is the array.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(0.5, network="linear")
    >>> sweep = dmft.sweep(problem, delta=[0.5, 2.0], solve={"t_max": 1.0, "rtol": 0.01})
    >>> sweep.dimensions, sweep["test_error"].shape
    ({'delta': 2}, (2, 101))
    """

    description: Mapping[str, Any]
    variables: Mapping[str, Variable]

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the values of a variable.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        if name not in self.variables:
            raise KeyError(f"name must be one of {', '.join(self.variables)}; got {name!r}")
        return read_only(self.variables[name].values)

    @property
    def dimensions(self) -> dict[str, int]:
        """Lengths of the dimensions of the sweep, without time."""
        return dict(self.description["dimensions"])

    @property
    def sources(self) -> tuple[str, ...]:
        """What the points rest on, by the keys of `dmft.citations`."""
        return tuple(self.description["sources"])

    @property
    def functions(self) -> list[str]:
        """Names of the functions of time."""
        return [n for n in self.variables if f"{ERROR}{n}" in self.variables]

    @cached_property
    def failures(self) -> list[dict[str, Any]]:
        """The points that failed: the values of their axes, and `message`."""
        return [
            {**self._axes_at(tuple(place)), "message": str(self["message"][tuple(place)])}
            for place in np.argwhere(self["status"] == FAILED)
        ]

    def count(self, status: str) -> int:
        """Return the number of points of a status, "done", "failed" or "missing"."""
        return int(np.sum(self["status"] == status))

    def plot(self, quantity: str = "test_error", ax: Any = None, **at: Any) -> Any:
        """Draw curves over one dimension, or a map over two; see `dmft.figures.sweeps.plot_sweep`.

        Parameters
        ----------
        quantity : str
            Function of time.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **at
            Options of `plot_sweep`: `t`, `x`, `y`, `where`.

        Returns
        -------
        matplotlib Axes
        """
        # by name, since pictures stand above what they show and need matplotlib
        return importlib.import_module("dmft.figures.sweeps").plot_sweep(self, quantity, ax, **at)

    def summary(self) -> dict[str, str]:
        """Return the dimensions, the outcome and the names of the functions."""
        sizes = ", ".join(f"{name} ({size})" for name, size in self.dimensions.items())
        states = (DONE, FAILED, MISSING)
        return {
            "dimensions": sizes,
            "points": ", ".join(f"{self.count(s)} {s}" for s in states if self.count(s)) or "none",
            "functions": ", ".join(self.functions),
        }

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        return Record("A sweep", self.description, Group(self.variables))

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the sweep that `record` was made of."""
        dimensions = record.configuration["dimensions"]
        if record.content["status"].shape != tuple(dimensions.values()):
            raise ValueError(f"status must have the shape of {dimensions}")
        return cls(record.configuration, dict(record.content.variables))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Sweep:
        """Read the points that are in the folder of a sweep, finished or not.

        Parameters
        ----------
        path : path-like
            The `out` of `dmft.sweep`.

        Raises
        ------
        FileNotFoundError
            If it is not such a folder.
        ValueError
            If the description is damaged.
        """
        folder = folder_of(path)
        description = folder.description()
        points: list[SweepPoint | None] = []
        for key in description.pop("points"):
            try:
                points.append(SweepPoint.load(folder.file(key)))
            except (FileNotFoundError, ValueError):  # not there yet, or damaged
                points.append(None)
        return gathered(description, points)

    def _axes_at(self, place: tuple[int, ...]) -> dict[str, Any]:
        at = dict(zip(self.dimensions, place, strict=True))
        axes = self.description["axes"]
        return {name: axis["values"][at[axis["dimension"]]] for name, axis in axes.items()}


def gathered(description: Mapping[str, Any], points: Iterable[SweepPoint | None]) -> Sweep:
    """Return the sweep of some points, None for those that are missing, in order."""
    found = list(points)
    parts = [part for point in found if point for part in point.parts.values()]
    sources = list(dict.fromkeys(source for part in parts for source in part.sources))
    return Sweep({**description, "sources": sources}, collected(description, found))


def collected(
    description: Mapping[str, Any], found: list[SweepPoint | None]
) -> dict[str, Variable]:
    """Return the variables of a sweep from its points, in the order of its layout."""
    dimensions = tuple(description["dimensions"])
    shape = tuple(description["dimensions"].values())

    def over_points(values: list[Any], long_name: str, units: str = "1") -> Variable:
        return Variable(dimensions, np.array(values).reshape(shape), long_name, units)

    variables = {
        name: Variable((axis["dimension"],), np.array(axis["values"]), f"axis {name}")
        for name, axis in description["axes"].items()
    }
    variables["status"] = over_points(
        [p.status if p else MISSING for p in found], "state of the point"
    )
    variables["message"] = over_points([p.message if p else "" for p in found], "its outcome")
    seconds = [p.wall_time if p else np.nan for p in found]
    variables["wall_time"] = over_points(seconds, "time that the point took", "s")
    for task, prefix in PREFIX.items():
        parts = [p.parts.get(task) if p else None for p in found]
        if any(parts):
            success = [part is not None and part.success for part in parts]
            text = f"whether {task} met what was asked"
            variables[f"{prefix}success"] = over_points(success, text)
            variables |= _functions(task, dimensions, shape, parts, variables.get("t"))
    return variables


def _functions(
    task: str,
    dimensions: tuple[str, ...],
    shape: tuple[int, ...],
    parts: list[Part | None],
    times: Variable | None,
) -> dict[str, Variable]:
    """Return times, functions and errors of one task over all points.

    The simulation shares the theory's `times` where they are the same.
    """
    prefix, present = PREFIX[task], [part for part in parts if part is not None]
    texts = {name: text for part in present for name, text in part.texts.items()}
    length = max(part.t.size for part in present)
    common = all(np.array_equal(part.t, present[0].t) for part in present)
    shared = common and times is not None and np.array_equal(times.values, present[0].t)
    t = "t" if shared else f"{prefix}t"
    axis = t if common else f"{prefix}time_index"

    def stacked(rows: Iterable[np.ndarray | None], long_name: str) -> Variable:
        array = np.full((len(parts), length), np.nan)
        for k, row in enumerate(rows):
            if row is not None:
                array[k, : row.size] = row
        return Variable((*dimensions, axis), array.reshape(*shape, length), long_name)

    if common:
        variables = {t: Variable((t,), present[0].t, "time")}
    else:
        variables = {t: stacked((p.t if p else None for p in parts), "time of each point")}
    for name, text in texts.items():
        values = (p.values.get(name) if p else None for p in parts)
        errors = (p.error.get(name) if p else None for p in parts)
        variables[f"{prefix}{name}"] = stacked(values, text)
        variables[f"{ERROR}{prefix}{name}"] = stacked(errors, f"{ERROR_TEXT[task]}{text}")
    return variables


def labels(values: Iterable[Any]) -> list[Any]:
    """Return the values of an axis as numbers, if all of them are, or else as texts.

    Examples
    --------
    >>> labels([1, 2.5]), labels(["diagonal", 3])
    ([1, 2.5], ['diagonal', '3'])
    """
    items = list(values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in items):
        return items
    return [v if isinstance(v, str) else json.dumps(v) if _is_json(v) else repr(v) for v in items]


def _is_json(value: Any) -> bool:
    return isinstance(value, bool | int | float | list | dict)
