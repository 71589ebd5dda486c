import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dmft.limits.rates import convergence_rate, fit_rate
from dmft.limits.state_evolution import MirrorProx
from dmft.limits.steady_states import steady_state
from dmft.limits.transitions import (
    detect_lazy_to_rich,
    detect_search_to_descent,
    grokking_delay,
    lazy_to_rich_time,
    search_to_descent_time,
    timescales,
)
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete

# --- approach to the limit ------------------------------------------------------------


def test_reference_rate():
    assert abs(convergence_rate(Problem(0.5, 1.0, 0.0, 0.1)) - 0.182) < 5e-4


@pytest.mark.parametrize(
    "problem",
    [
        Problem(0.5, 1.0, 0.0, 0.1),
        Problem(0.5, 1.0, 0.0, 0.1, network=Deep(3)),
        Problem(2.0, 1.0, 0.0, 0.1),
        Problem(2.0, 1.0),
        Problem(3.0, 1.0, 0.0, 0.1, BernoulliGaussian(0.5), Deep(4)),
        Problem(0.5, 1.0, 0.0, 0.1, network=Product((1.0, 0.5, 0.2))),
        Problem(0.4, 1.0, 0.0, 0.1, network=Linear()),
        Problem(2.5, 1.0, 0.0, 0.1, network=Linear()),
    ],
)
def test_rate_is_the_edge_of_the_spectrum(problem):
    # the smallest eigenvalue lies above the edge by an amount of order d^(-2/3): two sizes tell
    state, rng = steady_state(problem), np.random.default_rng(0)
    excess = []
    for d, draws in ((200, 24), (800, 3)):
        smallest = []
        for _ in range(draws):
            g = problem.signal.sample(rng, d) + state.tau * rng.standard_normal(d)
            if isinstance(problem.mirror, Linear):
                D = np.ones(d)
            else:
                potential = problem.mirror.mirror_potential(problem.alpha)
                shrink = state.denoiser.shrink if isinstance(state.denoiser, MirrorProx) else 0.0
                D = potential.curve(potential.solve(g, shrink)).hessian_inverse
            n = round(problem.delta * d)
            X = rng.standard_normal((n, d)) * np.sqrt(D / (d * problem.delta))
            smallest.append(np.linalg.eigvalsh(X @ X.T if n < d else X.T @ X)[0])
        excess.append(np.mean(smallest) / convergence_rate(problem) - 1)
    assert abs(excess[0]) < 0.35
    assert abs(excess[1]) < 0.15


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_large_start_has_the_linear_rate(delta):
    lazy = convergence_rate(Problem(delta, 1000.0)) / 1000.0**2
    linear = convergence_rate(Problem(delta, network=Linear()))
    assert math.isclose(lazy, linear, rel_tol=1e-8)
    assert math.isclose(linear, (1 - delta**-0.5) ** 2)


@pytest.mark.parametrize(("delta", "ridge"), [(0.5, 0.0), (2.0, 0.0), (0.5, 0.1), (2.0, 0.1)])
def test_linear_rate_on_the_exact_decay(delta, ridge):
    # the residual of one random instance: its slowest mode in the row space of X
    rng = np.random.default_rng(2)
    d = 600
    X = rng.standard_normal((round(delta * d), d)) / math.sqrt(d)
    singular = np.linalg.svd(X, compute_uv=False)
    slowest = (singular**2 / delta).min() + ridge
    rate = convergence_rate(Problem(delta, 1.0, ridge, 0.1, network=Linear()))
    assert math.isclose(rate, slowest, rel_tol=0.1)


def test_square_data_have_no_gap():
    assert convergence_rate(Problem(1.0)) == 0.0
    assert convergence_rate(Problem(1.0, 1.0, 0.3, 0.1, network=Linear())) == 0.3


def test_rate_is_refused_where_the_approach_is_algebraic():
    with pytest.raises(ValueError, match=r"lam must be 0, got 0\.1.*no exponential rate"):
        convergence_rate(Problem(0.5, lam=0.1))


