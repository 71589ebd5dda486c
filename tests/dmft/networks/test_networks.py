"""Networks: the mirror map against the gradient flow of the layers, which it must reproduce."""

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from dmft.networks.base import Network
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.networks.registry import NETWORKS, network_from_config
from dmft.problem import Problem

ALL = [
    Diagonal(),
    Diagonal(1.3, 0.4),
    Linear(),
    Deep(3),
    Deep(5),
    Product(),
    Product((0.4, 0.9)),
    Product((1.0, 0.5, 0.7)),
    Product((0.3, 0.3, 0.3)),
    Product((0.0, 1.0, 1.2, 0.8)),
]
IDS = [f"{n.name}-{k}" for k, n in enumerate(ALL)]
ALPHA = 0.8
TIMES = np.array([0.0, 0.4, 1.1, 2.0])


def gradient(t):
    """h(t), as the data would give it; one coordinate."""
    return 0.9 * np.cos(1.7 * t) - 0.5


def integrated(network, lam):
    """H = int c h at TIMES."""

    def integrand(s):
        return float(network.drift(lam, np.array([s]))[0]) * gradient(s)

    return np.array([quad(integrand, 0.0, t, epsabs=1e-13)[0] for t in TIMES])


def layers(network, lam):
    """The layers at TIMES by integrating their velocities, shape (L, T)."""
    start = network.initial_layers(ALPHA)

    def velocity(t, u):
        return network.layer_velocity(u[:, None], np.array([gradient(t)]), lam)[:, 0]

    return solve_ivp(velocity, (0.0, TIMES[-1]), start, "DOP853", TIMES, rtol=1e-12, atol=1e-14).y


@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_mirror_map_reproduces_the_flow_of_the_layers(network, lam):
    found = network.weight(ALPHA, lam, integrated(network, lam), TIMES)
    exact = network.output_weight(layers(network, lam))
    np.testing.assert_allclose(found, exact, rtol=2e-7, atol=1e-10)
    assert network.weight(ALPHA, lam, np.zeros(1), np.zeros(1))[0] == pytest.approx(
        network.initial_weight(ALPHA), abs=1e-14
    )
    assert np.ptp(exact) > 0.3 * np.max(np.abs(exact))  # the flow went somewhere


@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_hessian_inverse_is_the_response_of_the_weight(network, lam):
    H = integrated(network, lam)
    step = 1e-5
    w = [network.weight(ALPHA, lam, H + s, TIMES) for s in (step, -step)]
    D = network.hessian_inverse(ALPHA, lam, H, TIMES)
    np.testing.assert_allclose(D, (w[1] - w[0]) / (2 * step), rtol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.5])
@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_response_to_a_kick_is_the_tangent_kernel_of_the_layers(network, lam):
    # a kick of h moves w at once by -c(t) D(t), and each layer by its velocity per h
    H = integrated(network, lam)
    state = layers(network, lam)
    kick = 1e-6
    velocity = [network.layer_velocity(state, h * np.ones(TIMES.size), lam) for h in (0.0, 1.0)]
    moved = network.output_weight(state + kick * (velocity[1] - velocity[0]))
    jump = (moved - network.output_weight(state)) / kick
    D = network.hessian_inverse(ALPHA, lam, H, TIMES)
    np.testing.assert_allclose(jump, -network.drift(lam, TIMES) * D, rtol=1e-4)


@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("network", [Diagonal(), Diagonal(1.3, 0.4), Deep(3), Deep(4)])
def test_layer_pair(network, lam):
    u, v = network.layer_pair(ALPHA, lam, integrated(network, lam), TIMES)
    exact = layers(network, lam)
    np.testing.assert_allclose([u, v], exact, rtol=1e-9)
    batch = np.zeros((3, TIMES.size))
    assert network.layer_pair(ALPHA, lam, batch, TIMES)[0].shape == (3, TIMES.size)


