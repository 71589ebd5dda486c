"""The flow of one seed against closed forms, other integrators and its own laws."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, Gaussian
from dmft.simulation.data import draw_data
from dmft.simulation.flow import Flow
from dmft.simulation.simulate import simulate
from dmft.solvers.stiff_ode import integrate


def child(seed, k=0):
    return np.random.SeedSequence(seed, spawn_key=(k,))


def path(problem, t, data, rtol=1e-6):
    """Layers (T, L, d) along the path and the work done."""
    with np.errstate(all="ignore"):
        flow = Flow(problem, data, rtol)
        states, work = integrate(flow, flow.start, np.asarray(t, float))
    return np.stack([flow.layers(z) for z in states]), work


def errors(w, data):
    n, d = data.X.shape
    residual = w @ data.X.T - data.y
    return (
        np.sum((w - data.w_star) ** 2, axis=-1) / (2 * d),
        np.sum(residual**2, axis=-1) / (2 * n),
    )


@pytest.mark.parametrize("delta", [0.5, 2.0])
@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_linear_network_is_the_matrix_exponential(delta, lam):
    problem = Problem(delta, lam=lam, sigma2=0.2, signal=Gaussian(), network="linear")
    t = np.array([0.0, 0.1, 1.0, 10.0, 40.0])
    ensemble = simulate(problem, t, dimension=60, seeds=2, rng=5)
    for k in range(2):
        data = draw_data(problem, 60, rng=child(5, k))
        X, _, y = data
        values, V = np.linalg.eigh(X.T @ X / delta + lam * np.eye(60))
        values = np.maximum(values, 1e-300)
        gain = -np.expm1(-np.outer(t, values)) / values
        w = (gain * (V.T @ X.T @ y / delta)) @ V.T
        test, train = errors(w, data)
        assert ensemble.runs["test_error"][k] == pytest.approx(test, rel=1e-6)
        assert ensemble.runs["train_error"][k] == pytest.approx(train, rel=1e-6, abs=1e-12)
        assert ensemble.runs["mean_w"][k] == pytest.approx(w.mean(axis=1), rel=1e-5, abs=1e-7)
        assert ensemble.runs["overlap"][k] == pytest.approx(w @ data.w_star / 60, rel=1e-6)


@pytest.mark.parametrize(
    ("alpha", "lam", "scales"),
    [(1.0, 0.2, (1.0, 1.0)), (0.7, 0.0, (1.5, 0.4)), (1e-3, 0.05, (1.0, 1.0))],
)
def test_diagonal_network_against_scipy(alpha, lam, scales):
    problem = Problem(0.6, alpha, lam, 0.1, Bernoulli(0.3), Diagonal(*scales))
    data = draw_data(problem, 20, rng=child(3))
    n, d = data.X.shape

    def loss_gradient(t, layers):
        u, v = layers.reshape(2, d)
        slope = data.X.T @ (data.X @ ((u**2 - v**2) / 2) - data.y) / n
        return np.concatenate(
            [-d / 2 * (slope * u + lam * u / d), d / 2 * (slope * v - lam * v / d)]
        )

    t = np.linspace(0, 30, 7)
    start = alpha * np.repeat(scales, d)
    reference = solve_ivp(
        loss_gradient, (0, 30), start, "DOP853", t_eval=t, rtol=1e-12, atol=1e-14 * alpha
    )
    u, v = reference.y.reshape(2, d, -1)
    test, train = errors(((u**2 - v**2) / 2).T, data)
    ensemble = simulate(problem, t, dimension=20, seeds=1, rng=3)
    assert ensemble.test_error == pytest.approx(test, rel=1e-6)
    assert ensemble.train_error == pytest.approx(train, rel=1e-6)


@pytest.mark.parametrize(
    ("alpha", "lam", "network", "t_end"),
    [
        (1.0, 0.1, Diagonal(), 50),
        (20.0, 0.1, Diagonal(), 60),
        (1e-8, 0.01, Diagonal(2.0, 1.0), 60),
        (4.0, 0.1, Deep(3), 30),
        (0.3, 0.0, Deep(4), 60),
        (5.0, 0.05, Product(), 60),
        (0.3, 0.01, Product((1.0, 1.0, 0.5)), 60),
    ],
)
def test_default_tolerance_gives_five_digits(alpha, lam, network, t_end):
    problem = Problem(0.5, alpha, lam, 0.1, network=network)
    t = np.geomspace(1e-3, 1, 12) * t_end
    runs = [simulate(problem, t, 40, seeds=1, rng=1, rtol=rtol) for rtol in (1e-6, 1e-8)]
    for name in ("test_error", "train_error"):
        assert runs[0].mean(name) == pytest.approx(runs[1].mean(name), rel=1e-5)


def test_stiff_method_agrees_with_the_explicit_one():
    problem = Problem(0.5, alpha=40.0, lam=0.5, sigma2=0.1)
    data = draw_data(problem, 40, rng=child(2))
    t = np.geomspace(0.01, 20, 8)
    layers, work = path(problem, t, data)
    assert work.factorisations > 0
    with np.errstate(all="ignore"):
        flow = Flow(problem, data, 1e-6)
        flow.stiff_cost = np.inf
        states, explicit = integrate(flow, flow.start, t)
    assert explicit.factorisations == 0
    assert explicit.evaluations > 4 * work.evaluations
    w = problem.mirror.output_weight
    found = errors(np.stack([w(x) for x in layers]), data)
    expected = errors(np.stack([w(flow.layers(z)) for z in states]), data)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1] == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize(
    "network", [Diagonal(1.0, 0.5), Deep(3), Product(), Product((1.0, 0.6, 0.3))]
)
def test_jacobian_solver_against_dense_differences(network):
    problem = Problem(1.5, 0.8, 0.1, 0.1, network=network)
    flow = Flow(problem, draw_data(problem, 12, rng=0), 1e-6)
    z = flow.start + 0.1 * np.random.default_rng(0).standard_normal(flow.start.shape)
    step = 1e-6
    J = np.empty((z.size, z.size))
    for column in range(z.size):
        e = step * (np.arange(z.size) == column).reshape(z.shape)
        J[:, column] = ((flow.velocity(z + e) - flow.velocity(z - e)) / (2 * step)).ravel()
    linear = flow.linearise(z)
    b = np.random.default_rng(1).standard_normal(z.shape)
    expected = np.linalg.solve(3.0 * np.eye(z.size) - J, b.ravel())
    assert linear.solver(3.0)(b).ravel() == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert np.max(np.abs(np.linalg.eigvals(J))) <= linear.rate * (1 + 1e-6)


@pytest.mark.parametrize(
    ("alpha", "lam", "t_end"), [(1e-8, 0.02, 60), (1.0, 0.0, 20), (20, 0.1, 80)]
)
def test_conserved_products(alpha, lam, t_end):
    t = np.linspace(0, t_end, 6)
    scale = alpha**2 * np.exp(-lam * t)[:, None]
    for network in (Diagonal(), Product()):
        problem = Problem(0.5, alpha, lam, 0.1, network=network)
        layers, _ = path(problem, t, draw_data(problem, 30, rng=4))
        first, second = layers[:, 0], layers[:, 1]
        if isinstance(network, Diagonal):
            assert first * second / scale == pytest.approx(np.ones((6, 30)), rel=1e-9)
        else:
            size = np.max(np.abs(layers), axis=1) ** 2
            assert np.max(np.abs(first**2 - second**2 - 2 * scale) / size) < 1e-5


@pytest.mark.parametrize(
    ("alpha", "lam", "t_end"), [(1e-8, 0.0, 80), (1.0, 0.1, 30), (10, 0.1, 100)]
)
def test_product_of_two_layers_is_the_diagonal_network(alpha, lam, t_end):
    """p = (u + v)/sqrt 2, q = (u - v)/sqrt 2 turn one into the other; one runs in logarithms."""
    t = np.linspace(0, t_end, 9)
    runs = [
        simulate(Problem(0.5, alpha, lam, 0.1, network=network), t, 50, seeds=1, rng=2)
        for network in (Diagonal(), Product())
    ]
    assert runs[0].test_error == pytest.approx(runs[1].test_error, rel=1e-5)
    assert runs[0].train_error == pytest.approx(runs[1].train_error, rel=1e-5)


def test_tiny_start_leaves_zero_at_its_logarithmic_time():
    """A layer grows as exp(max|h| t/2), so w is active at about t = 2 log(1/alpha)/max|h(0)|."""
    problem = Problem(0.5, alpha=1e-8, sigma2=0.1)
    data = draw_data(problem, 100, rng=child(0))
    escape = 2 * np.log(1e8) / np.max(np.abs(data.X.T @ data.y / 0.5))
    ensemble = simulate(problem, [0.0, 0.9 * escape, 1.2 * escape], 100, seeds=1)
    start, before, after = ensemble.train_error
    assert 1e-12 < 1 - before / start < 0.02
    assert after < 0.97 * start


def test_long_times_reach_the_lasso_optimum():
    lam = 0.1
    for alpha in (20.0, 0.1):
        problem = Problem(0.5, alpha, lam, 0.1)
        data = draw_data(problem, 40, rng=child(7))
        layers, _ = path(problem, [5e4], data)
        w = problem.mirror.output_weight(layers[0])
        h = data.X.T @ (data.X @ w - data.y) / 0.5
        active = np.abs(w) > 1e-3
        assert 0 < active.sum() < 20
        assert h[active] == pytest.approx(-lam * np.sign(w[active]), abs=1e-6)
        assert np.all(np.abs(h) < lam + 1e-3)


def test_reference_values_within_their_errors():
    problem = Problem(0.5, alpha=1.0, lam=0.1, sigma2=0.1)
    ensemble = simulate(problem, [10.0], dimension=300, seeds=8)
    for name, value in (("test_error", 0.0559054), ("train_error", 0.00156378)):
        error = ensemble.standard_error(name)[0]
        assert abs(ensemble.mean(name)[0] - value) < 4 * error
        assert error < 0.1 * value


def test_samples_are_counted_in_the_loss():
    """E[h] = w - w* at t = 0 and n = round(delta d) for a delta that d does not divide."""
    problem = Problem(0.5, signal=Bernoulli(1.0), network="linear")
    t = 1e-5
    with pytest.warns(
        UserWarning, match=r"n = 2 samples in dimension 3 are delta = 0\.666667, \+33 %"
    ):
        ensemble = simulate(problem, [t], dimension=3, seeds=400, workers=1)
    assert ensemble.samples == 2
    slope, error = ensemble.mean("overlap")[0] / t, ensemble.standard_error("overlap")[0] / t
    assert abs(slope - 1) < 4 * error
    assert error < 0.06
