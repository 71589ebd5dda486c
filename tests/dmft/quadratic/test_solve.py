from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import dmft
from dmft import QuadraticProblem

PROBLEM = QuadraticProblem(0.3, 0.7, 0.5, lam=0.1, label_noise=0.25)
TIMES = np.array([0.0, 0.1, 0.3, 0.6])
NAMES = ("mse", "train_error", "overlap", "trace")


@cache
def solution():
    return dmft.solve(PROBLEM, 0.6, TIMES, rtol=0.1, rng=1, max_samples=4)


@cache
def ensemble():
    return dmft.simulate(PROBLEM, TIMES, dimension=50, seeds=12, rng=2, rtol=1e-4)


def test_the_start_is_exact():
    start = solution()
    assert start.success, start.message
    assert start.mse[0] == pytest.approx(PROBLEM.initial_mse, rel=1e-6)
    expected = PROBLEM.initial_mse / 2 + PROBLEM.label_noise / 4
    assert start.train_error[0] == pytest.approx(expected, rel=1e-6)
    assert start.clean_train_error[0] == pytest.approx(PROBLEM.initial_mse / 2, rel=1e-6)
    assert start.R_Z[0, 0] == pytest.approx(2 * PROBLEM.init_variance, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_theory_agrees_with_simulation(name):
    difference = np.abs(ensemble().values[name] - solution().values[name])
    error = np.hypot(ensemble().error[name], solution().error[name])
    bias = np.abs(solution().values[name]) / ensemble().dimension
    assert np.all(difference < 4 * error + bias)


def test_both_expressions_for_the_residual_agree():
    """Stein's lemma holds only if drift, noise and response have their right factors."""
    averages = solution().averages
    residual = averages.residual(PROBLEM)
    side = residual.reach @ (2 * averages.C_Z + PROBLEM.label_noise) @ residual.reach.T
    mismatch = residual.mismatch(side)
    assert np.all(np.abs(mismatch) < 0.15 * np.diag(side))
    halved = replace(averages, R_Z=averages.R_Z / 2).residual(PROBLEM)
    side = halved.reach @ (2 * averages.C_Z + PROBLEM.label_noise) @ halved.reach.T
    assert np.max(np.abs(halved.mismatch(side)) / np.diag(side)) > 0.3


def test_two_time_functions_are_causal_and_consistent():
    found = solution()
    assert np.diag(found.C_Z) == pytest.approx(found.mse, rel=1e-12)
    assert np.diag(found.C_f) / 4 == pytest.approx(found.train_error, rel=0.02)
    for name in ("R_f", "R_Z"):
        assert np.all(np.triu(found.values[name], 1) == 0)
    assert found(0.3).mse == pytest.approx(found.mse[2])
    assert pytest.approx(found.C_Z[[1, 3], 2]) == found.at([0.1, 0.6], 0.3).C_Z


def test_it_is_reproduced_and_stored(tmp_path):
    found = dmft.solve(PROBLEM, 0.1, rtol=0.1, rng=4, max_samples=4)
    assert found == dmft.solve(PROBLEM, 0.1, rtol=0.1, rng=4, max_samples=4)
    found.save(tmp_path / "run.h5")
    again = dmft.load(tmp_path / "run.h5")
    assert again == found
    assert again(0.05).mse == found(0.05).mse


def test_too_few_samples_are_reported():
    found = dmft.solve(PROBLEM, 0.05, [0.05], rtol=0.002, max_samples=4)
    assert (found.success, found.status) == (False, 1)
    assert "above the 0.2 % asked for" in found.message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"t_max": 0.0}, "t_max must satisfy t_max > 0"),
        ({"t_eval": [0.0, 2.0]}, "t_eval must be >= 0 and <= t_max"),
        ({"rtol": 1e-4}, "rtol must satisfy rtol >= 0.002"),
        ({"max_samples": 1}, "max_samples must be an integer >= 4"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        dmft.solve(PROBLEM, **({"t_max": 1.0} | options))


def test_comparison_accepts_the_theory_and_rejects_wrong_ones():
    report = dmft.compare(solution(), ensemble())
    assert report.verdict != "rejected", report.message
    for name, factor in (("train_error", 0.5), ("mse", 1.4)):
        wrong = replace(solution(), values=solution().values | {name: factor * solution().mse})
        assert dmft.compare(wrong, ensemble()).verdict == "rejected", name
    with pytest.raises(TypeError, match=r"ensemble must be a dmft\.QuadraticEnsemble"):
        dmft.compare(solution(), solution())


def test_command_line(capsys, tmp_path):
    from dmft.cli.main import main

    problem = ["--alpha", "0.3", "--kappa", "0.7", "--kappa-star", "0.5", "--lam", "0.1"]
    assert main(["quadratic", "steady-state", *problem]) == 0
    assert "regularised" in capsys.readouterr().out
    small = ["--dimension", "10", "--seeds", "2", "--t-eval", "0", "0.2"]
    out = tmp_path / "runs.h5"
    assert main(["quadratic", "simulate", *problem, *small, "--out", str(out)]) == 0
    assert dmft.load(out).seeds == 2
    assert main(["quadratic", "solve", *problem, "--kappa", "-1"]) == 2
    assert "kappa must satisfy kappa > 0; got -1.0" in capsys.readouterr().err