def test_networks_without_a_pair_of_layers():
    assert Linear().layer_pair(1.0, 0.0, np.zeros(1), np.zeros(1)) is None
    assert Product().layer_pair(1.0, 0.0, np.zeros(1), np.zeros(1)) is None


def test_diagonal_network_in_closed_form():
    t = np.array([0.0, 0.5, 3.0])
    H = np.array([[-1.0, 0.3, 2.0], [0.0, 0.0, -4.0]])
    a = 1.4**2 * np.exp(-0.2 * t)
    network = Diagonal()
    np.testing.assert_allclose(network.weight(1.4, 0.2, H, t), -a * np.sinh(H), atol=1e-14)
    np.testing.assert_allclose(network.hessian_inverse(1.4, 0.2, H, t), a * np.cosh(H))
    u, v = network.layer_pair(1.4, 0.2, H, t)
    np.testing.assert_allclose(u * v, np.broadcast_to(a, H.shape))
    np.testing.assert_allclose(0.5 * (u**2 + v**2), a * np.cosh(H))


def test_default_product_is_the_default_diagonal_network():
    t = np.linspace(0.0, 2.0, 5)
    H = np.linspace(-3.0, 3.0, 45).reshape(9, 5)
    one, other = (n.weight(0.7, 0.3, H, t) for n in (Product(), Diagonal()))
    np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)
    assert Product().initial_weight(0.7) == 0.0


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_deep_network_approaches_no_barrier_but_knows_it(depth):
    network = Deep(depth)
    barrier = 2 * ALPHA ** (2 - depth) / (depth - 2)
    H = barrier * np.array([[-0.999], [0.999]])
    w = network.weight(ALPHA, 0.0, H, np.zeros(1))[:, 0]
    assert w[0] > 10 * ALPHA**depth
    assert w[1] == pytest.approx(-w[0])


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_odd_networks_are_odd(network):
    H = np.linspace(0.1, 1.0, 4)
    w = [network.weight(ALPHA, 0.2, s * H, TIMES) for s in (1, -1)]
    if network.odd:
        np.testing.assert_allclose(w[0], -w[1], rtol=1e-12)
    else:
        assert isinstance(network, Product) or np.max(np.abs(w[0] + w[1])) > 0.1


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_coordinates_do_not_mix(network):
    state = np.random.default_rng(0).uniform(0.2, 1.0, (network.initial_layers(1.0).size, 5))
    h = np.linspace(-1.0, 1.0, 5)
    together = network.layer_velocity(state, h, 0.3)
    assert together.shape == state.shape
    for i in range(5):
        alone = network.layer_velocity(state[:, i : i + 1], h[i : i + 1], 0.3)
        np.testing.assert_allclose(together[:, i], alone[:, 0], rtol=1e-14)
        np.testing.assert_allclose(
            network.output_weight(state)[i], network.output_weight(state[:, i : i + 1])[0]
        )


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_velocity_is_minus_half_d_times_the_gradient_of_the_loss(network):
    # L = data(w) + lam |layers|^2/(2 d) with d data/dw = h/(d/2): du/dt = -(h dw/du + lam u)/2;
    # the linear network trains w itself in twice that unit
    if isinstance(network, Linear):
        velocity = network.layer_velocity(np.array([[0.3]]), np.array([0.7]), 0.2)
        np.testing.assert_allclose(velocity, [[-0.7 - 0.2 * 0.3]])
        return
    state = np.random.default_rng(1).uniform(0.3, 1.0, (network.initial_layers(1.0).size, 1))
    velocity = network.layer_velocity(state, np.array([0.7]), 0.2)
    for j in range(len(state)):
        bump = np.zeros_like(state)
        bump[j] = 1e-6
        slope = network.output_weight(state + bump) - network.output_weight(state - bump)
        force = 0.7 * slope / 2e-6 + 0.2 * state[j]
        np.testing.assert_allclose(velocity[j], -0.5 * force, rtol=1e-8)


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_configuration_is_plain_and_rebuilds_the_network(network):
    config = json.loads(json.dumps(network.config()))
    assert config["name"] == network.name
    again = network_from_config(config)
    assert again == network
    assert hash(again) == hash(network)


