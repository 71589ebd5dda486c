"""Linear and ridge regression: solvers of the DMFT and simulations against the closed form.

    python benchmarks/linear_regression.py [--full] [--out DIR]

writes linear_regression.md and linear_regression.png. Gradient flow dw/dt = -h - lam w from w = 0
decouples in the eigenbasis of X^T X/delta, whose law F is Marchenko and Pastur's. With
g = (1 - exp(-(x + lam) t))/(x + lam) and q = 1 - x g,

    test  = 1/2 { E[w*^2] int q^2 dF + (sigma2/delta) int x g^2 dF },
    train = 1/2 { E[w*^2] int x q^2 dF + (sigma2/delta) int_{x > 0} q^2 dF
                  + sigma2 (1 - min(1, 1/delta)) },

so that every method can be held against the truth: `dmft.solve` by itself, which needs no noise
rule here, and under the random ones; the usual Euler steps with Monte Carlo paths; and simulations.
The error is the largest relative one of test_error and train_error over t = 1, 2, ..., 10; of
random methods and simulations, the median over repeats or seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from reporting import parser, save, subplots, table, timed, versions, write
from scipy.integrate import quad_vec
from textbook import cholesky_factor, relative_change, sample_side

from dmft.equations.noise_rules import MonteCarloRule, SobolRule
from dmft.problem import Problem
from dmft.simulation.simulate import simulate
from dmft.solver.solve import solve

PROBLEMS = (
    Problem(0.5, lam=0.0, sigma2=0.1, network="linear"),
    Problem(0.5, lam=0.1, sigma2=0.1, network="linear"),
    Problem(2.0, lam=0.1, sigma2=0.1, network="linear"),
)
T_MAX = 10.0
TIMES = np.linspace(0.0, T_MAX, 11)
OBSERVABLES = ("test_error", "train_error")
Values = dict[str, np.ndarray]


class Plan(NamedTuple):
    """What is measured."""

    repeats: int
    rtols: tuple[float, ...]
    paths: tuple[int, ...]
    euler: tuple[tuple[int, int], ...]
    simulated_seeds: dict[int, int]


QUICK = Plan(3, (1e-2, 1e-4, 1e-6, 1e-8), (256, 4096), ((40, 1000), (160, 1000)), {500: 8})
FULL = Plan(
    repeats=5,
    rtols=(1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9),
    paths=(256, 1024, 4096, 16384),
    euler=((40, 1000), (40, 10000), (160, 1000), (160, 10000), (640, 1000), (640, 10000)),
    simulated_seeds={500: 32, 2000: 16},
)


class Row(NamedTuple):
    """Seconds and largest relative error of a method on one problem."""

    method: str
    setting: str
    seconds: float
    error: float


def closed_form(problem: Problem, t: np.ndarray) -> Values:
    """Return test and train error at the times t."""
    delta, lam, sigma2 = problem.delta, problem.lam, problem.sigma2
    centre, radius = 1 + 1 / delta, 2 / np.sqrt(delta)

    def integrand(angle: float) -> np.ndarray:
        # x = centre + radius cos(angle) removes the square roots at the edges
        x = centre + radius * np.cos(angle)
        g, q = filters(x)
        density = delta / (2 * np.pi * x) * (radius * np.sin(angle)) ** 2
        return density * np.stack([q**2, x * g**2, x * q**2])

    def filters(x: float) -> tuple[np.ndarray, np.ndarray]:
        g = -np.expm1(-(x + lam) * t) / (x + lam)
        return g, 1 - x * g

    signal, noise, slope = quad_vec(integrand, 0, np.pi, epsabs=1e-14, epsrel=1e-13)[0]
    power = problem.signal.second_moment
    at_zero = max(0.0, 1 - delta)  # mass of F at x = 0, where q = 1
    residual = sigma2 * (signal / delta + 1 - min(1.0, 1 / delta))
    return {
        "test_error": 0.5 * (power * (signal + at_zero) + sigma2 / delta * noise),
        "train_error": 0.5 * (power * slope + residual),
    }


def solve_by_euler(
    problem: Problem, steps: int, paths: int, rng: np.random.Generator, tol: float = 1e-4
) -> Values:
    """Solve the DMFT of linear regression as `textbook` does that of diagonal networks.

    The response of a path does not depend on its noise, so only C_w is a Monte Carlo average.
    """
    dt = T_MAX / steps
    target = problem.signal.sample(rng, paths)
    normals = rng.standard_normal((paths, steps + 1))
    C_w = np.full((steps + 1, steps + 1), np.mean(target**2))
    B = np.zeros_like(C_w)
    change = np.inf
    while change > tol:
        A, C_r = sample_side(B, C_w, problem)
        noise = normals @ cholesky_factor(C_r / problem.delta).T
        theta, B_new = march(noise, target, A, problem.lam, dt)
        C_new = theta.T @ theta / paths
        change = max(relative_change(C_new, C_w), relative_change(B_new, B))
        C_w, B = C_new, B_new
    _, C_r = sample_side(B, C_w, problem)
    every = steps // (TIMES.size - 1)
    return {
        "test_error": 0.5 * np.diag(C_w)[::every],
        "train_error": 0.5 * np.diag(C_r)[::every],
    }


def march(
    noise: np.ndarray, target: np.ndarray, A: np.ndarray, lam: float, dt: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return theta, shape (P, N), and its response B to the noise, shape (N, N).

    w_{k+1} = w_k - dt (g_k + sum_{j <= k} A_kj theta_j + lam w_k).
    """
    theta = np.empty_like(noise)
    B = np.zeros_like(A)
    theta[:, 0] = -target
    for k in range(len(A) - 1):
        h = noise[:, k] + theta[:, : k + 1] @ A[k, : k + 1]
        theta[:, k + 1] = theta[:, k] - dt * (h + lam * (theta[:, k] + target))
        B[k + 1] = (1 - dt * lam) * B[k] - dt * A[k, : k + 1] @ B[: k + 1]
        B[k + 1, k] -= dt
    return theta, B