@pytest.mark.parametrize("power", [None, 1.5])
def test_fit_recovers_an_exact_form(power):
    t = np.linspace(0, 80, 200)
    train = 0.02 + 0.3 * (t + 1e-9) ** -1.5 * np.exp(-2 * 0.18 * t)
    fit = fit_rate(t, train, limit=0.02, window=(2, 30), power=power)
    assert math.isclose(fit.rate, 0.18, rel_tol=1e-6)
    assert math.isclose(fit.power, 1.5, rel_tol=1e-5)


def test_fit_error_covers_noise():
    rng = np.random.default_rng(0)
    t = np.linspace(1, 30, 60)
    pulls = []
    for _ in range(200):
        train = t**-1.5 * np.exp(-0.4 * t + 0.01 * rng.standard_normal(t.size))
        fit = fit_rate(t, train)
        pulls.append((fit.rate - 0.2) / fit.stderr)
    assert abs(np.mean(pulls)) < 0.3
    assert 0.7 < np.std(pulls) < 1.3


def test_fit_of_the_marchenko_pastur_relaxation():
    # train error of linear regression, sigma2 = 0: (1/2) E w*^2 int x exp(-2 t x) dF
    delta = 0.5
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    nodes, weights = np.polynomial.legendre.leggauss(2000)
    angle = 0.5 * math.pi * (nodes + 1)
    x = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)
    measure = weights * (np.sin(angle)) ** 2
    t = np.linspace(50, 200, 100)
    train = np.exp(-2 * t[:, None] * x) @ measure
    fit = fit_rate(t, train, window=(50, 200))
    expected = convergence_rate(Problem(delta, network=Linear()))
    assert math.isclose(fit.rate, expected, rel_tol=1e-3)
    assert math.isclose(fit.power, 1.5, rel_tol=0.05)


def test_bad_fits_are_refused():
    t = np.linspace(0, 10, 50)
    with pytest.raises(ValueError, match=r"first < last"):
        fit_rate(t, np.exp(-t), window=(5, 5))
    with pytest.raises(ValueError, match=r"at least 6 positive times"):
        fit_rate(t, np.exp(-t), window=(5, 5.5))
    with pytest.raises(ValueError, match=r"train_error must exceed limit"):
        fit_rate(t, np.exp(-t), limit=1.0)
    with pytest.raises(ValueError, match=r"train_error must have the shape of t"):
        fit_rate(t, np.exp(-t)[:-1])


# --- timescales -----------------------------------------------------------------------


def test_lazy_to_rich_time():
    assert math.isclose(lazy_to_rich_time(Problem(0.5, 5.0, 0.1)), 2 * math.log(5) / 0.1)
    network = Diagonal(2.0, 0.5)
    assert math.isclose(
        lazy_to_rich_time(Problem(0.5, 5.0, 0.1, network=network)), 2 * math.log(5) / 0.1
    )
    pair = Product((math.sqrt(2), 0.0))
    assert math.isclose(
        lazy_to_rich_time(Problem(0.5, 5.0, 0.1, network=pair)), 2 * math.log(5) / 0.1
    )


