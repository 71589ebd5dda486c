"""Lazy to rich: weight decay ends the lazy plateau (arXiv:2510.01930)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmft.figures.axes import TIME
from dmft.figures.base import NOISE, Preset, Run, decaying
from dmft.figures.style import (
    PALETTE,
    TEST,
    TRAIN,
    add_legend,
    dot_handle,
    draw_simulations,
    draw_theory,
    line_handle,
    new_figure,
    tidied,
)
from dmft.limits.transitions import (
    detect_lazy_to_rich,
    lazy_to_rich_time,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def lazy_to_rich(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors for each alpha (columns) and lam (colours), and the predicted times."""
    figure = new_figure(preset, (10.5, 6.8))
    alphas = sorted({run.solution.problem.alpha for run in runs})
    axes = figure.subplots(2, len(alphas), sharex="col", sharey="row", squeeze=False)
    for column, alpha in enumerate(alphas):
        chosen = [run for run in runs if run.solution.problem.alpha == alpha]
        for run, colour in zip(chosen, PALETTE, strict=False):
            problem, solution = run.solution.problem, run.solution
            label = rf"$\lambda$ = {problem.lam:g}"
            for ax, name in zip(axes[:, column], ("test_error", "train_error"), strict=True):
                draw_theory(
                    ax, solution.t, solution.values[name], solution.error[name], colour, label
                )
                draw_simulations(ax, run.ensembles, name, colour)
                ax.axvline(lazy_to_rich_time(problem), color=colour, linestyle=":", linewidth=1)
            _mark_detection(axes[0, column], run, colour)
        axes[0, column].set_title(rf"$\alpha$ = {alpha:g}")
        axes[1, column].set_xlabel(TIME)
        axes[1, column].set_yscale("log")
        axes[0, column].set_xscale("log")
        axes[0, column].set_xlim(left=1e-2)
    axes[0, 0].set_ylim(bottom=0)
    axes[0, 0].set_ylabel(TEST)
    axes[1, 0].set_ylabel(TRAIN)
    notes = [
        line_handle("0.3", ":", r"predicted $2\log(\alpha)/\lambda$"),
        dot_handle("0.3", "steepest descent in $\\log t$ (theory)"),
    ]
    add_legend(axes[0, 0], runs)
    beside = axes[0, 1] if len(alphas) > 1 else axes[1, 0]
    beside.legend(handles=notes, frameon=False, fontsize=8)
    return tidied(figure)


def _mark_detection(ax: Axes, run: Run, colour: str) -> None:
    """Mark the lazy-to-rich time that the theory's own test error shows, if it shows one."""
    solution = run.solution
    try:
        time = detect_lazy_to_rich(solution.t, solution.test_error)
    except ValueError:  # no plateau before the descent
        return
    level = float(np.interp(time, solution.t, solution.test_error))
    ax.plot([time], [level], "o", color=colour, markersize=6, markeredgecolor="white", zorder=4)


PRESET = Preset(
    "Lazy to rich: weight decay ends the lazy plateau at about 2 log(α)/λ",
    lazy_to_rich,
    **decaying(tuple((a, lam) for a in (2.0, 5.0) for lam in (0.5, 0.1, 0.01)), NOISE),
)
