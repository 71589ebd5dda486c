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


def plain_march(inside, steps=11, paths=8000, step=0.1, batch=0.2):
    """March SGD of the diagonal network with nothing but independent paths and their tangents.

    Returns test error and E r^2/2. The noise of the batches is inside the sandwich, or, as a wrong
    theory has it, beside it: C_h = (C_r + V)/delta.
    """
    delta, sigma2, nu, rng = 0.5, 0.1, 1 / batch - 1, np.random.default_rng(4)
    w_star = (np.arange(paths) < 0.1 * paths).astype(float)
    u, v = np.ones((2, paths))
    theta, A = np.empty((steps, paths)), np.eye(steps)
    R, V = np.zeros((steps, steps)), np.zeros(steps)
    du, dv = np.zeros((2, steps, paths))  # responses of u_k, v_k to the fields f_j
    dh = np.zeros((steps, steps, paths))
    half, train = rng.standard_normal((steps, paths // 2)), np.empty(steps)
    draws = np.concatenate([half, -half], axis=1)
    for k in range(steps):
        theta[k] = 0.5 * (u**2 - v**2) - w_star
        dtheta = u * du - v * dv
        R[k, :k] = dtheta.mean(axis=1)[:k]
        A = np.linalg.inv(np.eye(steps) - R / delta)
        C_y = np.zeros((steps, steps))
        C_y[: k + 1, : k + 1] = theta[: k + 1] @ theta[: k + 1].T / paths + sigma2
        B = A - np.eye(steps)
        C_r = A @ C_y @ A.T + B @ np.diag(V) @ B.T
        train[k] = 0.5 * C_r[k, k]
        V[k] = nu * C_r[k, k]
        C_h = (A @ (C_y + np.diag(V)) @ A.T if inside else C_r + np.diag(V)) / delta
        root = np.linalg.cholesky(C_h[: k + 1, : k + 1])
        h = A[k, : k + 1] @ theta[: k + 1] + root[k] @ draws[: k + 1]
        dh[k] = dtheta + np.einsum("l,ljp->jp", R[k] / delta, dh)
        own = dh[k] + (np.arange(steps) == k)[:, None]
        du, dv = (
            (1 - 0.5 * step * h) * du - 0.5 * step * u * own,
            (1 + 0.5 * step * h) * dv + 0.5 * step * v * own,
        )
        u, v = u * (1 - 0.5 * step * h), v * (1 + 0.5 * step * h)
    return 0.5 * np.mean(theta**2, axis=1), train


def test_noise_of_the_batches_is_inside_the_sandwich():
    dynamics, steps = dmft.SGD(0.1, 0.2), np.array([0, 2, 5, 10])
    solution = dmft.solve(problem_of(dynamics), 1.0, steps * dynamics.step, rtol=5e-3)
    test, train = plain_march(inside=True)
    np.testing.assert_allclose(test[steps], solution.test_error, rtol=0.04)
    np.testing.assert_allclose(train[steps], solution.train_error, rtol=0.04)
    ensemble = dmft.simulate(problem_of(dynamics), solution.t, DIMENSION, SEEDS, rng=8, workers=1)
    for inside, rejected in ((True, False), (False, True)):
        test, train = plain_march(inside)
        difference = np.abs(test[10] - ensemble.runs["test_error"][:, -1].mean())
        spread = ensemble.runs["test_error"][:, -1].std(ddof=1) / np.sqrt(SEEDS)
        z = difference / np.hypot(spread, 0.04 * solution.test_error[-1])
        assert (z > 8.0) == rejected, (inside, z)
        assert rejected or z < 4.0, (inside, z)
