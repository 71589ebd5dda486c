"""What each command of `dmft` does with its parsed arguments; each returns the exit code.

All input is checked before work starts: the problem, the times, the options of the simulation
and that the files to be written can be.
"""

from __future__ import annotations

import importlib.util
import io
import math
import platform
import sys
import time
import zipfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import dmft
from dmft.cli.options import POINTS, Settings, build_problem, horizon, merge, simulation_arguments
from dmft.cli.terminal import Reporter, format_table, format_tree

if TYPE_CHECKING:
    from dmft.problem import Problem
    from dmft.simulation.ensemble import Ensemble
    from dmft.solution import Solution

DONE, NOT_DONE = 0, 1
COLUMNS = ("test_error", "train_error", "mean_w", "overlap")


# --- theory and simulation --------------------------------------------------------------------


def run_solve(arguments: Namespace) -> int:
    """Solve a problem; write the solution or print its trajectory."""
    settings = _settings(arguments)
    problem = build_problem(settings)
    t_max, t_eval = horizon(settings["solve"])
    out = _target(settings["solve"]["out"])
    with Reporter(arguments.progress) as reporter:
        solution = _solved(problem, t_max, t_eval, settings, reporter)
    if out is None:
        errors = ("test_error", "train_error")
        print(_trajectory(solution.t, solution.values, {k: solution.error[k] for k in errors}))
    else:
        solution.save(out)
        print(f"wrote {out}: {solution.t.size} times. {solution.message}")
    return _outcome(solution.success, solution.message)


def run_simulate(arguments: Namespace) -> int:
    """Simulate a problem; write the ensemble or print its means."""
    settings = _settings(arguments)
    problem = build_problem(settings)
    options = simulation_arguments(settings["simulate"])
    _, t_eval = horizon(settings["simulate"], POINTS)
    out = _target(settings["simulate"]["out"])
    ensemble = _simulated(problem, t_eval, options, arguments)
    if out is None:
        means = {name: ensemble.mean(name) for name in COLUMNS}
        errors = {name: ensemble.standard_error(name) for name in COLUMNS}
        print(_trajectory(ensemble.t, means, errors))
    else:
        ensemble.save(out)
        print(f"wrote {out}: {ensemble.seeds} seeds at d = {ensemble.dimension}")
    return DONE


def run_compare(arguments: Namespace) -> int:
    """Simulate the problem of a saved solution and report whether the two agree."""
    from dmft.comparison import compare
    from dmft.solution import Solution

    settings = merge(vars(arguments))
    options = simulation_arguments(settings["simulate"], least_seeds=2)
    picture = None if arguments.plot is None else _require_picture(arguments.plot)
    solution = Solution.load(arguments.run)
    ensemble = _simulated(solution.problem, solution.t, options, arguments)
    report = compare(solution, ensemble, arguments.resolution)
    print(report)
    if picture is not None:
        from dmft.figures.plots import plot_comparison, save_figure

        save_figure(plot_comparison(solution, ensemble, report), picture)
        print(f"wrote {picture}")
    return _outcome(report.verdict == "agree", report.message)


def run_benchmark(arguments: Namespace) -> int:
    """Time theory and simulation on the same problem and times."""
    settings = _settings(arguments)
    problem = build_problem(settings)
    options = simulation_arguments(settings["simulate"], least_seeds=2)
    t_max, t_eval = horizon(settings["solve"])
    with Reporter(arguments.progress) as reporter:
        solution = _solved(problem, t_max, t_eval, settings, reporter)
    started = time.perf_counter()
    ensemble = _simulated(problem, solution.t, options, arguments)
    print(_race(solution, ensemble, time.perf_counter() - started))
    return _outcome(solution.success, solution.message)


def _settings(arguments: Namespace) -> Settings:
    return merge(vars(arguments), arguments.config)


def _solved(
    problem: Problem,
    t_max: float,
    t_eval: np.ndarray | None,
    settings: Settings,
    reporter: Reporter,
) -> Solution:
    from dmft.solver.solve import solve

    options = settings["solve"]
    return solve(
        problem,
        t_max,
        t_eval,
        rtol=options["rtol"],
        rng=options["seed"],
        progress=reporter.stage,
    )


