"""Are the solver's error estimates true? A fixed part of benchmarks/random_problems.py."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from random_cases import WIDE, draw_cases, regions, times
from random_problems import FACTOR, WHOLE_CHANGE, Reference, examine

from dmft.signals import LAWS
from dmft.solver.solve import solve

CASES = list(draw_cases(40, seed=0))
# every law of w*, alpha from 1e-4 to 3, horizons from 1 to 350, with and without lam and sigma2
CHOSEN = {
    1e-2: (10, 12, 16, 23, 26, 31),
    1e-3: (3, 28, 34),  # where a reference costs little
}


@pytest.mark.parametrize(("rtol", "number"), [(r, n) for r, part in CHOSEN.items() for n in part])
def test_errors_are_within_estimate_and_tolerance(rtol, number):
    (outcome,) = examine(CASES[number], (rtol,))
    assert outcome.success
    assert outcome.over_estimate <= FACTOR
    assert outcome.over_allowed <= FACTOR
    assert outcome.doubt <= 0.5
    assert not outcome.disputed


def test_an_error_beyond_estimate_or_tolerance_is_found():
    problem, t_max = CASES[22]
    solution = solve(problem, t_max, times(t_max), rtol=1e-2)
    reference = Reference("itself", solution, WHOLE_CHANGE)
    for name in ("test_error", "train_error"):
        estimate = solution.error[name]
        wrong = {**solution.values, name: solution.values[name] + 1.1 * FACTOR * estimate}
        measured = reference.measure(dataclasses.replace(solution, values=wrong))
        assert measured["over_estimate"] == pytest.approx(1.1 * FACTOR)
        # the estimate of a larger tolerance is too small for the actual one
        strict = dataclasses.replace(solution, values=wrong, rtol=1e-5)
        assert reference.measure(strict)["over_allowed"] > FACTOR


def test_problems_cover_the_ranges():
    problems = [problem for problem, _ in CASES]
    # a law of scipy is one of atoms, as an empirical one is, and so is one joint with the start
    assert {problem.signal.name for problem in problems} == set(LAWS) - {"scipy", "joint"}
    for name, low, high in (("delta", 0.2, 4.0), ("alpha", 1e-4, 5.0), ("lam", 0.01, 0.5)):
        drawn = np.array([getattr(problem, name) for problem in problems])
        drawn = drawn[drawn > 0]
        assert low <= drawn.min() < low * (high / low) ** 0.2
        assert high >= drawn.max() > high * (low / high) ** 0.2
    assert all(1 <= t_max <= 500 for _, t_max in CASES)
    assert CASES[:5] == list(draw_cases(5, seed=0))


@pytest.mark.parametrize("number", range(8))
def test_problems_of_the_wide_ranges_agree_with_finer_solutions(number):
    # the first eight that are drawn, whatever they are, but for horizons that cost little
    problem, t_max = list(draw_cases(8, seed=1, ranges=WIDE._replace(t_max=(1.0, 20.0))))[number]
    rough, fine = (solve(problem, t_max, times(t_max), rtol=rtol) for rtol in (1e-2, 1e-3))
    assert rough.success, f"seed 1, number {number}: {rough.message}"
    for name in ("test_error", "train_error"):
        miss = np.abs(rough.values[name] - fine.values[name])
        assert np.all(miss <= rough.error[name] + fine.error[name]), f"seed 1, number {number}"


def test_wide_ranges_hold_every_network_and_regions():
    cases = list(draw_cases(120, seed=0, ranges=WIDE))
    assert {case.problem.network.name for case in cases} == {"diagonal", "deep", "product"}
    assert {"alpha below 1e-3", "delta within 20 % of 1", "law of more than 50 atoms"} <= {
        region for case in cases for region in regions(case)
    }
    assert 0 < sum(case.problem.delta == 1.0 for case in cases) < 40
    assert max(case.t_max for case in cases) > 1000
