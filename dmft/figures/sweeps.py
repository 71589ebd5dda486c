"""Pictures of sweeps: curves over one dimension, maps over two, points that failed marked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.axes import COLOURS, DECADES, LABELS, colours_of, finish, new_axes
from dmft.sweeps.collect import ERROR, PREFIX, Sweep
from dmft.sweeps.point import DONE, FAILED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Values whose ratios differ by less than this are equidistant in their logarithm.
GEOMETRIC = 1e-6
# Curves over time for up to this many points are told apart by a legend, more by a colour bar.
LEGEND = 8
RED = "#c01030"


def plot_sweep(
    sweep: Sweep,
    quantity: str = "test_error",
    ax: Any = None,
    *,
    t: float | None = None,
    at: Mapping[str, Any] | None = None,
    over_time: bool = False,
) -> Axes:
    """Draw a function of time at one time over the dimensions of a sweep.

    Over one dimension it is a curve with its errors, over two a map. Points that failed are marked
    by a cross, results that do not meet what was asked by a ring; points that are missing are
    blank. Draws are dots over the first axis that is drawn or, where there are more, over the
    first two.

    Parameters
    ----------
    sweep : Sweep
    quantity : str
        One of `sweep.functions`.
    ax : matplotlib Axes, optional
        Where to draw; a new figure by default.
    t : float, optional
        The time; the nearest one is taken, by default the last.
    at : mapping of str to value, optional
        Values of axes that are held; needed where there are more than two dimensions.
    over_time : bool
        Whether to draw over time instead, a curve for each point; of one dimension at most.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If there is no such quantity or value, or the dimensions are too many.

    Examples
    --------
    >>> import dmft
    >>> problem = dmft.Problem(0.5, network="linear")
    >>> sweep = dmft.sweep(problem, delta=[0.5, 2.0], solve={"t_max": 0.2, "rtol": 0.1}, workers=1)
    >>> plot_sweep(sweep, "test_error").get_xlabel() != ""
    True
    """
    if quantity not in sweep.functions:
        raise ValueError(f"quantity must be one of {', '.join(sweep.functions)}; got {quantity!r}")
    place, free = _held(sweep, dict(at or {}))
    most = 1 if over_time else 2
    if len(free) > most:
        raise ValueError(
            f"at must hold all but {most} of the dimensions {', '.join(free)}, as in "
            f"at={{{free[-1]!r}: {_values(sweep, free[-1])[0]!r}}}"
        )
    ax = new_axes(ax, (6.4, 4.6))
    if over_time:
        _draw_over_time(ax, sweep, quantity, place, free)
    elif free == ["draw"]:
        _draw_draws(ax, sweep, quantity, place, t)
    elif len(free) == 2:
        _draw_map(ax, sweep, quantity, place, free, t)
    else:
        _draw_curve(ax, sweep, quantity, place, free, t)
    if at:
        ax.set_title(", ".join(f"{name} = {_text(value)}" for name, value in at.items()))
    return ax


def _held(sweep: Sweep, at: dict[str, Any]) -> tuple[tuple[Any, ...], list[str]]:
    """Return the index of what is held, and the dimensions that are free."""
    place: dict[str, Any] = dict.fromkeys(sweep.dimensions, slice(None))
    for name, value in at.items():
        axis = sweep.description["axes"].get(name)
        if axis is None:
            known = ", ".join(sweep.description["axes"])
            raise ValueError(f"at must name axes of the sweep ({known}); got {name!r}")
        matches = [k for k, v in enumerate(axis["values"]) if _same(v, value)]
        if not matches:
            raise ValueError(f"{name} must be one of {axis['values']}; got {value!r}")
        place[axis["dimension"]] = matches[0]
    free = [name for name, index in place.items() if isinstance(index, slice)]
    return tuple(place.values()), free


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, str) or isinstance(b, str):
        return str(a) == str(b)
    return bool(np.isclose(a, b, rtol=1e-9, atol=0.0))


def _at_time(sweep: Sweep, name: str, place: tuple[Any, ...], t: float | None) -> np.ndarray:
    """Return a function at a time, over the dimensions that are free."""
    variable = sweep.variables[name]
    values = variable.values[place]
    times = _times(sweep, name)[place] if _times(sweep, name).ndim > 1 else _times(sweep, name)
    if times.ndim == 1:
        times = np.broadcast_to(times, values.shape)
    distance = -times if t is None else np.abs(times - t)
    distance = np.where(np.isnan(distance), np.inf, distance)
    nearest = np.argmin(distance, axis=-1)
    return np.take_along_axis(values, nearest[..., None], axis=-1)[..., 0]


def _times(sweep: Sweep, name: str) -> np.ndarray:
    simulated = name.removeprefix(ERROR).startswith(PREFIX["simulate"])
    own = f"{PREFIX['simulate']}t"
    return sweep[own if simulated and own in sweep.variables else "t"]


def _when(sweep: Sweep, quantity: str, t: float | None) -> str:
    times = _times(sweep, quantity)
    if t is None and times.ndim > 1:
        return "at the last time"
    shown = times[-1] if t is None else t
    return f"at $t$ = {_text(float(shown))}"


# --- one picture of each kind --------------------------------------------------------------------


def _draw_curve(
    ax: Axes, sweep: Sweep, quantity: str, place: tuple[Any, ...], free: list[str], t: float | None
) -> None:
    name = free[0] if free else next(iter(sweep.dimensions))
    x = _set_scale(ax, "x", sweep, name)
    x = x if free else x[list(place)[list(sweep.dimensions).index(name)]][None]
    y = np.atleast_1d(_at_time(sweep, quantity, place, t))
    error = np.atleast_1d(_at_time(sweep, f"{ERROR}{quantity}", place, t))
    colour = COLOURS.get(quantity.removeprefix(PREFIX["simulate"]), "#1f5fa8")
    bars = np.where(np.isfinite(error), error, 0.0)
    ax.errorbar(x, y, yerr=bars, fmt="o-", color=colour, markersize=4, linewidth=1.5, capsize=2)
    if np.nanmin(y) > 0 and np.nanmax(y) > DECADES * np.nanmin(y):
        ax.set_yscale("log")
    _mark(ax, sweep, place, lambda chosen: (x[chosen], np.full(chosen.sum(), _floor(ax))))
    finish(ax)
    ax.set_ylabel(f"{_label(quantity)} {_when(sweep, quantity, t)}")


def _draw_map(
    ax: Axes, sweep: Sweep, quantity: str, place: tuple[Any, ...], free: list[str], t: float | None
) -> None:
    y, x = (_set_scale(ax, letter, sweep, n) for letter, n in zip("yx", free, strict=True))
    values = _at_time(sweep, quantity, place, t)
    edges = [_edges(v, getattr(ax, f"get_{letter}scale")()) for letter, v in (("x", x), ("y", y))]
    shown = np.where(np.isfinite(values), values, np.nan)
    style = colours_of(shown) if np.any(np.isfinite(shown)) else {}
    image = ax.pcolormesh(*edges, shown, shading="flat", rasterized=True, **style)
    ax.set_xlim(min(edges[0]), max(edges[0]))
    ax.set_ylim(min(edges[1]), max(edges[1]))
    ax.figure.colorbar(image, ax=ax, label=f"{_label(quantity)} {_when(sweep, quantity, t)}")
    grid = np.meshgrid(x, y)
    _mark(ax, sweep, place, lambda chosen: (grid[0][chosen], grid[1][chosen]))


def _draw_draws(
    ax: Axes, sweep: Sweep, quantity: str, place: tuple[Any, ...], t: float | None
) -> None:
    axes = sweep.description["axes"]
    names = [name for name, axis in axes.items() if axis["dimension"] == "draw"][:2]
    values = _at_time(sweep, quantity, place, t)
    x = _set_scale(ax, "x", sweep, names[0])
    if len(names) == 1:
        error = _at_time(sweep, f"{ERROR}{quantity}", place, t)
        ax.errorbar(x, values, yerr=np.where(np.isfinite(error), error, 0.0), fmt="o", markersize=4)
        _mark(ax, sweep, place, lambda chosen: (x[chosen], np.full(chosen.sum(), _floor(ax))))
        ax.set_ylabel(f"{_label(quantity)} {_when(sweep, quantity, t)}")
    else:
        y = _set_scale(ax, "y", sweep, names[1])
        dots = ax.scatter(x, y, c=values, **colours_of(values))
        ax.figure.colorbar(dots, ax=ax, label=f"{_label(quantity)} {_when(sweep, quantity, t)}")
        _mark(ax, sweep, place, lambda chosen: (x[chosen], y[chosen]))
    finish(ax)


def _draw_over_time(
    ax: Axes, sweep: Sweep, quantity: str, place: tuple[Any, ...], free: list[str]
) -> None:
    from matplotlib import colormaps

    values, t = sweep[quantity][place], _times(sweep, quantity)
    if t.ndim > 1:
        t = t[place]
    rows = values.reshape(-1, values.shape[-1])
    times = np.broadcast_to(t, values.shape).reshape(rows.shape)
    labels = [_text(v) for v in _values(sweep, free[0])] if free else [""]
    step = max(1, -(-len(rows) // LEGEND))
    for k, (row, when) in enumerate(zip(rows, times, strict=True)):
        colour = colormaps["viridis"](0.9 * k / max(len(rows) - 1, 1))
        label = labels[k] if k % step == 0 or k == len(rows) - 1 else None
        ax.plot(when, row, color=colour, linewidth=1.4, label=label)
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and np.nanmin(values) > 0 and positive.max() > DECADES * positive.min():
        ax.set_yscale("log")
    finish(ax)
    ax.set_xlabel("time $t$")
    ax.set_ylabel(_label(quantity))
    if free:
        ax.legend(title=free[0], frameon=False, fontsize=8)


# --- parts ---------------------------------------------------------------------------------------


def _mark(ax: Axes, sweep: Sweep, place: tuple[Any, ...], position: Any) -> None:
    """Mark the points that failed and those whose theory does not meet what was asked."""
    status = np.atleast_1d(sweep["status"][place])
    failed = status == FAILED
    marks = [(failed, "x", RED, "failed")]
    if "success" in sweep.variables:
        rough = (status == DONE) & ~np.atleast_1d(sweep["success"][place]).astype(bool)
        marks.append((rough, "o", RED, "tolerance not met"))
    for chosen, marker, colour, label in marks:
        if chosen.any():
            x, y = position(chosen)
            face: dict[str, Any] = (
                {"facecolors": "none", "edgecolors": colour} if marker == "o" else {"c": colour}
            )
            ax.scatter(x, y, marker=marker, label=label, zorder=3, clip_on=False, **face)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=8, frameon=False)


def _floor(ax: Axes) -> float:
    """Return the lower end of the axis of values, where points without one are marked."""
    return ax.get_ylim()[0]


def _values(sweep: Sweep, name: str) -> list[Any]:
    """Return the values of an axis, or the numbers of the draws."""
    axis = sweep.description["axes"].get(name)
    return list(range(sweep.dimensions[name])) if axis is None else axis["values"]


def _set_scale(ax: Axes, letter: str, sweep: Sweep, name: str) -> np.ndarray:
    """Prepare an axis of the picture for an axis of the sweep; return the positions on it."""
    values = _values(sweep, name)
    getattr(ax, f"set_{letter}label")(name)
    if any(isinstance(value, str) for value in values):
        getattr(ax, f"set_{letter}ticks")(range(len(values)), [str(v) for v in values])
        return np.arange(len(values), dtype=float)
    positions = np.array(values, dtype=float)
    if _geometric(positions):
        getattr(ax, f"set_{letter}scale")("log")
    return positions


def _geometric(values: np.ndarray) -> bool:
    if values.size < 3 or np.any(values <= 0):
        return False
    ordered = np.sort(values)
    ratios = np.diff(np.log(ordered))
    even = np.ptp(ratios) < GEOMETRIC * ratios.mean()
    return bool(even or ordered[-1] > DECADES * ordered[0])


def _edges(values: np.ndarray, scale: str) -> np.ndarray:
    """Return the edges of the cells around some positions, half way between them."""
    x = np.log(values) if scale == "log" else values
    if x.size == 1:
        edges = np.array([x[0] - 0.5, x[0] + 0.5])
    else:
        middle = 0.5 * (x[1:] + x[:-1])
        edges = np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
    return np.exp(edges) if scale == "log" else edges


def _label(quantity: str) -> str:
    name = quantity.removeprefix(PREFIX["simulate"])
    simulated = "simulated " if name != quantity else ""
    return simulated + LABELS.get(name, name.replace("_", " "))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
