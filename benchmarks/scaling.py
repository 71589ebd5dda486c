"""How time and memory of `dmft.solve` grow with the horizon, the nodes, the paths and the threads.

    python benchmarks/scaling.py [--full] [--out DIR]

writes scaling.md and scaling.png. Each row is measured in a process of its own, whose peak memory
is that of the interpreter, the compiled code and the solve; its time is the median of some solves
after a first one. With the horizon, the solver chooses grid and rule for a given rtol. For the
other tables grid and Sobol rule are given, and one of nodes, paths and threads changes. Below
a table stands the exponent of a power law through its last three rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from reporting import in_child, median_time, parser, save, subplots, table, versions, write

from dmft.equations.noise_rules import SobolRule
from dmft.problem import Problem
from dmft.solver.solve import solve
from dmft.solvers.collocation import Grid

PROBLEM = {"delta": 0.5, "alpha": 1.0, "lam": 0.1, "sigma2": 0.1}
T_MAX = 10.0
STAGES = 6
RTOL = 1e-3
FITTED = 3  # last rows of a table


class Plan(NamedTuple):
    """What is measured."""

    repeats: int
    horizons: tuple[float, ...]
    panels: tuple[int, ...]
    paths: tuple[int, ...]
    threads: tuple[int, ...] = (1, 2)


QUICK = Plan(1, (1, 4, 16, 64), (4, 8, 16), (1024, 2048, 4096))
FULL = Plan(5, (1, 4, 16, 64, 128, 256, 400), (4, 8, 16, 32), (1024, 2048, 4096, 8192, 16384))
GIVEN_PANELS = 8
GIVEN_PATHS = 2048
THREADED_PATHS = 8192


class Row(NamedTuple):
    """One measured solve."""

    value: float
    seconds: float
    memory: float
    nodes: int
    paths: int
    sweeps: int


def automatic(t_max: float, repeats: int) -> list[float]:
    """Solve with the solver's own grid and rule."""
    return _measured({"t_max": t_max, "rtol": RTOL}, repeats)


def given(panels: int, paths: int, repeats: int) -> list[float]:
    """Solve with a given grid and Sobol rule."""
    edges = np.concatenate([[0.0], np.geomspace(0.1, T_MAX, panels)])
    grid, rule = Grid(edges, STAGES), SobolRule(paths)
    return _measured({"t_max": T_MAX, "rtol": RTOL, "grid": grid, "rule": rule}, repeats)


def _measured(options: dict, repeats: int) -> list[float]:
    problem = Problem(**PROBLEM)
    solve(problem, **options)  # compiles
    seconds, solution = median_time(lambda: solve(problem, **options), repeats)
    stats = solution.stats
    return [seconds, stats["nodes"], stats["paths"], stats["sweeps"]]


def rows(
    function: Callable, values: Iterable[float], arguments: Callable[[float], tuple]
) -> list[Row]:
    """Measure a function of this module for every value, each in its own process."""
    found = []
    for value in values:
        result, memory = in_child("scaling", function.__name__, *arguments(value))
        seconds, nodes, paths, sweeps = result
        found.append(Row(value, seconds, memory, int(nodes), int(paths), int(sweeps)))
    return found


def exponent(found: list[Row]) -> float:
    """Return the power of time through the last rows."""
    last = found[-FITTED:]
    x, y = ([getattr(row, name) for row in last] for name in ("value", "seconds"))
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def section(title: str, column: str, found: list[Row]) -> list[str]:
    """Return the lines of one table."""
    cells = [
        (f"{r.value:g}", f"{r.seconds:.3g}", f"{r.memory:.0f}", r.nodes, r.paths, r.sweeps)
        for r in found
    ]
    head = (column, "time / s", "peak memory / MB", "nodes", "paths", "sweeps")
    return [f"## {title}", "", table(head, cells), ""]


def power_law(found: list[Row]) -> str:
    """Say how the time grows."""
    return f"The time grows with the power {exponent(found):.2f} of the first column."


def main() -> None:
    options = parser("Time and memory of the solver.", "longer horizons, more nodes and paths")
    arguments = options.parse_args()
    plan = FULL if arguments.full else QUICK
    n = plan.repeats
    solve(Problem(**PROBLEM), 1.0, rtol=0.1)  # compiles, for all processes

    horizon = rows(automatic, plan.horizons, lambda t: (t, n))
    nodes = rows(given, plan.panels, lambda panels: (panels, GIVEN_PATHS, n))
    paths = rows(given, plan.paths, lambda count: (GIVEN_PANELS, count, n))
    threads = []
    for count in plan.threads:
        (seconds, *sizes), memory = in_child(
            "scaling", "given", GIVEN_PANELS, THREADED_PATHS, n, NUMBA_NUM_THREADS=str(count)
        )
        threads.append(Row(count, seconds, memory, *map(int, sizes)))

    nodes = [row._replace(value=row.nodes) for row in nodes]
    speedup = threads[0].seconds / threads[-1].seconds
    text = [
        "# Time and memory of the solver",
        "",
        ", ".join(f"{name} = {value:g}" for name, value in PROBLEM.items())
        + f", w* = 1 with probability 0.1; rtol = {RTOL:g}; median of {n}.",
        "",
        *section("Horizon, automatic grid and rule", "t_max", horizon),
        power_law(horizon),
        "",
        *section(f"Nodes, Sobol rule of {GIVEN_PATHS} points", "grid", nodes),
        power_law(nodes),
        "",
        *section(f"Points of the Sobol rule, {GIVEN_PANELS} panels", "points", paths),
        power_law(paths),
        "",
        *section(f"Threads, {THREADED_PATHS} points", "threads", threads),
        f"{threads[-1].value:g} threads: {speedup:.2f} times as fast as one.",
        "",
        versions(),
    ]
    write(arguments.out, "scaling", "\n".join(text))
    draw(
        {"horizon": horizon, "nodes": nodes, "points of the Sobol rule": paths},
        arguments.out,
    )


def draw(panels: dict[str, list[Row]], directory) -> None:
    """Write time and memory of each table."""
    figure, axes = subplots(len(panels))
    for ax, (name, found) in zip(axes, panels.items(), strict=True):
        x = [row.value for row in found]
        ax.loglog(x, [row.seconds for row in found], "o-", color="C0")
        ax.set(xlabel=name)
        ax.set_ylabel("time / s", color="C0")
        right = ax.twinx()
        right.plot(x, [row.memory for row in found], "s--", color="C1")
        right.set_ylim(0, 1.2 * max(row.memory for row in found))
        right.set_ylabel("peak memory / MB", color="C1")
    save(figure, directory, "scaling")


if __name__ == "__main__":
    main()
