from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dmft.comparison import LEVEL, PAIRED, SINGLE, compare
from dmft.problem import Problem
from dmft.signals import Discrete
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.simulate import simulate
from dmft.solver import iteration
from dmft.solver.solve import solve

PROBLEM = Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
TIMES = np.linspace(0.0, 10.0, 11)


@pytest.fixture(scope="module")
def solution():
    return solve(PROBLEM, 10.0, TIMES, rtol=1e-3)


@pytest.fixture(scope="module")
def simulated():
    return simulate(PROBLEM, TIMES, dimension=200, seeds=16, rng=3, workers=1)


def synthetic(solution, dimension, seeds, rng):
    """An ensemble that fluctuates around a solution like w* with d Bernoulli entries, and more.

    Correlations are f(t, s) g(t) g(s) with a random g that is smooth in time, 1 + O(1/sqrt(d)):
    their means are off by O(1/d), as those of a simulation are.
    """
    rng = np.random.default_rng(rng)
    growth = solution.t / (1 + solution.t)
    targets = rng.binomial(dimension, 0.1, size=(seeds, 1)) / (0.1 * dimension)

    def smooth():
        phase = np.cos(0.5 * solution.t + 2 * np.pi * rng.random((seeds, 1)))
        slow, fast = rng.standard_normal((2, seeds, 1))
        return 0.7 * (slow + fast * phase) / np.sqrt(dimension)

    g_w = targets ** (0.5 - 0.3 * growth) * (1 + growth * smooth())
    g_r = 1 + 0.3 * (targets - 1) + smooth()
    runs = {
        "C_w": solution.C_w * g_w[:, :, None] * g_w[:, None, :],
        "C_r": solution.C_r * g_r[:, :, None] * g_r[:, None, :],
        "mean_w": solution.mean_w + np.sqrt(solution.norm_w) * smooth(),
        "overlap": solution.overlap * targets * (1 + smooth()),
    }
    for name, pair in (("test_error", "C_w"), ("train_error", "C_r")):
        runs[name] = 0.5 * np.diagonal(runs[pair], axis1=1, axis2=2)
    samples = round(solution.problem.delta * dimension)
    return Ensemble(solution.problem, solution.t, dimension, samples, "gaussian", 0, runs, {})


def changed(solution, **values):
    return replace(solution, values={**solution.values, **values})


def first(ensemble, seeds):
    return replace(ensemble, runs={name: runs[:seeds] for name, runs in ensemble.runs.items()})


# --- acceptance and rejection ------------------------------------------------------------------


def test_accepts_the_right_theory(solution):
    cases = [
        (d, seeds, k) for d in (250, 2000) for seeds in (2, 3, 4, 8, 16, 64) for k in range(24)
    ]
    rejected = [case for case in cases if not compare(solution, synthetic(solution, *case)).passed]
    # 1 % may be rejected by chance, 2.9 of 288
    assert len(rejected) <= 6, f"dimension, seeds and number of the draw: {rejected}"


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_rejects_a_test_error_wrong_by_five_percent(solution, factor):
    wrong = changed(solution, test_error=factor * solution.test_error)
    for k in range(12):
        report = compare(wrong, synthetic(solution, 2000, 64, k))
        assert not report.passed, k
        assert report.critical_deviation < report.largest_deviation < np.inf
        assert report.verdict == "rejected"
        assert report.detectable["test_error"] < 0.04
        assert "rejected" in report.message
        assert "test_error" in report.message


def test_accepts_and_rejects_without_the_start(solution):
    late = {name: value[1:] for name, value in solution.values.items()}
    late |= {name: late[name][:, 1:] for name in ("C_w", "R_w", "C_r", "R_r")}
    error = {name: np.zeros_like(value) for name, value in late.items()}
    theory = replace(solution, t=TIMES[1:], values=late, error=error)
    wrong = changed(theory, test_error=1.05 * theory.test_error)
    reports = [
        [compare(s, synthetic(theory, 2000, 64, k)).passed for s in (theory, wrong)]
        for k in range(40)
    ]
    accepted, missed = np.sum(reports, axis=0)
    assert accepted >= 39
    assert missed <= 1  # without the targets' power to go by, chance is larger


