"""Parameters of laws, networks and the like: one field states value, range and help text.

    @dataclass(frozen=True)
    class Gaussian(SignalLaw):
        std: float = number("standard deviation", 1.0, low=0.0, low_open=True)

`Parameters` checks every field when an object is made and gives its configuration; the command
line and the configuration file read the same fields through `described`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from dmft.validation import require_array, require_finite, require_in_range, require_integer


def number(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    low_open: bool = False,
    high_open: bool = False,
) -> Any:
    """Return a dataclass field for a real number in an interval, stored as a float.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Disc(Parameters):
    ...     radius: float = number("radius of the disc", 1.0, low=0.0, low_open=True)
    >>> Disc(2)
    Disc(radius=2.0)
    >>> Disc(-1.0)
    Traceback (most recent call last):
    ...
    ValueError: radius must satisfy radius > 0; got -1.0
    """
    interval = {"low": low, "high": high, "low_open": low_open, "high_open": high_open}
    return _field(help, default, "number", interval)


def integer(help: str, default: Any = dataclasses.MISSING, *, low: int) -> Any:
    """Return a dataclass field for an integer that is at least `low`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Stack(Parameters):
    ...     depth: int = integer("number of layers", 2, low=1)
    >>> Stack(0)
    Traceback (most recent call last):
    ...
    ValueError: depth must be an integer >= 1; got 0
    """
    return _field(help, default, "integer", {"low": low})


def numbers(help: str, default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field for finite numbers, stored as a tuple of floats.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Starts(Parameters):
    ...     scales: tuple[float, ...] = numbers("start of each layer")
    >>> Starts([1, 2])
    Starts(scales=(1.0, 2.0))
    """
    return _field(help, default, "numbers", {})


def vector(help: str, default: Any = dataclasses.MISSING, *, file: bool = False) -> Any:
    """Return a dataclass field for finite numbers, shape (m,), stored as a read-only copy.

    On the command line it is a list or, with `file`, the name of a file of numbers.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, eq=False)
    ... class Sample(Parameters):
    ...     draws: np.ndarray = vector("the draws")
    >>> Sample([1, 2]).draws
    array([1., 2.])
    """
    return _field(help, default, "file" if file else "array", {})


def text(help: str, default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field for a word.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Named(Parameters):
    ...     family: str = text("name of the family", "laplace")
    >>> Named().config()
    {'name': '', 'family': 'laplace'}
    """
    return _field(help, default, "text", {})


def flag(help: str, default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field for True or False.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Momentum(Parameters):
    ...     nesterov: bool = flag("whether it looks ahead", False)
    >>> Momentum(True)
    Momentum(nesterov=True)
    """
    return _field(help, default, "flag", {})


def structure(help: str, default: Any = dataclasses.MISSING) -> Any:
    """Return a dataclass field that its class checks itself, and no command line states.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Path(Parameters):
    ...     points: tuple = structure("pairs of numbers")
    >>> Path(((0, 1), (1, 2))).points
    ((0, 1), (1, 2))
    """
    return _field(help, default, "structure", {})


def _field(help: str, default: Any, kind: str, limits: dict[str, Any]) -> Any:
    metadata = {"help": help, "kind": kind, "limits": limits}
    return dataclasses.field(default=default, metadata=metadata)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string; got {value!r}")
    return value


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False; got {value!r}")
    return value


_CHECKS: dict[str, Callable[..., Any]] = {
    "number": require_in_range,
    "integer": require_integer,
    "numbers": lambda name, value: tuple(require_array(name, value).tolist()),
    "array": require_array,
    "file": require_array,
    "text": _word,
    "flag": _truth,
    "structure": lambda name, value: value,
}


class Parameters:
    """A frozen dataclass that checks its fields and states them as a configuration.

    Examples
    --------
    >>> import dmft
    >>> dmft.Deep(4).config()
    {'name': 'deep', 'depth': 4}
    """

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check every field, and store it in the type that its kind asks for."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if "kind" in field.metadata:
                check = _CHECKS[field.metadata["kind"]]
                value = check(field.name, value, **field.metadata["limits"])
            elif isinstance(value, (float, np.floating)):
                value = require_finite(field.name, value)
            object.__setattr__(self, field.name, value)

    def config(self) -> dict[str, Any]:
        """Return the parameters as plain numbers and lists, with the `name` of their kind."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        return {"name": self.name, **{f.name: _plain(getattr(self, f.name)) for f in fields}}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def limits_of(kind: Any) -> dict[str, dict[str, Any]]:
    """Return the range of each number among the fields of a dataclass, as `number` has them.

    Examples
    --------
    >>> from dmft.signals import Gaussian
    >>> limits_of(Gaussian)["std"]["low"]
    0.0
    """
    found = {f.name: f.metadata for f in dataclasses.fields(kind)}
    return {k: m["limits"] for k, m in found.items() if m.get("kind") == "number"}


class Described(NamedTuple):
    """One parameter: name, `kind` (number, integer, ..., structure), help text, default.

    Examples
    --------
    >>> import dmft
    >>> next(iter(dmft.Deep(3).config().items()))
    ('name', 'deep')
    """

    name: str
    kind: str
    help: str
    default: Any


def described(kind: type) -> tuple[Described, ...]:
    """Return the parameters of a class of `Parameters`; `default` is None where one is required.

    Examples
    --------
    >>> from dmft.signals import Bernoulli
    >>> [parameter.name for parameter in described(Bernoulli)]
    ['density', 'value']
    """
    found = []
    for field in dataclasses.fields(kind):
        default = None if field.default is dataclasses.MISSING else field.default
        meant = "integer" if isinstance(default, int) else "number"
        kind_of = field.metadata.get("kind", meant)
        found.append(Described(field.name, kind_of, field.metadata.get("help", ""), default))
    return tuple(found)


P = TypeVar("P", bound=Parameters)


def build(what: str, kinds: Mapping[str, type[P]], config: Mapping[str, Any]) -> P:
    """Return the object of a configuration, of one of some kinds by name; see `Parameters.config`.

    Raises
    ------
    ValueError
        If the name is unknown or the parameters do not fit.

    Examples
    --------
    >>> from dmft.signals import LAWS
    >>> build("signal", LAWS, {"name": "gaussian", "std": 2.0})
    Gaussian(std=2.0, location=0.0)
    """
    parameters = dict(config)
    name = parameters.pop("name", None)
    if name not in kinds:
        raise ValueError(f"{what} must be one of {sorted(kinds)}; got {name!r}")
    try:
        return kinds[name](**parameters)
    except TypeError as error:
        raise ValueError(f"parameters of {what} {name!r}: {error}") from None


def register_in(what: str, kinds: dict[str, type[P]], kind: type[P]) -> type[P]:
    """Enter a kind by its name, so that configurations and the command line know it.

    Raises
    ------
    ValueError
        If it has no name, or another kind has the same one.
    """
    known = kinds.get(kind.name)
    if not kind.name:
        raise ValueError(f"{what} {kind.__name__} must have a class attribute `name`")
    if known is not None and (known.__module__, known.__qualname__) != (
        kind.__module__,
        kind.__qualname__,
    ):
        raise ValueError(f"{what} name {kind.name!r} is taken by {known!r}; got {kind!r}")
    kinds[kind.name] = kind
    return kind
