import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import linprog
from scipy.special import elliprf

from dmft.limits.saddles import layer_thresholds, saddle_to_saddle
from dmft.networks.deep import Deep
from dmft.networks.product import Product

EXAMPLE_X = np.array([[1.0, 0.5, 0.7, 0.0], [0.5, 1.0, 0.1, 0.7]])
EXAMPLE_Y = np.array([1.0, 0.0])


def random_problem(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def assert_valid_path(X, y, path, upper, lower, loss_scale=1.0):
    """Every step of the algorithm, with s and the losses recomputed from times and saddles."""
    assert path.success
    size = loss_scale * np.linalg.norm(X, axis=0) * np.linalg.norm(y) + 1e-300
    assert np.all(np.diff(path.times) > 0)
    assert np.all(np.diff(path.losses) <= 1e-12 * path.losses[0])
    residuals = path.saddles @ X.T - y
    gradients = loss_scale * residuals @ X
    np.testing.assert_allclose(
        path.losses, 0.5 * loss_scale * np.sum(residuals**2, axis=1), rtol=1e-10, atol=1e-16
    )
    s = np.zeros(X.shape[1])
    for k in range(1, len(path.times)):
        s = s - (path.times[k] - path.times[k - 1]) * gradients[k - 1]
        # two coordinates have been seen to arrive 3e-9 of a threshold after each other
        at_upper, at_lower = s > upper * (1 - 1e-11), s < -lower * (1 - 1e-11)
        assert np.all(s <= upper * (1 + 1e-8))
        assert np.all(s >= -lower * (1 + 1e-8))
        w, g = path.saddles[k], gradients[k] / size.clip(1e-300)
        assert np.all(w[~at_upper] <= 0)
        assert np.all(w[~at_lower] >= 0)
        assert np.all(np.abs(g[w != 0]) <= 1e-10)
        assert np.all(g[at_upper] >= -1e-10)
        assert np.all(g[at_lower] <= 1e-10)
        assert np.any(at_upper | at_lower)
        np.testing.assert_array_equal(path.active_sets[k], np.flatnonzero(w))
    assert np.all(np.abs(gradients[-1]) <= 1e-10 * size)


def least_weighted_norm(X, y, upper, lower):
    """min of sum upper w^+ + lower w^- among the least squares solutions."""
    reachable = X @ np.linalg.lstsq(X, y, rcond=None)[0]
    found = linprog(
        np.concatenate([upper, lower]), A_eq=np.hstack([X, -X]), b_eq=reachable, method="highs"
    )
    assert found.success
    return found.fun


# --- depth two ---------------------------------------------------------------------------


def test_worked_example():
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    saddles = [[0, 0, 0, 0], [0.8, 0, 0, 0], [0, 0, 1.4, 0], [0, 0, 10 / 7, -10 / 49]]
    np.testing.assert_allclose(path.times, [0, 1, 4, 4 + 80 / 49], rtol=0, atol=1e-12)
    np.testing.assert_allclose(path.saddles, saddles, rtol=0, atol=1e-12)
    np.testing.assert_allclose(path.losses, [0.5, 0.1, 0.01, 0], rtol=0, atol=1e-12)
    assert [a.tolist() for a in path.active_sets] == [[], [0], [2], [2, 3]]
    assert path.success


def test_loss_scale_divides_the_times():
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    scaled = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, loss_scale=4.0)
    np.testing.assert_allclose(scaled.times, path.times / 4, rtol=1e-13)
    np.testing.assert_allclose(scaled.losses, path.losses * 4, rtol=1e-13, atol=1e-25)
    np.testing.assert_allclose(scaled.saddles, path.saddles, atol=1e-13)


@pytest.mark.parametrize("seed", range(12))
def test_every_saddle_meets_the_conditions_and_the_last_has_least_l1_norm(seed):
    n, d = np.random.default_rng(1000 + seed).integers(1, 31, size=2)
    if seed % 5 == 0:
        n, d = (60, 110) if seed % 2 else (100, 40)
    X, y = random_problem(seed, n, d)
    path = saddle_to_saddle(X, y, loss_scale=0.7)
    ones = np.ones(d)
    assert_valid_path(X, y, path, ones, ones, loss_scale=0.7)
    np.testing.assert_allclose(
        np.abs(path.saddles[-1]).sum(), least_weighted_norm(X, y, ones, ones), rtol=1e-8
    )
    if n >= d:
        least_squares = np.linalg.lstsq(X, y, rcond=None)[0]
        np.testing.assert_allclose(path.saddles[-1], least_squares, rtol=1e-8, atol=1e-9)


