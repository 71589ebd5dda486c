"""The parameters of a run, from defaults, a TOML file and the command line; the last one wins.

One table of options (`dmft.cli.tables`) serves both: the option `t_max` of the table "solve" is
`--t-max` on the command line and `t-max` (or `t_max`) under `[solve]` in the file.
"""

from __future__ import annotations

import dataclasses
import tomllib
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dmft.cli.tables import TABLES, Option, options_of

if TYPE_CHECKING:
    import numpy as np

    from dmft.dynamics.base import Dynamics
    from dmft.problem import Problem

Settings = dict[str, dict[str, Any]]

_KINDS = {float: "a number", int: "an integer", str: "a string", bool: "true or false"}


def merge(given: Mapping[str, Any], path: str | None = None) -> Settings:
    """Return the settings of each table.

    Parameters
    ----------
    given : mapping
        Values of the command line under `Option.destination`; None stands for not given.
    path : str, optional
        TOML file.

    Raises
    ------
    ValueError
        If the file is not valid TOML, holds an unknown key or a value of another type.
    OSError
        If the file cannot be read.
    """
    tables = {} if path is None else read_tables(path)
    settings = {}
    for table in TABLES:
        options = options_of(table)
        values = tables.get(table, {})
        chosen = given.get(table)  # of --signal, --network and --dynamics
        if chosen is not None and chosen != values.get("name", options[0].default):
            values = {}  # the file's parameters belong to another law or network
        typed = {
            option.name: given[option.destination]
            for option in options
            if given.get(option.destination) is not None
        }
        defaults = {option.name: option.default for option in options}
        settings[table] = defaults | _without_times(values, typed) | typed
    return settings


def read_tables(path: str) -> Settings:
    """Return the tables of a TOML file after a check of all its keys and types.

    Raises
    ------
    ValueError
        If the file is not valid TOML, holds an unknown key or a value of another type.
    OSError
        If the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            document = tomllib.load(file)
        except ValueError as error:  # also of text that is not UTF-8
            raise ValueError(f"{path} is not a TOML file: {error}") from None
    for name, content in document.items():
        if name not in TABLES:
            raise ValueError(f"{path}: unknown table {name!r}; known: {', '.join(TABLES)}")
        if not isinstance(content, dict):
            raise ValueError(f"{path}: {name} must be a table; got {content!r}")
    return {name: _checked_table(path, name, content) for name, content in document.items()}


def _checked_table(path: str, table: str, content: dict[str, Any]) -> dict[str, Any]:
    options = {option.name: option for option in options_of(table)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in options:
            known = ", ".join(option.replace("_", "-") for option in options)
            raise ValueError(f"{path}: unknown key {key!r} in [{table}]; known: {known}")
        if name in values:
            raise ValueError(f"{path}: {key!r} in [{table}] is given twice")
        values[name] = _checked_value(f"{path}: {key} in [{table}]", options[name], value)
    return values


def _checked_value(where: str, option: Option, value: Any) -> Any:
    if option.file and isinstance(value, list):
        option = dataclasses.replace(option, kind=float, many=True)
    items = value if option.many and isinstance(value, list) else [value]
    permitted = (int, float) if option.kind is float else (option.kind,)
    for item in items:
        if (isinstance(item, bool) and bool not in permitted) or not isinstance(item, permitted):
            article = "a list, each entry " if option.many else ""
            raise ValueError(f"{where} must be {article}{_KINDS[option.kind]}; got {item!r}")
    return items if option.many else value


def _without_times(values: dict[str, Any], typed: dict[str, Any]) -> dict[str, Any]:
    """Drop the file's choice of times where the command line makes one."""
    if typed.keys().isdisjoint(("t_eval", "points")):
        return values
    return {k: v for k, v in values.items() if k not in ("t_eval", "points")}


# --- from settings to the library's values ----------------------------------------------------


def build_problem(settings: Settings) -> Problem:
    """Return the problem that the settings describe.

    Raises
    ------
    ValueError
        If delta is missing, a parameter does not belong to the law or network, or a value is
        out of its range.
    OSError
        If the file of an empirical law cannot be read.
    """
    from dmft.dynamics.registry import DYNAMICS, dynamics_from_config
    from dmft.networks.registry import NETWORKS, network_from_config
    from dmft.problem import Problem
    from dmft.signals.registry import LAWS, signal_from_config

    numbers = _present(settings["problem"])
    if settings["simulate"].get("data") is not None:
        numbers.setdefault("delta", 1.0)  # that of the data takes its place
    if "delta" not in numbers:
        raise ValueError("delta is required: give --delta, or delta in [problem] of --config")
    signal = _parameters("signal", settings, LAWS)
    network = _parameters("network", settings, NETWORKS)
    dynamics = _parameters("dynamics", settings, DYNAMICS)
    return Problem(
        **numbers,
        signal=signal_from_config(signal),
        network=network_from_config(network),
        dynamics=dynamics_from_config(dynamics),
    )


