"""What a result declares: named variables with dimensions, units and texts. Plain data.

The words are those of netCDF and xarray. A variable has named dimensions; one that is called like
its only dimension is the coordinate of that dimension. Variables, scalar attributes and further
groups make a group, and a group with its configuration is a record: all that is stored of a result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

WALL_CLOCK = ("wall_time", "compile_time")  # seconds of a clock, which no two runs share


@dataclass(frozen=True, eq=False)
class Variable:
    """An array with named dimensions.

    Parameters
    ----------
    dimensions : tuple of str
        One name for each axis of `values`.
    values : array_like
        Numbers or text, of any shape.
    long_name : str
        What it is, in words; the label of an axis.
    units : str
        Units; "1" for pure numbers.

    Raises
    ------
    ValueError
        If the number of dimensions is not that of the axes.

    Examples
    --------
    >>> Variable(("t",), [0.0, 1.0], "time").values
    array([0., 1.])
    """

    dimensions: tuple[str, ...]
    values: np.ndarray
    long_name: str
    units: str = "1"

    def __post_init__(self) -> None:
        """Check the number of dimensions."""
        object.__setattr__(self, "values", np.asarray(self.values))
        object.__setattr__(self, "dimensions", tuple(self.dimensions))
        if len(self.dimensions) != self.values.ndim:
            raise ValueError(
                f"dimensions must name the {self.values.ndim} axes of values; "
                f"got {self.dimensions!r}"
            )


@dataclass(frozen=True, eq=False)
class Group:
    """Variables by name, scalar attributes, and further groups.

    Parameters
    ----------
    variables : mapping of str to Variable
        A dimension without a coordinate among them counts 0, 1, 2, ...
    attributes : mapping of str to scalar
        Texts, numbers and truth values.
    groups : mapping of str to Group

    Examples
    --------
    >>> group = Group({"height": Variable(("t",), [0.0, 4.9], "height", "m")}, {"spin": True})
    >>> group["height"], group.sizes()
    (array([0. , 4.9]), {'t': 2})
    """

    variables: Mapping[str, Variable] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the values of a variable.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        return self.variables[name].values

    def sizes(self) -> dict[str, int]:
        """Return the length of each dimension.

        Raises
        ------
        ValueError
            If two variables disagree.
        """
        sizes: dict[str, int] = {}
        for name, variable in self.variables.items():
            for dimension, size in zip(variable.dimensions, variable.values.shape, strict=True):
                if sizes.setdefault(dimension, size) != size:
                    raise ValueError(
                        f"variable {name!r} must have length {sizes[dimension]} along "
                        f"{dimension!r}; got {size}"
                    )
        return sizes

    @classmethod
    def of_stats(cls, stats: Mapping[str, Any], dimensions: tuple[str, ...] = ()) -> Group:
        """Return a dict of scalars, arrays and such dicts as a group; see `as_stats`.

        `dimensions` are those of the arrays; by default each has dimensions of its own.

        Examples
        --------
        >>> stats = {"sweeps": 3, "wall_time": 0.1, "error": {"time": 1e-5}}
        >>> Group.of_stats(stats).as_stats() == stats
        True
        """
        variables, attributes, groups = {}, {}, {}
        for name, value in stats.items():
            if isinstance(value, Mapping):
                groups[name] = cls.of_stats(value, dimensions)
            elif np.ndim(value) == 0:
                attributes[name] = value
            else:
                array = np.asarray(value)
                axes = "_index", *(f"_index_{k}" for k in range(1, array.ndim))
                own = tuple(f"{name}{axis}" for axis in axes)
                units = "s" if name in WALL_CLOCK else "1"
                text = name.replace("_", " ")
                variables[name] = Variable(dimensions or own, array, text, units)
        return cls(variables, attributes, groups)

    def as_stats(self) -> dict[str, Any]:
        """Return the dict that `of_stats` was given."""
        arrays = {
            name: variable.values
            for name, variable in self.variables.items()
            if variable.dimensions != (name,)
        }
        groups = {name: group.as_stats() for name, group in self.groups.items()}
        return {**self.attributes, **arrays, **groups}

    def fingerprint(self) -> tuple[Any, ...]:
        """Return what two equal groups have in common, to the last bit; no wall-clock times."""
        variables = tuple(
            (name, v.dimensions, v.values.dtype.str, v.values.shape, _bits(v.values))
            for name, v in sorted(self.variables.items())
            if name not in WALL_CLOCK
        )
        attributes = tuple(
            (name, _bits(np.asarray(value)))
            for name, value in sorted(self.attributes.items())
            if name not in WALL_CLOCK
        )
        groups = tuple((name, g.fingerprint()) for name, g in sorted(self.groups.items()))
        return variables, attributes, groups


@dataclass(frozen=True, eq=False)
class Record:
    """All that is stored of a result.

    Parameters
    ----------
    title : str
        What the result is, in a few words.
    configuration : dict
        What was asked for, as JSON values; a "seed" in it is also an attribute of the file.
    content : Group
        The variables, with the result's scalars as attributes.
    references : str
        Where the equations come from.
    provenance : mapping of str to scalar
        Of a record that was read: versions, UTC time and what else the file says of its making.
        It does not count when records are compared.

    Examples
    --------
    >>> one, other = (Record("A ball", {"seed": 1}, Group()) for _ in range(2))
    >>> one.fingerprint() == other.fingerprint()
    True
    """

    title: str
    configuration: Mapping[str, Any]
    content: Group
    references: str = "arXiv:2510.01930"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> tuple[Any, ...]:
        """Return what two equal records have in common; see `Group.fingerprint`."""
        return json.dumps(self.configuration, sort_keys=True), self.content.fingerprint()


def configuration_of(name: str, value: Any) -> dict[str, Any]:
    """Return `value.config()` as JSON values from which `type(value).from_config` rebuilds it.

    Parameters
    ----------
    name : str
        What the value is called, for the error.
    value : object
        Such as a `dmft.Problem`.

    Raises
    ------
    ValueError
        If it cannot be rebuilt, such as a problem whose law or network is not registered.

    Examples
    --------
    >>> import dmft
    >>> configuration_of("problem", dmft.Problem(0.5, lam=0.1))["lam"]
    0.1
    """
    try:
        config = json.loads(json.dumps(value.config(), default=np.generic.item))
        rebuilt = type(value).from_config(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be saved, as it cannot be rebuilt: {error}") from error
    if rebuilt != value:
        raise ValueError(f"{name} cannot be saved, as it cannot be rebuilt; got {value!r}")
    return config


def _bits(values: np.ndarray) -> bytes | str:
    """Return the values so that nan equals nan."""
    return repr(values.tolist()) if values.dtype.hasobject else values.tobytes()
