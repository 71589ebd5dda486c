"""Steady states and rates, predicted by scalar equations, against long runs.

    python benchmarks/limits.py [--full]

prints two Markdown tables and exits non-zero where a value deviates.

Steady states: `dmft.steady_state` against `dmft.solve` at a late time T and against simulations at
that time (d = 250, or 2000 with --full). The limit is not reached at T: what is missing is allowed
for by the change of the solver's value from T/2 to T, which bounds it if the approach is at
least as fast as 1/t. That is part of the solver's error in the table. "deviation" is the
difference of simulation and prediction beyond that and beyond the finite-size bias that
`dmft.compare` allows, in standard errors.

Rates: `dmft.convergence_rate` against the slope of log train_error of a solution on
1.25 <= g t <= 2.5, fitted by t^(-3/2) exp(c/t - 2 g t): the known power of a spectrum that ends
like a square root and the next term of its expansion. What is left is of order 1/t^3, measured
to be below 3 % there.
"""

import argparse
import math
import sys
import time

import numpy as np
from scipy.special import stdtrit

import dmft
from dmft import BernoulliGaussian, Deep, Diagonal, Discrete, Gaussian, Linear, Problem, Product

LEVEL = 0.005  # probability of a false alarm in the whole table
RTOL = 1e-2
RATE_RTOL = 1e-3  # the train error has then fallen by five orders of magnitude
SEEDS = 12
RATE_TOLERANCE = 0.035

SPIN = Discrete([-1.0, 0.0, 2.0], [0.1, 0.8, 0.1])
# The T of each problem ends the approach within the solver's accuracy or shortly before.
STEADY_STATES = [
    (Problem(0.5, 1.0, 0.1, 0.1), 400.0),
    (Problem(2.0, 1.0, 0.1, 0.1), 200.0),
    (Problem(0.7, 0.1, 0.2, 0.05, BernoulliGaussian(0.2, 0.7, 0.4)), 200.0),
    (Problem(0.7, 1.0, 0.3, 0.05, SPIN, Diagonal(1.5, 0.5)), 80.0),
    (Problem(1.0, 1.0, 0.3, 0.1, Gaussian(), Product((1.2, 0.4))), 100.0),
    (Problem(0.5, 1.0, 0.2, 0.1, network=Linear()), 40.0),
    (Problem(2.0, 1.0, 0.2, 0.1, network=Linear()), 40.0),
    (Problem(2.0, 1.0, 0.0, 0.1), 60.0),
    (Problem(2.0, 1.0, 0.0, 0.1, network=Linear()), 60.0),
    (Problem(3.0, 1.0, 0.0, 0.2, network=Deep(3)), 60.0),
    (Problem(2.5, 1.0, 0.0, 0.1, BernoulliGaussian(0.3), Product((1.0, 0.7, 0.2))), 150.0),
    (Problem(0.5, 1.0, 0.0, 0.1), 60.0),
    (Problem(0.5, 0.1, 0.0, 0.1), 400.0),
    (Problem(0.5, 3.0, 0.0, 0.1), 6.0),
    (Problem(0.6, 0.8, 0.0, 0.05, SPIN, Diagonal(1.5, 0.5)), 120.0),
    (Problem(0.4, 1.0, 0.0, 0.1, network=Linear()), 60.0),
    (Problem(0.5, 0.7, 0.0, 0.1, network=Deep(3)), 60.0),
    (Problem(0.4, 0.8, 0.0, 0.1, Gaussian(0.5, 0.5), Deep(4)), 60.0),
    (Problem(0.4, 1.0, 0.0, 0.05, network=Product((1.0, 0.7, 0.2))), 80.0),
    (Problem(0.5, 0.8, 0.0, 0.1, Gaussian(0.5), Product((1.2, 0.4))), 60.0),
]
RATES = [Problem(delta, alpha, 0.0, 0.1) for alpha in (0.3, 1.0, 3.0) for delta in (0.3, 0.5, 0.8)]
SLOW = Problem(0.8, 0.3, 0.0, 0.1)  # the rate that takes minutes: with --full only