def largest_error(values: Values, exact: Values) -> float:
    """Return the largest relative error after t = 0."""
    return max(float(np.max(np.abs(values[n][1:] / exact[n][1:] - 1))) for n in OBSERVABLES)


def rows(problem: Problem, plan: Plan) -> Iterator[Row]:
    """Measure every method on one problem."""
    exact = closed_form(problem, TIMES)

    def measured(method: str, setting: str, run: Callable[[int], Values]) -> Row:
        runs = [timed(lambda k=k: run(k)) for k in range(plan.repeats)]
        seconds = float(np.median([seconds for seconds, _ in runs]))
        error = float(np.median([largest_error(values, exact) for _, values in runs]))
        return Row(method, setting, seconds, error)

    for rtol in plan.rtols:
        yield measured(
            "solve",
            f"rtol = {rtol:.0e}",
            lambda k, rtol=rtol: solve(problem, T_MAX, TIMES, rtol).values,
        )
    for name, rule in (("solve, Sobol", SobolRule), ("solve, Monte Carlo", MonteCarloRule)):
        for paths in plan.paths:
            yield measured(
                name,
                f"{paths} paths",
                lambda k, rule=rule, paths=paths: (
                    solve(problem, T_MAX, TIMES, 1e-3, rule=rule(paths=paths, seed=k)).values
                ),
            )
    for steps, paths in plan.euler:
        yield measured(
            "Euler steps",
            f"{steps} steps, {paths} paths",
            lambda k, steps=steps, paths=paths: solve_by_euler(
                problem, steps, paths, np.random.default_rng(k)
            ),
        )
    for dimension, seeds in plan.simulated_seeds.items():
        ensemble = simulate(problem, TIMES, dimension, seeds, workers=1, rtol=1e-4)
        seconds = float(np.median(ensemble.stats["wall_time"]))
        errors = [
            largest_error({n: ensemble.runs[n][k] for n in OBSERVABLES}, exact)
            for k in range(seeds)
        ]
        yield Row(f"simulation, d = {dimension}", "1 seed", seconds, float(np.median(errors)))
        mean = {n: ensemble.mean(n) for n in OBSERVABLES}
        total = float(np.sum(ensemble.stats["wall_time"]))
        error = largest_error(mean, exact)
        yield Row(f"simulation, d = {dimension}", f"{seeds} seeds", total, error)


def name_of(problem: Problem) -> str:
    return f"delta = {problem.delta:g}, lam = {problem.lam:g}, sigma2 = {problem.sigma2:g}"


def main() -> None:
    options = parser("Linear regression against the closed form.", "all settings, d = 2000 too")
    arguments = options.parse_args()
    plan = FULL if arguments.full else QUICK
    for rule in (None, SobolRule(paths=16)):  # compiles
        solve(PROBLEMS[0], 1.0, rtol=0.1, rule=rule)

    results = {problem: list(rows(problem, plan)) for problem in PROBLEMS}
    lines = ["# Linear and ridge regression against the closed form", ""]
    for problem, found in results.items():
        head = ("method", "setting", "time / s", "largest relative error")
        cells = [(r.method, r.setting, f"{r.seconds:.3g}", f"{r.error:.1e}") for r in found]
        lines += [f"{name_of(problem)}, t up to {T_MAX:g}:", "", table(head, cells), ""]
    write(arguments.out, "linear_regression", "\n".join([*lines, versions()]))

    figure, axes = subplots(len(results), sharey=True)
    for ax, (problem, found) in zip(axes, results.items(), strict=True):
        for method in dict.fromkeys(row.method for row in found):
            points = [row for row in found if row.method == method]
            ax.loglog([r.seconds for r in points], [r.error for r in points], "o-", label=method)
        ax.set(xlabel="time / s", title=name_of(problem))
        ax.title.set_fontsize("small")
    axes[0].set_ylabel("largest relative error")
    axes[0].legend(fontsize="small")
    save(figure, arguments.out, "linear_regression")


if __name__ == "__main__":
    main()
