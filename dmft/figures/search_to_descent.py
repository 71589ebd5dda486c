"""Search to descent: a small start waits (arXiv:2510.01930)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dmft.figures.axes import TIME
from dmft.figures.base import Effort, Preset, Run, small_starts
from dmft.figures.style import (
    PALETTE,
    TEST,
    TRAIN,
    add_legend,
    draw_simulations,
    draw_theory,
    line_handle,
    new_figure,
    power_text,
    tidied,
)
from dmft.limits.transitions import (
    search_to_descent_time,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def search_to_descent(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors against time for each small alpha, and the predicted search times."""
    figure = new_figure(preset, (10.5, 4.4))
    axes = figure.subplots(1, 2)
    for run, colour in zip(runs, PALETTE, strict=False):
        solution = run.solution
        label = rf"$\alpha$ = {power_text(solution.problem.alpha)}"
        for ax, name in zip(axes, ("test_error", "train_error"), strict=True):
            draw_theory(ax, solution.t, solution.values[name], solution.error[name], colour, label)
            draw_simulations(ax, run.ensembles, name, colour)
            time = search_to_descent_time(solution.problem)
            ax.axvline(time, color=colour, linestyle=":", linewidth=1)
            ax.set_xlabel(TIME)
    for ax in axes:  # not earlier: it fixes the upper end too
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel(TEST)
    axes[1].set_ylabel(TRAIN)
    add_legend(axes[0], runs)
    note = line_handle("0.3", ":", r"predicted $2\log(1/\alpha)/|h(0)|$, median over $w^* \neq 0$")
    axes[1].legend(handles=[note], frameon=False, fontsize=8)
    return tidied(figure)


PRESET = Preset(
    "Search to descent: a small start waits for a time proportional to log(1/α)",
    search_to_descent,
    quick=Effort((500,), 8, 3e-3),
    log_time=False,
    **small_starts((1e-2, 1e-3, 1e-4), 2.5),
)
