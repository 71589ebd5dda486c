"""Figures of quadratic networks: theory over simulation, with error bars (arXiv:2601.10483).

Lines and bands are theory with its standard error, dots are simulations with two standard errors;
dotted lines are limits that need no solve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.axes import save_figure
from dmft.figures.style import (
    HALF_WIDTH,
    PALETTE,
    SHORT_TIME,
    draw_theory,
    new_figure,
    require_drawable,
    tidied,
)
from dmft.quadratic.problem import QuadraticProblem
from dmft.quadratic.recovery import recovery_threshold
from dmft.quadratic.simulation import QuadraticEnsemble, simulate
from dmft.quadratic.solve import solve
from dmft.quadratic.steady_state import steady_state, steady_states
from dmft.validation import Rng, recorded_seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MSE, TRAIN = r"mean squared error  Tr$[(Z - Z^*)^2]/d$", "train loss"
CURVE = 60  # alphas of a curve of steady states; it looks smooth from 40 on.


@dataclass(frozen=True)
class Task:
    """What is computed for a figure: dimension and seeds of simulations, accuracy of the theory."""

    dimension: int
    seeds: int
    rtol: float
    seed: int
    note: Callable[[str], None]

    def runs(self, problem: QuadraticProblem, t: Any) -> QuadraticEnsemble:
        """Simulate one problem."""
        self.note(f"simulation of {problem}")
        return simulate(problem, t, self.dimension, self.seeds, self.seed, rtol=1e-3, workers=1)


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes
    ----------
    title : str
    drawing : callable
        Takes the picture and a `Task` and returns a matplotlib Figure.
    problems : tuple of QuadraticProblem
    t_max : float
        Horizon of trajectories and of the simulations that stand for long times.
    """

    title: str
    drawing: Callable[[Picture, Task], Any]
    problems: tuple[QuadraticProblem, ...]
    t_max: float


def _dots(ax: Axes, x: Any, ensemble: QuadraticEnsemble, name: str, colour: str, at: Any) -> None:
    """Draw simulations with their error bars, at some of their times."""
    mean, error = ensemble.values[name][at], HALF_WIDTH * ensemble.error[name][at]
    style: dict[str, Any] = {"fmt": "o", "color": colour, "markersize": 4, "capsize": 2}
    ax.errorbar(x, mean, np.where(np.isfinite(error), error, 0.0), **style)


def _label(p: QuadraticProblem) -> str:
    return rf"$\alpha$ = {p.alpha:g}, $\lambda$ = {p.lam:g}, $\Delta$ = {p.label_noise:g}"


def training(picture: Picture, task: Task) -> Any:
    """Draw mean squared error and train loss over time."""
    figure = new_figure(picture, (11, 4.4))
    axes = figure.subplots(1, 2)
    t = np.concatenate([[0.0], np.geomspace(1e-3 * picture.t_max, picture.t_max, 40)])
    t[-1] = picture.t_max  # not a rounding error beyond it
    dots = t[5::5]
    for problem, colour in zip(picture.problems, PALETTE, strict=False):
        task.note(f"theory of {problem}")
        theory = solve(problem, picture.t_max, t, task.rtol, task.seed)
        runs, state = task.runs(problem, dots), steady_state(problem)
        for ax, name in zip(axes, ("mse", "train_error"), strict=True):
            values, error = theory.values[name], theory.error[name]
            draw_theory(ax, t[1:], values[1:], error[1:], colour, _label(problem))
            _dots(ax, dots, runs, name, colour, slice(None))
            ax.axhline(getattr(state, name), color=colour, linestyle=":", linewidth=1)
    for ax, text in zip(axes, (MSE, TRAIN), strict=True):
        ax.set(xscale="log", yscale="log", xlabel=SHORT_TIME, ylabel=text)
    axes[0].legend(frameon=False, fontsize=8)
    return tidied(figure)


def steady(picture: Picture, task: Task) -> Any:
    """Draw steady states over alpha, with the ends of simulations, and recovery thresholds."""
    figure = new_figure(picture, (11, 4.4))
    axes = figure.subplots(1, 2)
    for problem, colour in zip(picture.problems, PALETTE, strict=False):
        alphas = np.linspace(0.5 * problem.alpha, 2.2 * problem.alpha, CURVE)
        states = steady_states(problem, alphas)
        text = rf"$\lambda$ = {problem.lam:g}, $\Delta$ = {problem.label_noise:g}"
        for ax, name in zip(axes, ("mse", "train_error"), strict=True):
            ax.plot(alphas, [getattr(s, name) for s in states], color=colour, label=text)
        for alpha in np.linspace(alphas[0], alphas[-1], 4):
            runs = task.runs(replace(problem, alpha=alpha), [picture.t_max])
            for ax, name in zip(axes, ("mse", "train_error"), strict=True):
                _dots(ax, alpha, runs, name, colour, 0)
    problem = picture.problems[0]
    threshold = recovery_threshold(problem.kappa, problem.kappa_star)
    for ax, text in zip(axes, (MSE, TRAIN), strict=True):
        ax.axvline(threshold, color="0.4", linestyle=":", label="recovery without noise")
        ax.set(xlabel=r"samples over $d^2$, $\alpha$", ylabel=text)
    axes[0].legend(frameon=False, fontsize=8)
    return tidied(figure)


