"""Networks that state their layers alone: potential, table, checks, against what is known."""

from dataclasses import dataclass

import numpy as np
import pytest

from dmft.networks import Deep, Diagonal, Network, Product
from dmft.networks.layers import LayerFlow
from dmft.parameters import number
from dmft.problem import Problem
from dmft.signals import Bernoulli
from dmft.solver.solve import solve


@dataclass(frozen=True)
class Squared(Network):
    """w = u^2 v, with v(0) = 0 unless `other` says more: no network of this package."""

    other: float = number("start of v over alpha", 0.0)
    name = "squared"
    depth = 3

    def initial_layers(self, alpha):
        return alpha * np.array([1.0, self.other])

    def output_weight(self, layers):
        u, v = layers
        return u**2 * v

    def layer_velocity(self, layers, h, lam):
        u, v = layers
        return -0.5 * np.stack([2 * h * u * v + lam * u, h * u**2 + lam * v])


WEIGHTS = np.array([-30.0, -1.0, -1e-3, 0.0, 0.2, 1.0, 1e4])


@pytest.mark.parametrize(
    ("network", "alpha"),
    [(Diagonal(1.3, 0.4), 0.03), (Deep(3), 3.0), (Product((1.0, 0.4, 0.1)), 1.0)],
    ids=repr,
)
def test_the_layers_alone_give_the_potential_in_closed_form(network, alpha):
    found, exact = LayerFlow(network, alpha), network.mirror_potential(alpha)
    for name in ("value", "gradient", "hessian"):
        one, other = (getattr(potential, name)(WEIGHTS) for potential in (found, exact))
        scale = 1e-9 * np.max(np.abs(other))
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=scale, err_msg=name)


def test_a_network_without_closed_forms_has_its_exact_map():
    # u = alpha/cos(q), v = -alpha tan(q)/sqrt 2, q = alpha H/sqrt 2
    alpha, H = 0.7, np.array([-2.9, -1.0, -1e-4, 0.0, 0.5, 2.0])
    q = alpha * H / np.sqrt(2)
    u, v = alpha / np.cos(q), -alpha * np.tan(q) / np.sqrt(2)
    w = Squared().weight(alpha, 0.0, H[:, None], np.zeros(1))[:, 0]
    D = Squared().hessian_inverse(alpha, 0.0, H[:, None], np.zeros(1))[:, 0]
    np.testing.assert_allclose(w, u**2 * v, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(D, 0.5 * (4 * (u * v) ** 2 + u**4), rtol=1e-5)


def test_decay_follows_from_the_degree():
    # layers by their own velocities under a force that varies, against phi at the H of the drift
    network, lam, alpha, steps = Squared(0.3), 0.4, 0.8, 4000
    t = np.linspace(0.0, 2.0, steps + 1)
    h = np.sin(3 * t) - 0.4
    layers, dt = network.initial_layers(alpha)[:, None], t[1]
    for k in range(steps):  # the midpoint rule, whose error is of the order of dt^2
        middle = 0.5 * (h[k] + h[k + 1])
        half = layers + 0.5 * dt * network.layer_velocity(layers, np.full(1, h[k]), lam)
        layers = layers + dt * network.layer_velocity(half, np.full(1, middle), lam)
    H = np.trapezoid(network.drift(lam, t) * h, t)
    w = network.weight(alpha, lam, np.array([[H]]), t[-1:])
    np.testing.assert_allclose(w[0], network.output_weight(layers), rtol=1e-5)


def test_a_new_network_is_solved_like_any_other():
    # three layers of which two start equal obey u_1 = u_2 for ever: a product in disguise
    @dataclass(frozen=True)
    class Disguised(Squared):
        def layer_velocity(self, layers, h, lam):
            u, v = layers
            return -0.5 * np.stack([h * u * v + lam * u, h * u**2 / 2 + lam * v])

        def output_weight(self, layers):
            u, v = layers
            return u**2 * v / 2

    settings = {"delta": 0.5, "lam": 0.05, "sigma2": 0.1, "signal": Bernoulli(0.2)}
    # with u = sqrt 2 a and v: w = a^2 v, da/dt = -(h a v + lam a)/2, dv/dt = -(h a^2 + lam v)/2
    pair = (Disguised(0.5), Product((1 / np.sqrt(2), 1 / np.sqrt(2), 0.5)))
    one, other = (solve(Problem(network=n, **settings), 3.0, [1.0, 3.0], 1e-4) for n in pair)
    assert one.success, one.message
    np.testing.assert_allclose(one.test_error, other.test_error, rtol=1e-4)
    np.testing.assert_allclose(one.train_error, other.train_error, rtol=1e-4)


def test_wrong_layers_are_refused():
    @dataclass(frozen=True)
    class WrongSign(Squared):
        def layer_velocity(self, layers, h, lam):
            return -super().layer_velocity(layers, h, lam)

    @dataclass(frozen=True)
    class WrongDegree(Squared):
        depth = 2

    with pytest.raises(ValueError, match=r"layer_velocity must be .* for layer 0 of .*WrongSign"):
        Problem(0.5, network=WrongSign())
    with pytest.raises(ValueError, match=r"depth must be the degree .* 8 w, not 2\^2 w"):
        Problem(0.5, network=WrongDegree())
    with pytest.raises(ValueError, match="alpha must be nearer to 1"):
        Problem(0.5, alpha=1e6, network=Squared())
