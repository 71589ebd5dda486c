"""The pictures of the presets: lines are theory, bands are simulations, mean +- 2 standard errors.

Each function takes a preset and its runs (`dmft.figures.presets.compute`) and returns a matplotlib
Figure; pyplot is not involved. Dashed lines are predictions that need no solve: limits of
`dmft.limits.steady_states`, rates and times of `dmft.limits.rates` and `dmft.limits.transitions`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.figures.plots import COLOURS, TIME, plot_errors
from dmft.limits.rates import convergence_rate, fit_rate
from dmft.limits.small_start import extrapolate_start
from dmft.limits.steady_states import steady_state
from dmft.limits.transitions import (
    detect_lazy_to_rich,
    grokking_delay,
    lazy_to_rich_time,
    search_to_descent_time,
)
from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.saddle_ensemble import SaddleEnsemble

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dmft.figures.presets import Preset, Run
from dmft.figures.presets import PRESETS, Preset, Run, compute

PALETTE = ("#1f5fa8", "#d1601d", "#2f8f5b", "#8a55a8", "#7a6a2b", "#b03060")
TEST, TRAIN = r"test error  $|w - w^*|^2/2d$", r"train error  $|y - Xw|^2/2n$"
SHORT_TIME = "time $t$"
SCALED_TIME = r"scaled time $\tau = t\,/\,2\log(1/\alpha)$"
HALF_WIDTH = 2.0  # of the bands, in standard errors
CURVE = 20  # points of a curve of limits
LATE = (0.3, 0.6)  # part of a run to which rates are fitted; later the solver's floor shows


def require_matplotlib() -> None:
    """Raise ImportError, with the remedy, where matplotlib is not installed."""
    import importlib.util

    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("pictures need matplotlib: pip install dmft[plot]")


def lazy_to_rich(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors for each alpha (columns) and lam (colours), and the predicted times."""
    figure = _figure(preset, (10.5, 6.8))
    alphas = sorted({run.solution.problem.alpha for run in runs})
    axes = figure.subplots(2, len(alphas), sharex="col", sharey="row")
    for column, alpha in enumerate(alphas):
        chosen = [run for run in runs if run.solution.problem.alpha == alpha]
        for run, colour in zip(chosen, PALETTE, strict=False):
            problem, solution = run.solution.problem, run.solution
            label = rf"$\lambda$ = {problem.lam:g}"
            for ax, name in zip(axes[:, column], ("test_error", "train_error"), strict=True):
                _theory(ax, solution.t, solution.values[name], solution.error[name], colour, label)
                _simulations(ax, run.ensembles, name, colour)
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
        _line("0.3", ":", r"predicted $2\log(\alpha)/\lambda$"),
        _dot("0.3", "steepest descent in $\\log t$ (theory)"),
    ]
    _legend(axes[0, 0], runs)
    axes[0, 1].legend(handles=notes, frameon=False, fontsize=8)
    return _tidied(figure)


