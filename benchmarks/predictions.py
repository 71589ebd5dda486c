"""Predictions that need no solve against the DMFT, as Markdown tables.

    python benchmarks/predictions.py [--full]

1. Lazy to rich: 2 log(alpha)/lam against the steepest descent of the test error in log t.
2. Search to descent: 2 log(1/alpha)/|h(0)| against the first tenth of the test error's drop.
3. Grokking: by how much the test error lags behind the train error, in units of 1/lam.
4. Rates: the left edge g of the spectrum of X D X^T/delta against fits to the train error.
5. Vanishing start: theory extrapolated in 1/log(1/alpha) against saddle-to-saddle runs.

Quick by default; --full takes more accurate solutions and larger data. The tables go to standard
output, what is being done to standard error.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator

import numpy as np
from reporting import table

from dmft.limits.rates import convergence_rate, fit_rate
from dmft.limits.small_start import extrapolate_start
from dmft.limits.transitions import (
    detect_lazy_to_rich,
    detect_search_to_descent,
    grokking_delay,
    lazy_to_rich_time,
    search_to_descent_time,
)
from dmft.problem import Problem
from dmft.simulation.saddle_ensemble import saddle_ensemble
from dmft.solution import Solution
from dmft.solver.solve import solve

DELTA, NOISE = 0.5, 0.1
TIMES = 200
LATE = 4.0  # horizon over the predicted lazy-to-rich time
SPAN = 3.5  # horizon of the fits of rates, in 1/g; later the solver's floor shows
TAUS = np.array([0.5, 0.75, 1.0, 1.5, 2.0])


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def solved(problem: Problem, horizon: float, t: np.ndarray, rtol: float) -> Solution:
    """Solve and report on standard error."""
    start = time.perf_counter()
    solution = solve(problem, horizon, t_eval=t, rtol=rtol)
    setting = f"delta={problem.delta:g} alpha={problem.alpha:g} lam={problem.lam:g}"
    note(f"{setting} t={horizon:.4g}: {time.perf_counter() - start:.1f} s, {solution.message}")
    if solution.status == 2:
        raise RuntimeError(f"{problem}: {solution.message}")
    return solution


def decaying_run(alpha: float, lam: float, sigma2: float, rtol: float) -> Solution:
    """Return a solution up to a multiple of the predicted lazy-to-rich time."""
    problem = Problem(DELTA, alpha, lam, sigma2)
    expected = lazy_to_rich_time(problem)
    horizon = LATE * expected
    early = np.geomspace(0.02 / alpha**2, 0.1 * expected, TIMES // 2, endpoint=False)
    # the transition is sampled more finely than the detector smooths
    t = np.concatenate([[0.0], early, np.geomspace(0.1 * expected, 0.9999 * horizon, TIMES)])
    return solved(problem, horizon, t, rtol)


def lazy_to_rich_rows(rtol: float) -> Iterator[list[str]]:
    for sigma2 in (NOISE, 0.0):
        for alpha in (2.0, 5.0):
            for lam in (0.01, 0.1, 0.5):
                run = decaying_run(alpha, lam, sigma2, rtol)
                predicted = lazy_to_rich_time(run.problem)
                try:
                    detected = detect_lazy_to_rich(run.t, run.test_error)
                except ValueError:  # no plateau comes before the descent
                    cells = ["none", "", ""]
                else:
                    shift = lam * (detected - predicted)
                    cells = [f"{detected:.1f}", f"{detected / predicted:.2f}", f"{shift:+.2f}"]
                yield [f"{sigma2:g}", f"{alpha:g}", f"{lam:g}", f"{predicted:.1f}", *cells]


def search_rows(rtol: float) -> Iterator[list[str]]:
    for sigma2 in (NOISE, 0.0):
        for alpha in (1e-2, 1e-4):
            problem = Problem(DELTA, alpha, 0.0, sigma2)
            horizon = 4 * math.log(1 / alpha)
            t = np.linspace(0.0, horizon, TIMES)
            run = solved(problem, horizon, t, rtol)
            predicted = search_to_descent_time(problem)
            first = search_to_descent_time(problem, dimension=500)
            detected = detect_search_to_descent(t, run.test_error)
            unit = 2 * math.log(1 / alpha)
            yield [
                f"{sigma2:g}",
                f"{alpha:g}",
                f"{predicted:.2f}",
                f"{first:.2f}",
                f"{detected:.2f}",
                f"{detected / unit:.3f}",
            ]


def grokking_rows(rtol: float) -> Iterator[list[str]]:
    for lam in (0.1, 0.03):
        for alpha in (3.0, 10.0, 20.0):
            run = decaying_run(alpha, lam, 0.0, rtol)
            delay = grokking_delay(run.t, run.train_error, run.test_error)
            predicted = lazy_to_rich_time(run.problem)
            yield [
                f"{lam:g}",
                f"{alpha:g}",
                f"{predicted:.1f}",
                f"{delay:.1f}",
                f"{lam * predicted:.2f}",
                f"{lam * delay:.2f}",
                f"{lam * (delay - predicted):.2f}",
            ]


def rate_rows(rtol: float) -> Iterator[list[str]]:
    for alpha in (0.5, 1.0, 3.0):
        for delta in (0.3, 0.5, 0.8):
            problem = Problem(delta, alpha, 0.0, NOISE)
            rate = convergence_rate(problem)
            horizon = SPAN / rate
            t = np.linspace(0.4 * horizon, horizon, 40)
            run = solved(problem, horizon, t, rtol)
            known = fit_rate(t, run.train_error, power=1.5)
            free = fit_rate(t, run.train_error)
            slope = -0.5 * np.gradient(np.log(run.train_error), t)[-2]
            yield [
                f"{alpha:g}",
                f"{delta:g}",
                f"{rate:.5f}",
                f"{slope / rate - 1:+.1%}",
                f"{0.75 / (rate * t[-2]):+.1%}",
                f"{known.rate / rate - 1:+.1%}",
                f"{free.rate / rate - 1:+.1%} (p = {free.power:.2f})",
            ]


def vanishing_start_rows(rtol: float, dimension: int, seeds: int) -> Iterator[list[str]]:
    alphas = (1e-2, 1e-4, 1e-8)
    runs = []
    for alpha in alphas:
        unit = 2 * math.log(1 / alpha)
        problem = Problem(DELTA, alpha, 0.0, NOISE)
        runs.append(solved(problem, unit * TAUS[-1], unit * TAUS, rtol))
    start = time.perf_counter()
    saddles = saddle_ensemble(runs[0].problem, TAUS, dimension, seeds)
    note(f"saddle to saddle, d={dimension}, {seeds} seeds: {time.perf_counter() - start:.1f} s")
    for name in ("test_error", "train_error"):
        values = np.stack([run.values[name] for run in runs])
        limit = extrapolate_start(alphas, values, [run.error[name] for run in runs])
        mean, error = saddles.mean(name), saddles.standard_error(name)
        combined = np.hypot(error, limit.numerical_error)
        for k, tau in enumerate(TAUS):
            yield [
                name.replace("_", " "),
                f"{tau:g}",
                *(f"{value:.5f}" for value in values[:, k]),
                f"{limit.limit[k]:.5f} ± {limit.numerical_error[k]:.5f}",
                f"{mean[k]:.5f} ± {error[k]:.5f}",
                f"{(mean[k] - limit.limit[k]) / combined[k]:+.1f}",
            ]


def report(full: bool) -> Iterator[str]:
    rtol = 1e-3 if full else 1e-2
    setting = f"delta = {DELTA:g}, Bernoulli(0.1)"
    yield f"### Lazy to rich ({setting})"
    head = ["sigma2", "alpha", "lam", "2 log(alpha)/lam", "detected", "ratio", "lam x difference"]
    yield table(head, lazy_to_rich_rows(0.1 * rtol))
    yield f"### Search to descent ({setting}, lam = 0)"
    head = ["sigma2", "alpha", "median over w* != 0", "first of 500", "detected"]
    yield table([*head, "detected/2 log(1/alpha)"], search_rows(rtol))
    yield f"### Grokking ({setting}, sigma2 = 0)"
    head = ["lam", "alpha", "2 log(alpha)/lam", "delay", "2 log(alpha)", "lam x delay"]
    yield table([*head, "difference"], grokking_rows(3 * rtol))
    yield f"### Rates of the train error (lam = 0, sigma2 = {NOISE:g}, t up to {SPAN:g}/g)"
    head = ["alpha", "delta", "g", "slope at the end", "of it 3/(4 g t)"]
    yield table([*head, "fit, p = 3/2", "fit, p free"], rate_rows(1e-4))
    yield f"### Vanishing start ({setting}, sigma2 = {NOISE:g}, lam = 0)"
    dimension, seeds = (1000, 32) if full else (300, 64)
    head = ["error", "tau", "alpha = 1e-2", "1e-4", "1e-8", "extrapolated"]
    head += [f"saddles, d = {dimension}", "combined s.e."]
    yield table(head, vanishing_start_rows(rtol, dimension, seeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more accurate, larger, slower")
    for part in report(parser.parse_args().full):
        print(part, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