def _simulated(
    problem: Problem, t_eval: Any, options: dict[str, Any], arguments: Namespace
) -> Ensemble:
    from dmft.simulation.simulate import simulate

    with Reporter(arguments.progress) as reporter:
        return simulate(problem, t_eval, **options, progress=reporter.seeds)


def _trajectory(t: np.ndarray, values: Mapping[str, Any], errors: Mapping[str, Any]) -> str:
    """Return a table of one-time values, each followed by its error where there is one."""
    columns: list[tuple[str, Any]] = [("t", t)]
    for name in COLUMNS:
        columns.append((name, values[name]))
        if name in errors:
            columns.append(("+-", [f"{error:.1e}" for error in errors[name]]))
    return format_table(columns)


def _race(solution: Solution, ensemble: Ensemble, seconds: float) -> str:
    """Return the times and errors of both, and what the simulation needs for the theory's error.

    The error is the largest over the times of that of test_error over its value; of the
    simulation it is the standard error, which falls like 1/sqrt(seeds).
    """
    theory = _largest_ratio(solution.error["test_error"], solution.values["test_error"])
    sampled = _largest_ratio(ensemble.standard_error("test_error"), ensemble.test_error)
    factor = (sampled / theory) ** 2 if theory > 0 else math.inf
    stats = solution.stats
    table = format_table(
        [
            ("", ["theory", "simulation", "simulation at the theory's error"]),
            ("seconds", [stats["wall_time"], seconds, seconds * factor]),
            ("relative error of test_error", [theory, sampled, theory]),
            ("seeds", ["-", str(ensemble.seeds), f"{ensemble.seeds * factor:.2g}"]),
        ]
    )
    return (
        f"{table}\n\nThe simulation at d = {ensemble.dimension} needs "
        f"{seconds * factor / stats['wall_time']:.2g} times the theory's time; its bias of order "
        f"1/d comes on top. Loading or compiling the theory's kernels took "
        f"{stats['compile_time']:.2g} s."
    )


def _largest_ratio(errors: np.ndarray, values: np.ndarray) -> float:
    positive = values > 0
    return float(np.max(errors[positive] / values[positive], initial=0.0))


def _outcome(success: bool, message: str) -> int:
    if success:
        return DONE
    print(f"dmft: {message}", file=sys.stderr)
    return NOT_DONE


# --- pictures and files -------------------------------------------------------------------------


def run_plot(arguments: Namespace) -> int:
    """Draw the errors or a two-time function of a saved solution."""
    from dmft.figures.plots import plot_correlation, plot_errors, save_figure
    from dmft.solution import Solution

    picture = _require_picture(arguments.out)
    solution = Solution.load(arguments.run)
    if arguments.quantity == "errors":
        axes = plot_errors(solution)
    else:
        if solution.t.size < 2:
            raise ValueError(f"{arguments.run} must hold at least 2 times; it holds 1")
        axes = plot_correlation(solution, arguments.quantity)
    figure: Any = axes.figure
    save_figure(figure, picture)
    print(f"wrote {picture}")
    return DONE


def run_figure(arguments: Namespace) -> int:
    """Draw a figure of the literature."""
    from dmft.figures.presets import PRESETS, draw

    if arguments.name not in PRESETS:
        raise ValueError(f"figure must be one of {', '.join(PRESETS)}; got {arguments.name!r}")
    picture = _require_picture(arguments.out)
    draw(arguments.name, picture)
    print(f"wrote {picture}")
    return DONE


def _target(path: str | None) -> Path | None:
    return None if path is None else _require_target(path)


def _require_target(path: str) -> Path:
    """Return the file to be written, checked to be writable."""
    from dmft.storage import require_writable

    return require_writable(path)


def _require_picture(path: str) -> Path:
    """Return the picture to be written, checked to be possible."""
    from dmft.figures.plots import FORMATS

    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("pictures need matplotlib: pip install 'dmft[plot]'")
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(f"the picture must end in {' or '.join(FORMATS)}; got {path!r}")
    return _require_target(path)


def run_info(arguments: Namespace) -> int:
    """Describe a file, or this installation."""
    print(format_tree(_installation() if arguments.run is None else _contents(arguments.run)))
    return DONE


