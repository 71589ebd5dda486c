"""Stochastic gradient flow on a time grid against exact values and small steps of SGD."""

import numpy as np
import pytest

import dmft
from dmft.equations import white_noise

TIMES = np.array([0.5, 1.0, 2.0, 4.0])
TEMPERATURE, LABELS = 0.2, 0.05


def linear_regression(temperature, labels, delta=0.5, power=0.1, sigma2=0.1):
    """Test and train error of a linear network at TIMES, shape (2, 4): an ordinary equation.

    For x of the Marchenko-Pastur law of X X^T/delta, c' = -2 x c + x^2 v and m' = -x m with
    v = temperature E c + labels; the limit of small steps of the exact recursion of SGD.
    """
    order = 200
    angle = np.pi * np.arange(1, order + 1) / (order + 1)
    low, high = ((1 + s * np.sqrt(delta)) ** 2 / delta for s in (-1, 1))
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    mass = np.sin(angle) ** 2 / x
    mass /= mass.sum()

    def slope(c):
        return -2 * x * c + x**2 * (temperature * (mass @ c) + labels)

    c, step, found = power * delta * x + sigma2, 1e-3, []
    for k in range(1, round(TIMES[-1] / step) + 1):
        one = slope(c)
        two = slope(c + 0.5 * step * one)
        three = slope(c + 0.5 * step * two)
        c = c + step / 6 * (one + 2 * two + 2 * three + slope(c + step * three))
        if np.any(np.abs(TIMES - k * step) < 1e-9):
            m = -sigma2 * np.exp(-x * k * step)
            rest = (1 - delta) * power
            found.append([(rest + mass @ ((c + 2 * m + sigma2) / x)) / 2, mass @ c / 2])
    return np.array(found).T


def problem(network=None, temperature=TEMPERATURE, labels=LABELS):
    flow = dmft.StochasticFlow(temperature, label_noise=labels)
    return dmft.Problem(0.5, sigma2=0.1, network=network or dmft.Diagonal(), dynamics=flow)


def both(solution):
    return np.array([solution.test_error, solution.train_error])


def test_linear_networks_reach_exact_values_at_order_two():
    exact = linear_regression(TEMPERATURE, LABELS)
    errors = []
    for rtol in (0.1, 1e-2):
        solution = dmft.solve(problem(dmft.Linear()), 4.0, TIMES, rtol=rtol)
        assert solution.success, solution.message
        estimate = np.array([solution.error["test_error"], solution.error["train_error"]])
        error = np.abs(both(solution) - exact)
        assert np.all(error <= estimate), rtol
        errors.append((np.max(error / exact), solution.stats["nodes"]))
    (rough, few), (fine, many) = errors
    assert np.log(rough / fine) / np.log(many / few) > 1.5


@pytest.fixture(scope="module")
def diagonal():
    return dmft.solve(problem(), 4.0, TIMES, rtol=1e-2)


def test_diagonal_networks_are_the_limit_of_small_steps(diagonal):
    assert diagonal.success
    small = []
    for step in (0.1, 0.05):
        batch = 1 / (1 + TEMPERATURE / step)
        sgd = dmft.SGD(step, batch, label_noise=LABELS / (step + TEMPERATURE))
        run = dmft.solve(dmft.Problem(0.5, sigma2=0.1, dynamics=sgd), 4.0, TIMES, rtol=1e-2)
        assert run.success, run.message
        small.append(both(run))
    limit = 2 * small[1] - small[0]
    # the next term of the step, a quarter of the square of what the first one changes
    left = np.abs(small[1] - small[0]) ** 2 / np.abs(limit)
    estimate = np.array([diagonal.error["test_error"], diagonal.error["train_error"]])
    assert np.all(np.abs(both(diagonal) - limit) <= estimate + 2 * left + 2e-3 * limit)


@pytest.mark.parametrize("part", ["drive", "residual", "decay"])
def test_without_a_part_of_the_noise_small_steps_are_missed(diagonal, monkeypatch, part):
    if part == "drive":
        monkeypatch.setattr(
            white_noise.NoisyResidual, "white_covariance", lambda self: 0.0 * self.brownian
        )
    elif part == "decay":
        decay = property(lambda self: 0.0 * self.integrated)
        monkeypatch.setattr(white_noise.NoisyResidual, "decay", decay)
    else:
        monkeypatch.setattr(white_noise, "_share", lambda reach: 0.0 * reach)
    wrong = dmft.solve(problem(), 4.0, TIMES, rtol=3e-2)
    assert np.all(np.isfinite(both(wrong)))
    difference = np.abs(both(wrong) - both(diagonal))
    combined = [wrong.error[n] + diagonal.error[n] for n in ("test_error", "train_error")]
    assert np.any(difference > np.array(combined))


def test_noise_rates_follow_the_train_error(diagonal):
    """Gamma' = temperature E r^2 + label noise, on the solver's own nodes."""
    from dmft.equations.assembly import build_residual

    residual = build_residual(diagonal.problem, diagonal.grid, diagonal.averages)
    rate = TEMPERATURE * residual.variance[1:] + LABELS
    np.testing.assert_allclose(residual.integrated, diagonal.grid.integration @ rate, rtol=1e-10)
    np.testing.assert_allclose(np.diag(residual.C_r), residual.variance, rtol=1e-9)


def test_files_and_paths(diagonal, tmp_path):
    diagonal.save(tmp_path / "flow.h5")
    assert dmft.load(tmp_path / "flow.h5") == diagonal
    paths = diagonal.sample_paths(4000, 1)
    product = np.log(paths.u[:, -1] * paths.v[:, -1])
    residual = 2 * diagonal.train_error
    assert np.ptp(product) < 1e-9  # the noise shrinks all of them alike
    assert -4.0 * (TEMPERATURE * residual[0] + LABELS) / 2 < product[0] < -4.0 * LABELS / 2
    spread = np.mean((paths.w - paths.w_star[:, None]) ** 2, axis=0) / 2
    np.testing.assert_allclose(spread, diagonal.test_error, rtol=0.1)


def test_time_that_runs_out_is_reported():
    late = dmft.solve(problem(), 4.0, TIMES, rtol=1e-2, max_time=1e-9)
    assert (late.success, late.status) == (False, 3)
    assert np.all(np.isinf(late.error["test_error"]))
