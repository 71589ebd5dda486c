"""Largest stable steps, and what they mean for solutions."""

import numpy as np
import pytest

import dmft
from dmft.limits.stability import right_edge, spectrum


def linear(dynamics, **settings):
    return dmft.Problem(0.5, network="linear", dynamics=dynamics, **settings)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_spectrum_has_the_moments_of_marchenko_and_pastur(delta):
    x, p = spectrum(delta, 2.0)
    assert p.sum() == pytest.approx(min(1.0, 1 / delta), rel=1e-2)
    assert p @ x == pytest.approx(2.0 / delta, rel=1e-12)
    assert p @ x**2 == pytest.approx(4.0 * (1 + 1 / delta) / delta, rel=1e-6)


def test_right_edge():
    assert right_edge(0.5, np.full(7, 2.0)) == pytest.approx(2.0 * (1 + 0.5**-0.5) ** 2, rel=1e-9)
    rng = np.random.default_rng(0)
    D = rng.uniform(0.5, 2.0, 1200)
    X = rng.standard_normal((600, 1200)) / np.sqrt(1200)
    largest = np.linalg.norm(X * np.sqrt(D / 0.5), 2) ** 2
    assert right_edge(0.5, D) == pytest.approx(largest, rel=0.03)


@pytest.mark.parametrize(("nu", "edge"), [(1, 0.333), (4, 0.178), (9, 0.095)])
def test_known_edges_of_sgd(nu, edge):
    problem = dmft.Problem(0.5, dynamics=dmft.SGD(0.1, 1 / (1 + nu)))
    assert dmft.largest_stable_step(problem) == pytest.approx(edge, abs=6e-4)


EVERY = [
    dmft.GradientDescent(0.1),
    dmft.GradientDescent(0.1, momentum=0.7),
    dmft.GradientDescent(0.1, momentum=0.7, nesterov=True),
    dmft.SGD(0.1, 0.2),
    dmft.SGD(0.1, 0.5, momentum=0.7),
    dmft.SGD(0.1, 0.5, momentum=0.7, nesterov=True),
    dmft.SGD(0.1, 0.5, "with_replacement"),
    dmft.SGD(0.1, 0.5, "one_pass", momentum=0.5),
]


@pytest.mark.parametrize("dynamics", EVERY, ids=repr)
def test_errors_of_a_linear_network_grow_just_above_the_edge_and_stay_below(dynamics):
    """The march knows nothing of the closed form."""
    import dataclasses

    edge = dmft.largest_stable_step(linear(dynamics, lam=0.1))
    trains = []
    for factor in (0.96, 1.04):
        problem = linear(dataclasses.replace(dynamics, step=factor * edge), lam=0.1)
        times = problem.dynamics.step * np.array([80.0, 160.0])
        if factor > 1:
            with pytest.warns(UserWarning, match="beyond the edge of stability"):
                solution = dmft.solve(problem, times[-1], times)
            assert solution.status == 3
        else:
            solution = dmft.solve(problem, times[-1], times)
            assert solution.success
        trains.append(solution.train_error)
    assert trains[0][1] < 1.1 * trains[0][0]
    assert trains[1][1] > 1.5 * trains[1][0]


def test_sharpness_starts_at_the_edge_formula_and_falls_after_a_catapult():
    problem = dmft.Problem(0.5, sigma2=0.1, dynamics=dmft.GradientDescent(0.4))
    with pytest.warns(UserWarning, match=r"step = 0.4 is beyond the edge .* 0.3431"):
        solution = dmft.solve(problem, 16.0, t_eval=[0.0, 2.0, 16.0], rtol=0.1)
    values = dmft.sharpness(solution, n=2000) * 0.4 / 2
    assert values[0] == pytest.approx(0.2 * (1 + 0.5**-0.5) ** 2, rel=1e-6)
    assert values[2] < 1.15


def test_effective_decay():
    problem = dmft.Problem(0.5, lam=0.2, dynamics=dmft.SGD(0.1, 0.2, label_noise=0.3))
    solution = dmft.solve(problem, 0.2, t_eval=[0.0, 0.2], rtol=0.1)
    start = 0.2 + 0.1 * (4 * 0.1 + 5 * 0.3) / 2.0
    assert dmft.effective_decay(solution)[0] == pytest.approx(start, rel=1e-9)


def test_label_noise_alone_ends_in_the_lasso():
    """On the same data: noisy steps, and flows with the penalty, half of it and twice it."""
    step, penalty, late = 0.05, 0.1, [0.0, 50.0, 60.0, 70.0, 80.0]
    noise = dmft.GradientDescent(step, label_noise=4 * 0.5 * penalty / step)
    problem = dmft.Problem(0.5, 0.5, sigma2=0.1, dynamics=noise)
    noisy = dmft.simulate(problem, late, 300, 8, rng=2, workers=1)
    # products of theta at different times leave out the weights' fluctuations, of order penalty
    apart = ~np.eye(4, dtype=bool)
    found = 0.5 * noisy.runs["C_w"][:, 1:, 1:][:, apart].mean(axis=1)
    z = []
    for factor in (0.5, 1.0, 2.0):
        lasso = dmft.Problem(0.5, 0.5, lam=factor * penalty, sigma2=0.1)
        limit = dmft.simulate(lasso, [0.0, 80.0], 300, 8, rng=2, workers=1)
        np.testing.assert_allclose(limit.runs["test_error"][:, 0], noisy.runs["test_error"][:, 0])
        difference = found / limit.runs["test_error"][:, -1] - 1
        z.append(difference.mean() / (difference.std(ddof=1) / np.sqrt(8)))
    half, right, twice = z
    assert abs(right) < 3.0, z
    assert half < -3.5, z
    assert twice > 3.5, z
    own = dmft.label_noise_limit(problem)
    flow = dmft.steady_state(dmft.Problem(0.5, 0.5, lam=penalty, sigma2=0.1))
    assert own.test_error == pytest.approx(flow.test_error, rel=1e-9)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (dmft.Problem(0.5, dynamics=dmft.GradientDescent(0.1)), "dynamics must have label noise"),
        (
            dmft.Problem(0.5, network="linear", dynamics=dmft.StochasticFlow(0.0, 0.1)),
            "network must be diagonal, of depth two; got",
        ),
    ],
)
def test_other_training_has_no_label_noise_limit(problem, text):
    with pytest.raises(ValueError, match=text):
        dmft.label_noise_limit(problem)


def test_no_closed_form_is_an_error():
    for dynamics in (dmft.GradientFlow(), dmft.SGD(0.1, 0.5, "reshuffle")):
        with pytest.raises(ValueError, match="dynamics must be in steps and see batches"):
            dmft.largest_stable_step(dmft.Problem(0.5, dynamics=dynamics))
