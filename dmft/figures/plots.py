"""Pictures of solutions and of their comparison with simulations.

Each function draws into the Axes it is given or, without one, into a figure of its own, and
returns the Axes. No function touches pyplot, so no window opens and no backend changes.
matplotlib is needed only here: pip install dmft[plot].
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.comparison import SINGLE, Report, compare
from dmft.equations.observables import TWO_TIME
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution
from dmft.storage import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".png", ".pdf")
MARKERS = 24  # simulated times that are marked
DECADES = 30.0  # ratio of values from which an axis is logarithmic
SHOWN_DECADES = 1e-8  # a logarithmic axis of errors ends so far below its top
CROWDED_START = 5.0  # last over median time from which the time axis is logarithmic

OUTCOMES = {
    "agree": "theory and simulation agree",
    "rejected": "the theory is rejected",
    "inconclusive": "inconclusive",
}
COLOURS = {
    "test_error": "#1f5fa8",
    "train_error": "#d1601d",
    "mean_w": "#2f8f5b",
    "overlap": "#8a55a8",
}
LABELS = {
    "test_error": "test error",
    "train_error": "train error",
    "mean_w": "mean weight",
    "overlap": "overlap with $w^*$",
    "C_w": "$C_w(t, s)$",
    "C_r": "$C_r(t, s)$",
    "R_w": "$R_w(t, s)$",
    "R_r": "$R_r(t, s)$ without its delta function",
}
TIME = r"time $t$  (unit: $\dot u = -\frac{d}{2}\, \partial L/\partial u$)"


def plot_errors(solution: Solution, ensemble: Ensemble | None = None, ax: Any = None) -> Axes:
    """Draw test and train error against time.

    The theory is a line with a band of the solver's estimated error; simulations are means with
    bars of two standard errors. The time axis is logarithmic where the solution's times crowd
    towards 0, as a solver's nodes do on a horizon of many decades.

    Parameters
    ----------
    solution : Solution
    ensemble : Ensemble, optional
        Simulations to be drawn as markers, at whatever times.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    ax = _axes(ax, (6.4, 4.2))
    shown = _set_time_axis(ax, solution.t)
    for name in ("test_error", "train_error"):
        t, f, error = (x[shown] for x in (solution.t, solution.values[name], solution.error[name]))
        ax.fill_between(t, f - error, f + error, color=COLOURS[name], alpha=0.25, linewidth=0)
        ax.plot(t, f, color=COLOURS[name], linewidth=1.8, label=LABELS[name])
        if ensemble is not None:
            _mark_simulation(ax, ensemble, name)
    _set_error_axis(ax, np.array([solution.test_error[shown], solution.train_error[shown]]))
    _finish(ax)
    ax.set_xlabel(TIME)
    ax.set_ylabel(r"$|w - w^*|^2/2d$,   $|y - Xw|^2/2n$")
    ax.legend(*_legend_entries(ax), frameon=False)
    return ax


def plot_correlation(solution: Solution, name: str = "C_w", ax: Any = None) -> Axes:
    """Draw a two-time function as a map over t (upwards) and s.

    Parameters
    ----------
    solution : Solution
        With at least two times.
    name : {"C_w", "C_r", "R_w", "R_r"}
        Responses are blank where s > t: they are causal.
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
        If there is no such two-time function.
    """
    if name not in TWO_TIME:
        raise ValueError(f"name must be one of {TWO_TIME}; got {name!r}")
    ax = _axes(ax, (5.6, 4.6))
    shown = _set_time_axis(ax, solution.t)
    ax.set_yscale(ax.get_xscale())
    t, values = solution.t[shown], solution.values[name][np.ix_(shown, shown)]
    response = name.startswith("R")
    if response:
        values = np.where(t[None, :] <= t[:, None], values, np.nan)
    # interpolated colours suit a smooth function, not one that jumps at s = t
    shading = "nearest" if response else "gouraud"
    image = ax.pcolormesh(t, t, values, shading=shading, rasterized=True, **_colours(values))
    ax.set_xlim(t[0], t[-1])
    ax.set_ylim(t[0], t[-1])
    ax.set_box_aspect(1)
    ax.figure.colorbar(image, ax=ax, label=LABELS[name])
    ax.set_xlabel("time $s$")
    ax.set_ylabel("time $t$")
    return ax


def plot_comparison(solution: Solution, ensemble: Ensemble, report: Report | None = None) -> Figure:
    """Draw errors with their simulations above, and differences in standard errors below.

    Parameters
    ----------
    solution : Solution
    ensemble : Ensemble
        Simulations of the solution's problem at its times.
    report : Report, optional
        Their comparison; computed where absent.

    Returns
    -------
    matplotlib Figure
        With two Axes. Values that reject the theory are ringed; a two-time function may reject
        it too, which the title tells.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If problems or times differ.
    """
    report = compare(solution, ensemble) if report is None else report
    figure = _figure((6.8, 6.4))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    plot_errors(solution, ensemble, top)
    top.set_xlabel("")
    _draw_differences(bottom, report)
    outcome = OUTCOMES[report.verdict]
    plural = "" if report.seeds == 1 else "s"
    setting = f"$d$ = {report.dimension}, {report.seeds} seed{plural}"
    top.set_title(f"{setting}: {outcome}", fontsize=11)
    return figure


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure to a file, which appears complete or not at all.

    Parameters
    ----------
    figure : matplotlib Figure
    path : path-like
        Its ending, .png or .pdf, chooses the format. An existing file is replaced.

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
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"path must end in one of {FORMATS}; got {str(path)!r}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=target.suffix[1:].lower(), dpi=200)
    replace_file(target, buffer.getvalue())
    return target


