"""How much memory do solves take that are bounded by `max_memory`, and how long do they run?

    python benchmarks/memory.py [--full] [--out DIR]

writes memory.md: the peak memory of processes of their own, each of which does nothing but one
solve of a problem whose noise rule grows until memory, time or accuracy ends it. Without --full
only the smallest and the default bound are tried.
"""

from __future__ import annotations

from typing import Any

from reporting import in_child, parser, table, write

import dmft

MB = 1e6
MAX_TIME = 40.0  # seconds, so that the whole table takes some minutes
PROBLEMS: dict[str, dict[str, Any]] = {
    "delta 1, alpha .07": {"delta": 1.0, "alpha": 0.07, "lam": 0.003, "sigma2": 0.2, "t": 1559.0},
    "alpha 1e-3": {"delta": 0.5, "alpha": 1e-3, "lam": 0.1, "sigma2": 0.5, "t": 1e3},
    "alpha 1e-6": {"delta": 0.5, "alpha": 1e-6, "lam": 0.1, "sigma2": 0.1, "t": 50.0},
    "lam 0": {"delta": 1.0, "alpha": 0.5, "lam": 0.0, "sigma2": 0.3, "t": 100.0},
    "t 1e4": {"delta": 0.5, "alpha": 1.0, "lam": 0.1, "sigma2": 0.1, "t": 1e4},
}
BOUNDS = (3e8, 1e9)
FULL_BOUNDS = (3e8, 5e8, 1e9, 2e9)


def solve(name: str, max_memory: float, rtol: float) -> list[Any]:
    """Solve one problem; return status, paths, nodes, estimate over tolerance and seconds."""
    settings = dict(PROBLEMS[name])
    t_max = settings.pop("t")
    limits = {"max_memory": max_memory, "max_time": MAX_TIME}
    solution = dmft.solve(dmft.Problem(**settings), t_max, rtol=rtol, **limits)
    stats = solution.stats
    values = [stats["paths"], stats["nodes"], stats["error_over_tolerance"], stats["wall_time"]]
    return [solution.status, *(float(value) for value in values)]


def main() -> None:
    options = parser("Peak memory of solves that max_memory bounds.", "more bounds").parse_args()
    rows = []
    for name in PROBLEMS:
        for bound in FULL_BOUNDS if options.full else BOUNDS:
            (status, paths, nodes, worst, seconds), peak = in_child(
                "memory", "solve", name, bound, 1e-7
            )
            row = [name, f"{bound / MB:.0f}", f"{peak:.0f}", f"{peak * MB / bound:.2f}"]
            rows.append([*row, status, f"{paths:.0f}", f"{nodes:.0f}", f"{worst:.2g}"])
            rows[-1].append(f"{seconds:.1f}")
            print(*rows[-1], flush=True)
    head = ["problem", "max_memory / MB", "peak / MB", "peak / max_memory", "status", "paths"]
    text = table([*head, "nodes", "error / tolerance", "wall / s"], rows)
    write(options.out, "memory", "# Peak memory under max_memory\n\n" + text)


if __name__ == "__main__":
    main()
