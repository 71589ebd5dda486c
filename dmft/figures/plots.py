"""Pictures of solutions and of their comparison with simulations.

Each function draws into the Axes it is given or, without one, into a figure of its own, and
returns the Axes. No function touches pyplot, so no window opens and no backend changes.
matplotlib is needed only here: pip install dmft[plot].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.comparison import SINGLE, Report, compare
from dmft.figures.axes import (
    COLOURS,
    LABELS,
    TIME,
    bare_figure,
    colours_of,
    finish,
    legend_entries,
    new_axes,
    set_error_axis,
    set_time_axis,
)
from dmft.figures.paths import plot_law, plot_paths
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution
from dmft.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Simulated times that are marked: more of them hide the line of the theory.
MARKERS = 24
ORDER_PARAMETERS = ("mean_w", "overlap", "norm_w", "alignment")
OUTCOMES = {
    "agree": "theory and simulation agree",
    "rejected": "the theory is rejected",
    "inconclusive": "inconclusive",
}


def plot_errors(result: Trajectory, ensemble: Ensemble | None = None, ax: Any = None) -> Axes:
    """Draw test and train error against time.

    A solution is a line with a band of the solver's estimated error; simulations are means with
    bars, or a band, of two standard errors. The time axis is logarithmic where the times crowd
    towards 0, as a solver's nodes do on a horizon of many decades. A dotted line marks the value
    below which a solution's absolute tolerance decides, where one falls below it.

    Parameters
    ----------
    result : Solution or Ensemble
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

    Examples
    --------
    >>> import dmft
    >>> ensemble = dmft.simulate(dmft.Problem(0.5), [0.0, 1.0, 2.0], dimension=20, seeds=2)
    >>> len(plot_errors(ensemble).lines)
    2
    """
    ax = new_axes(ax, (6.4, 4.2))
    shown = _draw_functions(ax, result, ("test_error", "train_error"))
    if ensemble is not None:
        for name in ("test_error", "train_error"):
            _mark_simulation(ax, ensemble, name)
    errors = np.array([result.values[name][shown] for name in ("test_error", "train_error")])
    set_error_axis(ax, errors)
    _draw_floors(ax, result, shown)
    ax.set_ylabel(result.errors_label)
    ax.legend(*legend_entries(ax), frameon=False)
    return ax


def plot_order_parameters(result: Trajectory, ax: Any = None) -> Axes:
    """Draw the averages of the weight that a result holds, such as mean and overlap, over time.

    Parameters
    ----------
    result : Solution or Ensemble
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 2.0, [0.0, 1.0, 2.0], rtol=0.01)
    >>> len(plot_order_parameters(solution).lines)
    4
    """
    ax = new_axes(ax, (6.4, 4.2))
    _draw_functions(ax, result, [name for name in ORDER_PARAMETERS if name in result.values])
    ax.set_ylabel("averages of the weight")
    ax.legend(frameon=False)
    return ax


def plot_correlation(result: Trajectory, name: str = "C_w", ax: Any = None) -> Axes:
    """Draw a two-time function as a map over t (upwards) and s.

    Parameters
    ----------
    result : Solution or Ensemble
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
        If the result holds no such two-time function, or a single time.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, [0.0, 0.5, 1.0], rtol=0.1)
    >>> plot_correlation(solution, "C_w").get_xlabel() != ""
    True
    """
    if name not in result.values:
        raise ValueError(f"name must be one of {', '.join(result.values)}; got {name!r}")
    if result.t.size < 2:
        raise ValueError(f"a map of {name} needs at least 2 times; the result holds 1")
    ax = new_axes(ax, (5.6, 4.6))
    shown = set_time_axis(ax, result.t)
    ax.set_yscale(ax.get_xscale())
    t, values = result.t[shown], result.values[name][np.ix_(shown, shown)]
    response = name.startswith("R")
    if response:
        values = np.where(t[None, :] <= t[:, None], values, np.nan)
    # interpolated colours suit a smooth function, not one that jumps at s = t
    shading = "nearest" if response else "gouraud"
    image = ax.pcolormesh(t, t, values, shading=shading, rasterized=True, **colours_of(values))
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

    Examples
    --------
    >>> import dmft
    >>> problem, t = dmft.Problem(0.5, network="linear"), [0.0, 1.0]
    >>> ensemble = dmft.simulate(problem, t, dimension=40, seeds=3)
    >>> len(plot_comparison(dmft.solve(problem, 1.0, t), ensemble).axes)
    2
    """
    report = compare(solution, ensemble) if report is None else report
    figure = bare_figure((6.8, 6.4))
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    plot_errors(solution, ensemble, top)
    top.set_xlabel("")
    _draw_differences(bottom, report)
    outcome = OUTCOMES[report.verdict]
    plural = "" if report.seeds == 1 else "s"
    setting = f"$d$ = {report.dimension}, {report.seeds} seed{plural}"
    top.set_title(f"{setting}: {outcome}", fontsize=11)
    return figure


