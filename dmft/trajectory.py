"""Functions of time with an error for each: what solutions and ensembles have in common."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from dmft.storage import Result, Variable
from dmft.values import read_only

SHOWN = ("test_error", "train_error")  # Functions whose last value a summary gives.


class Functions(Mapping[str, np.ndarray]):
    """Read-only arrays by name; each name is also an attribute.

    Some may be evaluated, all at once, when one of them is first read: two-time functions take
    longer to evaluate than many a solve.

    Parameters
    ----------
    known : mapping of str to array_like
    names : tuple of str
        What `rest` gives.
    rest : callable, optional
        Returns the arrays of `names`.

    Examples
    --------
    >>> import numpy as np
    >>> functions = Functions({"square": np.array([0.0, 1.0, 4.0])})
    >>> functions["square"] is functions.square
    True
    """

    def __init__(
        self,
        known: Mapping[str, Any],
        names: tuple[str, ...] = (),
        rest: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        """Hold what is known and how to get the rest."""
        self._arrays = {name: read_only(value) for name, value in known.items()}
        self._names = tuple(dict.fromkeys((*known, *names)))
        self._rest = rest

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array; KeyError if there is none of that name."""
        if name not in self._arrays and name in self._names and self._rest is not None:
            for key, value in self._rest().items():
                self._arrays.setdefault(key, read_only(value))
        return self._arrays[name]

    def __getattr__(self, name: str) -> np.ndarray:
        """Return an array by its name."""
        if name.startswith("_") or name not in self._names:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self[name]

    def __dir__(self) -> list[str]:
        """List the methods and the functions."""
        return [*super().__dir__(), *self._names]

    def __iter__(self) -> Iterator[str]:
        """Iterate over all names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of names."""
        return len(self._names)

    def __or__(self, other: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return a dict in which the arrays of `other` replace those of the same name."""
        return {**self, **other}

    def evaluated(self) -> dict[str, np.ndarray]:
        """Return the arrays that need no evaluation any more."""
        return dict(self._arrays)

    def __repr__(self) -> str:
        """Return the names and shapes of what has been evaluated."""
        shapes = (
            f"{name} {self._arrays[name].shape}" if name in self._arrays else f"{name} (not read)"
            for name in self._names
        )
        return f"<{', '.join(shapes)}>"


class Trajectory(Result):
    """A result with times `t`, functions of them in `values`, and their errors in `error`.

    `values[name]` and `error[name]` have the shape (T,) or, for two-time functions, (T, T); each
    name of `values` is also an attribute. A subclass states the texts of its functions.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 1.0, [0.0, 1.0])
    >>> solution.overlap is solution.values["overlap"]
    True
    """

    texts: ClassVar[Mapping[str, str]]
    simulated: ClassVar[bool] = False  # Whether errors are standard errors over seeds.
    time_text: ClassVar[str] = "time in the unit du/dt = -(d/2) dL/du"
    time_label: ClassVar[str] = r"time $t$  (unit: $\dot u = -\frac{d}{2}\, \partial L/\partial u$)"
    errors_label: ClassVar[str] = r"$|w - w^*|^2/2d$,   $|y - Xw|^2/2n$"
    value_text: ClassVar[str] = ""
    error_prefix: ClassVar[str] = "error_of_"
    error_text: ClassVar[str] = "estimated absolute error of: "

    t: np.ndarray
    values: Mapping[str, np.ndarray]
    error: Mapping[str, np.ndarray]

    def __getattr__(self, name: str) -> np.ndarray:
        """Return a function of time by its name."""
        if name.startswith("_") or name not in type(self).texts:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if name not in self.values:
            raise AttributeError(
                f"this {type(self).__name__} holds no {name}; it holds {', '.join(self.values)}"
            )
        return self.values[name]

    def __dir__(self) -> list[str]:
        """List the attributes and the functions of time."""
        return [*super().__dir__(), *self.values]

    def floors(self) -> dict[str, float]:
        """Return the values below which the absolute tolerance decides, by observable."""
        return {}

    def one_time_names(self) -> list[str]:
        """Return the names of the functions of one time; two-time functions stay unevaluated."""
        known = getattr(self.values, "evaluated", lambda: self.values)()
        return [name for name in self.values if name in known and known[name].ndim == 1]

    def function_variables(self) -> dict[str, Variable]:
        """Return times, values and errors as the variables of a record."""
        variables = {
            "t": Variable(("t",), self.t, self.time_text),
            "s": Variable(("s",), self.t, f"second {self.time_text}"),
        }
        for name, value in self.values.items():
            dimensions, text = ("t", "s")[: value.ndim], self.texts[name]
            variables[name] = Variable(dimensions, value, f"{self.value_text}{text}")
            error = Variable(dimensions, self.error[name], f"{self.error_text}{text}")
            variables[f"{self.error_prefix}{name}"] = error
        return variables

    def plot(self, quantity: str = "errors", ax: Any = None) -> Any:
        """Draw the errors over time, order parameters, two-time maps, sample paths or their law.

        Parameters
        ----------
        quantity : str
            "errors", "order_parameters", "paths", "law", or the name of a two-time function such
            as "C_w".
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such picture.
        """
        # by name, since pictures stand above what they show and need matplotlib
        plots = importlib.import_module("dmft.figures.plots")
        return plots.plot_quantity(self, quantity, ax=ax)

    def functions_summary(self) -> dict[str, str]:
        """Return the lines of a summary that tell of times and values."""
        t, last = self.t, -1
        rows = {"t": f"{t.size} times from {t[0]:g} to {t[-1]:g}"}
        for name in SHOWN:
            if name in self.values:
                value, error = float(self.values[name][last]), float(self.error[name][last])
                rows[name] = f"{value:.6g} +- {error:.1g} at t = {t[last]:g}"
        rows["values, error"] = ", ".join(self.values)
        return rows
