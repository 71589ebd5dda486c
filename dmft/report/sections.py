"""What a report tells of each result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, singledispatch
from typing import Any

import numpy as np

from dmft.comparison import compare
from dmft.figures.plots import plot_comparison
from dmft.sweeps.collect import Sweep
from dmft.trajectory import Trajectory

# What begins the names of statistics that are errors by their source.
ERROR_FROM = "error_from_"
# Times and failures that a table lists: all are in the files.
ROWS = 12


@dataclass(frozen=True)
class Picture:
    """A figure to be drawn, once for each colour scheme."""

    caption: str
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """All that is told of one result."""

    title: str
    message: str
    success: bool
    pictures: Sequence[Picture]
    tables: Sequence[Table]
    configuration: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True)
class Content:
    """A result, what its file is called, and what the file says of its making."""

    name: str
    result: Any
    environment: Mapping[str, Any]


def sections(contents: Sequence[Content]) -> list[Section]:
    """Return a section for each result, and one for each theory with its simulations.

    Parameters
    ----------
    contents : sequence of Content

    Raises
    ------
    ValueError
        If there is nothing to show of a result.
    """
    made = [_section(content) for content in contents]
    theories = [c for c in contents if getattr(c.result, "simulated", None) is False]
    ensembles = [c for c in contents if getattr(c.result, "simulated", None)]
    for theory in theories:
        for ensemble in ensembles:
            if _comparable(theory.result, ensemble.result):
                title = f"{theory.name} and {ensemble.name}"
                made.append(_comparison(title, theory.result, ensemble.result))
    return made


def _section(content: Content) -> Section:
    result = content.result
    success, message, pictures, tables = _contents(result)
    record = result.record()
    about = Table("Summary", (), list(result.summary().items()))
    return Section(
        title=f"{content.name}: {record.title}",
        message=message,
        success=success,
        pictures=pictures,
        tables=[about, *tables],
        configuration=dict(record.configuration),
        environment=dict(content.environment),
    )


@singledispatch
def _contents(result: Any) -> tuple[bool, str, list[Picture], list[Table]]:
    """Return whether a result is what was asked, a message, pictures and tables."""
    raise ValueError(f"a report cannot be made of a {result.kind}")


@_contents.register
def _(result: Trajectory) -> tuple[bool, str, list[Picture], list[Table]]:
    success, message = getattr(result, "success", True), getattr(result, "message", "")
    return success, message, _trajectory_pictures(result), _trajectory_tables(result)


@_contents.register
def _(result: Sweep) -> tuple[bool, str, list[Picture], list[Table]]:
    message = result.summary()["points"]
    return not result.failures, message, _sweep_pictures(result), _sweep_tables(result)


def _trajectory_pictures(result: Any) -> list[Picture]:
    captions = {
        "errors": "Test and train error over time, with bands or bars of their errors.",
        "order_parameters": "Order parameters over time.",
        "C_w": "Correlation of the weights at two times.",
        "R_w": "Response of the weights at one time to a field at an earlier one.",
    }
    shown = [name for name in ("C_w", "R_w") if name in result.values and result.t.size > 1]
    quantities = ["errors", "order_parameters", *shown]
    return [Picture(captions[q], partial(result.plot, q)) for q in quantities]


def _trajectory_tables(result: Any) -> list[Table]:
    tables = []
    sources = {
        name.removeprefix(ERROR_FROM).replace("_", " "): value
        for name, value in result.stats.items()
        if name.startswith(ERROR_FROM) and np.ndim(value) == 0
    }
    if sources:
        errors = [(name, f"{value:.1e}") for name, value in sources.items()]
        tables.append(Table("Estimated relative error by source", ("source", "error"), errors))
    chosen = np.unique(np.linspace(0, result.t.size - 1, ROWS).round().astype(int))
    names = result.one_time_names()
    rows = [
        (f"{result.t[k]:.4g}", *(_value(result.values[n][k], result.error[n][k]) for n in names))
        for k in chosen
    ]
    tables.append(Table("Values", ("t", *names), rows))
    return tables


def _value(value: float, error: float) -> str:
    return f"{value:.6g} ± {error:.1g}"


def _sweep_pictures(sweep: Sweep) -> list[Picture]:
    wanted = ("test_error", "train_error", "simulated_test_error", "simulated_train_error")
    names = [name for name in wanted if name in sweep.functions] or sweep.functions[:2]
    held: dict[str, Any] = {}
    grids = {n: a for n, a in sweep.description["axes"].items() if a["dimension"] == n}
    surplus = len(sweep.dimensions) - (1 if "draw" in sweep.dimensions else 2)
    for name in [*grids][: max(surplus, 0)]:
        held[name] = grids[name]["values"][0]
    note = "".join(f", {name} = {value}" for name, value in held.items())
    pictures = [
        Picture(
            f"{n.replace('_', ' ').capitalize()} at the last time{note}.",
            partial(sweep.plot, n, at=held),
        )
        for n in names
    ]
    if len(sweep.dimensions) == 1 and names:
        text = f"{names[0].replace('_', ' ').capitalize()} over time."
        pictures.append(Picture(text, partial(sweep.plot, names[0], over_time=True)))
    return pictures


def _sweep_tables(sweep: Sweep) -> list[Table]:
    tables = []
    rows = [(n, f"{len(a['values'])}", _range(a["values"])) for n, a in _axes(sweep)]
    tables.append(Table("Axes", ("axis", "values", "from, to"), rows))
    if sweep.failures:
        head = tuple(sweep.failures[0])
        failed = [tuple(str(v) for v in failure.values()) for failure in sweep.failures[:ROWS]]
        title = f"Points that failed: {len(sweep.failures)}"
        tables.append(Table(title, head, failed))
    return tables


def _axes(sweep: Sweep) -> list[tuple[str, dict[str, Any]]]:
    return list(sweep.description["axes"].items())


def _range(values: Sequence[Any]) -> str:
    if any(isinstance(value, str) for value in values):
        return ", ".join(map(str, values))
    return f"{min(values):.6g}, {max(values):.6g}"


def _comparable(theory: Any, ensemble: Any) -> bool:
    same = theory.problem == ensemble.problem
    return bool(same and np.array_equal(theory.t, ensemble.t))


def _comparison(title: str, theory: Any, ensemble: Any) -> Section:
    report = compare(theory, ensemble)
    rows = [
        (
            r.observable,
            ", ".join(f"{t:.4g}" for t in r.time),
            f"{r.theory:.6g}",
            f"{r.simulation:.6g}",
            f"{r.standard_errors:+.2f}",
        )
        for r in report.rows()
    ]
    head = ("observable", "time", "theory", "simulation", "standard errors")
    picture = Picture("Theory and simulation.", partial(plot_comparison, theory, ensemble, report))
    return Section(
        title=title,
        message=report.message,
        success=report.verdict == "agree",
        pictures=[picture],
        tables=[Table("Values", head, rows)],
        configuration={"dimension": report.dimension, "seeds": report.seeds},
        environment={},
    )


def text_of(values: Mapping[str, Any]) -> str:
    """Return values as text, a line each."""
    return json.dumps(values, indent=2, default=str, ensure_ascii=False)
