"""Vanishing decay: first the interpolator of lam = 0, then the LASSO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmft.figures.axes import TIME
from dmft.figures.base import DELTA, Effort, Preset, Run
from dmft.figures.style import (
    CURVE,
    HALF_WIDTH,
    PALETTE,
    TEST,
    add_legend,
    draw_simulations,
    draw_theory,
    line_handle,
    new_figure,
    power_text,
    tidied,
)
from dmft.limits.steady_states import steady_state
from dmft.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def weight_decay_limit(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw trajectories for vanishing lam, and the limits against lam at several dimensions."""
    figure = new_figure(preset, (11.5, 4.8))
    left, right = figure.subplots(1, 2)
    for run, colour in zip(runs, PALETTE, strict=False):
        solution = run.solution
        error, label = solution.error["test_error"], rf"$\lambda$ = {solution.problem.lam:g}"
        draw_theory(left, solution.t, solution.test_error, error, colour, label)
        draw_simulations(left, run.ensembles[-1:], "test_error", colour)
        lasso = steady_state(solution.problem).test_error
        left.plot(solution.t[-1] * np.array([0.2, 1.0]), [lasso] * 2, color=colour, linestyle="--")
    first = runs[0].solution.problem
    plateau = steady_state(Problem(first.delta, first.alpha, 0.0, first.sigma2)).test_error
    left.axhline(plateau, color="0.4", linewidth=0.9, linestyle="--")
    left.set_xscale("log")
    left.set_xlim(left=3e-2)
    left.set_ylim(bottom=0)
    left.set_xlabel(TIME)
    left.set_ylabel(TEST)
    note = line_handle("0.4", "--", "limits: interpolator of $\\lambda$ = 0 (grey), LASSO")
    add_legend(left, runs, notes=[note], dimensions=runs[0].ensembles[-1:])
    _draw_limits(right, runs)
    return tidied(figure)


def _draw_limits(ax: Axes, runs: Sequence[Run]) -> None:
    """Draw the limit of the test error against lam: theory, both limits, simulations."""
    first = runs[0].solution.problem
    lams = np.geomspace(1e-3, 0.3, CURVE)
    lasso = [
        steady_state(Problem(first.delta, first.alpha, lam, first.sigma2)).test_error
        for lam in lams
    ]
    ax.plot(lams, lasso, color="k", label=r"LASSO, any $\alpha$")
    basis_pursuit = steady_state(Problem(first.delta, first.alpha, 1e-6, first.sigma2)).test_error
    ax.axhline(basis_pursuit, color="k", linestyle=":", label=r"LASSO, $\lambda \to 0$")
    for alpha, colour in zip((1.0, 0.1, 1e-3), PALETTE[1:], strict=False):
        limit = steady_state(Problem(first.delta, alpha, 0.0, first.sigma2)).test_error
        label = rf"$\lambda$ = 0, $\alpha$ = {power_text(alpha)}"
        ax.axhline(limit, color=colour, linestyle="--", label=label)
    decay = [run.solution.problem.lam for run in runs]
    ends = [run.solution.test_error[-1] for run in runs]
    ax.plot(decay, ends, "ko", label=r"theory, end of the run")
    for k, marker in enumerate("sD"[: len(runs[0].ensembles)]):
        ensembles = [run.ensembles[k] for run in runs]
        ax.errorbar(
            np.array(decay) * (1.06 if k else 0.94),
            [e.test_error[-1] for e in ensembles],
            yerr=[HALF_WIDTH * e.standard_error("test_error")[-1] for e in ensembles],
            fmt=marker,
            color=("0.55", "0.3")[k],
            markerfacecolor="white",
            markersize=5,
            capsize=2,
            label=f"simulation, $d$ = {ensembles[0].dimension}, ±2 s.e.",
        )
    ax.set_xscale("log")
    top = max(e.test_error[-1] + 4 * e.standard_error("test_error")[-1] for e in ensembles)
    ax.set_ylim(0, 2.1 * max(top, basis_pursuit))
    ax.set_xlabel(r"weight decay $\lambda$")
    ax.set_ylabel("limit of the test error")
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


PRESET = Preset(
    "Vanishing decay: a plateau at the interpolator of λ = 0, then the LASSO",
    weight_decay_limit,
    tuple(Problem(DELTA, 1.0, lam, 0.01) for lam in (0.1, 0.03, 0.01, 0.003)),
    (250.0, 800.0, 1500.0, 4000.0),  # 12/lam to 25/lam: smaller lam needs fewer
    Effort((100, 500), 16, 1e-2),
    Effort((200, 1000), 16, 1e-3),
    varies=("lam",),
    horizon=lambda problem: 20 / problem.lam,
)