def test_accepts_the_right_theory_in_simulations(solution, simulated):
    assert compare(solution, simulated).passed
    for start in range(0, 16, 4):
        part = {name: runs[start : start + 4] for name, runs in simulated.runs.items()}
        assert compare(solution, replace(simulated, runs=part)).passed


def test_rejects_a_theory_without_memory(solution, simulated, monkeypatch):
    build = iteration.build_kernels

    def forgetful(residual):
        return replace(build(residual), K=residual.integration.matrix)

    monkeypatch.setattr(iteration, "build_kernels", forgetful)
    wrong = solve(PROBLEM, 10.0, TIMES, rtol=1e-3)
    assert wrong.success, wrong.message
    for seeds in (4, 8, 16):
        report = compare(wrong, first(simulated, seeds))
        assert not report.passed
        assert report.largest_deviation < np.inf


@pytest.mark.parametrize("name", PAIRED)
def test_rejects_wrong_values_at_different_times(solution, simulated, name):
    # Gaussian paths redrawn at each step: diagonals right, correlations too small
    values = solution.values[name]
    wrong = changed(solution, **{name: 0.75 * values + 0.25 * np.diag(np.diag(values))})
    report = compare(wrong, simulated)
    assert not report.passed
    assert report.largest_deviation < np.inf
    assert report.message.count(f"{name}(") == 1
    assert np.all(np.diag(report.deviation(name)) < report.critical_deviation)


@pytest.mark.parametrize("name", SINGLE)
def test_rejects_each_observable(solution, simulated, name):
    wrong = changed(solution, **{name: 2 * solution.values[name]})
    report = compare(wrong, simulated)
    assert not report.passed
    assert report.largest_deviation < np.inf
    assert f"{name}(" in report.message


def test_a_wrong_theory_does_not_widen_its_own_allowance(solution, simulated):
    for name, factor in (("train_error", 1e-6), ("overlap", 1e-6), ("overlap", 1e6)):
        wrong = changed(
            solution,
            **{name: factor * solution.values[name], "norm_w": factor**2 * solution.norm_w},
        )
        report = compare(wrong, simulated)
        assert not report.passed
        assert report.largest_deviation < np.inf


def test_rejects_what_is_not_a_number(solution, simulated):
    values = solution.test_error.copy()
    values[3] = np.nan
    report = compare(changed(solution, test_error=values), simulated)
    assert not report.passed
    assert report.largest_deviation == np.inf
    assert report.p_value == 0


# --- the statistic -----------------------------------------------------------------------------


def test_deviation_is_the_excess_over_the_bias_in_combined_errors(solution, simulated):
    four = first(simulated, 4)
    report = compare(solution, four)
    m, f = four.mean("train_error"), solution.train_error
    # four seeds: the plain mean and its standard error, at least the fluctuation of d entries
    spread = np.maximum(four.standard_error("train_error"), m / np.sqrt(4 * 200))
    error = np.hypot(spread, solution.error["train_error"])
    bias = four.runs["train_error"].var(axis=0, ddof=1) / m + m / 200
    assert report.simulation["train_error"] == pytest.approx(m)
    assert report.combined_error["train_error"] == pytest.approx(error, rel=1e-9)
    assert report.finite_size_bias["train_error"] == pytest.approx(bias)
    assert report.standard_errors("train_error") == pytest.approx((m - f) / error, rel=1e-9)
    excess = np.maximum(np.abs(m - f) - bias, 0) / error
    assert report.deviation("train_error") == pytest.approx(excess, rel=1e-9)
    names = (*SINGLE, *PAIRED)
    assert report.largest_deviation == max(report.deviation(name).max() for name in names)


@pytest.mark.parametrize(("seeds", "freedom"), [(4, 3), (16, 13)])
def test_critical_value_is_that_of_student_and_bonferroni(solution, simulated, seeds, freedom):
    report = compare(solution, first(simulated, seeds))
    assert report.critical_deviation == pytest.approx(stats.t.isf(LEVEL / 24, freedom))
    wrong = compare(changed(solution, mean_w=solution.mean_w + 0.05), first(simulated, seeds))
    expected = 24 * stats.t.sf(wrong.largest_deviation, freedom)
    assert wrong.p_value == pytest.approx(min(1.0, expected))
    assert wrong.passed == (wrong.p_value >= LEVEL)


