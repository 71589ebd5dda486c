"""Networks: the mirror map against the gradient flow of the layers, which it must reproduce."""

import json
import math

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from dmft.networks import NETWORKS, Deep, Diagonal, Linear, Network, Product, network_from_config

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
    np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
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
