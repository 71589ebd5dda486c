"""What the command line shows while it works, and its tables."""

from __future__ import annotations

import importlib
import shutil
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from dmft.sweeps.run import Progress

# Without a terminal this stage of `dmft.solve` alone is announced, if it lasts: it compiles.
SLOW_STAGE = "loading the compiled functions"
PATIENCE = 2.0  # seconds


class Reporter:
    """Progress on standard error: a line that changes in place; without a terminal, plain lines.

    Parameters
    ----------
    shown : bool, optional
        Whether to show progress; by default if standard error is a terminal.
    """

    def __init__(self, shown: bool | None = None) -> None:
        """Look whether there is a terminal."""
        self.stream = sys.stderr
        self.in_place = self.stream.isatty()
        self.shown = self.in_place if shown is None else shown
        self._bar: Any = None
        self._notice: threading.Timer | None = None

    def __enter__(self) -> Reporter:
        """Return the reporter itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Clear the line in place."""
        self._withdraw_notice()
        if self._bar is not None:
            self._bar.close()
        if self.shown and self.in_place:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def stage(self, text: str) -> None:
        """Show the stage that a solve has reached."""
        self._withdraw_notice()
        if self.shown:
            self._show(text)
        elif text.startswith(SLOW_STAGE):
            self._notice = threading.Timer(PATIENCE, self._print, [text])
            self._notice.daemon = True
            self._notice.start()

    def seeds(self, done: int, total: int) -> None:
        """Show that `done` of `total` seeds are simulated."""
        if not self.shown:
            return
        if self._bar is None and self.in_place:
            self._bar = _bar(total, self.stream, "seed")
        if self._bar is None:
            self._show(f"simulated {done} of {total} seeds")
        else:
            self._bar.update(done - self._bar.n)

    def points(self, progress: Progress) -> None:
        """Show how far a sweep is, and when it will be done."""
        if not self.shown:
            return
        p = progress
        if self._bar is None and self.in_place:
            self._bar = _bar(p.total, self.stream, "point", p.found)
        if self._bar is None:
            self._show(
                f"{p.found + p.done} of {p.total} points, {p.failed} failed, "
                f"{p.rate:.3g} a second, {p.remaining:.0f} s left"
            )
        else:
            self._bar.set_postfix(failed=p.failed, refresh=False)
            self._bar.update(p.found + p.done - self._bar.n)

    def _withdraw_notice(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None

    def _show(self, text: str) -> None:
        if not self.in_place:
            self._print(text)
            return
        width = shutil.get_terminal_size().columns - 1
        self.stream.write(f"\r\x1b[K{text[:width]}")
        self.stream.flush()

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def _bar(total: int, stream: Any, unit: str, initial: int = 0) -> Any:
    """Return a bar of tqdm, or None where that is not installed."""
    try:
        tqdm = importlib.import_module("tqdm").tqdm
    except ImportError:
        return None
    return tqdm(total=total, unit=unit, initial=initial, file=stream, leave=False)


def format_table(columns: Sequence[tuple[str, Any]]) -> str:
    """Return a table with one right-aligned column for each (title, values)."""
    cells = [
        [title, *(value if isinstance(value, str) else f"{value:.6g}" for value in values)]
        for title, values in columns
    ]
    widths = [max(map(len, column)) for column in cells]
    lines = (
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in zip(*cells, strict=True)
    )
    return "\n".join(lines)


def format_tree(values: dict[str, Any], indent: str = "") -> str:
    """Return names and values, a line each, nested dicts indented."""
    width = max((len(name) for name in values), default=0)
    lines = []
    for name, value in values.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", format_tree(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name:<{width}}  {_format_value(value)}")
    return "\n".join(lines)


def _format_value(value: Any) -> str:
    if isinstance(value, np.ndarray | list | tuple):
        text = np.array2string(np.asarray(value), threshold=10, edgeitems=3, precision=6)
        return " ".join(text.split())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