def test_the_drawn_power_of_the_targets_is_accounted_for(solution):
    ensemble = synthetic(solution, 500, 16, 0)
    report = compare(solution, ensemble)
    # at t = 0 all of the spread is that of |w*|^2, whose expectation is exact
    assert report.simulation["test_error"][0] == pytest.approx(0.05, rel=1e-12)
    assert ensemble.mean("test_error")[0] != pytest.approx(0.05, rel=1e-3)
    early = report.combined_error["test_error"][0]
    assert early == pytest.approx(0.05 / np.sqrt(500 * 16), rel=0.05)
    assert early < 0.5 * ensemble.standard_error("test_error")[0]


def test_a_target_of_fixed_power_leaves_one_covariate():
    problem = replace(PROBLEM, signal=Discrete((-1.0, 1.0), (0.5, 0.5)), network="linear", lam=0.0)
    t = np.array([0.0, 1.0, 3.0])
    ensemble = simulate(problem, t, dimension=100, seeds=10, rng=1, workers=1)
    report = compare(solve(problem, 3.0, t, rtol=1e-3), ensemble)
    assert report.passed
    assert report.critical_deviation == pytest.approx(stats.t.isf(LEVEL / 24, 8))


def test_solver_error_counts(solution):
    ensemble = synthetic(solution, 2000, 64, 0)
    wrong = changed(solution, test_error=1.05 * solution.test_error)
    uncertain = {**solution.error, "test_error": 0.05 * solution.test_error}
    assert not compare(wrong, ensemble).passed
    assert compare(replace(wrong, error=uncertain), ensemble).passed


def test_bias_allowance_falls_with_dimension(solution):
    small, large = (compare(solution, synthetic(solution, d, 256, 0)) for d in (500, 2000))
    ratio = small.finite_size_bias["C_w"] / large.finite_size_bias["C_w"]
    assert np.all((ratio > 2.5) & (ratio < 6.5))
    assert np.all(large.finite_size_bias["test_error"] < 0.02 * solution.test_error)


def test_rounding_of_the_samples_is_allowed_for(solution):
    exact = synthetic(solution, 250, 8, 0)
    rounded = compare(solution, replace(exact, samples=124))
    extra = (
        rounded.finite_size_bias["test_error"]
        - compare(solution, exact).finite_size_bias["test_error"]
    )
    assert extra == pytest.approx(5 * (1 / 125) * exact.mean("test_error"))


# --- few seeds and partial ensembles -------------------------------------------------------------


def test_one_seed_decides_nothing_and_says_so(solution, simulated):
    report = compare(changed(solution, test_error=9 * solution.test_error), first(simulated, 1))
    assert report.verdict == "inconclusive"
    assert report.p_value == 1.0
    assert report.largest_deviation == 0.0
    assert report.critical_deviation == max(report.detectable.values()) == np.inf
    assert np.all(report.finite_size_bias["C_r"] == np.inf)
    assert report.message.startswith("The comparison is inconclusive: one seed has no spread")
    assert "test_error" in str(report)


def test_two_seeds_that_agree_by_chance_do_not_reject(solution, simulated):
    runs = {name: np.repeat(runs[:1], 2, axis=0) for name, runs in simulated.runs.items()}
    report = compare(solution, replace(simulated, runs=runs))
    assert report.verdict == "inconclusive"
    assert report.detectable["test_error"] > 10


# --- the verdict and what is seen ----------------------------------------------------------------


def test_few_seeds_are_inconclusive_even_where_the_theory_is_sevenfold_wrong(solution):
    wrong = changed(solution, test_error=7 * solution.test_error)
    for k in range(20):
        report = compare(wrong, synthetic(solution, 100, 3, k))
        assert report.verdict != "agree", k
        assert compare(solution, synthetic(solution, 100, 3, k)).verdict == "inconclusive", k
    assert "simulate more seeds" in compare(solution, synthetic(solution, 100, 3, 0)).message