def _installation() -> dict[str, Any]:
    import numba

    from dmft.parallel import processors

    return {
        "dmft": dmft.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "scipy", "numba", "h5py")},
        "platform": platform.platform(),
        "processors": processors(),
        "numba threads": numba.get_num_threads(),
    }


def _contents(path: str) -> dict[str, Any]:
    import h5py

    from dmft.simulation.ensemble import load_ensemble
    from dmft.solution import Solution

    try:
        with h5py.File(path, "r") as file:
            root = {name: value for name, value in file.attrs.items() if name != "configuration"}
    except OSError:
        root = {}  # the reader says what is wrong
    if root.get("format") == "dmft.Ensemble":
        ensemble = load_ensemble(path)
        work = {name: float(values.sum()) for name, values in ensemble.stats.items()}
        content = {"seeds": ensemble.seeds, "dimension": ensemble.dimension}
        outcome = {**content, "samples": ensemble.samples, "design": ensemble.design}
        problem, t, stats = ensemble.problem, ensemble.t, {"stats, all seeds": work}
    else:
        solution = Solution.load(path)
        outcome = {"success": solution.success, "message": solution.message, "rtol": solution.rtol}
        problem, t, stats = solution.problem, solution.t, {"stats": solution.stats}
    times = {"times": f"{t.size} from {t[0]:g} to {t[-1]:g}"}
    return {"problem": problem.config(), "outcome": outcome | times, **stats, "file": root}


# --- what needs no solve ------------------------------------------------------------------------


def run_predict(arguments: Namespace) -> int:
    """Print what is known of a problem in closed form or from scalar equations."""
    from dmft.limits.rates import convergence_rate
    from dmft.limits.steady_states import recovery_threshold
    from dmft.limits.transitions import timescales
    from dmft.validation import require_integer

    problem = build_problem(_settings(arguments))
    if arguments.dimension is not None:
        require_integer("dimension", arguments.dimension, low=1)
    scales = timescales(problem, arguments.dimension)
    density = sum(c.probability for c in problem.signal.components() if c.mean or c.std)
    predictions = {
        "steady state": _available(lambda: _limit(problem)),
        "convergence rate": _available(lambda: convergence_rate(problem)),
        "lazy to rich time": _available(lambda: scales.lazy_to_rich),
        "search to descent time": _available(lambda: scales.search_to_descent),
        "recovery threshold": _available(
            lambda: {
                "density of w*": float(density),
                "delta_c": recovery_threshold(min(density, 1.0)),
                "delta": problem.delta,
            }
        ),
    }
    print(format_tree(predictions))
    return DONE


def _available(compute: Callable[[], Any]) -> Any:
    """Return the value, or why there is none."""
    try:
        return compute()
    except ValueError as error:
        return f"none: {error}"


def _limit(problem: Problem) -> dict[str, Any]:
    from dmft.limits.steady_states import steady_state

    state = steady_state(problem)
    names = ("branch", "test_error", "train_error", "tau", "kappa", "density", "mean_w", "overlap")
    return {name: getattr(state, name) for name in names}


def run_saddles(arguments: Namespace) -> int:
    """Print the saddles that gradient flow visits from a vanishing start."""
    from dmft.limits.saddles import saddle_to_saddle

    out = _target(arguments.out)
    X, y = _read_data(arguments.data)
    path = saddle_to_saddle(
        X,
        y,
        arguments.layer_scales,
        loss_scale=arguments.loss_scale,
        max_saddles=arguments.max_saddles,
    )
    sizes = [str(active.size) for active in path.active_sets]
    print(format_table([("time", path.times), ("loss", path.losses), ("non-zero", sizes)]))
    if out is not None:
        _write_arrays(out, times=path.times, saddles=path.saddles, losses=path.losses)
        print(f"wrote {out}")
    return _outcome(path.success, path.message)


def _read_data(path: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as data:
            return data["X"], data["y"]
    except (ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"data must be an .npz file with arrays X and y; {path}: {error}"
        ) from None


def _write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file that appears under its name only when it is complete."""
    from dmft.storage import replace_file

    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    replace_file(path, buffer.getvalue())


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "solve": run_solve,
    "simulate": run_simulate,
    "compare": run_compare,
    "benchmark": run_benchmark,
    "plot": run_plot,
    "info": run_info,
    "predict": run_predict,
    "saddles": run_saddles,
    "figure": run_figure,
}
