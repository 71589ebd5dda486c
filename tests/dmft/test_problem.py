"""The statement of a problem: defaults, checks, names, configuration."""

import dataclasses
import json
import math
from fractions import Fraction

import pytest

from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, Discrete, Gaussian


def test_defaults():
    problem = Problem(0.5)
    assert (problem.delta, problem.alpha, problem.lam, problem.sigma2) == (0.5, 1.0, 0.0, 0.0)
    assert problem.signal == Bernoulli(0.1)
    assert problem.network == Diagonal()


@pytest.mark.parametrize(
    ("name", "network"),
    [("diagonal", Diagonal()), ("linear", Linear()), ("deep", Deep()), ("product", Product())],
)
def test_a_name_stands_for_a_network_with_its_defaults(name, network):
    problem = Problem(1.0, network=name)
    assert problem.network == network
    assert problem.mirror is problem.network
    assert problem == Problem(1.0, network=network)


def test_integers_become_floats():
    problem = Problem(2, alpha=3, lam=1, sigma2=0)
    assert all(type(getattr(problem, k)) is float for k in ("delta", "alpha", "lam", "sigma2"))
    assert problem == Problem(2.0, alpha=3.0, lam=1.0)


def test_a_problem_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Problem(0.5).alpha = 2.0


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"delta": 0.0}, "delta must satisfy delta > 0; got 0.0"),
        ({"delta": -1.0}, "delta"),
        ({"delta": math.inf}, "delta must be a finite real number; got inf"),
        ({"delta": 1.0, "alpha": 0.0}, "alpha must satisfy alpha > 0; got 0.0"),
        ({"delta": 1.0, "alpha": math.nan}, "alpha must be a finite real number; got nan"),
        ({"delta": 1.0, "lam": -0.1}, "lam must satisfy lam >= 0; got -0.1"),
        ({"delta": 1.0, "sigma2": -1e-9}, "sigma2 must satisfy sigma2 >= 0"),
        ({"delta": "1"}, "delta must be a finite real number; got '1'"),
        ({"delta": True}, "delta"),
        ({"delta": 1e-300}, "delta must satisfy delta >= 1e-09 and delta <= 1e.09; got 1e-300"),
        ({"delta": 1.0, "alpha": 1e200}, "alpha must satisfy .*alpha <= 1e.150; got 1e.200"),
        ({"delta": 1.0, "lam": 10**400}, "lam must be a finite real number"),
        ({"delta": 1.0, "sigma2": 1e200}, "sigma2 must satisfy .*sigma2 <= 1e.100; got 1e.200"),
        ({"delta": 1.0, "signal": Bernoulli(0.1, 1e200)}, "signal must satisfy .* <= 1e.100; got"),
        ({"delta": 1.0, "signal": [1.0, math.nan]}, "array must be finite; got nan"),
        ({"delta": 1.0, "network": "convolutional"}, "network must be one of .*'convolutional'"),
    ],
)
def test_bad_values(values, text):
    with pytest.raises(ValueError, match=text):
        Problem(**values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"signal": 0.1},
            r"signal must be a .* such as Bernoulli.*array of numbers; got 0.1",
        ),
        ({"signal": Bernoulli}, "signal must be a .*; got <class"),
        ({"network": 2}, "network must be a Network or its name; got 2"),
        ({"network": Diagonal}, "network must be a Network or its name; got <class"),
    ],
)
def test_bad_types(values, text):
    with pytest.raises(TypeError, match=text):
        Problem(1.0, **values)


def test_fractions_count_as_numbers():
    half, law = Fraction(1, 2), Bernoulli(Fraction(1, 10), Fraction(3, 2))
    problem = Problem(half, half, half, half, law, Diagonal(half, Fraction(3, 2)))
    assert problem == Problem(0.5, 0.5, 0.5, 0.5, Bernoulli(0.1, 1.5), Diagonal(0.5, 1.5))
    assert json.loads(json.dumps(problem.config())) == problem.config()


@pytest.mark.parametrize(
    "problem",
    [
        Problem(0.5),
        Problem(2.0, 0.3, 0.1, 0.2, Gaussian(2.0, 1.0), Deep(4)),
        Problem(1.0, 1.0, 0.0, 0.0, Discrete([-1.0, 1.0], [0.5, 0.5]), Product((0.1, 1.0, 2.0))),
        Problem(1.0, network=Diagonal(2.0, 0.5)),
        Problem(1.0, network="linear"),
    ],
)
def test_configuration_is_plain_and_rebuilds_the_problem(problem):
    config = json.loads(json.dumps(problem.config()))
    assert list(config) == ["delta", "alpha", "lam", "sigma2", "signal", "network", "dynamics"]
    assert Problem.from_config(config) == problem
    assert Problem.from_config(config) == problem  # the dictionary was left as it was
    assert hash(Problem.from_config(config)) == hash(problem)


def test_bad_configuration():
    config = Problem(0.5).config()
    with pytest.raises(ValueError, match="delta"):
        Problem.from_config({**config, "delta": -1.0})
    with pytest.raises(ValueError, match="network must be one of"):
        Problem.from_config({**config, "network": {"name": "?"}})
    with pytest.raises(ValueError, match="parameters of network 'deep'"):
        Problem.from_config({**config, "network": {"name": "deep", "width": 3}})
