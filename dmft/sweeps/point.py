"""One point of a sweep: what is asked, how it is computed, and the file that holds it."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Self

import numpy as np

from dmft import __version__
from dmft.storage import Group, Record, Result, Variable, configuration_of, from_record
from dmft.sweeps.axes import TASKS, require_known
from dmft.validation import require_in_range, require_integer, require_times

CURVES, EVERYTHING = "curves", "everything"
KEEP = (CURVES, EVERYTHING)

# Equidistant times of a point for which none are given: enough for a smooth curve, and the file of
# a point stays below 20 kilobytes.
TIMES = 101

DONE, FAILED = "done", "failed"

# What a sweep decides itself, or what a file cannot hold.
_WITHHELD = {"problem", "progress", "workers", "grid", "rule", "data", "continue_from"}


# Where the tasks are for problems that do not name a module of their own (`dmft.models`).
_HOME = {"solve": "dmft.solver.solve", "simulate": "dmft.simulation.simulate"}


@dataclass(frozen=True)
class Task:
    """What is asked of one point.

    Parameters
    ----------
    problem : dataclass
        Such as a `dmft.Problem`.
    solve, simulate : dict or None
        Options of `dmft.solve` and `dmft.simulate`; None where the point does without.
    keep : {"curves", "everything"}
        Whether functions of one time are kept, or the whole results.
    """

    problem: Any
    solve: dict[str, Any] | None
    simulate: dict[str, Any] | None
    keep: str = CURVES

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """The task as JSON values."""
        asked = {name: getattr(self, name) for name in TASKS}
        problem = configuration_of("problem", self.problem)
        return {"problem": problem, **asked, "keep": self.keep}

    @cached_property
    def key(self) -> str:
        """Hash of the configuration, 16 hexadecimal digits, which names the point's file."""
        text = json.dumps(self.configuration, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Part:
    """What `solve` or `simulate` gave at one point.

    Parameters
    ----------
    kind : str
        Name of the result's class.
    success : bool
        Whether it meets what was asked.
    message : str
        The outcome in a sentence; empty where the result has none.
    t : ndarray, shape (T,)
    values, error : dict of str to ndarray, shape (T,)
        Functions of one time and their errors.
    texts : dict of str to str
        What each function is.
    sources : list of str
        What the result rests on, by the keys of `dmft.citations`.
    whole : Group, optional
        Everything that the result stores.
    """

    kind: str
    success: bool
    message: str
    t: np.ndarray
    values: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    texts: dict[str, str]
    sources: list[str]
    whole: Group | None = None

    def facts(self) -> dict[str, Any]:
        """Return all but the numbers, as JSON values."""
        names = {"kind": self.kind, "success": self.success, "message": self.message}
        return {**names, "texts": self.texts, "sources": self.sources}

    def group(self) -> Group:
        """Return the numbers; a row of `functions` is a function, then come their errors."""
        rows = np.array([*self.values.values(), *self.error.values()])
        t = Variable(("t",), self.t, "time")
        functions = Variable(("row", "t"), rows, "functions of time, then their errors")
        groups = {} if self.whole is None else {"whole": self.whole}
        return Group({"t": t, "functions": functions}, groups=groups)

    @classmethod
    def of(cls, group: Group, facts: Mapping[str, Any]) -> Self:
        """Return the part of which these are numbers and facts."""
        names, rows = list(facts["texts"]), group["functions"]
        if len(rows) != 2 * len(names):
            raise ValueError(f"there must be {2 * len(names)} functions and errors; got {rows}")
        values = dict(zip(names, rows[: len(names)], strict=True))
        error = dict(zip(names, rows[len(names) :], strict=True))
        return cls(
            **facts, t=group["t"], values=values, error=error, whole=group.groups.get("whole")
        )


@dataclass(frozen=True, eq=False, repr=False)
class SweepPoint(Result):
    """One point of a sweep, as its file holds it.

    Parameters
    ----------
    configuration : dict
        The problem and the options of each task, as JSON values.
    parts : dict of str to Part
        What "solve" and "simulate" gave; a task that failed has none.
    failures : dict of str to (str, str)
        Message and traceback of each task that failed.
    wall_time : float
        Seconds that the point took.
    version : str
        Version of dmft that computed it.

    Examples
    --------
    >>> point = SweepPoint({"problem": {"delta": 0.5}}, failures={"solve": ("no convergence", "")})
    >>> point.status, point.message
    ('failed', 'solve: no convergence')
    """

    configuration: Mapping[str, Any]
    parts: Mapping[str, Part] = field(default_factory=dict)
    failures: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    wall_time: float = 0.0
    version: str = field(default_factory=lambda: __version__)

    @property
    def status(self) -> str:
        """Either "done" or "failed"."""
        return FAILED if self.failures else DONE

    @property
    def message(self) -> str:
        """What failed, or else what the results say of themselves."""
        failed = [f"{name}: {message}" for name, (message, _) in self.failures.items()]
        told = [f"{n}: {part.message}" for n, part in self.parts.items() if part.message]
        return "; ".join(failed or told)

    def result(self, task: str) -> Any:
        """Return the whole result of "solve" or "simulate", such as a `dmft.Solution`.

        Raises
        ------
        ValueError
            If the point has no such result, or the sweep did not keep everything.
        """
        if task not in self.parts:
            raise ValueError(f"task must be one of {sorted(self.parts)}; got {task!r}")
        part = self.parts[task]
        if part.whole is None:
            raise ValueError("the sweep kept curves only; run it with keep='everything'")
        attributes = dict(part.whole.attributes)
        configuration = json.loads(attributes.pop("whole_configuration"))
        content = Group(part.whole.variables, attributes, part.whole.groups)
        return from_record(part.kind, Record("", configuration, content))

    def summary(self) -> dict[str, str]:
        """Return the outcome and what was asked."""
        asked = {name: json.dumps(value) for name, value in self.configuration.items()}
        return {"status": self.status, "message": self.message, **asked}

    def record(self) -> Record:
        """Return everything that is stored; see `dmft.storage`."""
        # One text for all facts: an attribute of a file costs 0.1 ms, and points may be many.
        facts = {
            "parts": {name: part.facts() for name, part in self.parts.items()},
            "failures": self.failures,
            "version": self.version,
        }
        attributes = {"outcome": json.dumps(facts), "wall_time": float(self.wall_time)}
        groups = {name: part.group() for name, part in self.parts.items()}
        return Record("A point of a sweep", self.configuration, Group({}, attributes, groups))

    @classmethod
    def from_record(cls, record: Record) -> Self:
        """Return the point that `record` was made of."""
        attributes, groups = record.content.attributes, record.content.groups
        facts = json.loads(attributes["outcome"])
        parts = {name: Part.of(groups[name], part) for name, part in facts["parts"].items()}
        failures = {name: (message, trace) for name, (message, trace) in facts["failures"].items()}
        seconds, version = attributes["wall_time"], facts["version"]
        return cls(record.configuration, parts, failures, seconds, version)


def compute(task: Task) -> SweepPoint:
    """Run the tasks of a point; what they raise is in the result, not raised."""
    started = time.perf_counter()
    parts: dict[str, Part] = {}
    failures: dict[str, tuple[str, str]] = {}
    for name in TASKS:
        options = getattr(task, name)
        if options is None:
            continue
        try:
            parts[name] = _part(_run(name, task.problem, options), task.keep)
        except Exception as error:
            text = " ".join(str(error).split())
            message = f"{type(error).__name__}: {text}" if text else type(error).__name__
            failures[name] = (message, traceback.format_exc())
    return SweepPoint(task.configuration, parts, failures, time.perf_counter() - started)


def function_of(task: str, problem: Any) -> Callable[..., Any]:
    """Return the function that does "solve" or "simulate" for a problem of its model."""
    module = getattr(problem, "verbs", {}).get(task, _HOME[task])
    return getattr(importlib.import_module(module), task)


def _run(task: str, problem: Any, options: Mapping[str, Any]) -> Any:
    function = function_of(task, problem)
    alone = {"workers": 1} if "workers" in inspect.signature(function).parameters else {}
    return function(problem, **options, **alone)


def _part(result: Any, keep: str) -> Part:
    """Return what is kept of a result."""
    whole = None
    if keep == EVERYTHING:
        record = result.record()
        configuration = {"whole_configuration": json.dumps(record.configuration)}
        content = record.content
        whole = Group(content.variables, {**content.attributes, **configuration}, content.groups)
    names = result.one_time_names()
    return Part(
        kind=result.kind,
        success=bool(getattr(result, "success", True)),
        message=str(getattr(result, "message", "")),
        t=result.t,
        values={name: result.values[name] for name in names},
        error={name: result.error[name] for name in names},
        texts={name: result.texts[name] for name in names},
        sources=list(result.sources),
        whole=whole,
    )


# --- options -----------------------------------------------------------------------------------


def task_of(
    problem: Any,
    solve: Mapping[str, Any] | None,
    simulate: Mapping[str, Any] | None,
    keep: str = CURVES,
) -> Task:
    """Return the task of a point, after a check of the names and times of its options.

    Where no times are given they are equidistant; the simulation has those of the theory.

    Raises
    ------
    ValueError
        If an option is unknown, out of its range or cannot be stored, or there is no horizon.
    """
    theory = None if solve is None else _options("solve", problem, solve)
    if theory is not None:
        theory["t_eval"] = times = _times("solve", problem, theory)
        theory.setdefault("t_max", times[-1])
    simulation = None if simulate is None else _options("simulate", problem, simulate)
    if simulation is not None:
        own = not simulation.keys().isdisjoint(("t_max", "t_eval"))
        simulation["t_eval"] = _times("simulate", problem, simulation if own else theory or {})
        simulation.pop("t_max", None)
    return Task(problem, theory, simulation, keep)


def option_names(task: str, problem: Any) -> list[str]:
    """Return the names of the options that a sweep passes on to `dmft.solve` or `dmft.simulate`."""
    return _names_of(function_of(task, problem))


@cache
def _names_of(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters
    return list(dict.fromkeys(["t_max", *(n for n in parameters if n not in _WITHHELD)]))


def _options(task: str, problem: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    require_known(task, given, option_names(task, problem))
    options = {name: _plain(value) for name, value in given.items() if value is not None}
    for name, value in options.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ValueError(
                f"{task} {name} must be a number, a text or a list of such in a sweep, which "
                f"stores it; got {value!r}"
            ) from None
    _check_ranges(task, problem, options)
    return options


def _check_ranges(task: str, problem: Any, options: Mapping[str, Any]) -> None:
    """Raise ValueError where an option would be refused at every point, before any is computed.

    Ranges are those that hold for every model; what a model narrows fails at its points.
    """
    own = task in getattr(problem, "verbs", {})
    largest = 1.0 if own else {"solve": 0.1, "simulate": 0.01}[task]
    for name, value in options.items():
        said = f"{task} {name}"
        if name == "rtol":
            require_in_range(said, value, low=0.0, low_open=True, high=largest)
        elif name in ("max_time", "max_memory"):
            require_in_range(said, value, low=0.0, low_open=True)
        elif name == "atol":
            for one in value.values() if isinstance(value, Mapping) else [value]:
                require_in_range(said, one, low=0.0)
        elif name in ("max_sweeps", "max_samples", "seeds", "dimension", "samples"):
            require_integer(said, value, low=1)


def _times(task: str, problem: Any, options: Mapping[str, Any]) -> list[float]:
    if "t_eval" in options:
        return require_times(f"{task} t_eval", options["t_eval"]).tolist()
    if "t_max" not in options:
        raise ValueError(f"{task} needs t_max or t_eval")
    t_max = require_in_range(f"{task} t_max", options["t_max"], low=0.0, low_open=True)
    times = np.linspace(0.0, t_max, TIMES)
    step = getattr(getattr(problem, "dynamics", None), "step", None)
    if step is not None:  # training in steps has values at multiples of the step alone
        last = np.floor(t_max / step * (1 + 1e-12))
        times = step * np.unique(np.rint(np.linspace(0.0, last, TIMES)))
    return times.tolist()


def _plain(value: Any) -> Any:
    """Return arrays and NumPy's numbers as plain lists and numbers."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
