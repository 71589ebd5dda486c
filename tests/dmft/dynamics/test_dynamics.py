"""What a dynamics accepts, and that it survives its configuration."""

import pytest

import dmft
from dmft.dynamics.registry import dynamics_from_config

EXAMPLES = [
    dmft.GradientFlow(),
    dmft.GradientDescent(0.2, momentum=0.5, nesterov=True, label_noise=0.1),
    dmft.SGD(0.1, 0.25, "cyclic", label_noise=0.3),
    dmft.StochasticFlow(0.3, label_noise=0.2),
]


@pytest.mark.parametrize("dynamics", EXAMPLES, ids=lambda d: d.name)
def test_configuration_rebuilds(dynamics):
    problem = dmft.Problem(delta=0.5, dynamics=dynamics)
    assert dynamics_from_config(dynamics.config()) == dynamics
    assert dmft.Problem.from_config(problem.config()) == problem


def test_problems_of_earlier_files_are_flows():
    config = dmft.Problem(delta=0.5).config()
    del config["dynamics"]
    assert dmft.Problem.from_config(config).dynamics == dmft.GradientFlow()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: dmft.GradientDescent(0.0), "step must satisfy step > 0; got 0.0"),
        (lambda: dmft.GradientDescent(-1), "step must satisfy step > 0; got -1"),
        (lambda: dmft.SGD(0.1, 0.0), "batch must satisfy batch > 0 and batch <= 1; got 0.0"),
        (lambda: dmft.SGD(0.1, 1.5), "batch must satisfy .* got 1.5"),
        (lambda: dmft.GradientDescent(0.1, momentum=1.0), "momentum must satisfy .* got 1.0"),
        (lambda: dmft.GradientDescent(0.1, label_noise=-1.0), "label_noise must satisfy"),
        (lambda: dmft.SGD(0.1, 0.5, "all"), "sampling must be one of .* got 'all'"),
        (lambda: dmft.SGD(0.1, 0.3, "reshuffle"), "batch must be 1/M .* got 0.3"),
        (lambda: dmft.StochasticFlow(-0.1), "temperature must satisfy"),
        (lambda: dynamics_from_config({"name": "adam"}), "dynamics must be one of"),
        (lambda: dynamics_from_config({"name": "sgd", "stp": 1}), "parameters of dynamics 'sgd'"),
    ],
)
def test_bad_values_are_named(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_types_are_named():
    with pytest.raises(ValueError, match="nesterov must be True or False; got 1"):
        dmft.GradientDescent(0.1, nesterov=1)
    with pytest.raises(TypeError, match=r"dynamics must be .* got 0.1"):
        dmft.Problem(delta=0.5, dynamics=0.1)
