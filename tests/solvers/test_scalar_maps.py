"""Mirror maps w = phi(H): closed forms, D = -dphi/dH, inverses, and the table against the flow."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dmft.networks.product import Product
from dmft.networks.table import ROWS, mirror_table
from dmft.solvers.map_codes import HYPERBOLIC, LINEAR, POWER, TABLE
from dmft.solvers.scalar_maps import evaluate, inverse

NO_TABLE = np.empty((0, 3))
ROOT2 = np.sqrt(2.0)


def product_table(starts):
    return mirror_table(Product(tuple(starts)), 1.0)


def mapped(code, H, *parameters, table=NO_TABLE):
    """(w, D) at H (N,), the same parameters for every H."""
    rows = np.tile(np.array(parameters, dtype=float), (len(H), 1))
    w, D = evaluate(code, np.asarray(H, dtype=float)[None, :], rows, table)
    return w[0], D[0]


def hyperbolic(H, p0, p1):
    return 0.5 * (np.exp(p0 - H) - np.exp(p1 + H))


def power(H, depth, start, scale):
    gap = depth - 2
    u = (start + 0.5 * gap * H) ** (-1 / gap)
    v = (start - 0.5 * gap * H) ** (-1 / gap)
    return scale * (u**depth - v**depth) / depth


EXPLICIT = [
    (LINEAR, (0.37, 0.2), lambda H, p0, p1: p0 * (p1 - H), 50.0),
    (HYPERBOLIC, (-1.3, -1.3), hyperbolic, 30.0),
    (HYPERBOLIC, (0.4, -2.1), hyperbolic, 30.0),
    (POWER, (3.0, 2.5, 0.6), power, 4.99),
    (POWER, (4.0, 2.5, 1.0), power, 2.49),
    (POWER, (6.0, 0.3, 1.4), power, 0.149),
]


@pytest.mark.parametrize(("code", "parameters", "phi", "reach"), EXPLICIT)
def test_explicit_maps_and_their_derivative_by_a_complex_step(code, parameters, phi, reach):
    H = reach * np.linspace(-1, 1, 41)
    w, D = mapped(code, H, *parameters)
    np.testing.assert_allclose(w, phi(H, *parameters), rtol=1e-12, atol=1e-14)
    derivative = np.imag(phi(H + 1e-40j, *parameters)) / 1e-40
    np.testing.assert_allclose(D, -derivative, rtol=1e-12)
    assert np.all(D > 0)


def test_equal_starts_are_exactly_odd():
    H = np.array([1e-300, 1e-8, 0.3, 7.0, 300.0])
    w, D = mapped(HYPERBOLIC, H, -2.0, -2.0)
    mirrored, mirrored_D = mapped(HYPERBOLIC, -H, -2.0, -2.0)
    np.testing.assert_array_equal(mirrored, -w)
    np.testing.assert_array_equal(mirrored_D, D)
    np.testing.assert_allclose(w, -np.exp(-2.0) * np.sinh(H), rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(D, np.hypot(w, np.exp(-2.0)), rtol=1e-12)


@pytest.mark.parametrize("depth", [3.0, 4.0, 5.0])
def test_deep_map_does_not_exist_beyond_its_barrier(depth):
    # at depth 3 the formula would give finite numbers there, to which an iteration may converge
    barrier = 2 * 2.5 / (depth - 2)
    w, D = mapped(POWER, barrier * np.array([-1.5, -1.01, 1.01, 3.0]), depth, 2.5, 1.0)
    assert np.all(np.isnan(w))
    assert np.all(np.isnan(D))


@pytest.mark.parametrize("amplitude", [-1e5, -740.0, -30.0, 10.0])
def test_hyperbolic_amplitudes_beyond_the_range_of_doubles(amplitude):
    # only the sum of the log amplitude and |H| has to be representable
    for target in (-40.0, 0.0, 5.0):
        H = target - amplitude
        w, D = mapped(HYPERBOLIC, [H, -H], amplitude, amplitude)
        tail = np.exp(2 * amplitude - target) / 2
        expected = 0.5 * np.exp(target) - tail
        np.testing.assert_allclose(w, [-expected, expected], rtol=1e-10)
        np.testing.assert_allclose(D, 0.5 * np.exp(target) + tail, rtol=1e-10)


def test_parameters_belong_to_their_column():
    rates = np.array([1.0, 0.5, 0.25])
    H = np.arange(6.0).reshape(2, 3)
    w, D = evaluate(LINEAR, H, np.stack([rates, 0.0 * rates], axis=1), NO_TABLE)
    np.testing.assert_array_equal(w, -H * rates)
    np.testing.assert_array_equal(D, np.broadcast_to(rates, (2, 3)))


# --- inverses ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-12, 1e-3, 0.5, 7.0, 1e9])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(
    ("code", "parameters"),
    [
        (LINEAR, (0.2, 0.7)),
        (HYPERBOLIC, (-3.0, -3.0)),
        (HYPERBOLIC, (-800.0, -800.0)),
        (HYPERBOLIC, (-2e5, -2e5)),
        (HYPERBOLIC, (6.0, 6.0)),
        (HYPERBOLIC, (-2.0, -9.0)),
    ],
)
def test_explicit_inverses(code, parameters, size, sign):
    w = sign * size
    H = inverse(code, w, np.array(parameters), NO_TABLE)
    found, D = mapped(code, [H], *parameters)
    rounding = 1e-15 * D[0] * (abs(H) + abs(parameters[0]))
    assert found[0] == pytest.approx(w, rel=1e-12, abs=10 * rounding)


def test_inverse_at_zero():
    assert inverse(HYPERBOLIC, 0.0, np.array([1.0, -3.0]), NO_TABLE) == 2.0
    assert inverse(LINEAR, 0.0, np.array([1.0, 0.5]), NO_TABLE) == 0.5


@pytest.mark.parametrize(
    ("depth", "alpha"), [(3.0, 1e-3), (3.0, 1.5), (4.0, 0.1), (4.0, 1e-3), (7.0, 0.1), (7.0, 1.5)]
)
@pytest.mark.parametrize("w", [-50.0, -0.2, 1e-6, 3.0])
def test_inverse_of_a_deep_map_keeps_one_layer(depth, alpha, w):
    # the smaller layer, at most alpha, is left out
    parameters = np.array([depth, alpha ** (2 - depth), 0.8])
    H = inverse(POWER, w, parameters, NO_TABLE)
    found, D = mapped(POWER, [H], *parameters)
    assert np.sign(found[0]) == np.sign(w)
    assert abs(H) < 2 * parameters[1] / (depth - 2)
    excess = abs(found[0]) - abs(w)
    rounding = 1e-14 * D[0] * parameters[1]
    assert -rounding - 1e-12 <= excess <= 0.8 * alpha**depth / depth + rounding + 1e-12


# --- the table ---------------------------------------------------------------------------------

STARTS = [
    (0.0, ROOT2),
    (0.3, 0.9),
    (0.0, 0.5, 1.5),
    (0.2, 0.21, 0.8),
    (0.4, 0.4, 0.4),
    (0.1, 0.3, 0.5, 0.9),
]


def flow(starts, H_end):
    """All layers at H_end by du_j/dH = -(1/2) prod_{k != j} u_k, no invariant used."""

    def velocity(H, u):
        return [-0.5 * np.prod(np.delete(u, j)) for j in range(len(u))]

    return solve_ivp(velocity, (0.0, H_end), starts, rtol=1e-12, atol=1e-14).y[:, -1]


@pytest.mark.parametrize("starts", STARTS)
@pytest.mark.parametrize("H", [-1.2, -0.3, 0.1, 0.9])
def test_table_follows_the_flow_of_all_layers(starts, H):
    table = product_table(np.array(starts))
    layers = flow(starts, H)
    (w,), (D,) = mapped(TABLE, [H], 0.7, table=table)
    kernel = 0.5 * sum(np.prod(np.delete(layers, j)) ** 2 for j in range(len(starts)))
    assert w == pytest.approx(0.7 * np.prod(layers), rel=1e-7, abs=1e-10)
    assert pytest.approx(0.7 * kernel, rel=2e-5) == D


@pytest.mark.parametrize("starts", STARTS)
def test_rows_of_the_table(starts):
    starts = np.array(starts)
    table = product_table(starts)
    H, w, D = table.T
    assert table.shape == (ROWS, 3)
    assert np.all(np.diff(H) > 0)
    assert np.all(np.diff(w) < 0)
    assert np.all(D > 0)
    assert w.max() > 5e5
    zero = np.flatnonzero(H == 0)
    assert w[zero] == pytest.approx(np.prod(starts), rel=1e-12, abs=1e-300)
    kernel = 0.5 * sum(np.prod(np.delete(starts, j)) ** 2 for j in range(len(starts)))
    assert D[zero] == pytest.approx(kernel, rel=1e-12)


@pytest.mark.parametrize("starts", STARTS)
def test_interpolated_derivative_is_that_of_the_interpolant(starts):
    table = product_table(np.array(starts))
    rng = np.random.default_rng(1)
    H = rng.uniform(-1.0, 1.0, 50)
    step = 1e-7
    D = mapped(TABLE, H, 1.3, table=table)[1]
    above, below = (mapped(TABLE, H + s, 1.3, table=table)[0] for s in (step, -step))
    np.testing.assert_allclose(D, (below - above) / (2 * step), rtol=1e-5, atol=1e-7)
    at_rows = mapped(TABLE, table[5:-5:97, 0], 1.0, table=table)
    np.testing.assert_allclose(at_rows, table[5:-5:97, 1:].T, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("alpha", [1e-6, 0.1, 1.0, 5.0])
def test_two_layers_of_which_one_starts_at_zero_are_the_hyperbolic_map(alpha):
    table = product_table(alpha * np.array([0.0, ROOT2]))
    log_alpha2 = 2 * np.log(alpha)
    H = np.linspace(-1, 1, 201) * np.arcsinh(100 / alpha**2)
    expected = mapped(HYPERBOLIC, H, log_alpha2, log_alpha2)
    w, D = mapped(TABLE, H, 1.0, table=table)
    np.testing.assert_allclose(w, expected[0], rtol=1e-8, atol=1e-12 * alpha**2)
    np.testing.assert_allclose(D, expected[1], rtol=1e-5)


def test_two_unequal_layers_are_the_hyperbolic_map_in_rotated_layers():
    # a b = (u^2 - v^2)/2 with a = (u + v)/sqrt 2, b = (u - v)/sqrt 2
    a, b = 0.9, 0.4
    table = product_table(np.array([b, a]))
    logs = 2 * np.log(np.array([a + b, a - b]) / ROOT2)
    H = np.linspace(-4, 4, 81)
    expected = mapped(HYPERBOLIC, H, *logs)
    w, D = mapped(TABLE, H, 1.0, table=table)
    np.testing.assert_allclose(w, expected[0], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(D, expected[1], rtol=1e-5)


@pytest.mark.parametrize("depth", [3, 4])
@pytest.mark.parametrize("alpha", [0.05, 0.8])
def test_equal_layers_give_each_branch_of_the_deep_map(depth, alpha):
    # w_deep = (u^L - v^L)/L, where u^L is the product of L equal layers and v^L its mirror image
    table = product_table(np.full(depth, alpha))
    barrier = 2 * alpha ** (2 - depth) / (depth - 2)
    H = barrier * np.linspace(-0.98, 0.98, 99)
    up, up_D = mapped(TABLE, H, 1.0, table=table)
    down, down_D = mapped(TABLE, -H, 1.0, table=table)
    w, D = mapped(POWER, H, depth, alpha ** (2 - depth), 1.0)
    np.testing.assert_allclose((up - down) / depth, w, rtol=1e-7, atol=1e-7 * alpha**depth)
    np.testing.assert_allclose((up_D + down_D) / depth, D, rtol=1e-4)


def test_table_continues_linearly():
    table = product_table(np.array([0.0, 1.0]))
    for row, side in ((table[0], -1.0), (table[-1], 1.0)):
        w, D = mapped(TABLE, [row[0] + side], 0.5, table=table)
        assert w[0] == pytest.approx(0.5 * (row[1] - side * row[2]), rel=1e-14)
        assert D[0] == 0.5 * row[2]


@pytest.mark.parametrize("w", [-300.0, -0.5, 0.0, 1e-3, 2.0, 1e5])
def test_table_inverse_finds_the_row(w):
    table = product_table(np.array([0.2, 0.5, 0.9]))
    H = inverse(TABLE, 0.3 * w, np.array([0.3]), table)
    found, D = mapped(TABLE, [H], 0.3, table=table)
    assert found[0] == pytest.approx(0.3 * w, rel=1e-3, abs=1e-4 * D[0])