# --- parts -----------------------------------------------------------------------------------


def _mark_simulation(ax: Axes, ensemble: Ensemble, name: str) -> None:
    """Draw means with bars of two standard errors at evenly spread times."""
    visible = np.flatnonzero((ensemble.t > 0) | (ax.get_xscale() == "linear"))
    if visible.size == 0:
        return
    t = ensemble.t[visible]
    position = np.log(t) if ax.get_xscale() == "log" else t
    even = np.linspace(position[0], position[-1], MARKERS)
    near = np.unique(np.abs(position[:, None] - even).argmin(axis=0))
    chosen = visible[near]
    bars, note = None, "one seed"
    if ensemble.seeds > 1:
        bars, note = 2 * ensemble.standard_error(name)[chosen], "±2 s.e."
    ax.errorbar(
        ensemble.t[chosen],
        ensemble.mean(name)[chosen],
        yerr=bars,
        fmt="o",
        markersize=4,
        markerfacecolor="white",
        color=COLOURS[name],
        elinewidth=1,
        capsize=2,
        label=f"simulation, $d$ = {ensemble.dimension}, {note}",
    )


def _legend_entries(ax: Axes) -> tuple[list[Any], list[str]]:
    """Return the handles and labels of a legend in which no label occurs twice."""
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    return list(unique.values()), list(unique)


def _draw_differences(ax: Axes, report: Report) -> None:
    """Draw simulation minus theory in combined standard errors and ring what is rejected."""
    shown = _set_time_axis(ax, report.t)
    extent = 3.0
    for name in SINGLE:
        t, errors = report.t[shown], report.standard_errors(name)[shown]
        colour, label = COLOURS[name], LABELS[name]
        ax.plot(t, errors, "o-", color=colour, label=label, linewidth=1.2, markersize=3)
        rejected = report.deviation(name)[shown] > report.critical_deviation
        ax.plot(
            t[rejected],
            errors[rejected],
            "o",
            color="#c01030",
            fillstyle="none",
            markersize=8,
            zorder=3,
        )
        extent = max(extent, float(np.max(np.abs(errors), initial=0.0, where=np.isfinite(errors))))
    extent *= 1.15
    reach = min(report.critical_deviation, 2 * extent)
    ax.axhspan(-reach, reach, color="0.5", alpha=0.12, linewidth=0, label="chance")
    ax.axhline(0.0, color="0.4", linewidth=0.8)
    ax.set_ylim(-extent, extent)
    _finish(ax)
    ax.set_xlabel(TIME)
    ax.set_ylabel("difference / standard error")
    ax.legend(frameon=False, ncols=5, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _set_time_axis(ax: Axes, t: np.ndarray) -> np.ndarray:
    """Choose the scale of the time axis for the times t; return the indices that it shows."""
    positive = np.flatnonzero(t > 0)
    if positive.size > 2 and t[-1] > CROWDED_START * np.median(t[positive]):
        ax.set_xscale("log")
        return positive
    return np.arange(t.size)


def _set_error_axis(ax: Axes, values: np.ndarray) -> None:
    """Make the axis of errors logarithmic where they span decades, and cut what is negligible."""
    top = float(np.max(values))
    positive = values[values > SHOWN_DECADES * top]
    if positive.size and top > DECADES * positive.min():
        ax.set_yscale("log")
        ax.set_ylim(0.5 * float(positive.min()), 2 * top)
    else:
        ax.set_ylim(bottom=0.0)


def _colours(values: np.ndarray) -> dict[str, Any]:
    """Return a map that is white at 0 for values of both signs, else sequential, maybe in logs."""
    from matplotlib.colors import LogNorm

    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    size = max(abs(low), abs(high)) or 1.0
    if low < -1e-3 * size and high > 1e-3 * size:
        return {"cmap": "RdBu_r", "vmin": -size, "vmax": size}
    if low > 0 and high > DECADES * low:
        return {"cmap": "viridis", "norm": LogNorm(max(low, SHOWN_DECADES * high), high)}
    return {"cmap": "viridis" if high > 1e-3 * size else "viridis_r"}


def _finish(ax: Axes) -> None:
    ax.grid(color="0.88", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    return _figure(size).subplots() if ax is None else ax


def _figure(size: tuple[float, float]) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install dmft[plot]") from error
    return Figure(figsize=size, layout="constrained")
