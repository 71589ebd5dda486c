"""Axes of a sweep: which values each field of a problem and each option takes.

An axis is named by what it changes:

    alpha, signal, ...           a field of the problem
    signal.density, ...          a field of such a field
    solve.rtol, simulate.seeds   an option of `dmft.solve` or `dmft.simulate`

and is given by its values, or by a distribution of which each draw takes one. Axes with values span
a grid; all axes with distributions share the one dimension "draw".
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dmft.validation import require_in_range, require_integer

DRAW = "draw"
TASKS = ("solve", "simulate")

# A point takes about a kilobyte while a sweep runs, so that this many stay below a few gigabytes.
MAX_POINTS = 1_000_000


@dataclass(frozen=True)
class Assignment:
    """One point: its place along each dimension and the value of each axis."""

    place: tuple[int, ...]
    values: dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """The points of a sweep.

    Parameters
    ----------
    dimensions : dict of str to int
        Lengths of the dimensions.
    axes : dict of str to tuple of (str, tuple)
        Dimension and values of each axis.
    """

    dimensions: dict[str, int]
    axes: dict[str, tuple[str, tuple[Any, ...]]]

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.dimensions.values())

    def __iter__(self) -> Iterator[Assignment]:
        """Iterate over the points, the last dimension fastest."""
        names = list(self.dimensions)
        for place in itertools.product(*map(range, self.dimensions.values())):
            at = dict(zip(names, place, strict=True))
            yield Assignment(place, {name: v[at[d]] for name, (d, v) in self.axes.items()})


def logspace(low: float, high: float, num: int) -> np.ndarray:
    """Return numbers from `low` to `high`, each the same factor above the one before.

    Parameters
    ----------
    low, high : float
        First and last number, 0 < low < high (not their logarithms).
    num : int
        How many; >= 2.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> logspace(0.01, 1.0, 3)
    array([0.01, 0.1 , 1.  ])
    """
    low = require_in_range("low", low, low=0.0, low_open=True)
    high = require_in_range("high", high, low=low, low_open=True)
    return np.geomspace(low, high, require_integer("num", num, low=2))


def linspace(low: float, high: float, num: int) -> np.ndarray:
    """Return equidistant numbers from `low` to `high`.

    Parameters
    ----------
    low, high : float
        First and last number, low < high.
    num : int
        How many; >= 2.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Examples
    --------
    >>> linspace(0.0, 1.0, 3)
    array([0. , 0.5, 1. ])
    """
    low = require_in_range("low", low)
    high = require_in_range("high", high, low=low, low_open=True)
    return np.linspace(low, high, require_integer("num", num, low=2))


def lay_out(axes: Mapping[str, Any], draws: int | None, rng: int) -> Layout:
    """Return the points that some axes span.

    Parameters
    ----------
    axes : mapping of str to iterable or distribution
        Values, or an object with a `ppf` such as a frozen distribution of `scipy.stats`.
    draws : int, optional
        Number of draws; needed if and only if there is a distribution.
    rng : int
        Seed of the draws. A larger number of draws begins with the same ones.

    Raises
    ------
    ValueError
        If an axis is empty or repeats a value, `draws` does not fit, or there are too many points.
    """
    random = [name for name, values in axes.items() if hasattr(values, "ppf")]
    if random and draws is None:
        raise ValueError(f"draws is required: {random[0]} is a distribution")
    if not random and draws is not None:
        raise ValueError(f"draws must be absent where no axis is a distribution; got {draws!r}")
    grids = {name: _grid_values(name, v) for name, v in axes.items() if name not in random}
    dimensions = {name: len(values) for name, values in grids.items()}
    laid: dict[str, tuple[str, tuple[Any, ...]]] = {n: (n, v) for n, v in grids.items()}
    if draws is not None:
        dimensions = {DRAW: require_integer("draws", draws, low=1), **dimensions}
        laid |= {name: (DRAW, _drawn(name, axes[name], draws, rng)) for name in random}
    layout = Layout(dimensions, laid)
    if layout.size > MAX_POINTS:
        raise ValueError(f"a sweep must have at most {MAX_POINTS} points; got {layout.size}")
    return layout


def _grid_values(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{name} must be a list of values or a distribution; got {values!r}")
    items = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    if not items:
        raise ValueError(f"{name} must have at least one value; got {values!r}")
    for k, item in enumerate(items):
        if item in items[:k]:
            raise ValueError(f"{name} must not repeat a value; got {item!r} twice")
    return items


def _drawn(name: str, law: Any, draws: int, rng: int) -> tuple[Any, ...]:
    """Return values that depend on the axis's name and the seed, not on the other axes."""
    key = tuple(name.encode())
    sequence = np.random.SeedSequence(require_integer("rng", rng, low=0), spawn_key=key)
    values = np.asarray(law.ppf(np.random.default_rng(sequence).random(draws)))
    if values.shape != (draws,) or not np.all(np.isfinite(values)):
        raise ValueError(f"the distribution of {name} must give finite numbers; got {values!r}")
    return tuple(values.tolist())


# --- from the values of axes to problems and options ------------------------------------------


def split(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return changes of the problem, and of the options of each task, from the values of axes."""
    fields: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {task: {} for task in TASKS}
    for name, value in values.items():
        task, _, option = name.partition(".")
        if task in TASKS:
            options[task][option] = value
        else:
            fields[name] = value
    return fields, options


def changed(problem: Any, fields: Mapping[str, Any]) -> Any:
    """Return the problem with some fields replaced.

    Parameters
    ----------
    problem : dataclass
        Such as a `dmft.Problem`.
    fields : mapping of str to object
        Values by the name of a field, or by the dotted name of a field of a field.

    Raises
    ------
    ValueError
        If there is no such field, or a value is out of its range.

    Examples
    --------
    >>> import dmft
    >>> problem = changed(dmft.Problem(0.5), {"lam": 0.1, "signal.density": 0.3})
    >>> problem.lam, problem.signal
    (0.1, Bernoulli(density=0.3, value=1.0))
    """
    whole = {name: value for name, value in fields.items() if "." not in name}
    for name in whole:
        _require_field(problem, name, name)
    result = dataclasses.replace(problem, **whole)
    for name, value in fields.items():
        outer, _, inner = name.partition(".")
        if inner:
            _require_field(result, outer, name)
            part = getattr(result, outer)
            if not dataclasses.is_dataclass(part):
                raise ValueError(f"{name} is no field of a problem: {outer} is {part!r}")
            _require_field(part, inner, name)
            part = dataclasses.replace(part, **{inner: value})  # type: ignore[type-var]
            result = dataclasses.replace(result, **{outer: part})
    return result


def _require_field(value: Any, field: str, name: str) -> None:
    known = [f.name for f in dataclasses.fields(value)]
    if field not in known:
        kind = type(value).__name__
        raise ValueError(f"{name} is no field of {kind}{_hint(field, known)}")


def require_known(name: str, given: Iterable[str], known: list[str]) -> None:
    """Check that all names that were given are known.

    Raises
    ------
    ValueError
        If one is not; the message names the nearest one, or all of them.
    """
    for key in given:
        if key not in known:
            raise ValueError(f"{name} takes no {key!r}{_hint(key, known)}")


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