def test_search_time_is_the_quantile_of_the_first_force():
    problem = Problem(0.5, 1e-3, 0.0, 0.1, Discrete([-1.0, 0.0, 2.0], [0.1, 0.8, 0.1]))
    rng = np.random.default_rng(0)
    d, forces = 1500, []
    for _ in range(6):
        X = rng.standard_normal((d // 2, d)) / math.sqrt(d)
        target = problem.signal.sample(rng, d)
        y = X @ target + math.sqrt(0.1) * rng.standard_normal(d // 2)
        forces.append(np.abs(X.T @ y / 0.5)[target != 0])
    median = np.median(np.concatenate(forces))
    expected = 2 * math.log(1e3) / median
    assert math.isclose(search_to_descent_time(problem), expected, rel_tol=0.05)
    fast = search_to_descent_time(problem, quantile=0.99)
    assert fast < search_to_descent_time(problem)


def test_search_time_of_the_largest_of_d_forces():
    problem = Problem(0.5, 1e-3)
    rng = np.random.default_rng(0)
    spread = math.sqrt(0.1 / 0.5)
    d = 300
    maxima = [
        np.abs(-problem.signal.sample(rng, d) + spread * rng.standard_normal(d)).max()
        for _ in range(2000)
    ]
    expected = 2 * math.log(1e3) / np.median(maxima)
    assert math.isclose(search_to_descent_time(problem, dimension=d), expected, rel_tol=0.01)


def test_search_time_of_deep_networks_joins_depth_two():
    shallow = search_to_descent_time(Problem(0.5, 0.9))
    deep = search_to_descent_time(Problem(0.5, 0.9, network=Deep(3)))
    # int_alpha^1 du/u^(L-1): 1/0.9 - 1 against log(1/0.9)
    assert math.isclose(deep / shallow, (1 / 0.9 - 1) / math.log(1 / 0.9))


def test_timescales_refuse_what_is_not_defined():
    scales = timescales(Problem(0.5, 5.0, 0.1))
    assert math.isclose(scales.lazy_to_rich, 2 * math.log(5) / 0.1)
    with pytest.raises(ValueError, match=r"alpha must be < 1"):
        scales.search_to_descent  # noqa: B018
    scales = timescales(Problem(0.5, 0.1, 0.1), dimension=100)
    assert scales.search_to_descent == search_to_descent_time(scales.problem, 100)
    with pytest.raises(ValueError, match=r"alpha must be > 1"):
        scales.lazy_to_rich  # noqa: B018


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem(0.5, 5.0), "lam must be > 0"),
        (Problem(0.5, 0.5, 0.1), "alpha must be > 1"),
        (Problem(0.5, 5.0, 0.1, network=Deep(3)), "depth two"),
        (Problem(0.5, 5.0, 0.1, network=Linear()), "depth two"),
    ],
)
def test_lazy_to_rich_time_is_refused(problem, message):
    with pytest.raises(ValueError, match=message):
        lazy_to_rich_time(problem)


@pytest.mark.parametrize(
    ("problem", "arguments", "message"),
    [
        (Problem(0.5, 1.0), {}, "alpha must be < 1"),
        (Problem(0.5, 0.1, network=Linear()), {}, "diagonal or deep"),
        (Problem(0.5, 0.1), {"quantile": 1.0}, "quantile must satisfy"),
        (Problem(0.5, 0.1), {"dimension": 0}, "dimension must be an integer"),
        (Problem(0.5, 0.1, 0.0, 0.1, Bernoulli(0.5, 0.0)), {}, "entries other than 0"),
        (Problem(0.5, 0.1, 0.0, 0.0, Bernoulli(0.5, 0.0)), {"dimension": 9}, "the force is 0"),
    ],
)
def test_search_time_is_refused(problem, arguments, message):
    with pytest.raises(ValueError, match=message):
        search_to_descent_time(problem, **arguments)


# --- detection ------------------------------------------------------------------------


def simulate(problem, d, t, seed=0):
    rng = np.random.default_rng(seed)
    n = round(problem.delta * d)
    X = rng.standard_normal((n, d)) / math.sqrt(d)
    target = problem.signal.sample(rng, d)
    y = X @ target + math.sqrt(problem.sigma2) * rng.standard_normal(n)
    network = problem.mirror

    def velocity(s, flat):
        layers = flat.reshape(2, d)
        h = X.T @ (X @ network.output_weight(layers) - y) / problem.delta
        return network.layer_velocity(layers, h, problem.lam).ravel()

    start = np.repeat(network.initial_layers(problem.alpha), d)
    flow = solve_ivp(velocity, (0, t[-1]), start, t_eval=t, rtol=1e-5, atol=1e-9)
    w = 0.5 * (flow.y[:d] ** 2 - flow.y[d:] ** 2)
    train = np.sum((X @ w - y[:, None]) ** 2, axis=0) / (2 * n)
    return train, np.sum((w - target[:, None]) ** 2, axis=0) / (2 * d)


