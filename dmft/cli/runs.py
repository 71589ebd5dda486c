"""The commands that solve and simulate: solve, simulate, compare, benchmark."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dmft.cli.common import (
    DONE,
    outcome,
    require_picture,
    settings_of,
    target,
    theory_and_simulation,
)
from dmft.cli.options import (
    Settings,
    build_problem,
    horizon,
    simulation_arguments,
    simulation_times,
)
from dmft.cli.tables import MAX_TIME, POINTS
from dmft.cli.terminal import Reporter, format_table

if TYPE_CHECKING:
    from dmft.problem import Problem
    from dmft.simulation.ensemble import Ensemble
    from dmft.solution import Solution

COLUMNS = ("test_error", "train_error", "mean_w", "overlap")


def run_solve(arguments: Namespace) -> int:
    """Solve a problem; write the solution or print its trajectory."""
    settings = settings_of(arguments)
    problem = build_problem(settings)
    t_max, t_eval = horizon(settings["solve"], problem.dynamics)
    out = target(settings["solve"]["out"])
    with Reporter(arguments.progress) as reporter:
        solution = _solved(problem, t_max, t_eval, settings, reporter)
    if out is None:
        errors = ("test_error", "train_error")
        print(_trajectory(solution.t, solution.values, {k: solution.error[k] for k in errors}))
    else:
        solution.save(out)
        print(f"wrote {out}: {solution.t.size} times. {solution.message}")
    return outcome(solution.success, solution.message)


def run_simulate(arguments: Namespace) -> int:
    """Simulate a problem; write the ensemble or print its means."""
    settings = settings_of(arguments)
    problem = build_problem(settings)
    options = simulation_arguments(settings["simulate"])
    _, t_eval = horizon(simulation_times(settings), problem.dynamics, POINTS)
    out = target(settings["simulate"]["out"])
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
    """Compare theory and simulation; whichever of them is not given as a file is computed."""
    from dmft.comparison import compare

    settings = settings_of(arguments)
    options = simulation_arguments(settings["simulate"], least_seeds=2)
    picture = None if arguments.plot is None else require_picture(arguments.plot)
    solution, ensemble = theory_and_simulation(arguments.files)
    if solution is None:
        t = ensemble.t
        with Reporter(arguments.progress) as reporter:
            solution = _solved(ensemble.problem, float(t[-1]), t, settings, reporter)
    if ensemble is None:
        ensemble = _simulated(solution.problem, solution.t, options, arguments)
    report = compare(solution, ensemble, arguments.resolution)
    print(report)
    if picture is not None:
        from dmft.figures.axes import save_figure
        from dmft.figures.plots import plot_comparison

        save_figure(plot_comparison(solution, ensemble, report), picture)
        print(f"wrote {picture}")
    return outcome(report.verdict == "agree", report.message)


def run_benchmark(arguments: Namespace) -> int:
    """Time theory and simulation on the same problem and times."""
    settings = settings_of(arguments)
    problem = build_problem(settings)
    options = simulation_arguments(settings["simulate"], least_seeds=2)
    t_max, t_eval = horizon(settings["solve"], problem.dynamics)
    with Reporter(arguments.progress) as reporter:
        solution = _solved(problem, t_max, t_eval, settings, reporter)
    started = time.perf_counter()
    ensemble = _simulated(problem, solution.t, options, arguments)
    print(_race(solution, ensemble, time.perf_counter() - started))
    return outcome(solution.success, solution.message)


def _solved(
    problem: Problem,
    t_max: float,
    t_eval: np.ndarray | None,
    settings: Settings,
    reporter: Reporter,
) -> Solution:
    from dmft.solver.solve import solve

    options = settings["solve"]
    max_time = options["max_time"]
    if max_time is None and not problem.dynamics.in_steps:
        max_time = MAX_TIME
    return solve(
        problem,
        t_max,
        t_eval,
        rtol=options["rtol"],
        rng=options["seed"],
        atol=options["atol"],
        max_time=max_time,
        max_memory=options["max_memory"],
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
