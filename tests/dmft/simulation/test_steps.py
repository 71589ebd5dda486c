"""Training in steps at finite dimension, against the update written out."""

import numpy as np
import pytest

import dmft
from dmft.dynamics.sgd import SAMPLINGS
from dmft.simulation.data import draw_data
from dmft.simulation.steps import _batches, descend

PROBLEM = {"delta": 0.5, "sigma2": 0.1, "lam": 0.05}


def test_heavy_ball_is_the_update_itself():
    problem = dmft.Problem(**PROBLEM, dynamics=dmft.GradientDescent(0.1, momentum=0.6))
    data = draw_data(problem, 300, rng=1)  # rows in several blocks
    weights, steps = descend(problem, data, np.array([0.0, 0.1, 0.7]), np.random.default_rng(0))
    u, v = np.ones((2, 300))
    u_old, v_old = u, v
    kept = []
    for _ in range(8):
        w = (u**2 - v**2) / 2
        kept.append(w)
        h = data.X.T @ (data.X @ w - data.y) / (150 / 300)
        u, u_old = u * (1 - 0.05 * (h + 0.05)) + 0.6 * (u - u_old), u
        v, v_old = v * (1 - 0.05 * (-h + 0.05)) + 0.6 * (v - v_old), v
    assert steps == 7
    np.testing.assert_allclose(weights, np.array(kept)[[0, 1, 7]], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("sampling", [s for s in SAMPLINGS if s != "one_pass"])
def test_batches(sampling):
    batches = _batches(1000, dmft.SGD(0.1, 0.25, sampling), np.random.default_rng(2))
    drawn = [next(batches) for _ in range(400)]
    weights = np.zeros((400, 1000))
    for k, (indices, weight) in enumerate(drawn):
        np.add.at(weights[k], indices, weight)
    assert abs(weights.mean() - 1.0) < 0.01
    nu = {"with_replacement": 4.0}.get(sampling, 3.0)
    assert abs(weights.var() - nu) < 0.05
    epochs = weights.reshape(100, 4, 1000)
    if sampling in ("reshuffle", "cyclic"):
        np.testing.assert_array_equal(epochs.sum(axis=1), 4.0)
        assert np.all(epochs[0] == epochs[1]) == (sampling == "cyclic")
    else:
        assert abs(np.mean((weights[1:] - 1) * (weights[:-1] - 1))) < 0.05


def test_same_seed_same_runs_whatever_the_workers():
    problem = dmft.Problem(**PROBLEM, dynamics=dmft.SGD(0.1, 0.2, label_noise=0.1))
    first = dmft.simulate(problem, [0.0, 0.5], dimension=40, seeds=3, rng=5, workers=1)
    second = dmft.simulate(problem, [0.0, 0.5], dimension=40, seeds=3, rng=5, workers=2)
    np.testing.assert_array_equal(first.runs["test_error"], second.runs["test_error"])
    assert np.ptp(first.runs["test_error"][:, 1]) > 0


def test_small_steps_are_the_flow():
    flow = dmft.Problem(**PROBLEM)
    steps = dmft.Problem(**PROBLEM, dynamics=dmft.GradientDescent(0.002))
    settings = {"t_eval": [0.0, 1.0], "dimension": 60, "seeds": 2, "rng": 3}
    a, b = (dmft.simulate(p, **settings).runs["C_w"] for p in (flow, steps))
    np.testing.assert_allclose(b, a, rtol=3e-3)


def test_times_and_dynamics_that_cannot_be_simulated_are_named():
    problem = dmft.Problem(**PROBLEM, dynamics=dmft.SGD(0.1, 0.2))
    with pytest.raises(ValueError, match=r"multiples of step = 0.1; got 0.25"):
        dmft.simulate(problem, [0.25], dimension=10)
    problem = dmft.Problem(**PROBLEM, dynamics=dmft.StochasticFlow(0.2))
    with pytest.raises(ValueError, match=r"step \(1/batch - 1\) = 0.2"):
        dmft.simulate(problem, [0.2], dimension=10)