def spectra(picture: Picture, task: Task) -> Any:
    """Draw the density of the eigenvalues of Z at long times and those of simulations."""
    figure = new_figure(picture, (11, 4.0))
    for ax, problem in zip(
        figure.subplots(1, len(picture.problems), squeeze=False)[0], picture.problems, strict=True
    ):
        state, runs = steady_state(problem), task.runs(problem, [picture.t_max])
        kept = runs.eigenvalues[:, 0][runs.eigenvalues[:, 0] > 0.02]
        weight = np.full(kept.size, 1 / runs.eigenvalues[:, 0].size)
        bins = np.linspace(0, 1.05 * kept.max(), 31)
        counts, _ = np.histogram(kept, bins, weights=weight / np.diff(bins)[0])
        ax.stairs(counts, bins, fill=True, color="0.8", label=f"simulation, $d$ = {task.dimension}")
        error = HALF_WIDTH * np.sqrt(counts * weight[0] / np.diff(bins)[0])
        middle = (bins[1:] + bins[:-1]) / 2
        ax.errorbar(middle, counts, error, fmt="none", color="0.5", capsize=2)
        x = np.linspace(1e-3, bins[-1], 400)
        ax.plot(x, state.density(x), color=PALETTE[0], label="theory, long times")
        ax.set(xlabel="eigenvalue of $Z$", ylabel="density", title=_label(problem))
        ax.legend(frameon=False, fontsize=8)
    return tidied(figure)


def threshold(picture: Picture, task: Task) -> Any:
    """Draw the alpha of perfect recovery over kappa, and the errors of simulations below it."""
    figure = new_figure(picture, (11, 4.4))
    left, right = figure.subplots(1, 2)
    for star, colour in zip((0.1, 0.3, 0.5, 0.7), PALETTE, strict=False):
        kappas = np.linspace(star, 1.1, CURVE)
        for regularised, style in ((True, "-"), (False, "--")):
            values = recovery_threshold(kappas, star, regularised)
            text = rf"$\kappa^*$ = {star:g}" if regularised else None
            left.plot(kappas, values, style, color=colour, label=text)
    left.set(xlabel=r"width $\kappa$", ylabel=r"threshold $\alpha$")
    left.legend(
        frameon=False, fontsize=8, title=r"— $\lambda \to 0^+$    - - $\lambda = 0$, conjecture"
    )
    for problem, colour in zip(picture.problems, PALETTE, strict=False):
        centre = recovery_threshold(problem.kappa, problem.kappa_star)
        alphas = np.linspace(0.6, 1.2, CURVE) * centre
        text = rf"$\kappa$ = {problem.kappa:g}, $\kappa^*$ = {problem.kappa_star:g}"
        mse = [state.mse for state in steady_states(problem, alphas)]
        right.plot(alphas, mse, color=colour, label=text)
        right.axvline(centre, color=colour, linestyle=":")
        for alpha in alphas[:: CURVE // 4]:
            # a simulation needs some decay: t_max is many times 1/lam
            runs = task.runs(replace(problem, alpha=alpha, lam=0.01), [picture.t_max])
            _dots(right, alpha, runs, "mse", colour, 0)
    right.set(xlabel=r"samples over $d^2$, $\alpha$", ylabel=MSE)
    right.legend(frameon=False, fontsize=8)
    return tidied(figure)


def _curves(widths: tuple[float, float], pairs: Sequence[tuple[float, ...]]) -> tuple[Any, ...]:
    return tuple(
        QuadraticProblem(a, *widths, lam=lam, label_noise=noise) for a, lam, noise in pairs
    )


PICTURES: dict[str, Picture] = {
    "quadratic-training": Picture(
        "Training a quadratic network, widths 0.7 and 0.5",
        training,
        _curves((0.7, 0.5), [(0.3, lam, 0.25) for lam in (0.5, 0.1, 0.05)]),
        10.0,
    ),
    "quadratic-steady-state": Picture(
        "Long times, widths 0.7 and 0.5",
        steady,
        _curves((0.7, 0.5), [(0.3, lam, 0.0) for lam in (0.5, 0.1, 0.05)]),
        30.0,
    ),
    "quadratic-spectra": Picture(
        "Spectrum of the estimator, widths 0.7 and 0.5",
        spectra,
        _curves((0.7, 0.5), [(0.3, lam, 0.25) for lam in (0.5, 0.1)]),
        30.0,
    ),
    "quadratic-double-descent": Picture(
        "Double descent, widths 0.4 and 0.3",
        steady,
        _curves((0.4, 0.3), [(0.25, 0.01, noise) for noise in (0.1, 0.5, 1.0)]),
        60.0,
    ),
    "quadratic-recovery": Picture(
        "Recovery of the teacher",
        threshold,
        _curves((0.7, 0.5), [(0.3, 0.0, 0.0)]) + _curves((0.4, 0.3), [(0.3, 0.0, 0.0)]),
        60.0,
    ),
}
"""Figures by name: training curves, steady states over alpha, spectra, double descent, recovery."""


def draw(
    name: str,
    path: Any,
    *,
    dimension: int = 60,
    seeds: int = 3,
    rtol: float = 0.03,
    rng: Rng = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Compute a figure of quadratic networks and write it to a file.

    Parameters
    ----------
    name : str
        One of `PICTURES`.
    path : path-like
        Picture to write, .png, .pdf or .svg.
    dimension, seeds : int
        Of the simulations.
    rtol : float
        Accuracy of the theory.
    rng : int, Generator, SeedSequence or None
        Source of randomness.
    progress : callable, optional
        Receives a line of text for each stage.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ValueError
        If an argument is out of its range.
    FileNotFoundError
        If the directory of `path` does not exist.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> sorted(PICTURES)[0]
    'quadratic-double-descent'
    """
    if name not in PICTURES:
        raise ValueError(f"name must be one of {', '.join(PICTURES)}; got {name!r}")
    target = require_drawable(path)
    task = Task(dimension, seeds, rtol, recorded_seed(rng), progress or (lambda text: None))
    picture = PICTURES[name]
    return save_figure(picture.drawing(picture, task), target)
