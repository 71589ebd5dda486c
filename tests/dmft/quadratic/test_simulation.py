import math

import numpy as np
import pytest

import dmft
from dmft import QuadraticProblem
from dmft.quadratic.sensing import GaussianSensing, RankOneSensing

PROBLEM = QuadraticProblem(0.4, 0.7, 0.5, lam=0.5, label_noise=0.25)
SEED = 3


def sensing_of(design, dimension, samples, max_memory=1e9):
    seed = np.random.SeedSequence(SEED)
    if design == "gaussian":
        return GaussianSensing(dimension, samples, seed, max_memory)
    return RankOneSensing(dimension, samples, seed)


@pytest.mark.parametrize("design", ["gaussian", "rank_one"])
def test_sensing_matrices_have_the_moments_of_the_orthogonal_ensemble(design):
    d, n = 6, 40_000
    sensing = sensing_of(design, d, n)
    entry, diagonal = np.zeros((d, d)), np.zeros((d, d))
    entry[1, 3] = entry[3, 1] = 0.5  # picks X_13
    diagonal[2, 2] = 1.0
    first, second = sensing.measure(entry), sensing.measure(diagonal)
    assert np.var(first) == pytest.approx(1 / d, rel=0.05), f"seed {SEED}"
    assert np.var(second) == pytest.approx(2 / d, rel=0.05), f"seed {SEED}"
    assert abs(np.mean(second)) < 4 * math.sqrt(2 / d / n), f"seed {SEED}"


@pytest.mark.parametrize("design", ["gaussian", "rank_one"])
def test_measuring_and_combining_are_adjoint(design):
    d, n = 7, 25
    sensing = sensing_of(design, d, n)
    rng = np.random.default_rng(SEED)
    Z, r, y = rng.standard_normal((d, d)), rng.standard_normal(n), rng.standard_normal(n)
    Z += Z.T
    combined = sensing.combine(r)
    assert np.sum(combined * Z) == pytest.approx(r @ sensing.measure(Z), rel=1e-12)
    assert combined == pytest.approx(combined.T, abs=1e-12)
    residual, force = sensing.residual_and_force(Z, y)
    assert residual == pytest.approx(sensing.measure(Z) - y, rel=1e-12)
    assert force == pytest.approx(d / n * sensing.combine(residual), rel=1e-12)


def test_rows_that_are_not_held_are_the_same(monkeypatch):
    monkeypatch.setattr("dmft.quadratic.sensing.BLOCK", 200)
    held, drawn = sensing_of("gaussian", 8, 30), sensing_of("gaussian", 8, 30, max_memory=3000)
    assert (held.on_the_fly, drawn.on_the_fly) == (False, True)
    Z = np.eye(8)
    assert np.array_equal(held.measure(Z), drawn.measure(Z))
    assert np.array_equal(held.combine(np.ones(30)), drawn.combine(np.ones(30)))


def test_the_flow_descends_the_loss_in_its_unit_of_time():
    step = 1e-4
    ensemble = dmft.simulate(PROBLEM, [0.0, step, 2 * step], dimension=30, seeds=2, rtol=1e-9)
    loss = ensemble.runs["train_error"] + PROBLEM.lam * ensemble.runs["trace"]
    assert np.all(np.diff(loss, axis=1) < 0)
    # exact initial rate of the trace in the limit: -2 Tr[(M + 2 lam) Z]/d with M = 2 (Z - Z*) + N
    gamma, kappa = PROBLEM.init_variance, PROBLEM.kappa
    rate = -4 * (gamma**2 * (1 + 1 / kappa) - gamma) - 4 * PROBLEM.lam * gamma
    ensemble = dmft.simulate(PROBLEM, [0.0, 1e-3], dimension=40, seeds=40)
    rates = np.diff(ensemble.runs["trace"], axis=1)[:, 0] / 1e-3
    error = rates.std(ddof=1) / math.sqrt(40)
    assert abs(rates.mean() - rate) < 4 * error + 0.03 * abs(rate)
    assert abs(0.5 * rates.mean() - rate) > 10 * error


def test_the_start_and_the_long_time_limit():
    ensemble = dmft.simulate(PROBLEM, [0.0, 6.0], dimension=32, seeds=12)
    state = dmft.steady_state(PROBLEM)
    start = PROBLEM.initial_mse, PROBLEM.initial_mse / 2 + PROBLEM.label_noise / 4
    theory = {"mse": (start[0], state.mse), "train_error": (start[1], state.train_error)}
    theory["trace"] = 1.0, state.trace
    for name, values in theory.items():
        bias = 2 * np.array(values) / ensemble.dimension  # of order 1/d
        assert np.all(np.abs(ensemble.values[name] - values) < 3.5 * ensemble.error[name] + bias)


def test_designs_agree():
    times = [0.3, 2.0]
    gaussian = dmft.simulate(PROBLEM, times, dimension=40, seeds=8)
    vectors = dmft.simulate(PROBLEM, times, dimension=40, seeds=8, design="rank_one")
    for name in ("mse", "train_error", "overlap"):
        difference = np.abs(gaussian.values[name] - vectors.values[name])
        error = np.hypot(gaussian.error[name], vectors.error[name])
        assert np.all(difference < 4 * error + 4 * gaussian.values[name] / 40), name


def test_the_result_is_stored_and_does_not_depend_on_the_workers(tmp_path):
    alone = dmft.simulate(PROBLEM, [0.0, 0.5], dimension=12, seeds=2, rng=5)
    shared = dmft.simulate(PROBLEM, [0.0, 0.5], dimension=12, seeds=2, rng=5, workers=2)
    assert alone == shared
    alone.save(tmp_path / "runs.h5")
    assert dmft.load(tmp_path / "runs.h5") == alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 1}, "dimension must be an integer >= 2"),
        ({"seeds": 0}, "seeds must be"),
        ({"design": "rademacher"}, "design must be one of"),
        ({"t_eval": [1.0, 0.0]}, "t_eval must be strictly increasing"),
        ({"rtol": 0.0}, "rtol must"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        dmft.simulate(PROBLEM, **({"t_eval": [0.0, 1.0], "dimension": 10} | options))
