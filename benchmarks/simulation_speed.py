"""Direct simulation against scipy's integrators, at one tolerance, in the six regimes.

    python benchmarks/simulation_speed.py [--full] [--out DIR]

writes simulation_speed.md. One draw at d = 500 is integrated to t_max by `dmft.simulate`'s own
integrator and by RK45 and LSODA on (u, v), all at rtol = 1e-6 (atol = 1e-9 for scipy's), by turns;
times are medians. Errors are the largest of test and train error, relative to those at rtol 1e-10.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
from regimes import DIMENSION, REGIMES, direct_run
from reporting import parser, table, timed, versions, write

from dmft.parallel import single_blas_thread
from dmft.problem import Problem
from dmft.simulation.data import Data, draw_data
from dmft.simulation.simulate import integrated

RTOL, REFERENCE = 1e-6, 1e-10
LONGEST = 1.0  # seconds after which a method is not repeated


def own_run(problem: Problem, data: Data, t_max: float, rtol: float = RTOL) -> np.ndarray:
    """Return w at t_max."""
    with np.errstate(all="ignore"):
        return integrated(problem, data, np.array([t_max]), rtol)[0][0]


def errors(w: np.ndarray, data: Data) -> np.ndarray:
    return np.array([np.sum((w - data.w_star) ** 2), np.sum((data.y - data.X @ w) ** 2)])


def measure(number: int, repeats: int) -> list[str]:
    """Return the row of one regime."""
    regime = REGIMES[number]
    problem, t_max = regime.problem, regime.t_max
    data = draw_data(problem, DIMENSION, rng=0)
    methods: dict[str, Callable[[], np.ndarray]] = {
        "simulate": partial(own_run, problem, data, t_max),
        **{name: partial(direct_run, problem, data, t_max, name) for name in ("RK45", "LSODA")},
    }
    times: dict[str, list[float]] = {name: [] for name in methods}
    exact, off = errors(own_run(problem, data, t_max, REFERENCE), data), {}
    for _ in range(repeats):
        for name, run in methods.items():
            if sum(times[name]) < LONGEST:
                seconds, w = timed(run)
                times[name].append(seconds)
                off[name] = float(np.max(np.abs(errors(w, data) / exact - 1)))
    median = {name: statistics.median(values) for name, values in times.items()}
    ratio = median["simulate"] / min(median["RK45"], median["LSODA"])
    cells = [f"{1e3 * median[name]:.3g} ({off[name]:.0e})" for name in methods]
    return [regime.name, *cells, f"{ratio:.2f}"]


def main() -> None:
    arguments = parser(
        "Direct simulation against scipy's integrators.", "more repeats"
    ).parse_args()
    with single_blas_thread():
        rows = [measure(number, 40 if arguments.full else 10) for number in range(len(REGIMES))]
    head = (
        "regime", "simulate / ms (error)", "RK45 / ms (error)", "LSODA / ms (error)",
        "ratio to the faster",
    )  # fmt: skip
    text = ["# Direct simulation against scipy", "", table(head, rows), "", versions()]
    write(arguments.out, "simulation_speed", "\n".join(text))


if __name__ == "__main__":
    main()