def test_every_network_is_listed_and_abstract_ones_are_not():
    assert {type(n) for n in ALL} == set(NETWORKS.values())
    with pytest.raises(TypeError):
        Network()


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Diagonal(0.0), "scale_u must satisfy scale_u > 0; got 0.0"),
        (lambda: Diagonal(1.0, -1.0), "scale_v"),
        (lambda: Diagonal(math.nan), "scale_u must be a finite real number"),
        (lambda: Deep(2), "depth must be an integer >= 3; got 2"),
        (lambda: Deep(3.5), "depth must be an integer >= 3; got 3.5"),
        (lambda: Product((1.0,)), "scales must hold at least 2 layers"),
        (lambda: Product((1.0, -0.5)), "scales must satisfy scales >= 0; got -0.5"),
        (lambda: Product((0.0, 1.0, 0.0)), "scales may hold at most one 0"),
        (lambda: network_from_config({"name": "wide"}), "network must be one of .*; got 'wide'"),
        (lambda: network_from_config({"name": "deep", "width": 3}), "network 'deep'.*width"),
    ],
)
def test_bad_parameters(build, text):
    with pytest.raises(ValueError, match=text):
        build()


# --- potentials -------------------------------------------------------------------------------

WEIGHTS = np.array([-2.0, -0.7, -0.1, 0.02, 0.3, 1.5])


def reachable(network):
    return WEIGHTS if network.changes_sign else np.array([0.01, 0.03, 0.3, 1.5])


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_hessian_is_the_second_derivative_of_the_potential(network):
    w = reachable(network)
    step = 1e-3 * np.minimum(1.0, np.abs(w))
    values = [network.potential(ALPHA, w + k * step) for k in (-2, -1, 0, 1, 2)]
    first = (values[0] - 8 * values[1] + 8 * values[3] - values[4]) / (12 * step)
    second = (-values[0] + 16 * values[1] - 30 * values[2] + 16 * values[3] - values[4]) / (
        12 * step**2
    )
    gradient = network.potential_gradient(ALPHA, w)
    hessian = network.hessian(ALPHA, w)
    np.testing.assert_allclose(gradient, first, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(hessian, second, rtol=1e-4)
    assert np.all(hessian > 0)


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_gradient_of_the_potential_inverts_the_mirror_map(network):
    # the map of the theory is coded apart from the potential
    w = reachable(network)
    H = -network.potential_gradient(ALPHA, w)
    found = network.weight(ALPHA, 0.0, H[:, None], np.zeros(1))[:, 0]
    D = network.hessian_inverse(ALPHA, 0.0, H[:, None], np.zeros(1))[:, 0]
    np.testing.assert_allclose(found, w, rtol=1e-6)
    np.testing.assert_allclose(network.hessian(ALPHA, w), 1 / D, rtol=1e-4)
    start = network.initial_weight(ALPHA)
    if network.changes_sign:
        assert network.potential(ALPHA, start) == pytest.approx(0.0, abs=1e-12)
        assert network.potential_gradient(ALPHA, start) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_hessian_is_one_over_the_tangent_kernel_along_the_flow(network):
    # d Psi'(w)/dt = -h: Psi'' is the inverse of dw/dlayers . dlayers/dh of the layers themselves
    state = layers(network, 0.0)
    w = network.output_weight(state)
    step = 1e-6
    velocity = [network.layer_velocity(state, h * np.ones(TIMES.size), 0.0) for h in (0.0, 1.0)]
    moved = network.output_weight(state + step * (velocity[1] - velocity[0]))
    np.testing.assert_allclose(network.hessian(ALPHA, w), -step / (moved - w), rtol=1e-4)
    np.testing.assert_allclose(
        network.potential_gradient(ALPHA, w), -integrated(network, 0.0), rtol=1e-7, atol=1e-9
    )


def test_potential_of_the_default_network_is_the_hyperbolic_entropy():
    a = ALPHA**2
    exact = WEIGHTS * np.arcsinh(WEIGHTS / a) - np.sqrt(WEIGHTS**2 + a**2) + a
    np.testing.assert_allclose(Diagonal().potential(ALPHA, WEIGHTS), exact, rtol=1e-12)
    np.testing.assert_allclose(Product().potential(ALPHA, WEIGHTS), exact, rtol=1e-12)
    np.testing.assert_allclose(
        Diagonal().hessian(ALPHA, WEIGHTS), 1 / np.sqrt(WEIGHTS**2 + a**2), rtol=1e-12
    )
    np.testing.assert_allclose(Linear().potential(ALPHA, WEIGHTS), 0.5 * WEIGHTS**2, rtol=1e-15)
    # two equal layers, w = x^2: the entropy
    w = WEIGHTS[3:]
    entropy = w * np.log(w / a) - w + a
    np.testing.assert_allclose(Product((1.0, 1.0)).potential(ALPHA, w), entropy, rtol=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.7])
