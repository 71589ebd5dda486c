"""How often a comparison rejects the right theory, and a wrong one, over many ensembles.

    python benchmarks/comparison.py [--full] [--out DIR]

writes comparison.md. For each problem one large pool of seeds is simulated; ensembles are groups of
seeds drawn from it without replacement, so that their fluctuations are those of simulations. A
theory is made wrong by a factor of 1.1 in one observable at all times after the start.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from reporting import parser, table, versions, write

import dmft

FACTOR = 1.1
SIZES = (2, 4, 8, 16, 64)
PROBLEMS = {
    "lazy, decay": (dmft.Problem(0.5, 1.0, 0.1, 0.1), 10.0, 500),
    "rich, no noise": (dmft.Problem(0.5, 0.1, 0.0, 0.0), 20.0, 200),
    "more samples": (dmft.Problem(2.0, 0.5, 0.05, 0.3, dmft.Gaussian()), 10.0, 128),
    "linear": (dmft.Problem(0.6, 1.0, 0.0, 0.2, network="linear"), 10.0, 250),
}


def wrong(solution: dmft.Solution, name: str) -> dmft.Solution:
    """Return the solution with one observable off at all times after the start."""
    factor = np.where(solution.t > 0, FACTOR, 1.0)
    return replace(solution, values={**solution.values, name: factor * solution.values[name]})


def rows(name: str, groups: int, pool: int) -> Iterator[list[str]]:
    """Yield the rows of one problem, one for each number of seeds."""
    problem, t_max, dimension = PROBLEMS[name]
    t = np.linspace(0.0, t_max, 11)
    solution = dmft.solve(problem, t_max, t, rtol=1e-4)
    ensemble = dmft.simulate(problem, t, dimension, pool, rng=7, rtol=1e-4)
    theories = {"right": solution}
    theories |= {key: wrong(solution, key) for key in ("test_error", "train_error")}
    rng = np.random.default_rng(1)
    for seeds in SIZES:
        rejected, seen = Counter[str](), []
        for _ in range(groups):
            chosen = rng.choice(pool, seeds, replace=False)
            runs = {key: values[chosen] for key, values in ensemble.runs.items()}
            stats = {key: values[chosen] for key, values in ensemble.stats.items()}
            group = replace(ensemble, runs=runs, stats=stats)
            for key, theory in theories.items():
                rejected[key] += not dmft.compare(theory, group).passed
            seen.append(list(dmft.compare(solution, group).detectable.values()))
        shares = [f"{100 * rejected[key] / groups:.1f}" for key in theories]
        visible = [f"{100 * value:.0f}" for value in np.median(seen, axis=0)]
        yield [name, str(dimension), str(seeds), *shares, *visible]


def main() -> None:
    arguments = parser("False rejections and power of comparisons.", "more groups").parse_args()
    groups, pool = (1000, 512) if arguments.full else (100, 128)
    cells = []
    for name in PROBLEMS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        cells += rows(name, groups, pool)
    head = (
        "problem", "d", "seeds", "right theory rejected / %", "test error x 1.1 rejected / %",
        "train error x 1.1 rejected / %", "seen in 95 %: test error / %", "train error / %",
    )  # fmt: skip
    text = ["# Comparisons", "", f"{groups} groups out of {pool} seeds.", "", table(head, cells)]
    write(arguments.out, "comparison", "\n".join([*text, "", versions()]))


if __name__ == "__main__":
    main()