def test_detection_on_a_run_that_groks():
    problem = Problem(0.5, 5.0, 0.1, 0.1)
    t = np.concatenate([[0.0], np.geomspace(1e-3, 200, 200)])
    train, test = simulate(problem, 200, t)
    expected = lazy_to_rich_time(problem)
    assert 0.6 * expected < detect_lazy_to_rich(t, test) < 1.6 * expected
    # the data are fitted in the time 1/alpha^2, the test error waits for the decay
    assert 0.6 * expected < grokking_delay(t, train, test) < 2 * expected


def test_detection_on_a_run_from_a_small_start():
    times, scales = [], []
    for alpha in (1e-3, 1e-6):
        problem = Problem(0.5, alpha, 0.0, 0.01)
        scale = search_to_descent_time(problem, dimension=200)
        t = np.linspace(0, 8 * scale, 800)
        _, test = simulate(problem, 200, t, seed=1)
        times.append(detect_search_to_descent(t, test))
        scales.append(scale)
        assert 0.7 * scale < times[-1] < 2 * scale
    # proportional to log(1/alpha), but for a constant
    assert 0.7 < (times[1] - times[0]) / (scales[1] - scales[0]) < 1.4


def lazy_curve(t, noise=0.0):
    rng = np.random.default_rng(0)
    x = np.log(np.maximum(t, 1e-9))
    drop = 0.02 / (1 + np.exp(-(x - math.log(0.1)) * 4)) + 0.03 / (1 + np.exp(-(x - 3.0) * 5))
    return 0.06 - drop + noise * rng.standard_normal(t.size)


@pytest.mark.parametrize("noise", [0.0, 2e-4])
@pytest.mark.parametrize("sampling", ["linear", "log"])
def test_lazy_to_rich_is_the_steepest_point_in_log_time(noise, sampling):
    t = np.linspace(0, 100, 1500) if sampling == "linear" else np.geomspace(1e-3, 100, 150)
    found = detect_lazy_to_rich(t, lazy_curve(t, noise))
    assert math.isclose(found, math.exp(3.0), rel_tol=0.06 if noise else 0.01)


def test_search_and_delay_on_exact_curves():
    t = np.linspace(0, 10, 101)
    ramp = np.interp(t, [0, 4, 8], [1.0, 1.0, 0.0])
    assert math.isclose(detect_search_to_descent(t, ramp), 4.4)
    assert math.isclose(detect_search_to_descent(t, ramp, fraction=0.5), 6.0)
    train = np.interp(t, [0, 1], [1.0, 0.0])
    assert math.isclose(grokking_delay(t, train, ramp), (4 + 0.9 * 4) - 0.9)
    rising_first = np.interp(t, [0, 1, 4, 8], [0.5, 1.0, 1.0, 0.0])
    assert math.isclose(grokking_delay(t, train, rising_first), (4 + 0.9 * 4) - 0.9)


def test_nothing_to_detect():
    t = np.geomspace(0.01, 100, 100)
    with pytest.raises(ValueError, match=r"must fall at some time"):
        detect_lazy_to_rich(t, t)
    with pytest.raises(ValueError, match=r"must fall at some time"):
        detect_search_to_descent(t, np.ones_like(t))
    with pytest.raises(ValueError, match=r"one descent only"):
        detect_lazy_to_rich(t, 1 / (1 + t**3))
    with pytest.raises(ValueError, match=r"steepest descent inside"):
        detect_lazy_to_rich(t, -t)
    with pytest.raises(ValueError, match=r"at least 8 positive times"):
        detect_lazy_to_rich(t[:5], -t[:5])
    with pytest.raises(ValueError, match=r"train_error must fall"):
        grokking_delay(t, np.ones_like(t), 1 / t)


@pytest.mark.parametrize(
    ("t", "values", "message"),
    [
        ([0.0, 1.0], [1.0], "test_error must have the shape of t"),
        ([1.0, 0.0], [1.0, 0.0], "t must be strictly increasing"),
        ([0.0], [1.0], "at least 2 times"),
        ([0.0, 1.0], [1.0, math.nan], "test_error must be finite"),
    ],
)
def test_bad_trajectories_are_refused(t, values, message):
    with pytest.raises(ValueError, match=message):
        detect_search_to_descent(t, values)