@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_conserved_differences(network, lam):
    # decay multiplies a difference of squares by exp(-lam t), u v by it, u^(2-L) by its inverse
    state = layers(network, lam)
    decay = np.exp(-lam * TIMES)
    if isinstance(network, Product):
        conserved = (state[1:] ** 2 - state[0] ** 2) / decay
    elif isinstance(network, Diagonal):
        conserved = state[:1] * state[1:] / decay
    elif isinstance(network, Deep):
        gap = network.depth - 2
        conserved = np.sum((state / np.sqrt(decay)) ** -gap, axis=0, keepdims=True)
    else:
        return
    assert np.ptp(state, axis=1).max() > 0.1 * state.max()
    expected = np.broadcast_to(conserved[:, :1], conserved.shape)
    np.testing.assert_allclose(conserved, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("network", ALL, ids=IDS)
def test_decay_rescales_the_mirror_map(network):
    # phi(H, t) = s phi(H, 0): the potential at time t is s Psi(w/s)
    H = 0.3 * np.ones((1, TIMES.size))
    rate = 0.7 if network.linear else 0.5 * network.depth * 0.7
    scaled = np.exp(-rate * TIMES) * network.weight(ALPHA, 0.0, H, TIMES)
    np.testing.assert_allclose(network.weight(ALPHA, 0.7, H, TIMES), scaled, rtol=1e-12)


def test_depths_and_pairs():
    networks = (Linear(), Diagonal(), Deep(5), Product((0.5, 1.0, 2.0)))
    assert [network.depth for network in networks] == [1, 2, 5, 3]
    assert Diagonal(1.3, 0.4).pair_scales == (1.3, 0.4)
    assert Product((2.0, 1.0)).pair_scales == pytest.approx((3 / math.sqrt(2), 1 / math.sqrt(2)))
    assert Deep(3).pair_scales is None
    assert Product((2.0, 1.0, 0.5)).pair_scales is None
    assert not Product((1.0, 0.5, 0.5)).changes_sign


@pytest.mark.parametrize(
    ("network", "w", "text"),
    [
        (Diagonal(), [0.1, math.nan], "w must be finite"),
        (Deep(3), math.inf, "w must be finite"),
        (Product((1.0, 1.0, 1.0)), [0.5, 0.0], "w must be > 0"),
        (Product((1.0, 1.0)), -0.5, "w must be > 0"),
    ],
)
def test_potentials_refuse_what_is_no_weight(network, w, text):
    for function in (network.potential, network.potential_gradient, network.hessian):
        with pytest.raises(ValueError, match=text):
            function(ALPHA, w)


@pytest.mark.parametrize(
    ("network", "alpha"),
    [
        (Deep(10), 0.01),
        (Deep(10), 10.0),
        (Deep(400), 0.5),
        (Deep(3), 1e-100),
        (Deep(3), 1e100),
        (Diagonal(), 1e10),
        (Product((1.0, 0.3)), 1e10),
        (Product((1.0, 1.0, 1.0, 0.0)), 1e-5),
        (Product((1.0, 0.5, 0.2)), 1e5),
    ],
)
def test_what_doubles_cannot_resolve_is_refused(network, alpha):
    with pytest.raises(ValueError, match=r"alpha must be nearer to 1 for .* layers.*got alpha = "):
        Problem(delta=0.5, alpha=alpha, network=network)


@pytest.mark.parametrize(
    ("network", "alpha"),
    [
        (Deep(3), 1e-6),
        (Deep(4), 1e-4),
        (Deep(10), 0.12),
        (Deep(3), 500.0),
        (Product((1.0, 1.0, 1.0, 0.0)), 2e-4),
        (Product((1.0, 0.5, 0.2)), 1e-6),
    ],
)
def test_what_is_not_refused_is_resolved(network, alpha):
    Problem(delta=0.5, alpha=alpha, network=network)
    w = np.array([-1.0, 1.0])
    H = -network.potential_gradient(alpha, w)
    found = network.weight(alpha, 0.0, H[:, None], np.zeros(1))[:, 0]
    np.testing.assert_allclose(found, w, rtol=5e-6)


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (Deep(3), r"t must be <= 4\d\d\."),
        (Deep(50), r"t must be <= \d+\.?\d* for"),
        (Product((1.0, 0.7, 0.3)), r"t must be <= 4\d\d\."),
        (Product((1.0, 0.7, 0.3, 0.2)), r"t must be <= 1\d\d\."),
        (Product((0.9, 0.9)), "t must be <= 600 for lam = 0.1"),
    ],
)
def test_times_that_doubles_cannot_resolve_are_refused(network, text):
    with pytest.raises(ValueError, match=text + r".*cannot resolve w of .*; got 10000"):
        network.mirror_parameters(1.0, 0.1, np.array([0.0, 1e4]))
    assert len(network.mirror_parameters(1.0, 0.0, np.array([0.0, 1e4]))) == 2


