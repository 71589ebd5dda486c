"""Every network: the theory, which knows its mirror map, against simulations of its layers."""

import functools

import numpy as np
import pytest

import dmft
from dmft.networks.base import Network
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.networks.registry import NETWORKS

TIMES = np.array([0.0, 0.4, 1.0, 2.0, 4.0])
DIMENSION = 200
SEEDS = 16
CASES = [
    (Diagonal(), 0.0),
    (Diagonal(), 0.3),
    (Diagonal(1.3, 0.4), 0.0),
    (Linear(), 0.3),
    (Deep(3), 0.3),
    (Deep(4), 0.0),
    (Product((1.2, 0.5)), 0.0),
    (Product((1.0, 0.7, 0.3)), 0.3),
]
IDS = [f"{network.name}-{network.depth}-{k}-lam{lam:g}" for k, (network, lam) in enumerate(CASES)]


def problem_of(network, lam, alpha=0.9):
    # a signal of little spread: its mean is seen, so that a wrong sign of w cannot hide
    signal = dmft.BernoulliGaussian(0.8, 0.6, 0.3)
    return dmft.Problem(0.6, alpha, lam, 0.1, signal, network)


@functools.cache
def theory(network, lam):
    solution = dmft.solve(problem_of(network, lam), TIMES[-1], t_eval=TIMES, rtol=1e-2)
    assert solution.success
    return solution


def simulated(problem):
    return dmft.simulate(problem, TIMES, DIMENSION, SEEDS, rng=1, workers=1, rtol=1e-4)


def forbid_mirror_map(monkeypatch):
    """Let any use of what the theory knows about a network fail."""

    def forbidden(*arguments):
        raise AssertionError("the simulation must not use the mirror map")

    names = [
        *("_mirror", "weight", "hessian_inverse", "mirror_potential", "mirror_parameters"),
        *("mirror_table", "drift", "layer_pair"),
    ]
    for owner in (Network, *NETWORKS.values()):
        for name in names:
            if name in vars(owner):
                monkeypatch.setattr(owner, name, forbidden)


@pytest.mark.parametrize(("network", "lam"), CASES, ids=IDS)
def test_theory_agrees_with_the_flow_of_the_layers(network, lam, monkeypatch):
    solution = theory(network, lam)
    with monkeypatch.context() as patch:
        forbid_mirror_map(patch)
        ensemble = simulated(solution.problem)
    report = dmft.compare(solution, ensemble)
    assert report.passed, str(report)
    assert report.largest_deviation < 4  # in standard errors, beyond the finite-size bias
    assert report.detectable["test_error"] < 0.3  # seen in 95 % of data sets


def test_every_kind_of_network_is_compared():
    assert {type(network) for network, _ in CASES} == set(NETWORKS.values())


# Mutations of the layers' flow. Each must be noticed, or the agreement above means little.


def without_half(velocity, layers, h, lam):
    return 2 * velocity(layers, h, lam)


def wrong_sign_of_decay(velocity, layers, h, lam):
    return velocity(layers, h, -lam)


def no_decay(velocity, layers, h, lam):
    return velocity(layers, h, 0.0)


@pytest.mark.parametrize("mutation", [without_half, wrong_sign_of_decay, no_decay])
@pytest.mark.parametrize(
    "network", [Diagonal(), Linear(), Deep(3), Product((1.0, 0.7, 0.3))], ids=lambda n: n.name
)
def test_another_flow_of_the_layers_is_rejected(network, mutation, monkeypatch):
    velocity = type(network).layer_velocity
    monkeypatch.setattr(
        type(network),
        "layer_velocity",
        lambda self, layers, h, lam: mutation(functools.partial(velocity, self), layers, h, lam),
    )
    ensemble = simulated(problem_of(network, 0.3))
    monkeypatch.undo()
    report = dmft.compare(theory(network, 0.3), ensemble)
    assert not report.passed
    assert 1.5 * report.critical_deviation < report.largest_deviation < np.inf


def test_weight_without_its_factor_is_rejected(monkeypatch):
    weight = Diagonal.output_weight
    monkeypatch.setattr(Diagonal, "output_weight", lambda self, layers: 2 * weight(self, layers))
    ensemble = simulated(problem_of(Diagonal(), 0.3))
    monkeypatch.undo()
    report = dmft.compare(theory(Diagonal(), 0.3), ensemble)
    assert 2 * report.critical_deviation < report.largest_deviation < np.inf


def test_unequal_starts_are_not_interchangeable():
    solution = theory(Diagonal(1.3, 0.4), 0.0)
    report = dmft.compare(solution, simulated(solution.problem))
    assert report.passed
    swapped = theory(Diagonal(0.4, 1.3), 0.0)
    miss = np.abs(swapped.test_error - report.simulation["test_error"])
    assert np.all(miss > 0.2 * report.simulation["test_error"])


# The depth-two case of the deep code is the default network. A product of two layers takes the
# closed form; without it two layers take the path of more.


class Tabulated(Product):
    pair_scales = None


@pytest.mark.parametrize("lam", [0.0, 0.3])
@pytest.mark.parametrize("product", [Product, Tabulated])
@pytest.mark.parametrize(
    ("scales", "pair"),
    [
        ((np.sqrt(2.0), 0.0), Diagonal()),
        ((1.2, 0.5), Diagonal(1.7 / np.sqrt(2), 0.7 / np.sqrt(2))),
    ],
    ids=["default", "unequal"],
)
def test_product_of_two_layers_is_the_diagonal_network(product, scales, pair, lam):
    first, second = (
        dmft.solve(problem_of(network, lam, alpha=0.7), 6.0, t_eval=TIMES, rtol=3e-3)
        for network in (product(scales), pair)
    )
    assert first.success
    for name in ("test_error", "train_error", "mean_w", "overlap", "C_w", "C_r"):
        miss = np.abs(first.values[name] - second.values[name])
        assert np.all(miss <= first.error[name] + second.error[name] + 1e-12), name
        assert np.all(miss <= 3e-3 * np.abs(second.values[name]) + 1e-5), name


@pytest.mark.parametrize("lam", [0.0, 0.3])
def test_product_of_two_layers_is_the_diagonal_network_in_simulations(lam):
    # u, v = (u_1 +- u_2)/sqrt 2 is a rotation of the layers
    first, second = (
        dmft.simulate(problem_of(n, lam), TIMES, dimension=60, seeds=2, rng=4, workers=1)
        for n in (Product((1.2, 0.5)), Diagonal(1.7 / np.sqrt(2), 0.7 / np.sqrt(2)))
    )
    for name in ("test_error", "train_error", "mean_w"):
        np.testing.assert_allclose(first.runs[name], second.runs[name], rtol=1e-4, atol=1e-9)
