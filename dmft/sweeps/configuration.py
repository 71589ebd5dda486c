"""A sweep from a TOML file.

    [problem]                       fields of the problem; model = "quadratic" for that one
    [signal] [network] [dynamics]   its law, network and dynamics, each with a name
    [solve] [simulate]              options of either; a table that is there asks for it
    [sweep]                         the axes, and draws, seed and keep

An axis is a list, {logspace = [low, high, number]} or {linspace = [...]}; or a distribution,
{uniform = [low, high]} or {loguniform = [low, high]}. Dashes in keys stand for underscores, `seed`
for `rng`, and `points` is a number of equidistant times up to t-max.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dmft.sweeps.axes import TASKS, linspace, logspace, require_known
from dmft.validation import require_in_range, require_integer

PARTS = ("signal", "network", "dynamics")
SETTINGS = ("draws", "seed", "keep")


def read_sweep(path: str | os.PathLike[str]) -> tuple[Any, dict[str, Any]]:
    """Return the problem of a file and the other arguments of `dmft.sweep`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not valid TOML, or a key or value is not as it should be.
    """
    with open(path, "rb") as file:
        try:
            document = tomllib.load(file)
        except ValueError as error:  # also of text that is not UTF-8
            raise ValueError(f"{path} is not a TOML file: {error}") from None
    try:
        return _arguments(_plain_keys(document))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _arguments(document: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    require_known("the file", document, ["problem", *PARTS, *TASKS, "sweep"])
    for name, table in document.items():
        if not isinstance(table, dict):
            raise ValueError(f"{name} must be a table; got {table!r}")
    settings = dict(document.get("sweep", {}))
    arguments = {k: settings.pop(k) for k in SETTINGS if k in settings}
    if "seed" in arguments:
        arguments["rng"] = arguments.pop("seed")
    axes = {name: _axis(name, values) for name, values in _flat(settings).items()}
    for task in TASKS:
        if task in document:
            arguments[task] = _options(task, document[task])
    first = {name: _some_value(values) for name, values in axes.items() if "." not in name}
    return _problem(document, first), arguments | axes


def _problem(document: dict[str, Any], first: Mapping[str, Any]) -> Any:
    """Return the problem; a field without a value that is swept begins with the axis's first."""
    fields = dict(document.get("problem", {}))
    model = fields.pop("model", "diagonal")
    kinds = _models()
    if model not in kinds:
        raise ValueError(f"model must be one of {', '.join(kinds)}; got {model!r}")
    kind = kinds[model]
    fields |= {name: _part(name, document[name]) for name in PARTS if name in document}
    known = [field.name for field in dataclasses.fields(kind)]
    require_known("problem", fields, known)
    for field in dataclasses.fields(kind):
        missing = field.default is dataclasses.MISSING
        if missing and field.default_factory is dataclasses.MISSING and field.name not in fields:
            if field.name not in first:
                raise ValueError(f"{field.name} is required, in [problem] or [sweep]")
            fields[field.name] = first[field.name]
    return kind(**fields)


def _models() -> dict[str, type]:
    from dmft.problem import Problem
    from dmft.quadratic.problem import QuadraticProblem

    return {"diagonal": Problem, "quadratic": QuadraticProblem}


def _part(name: str, value: Any) -> Any:
    """Return a law, a network or a dynamics from its name or its table."""
    from dmft.dynamics.registry import dynamics_from_config
    from dmft.networks.registry import network_from_config
    from dmft.signals import signal_from_config

    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "signal": signal_from_config,
        "network": network_from_config,
        "dynamics": dynamics_from_config,
    }
    return makers[name]({"name": value} if isinstance(value, str) else value)


def _options(task: str, table: dict[str, Any]) -> dict[str, Any]:
    options = dict(table)
    if "seed" in options:
        options["rng"] = options.pop("seed")
    if "points" in options:
        if "t_eval" in options:
            raise ValueError(f"t-eval and points of [{task}] exclude each other")
        t_max = require_in_range(f"t-max of [{task}]", options.get("t_max"), 0.0, low_open=True)
        points = require_integer(f"points of [{task}]", options.pop("points"), low=2)
        options["t_eval"] = np.linspace(0.0, t_max, points)
        if task == "simulate":
            options.pop("t_max")
    return options


# --- axes ----------------------------------------------------------------------------------------


def _uniform(low: float, high: float) -> Any:
    from scipy import stats

    low = require_in_range("low", low)
    return stats.uniform(low, require_in_range("high", high, low=low, low_open=True) - low)


def _loguniform(low: float, high: float) -> Any:
    from scipy import stats

    low = require_in_range("low", low, low=0.0, low_open=True)
    return stats.loguniform(low, require_in_range("high", high, low=low, low_open=True))


RANGES: dict[str, tuple[int, Callable[..., Any]]] = {
    "logspace": (3, logspace),
    "linspace": (3, linspace),
    "uniform": (2, _uniform),
    "loguniform": (2, _loguniform),
}


def _axis(name: str, values: Any) -> Any:
    """Return the values or the distribution of an axis."""
    if not isinstance(values, Mapping):
        if not values:
            raise ValueError(f"{name} must have at least one value; got {values!r}")
        return [_part(name, v) for v in values] if name in PARTS else values
    (word, numbers), *rest = values.items()
    if rest or word not in RANGES:
        raise ValueError(f"{name} must be a list or one of {', '.join(RANGES)}; got {values!r}")
    count, function = RANGES[word]
    if not isinstance(numbers, list) or len(numbers) != count:
        raise ValueError(f"{word} of {name} takes {count} numbers; got {numbers!r}")
    try:
        return function(*numbers)
    except ValueError as error:
        raise ValueError(f"{word} of {name}: {error}") from None


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return axes by their dotted names; TOML reads a.b = 1 as a table b in a table a."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value.keys().isdisjoint(RANGES):
            flat |= _flat(value, f"{name}.")
        else:
            flat[name.replace(".seed", ".rng") if prefix else name] = value
    return flat


def _some_value(values: Any) -> Any:
    return float(values.ppf(0.5)) if hasattr(values, "ppf") else next(iter(values), None)


def _plain_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.replace("-", "_"): _plain_keys(item) for key, item in value.items()}
    return value