def test_some_random_problem_switches_a_coordinate_off():
    # Guards the test above: the de-activation must in fact occur in its problems.
    paths = [saddle_to_saddle(*random_problem(seed, 10, 30)) for seed in range(5)]
    pairs = [pair for p in paths for pair in zip(p.active_sets, p.active_sets[1:], strict=False)]
    assert any(set(before) - set(after) for before, after in pairs)


def test_orthogonal_design_follows_the_lasso_path():
    # On an orthogonal design the coordinates do not interact: coordinate i enters at the penalty
    # |x_i.y| on the path and at its inverse in time here. Otherwise the two differ: a coordinate's
    # s is the integral of the gradient, not the gradient.
    lars_path = pytest.importorskip("sklearn.linear_model").lars_path
    n, d = 12, 7
    X = np.linalg.qr(np.random.default_rng(0).standard_normal((n, d)))[0]
    y = np.random.default_rng(1).standard_normal(n)
    penalties, order, _ = lars_path(X, y, method="lasso")
    path = saddle_to_saddle(X, y)
    np.testing.assert_allclose(path.times[1:], 1 / (n * penalties[:d]), rtol=1e-10)
    correlation = X.T @ y
    for k in range(d + 1):
        expected = np.zeros(d)
        expected[order[:k]] = correlation[order[:k]]
        np.testing.assert_allclose(path.saddles[k], expected, atol=1e-12)


def test_first_jump_and_end_agree_with_the_lasso_path():
    # In general position the two paths still share the first time and, at the limit of no
    # penalty, the last weights.
    lars_path = pytest.importorskip("sklearn.linear_model").lars_path
    X, y = random_problem(5, 8, 20)
    penalties, _, weights = lars_path(X, y, method="lasso")
    path = saddle_to_saddle(X, y)
    assert path.times[1] == pytest.approx(1 / (8 * penalties[0]), rel=1e-10)
    assert path.active_sets[1].tolist() == np.flatnonzero(weights[:, 1]).tolist()
    np.testing.assert_allclose(path.saddles[-1], weights[:, -1], atol=1e-8)


# --- products of layers ---------------------------------------------------------------------


def test_thresholds_of_three_layers_are_carlson_integrals():
    a1, a2, a3 = 1.7, -1.1, 0.4
    near = elliprf(a1**2, a2**2, a3**2)
    far = 2 * elliprf(0, a1**2 - a3**2, a2**2 - a3**2) - near
    np.testing.assert_allclose(layer_thresholds((a1, -a2, a3)), (near, far), rtol=1e-12)
    # With a negative product w starts on the negative side and is nearer to -inf.
    np.testing.assert_allclose(layer_thresholds((a1, a2, a3)), (far, near), rtol=1e-12)
    np.testing.assert_allclose(layer_thresholds((a3, a1, -a2)), (near, far), rtol=1e-12)


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_thresholds_are_the_integrals_of_their_definition(depth):
    scales = np.random.default_rng(depth).uniform(0.5, 2.0, size=depth)
    scales[-1] = 0.3
    mu2 = scales[:-1] ** 2 - scales[-1] ** 2
    for sign in (1.0, -1.0):
        ends = [(sign * scales[-1], np.inf), (-np.inf, sign * scales[-1])]
        expected = [quad(lambda x: np.prod(x**2 + mu2) ** -0.5, *end)[0] for end in ends]
        found = layer_thresholds([*scales[:-1], sign * scales[-1]])
        np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_thresholds_of_two_layers_are_one():
    for scales in ((math.sqrt(2.0), 0.0), (3.0, -0.5), np.array([[2.0, 1.0], [0.3, 4.0]])):
        upper, lower = layer_thresholds(scales)
        assert upper.shape == lower.shape == np.shape(scales)[1:]
        assert np.all(upper == 1)
        assert np.all(lower == 1)


