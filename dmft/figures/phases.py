"""Six phases of training in one picture (arXiv:2510.01930)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmft.figures.base import DELTA, NOISE, Effort, Preset, Run
from dmft.figures.plots import plot_errors
from dmft.figures.style import draw_limits, line_handle, new_figure, power_text
from dmft.limits.transitions import (
    lazy_to_rich_time,
    search_to_descent_time,
)
from dmft.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def phases(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw one panel for each phase."""
    figure = new_figure(preset, (12.5, 7.0))
    titles = (
        "lazy to rich",
        "search to descent",
        "interpolation",
        "grokking",
        "overfitting",
        "least squares",
    )
    axes = figure.subplots(2, 3).ravel()
    for ax, run, title in zip(axes, runs, titles, strict=True):
        problem = run.solution.problem
        plot_errors(run.solution, run.ensembles[0], ax)
        draw_limits(ax, problem)
        least = min(run.solution.test_error.min(), run.solution.train_error.min())
        ax.set_yscale("log")
        ax.set_ylim(bottom=max(0.6 * least, 1e-5))
        if problem.alpha < 1:
            ax.set_xlim(left=1.0)
            ax.axvline(search_to_descent_time(problem), color="0.3", linestyle=":")
        elif problem.alpha > 1:
            ax.axvline(lazy_to_rich_time(problem), color="0.3", linestyle=":")
            ax.set_xlim(left=1e-2 / problem.alpha)
        setting = (
            rf"$\delta$ = {problem.delta:g}, $\alpha$ = {power_text(problem.alpha)}, "
            rf"$\lambda$ = {problem.lam:g}, $\sigma^2$ = {problem.sigma2:g}"
        )
        ax.set_title(f"{title}\n{setting}", fontsize=10)
        ax.set_ylabel("error")
        ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique["predicted time"] = line_handle("0.3", ":", "")
    figure.legend(
        unique.values(), unique.keys(), loc="outside lower center", ncols=len(unique), frameon=False
    )
    return figure


PRESET = Preset(
    "Phases of diagonal linear networks",
    phases,
    (
        Problem(DELTA, 5.0, 0.1, NOISE),
        Problem(DELTA, 1e-4, 0.0, NOISE),
        Problem(DELTA, 1.0, 0.0, NOISE),
        Problem(DELTA, 10.0, 0.1, 0.0),
        Problem(0.8, 1.0, 0.0, 0.2),
        Problem(2.0, 1.0, 0.0, NOISE),
    ),
    (150.0, 46.0, 30.0, 200.0, 200.0, 30.0),
    Effort((500,), 8, 1e-2),
)
