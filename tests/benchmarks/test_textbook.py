"""The Euler and Monte Carlo solver shares no code with the main one: the two must agree."""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from dmft.problem import Problem
from dmft.signals import Bernoulli
from dmft.solver.solve import solve

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from textbook import propagate, solve_textbook

# w* = 1 throughout: a random w* would add most of the statistical error
PROBLEM = Problem(0.5, alpha=1.0, lam=0.1, sigma2=0.1, signal=Bernoulli(1.0))
T_MAX = 2.0
TIMES = np.linspace(0.0, T_MAX, 9)
KERNELS = ("C_w", "C_r", "R_w", "R_r")
SEEDS = 8


@cache
def textbook_kernel(name, steps):
    """Mean over seeds and its standard error at TIMES, shape (9, 9)."""
    every = steps // (TIMES.size - 1)
    draws = [getattr(run, name)[::every, ::every] for run in textbook_runs(steps)]
    return np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1) / np.sqrt(SEEDS)


@cache
def textbook_runs(steps):
    streams = np.random.default_rng(7).spawn(SEEDS)
    return [solve_textbook(PROBLEM, T_MAX, steps, 1500, rng, damping=0.0) for rng in streams]


@cache
def main_solution():
    return solve(PROBLEM, T_MAX, TIMES, rtol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_extrapolated_to_zero_step_the_two_solvers_agree(name):
    coarse, coarse_error = textbook_kernel(name, 32)
    fine, fine_error = textbook_kernel(name, 64)
    exact = getattr(main_solution(), name)
    gap = np.abs(2 * fine - coarse - exact)
    statistical = np.hypot(2 * fine_error, coarse_error)
    second_order = 0.01 * np.max(np.abs(exact))
    assert np.all(gap < 4 * statistical + second_order)


@pytest.mark.parametrize("name", ["C_r", "R_w", "R_r"])
def test_the_difference_halves_with_the_step(name):
    # C_w is left out: its difference at these steps is not above the statistical error
    exact = getattr(main_solution(), name)
    past = np.tri(TIMES.size, k=-1, dtype=bool)  # s < t
    gaps = [textbook_kernel(name, steps)[0] - exact for steps in (32, 64)]
    coarse, fine = (np.linalg.norm(gap[past]) for gap in gaps)
    assert coarse / fine == pytest.approx(2.0, abs=0.45)


def test_errors_are_the_diagonals_of_the_correlations():
    run = textbook_runs(32)[0]
    np.testing.assert_allclose(run.test_error, np.diag(run.C_w) / 2)
    np.testing.assert_allclose(run.train_error, np.diag(run.C_r) / 2)
    assert run.t[-1] == T_MAX


def test_the_response_is_the_derivative_of_the_path():
    size, dt, step = 7, 0.1, 1e-6
    rng = np.random.default_rng(0)
    g = rng.standard_normal((1, size))
    A = np.eye(size) - 0.2 * np.tril(rng.random((size, size)), -1)
    fixed = (np.ones(1), A, (1.0, 0.8), 0.3, dt)
    response = propagate(g, *fixed)[1]
    for j in range(size):
        kick = step * (np.arange(size) == j)
        derivative = (propagate(g + kick, *fixed)[0] - propagate(g - kick, *fixed)[0]) / (2 * step)
        np.testing.assert_allclose(response[:, j], derivative[0], atol=1e-8)


def test_only_depth_two_networks_are_taken():
    with pytest.raises(TypeError, match=r"problem\.network must be Diagonal"):
        solve_textbook(Problem(0.5, network="linear"), 1.0, 4, 10, np.random.default_rng(0))


def test_a_failure_to_converge_is_reported():
    with pytest.raises(RuntimeError, match="no fixed point after 2 sweeps"):
        solve_textbook(PROBLEM, T_MAX, 8, 50, np.random.default_rng(0), max_sweeps=2)