def test_thresholds_scale_and_are_symmetric_for_a_layer_at_zero():
    scales = np.array([2.0, 1.0, 0.7, 0.1])
    np.testing.assert_allclose(
        layer_thresholds(3 * scales), np.array(layer_thresholds(scales)) / 9, rtol=1e-12
    )
    upper, lower = layer_thresholds([2.0, 1.0, 0.0])
    assert upper == pytest.approx(lower, rel=2e-15)  # sums in opposite order
    np.testing.assert_allclose(upper, elliprf(0, 1.0, 4.0), rtol=1e-12)


def test_thresholds_tend_to_those_of_equal_layers():
    # Equal layers a never change sign: t^+ = a^(2-L)/(L-2), and t^- diverges.
    upper, lower = layer_thresholds([1.0 + 1e-7, 1.0 + 1e-7, 1.0 + 1e-7, 1.0])
    assert upper == pytest.approx(0.5, rel=1e-6)
    assert lower > 1e3


def test_depth_two_is_the_default():
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    same = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, layer_scales=(math.sqrt(2.0), 0.0))
    np.testing.assert_array_equal(path.times, same.times)
    np.testing.assert_array_equal(path.saddles, same.saddles)


def test_layers_on_an_orthogonal_design_jump_independently():
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((9, 6)))[0]
    y = rng.standard_normal(9)
    scales = np.vstack([rng.uniform(1, 2, (2, 6)), rng.uniform(-0.8, 0.8, (1, 6))])
    upper, lower = layer_thresholds(scales)
    correlation = X.T @ y
    waits = np.where(correlation > 0, upper, lower) / np.abs(correlation)
    path = saddle_to_saddle(X, y, layer_scales=scales)
    np.testing.assert_allclose(path.times[1:], np.sort(waits), rtol=1e-10)
    for tau, w in zip(path.times, path.saddles, strict=True):
        expected = np.where(waits <= tau * (1 + 1e-9), correlation, 0.0)
        np.testing.assert_allclose(w, expected, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_layers_end_at_the_least_weighted_norm(seed):
    n, d = [(6, 15), (10, 20), (15, 8)][seed % 3]
    X, y = random_problem(seed, n, d)
    rng = np.random.default_rng(seed + 50)
    scales = np.vstack([rng.uniform(1, 3, (3, d)), rng.uniform(-0.9, 0.9, (1, d))])
    upper, lower = layer_thresholds(scales)
    path = saddle_to_saddle(X, y, layer_scales=scales)
    assert_valid_path(X, y, path, upper, lower)
    w = path.saddles[-1]
    cost = upper @ np.maximum(w, 0) + lower @ np.maximum(-w, 0)
    np.testing.assert_allclose(cost, least_weighted_norm(X, y, upper, lower), rtol=1e-8)


# --- degenerate designs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "y"),
    [
        (EXAMPLE_X, [0.0, 0.0]),
        (np.zeros((3, 2)), [1.0, 2.0, 3.0]),
        ([[1.0, 2.0], [0.0, 0.0]], [0.0, 5.0]),
    ],
)
def test_a_minimal_start_is_the_only_saddle(X, y):
    path = saddle_to_saddle(X, y)
    assert path.success
    assert path.times.tolist() == [0.0]
    assert not path.saddles.any()
    assert path.losses[0] == 0.5 * np.sum(np.square(y))


def test_equal_and_opposite_columns_share_their_weight():
    X = EXAMPLE_X[:, [0, 0, 0, 1, 2, 3]] * [1, 1, -1, 1, 1, 1]
    path = saddle_to_saddle(X, EXAMPLE_Y)
    plain = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    np.testing.assert_allclose(path.times, plain.times, atol=1e-12)
    np.testing.assert_allclose(path.losses, plain.losses, atol=1e-12)
    np.testing.assert_allclose(path.saddles[1], np.array([1, 1, -1, 0, 0, 0]) * 0.8 / 3, atol=1e-12)
    np.testing.assert_allclose(path.saddles[2:, 3:], plain.saddles[2:, 1:], atol=1e-12)
    assert path.success
    assert "saddles [1] are not unique" in path.message
    assert "not unique" not in plain.message


