"""Layers that start differently in each coordinate, jointly with the target."""

import numpy as np
import pytest

import dmft
from dmft import Bernoulli, Gaussian, Joint, Linear, Problem
from dmft.networks.diagonal import Diagonal
from dmft.networks.starts import Started, started

TIMES = np.array([0.0, 0.5, 2.0, 5.0])
STARTS = [[1.0, 1.0], [3.0, 1.0], [1.0, 2.0]]
LAWS = [Bernoulli(0.05), Gaussian(0.3, 0.7), [0.0, 0.0, -1.0]]
MASSES = [0.6, 0.2, 0.2]
CORRELATED = Problem(0.5, 0.5, 0.05, 0.1, signal=Joint(STARTS, LAWS, MASSES))


def marchenko_pastur(delta, function):
    """Return the average over the spectrum of X^T X/delta away from 0, by the midpoint rule."""
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    angle = np.pi * (np.arange(4000) + 0.5) / 4000
    x = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(angle)
    density = delta * np.sqrt((high - x) * (x - low)) / (2 * np.pi * x)
    return np.mean(function(x) * density * 0.5 * np.pi * (high - low) * np.sin(angle))


def test_linear_regression_from_random_starts_has_its_closed_form():
    # w - w0 starts at 0 and has the target w* - w0
    law = Joint([[2.0], [-1.0]], [Gaussian(0.5, 1.0), Bernoulli(0.5)], [0.4, 0.6])
    problem = Problem(0.5, 0.5, 0.0, 0.2, signal=law, network=Linear())
    solution = dmft.solve(problem, 5.0, TIMES, rtol=1e-7)
    assert solution.success, solution.message
    distance = 0.4 * 0.25 + 0.6 * (0.5 * 1.5**2 + 0.5 * 0.5**2)
    overlap, power = 0.4 * 1.0 - 0.6 * 0.5 * 0.5, 0.4 * 1.25 + 0.6 * 0.5
    mean, target = 0.4 * 1.0 - 0.6 * 0.5, 0.4 * 1.0 + 0.6 * 0.5
    for k, t in enumerate(TIMES):
        noise = marchenko_pastur(0.5, lambda x, t=t: (1 - np.exp(-t * x)) ** 2 / x)
        kept = 0.5 + marchenko_pastur(0.5, lambda x, t=t: np.exp(-2 * t * x))
        stayed = 0.5 + marchenko_pastur(0.5, lambda x, t=t: np.exp(-t * x))
        expected = {
            "test_error": 0.5 * (distance * kept + 0.4 * noise),
            "mean_w": target + stayed * (mean - target),
            "overlap": power + stayed * (overlap - power),
        }
        for name, value in expected.items():
            assert solution.values[name][k] == pytest.approx(value, rel=1e-6), (name, t)


def test_simulations_draw_targets_and_starts_from_the_joint_law():
    solution = dmft.solve(CORRELATED, 5.0, TIMES, rtol=1e-3)
    assert solution.success, solution.message
    ensemble = dmft.simulate(CORRELATED, TIMES, dimension=300, seeds=16, rng=2, workers=1)
    report = dmft.compare(solution, ensemble)
    assert report.verdict == "agree", report.message
    # the same marginal laws of targets and starts, but independent of each other, are told apart
    masses, means, stds = CORRELATED.signal.mixture

    class Mixture(dmft.SignalLaw):
        def components(self):
            return tuple(map(dmft.Component, masses, means, stds))

    independent = Problem(0.5, 0.5, 0.05, 0.1, signal=Joint(STARTS, Mixture(), MASSES))
    assert independent.signal.second_moment == pytest.approx(CORRELATED.signal.second_moment)
    wrong = dmft.solve(independent, 5.0, TIMES, rtol=1e-3)
    assert wrong.success, wrong.message
    deviation = abs(wrong.test_error / ensemble.test_error - 1)
    assert deviation[-1] > 3 * abs(solution.test_error / ensemble.test_error - 1)[-1]