def search_to_descent(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors against time for each small alpha, and the predicted search times."""
    figure = _figure(preset, (10.5, 4.4))
    axes = figure.subplots(1, 2)
    for run, colour in zip(runs, PALETTE, strict=False):
        solution = run.solution
        label = rf"$\alpha$ = {_power(solution.problem.alpha)}"
        for ax, name in zip(axes, ("test_error", "train_error"), strict=True):
            _theory(ax, solution.t, solution.values[name], solution.error[name], colour, label)
            _simulations(ax, run.ensembles, name, colour)
            time = search_to_descent_time(solution.problem)
            ax.axvline(time, color=colour, linestyle=":", linewidth=1)
            ax.set_xlabel(TIME)
    for ax in axes:  # not earlier: it fixes the upper end too
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel(TEST)
    axes[1].set_ylabel(TRAIN)
    _legend(axes[0], runs)
    note = _line("0.3", ":", r"predicted $2\log(1/\alpha)/|h(0)|$, median over $w^* \neq 0$")
    axes[1].legend(handles=[note], frameon=False, fontsize=8)
    return _tidied(figure)


def interpolation(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors for each delta < 1, the limit of one and the decay of the other."""
    figure = _figure(preset, (12.5, 4.4))
    for ax, run in zip(figure.subplots(1, len(runs), squeeze=False)[0], runs, strict=True):
        problem, t = run.solution.problem, run.solution.t
        plot_errors(run.solution, run.ensembles[0], ax)
        _limit_line(ax, problem)
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


def trade_off(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw the limit of the test error against the rate of approach, along alpha."""
    figure = _figure(preset, (6.8, 4.8))
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
    return _tidied(figure)


def weight_decay_limit(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw trajectories for vanishing lam, and the limits against lam at several dimensions."""
    figure = _figure(preset, (11.5, 4.8))
    left, right = figure.subplots(1, 2)
    for run, colour in zip(runs, PALETTE, strict=False):
        solution = run.solution
        error, label = solution.error["test_error"], rf"$\lambda$ = {solution.problem.lam:g}"
        _theory(left, solution.t, solution.test_error, error, colour, label)
        _simulations(left, run.ensembles[-1:], "test_error", colour)
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
    note = _line("0.4", "--", "limits: interpolator of $\\lambda$ = 0 (grey), LASSO")
    _legend(left, runs, notes=[note], dimensions=runs[0].ensembles[-1:])
    _draw_limits(right, runs)
    return _tidied(figure)


def saddles(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw both errors in the scaled time for each alpha, their limit and the saddle average."""
    figure = _figure(preset, (13.5, 4.8))
    axes = figure.subplots(1, 3)
    ensemble = runs[-1].saddles
    assert ensemble is not None
    alphas = [run.solution.problem.alpha for run in runs]
    for ax, name in zip(axes, ("test_error", "train_error"), strict=False):
        for run, colour in zip(runs, PALETTE, strict=False):
            label = rf"DMFT, $\alpha$ = {_power(run.solution.problem.alpha)}"
            values, error = run.solution.values[name], run.solution.error[name]
            _theory(ax, ensemble.tau, values, error, colour, label)
        limit = _extrapolated(runs, name)
        ax.plot(ensemble.tau, limit.limit, "k--", label=r"extrapolated to $\alpha \to 0$")
        label = f"saddle to saddle, $d$ = {ensemble.dimension}, ±2 s.e."
        _band(ax, ensemble.tau, ensemble, name, "0.4", label)
        ax.set_xlabel(SCALED_TIME)
        ax.set_ylabel(TEST if name == "test_error" else TRAIN)
        ax.set_ylim(bottom=0)
    axes[0].set_title(_agreement(runs, "test_error", ensemble), fontsize=9)
    axes[1].set_title(_agreement(runs, "train_error", ensemble), fontsize=9)
    axes[0].legend(frameon=False, fontsize=8)
    _draw_extrapolation(axes[2], runs, alphas, ensemble)
    return _tidied(figure)


def grokking(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw one run that groks, and the delays of all against log(alpha)."""
    figure = _figure(preset, (11.5, 4.6))
    left, right = figure.subplots(1, 2)
    shown = max(runs, key=lambda run: run.solution.problem.alpha * run.solution.problem.lam)
    problem = shown.solution.problem
    plot_errors(shown.solution, shown.ensembles[0], left)
    left.set_yscale("log")
    left.set_xlim(left=1e-4)
    left.set_ylim(1e-7, 0.2)
    left.axvline(lazy_to_rich_time(problem), color="0.3", linestyle=":")
    left.set_title(rf"$\alpha$ = {problem.alpha:g},  $\lambda$ = {problem.lam:g}", fontsize=10)
    note = _line("0.3", ":", r"$2\log(\alpha)/\lambda$")
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
    return _tidied(figure)


def phases(preset: Preset, runs: Sequence[Run]) -> Figure:
    """Draw one panel for each phase."""
    figure = _figure(preset, (12.5, 7.0))
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
        _limit_line(ax, problem)
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
            rf"$\delta$ = {problem.delta:g}, $\alpha$ = {_power(problem.alpha)}, "
            rf"$\lambda$ = {problem.lam:g}, $\sigma^2$ = {problem.sigma2:g}"
        )
        ax.set_title(f"{title}\n{setting}", fontsize=10)
        ax.set_ylabel("error")
        ax.get_legend().remove()
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique["predicted time"] = _line("0.3", ":", "")
    figure.legend(
        unique.values(), unique.keys(), loc="outside lower center", ncols=len(unique), frameon=False
    )
    return figure


DRAWINGS: dict[str, Callable[[Preset, Sequence[Run]], Any]] = {
    "lazy-to-rich": lazy_to_rich,
    "search-to-descent": search_to_descent,
    "interpolation": interpolation,
    "trade-off": trade_off,
    "weight-decay-limit": weight_decay_limit,
    "saddles": saddles,
    "grokking": grokking,
    "phases": phases,
}


def draw(
    name: str,
    path: str | os.PathLike[str],
    *,
    full: bool = False,
    rng: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Compute a preset and write its figure to a file.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    path : path-like
        Picture to write, .png or .pdf.
    full : bool
        Whether to take larger simulations, more seeds and a more accurate solution; the quick
        figure takes one to two minutes.
    rng : int
        Seed >= 0.
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
    RuntimeError
        If a solution does not converge, or a simulation breaks down; no file is written.
    """
    from dmft.figures.plots import FORMATS, save_figure

    if name not in PRESETS:
        raise ValueError(f"name must be one of {', '.join(PRESETS)}; got {name!r}")
    target = Path(path)
    if target.suffix.lower() not in FORMATS:
        raise ValueError(f"path must end in one of {FORMATS}; got {str(path)!r}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"path must be in an existing directory; got {str(path)!r}")
    require_matplotlib()
    preset = PRESETS[name]
    runs = compute(preset, full=full, rng=rng, progress=progress)
    return save_figure(DRAWINGS[name](preset, runs), target)


def _mark_detection(ax: Axes, run: Run, colour: str) -> None:
    """Mark the lazy-to-rich time that the theory's own test error shows, if it shows one."""
    solution = run.solution
    try:
        time = detect_lazy_to_rich(solution.t, solution.test_error)
    except ValueError:  # no plateau before the descent
        return
    level = float(np.interp(time, solution.t, solution.test_error))
    ax.plot([time], [level], "o", color=colour, markersize=6, markeredgecolor="white", zorder=4)


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


def _limit_line(ax: Axes, problem: Problem) -> None:
    """Draw the limits of both errors, where they are positive."""
    state = steady_state(problem)
    style: dict[str, Any] = {"linestyle": "--", "linewidth": 1}
    ax.axhline(state.test_error, color=COLOURS["test_error"], label="limit", **style)
    if state.train_error > 0:
        ax.axhline(state.train_error, color=COLOURS["train_error"], **style)


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
        label = rf"$\lambda$ = 0, $\alpha$ = {_power(alpha)}"
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


def _theory(
    ax: Axes, t: np.ndarray, values: np.ndarray, error: np.ndarray, colour: str, label: str
) -> None:
    ax.fill_between(t, values - error, values + error, color=colour, alpha=0.4, linewidth=0)
    ax.plot(t, values, color=colour, linewidth=1.8, label=label)


def _simulations(ax: Axes, ensembles: Sequence[Ensemble], name: str, colour: str) -> None:
    for ensemble in ensembles:
        _band(ax, ensemble.t, ensemble, name, colour, None)


def _band(
    ax: Axes,
    t: np.ndarray,
    ensemble: Ensemble | SaddleEnsemble,
    name: str,
    colour: str,
    label: str | None,
) -> None:
    mean, half = ensemble.mean(name), HALF_WIDTH * ensemble.standard_error(name)
    style: dict[str, Any] = {"color": colour, "alpha": 0.18, "linewidth": 0}
    ax.fill_between(t, np.maximum(mean - half, 0.0), mean + half, label=label, **style)


def _legend(
    ax: Axes, runs: Sequence[Run], notes: Sequence[Any] = (), dimensions: Any = None
) -> None:
    """Add a legend of the lines of `ax`, and of what line and band mean."""
    from matplotlib.patches import Patch

    ensemble = (runs[0].ensembles if dimensions is None else dimensions)[0]
    text = f"simulation, $d$ = {ensemble.dimension}, ±2 s.e."
    handles, labels = ax.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    unique["theory (band: its estimated error)"] = _line("0.3", "-", "")
    unique[text] = Patch(color="0.3", alpha=0.18)
    for note in notes:
        unique[note.get_label()] = note
    ax.legend(unique.values(), unique.keys(), frameon=False, fontsize=8)


def _line(colour: str, style: Any, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style, label=label)


def _dot(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linestyle="", label=label)


def _figure(preset: Preset, size: tuple[float, float]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(preset.title, fontsize=12)
    return figure


def _tidied(figure: Any) -> Any:
    for ax in figure.axes:
        ax.grid(color="0.88", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _power(value: float) -> str:
    """Return a number as mathematical text, powers of ten as such."""
    exponent = round(math.log10(value))
    small = abs(exponent) >= 3 and math.isclose(value, 10.0**exponent)
    return f"$10^{{{exponent}}}$" if small else f"{value:g}"
