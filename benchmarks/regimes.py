"""The solver's targets: time and memory in six regimes, equal-error factors, and start-up.

    python benchmarks/regimes.py [--full] [--profile] [--out DIR]

writes regimes.md and regimes.png; a column says of every target whether it was met. All times are
measured in this one run.

- Regimes: the median time of five solves after compilation against that of up to five direct runs,
  by turns, to the same t_max: scipy's RK45 or LSODA, whichever is faster, at rtol = 1e-6 and
  atol = 1e-9 on the gradient flow of (u, v) at d = 500, for data drawn beforehand. Memory is the
  peak of a process that does nothing but the solve.
- Equal error: how much faster than direct simulation (whose error is extrapolated by 1/sqrt(seeds),
  its finite dimension let off) and than the textbook solver (whose error has a part that falls like
  1/sqrt(paths) and one like 1/steps, each measured) the first regime is solved.
- Start-up: processes of their own, the first with an empty cache of compiled code.

--full takes more seeds and repeats; --profile adds where the time of each regime's solve goes.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from profiling import GROUPS, Profile, profiled
from reporting import in_child, median_time, parser, save, subplots, table, timed, versions, write
from scipy.integrate import solve_ivp
from textbook import solve_textbook

from dmft.problem import Problem
from dmft.simulation.data import Data, draw_data
from dmft.simulation.simulate import simulate
from dmft.solution import Solution
from dmft.solver.solve import solve

DELTA, DIMENSION = 0.5, 500
DIRECT_RTOL, DIRECT_ATOL = 1e-6, 1e-9
REPEATS = 5
OBSERVABLES = ("test_error", "train_error")

MEMORY_LIMIT = 500.0  # MB
SHARP_RTOL, SHARP_LIMIT = 1e-6, 0.5  # seconds
SIMULATION_ERROR, SIMULATION_FACTOR = 1e-4, 1e5
TEXTBOOK_ERROR, TEXTBOOK_FACTOR = 1e-3, 1e3
START_LIMITS = {"first solve, with compilation": 20.0, "second process": 1.5, "import dmft": 0.7}


class Regime(NamedTuple):
    """A problem, its accuracy, and the largest ratio of times asked and hoped for."""

    alpha: float
    lam: float
    sigma2: float
    t_max: float
    rtol: float
    limit: float
    stretch: float | None = None

    @property
    def problem(self) -> Problem:
        return Problem(DELTA, self.alpha, self.lam, self.sigma2)

    @property
    def name(self) -> str:
        return f"alpha {self.alpha:g}, lam {self.lam:g}, sigma2 {self.sigma2:g}, t {self.t_max:g}"


REGIMES = (
    Regime(1.0, 0.1, 0.1, 10.0, 1e-4, 3.0, 1.0),
    Regime(3.0, 0.1, 0.1, 60.0, 1e-4, 0.1),
    Regime(5.0, 0.01, 0.1, 800.0, 1e-3, 0.1),
    Regime(0.01, 0.0, 0.0, 30.0, 1e-3, 10.0, 3.0),
    Regime(1e-4, 0.0, 0.0, 50.0, 1e-3, 20.0, 5.0),
    Regime(1.0, 0.1, 0.1, 400.0, 1e-3, 10.0),
)
FIRST = REGIMES[0]


class Plan(NamedTuple):
    """What is measured; a direct run is repeated within a budget of seconds."""

    direct_budget: float
    seeds: int
    textbook_paths: int
    textbook_repeats: int


QUICK = Plan(2.0, 32, 500, 8)
FULL = Plan(60.0, 256, 2000, 16)
TEXTBOOK_STEPS = (40, 80)


class Result(NamedTuple):
    """The measurements of one regime."""

    regime: Regime
    seconds: float
    direct: dict[str, float]
    memory: float
    solution: Solution

    @property
    def ratio(self) -> float:
        return self.seconds / min(self.direct.values())


# --- regimes ----------------------------------------------------------------------------------


def direct_run(problem: Problem, data: Data, t_max: float, method: str) -> np.ndarray:
    """Integrate the gradient flow of u and v to t_max; return w there."""
    X, _, y = data
    scale = X.shape[1] / X.shape[0]

    def velocity(_: float, layers: np.ndarray) -> np.ndarray:
        u, v = layers.reshape(2, -1)
        h = scale * (X.T @ (X @ (0.5 * (u * u - v * v)) - y))
        return np.concatenate([-0.5 * (h + problem.lam) * u, 0.5 * (h - problem.lam) * v])

    start = np.full(2 * X.shape[1], problem.alpha)
    run = solve_ivp(
        velocity,
        (0.0, t_max),
        start,
        method=method,
        t_eval=(t_max,),
        rtol=DIRECT_RTOL,
        atol=DIRECT_ATOL,
    )
    if not run.success:
        raise RuntimeError(f"{method} failed: {run.message}")
    u, v = run.y[:, -1].reshape(2, -1)
    return 0.5 * (u * u - v * v)


def solve_regime(number: int) -> bool:
    """Solve one regime; for the measurement of memory."""
    regime = REGIMES[number]
    return solve(regime.problem, regime.t_max, rtol=regime.rtol).success


def measure(number: int, budget: float) -> Result:
    """Measure one regime: solves and direct runs by turns, as machines change their pace.

    A direct method runs once at least, and again while its runs took less than the budget.
    """
    regime = REGIMES[number]
    problem, t_max = regime.problem, regime.t_max
    data = draw_data(problem, DIMENSION, rng=0)
    solves: list[float] = []
    direct: dict[str, list[float]] = {"RK45": [], "LSODA": []}
    for _ in range(REPEATS):
        seconds, solution = timed(lambda: solve(problem, t_max, rtol=regime.rtol))
        solves.append(seconds)
        for method, times in direct.items():
            if sum(times) < budget:
                run = partial(direct_run, problem, data, t_max, method)
                times.append(timed(run)[0])
    medians = {method: statistics.median(times) for method, times in direct.items()}
    _, memory = in_child("regimes", "solve_regime", number)
    return Result(regime, statistics.median(solves), medians, memory, solution)


def regime_cells(result: Result) -> list[Any]:
    """Return a row of the first table."""
    regime = result.regime
    met = result.ratio <= regime.limit and result.solution.success
    stretch = regime.stretch
    return [
        regime.name,
        f"{regime.rtol:.0e}",
        f"{result.seconds:.3g}",
        *(f"{seconds:.3g}" for seconds in result.direct.values()),
        f"{result.ratio:.3g}",
        f"{regime.limit:g}",
        verdict(met) if result.solution.success else f"not met: {result.solution.message}",
        "" if stretch is None else f"{stretch:g}: {verdict(met and result.ratio <= stretch)}",
        f"{result.memory:.0f}",
        verdict(result.memory <= MEMORY_LIMIT),
    ]


REGIME_HEAD = (
    "regime", "rtol", "solve / s", "RK45 / s", "LSODA / s", "ratio", "asked: at most", "met",
    "stretch", "peak memory / MB", f"below {MEMORY_LIMIT:g} MB",
)  # fmt: skip


def verdict(met: bool) -> str:
    return "met" if met else "not met"


# --- equal error ------------------------------------------------------------------------------


def accuracy_rows(plan: Plan, direct: float) -> Iterator[list[Any]]:
    """Yield the rows of the second table, on the first regime."""
    problem, t_max = FIRST.problem, FIRST.t_max
    times = np.linspace(0.0, t_max, 11)
    exact = solve(problem, t_max, times, rtol=1e-8)

    def by_solver(rtol: float) -> tuple[float, float]:
        seconds, solution = median_time(lambda: solve(problem, t_max, times, rtol), REPEATS)
        errors = [np.abs(solution.values[n] / exact.values[n] - 1)[1:] for n in OBSERVABLES]
        return seconds, float(np.max(errors))

    seconds, error = by_solver(SHARP_RTOL)
    met = seconds <= SHARP_LIMIT and error <= SHARP_RTOL
    yield [
        f"solve at rtol {SHARP_RTOL:.0e}", f"{seconds:.3g} s, error {error:.1e}",
        f"{SHARP_LIMIT:g} s", verdict(met),
    ]  # fmt: skip

    ensemble = simulate(problem, times, DIMENSION, plan.seeds, workers=1, rtol=1e-4)
    one = min(direct, float(np.median(ensemble.stats["wall_time"])))
    spread = max(
        float(np.max((ensemble.runs[n].std(axis=0, ddof=1) / exact.values[n])[1:]))
        for n in OBSERVABLES
    )
    seeds = (spread / SIMULATION_ERROR) ** 2
    yield factor_cells(
        f"direct simulation, {seeds:.2g} seeds of {one:.2g} s",
        seeds * one, *by_solver(SIMULATION_ERROR), SIMULATION_ERROR, SIMULATION_FACTOR,
    )  # fmt: skip

    total, setting = textbook_time(plan, exact)
    yield factor_cells(
        f"textbook solver, {setting}",
        total, *by_solver(TEXTBOOK_ERROR), TEXTBOOK_ERROR, TEXTBOOK_FACTOR,
    )  # fmt: skip


def factor_cells(
    method: str, other: float, seconds: float, found: float, error: float, asked: float
) -> list[Any]:
    """Return a row that compares the times for one error."""
    factor = other / seconds
    met = factor >= asked and found <= error
    return [
        f"at error {error:.0e} against {method}",
        f"{factor:.2g} times faster: {seconds:.3g} s, error {found:.1e}",
        f"{asked:g} times",
        verdict(met),
    ]


def textbook_time(plan: Plan, exact: Solution) -> tuple[float, str]:
    """Extrapolate the time of the textbook solver to the error asked, and say with what.

    Half of the squared error goes to each part. Time is proportional to the paths and to a
    measured power of the steps. A bias that is hidden by its own standard error counts as nothing.
    """
    problem, t_max, paths = FIRST.problem, FIRST.t_max, plan.textbook_paths
    bias = spread = 0.0
    seconds = []
    for steps in TEXTBOOK_STEPS:
        every = steps // (exact.t.size - 1)
        streams = np.random.default_rng(steps).spawn(plan.textbook_repeats)
        runs = [
            timed(
                lambda rng=rng, steps=steps: solve_textbook(
                    problem, t_max, steps, paths, rng, damping=0.0, tol=1e-3
                )
            )
            for rng in streams
        ]
        seconds.append(statistics.median(s for s, _ in runs))
        for name in OBSERVABLES:
            errors = np.stack([getattr(r, name)[::every] for _, r in runs]) / exact.values[name] - 1
            deviation = errors.std(axis=0, ddof=1)[1:]
            hidden = deviation / math.sqrt(len(runs))
            visible = np.maximum(np.abs(errors.mean(axis=0)[1:]) - 2 * hidden, 0.0)
            bias = max(bias, steps * float(np.max(visible)))  # times 1/steps
            spread = max(spread, math.sqrt(paths) * float(np.max(deviation)))  # times 1/sqrt(paths)
    part = TEXTBOOK_ERROR / math.sqrt(2)
    power = math.log(seconds[1] / seconds[0]) / math.log(TEXTBOOK_STEPS[1] / TEXTBOOK_STEPS[0])
    steps_needed = max(TEXTBOOK_STEPS[0], bias / part)
    paths_needed = (spread / part) ** 2
    at_coarse_steps = seconds[0] * paths_needed / paths
    total = at_coarse_steps * (steps_needed / TEXTBOOK_STEPS[0]) ** power
    return total, (
        f"{steps_needed:.2g} steps, {paths_needed:.2g} paths, {total:.1e} s (extrapolated; the "
        f"paths alone, at {TEXTBOOK_STEPS[0]} steps, {at_coarse_steps:.1e} s)"
    )


# --- start-up ---------------------------------------------------------------------------------


def start_rows(repeats: int) -> Iterator[list[Any]]:
    """Yield the rows of the third table."""
    first = (
        f"import dmft; dmft.solve(dmft.Problem({DELTA}, {FIRST.alpha}, {FIRST.lam}, "
        f"{FIRST.sigma2}), {FIRST.t_max}, rtol={FIRST.rtol})"
    )
    with tempfile.TemporaryDirectory() as cache:
        # the first process leaves its bytecode to the second, as Python does by default
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def process(code: str) -> float:
            command = [sys.executable, "-c", code]
            return timed(lambda: subprocess.run(command, env=environment, check=True))[0]

        found = (
            process(first),
            statistics.median(process(first) for _ in range(repeats)),
            statistics.median(process("import dmft") for _ in range(repeats)),
        )
    for (name, limit), seconds in zip(START_LIMITS.items(), found, strict=True):
        yield [name, f"{seconds:.2f}", f"{limit:g}", verdict(seconds < limit)]


# --- profile ----------------------------------------------------------------------------------


def profile(number: int) -> Profile:
    """Profile one solve of a regime."""
    regime = REGIMES[number]
    run = partial(solve, regime.problem, regime.t_max, rtol=regime.rtol)
    run()  # loads the compiled code
    return profiled(run)


def profile_lines(results: list[Result]) -> Iterator[str]:
    """Yield the Markdown of all profiles."""
    profiles = [
        Profile(*in_child("regimes", "profile", number, NUMBA_NUM_THREADS="1")[0])
        for number in range(len(REGIMES))
    ]
    head = (
        "regime", "all / s", *(f"{name} / %" for name in GROUPS),
        "averages over all paths", "each / ms", "as many fit into what is asked",
    )  # fmt: skip
    cells = []
    for result, found in zip(results, profiles, strict=True):
        total = sum(found.groups.values())
        shares = (f"{100 * own / total:.0f}" for own in found.groups.values())
        asked = result.regime.limit * min(result.direct.values())
        cells.append(
            (
                result.regime.name,
                f"{total:.3g}",
                *shares,
                found.evaluations,
                f"{1e3 * found.each:.2g}",
                f"{asked / found.each:.2g}",
            )
        )
    yield from ("", "## Where the time goes, in one thread", "", table(head, cells))
    for regime, found in zip(REGIMES, profiles, strict=True):
        yield from ("", f"{regime.name}:", "")
        rows = [(function, f"{own:.3f}") for function, own in found.functions]
        yield table(("function", "own time / s"), rows)


# --- report -----------------------------------------------------------------------------------


def main() -> None:
    options = parser("Time, memory and start-up against their targets.", "more seeds and repeats")
    options.add_argument("--profile", action="store_true", help="add where the time goes")
    arguments = options.parse_args()
    plan = FULL if arguments.full else QUICK
    solve(Problem(DELTA), 1.0, rtol=0.1)  # compiles

    results = []
    for number, regime in enumerate(REGIMES):
        print(f"{regime.name} ...", file=sys.stderr, flush=True)
        results.append(measure(number, plan.direct_budget))
    print("equal error ...", file=sys.stderr, flush=True)
    accuracy = list(accuracy_rows(plan, min(results[0].direct.values())))
    text = [
        "# Targets",
        "",
        f"delta = {DELTA:g}, w* = 1 with probability 0.1. Median of {REPEATS} solves after "
        f"compilation; direct runs at d = {DIMENSION} by scipy's RK45 and LSODA, rtol = "
        f"{DIRECT_RTOL:.0e}, atol = {DIRECT_ATOL:.0e}; the ratio is to the faster.",
        "",
        table(REGIME_HEAD, [regime_cells(result) for result in results]),
        "",
        f"First regime, largest relative error over t = 1, ..., {FIRST.t_max:g}:",
        "",
        table(("what", "measured", "asked", "met"), accuracy),
        "",
        "Whole processes:",
        "",
        table(("start-up", "time / s", "asked: below / s", "met"), start_rows(3)),
        *(profile_lines(results) if arguments.profile else ()),
        "",
        versions(),
    ]
    write(arguments.out, "regimes", "\n".join(text))
    draw(results, arguments.out)


def draw(results: list[Result], directory: Any) -> None:
    """Write the ratios beside their limits."""
    figure, ax = subplots(1)
    y = np.arange(len(results))[::-1]
    ax.barh(y, [result.ratio for result in results], height=0.5)
    limits = [result.regime.limit for result in results]
    ax.plot(limits, y, "k|", ms=18, mew=2, label="asked")
    ax.set_xscale("log")
    ax.set_yticks(y, [r.regime.name.replace(", sigma2", "\nsigma2") for r in results], fontsize=7)
    ax.set_xlabel("time of a solve / time of one direct run")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0))
    save(figure, directory, "regimes")


if __name__ == "__main__":
    main()
