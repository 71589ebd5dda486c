"""Axes, colours and files that all pictures share. No function touches pyplot.

matplotlib is needed only here and above: pip install dmft[plot].
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.storage import replace_file
from dmft.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf", ".svg")
# An axis of values is logarithmic where their largest is more than this many times their smallest.
DECADES = 30.0
# A logarithmic axis of errors ends this far below its top: what is smaller is rounding.
SHOWN_DECADES = 1e-8
# The time axis is logarithmic where the last time is more than this many times their median.
CROWDED_START = 5.0

COLOURS = {
    "test_error": "#1f5fa8",
    "train_error": "#d1601d",
    "mean_w": "#2f8f5b",
    "overlap": "#8a55a8",
    "norm_w": "#7a6a2b",
    "alignment": "#b03060",
}
LABELS = {
    "test_error": "test error",
    "train_error": "train error",
    "mean_w": "mean weight",
    "overlap": "overlap with $w^*$",
    "norm_w": "mean square weight",
    "alignment": "alignment with $w^*$",
    "C_w": "$C_w(t, s)$",
    "C_r": "$C_r(t, s)$",
    "R_w": "$R_w(t, s)$",
    "R_r": "$R_r(t, s)$ without its delta function",
    "C_Z": "$C_Z(t, s)$",
    "C_f": "$C_f(t, s)$",
    "R_Z": "$R_Z(t, s)$",
    "R_f": "$R_f(t, s)$ without its delta function",
}
TIME = Trajectory.time_label


def legend_entries(ax: Axes) -> tuple[list[Any], list[str]]:
    """Return the handles and labels of a legend in which no label occurs twice."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    return list(unique.values()), list(unique)


def set_time_axis(ax: Axes, t: np.ndarray) -> np.ndarray:
    """Choose the scale of the time axis for the times t; return the indices that it shows."""
    positive = np.flatnonzero(t > 0)
    if positive.size > 2 and t[-1] > CROWDED_START * np.median(t[positive]):
        ax.set_xscale("log")
        return positive
    return np.arange(t.size)


def set_error_axis(ax: Axes, values: np.ndarray) -> None:
    """Make the axis of errors logarithmic where they span decades, and cut what is negligible."""
    top = float(np.max(values))
    positive = values[values > SHOWN_DECADES * top]
    if positive.size and top > DECADES * positive.min():
        ax.set_yscale("log")
        ax.set_ylim(0.5 * float(positive.min()), 2 * top)
    else:
        ax.set_ylim(bottom=0.0)


def colours_of(values: np.ndarray) -> dict[str, Any]:
    """Return a map that is white at 0 for values of both signs, else sequential, maybe in logs."""
    from matplotlib.colors import LogNorm

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    size = max(abs(low), abs(high)) or 1.0
    if low < -1e-3 * size and high > 1e-3 * size:
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    if low > 0 and high > DECADES * low:
        return {"cmap": "viridis", "norm": LogNorm(max(low, SHOWN_DECADES * high), high)}
    return {"cmap": "viridis" if high > 1e-3 * size else "viridis_r"}


def finish(ax: Axes) -> None:
    """Give the Axes a grid and take two spines away."""
    ax.grid(color="0.88", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def new_axes(ax: Any, size: tuple[float, float]) -> Any:
    """Return the Axes, or those of a new figure where there are none."""
    return bare_figure(size).subplots() if ax is None else ax


def bare_figure(size: tuple[float, float]) -> Any:
    """Return a figure without pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install dmft[plot]") from error
    return Figure(figsize=size, layout="constrained")


def picture_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a picture; ValueError if its ending is not that of one.

    Examples
    --------
    >>> picture_path("a.svg").suffix
    '.svg'
    """
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"path must end in one of {FORMATS}; got {str(path)!r}")
    return target


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file, which appears complete or not at all.

    Parameters
    ----------
    figure : matplotlib Figure
    path : path-like
        Its ending, .png, .pdf or .svg, chooses the format. An existing file is replaced.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        If the ending is another one.
    OSError
        If the file cannot be written.
    """
    target = picture_path(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=target.suffix[1:].lower(), dpi=200)
    replace_file(target, buffer.getvalue())
    return target
