"""The tables of options: what the command line and the configuration file know.

The options of problems, laws, networks and dynamics are what their classes state in their fields
(`dmft.parameters`), of those registered by others too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmft.parameters import Described

POINTS = 21  # times of a simulation for which none are given


@dataclass(frozen=True)
class Option:
    """One option.

    Parameters
    ----------
    name : str
        Key in the file and, but for `flag`, the long option.
    kind : type
        float, int, str or bool.
    help : str
        A line of help.
    default : object
        None for an option without a default of its own.
    many : bool
        Whether it takes one or more values.
    flag : str
        Long option without its dashes, where it differs from the name.
    file : bool
        Whether it is the name of a file of numbers, which a TOML file may hold itself.
    """

    name: str
    kind: type
    help: str
    default: Any = None
    many: bool = False
    flag: str = ""
    file: bool = False

    @property
    def destination(self) -> str:
        """Name of the parsed value."""
        return self.flag or self.name

    @property
    def long_option(self) -> str:
        """The option as it is typed."""
        return "--" + self.destination.replace("_", "-")


_TIMES = (
    Option("t_max", float, "horizon, > 0; by default the last of --t-eval"),
    Option("t_eval", float, "increasing times at which values are given", many=True),
)

# The tables whose options are parameters of the library's classes: see `options_of`.
# Whoever starts a solve at a terminal gets an answer in ten minutes; in Python there is no limit.
MAX_TIME = 600.0

_DESCRIBED = ("problem", "signal", "network", "dynamics")

_OWN: dict[str, tuple[Option, ...]] = {
    "solve": (
        *_TIMES,
        Option(
            "points",
            int,
            "that many equidistant times from 0 to t-max, in place of --t-eval (default: the "
            "solver's own times)",
        ),
        Option("rtol", float, "relative accuracy, to 0.1 (default 1e-4; 1e-2 in steps)"),
        Option(
            "atol",
            float,
            "absolute accuracy, >= 0; 0 means relative however small a value is (default 1e-3 rtol "
            "times the largest value)",
        ),
        Option(
            "max_time",
            float,
            "seconds, > 0, after which the best result so far is given, with exit code 1 (default "
            f"{MAX_TIME:g}; none in steps)",
        ),
        Option("max_memory", float, "bytes that a solve may take, >= 3e8 (default 1e9)", 1e9),
        Option("seed", int, "seed, >= 0 (default 0)", default=0),
        Option("out", str, "HDF5 file to write; without it a table is printed"),
    ),
    "simulate": (
        *_TIMES,
        Option(
            "points",
            int,
            f"that many equidistant times from 0 to t-max, in place of --t-eval (default {POINTS})",
        ),
        Option("dimension", int, "dimension d (default 500, or all columns of --data)"),
        Option("seeds", int, "number of independent draws of the data (default 16)", default=16),
        Option(
            "design",
            str,
            "law of the entries of X: gaussian, rademacher or student_t (default gaussian)",
            default="gaussian",
        ),
        Option("seed", int, "seed, >= 0 (default 0)", default=0),
        Option("workers", int, "processes (default: as many as pay)"),
        Option(
            "data",
            str,
            "your own X (and y, w_star) in place of --design: .npy, .npz, .csv or HDF5; delta is "
            "that of its shape",
        ),
        Option("samples", int, "rows of --data that each draw takes (default: all)"),
        Option(
            "targets",
            str,
            "targets of --data: given, or planted by the law and sigma2 (default: given if there)",
            default="given",
        ),
        Option("out", str, "HDF5 file to write; without it a table is printed"),
    ),
}

TABLES = (*_DESCRIBED, *_OWN)

_TYPES = {"integer": int, "text": str, "file": str, "flag": bool}  # float for all other kinds


def options_of(table: str) -> tuple[Option, ...]:
    """Return the options of a table; those of laws and networks are what their classes state."""
    if table in _OWN:
        return _OWN[table]
    from dmft.dynamics.registry import DYNAMICS
    from dmft.networks.registry import NETWORKS
    from dmft.parameters import described
    from dmft.problem import Problem
    from dmft.signals.registry import LAWS

    if table == "problem":
        return tuple(_described_option([("", p)]) for p in described(Problem) if p.help)
    registries: dict[str, tuple[Mapping[str, type], str, str]] = {
        "signal": (LAWS, "law of the entries of w*", "bernoulli"),
        "network": (NETWORKS, "the network", "diagonal"),
        "dynamics": (DYNAMICS, "how the layers are trained", "gradient_flow"),
    }
    registered, what, default = registries[table]
    parameters = {name: described(kind) for name, kind in registered.items()}
    kinds = {
        name: own
        for name, own in parameters.items()
        if not any(parameter.kind == "structure" for parameter in own)
    }
    help = f"{what}: {', '.join(kinds)} (default {default})"
    choice = Option("name", str, help, default, flag=table)
    found: dict[str, list[tuple[str, Described]]] = {}
    for name, own in kinds.items():
        for parameter in own:
            found.setdefault(parameter.name, []).append((name, parameter))
    return choice, *(_described_option(owners) for owners in found.values())


def _described_option(owners: list[tuple[str, Described]]) -> Option:
    """Return the option for a parameter that classes of these names share."""
    texts: dict[str, list[str]] = {}
    for owner, parameter in owners:
        texts.setdefault(parameter.help + _default(parameter.default), []).append(owner)
    help = "; ".join(f"{', '.join(names)}: {text}".lstrip(": ") for text, names in texts.items())
    name, kind, *_ = owners[0][1]
    return Option(
        name,
        _TYPES.get(kind, float),
        help.replace("%", "%%"),
        many=kind in ("numbers", "array"),
        file=kind == "file",
    )


def _default(value: Any) -> str:
    """Return what the help says of a default."""
    if value is None:
        return " (required)"
    if isinstance(value, (bool, tuple)):
        return ""
    return f" (default {value:g})" if isinstance(value, (int, float)) else f" (default {value})"