def test_coordinates_that_tie_jump_together():
    path = saddle_to_saddle(np.diag([1.0, -1.0, 0.5, 1.0, 0.0]), [2.0, 2.0, 2.0, -2.0, 1.0])
    np.testing.assert_allclose(path.times, [0, 0.5, 1.0], atol=1e-14)
    expected = [[0, 0, 0, 0, 0], [2, -2, 0, -2, 0], [2, -2, 4, -2, 0]]
    np.testing.assert_allclose(path.saddles, expected, atol=1e-14)


def degenerate_design(seed):
    rng = np.random.default_rng(seed)
    n, d = rng.integers(1, 10, size=2)
    X = rng.integers(-1, 2, size=(n, d)).astype(float)
    y = rng.integers(-2, 3, size=n).astype(float)
    if seed % 4 == 1:
        rank = rng.integers(1, 4)
        X = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
        y = rng.standard_normal(n)
    elif seed % 4 == 2:
        X = rng.standard_normal((n, d))
        X = np.hstack([X, -X, 2 * X[:, :1], X, np.zeros((n, 1))])
        y = rng.standard_normal(n)
    return X, y


@pytest.mark.parametrize("seed", range(12))
def test_degenerate_designs_are_solved(seed):
    X, y = degenerate_design(seed)
    path = saddle_to_saddle(X, y)
    ones = np.ones(X.shape[1])
    assert_valid_path(X, y, path, ones, ones)
    least = least_weighted_norm(X, y, ones, ones)
    np.testing.assert_allclose(np.abs(path.saddles[-1]).sum(), least, rtol=1e-8, atol=1e-9)


def test_weights_of_any_scale():
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    scaled = saddle_to_saddle(1e-9 * EXAMPLE_X, 1e6 * EXAMPLE_Y)
    np.testing.assert_allclose(scaled.times, path.times * 1e3, rtol=1e-12)
    np.testing.assert_allclose(scaled.saddles, path.saddles * 1e15, rtol=1e-10, atol=1e3)


def test_the_number_of_jumps_is_capped():
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, max_saddles=2)
    assert not path.success
    assert "max_saddles = 2" in path.message
    np.testing.assert_allclose(path.times, [0, 1, 4], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (([[1.0, np.nan]], [1.0]), "X"),
        (([[1.0, 2.0]], [np.inf]), "y"),
        (([1.0, 2.0], [1.0]), "X"),
        ((np.empty((0, 3)), np.empty(0)), "X"),
        ((np.empty((3, 0)), np.ones(3)), "X"),
        (([[1.0, 2.0]], [[1.0]]), "y"),
        (([[1.0, 2.0]], [1.0, 2.0]), "y"),
        (([[1.0, 2.0]], [1.0], [1.0]), "layer_scales"),
        (([[1.0, 2.0]], [1.0], [2.0, 1.0, -1.0]), "layer_scales"),
        (([[1.0, 2.0]], [1.0], [2.0, np.nan, 1.0]), "layer_scales"),
        (([[1.0, 2.0]], [1.0], np.arange(9.0).reshape(3, 3)), "layer_scales"),
        (([["a", 2.0]], [1.0]), "X"),
        (([[1j, 2.0]], [1.0]), "X"),
        ((np.array([[1j, 2.0]]), [1.0]), "X"),
        (([[1.0, 2.0], [3.0]], [1.0, 2.0]), "X"),
        (([[1.0, 2.0]], [1.0], [[2.0, 1.0], [3.0]]), "layer_scales"),
    ],
)
def test_bad_arrays_are_named(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must"):
        saddle_to_saddle(*arguments)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, "1", True])
def test_bad_loss_scale(value):
    with pytest.raises(ValueError, match="loss_scale"):
        saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, loss_scale=value)


@pytest.mark.parametrize("value", [0, 1.5])
def test_bad_max_saddles(value):
    with pytest.raises(ValueError, match="max_saddles"):
        saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, max_saddles=value)


# --- the limit of the gradient flow ---------------------------------------------------------