def describe(problem):
    name, *scales = problem.mirror.config().values()
    network = name + (f" {', '.join(map(str, scales))}" if scales and problem.mirror.depth else "")
    return (
        f"{network}, {problem.signal.config()['name']}, delta {problem.delta:g}, "
        f"alpha {problem.alpha:g}, lam {problem.lam:g}"
    )


def steady_state_rows(problem, t_max, dimension):
    """Yield the cells of each observable and whether it agrees."""
    state = dmft.steady_state(problem)
    times = np.array([0.0, 0.5 * t_max, t_max])
    solution = dmft.solve(problem, t_max, t_eval=times, rtol=RTOL)
    ensemble = dmft.simulate(problem, times, dimension=dimension, seeds=SEEDS, rng=1, rtol=1e-4)
    report = dmft.compare(solution, ensemble)
    for name in ("test_error", "train_error"):
        predicted = getattr(state, name)
        if predicted == 0:  # both runs are only on their way to it
            continue
        values, error = solution.values[name], solution.error[name][-1]
        error += abs(values[-1] - values[-2])
        found, spread = report.simulation[name][-1], report.combined_error[name][-1]
        beyond = abs(found - predicted) - report.finite_size_bias[name][-1] - error
        deviation = max(beyond, 0.0) / spread
        agrees = solution.status != 2 and abs(values[-1] - predicted) <= error
        agrees &= deviation <= critical(SEEDS - 2)
        yield (
            f"| {describe(problem)} | {state.branch} | {name} | {predicted:.6f} | {values[-1]:.6f} "
            f"| {error:.1e} | {found:.6f} | {spread:.1e} | {deviation:.2f} |",
            agrees,
        )


def critical(freedom):
    """Return the deviation that chance exceeds with probability `LEVEL` in the whole table."""
    return -float(stdtrit(freedom, LEVEL / (2 * 2 * len(STEADY_STATES))))


def rate_row(problem):
    """Return the cells of one fit and whether it agrees."""
    rate = dmft.convergence_rate(problem)
    times = np.linspace(1.25, 2.5, 31) / rate
    solution = dmft.solve(problem, times[-1], t_eval=times, rtol=RATE_RTOL)
    known = dmft.fit_rate(times, solution.train_error, window=(0.0, math.inf), power=1.5)
    free = dmft.fit_rate(times, solution.train_error, window=(0.0, math.inf))
    relative = known.rate / rate - 1
    return (
        f"| {problem.alpha:g} | {problem.delta:g} | {rate:.5g} | {known.rate:.5g} "
        f"| {100 * relative:+.2f} % | {free.rate:.5g} | {free.power:.2f} |",
        solution.status != 2 and abs(relative) <= RATE_TOLERANCE,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="simulate at d = 2000")
    full = parser.parse_args().full
    dimension = 2000 if full else 250
    start, failures = time.perf_counter(), []

    limit = critical(SEEDS - 2)
    print(f"Simulations: d = {dimension}, {SEEDS} seeds; a deviation above {limit:.1f} counts.\n")
    print("| problem | limit | observable | predicted | solver | its error | simulation", end=" ")
    print("| its standard error | deviation |\n|---|---|---|---|---|---|---|---|---|")
    for problem, t_max in STEADY_STATES:
        for row, agrees in steady_state_rows(problem, t_max, dimension):
            print(row if agrees else f"{row} deviates", flush=True)
            failures += [] if agrees else [row]

    print("\n| alpha | delta | g | fit, power 3/2 | difference | fit, free power | its power |")
    print("|---|---|---|---|---|---|---|")
    for problem in RATES:
        if problem == SLOW and not full:
            continue
        row, agrees = rate_row(problem)
        print(row if agrees else f"{row} deviates", flush=True)
        failures += [] if agrees else [row]

    print(f"\n{len(failures)} deviations, {time.perf_counter() - start:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
