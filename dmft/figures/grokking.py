"""Grokking: the test error falls long after the train error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmft.figures.base import Effort, Preset, Run, decaying
from dmft.figures.plots import plot_errors
from dmft.figures.style import HALF_WIDTH, PALETTE, line_handle, new_figure, tidied
from dmft.limits.transitions import (
    grokking_delay,
    lazy_to_rich_time,
)
from dmft.simulation.ensemble import Ensemble

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def grokking(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw one run that groks, and the delays of all against log(alpha)."""
    figure = new_figure(preset, (11.5, 4.6))
    left, right = figure.subplots(1, 2)
    shown = max(runs, key=lambda run: run.solution.problem.alpha * run.solution.problem.lam)
    problem = shown.solution.problem
    plot_errors(shown.solution, shown.ensembles[0], left)
    left.set_yscale("log")
    left.set_xlim(left=1e-4)
    left.set_ylim(1e-7, 0.2)
    left.axvline(lazy_to_rich_time(problem), color="0.3", linestyle=":")
    left.set_title(rf"$\alpha$ = {problem.alpha:g},  $\lambda$ = {problem.lam:g}", fontsize=10)
    note = line_handle("0.3", ":", r"$2\log(\alpha)/\lambda$")
    handles, labels = left.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    labels = [*unique, note.get_label()]
    left.legend([*unique.values(), note], labels, frameon=False, fontsize=8, loc="center")
    lams = sorted({run.solution.problem.lam for run in runs}, reverse=True)
    for lam, colour in zip(lams, PALETTE, strict=False):
        _draw_delays(right, [r for r in runs if r.solution.problem.lam == lam], colour)
    span = np.array([0.0, 1.05 * max(2 * math.log(run.solution.problem.alpha) for run in runs)])
    right.plot(span, span, color="0.3", linestyle=":", label=r"$2\log\alpha$")
    right.set_xlabel(r"$2\log\alpha$")
    right.set_ylabel(r"delay of the test error $\times\ \lambda$")
    right.set_ylim(bottom=0)
    right.legend(frameon=False, fontsize=8)
    return tidied(figure)


def _draw_delays(ax: Axes, runs: Sequence[Run], colour: str) -> None:
    """Draw lam times the delay of theory and simulations against 2 log(alpha), for one lam."""
    lam = runs[0].solution.problem.lam
    x = [2 * math.log(run.solution.problem.alpha) for run in runs]
    theory = [
        lam * grokking_delay(run.solution.t, run.solution.train_error, run.solution.test_error)
        for run in runs
    ]
    ax.plot(x, theory, "o-", color=colour, label=rf"theory, $\lambda$ = {lam:g}")
    delays = [lam * _delays(run.ensembles[0]) for run in runs]
    ax.errorbar(
        x,
        [d.mean() for d in delays],
        yerr=[HALF_WIDTH * d.std(ddof=1) / math.sqrt(len(d)) for d in delays],
        fmt="s",
        color=colour,
        markerfacecolor="white",
        capsize=3,
        label=f"simulation, $d$ = {runs[0].ensembles[0].dimension}, ±2 s.e.",
    )


def _delays(ensemble: Ensemble) -> np.ndarray:
    """Return the delay of each seed, shape (seeds,)."""
    pairs = zip(ensemble.runs["train_error"], ensemble.runs["test_error"], strict=True)
    return np.array([grokking_delay(ensemble.t, train, test) for train, test in pairs])


PRESET = Preset(
    "Grokking: the test error falls long after the train error",
    grokking,
    quick=Effort((500,), 8, 3e-2),
    full=Effort((2000,), 16, 1e-2),
    **decaying(tuple((a, lam) for lam in (0.1, 0.03) for a in (3.0, 10.0, 20.0)), 0.0),
)
