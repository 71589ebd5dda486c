"""Error against time of the solver, its alternatives and direct simulation, on one problem.

    python benchmarks/work_precision.py [--full] [--out DIR]

writes work_precision.md and work_precision.png. The error of a method is the largest relative
error of test_error, and of train_error, over t = 1, 2, ..., 10 against `dmft.solve` at
rtol = 1e-7. Times and errors are medians over repeats measured in this one run, after every
method has been compiled by a small call. Random methods draw anew in each repeat.

Direct simulation is an average over seeds: the error of one seed is the standard deviation over
the measured seeds, that of K seeds is taken as 1/sqrt(K) of it at K times the time of a seed. What
no number of seeds removes is the bias of a finite dimension, which is estimated apart, with the
errors at t = 0, whose means are known, as control variates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from reporting import parser, save, subplots, table, timed, versions, write
from textbook import solve_textbook

from dmft.equations.noise_rules import MonteCarloRule, NoiseRule, SobolRule, SparseRule
from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.simulate import simulate
from dmft.solution import Solution
from dmft.solver.solve import solve

PROBLEM = Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
T_MAX = 10.0
TIMES = np.linspace(0.0, T_MAX, 11)
OBSERVABLES = ("test_error", "train_error")
RULE_RTOL = 1e-3  # the grid of `solve` under a given noise rule: its error is far below the noise's
SPARSE_RTOL = 1e-5  # the same for sparse grids
SPACING = 0.5  # of their leading nodes: the integrand is smooth here
SIMULATION_RTOL = 1e-4  # far below the fluctuations from seed to seed


class Plan(NamedTuple):
    """What is measured."""

    repeats: int
    rtols: tuple[float, ...]
    sparse: tuple[float, ...]
    sobol: tuple[int, ...]
    monte_carlo: tuple[int, ...]
    textbook: tuple[tuple[int, int], ...]
    simulated_seeds: dict[int, int]


QUICK = Plan(
    repeats=3,
    rtols=(1e-2, 1e-3, 1e-4, 1e-5),
    sparse=(1e-2, 1e-3),
    sobol=(256, 1024),
    monte_carlo=(256, 1024),
    textbook=((40, 250), (40, 1000), (80, 1000)),
    simulated_seeds={500: 16, 2000: 6},
)
FULL = Plan(
    repeats=5,
    rtols=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
    sparse=(1e-1, 1e-2, 1e-3, 1e-4),
    sobol=(256, 1024, 4096, 16384),
    monte_carlo=(256, 1024, 4096, 16384),
    textbook=((40, 250), (40, 1000), (40, 4000), (80, 1000), (80, 4000), (160, 4000)),
    simulated_seeds={500: 256, 2000: 32},
)
EXTRAPOLATED_SEEDS = (1, 16, 256, 4096)


class Row(NamedTuple):
    """One measured or extrapolated point: seconds and relative errors, in test and train."""

    method: str
    setting: str
    seconds: float
    errors: tuple[float, float]


def main() -> None:
    arguments = parser("Error against time on the default problem.", "all settings").parse_args()
    plan = FULL if arguments.full else QUICK
    compile_everything()
    reference = solve(PROBLEM, T_MAX, TIMES, rtol=1e-7)
    if not reference.success:
        raise SystemExit(f"no reference: {reference.message}")
    ensembles = [
        simulate(PROBLEM, TIMES, d, seeds, workers=1, rtol=SIMULATION_RTOL)
        for d, seeds in plan.simulated_seeds.items()
    ]
    rows = [
        *solver_rows(plan, reference),
        *textbook_rows(plan, reference),
        *(row for ensemble in ensembles for row in simulation_rows(ensemble, reference)),
    ]
    text = report(plan, reference, rows, ensembles)
    write(arguments.out, "work_precision", text)
    draw(rows, arguments.out)


def compile_everything() -> None:
    """Run every method once on something small, so that no time includes compilation."""
    for rule in (None, SparseRule(0.5, 0.1), SobolRule(paths=16), MonteCarloRule(paths=16)):
        solve(PROBLEM, 1.0, rtol=0.1, rule=rule)
    solve_textbook(PROBLEM, 1.0, 4, 10, np.random.default_rng(0), tol=0.1)
    simulate(PROBLEM, [0.0, 1.0], dimension=20, seeds=1, workers=1)


def measured(
    method: str,
    setting: str,
    run: Callable[[int], dict[str, np.ndarray]],
    reference: Solution,
    repeats: int,
) -> Row:
    """Return the medians over repeats of time and errors of run(repeat)."""
    seconds, errors = [], []
    for repeat in range(repeats):
        elapsed, values = timed(lambda k=repeat: run(k))
        seconds.append(elapsed)
        errors.append([relative(values[n], reference.values[n]) for n in OBSERVABLES])
    test, train = np.median(errors, axis=0)
    return Row(method, setting, float(np.median(seconds)), (float(test), float(train)))


def relative(values: np.ndarray, exact: np.ndarray) -> float:
    return float(np.max(np.abs(values[1:] / exact[1:] - 1)))


def solver_rows(plan: Plan, reference: Solution) -> Iterator[Row]:
    """Measure `dmft.solve` under its own rule and under given ones."""

    def automatic(rtol: float) -> Callable[[int], dict[str, np.ndarray]]:
        return lambda repeat: solve(PROBLEM, T_MAX, TIMES, rtol).values

    def given(rule: Callable[[int], NoiseRule], rtol: float) -> Callable:
        return lambda repeat: solve(PROBLEM, T_MAX, TIMES, rtol, rule=rule(repeat)).values

    for rtol in plan.rtols:
        setting = f"rtol = {rtol:.0e}"
        yield measured("solve", setting, automatic(rtol), reference, plan.repeats)
    for tolerance in plan.sparse:
        run = given(lambda seed, tol=tolerance: SparseRule(SPACING, tol), SPARSE_RTOL)
        setting = f"terms above {tolerance:.0e}"
        yield measured("solve, sparse", setting, run, reference, plan.repeats)
    for name, kind, counts in (
        ("solve, Sobol", SobolRule, plan.sobol),
        ("solve, Monte Carlo", MonteCarloRule, plan.monte_carlo),
    ):
        for paths in counts:
            run = given(lambda seed, kind=kind, n=paths: kind(paths=n, seed=seed), RULE_RTOL)
            yield measured(name, f"{paths} paths", run, reference, plan.repeats)


def textbook_rows(plan: Plan, reference: Solution) -> Iterator[Row]:
    """Measure Euler steps with Monte Carlo paths."""

    def textbook(steps: int, paths: int) -> Callable[[int], dict[str, np.ndarray]]:
        every = steps // (TIMES.size - 1)

        def run(repeat: int) -> dict[str, np.ndarray]:
            rng = np.random.default_rng(repeat)
            # the iteration needs no more accuracy than the paths have
            found = solve_textbook(PROBLEM, T_MAX, steps, paths, rng, damping=0.0, tol=1e-3)
            return {name: getattr(found, name)[::every] for name in OBSERVABLES}

        return run

    for steps, paths in plan.textbook:
        setting = f"{steps} steps, {paths} paths"
        yield measured("textbook", setting, textbook(steps, paths), reference, plan.repeats)


def simulation_rows(ensemble: Ensemble, reference: Solution) -> Iterator[Row]:
    """Extrapolate the statistical error of direct simulation to more seeds."""
    seconds = float(np.median(ensemble.stats["wall_time"]))
    spread = [
        float(np.max((ensemble.runs[name].std(axis=0, ddof=1) / reference.values[name])[1:]))
        for name in OBSERVABLES
    ]
    for seeds in EXTRAPOLATED_SEEDS:
        test, train = (value / np.sqrt(seeds) for value in spread)
        yield Row(
            f"simulation, d = {ensemble.dimension}",
            f"{seeds} seeds (extrapolated)" if seeds > 1 else "1 seed",
            seconds * seeds,
            (test, train),
        )


def finite_size_bias(ensemble: Ensemble, name: str, reference: Solution) -> tuple[float, float]:
    """Return the relative deviation from the reference at t_max and its standard error.

    Test and train error at t = 0 have the reference's values as exact means; regression on them
    removes most of the fluctuation of w* and of the label noise.
    """
    starts = [ensemble.runs[n][:, 0] - reference.values[n][0] for n in OBSERVABLES]
    design = np.stack([np.ones(ensemble.seeds), *starts], axis=1)
    values = ensemble.runs[name][:, -1] / reference.values[name][-1] - 1
    fit, *_ = np.linalg.lstsq(design, values, rcond=None)
    variance = np.sum((values - design @ fit) ** 2) / (ensemble.seeds - design.shape[1])
    covariance = variance * np.linalg.inv(design.T @ design)
    return float(fit[0]), float(np.sqrt(covariance[0, 0]))


def report(plan: Plan, reference: Solution, rows: list[Row], ensembles: list[Ensemble]) -> str:
    """Return the Markdown text."""
    p = PROBLEM
    cells = [
        (r.method, r.setting, f"{r.seconds:.3g}", f"{r.errors[0]:.1e}", f"{r.errors[1]:.1e}")
        for r in rows
    ]
    biases = []
    for ensemble in ensembles:
        found = [finite_size_bias(ensemble, name, reference) for name in OBSERVABLES]
        signed = (f"{bias:+.1e} ± {error:.1e}" for bias, error in found)
        biases.append((ensemble.dimension, ensemble.seeds, *signed))
    return "\n".join(
        [
            "# Error against time",
            "",
            f"delta = {p.delta:g}, alpha = {p.alpha:g}, lam = {p.lam:g}, sigma2 = {p.sigma2:g}, "
            f"w* = 1 with probability 0.1, t up to {T_MAX:g}. Largest relative error over "
            "t = 1, ..., 10 against `dmft.solve` at rtol = 1e-7 "
            f"({reference.stats['wall_time']:.1f} s; estimated error "
            f"{reference.rtol * reference.stats['error_over_tolerance']:.1e}). "
            f"Medians of {plan.repeats} repeats.",
            "",
            table(
                ("method", "setting", "time / s", "error of test_error", "error of train_error"),
                cells,
            ),
            "",
            f"Bias of finite dimension at t = {T_MAX:g}, relative, with its standard error:",
            "",
            table(("d", "seeds", "test_error", "train_error"), biases),
            "",
            versions(),
        ]
    )


def draw(rows: list[Row], directory: Path) -> None:
    """Write the two work-precision diagrams."""
    figure, axes = subplots(2, sharex=True, sharey=True)
    for k, (ax, name) in enumerate(zip(axes, OBSERVABLES, strict=True)):
        for method in dict.fromkeys(row.method for row in rows):
            points = [row for row in rows if row.method == method]
            style = {"ls": "none"} if method == "textbook" else {"ls": "-"}
            if method.startswith("simulation"):
                style = {"ls": ":"}
            ax.loglog(
                [row.seconds for row in points],
                [row.errors[k] for row in points],
                marker="o",
                ms=4,
                label=method,
                **style,
            )
        ax.set(xlabel="time / s", title=name)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("largest relative error")
    axes[1].legend(fontsize="small")
    save(figure, directory, "work_precision")


if __name__ == "__main__":
    main()