@pytest.mark.parametrize(
    "network",
    [Deep(3), Deep(4), Product((1.0, 0.7, 0.3)), Product((0.9, 0.9)), Product((2.0, 0.5))],
)
def test_decayed_networks_reach_weights_of_size_one(network):
    # at the last time permitted; beyond the reach of its table w would stay behind
    lam, t = 0.1, np.array([150.0])
    scale = np.exp(-0.5 * network.depth * lam * t)
    for w in (1.0, 30.0) if not network.changes_sign else (-30.0, -1.0, 1.0, 30.0):
        H = -network.potential_gradient(ALPHA, w / scale)
        found = network.weight(ALPHA, lam, H[:, None], t)
        np.testing.assert_allclose(found, w, rtol=3e-5)


def test_table_of_two_layers_is_the_diagonal_network():
    class Tabulated(Product):  # two layers by the code of more
        pair_scales = None

    t = np.linspace(0.0, 2.0, 5)
    H = np.linspace(-3.0, 3.0, 45).reshape(9, 5)
    for scales, pair in (
        ((math.sqrt(2.0), 0.0), Diagonal()),
        ((1.2, 0.5), Diagonal(1.7 / math.sqrt(2), 0.7 / math.sqrt(2))),
    ):
        table, direct = Tabulated(scales), Product(scales)
        assert table.mirror_table(0.7).size > direct.mirror_table(0.7).size == 0
        for found in (table, direct):
            for name in ("weight", "hessian_inverse"):
                one, other = (getattr(n, name)(0.7, 0.3, H, t) for n in (found, pair))
                np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-10)
        w = np.array([-2.0, 0.1, 1.0])
        one, other = (n.potential(0.7, w) for n in (table, pair))
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("alpha", [1e-12, 1e4])
def test_two_layers_are_not_refused(alpha):
    for network in (Diagonal(), Product((1.0, 0.3))):
        Problem(delta=0.5, alpha=alpha, network=network)
