"""Training in steps: theory against simulations of the layers, and wrong theories rejected."""

import numpy as np
import pytest

import dmft

SETTING = {"delta": 0.5, "sigma2": 0.1}
STEPS = np.array([0, 2, 5, 10, 20])
DIMENSION, SEEDS = 600, 24


def problem_of(dynamics):
    return dmft.Problem(**SETTING, dynamics=dynamics)


def theory(dynamics):
    times = STEPS * dynamics.step
    return dmft.solve(problem_of(dynamics), times[-1], times, rtol=0.02)


def simulation(dynamics):
    times = STEPS * dynamics.step
    return dmft.simulate(problem_of(dynamics), times, DIMENSION, SEEDS, rng=8, workers=1)


def deviations(solution, ensemble, name):
    """Return differences in combined standard errors, with |w*|^2 of the seeds regressed out."""
    power = ensemble.runs["test_error"][:, 0] - solution.test_error[0]
    centred, runs = power - power.mean(), ensemble.runs[name]
    slope = np.tensordot(centred, runs, axes=1) / (centred @ centred)
    rest = runs - runs.mean(axis=0) - np.multiply.outer(centred, slope)
    error = np.sqrt(np.sum(rest**2, axis=0) / (SEEDS - 2) / SEEDS)
    # values at finite d are off by 1/d and more where noise has accumulated
    bias = 8.0 / DIMENSION * np.abs(runs.mean(axis=0))
    total = np.sqrt(error**2 + (solution.error[name] / 3.2) ** 2 + bias**2) + 1e-12
    return np.abs(solution.values[name] - (runs.mean(axis=0) - slope * power.mean())) / total


VARIANTS = [
    dmft.GradientDescent(0.3, label_noise=0.05),
    dmft.GradientDescent(0.1, momentum=0.8, nesterov=True),
    dmft.SGD(0.1, 0.2),
    dmft.SGD(0.1, 0.2, "with_replacement", momentum=0.3),
    dmft.SGD(0.1, 0.2, "reshuffle", label_noise=0.05),
    dmft.SGD(0.1, 0.2, "cyclic"),
    dmft.SGD(0.1, 0.5, "one_pass"),
]


@pytest.mark.parametrize("dynamics", VARIANTS, ids=repr)
def test_theory_is_the_limit_of_simulations(dynamics):
    solution, ensemble = theory(dynamics), simulation(dynamics)
    for name in ("test_error", "train_error", "mean_w", "C_w", "C_r"):
        z = deviations(solution, ensemble, name)
        assert np.max(z) < 4.0, (name, z)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (dmft.SGD(0.1, 0.2), dmft.GradientDescent(0.1)),  # no noise of batches
        (dmft.SGD(0.1, 0.2), dmft.SGD(0.1, 0.2, "with_replacement")),  # nu = 1/b
        (dmft.SGD(0.1, 0.2, "reshuffle"), dmft.SGD(0.1, 0.2)),  # epochs as independent steps
        (dmft.SGD(0.1, 0.2, "cyclic"), dmft.SGD(0.1, 0.2, "reshuffle")),
    ],
    ids=["noiseless", "nu", "independent", "reshuffled"],
)
def test_wrong_theories_are_rejected(right, wrong):
    z = deviations(theory(wrong), simulation(right), "train_error")
    assert 8.0 < np.max(z) < np.inf, z