def test_a_law_with_one_start_is_the_network_with_that_start():
    for start in ((1.0, 1.0), (1.5, 0.5)):
        joint = Problem(0.5, 1.0, 0.1, 0.1, signal=Joint([start], Bernoulli(0.1)))
        plain = Problem(0.5, 1.0, 0.1, 0.1, network=Diagonal(*start))
        one, other = (dmft.solve(p, 3.0, rtol=1e-3) for p in (joint, plain))
        for name in one.values:
            np.testing.assert_array_equal(one.values[name], other.values[name], err_msg=name)


def test_paths_and_files_keep_the_joint_law(tmp_path):
    solution = dmft.solve(CORRELATED, 5.0, TIMES, rtol=1e-2)
    solution.save(tmp_path / "started.h5")
    loaded = dmft.load(tmp_path / "started.h5")
    assert loaded.problem == CORRELATED
    paths = loaded.sample_paths(4000, rng=0)
    assert paths.w.mean(axis=0) == pytest.approx(solution.mean_w, abs=0.03)
    overlap = np.mean(paths.w * paths.w_star[:, None], axis=0)
    assert overlap == pytest.approx(solution.overlap, abs=0.03)
    np.testing.assert_allclose(paths.w, 0.5 * (paths.u**2 - paths.v**2), atol=1e-12)
    assert set(np.round(paths.u[:, 0] / 0.5, 9)) == {1.0, 3.0}
    assert loaded.sample_responses(9, 1).shape == (9, 4)


def test_a_start_without_a_closed_form_is_a_table_of_the_layers():
    H, t = np.linspace(-3.0, 3.0, 13)[:, None], np.zeros(1)
    table, exact = Started(Diagonal(), (1.5, 0.5)), started(Diagonal(), (1.5, 0.5))
    for function in ("weight", "hessian_inverse"):
        one, other = (getattr(n, function)(0.7, 0.1, H, t) for n in (table, exact))
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8, err_msg=function)


def test_what_assumes_one_start_refuses():
    flow = Problem(0.5, 0.5, 0.0, 0.1, signal=CORRELATED.signal)
    steps = Problem(
        0.5, 0.5, 0.0, 0.1, signal=CORRELATED.signal, dynamics=dmft.GradientDescent(0.1)
    )
    refused = (
        lambda: dmft.steady_state(flow),
        lambda: dmft.convergence_rate(flow),
        lambda: dmft.search_to_descent_time(flow),
        lambda: dmft.lazy_to_rich_time(CORRELATED),
        lambda: dmft.largest_stable_step(steps),
        lambda: dmft.solve(steps, 1.0),
    )
    for ask in refused:
        with pytest.raises(ValueError, match="signal must leave the start of the layers"):
            ask()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 1.0], Bernoulli()), "starts must have a row for each start"),
        (([[1.0, np.nan]], Bernoulli()), "starts"),
        ((STARTS, LAWS[:2]), "laws must be one, or one for each of 3 starts; got 2"),
        ((STARTS, LAWS, [0.5, 0.5]), "probabilities must have one number for each of the 3"),
        ((STARTS, LAWS, [0.5, 0.4, 0.2]), "probabilities must sum to 1"),
        ((STARTS, Joint(STARTS, LAWS)), "laws must not have starts of their own"),
    ],
)
def test_bad_joint_laws(arguments, message):
    with pytest.raises(ValueError, match=message):
        Joint(*arguments)


def test_starts_have_to_suit_the_network():
    with pytest.raises(ValueError, match="a start for each of 2 layers"):
        Problem(0.5, signal=Joint([[1.0]], Bernoulli()))
    with pytest.raises(ValueError, match=r"start of a layer must satisfy .* > 0; got -1"):
        Problem(0.5, signal=Joint([[1.0, -1.0]], Bernoulli()))