def crossings(velocity, weight, start, X, y, path, jacobian=None):
    """Times at which the loss of a flow passes the middle between successive saddles."""
    levels = 0.5 * (path.losses[1:] + path.losses[:-1])

    def crossing(level):
        return lambda tau, z: 0.5 * np.sum((X @ weight(z) - y) ** 2) - level

    flow = solve_ivp(
        lambda tau, z: velocity(z, X.T @ (X @ weight(z) - y)),
        (0.0, 1.3 * path.times[-1] + 0.5 * path.times[1]),
        start,
        method="Radau",
        rtol=1e-6,
        atol=1e-9,
        jac=jacobian,
        events=[crossing(level) for level in levels],
    )
    assert flow.success
    assert all(len(events) == 1 for events in flow.t_events)  # the loss never increases
    return np.concatenate(flow.t_events)


def log_layer_crossings(X, y, path, log_inverse_alpha):
    """The flow du/dt = -(1/2) dl/du of log u and log v, w = (u^2 - v^2)/2, in tau."""
    d = X.shape[1]
    rate = 2 * log_inverse_alpha  # dt/dtau

    def squares(z):
        return np.exp(np.minimum(2 * z, 50.0))  # an iterate of Newton's method may be wild

    def weight(z):
        return 0.5 * (squares(z)[:d] - squares(z)[d:])

    def velocity(z, gradient):
        return rate * np.concatenate([-0.5 * gradient, 0.5 * gradient])

    def jacobian(tau, z):
        block = (
            0.5 * rate * X.T @ X @ np.hstack([np.diag(squares(z)[:d]), -np.diag(squares(z)[d:])])
        )
        return np.vstack([-block, block])

    start = np.full(2 * d, -log_inverse_alpha)
    return crossings(velocity, weight, start, X, y, path, jacobian)


@pytest.mark.parametrize("case", ["example", "wide", "tall"])
def test_gradient_flow_of_small_alpha_jumps_at_these_times(case):
    shapes = {"wide": (9, 3, 6), "tall": (5, 6, 3)}
    X, y = (EXAMPLE_X, EXAMPLE_Y) if case == "example" else random_problem(*shapes[case])
    path = saddle_to_saddle(X, y)
    logs = (20.0, 40.0, 80.0)
    at_20, at_40, at_80 = (k * (log_layer_crossings(X, y, path, k) - path.times[1:]) for k in logs)
    # The error is C/log(1/alpha), so that these products are bounded and tend to C.
    assert np.all(np.abs(at_20) < 6 * path.times[1:])
    np.testing.assert_allclose(at_80, at_40, rtol=0.04, atol=1e-3)


def layer_crossings(network, layers, X, y, path, s0):
    """The flow of the layers of `network` from s0 * layers, (L,), in tau = s0^(L-2) t/2."""
    d, depth = X.shape[1], network.config().get("depth", len(layers))
    shape = (len(layers), d)

    def weight(z):
        return network.output_weight(z.reshape(shape))

    def velocity(z, gradient):
        return (
            2 * s0 ** (2 - depth) * network.layer_velocity(z.reshape(shape), gradient, 0.0).ravel()
        )

    return crossings(velocity, weight, s0 * np.repeat(layers, d), X, y, path)


@pytest.mark.parametrize("scales", [(2.0, 1.5, 0.5), (-2.0, 1.5, 0.5), (0.9, 0.2, 1.0, 1.5)])
def test_gradient_flow_of_layers_jumps_at_these_times(scales):
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y, layer_scales=scales)
    errors = [
        layer_crossings(Product(), scales, EXAMPLE_X, EXAMPLE_Y, path, s0) - path.times[1:]
        for s0 in (8e-3, 2e-3)
    ]
    assert np.all(np.abs(errors[1]) < 0.03 * path.times[1:])
    # The error is C s0^(L-2).
    np.testing.assert_allclose(errors[0] / errors[1], 4.0 ** (len(scales) - 2), rtol=0.1)


@pytest.mark.parametrize("depth", [3, 4])
def test_gradient_flow_of_the_deep_network_jumps_at_scaled_times(depth):
    # w = (u^L - v^L)/L: thresholds 1/(L-2) on both sides, so the saddles of depth two.
    path = saddle_to_saddle(EXAMPLE_X, EXAMPLE_Y)
    times = layer_crossings(Deep(depth), (1.0, 1.0), EXAMPLE_X, EXAMPLE_Y, path, 2e-3)
    np.testing.assert_allclose(times, path.times[1:] / (depth - 2), rtol=0.01)
