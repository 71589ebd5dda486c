"""What the figures have in common: colours, labels, bands, legends."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.axes import COLOURS, picture_path
from dmft.limits.steady_states import steady_state
from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.saddle_ensemble import SaddleEnsemble

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dmft.figures.base import Preset, Run
    from dmft.figures.quadratic import Picture

PALETTE = ("#1f5fa8", "#d1601d", "#2f8f5b", "#8a55a8", "#7a6a2b", "#b03060")
TEST, TRAIN = r"test error  $|w - w^*|^2/2d$", r"train error  $|y - Xw|^2/2n$"
SHORT_TIME = "time $t$"
SCALED_TIME = r"scaled time $\tau = t\,/\,2\log(1/\alpha)$"
# Bands and bars reach this many standard errors to both sides.
HALF_WIDTH = 2.0
# A curve of limits along alpha or lam has this many points; it looks smooth from 15 on.
CURVE = 20


def require_matplotlib() -> None:
    """Raise ImportError, with the remedy, where matplotlib is not installed.

    Examples
    --------
    >>> require_matplotlib()
    """
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("pictures need matplotlib: pip install dmft[plot]")


def require_drawable(path: str | os.PathLike[str]) -> Path:
    """Return the path of a picture, checked before the work that it takes.

    Raises
    ------
    ValueError
        If its ending is not that of a picture.
    FileNotFoundError
        If its directory does not exist.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> require_drawable("a.svg").suffix
    '.svg'
    """
    target = picture_path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path must be in an existing directory; got {str(path)!r}")
    require_matplotlib()
    return target


def new_figure(preset: Preset | Picture, size: tuple[float, float]) -> Any:
    """Return a figure with the title of its preset, without pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(preset.title, fontsize=12)
    return figure


def tidied(figure: Any) -> Any:
    """Return the figure after its axes have got a grid and lost two spines."""
    for ax in figure.axes:
        ax.grid(color="0.88", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def draw_theory(
    ax: Axes, t: np.ndarray, values: np.ndarray, error: np.ndarray, colour: str, label: str
) -> None:
    """Draw a line with a band of its estimated error."""
    ax.fill_between(t, values - error, values + error, color=colour, alpha=0.4, linewidth=0)
    ax.plot(t, values, color=colour, linewidth=1.8, label=label)


def draw_simulations(ax: Axes, ensembles: Sequence[Ensemble], name: str, colour: str) -> None:
    """Draw a band for each ensemble."""
    for ensemble in ensembles:
        draw_band(ax, ensemble.t, ensemble, name, colour, None)


def draw_band(
    ax: Axes,
    t: np.ndarray,
    ensemble: Ensemble | SaddleEnsemble,
    name: str,
    colour: str,
    label: str | None,
) -> None:
    """Draw the mean of an ensemble as a band of `HALF_WIDTH` standard errors."""
    mean, half = ensemble.mean(name), HALF_WIDTH * ensemble.standard_error(name)
    style: dict[str, Any] = {"color": colour, "alpha": 0.18, "linewidth": 0}
    ax.fill_between(t, np.maximum(mean - half, 0.0), mean + half, label=label, **style)


def add_legend(
    ax: Axes, runs: Sequence[Run], notes: Sequence[Any] = (), dimensions: Any = None
) -> None:
    """Add a legend of the lines of `ax`, and of what line and band mean."""
    from matplotlib.patches import Patch

    ensemble = (runs[0].ensembles if dimensions is None else dimensions)[0]
    text = f"simulation, $d$ = {ensemble.dimension}, ±2 s.e."
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique["theory (band: its estimated error)"] = line_handle("0.3", "-", "")
    unique[text] = Patch(color="0.3", alpha=0.18)
    for note in notes:
        unique[note.get_label()] = note
    ax.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)


def line_handle(colour: str, style: Any, label: str) -> Any:
    """Return a line for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=label)


def dot_handle(colour: str, label: str) -> Any:
    """Return a dot for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linestyle="", label=label)


def power_text(value: float) -> str:
    """Return a number as mathematical text, powers of ten as such.

    Examples
    --------
    >>> power_text(1e-4)
    '$10^{-4}$'
    """
    exponent = round(math.log10(value))
    small = abs(exponent) >= 3 and math.isclose(value, 10.0**exponent)
    return f"$10^{{{exponent}}}$" if small else f"{value:g}"


def draw_limits(ax: Axes, problem: Problem) -> None:
    """Draw the limits of both errors, where they are positive."""
    state = steady_state(problem)
    style: dict[str, Any] = {"linestyle": "--", "linewidth": 1}
    ax.axhline(state.test_error, color=COLOURS["test_error"], label="limit", **style)
    if state.train_error > 0:
        ax.axhline(state.train_error, color=COLOURS["train_error"], **style)
