"""The commands that need no solve: predict, saddles."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dmft.cli.common import DONE, outcome, settings_of, target
from dmft.cli.options import build_problem
from dmft.cli.terminal import format_table, format_tree

if TYPE_CHECKING:
    from dmft.problem import Problem


def run_predict(arguments: Namespace) -> int:
    """Print what is known of a problem in closed form or from scalar equations."""
    from dmft.limits.rates import convergence_rate
    from dmft.limits.steady_states import recovery_threshold
    from dmft.limits.transitions import timescales
    from dmft.validation import require_integer

    problem = build_problem(settings_of(arguments))
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
    from dmft.simulation.read_data import read_data

    out = target(arguments.out)
    data = read_data(arguments.data)
    if len(data) < 2:
        raise ValueError(f"data must hold X and y; {arguments.data!r} holds X alone")
    X, y = data[:2]
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
        from dmft.storage import write_arrays

        write_arrays(out, times=path.times, saddles=path.saddles, losses=path.losses)
        print(f"wrote {out}")
    return outcome(path.success, path.message)
