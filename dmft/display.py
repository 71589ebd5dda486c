"""How values introduce themselves: a few lines in a terminal, a small table in a notebook."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Mapping

WIDTH = 100  # A line of a terminal that is cut there still fits most windows.


class Summarised(ABC):
    """A value that is shown by its summary, a few named texts.

    Examples
    --------
    >>> class Point(Summarised):
    ...     def summary(self):
    ...         return {"x": "1", "place": "origin"}
    >>> Point()
    Point
      x      1
      place  origin
    """

    @abstractmethod
    def summary(self) -> Mapping[str, str]:
        """Return what is shown, at most a dozen names and one-line texts."""

    def __repr__(self) -> str:
        """Return the class and its summary, a line each."""
        rows = self.summary()
        width = max(map(len, rows), default=0)
        lines = (f"  {name.ljust(width)}  {text}" for name, text in rows.items())
        return "\n".join([type(self).__name__, *map(_cut, lines)])

    def _repr_html_(self) -> str:
        """Return the summary as a table, for notebooks."""
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.summary().items()
        )
        return f"<table><caption>{html.escape(type(self).__name__)}</caption>{rows}</table>"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
