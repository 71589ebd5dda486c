"""Speed against generalisation, along the start (arXiv:2510.01930)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.base import DELTA, Effort, Preset, Run
from dmft.figures.style import CURVE, HALF_WIDTH, PALETTE, TEST, new_figure, tidied
from dmft.limits.rates import convergence_rate, fit_rate
from dmft.limits.steady_states import steady_state
from dmft.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Rates are fitted to this part of a run: later the error that the solver leaves shows.
LATE = (0.3, 0.6)


def trade_off(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw the limit of the test error against the rate of approach, along alpha."""
    figure = new_figure(preset, (6.8, 4.8))
    ax = figure.subplots()
    first = runs[0].solution.problem
    alphas = np.geomspace(0.05, 4.0, CURVE)
    for delta, colour in zip((0.3, 0.5, 0.8), PALETTE, strict=False):
        curve = [_limit_and_rate(Problem(delta, a, 0.0, first.sigma2)) for a in alphas]
        limit, rate = np.array(curve).T
        ax.plot(rate, limit, color=colour, label=rf"prediction, $\delta$ = {delta:g}")
    for run in runs:
        _mark_trade_off(ax, run)
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    ax.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)
    ax.set_xscale("log")
    ax.set_xlabel(r"rate of approach $g$  (residual $\sim e^{-gt}$; 1/time)")
    ax.set_ylabel(r"limit of the " + TEST)
    ax.set_ylim(bottom=0)
    return tidied(figure)


def _limit_and_rate(problem: Problem) -> tuple[float, float]:
    return steady_state(problem).test_error, convergence_rate(problem)


def _fitted_rate(t: np.ndarray, train_error: np.ndarray) -> float:
    late = (LATE[0] * float(t[-1]), LATE[1] * float(t[-1]))
    return fit_rate(t, train_error, late, power=1.5).rate


def _mark_trade_off(ax: Axes, run: Run) -> None:
    """Mark the end of a run and its fitted rate, for the theory and for the simulations."""
    solution = run.solution
    rate = _fitted_rate(solution.t, solution.train_error)
    limit = solution.test_error[-1]
    style: dict[str, Any] = {"color": PALETTE[1], "markersize": 7}
    ax.plot([rate], [limit], "o", label="theory, end of the run and fitted rate", **style)
    ax.annotate(
        rf"$\alpha$ = {solution.problem.alpha:g}",
        (rate, limit),
        xytext=(6, -11),
        textcoords="offset points",
        fontsize=8,
    )
    for ensemble in run.ensembles:
        rates = np.array([_fitted_rate(ensemble.t, row) for row in ensemble.runs["train_error"]])
        ax.errorbar(
            [rates.mean()],
            [ensemble.test_error[-1]],
            xerr=[HALF_WIDTH * rates.std(ddof=1) / math.sqrt(ensemble.seeds)],
            yerr=[HALF_WIDTH * ensemble.standard_error("test_error")[-1]],
            fmt="s",
            color="0.35",
            markerfacecolor="white",
            capsize=2,
            label=f"simulation, $d$ = {ensemble.dimension}, ±2 s.e.",
        )


PRESET = Preset(
    "Trade-off: along the start α, the limit of the test error against the rate",
    trade_off,
    tuple(Problem(DELTA, alpha, 0.0, 0.01) for alpha in (0.1, 0.2, 0.5, 1.0, 2.0)),
    (590.0, 310.0, 95.0, 28.0, 7.3),  # about 5/rate
    Effort((500,), 8, 1e-3),
    Effort((2000,), 16, 1e-4),
    log_time=False,
    varies=("alpha",),
    horizon=lambda problem: 5 / convergence_rate(problem),
)
