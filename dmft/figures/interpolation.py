"""Interpolation: without decay the train error vanishes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmft.figures.axes import COLOURS
from dmft.figures.base import NOISE, Preset, Run
from dmft.figures.plots import plot_errors
from dmft.figures.style import SHORT_TIME, draw_limits, new_figure
from dmft.limits.rates import convergence_rate
from dmft.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def interpolation(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors for each delta < 1, the limit of one and the decay of the other."""
    figure = new_figure(preset, (12.5, 4.4))
    for ax, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        problem, t = run.solution.problem, run.solution.t
        plot_errors(run.solution, run.ensembles[0], ax)
        draw_limits(ax, problem)
        rate, late = convergence_rate(problem), t > 0.3 * t[-1]
        shape = np.exp(-2 * rate * t[late]) * t[late] ** -1.5
        # above the curve, so that both can be seen
        shape *= 4 * run.solution.train_error[late][0] / shape[0]
        decay = rf"$e^{{-2gt}}\, t^{{-3/2}}$,  $g$ = {rate:.3g}"
        ax.plot(t[late], shape, color=COLOURS["train_error"], linestyle="--", label=decay)
        ax.set_yscale("log")
        ax.set_ylim(1e-8, 1.0)
        ax.set_xlabel(SHORT_TIME)
        ax.set_title(rf"$\delta$ = {problem.delta:g}")
        ax.legend(frameon=False, fontsize=8, loc="lower left")
    return figure


PRESET = Preset(
    "Interpolation: without decay the train error vanishes, the test error does not",
    interpolation,
    tuple(Problem(delta, 1.0, 0.0, NOISE) for delta in (0.3, 0.5, 0.8)),
    (10.0, 30.0, 200.0),
    varies=("delta",),
)
