import math
from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft import QuadraticProblem
from dmft.quadratic import recovery_threshold, steady_states

SETTINGS = [
    QuadraticProblem(0.3, 0.7, 0.5, lam=0.1, label_noise=0.25),
    QuadraticProblem(0.25, 0.4, 0.3, lam=0.05),
    QuadraticProblem(0.6, 0.3, 0.3, lam=0.5, label_noise=0.25),
    QuadraticProblem(0.4, 1.5, 2.0, lam=0.1, label_noise=1.0),
    QuadraticProblem(0.5, 0.01, 0.5, lam=0.1, label_noise=0.25),
]


@pytest.mark.parametrize("problem", SETTINGS)
def test_the_least_loss_changes_with_the_decay_by_the_trace(problem):
    """d/dlam min (train + lam Tr Z/d) = Tr Z/d: any wrong factor in the equations breaks it."""
    step = 1e-4 * problem.lam
    up, down = (
        dmft.steady_state(replace(problem, lam=problem.lam + sign * step)) for sign in (1, -1)
    )
    loss_up = up.train_error + up.problem.lam * up.trace
    loss_down = down.train_error + down.problem.lam * down.trace
    trace = dmft.steady_state(problem).trace
    assert (loss_up - loss_down) / (2 * step) == pytest.approx(trace, rel=1e-6)


def test_the_spectrum_holds_the_observables():
    problem = SETTINGS[0]
    state = dmft.steady_state(problem)
    top = 12.0
    nodes, weights = np.polynomial.legendre.leggauss(1000)
    x = (nodes + 1) * top / 2
    density = state.density(x) * weights * top / 2
    assert np.sum(density) == pytest.approx(state.rank, rel=1e-4)
    assert np.sum(density * x) == pytest.approx(state.trace, rel=1e-4)
    power = state.mse - problem.teacher_power + 2 * state.overlap
    assert np.sum(density * x**2) == pytest.approx(power, rel=1e-4)


def test_no_decay_is_the_limit_of_little_decay():
    for problem in (SETTINGS[0], replace(SETTINGS[0], alpha=0.8)):
        limit = dmft.steady_state(replace(problem, lam=0.0))
        near = dmft.steady_state(replace(problem, lam=1e-6))
        assert near.mse == pytest.approx(limit.mse, abs=1e-4)
        assert near.train_error == pytest.approx(limit.train_error, abs=1e-4)
    assert limit.branch == "determined"


@pytest.mark.parametrize(("kappa", "kappa_star"), [(0.7, 0.5), (0.35, 0.3), (1.2, 1.5)])
def test_the_error_vanishes_from_the_threshold_on(kappa, kappa_star):
    threshold = recovery_threshold(kappa, kappa_star)
    below, above = (
        dmft.steady_state(QuadraticProblem(factor * threshold, kappa, kappa_star))
        for factor in (0.999, 1.001)
    )
    assert 0 < below.mse < 0.02
    assert (above.mse, above.branch) == (0.0, "recovered")


def test_thresholds():
    assert recovery_threshold(1.5, 1.0) == 0.5
    assert recovery_threshold(3.0, 2.0, regularised=False) == 0.5
    assert recovery_threshold(0.9, 2.0) == math.inf
    # a student of the teacher's width: as many samples as matrices of that rank have parameters
    assert recovery_threshold(0.3, 0.3) == pytest.approx(0.3 - 0.3**2 / 2)
    # a wider student needs more, up to the width at which its rank no longer matters
    values = recovery_threshold(np.array([0.3, 0.35, 0.4, 0.7, 2.0]), 0.3)
    assert np.all(np.diff(values) >= 0)
    assert values[-1] == values[-2] > values[2]
    assert recovery_threshold(0.3001, 0.3) == pytest.approx(0.255, abs=2e-3)


def test_noise_gives_a_peak_where_training_begins_to_fail():
    problem = QuadraticProblem(0.3, 0.4, 0.3, lam=0.01, label_noise=1.0)
    alphas = np.linspace(0.1, 0.6, 26)
    mse = np.array([state.mse for state in steady_states(problem, alphas)])
    peaks = np.flatnonzero((mse[1:-1] > mse[:-2]) & (mse[1:-1] > mse[2:])) + 1
    assert len(peaks) == 1
    assert 0.25 < alphas[peaks[0]] < 0.4
    assert mse[7] == pytest.approx(dmft.steady_state(replace(problem, alpha=alphas[7])).mse)


def test_what_rounding_hides_is_refused():
    with pytest.raises(RuntimeError, match="rounding hides it"):
        dmft.steady_state(QuadraticProblem(1.0, 0.7, 0.5, lam=1e-9))


@pytest.mark.parametrize("name", ["alpha", "kappa", "kappa_star", "init_variance"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "a"])
def test_bad_problems(name, value):
    valid = {"alpha": 0.3, "kappa": 0.7, "kappa_star": 0.5}
    with pytest.raises(ValueError, match=f"{name} must"):
        QuadraticProblem(**(valid | {name: value}))


def test_bad_decay_noise_and_widths():
    for name in ("lam", "label_noise"):
        with pytest.raises(ValueError, match=f"{name} must satisfy {name} >= 0"):
            QuadraticProblem(0.3, 0.7, 0.5, **{name: -0.1})
    with pytest.raises(ValueError, match="kappa must be positive"):
        recovery_threshold(-1.0, 0.3)
    with pytest.raises(ValueError, match="alpha must"):
        steady_states(SETTINGS[0], [0.3, -0.3])