PICTURES: dict[str, Callable[..., Any]] = {
    "errors": plot_errors,
    "order_parameters": plot_order_parameters,
    "paths": plot_paths,
    "law": plot_law,
}


def plot_quantity(result: Trajectory, quantity: str = "errors", ax: Any = None) -> Axes:
    """Draw a picture of a result by its name.

    Parameters
    ----------
    result : Solution or Ensemble
    quantity : str
        One of `PICTURES`, or a two-time function that the result holds.
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
        If there is no such picture, or an ensemble is asked for its effective process.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5), 2.0, [0.0, 1.0, 2.0], rtol=0.01)
    >>> plot_quantity(solution, "C_w").get_ylabel()
    'time $t$'
    """
    if quantity in ("paths", "law") and not hasattr(result, "sample_paths"):
        raise ValueError(f"{quantity} needs a solution; got a {result.kind}")
    if quantity in PICTURES:
        return PICTURES[quantity](result, ax=ax)
    maps = [name for name in result.values if name not in result.one_time_names()]
    if quantity not in maps:
        known = (*PICTURES, *maps)
        raise ValueError(f"quantity must be one of {', '.join(known)}; got {quantity!r}")
    return plot_correlation(result, quantity, ax)


# --- parts -----------------------------------------------------------------------------------


def _draw_functions(ax: Axes, result: Trajectory, names: Sequence[str]) -> np.ndarray:
    """Draw functions of time with a band of their errors; return the indices that are shown."""
    shown, factor = set_time_axis(ax, result.t), 2.0 if result.simulated else 1.0
    for name in names:
        t, f = result.t[shown], result.values[name][shown]
        half = factor * result.error[name][shown]
        if np.all(np.isfinite(half)):  # the standard error of a single seed is infinite
            ax.fill_between(t, f - half, f + half, color=COLOURS[name], alpha=0.25, linewidth=0)
        ax.plot(t, f, color=COLOURS[name], linewidth=1.8, label=LABELS[name])
    finish(ax)
    ax.set_xlabel(result.time_label)
    return shown


def _draw_floors(ax: Axes, result: Trajectory, shown: np.ndarray) -> None:
    """Mark where a function falls below the value at which the absolute tolerance decides."""
    for name, floor in result.floors().items():
        if np.any(result.values[name][shown] < floor):
            label = f"below it atol decides ({LABELS[name]})"
            ax.axhline(floor, color=COLOURS[name], linewidth=1.0, linestyle=":", label=label)


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


def _draw_differences(ax: Axes, report: Report) -> None:
    """Draw simulation minus theory in combined standard errors and ring what is rejected."""
    shown = set_time_axis(ax, report.t)
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
    finish(ax)
    ax.set_xlabel(TIME)
    ax.set_ylabel("difference / standard error")
    ax.legend(frameon=False, ncols=5, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
