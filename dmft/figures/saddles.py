"""Saddle to saddle: the limit of a vanishing start (arXiv:2304.00488)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.base import Effort, Preset, Run, small_starts
from dmft.figures.style import (
    HALF_WIDTH,
    PALETTE,
    SCALED_TIME,
    TEST,
    TRAIN,
    draw_band,
    draw_theory,
    new_figure,
    power_text,
    tidied,
)
from dmft.limits.small_start import extrapolate_start
from dmft.simulation.saddle_ensemble import SaddleEnsemble

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def saddles(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors in the scaled time for each alpha, their limit and the saddle average."""
    figure = new_figure(preset, (13.5, 4.8))
    axes = figure.subplots(1, 3)
    ensemble = runs[-1].saddles
    assert ensemble is not None
    alphas = [run.solution.problem.alpha for run in runs]
    for ax, name in zip(axes, ("test_error", "train_error"), strict=False):
        for run, colour in zip(runs, PALETTE, strict=False):
            label = rf"DMFT, $\alpha$ = {power_text(run.solution.problem.alpha)}"
            values, error = run.solution.values[name], run.solution.error[name]
            draw_theory(ax, ensemble.tau, values, error, colour, label)
        limit = _extrapolated(runs, name)
        ax.plot(ensemble.tau, limit.limit, "k--", label=r"extrapolated to $\alpha \to 0$")
        label = f"saddle to saddle, $d$ = {ensemble.dimension}, ±2 s.e."
        draw_band(ax, ensemble.tau, ensemble, name, "0.4", label)
        ax.set_xlabel(SCALED_TIME)
        ax.set_ylabel(TEST if name == "test_error" else TRAIN)
        ax.set_ylim(bottom=0)
    axes[0].set_title(_agreement(runs, "test_error", ensemble), fontsize=9)
    axes[1].set_title(_agreement(runs, "train_error", ensemble), fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    _draw_extrapolation(axes[2], runs, alphas, ensemble)
    return tidied(figure)


def _extrapolated(runs: Sequence[Run], name: str) -> Any:
    return extrapolate_start(
        [run.solution.problem.alpha for run in runs],
        [run.solution.values[name] for run in runs],
        [run.solution.error[name] for run in runs],
    )


def _agreement(runs: Sequence[Run], name: str, ensemble: SaddleEnsemble) -> str:
    """Return how far the saddle average is from the extrapolated theory, in combined errors."""
    late = ensemble.tau >= 0.5  # before, the extrapolation in 1/log(1/alpha) is not uniform
    theory = _extrapolated(runs, name)
    error = np.hypot(ensemble.standard_error(name), theory.numerical_error)
    deviation = np.max((np.abs(ensemble.mean(name) - theory.limit) / error)[late])
    return rf"largest difference, $\tau \geq$ 0.5: {deviation:.1f} combined s.e."


def _draw_extrapolation(
    ax: Axes, runs: Sequence[Run], alphas: list[float], ensemble: SaddleEnsemble
) -> None:
    """Draw the test error at a few tau against 1/log(1/alpha)."""
    x = -1 / np.log(alphas)
    fine = np.linspace(0.0, 1.05 * x[0], 50)
    limit = _extrapolated(runs, "test_error").limit
    for tau, colour in zip((0.75, 1.25, 2.0, 3.0), PALETTE, strict=False):
        k = int(np.argmin(np.abs(ensemble.tau - tau)))
        values = [run.solution.test_error[k] for run in runs]
        curve = np.polynomial.Polynomial.fit([0.0, *x], [limit[k], *values], len(x) - 1)
        ax.plot(fine, curve(fine), color=colour, linewidth=1)
        ax.plot(x, values, "o", color=colour, label=rf"$\tau$ = {ensemble.tau[k]:.2f}")
        ax.errorbar(
            [0.0],
            [ensemble.mean("test_error")[k]],
            yerr=[HALF_WIDTH * ensemble.standard_error("test_error")[k]],
            fmt="s",
            color=colour,
            markerfacecolor="white",
            capsize=3,
        )
    ax.set_xlabel(r"$1/\log(1/\alpha)$")
    ax.set_ylabel(TEST)
    ax.set_title("dots: DMFT; squares: saddle average ±2 s.e.", fontsize=9)
    ax.legend(frameon=False, fontsize=8)


PRESET = Preset(
    "Saddle to saddle: the limit α → 0, approached like 1/log(1/α)",
    saddles,
    quick=Effort((1000,), 24, 1e-2),
    full=Effort((2000,), 16, 3e-3),
    log_time=False,
    saddles=True,
    **small_starts((1e-2, 1e-4, 1e-8), 3.0),
)
