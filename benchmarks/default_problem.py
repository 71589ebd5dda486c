"""Time of `dmft.solve` on the default problem beside that of the direct simulation.

    python benchmarks/default_problem.py

prints a Markdown table: the median time of five solves at rtol = 1e-4 after compilation, the
time of one simulated run at d = 500, and the time that as many runs would take as bring the
statistical error of the final test error down to the solver's estimate (1/sqrt(runs)).
"""

import statistics
import time

import dmft

PROBLEM = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
T_MAX = 10.0
DIMENSION = 500
SEEDS = 16
REPEATS = 5


def timed(function):
    """Return the seconds a call takes and its result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def main():
    dmft.solve(PROBLEM, T_MAX, rtol=1e-4)  # compiles
    solves = [timed(lambda: dmft.solve(PROBLEM, T_MAX, rtol=1e-4)) for _ in range(REPEATS)]
    seconds = statistics.median(s for s, _ in solves)
    solution = solves[0][1]
    error = solution.error["test_error"][-1]

    dmft.simulate(PROBLEM, [0.0, T_MAX], dimension=50, seeds=1)  # imports
    total, ensemble = timed(
        lambda: dmft.simulate(PROBLEM, [0.0, T_MAX], dimension=DIMENSION, seeds=SEEDS, workers=1)
    )
    one = total / SEEDS
    spread = ensemble.standard_error("test_error")[-1]
    equal = total * (spread / error) ** 2

    print("| method | time [s] | error of test_error(10) |")
    print("|---|---|---|")
    print(f"| dmft.solve, rtol 1e-4 | {seconds:.3f} | {error:.1e} (estimate) |")
    print(f"| one run at d = {DIMENSION} | {one:.3f} | {spread * SEEDS**0.5:.1e} (spread) |")
    print(f"| {SEEDS} runs | {total:.3f} | {spread:.1e} (standard error) |")
    print(f"| runs with the solver's error | {equal:.1e} | {error:.1e} (extrapolated) |")
    print(f"\nsolve / one run: {seconds / one:.2f}; equal error: {equal / seconds:.1e} times more")


if __name__ == "__main__":
    main()
