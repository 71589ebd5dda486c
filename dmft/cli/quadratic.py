"""The command `dmft quadratic`: extensive-width quadratic networks."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from dmft.cli.common import DONE, outcome, target
from dmft.cli.terminal import Reporter, format_table

if TYPE_CHECKING:
    from dmft.trajectory import Trajectory

COLUMNS = ("mse", "train_error", "overlap", "trace")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the action, the problem's parameters, as its class states them, and the run's."""
    from dmft.parameters import described
    from dmft.quadratic.problem import QuadraticProblem

    parser.add_argument("action", choices=("solve", "simulate", "steady-state"), help="what to do")
    problem = parser.add_argument_group("problem")
    for parameter in described(QuadraticProblem):
        required = parameter.default is None
        note = "" if required else f" (default {parameter.default:g})"
        problem.add_argument(
            "--" + parameter.name.replace("_", "-"),
            type=float,
            required=required,
            default=parameter.default,
            metavar="X",
            help=parameter.help + note,
        )
    run = parser.add_argument_group("run")
    run.add_argument("--t-max", type=float, metavar="X", help="horizon, > 0 (default 10)")
    run.add_argument("--t-eval", type=float, nargs="+", metavar="X", help="increasing times")
    run.add_argument("--rtol", type=float, metavar="X", help="accuracy (default 0.02; flow 1e-5)")
    run.add_argument("--dimension", type=int, default=100, metavar="N", help="d (default 100)")
    run.add_argument("--seeds", type=int, default=8, metavar="N", help="draws (default 8)")
    run.add_argument(
        "--design",
        default="gaussian",
        metavar="NAME",
        help="gaussian (the default) or rank_one",
    )
    run.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    run.add_argument("--seed", type=int, default=0, metavar="N", help="seed, >= 0 (default 0)")
    run.add_argument("--out", metavar="FILE", help="HDF5 file; without it a table is printed")


def run_quadratic(arguments: Namespace) -> int:
    """Solve, simulate or give the steady state."""
    from dmft.parameters import described
    from dmft.quadratic.problem import QuadraticProblem

    names = [parameter.name for parameter in described(QuadraticProblem)]
    problem = QuadraticProblem(**{name: getattr(arguments, name) for name in names})
    return _ACTIONS[arguments.action](problem, arguments)


def _solve(problem: Any, arguments: Namespace) -> int:
    from dmft.quadratic.solve import solve

    out, times = target(arguments.out), arguments.t_eval
    t_max = arguments.t_max or (times[-1] if times else 10.0)
    options = {} if arguments.rtol is None else {"rtol": arguments.rtol}
    with Reporter(arguments.progress) as reporter:
        solution = solve(
            problem, t_max, times, rng=arguments.seed, progress=reporter.stage, **options
        )
    _show(solution, out, solution.message)
    return outcome(solution.success, solution.message)


def _simulate(problem: Any, arguments: Namespace) -> int:
    import numpy as np

    from dmft.quadratic.simulation import simulate

    out, times = target(arguments.out), arguments.t_eval
    if times is None:
        times = np.linspace(0.0, arguments.t_max or 10.0, 21)
    options = {} if arguments.rtol is None else {"rtol": arguments.rtol}
    with Reporter(arguments.progress) as reporter:
        ensemble = simulate(
            problem,
            times,
            dimension=arguments.dimension,
            seeds=arguments.seeds,
            rng=arguments.seed,
            design=arguments.design,
            workers=arguments.workers,
            progress=reporter.seeds,
            **options,
        )
    _show(ensemble, out, f"{ensemble.seeds} seeds at d = {ensemble.dimension}")
    return DONE


def _steady_state(problem: Any, arguments: Namespace) -> int:
    from dmft.quadratic.steady_state import steady_state

    state = steady_state(problem)
    names = ("mse", "train_error", "overlap", "trace", "rank")
    print(format_table([("branch", [state.branch]), *((n, [getattr(state, n)]) for n in names)]))
    return DONE


def _show(result: Trajectory, out: Any, message: str) -> None:
    if out is not None:
        result.save(out)
        print(f"wrote {out}: {result.t.size} times. {message}")
        return
    columns: list[tuple[str, Any]] = [("t", result.t)]
    for name in COLUMNS:
        columns.append((name, result.values[name]))
        columns.append(("+-", [f"{error:.1e}" for error in result.error[name]]))
    print(format_table(columns))


_ACTIONS = {"solve": _solve, "simulate": _simulate, "steady-state": _steady_state}