def test_agreement_depends_on_the_resolution_that_is_asked_for(solution, simulated):
    seen = max(compare(solution, simulated).detectable.values())
    assert compare(solution, simulated, resolution=1.01 * seen).verdict == "agree"
    strict = compare(solution, simulated, resolution=0.99 * seen)
    assert strict.verdict == "inconclusive"
    assert strict.passed
    with pytest.raises(ValueError, match="resolution must satisfy resolution > 0; got 0"):
        compare(solution, simulated, resolution=0)


def test_a_deviation_that_is_rare_but_not_enough_is_inconclusive(solution):
    ensemble = synthetic(solution, 2000, 64, 0)
    verdicts = []
    for factor in np.linspace(1.0, 1.1, 21):
        wrong = changed(solution, test_error=factor * solution.test_error)
        report = compare(wrong, ensemble)
        verdicts.append(report.verdict)
        assert report.verdict == (
            "rejected"
            if report.p_value < 0.01
            else "agree"
            if report.p_value >= 0.1
            else "inconclusive"
        )
        if report.verdict == "inconclusive":
            assert "rare by chance, but not enough" in report.message
    assert list(dict.fromkeys(verdicts)) == ["agree", "inconclusive", "rejected"]


@pytest.mark.parametrize("name", ["test_error", "train_error"])
def test_an_error_that_is_said_to_be_seen_is_seen_in_95_percent(solution, name):
    late = np.minimum(solution.t, 1)
    seen = 0
    for seeds, k in [(seeds, k) for seeds in (4, 16) for k in range(50)]:
        ensemble = synthetic(solution, 500, seeds, k)
        factor = 1 + compare(solution, ensemble).detectable[name] * late
        other = synthetic(solution, 500, seeds, 1000 + k)
        seen += not compare(
            changed(solution, **{name: factor * solution.values[name]}), other
        ).passed
    assert seen >= 88  # 95 expected; the standard deviation of the count is 2.2


def test_two_time_functions_may_be_absent(solution, simulated):
    runs = {name: simulated.runs[name] for name in SINGLE}
    report = compare(solution, replace(simulated, runs=runs))
    assert report.passed
    assert set(report.theory) == set(SINGLE)
    assert "C_w" not in report.table()


# --- the table -----------------------------------------------------------------------------------


def test_table(solution, simulated):
    report = compare(changed(solution, train_error=1.5 * solution.train_error), simulated)
    rows = report.rows()
    assert len(rows) == 6 * 8
    lines = report.table().splitlines()
    assert len(lines) == 1 + len(rows)
    assert len({len(line) for line in lines}) == 1
    last = next(row for row in rows if row.observable == "train_error" and row.time == (10.0,))
    assert last.theory == pytest.approx(1.5 * solution.train_error[-1])
    assert last.difference == pytest.approx(last.simulation - last.theory)
    assert last.standard_errors == report.standard_errors("train_error")[-1]
    assert last.rejected
    assert sum(line.endswith("*") for line in lines) == sum(row.rejected for row in rows)
    pair = [row for row in rows if row.observable == "C_w"][-1]
    assert pair.time == (10.0, 4.0)
    assert pair.simulation == pytest.approx(report.simulation["C_w"][10, 4])
    text = str(report)
    assert text.startswith(report.message)
    assert report.table() in text
    assert "allowed bias" in text


# --- arguments -----------------------------------------------------------------------------------


def test_bad_arguments(solution, simulated):
    with pytest.raises(TypeError, match="solution must be"):
        compare(simulated, solution)
    with pytest.raises(TypeError, match="ensemble must be"):
        compare(solution, solution)
    other = replace(simulated, problem=replace(PROBLEM, lam=0.2))
    with pytest.raises(ValueError, match=r"lam=0\.2.*lam=0\.1"):
        compare(solution, other)
    with pytest.raises(ValueError, match=r"t_eval=ensemble\.t; got 11 .* and 5 times"):
        compare(solution, replace(simulated, t=TIMES[:5]))
    with pytest.raises(ValueError, match=r"solution\.t must equal ensemble\.t"):
        compare(solution, replace(simulated, t=TIMES * 1.001))
    compare(solution, replace(simulated, t=TIMES * (1 + 1e-12)))