def _parameters(table: str, settings: Settings, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return what the settings say of a law or network, with files read.

    Raises
    ------
    ValueError
        If a parameter belongs to another law or network, or is missing.
    """
    parameters = _present(settings[table])
    name = parameters["name"]
    if name not in kinds:
        raise ValueError(f"{table} must be one of {', '.join(kinds)}; got {name!r}")
    fields = dataclasses.fields(kinds[name])
    options = options_of(table)
    own = [option for option in options if option.name in {f.name for f in fields}]
    takes = ", ".join(option.long_option for option in own) or "no parameters"
    for option in options[1:]:
        if option.name in parameters and option not in own:
            raise ValueError(
                f"{option.long_option} does not belong to {table} {name!r}, which takes {takes}"
            )
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    missing = [option.long_option for option in own if option.name in required - set(parameters)]
    if missing:
        raise ValueError(f"{table} {name!r} needs {' and '.join(missing)}")
    for option in own:
        if option.file and isinstance(parameters.get(option.name), str):
            parameters[option.name] = read_array(parameters[option.name])
    return parameters


def read_array(path: str) -> np.ndarray:
    """Return the numbers of a .npy file or of a text file.

    Raises
    ------
    ValueError
        If the file does not hold an array of numbers.
    OSError
        If the file cannot be read.
    """
    import numpy as np

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty text file is the law's error
            array = np.load(path) if path.endswith(".npy") else np.loadtxt(path, ndmin=1)
            return np.array(array, dtype=float)
    except (ValueError, TypeError, EOFError) as error:
        raise ValueError(f"array: {path} does not hold an array of numbers: {error}") from None


def horizon(
    values: dict[str, Any], dynamics: Dynamics, points: int | None = None
) -> tuple[float, np.ndarray | None]:
    """Return t_max and the times of the table "solve" or "simulate".

    Parameters
    ----------
    values : dict
        Settings of the table.
    dynamics : Dynamics
        At whose steps equidistant times are taken, where it is in steps.
    points : int, optional
        Number of equidistant times where the settings say nothing; the times are None where
        this is absent as well.

    Raises
    ------
    ValueError
        If there is no horizon, two choices of times, or a value out of its range.
    """
    import numpy as np

    from dmft.validation import require_in_range, require_integer, require_times

    t_max, t_eval = values["t_max"], values["t_eval"]
    if t_eval is not None and values["points"] is not None:
        raise ValueError("t-eval and points exclude each other: give one of them")
    if t_max is None and t_eval is None:
        raise ValueError("t-max is required: give --t-max or --t-eval, here or in --config")
    if t_max is None:
        t_max = float(require_times("t_eval", t_eval)[-1])
    t_max = require_in_range("t_max", t_max, low=0.0, low_open=True)
    if t_eval is not None:
        return t_max, require_times("t_eval", t_eval, t_max)
    points = points if values["points"] is None else values["points"]
    if points is None:
        return t_max, None
    times = np.linspace(0.0, t_max, require_integer("points", points, low=2))
    return t_max, dynamics.attainable(times)


def simulation_times(settings: Settings) -> dict[str, Any]:
    """Return the choice of times of a simulation: its own or, where it makes none, the theory's."""
    own, theory = settings["simulate"], settings["solve"]
    chosen = {name: own[name] for name in ("t_max", "t_eval", "points")}
    if all(value is None for value in chosen.values()):
        return {name: theory[name] for name in chosen}
    if chosen["t_max"] is None and chosen["t_eval"] is None:
        chosen["t_max"] = theory["t_max"] or (theory["t_eval"] or [None])[-1]
    return chosen


def simulation_arguments(values: dict[str, Any], least_seeds: int = 1) -> dict[str, Any]:
    """Return the arguments of `dmft.simulate` other than problem, times and progress.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """
    from dmft.simulation.data import DESIGNS
    from dmft.validation import require_integer

    if values["design"] not in DESIGNS:
        raise ValueError(f"design must be one of {', '.join(DESIGNS)}; got {values['design']!r}")
    if values["workers"] is not None:
        require_integer("workers", values["workers"], low=1)
    return {
        "dimension": _optional_integer("dimension", values["dimension"]),
        "seeds": require_integer("seeds", values["seeds"], low=least_seeds),
        "rng": require_integer("seed", values["seed"], low=0),
        "design": values["design"],
        "workers": values["workers"],
        **_own_data(values),
    }


def _optional_integer(name: str, value: int | None) -> int | None:
    from dmft.validation import require_integer

    return None if value is None else require_integer(name, value, low=1)


def _own_data(values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments `data` and `samples` where a file of data is named."""
    from dmft.simulation.read_data import read_data

    targets = values.get("targets", "given")
    if targets not in ("given", "planted"):
        raise ValueError(f"targets must be given or planted; got {targets!r}")
    if values.get("data") is None:
        return {} if values.get("samples") is None else {"samples": values["samples"]}
    data = read_data(values["data"])
    samples = _optional_integer("samples", values["samples"])
    return {"data": data[:1] if targets == "planted" else data, "samples": samples}


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
