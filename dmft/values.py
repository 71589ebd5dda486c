"""Frozen values: arrays that cannot be written to, and equality by numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from dmft.display import Summarised


class Value(Summarised):
    """A frozen dataclass that is shown by its summary and compared by the numbers in its fields.

    Its arrays are read-only, and equal where they are equal to the last bit (nan equals nan).

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class Path(Value):
    ...     times: np.ndarray
    ...     def summary(self):
    ...         return {"times": str(len(self.times))}
    >>> Path(np.arange(3.0)) == Path(np.arange(3.0))
    True
    """

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for field in fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, frozen(getattr(self, field.name)))

    def __eq__(self, other: object) -> bool:
        """Two values of a class are equal when all their numbers are."""
        if type(self) is not type(other):
            return NotImplemented
        return fingerprint(self) == fingerprint(other)

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash


def read_only(value: Any) -> np.ndarray:
    """Return an array as a view that cannot be written to.

    Examples
    --------
    >>> read_only([1.0, 2.0]).flags.writeable
    False
    """
    view = np.asarray(value).view()
    view.setflags(write=False)
    return view


def frozen(value: Any) -> Any:
    """Return a value with the arrays in it, in tuples and in mappings as read-only views.

    Examples
    --------
    >>> frozen({"a": (np.zeros(2),)})["a"][0].flags.writeable
    False
    """
    if isinstance(value, np.ndarray):
        return read_only(value)
    if isinstance(value, tuple) and type(value) is tuple:
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return {name: frozen(item) for name, item in value.items()}
    return value


def fingerprint(value: Any) -> Any:
    """Return what two values have in common that are equal to the last bit.

    Examples
    --------
    >>> fingerprint({"a": np.array([np.nan])}) == fingerprint({"a": np.array([np.nan])})
    True
    """
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Mapping):
        return {name: fingerprint(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [fingerprint(item) for item in value]
    if is_dataclass(value):
        return [fingerprint(getattr(value, field.name)) for field in fields(value)]
    return repr(value) if isinstance(value, float) else value
