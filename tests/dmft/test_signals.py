"""Laws of w*: moments, samples, merging of atoms, configuration, bad parameters."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from dmft.parameters import number
from dmft.signals import (
    LAWS,
    Bernoulli,
    BernoulliGaussian,
    Component,
    Discrete,
    Distribution,
    Empirical,
    Gaussian,
    Joint,
    SignalLaw,
    as_signal,
    register,
    signal_from_config,
)

# law, E w*, E w*^2, E w*^4
EXAMPLES = [
    (Bernoulli(0.1), 0.1, 0.1, 0.1),
    (Bernoulli(0.3, -2.0), -0.6, 1.2, 4.8),
    (Bernoulli(1.0, 0.5), 0.5, 0.25, 0.0625),
    (BernoulliGaussian(0.2, 1.5), 0.0, 0.45, 0.2 * 3 * 1.5**4),
    (BernoulliGaussian(0.5, 1.0, 2.0), 1.0, 2.5, 0.5 * (16 + 6 * 4 + 3)),
    (BernoulliGaussian(1.0, 0.5), 0.0, 0.25, 3 / 16),
    (Gaussian(), 0.0, 1.0, 3.0),
    (Gaussian(2.0, -1.0), -1.0, 5.0, 1 + 6 * 4 + 3 * 16),
    (Discrete([-1.0, 0.0, 2.0], [0.2, 0.5, 0.3]), 0.4, 1.4, 5.0),
    (Empirical([0.0, 1.0, 1.0, -2.0]), 0.0, 1.5, 4.5),
    (Distribution("laplace", (0.0, 0.5)), 0.0, 0.5, 24 * 0.5**4),
    (Joint([[1.0, 1.0], [2.0, 1.0]], [Bernoulli(0.1), Gaussian(2.0, -1.0)]), -0.45, 2.55, 36.55),
]
IDS = [f"{law.name}-{k}" for k, (law, *_) in enumerate(EXAMPLES)]


@pytest.mark.parametrize(("law", "mean", "second", "fourth"), EXAMPLES, ids=IDS)
def test_moments(law, mean, second, fourth):
    assert law.mean == pytest.approx(mean, abs=1e-15)
    assert law.second_moment == pytest.approx(second)
    parts = law.components()
    assert sum(c.probability for c in parts) == pytest.approx(1.0, abs=1e-15)
    assert all(c.probability > 0 for c in parts)
    moment = sum(
        c.probability * (c.mean**4 + 6 * (c.mean * c.std) ** 2 + 3 * c.std**4) for c in parts
    )
    assert moment == pytest.approx(fourth)


@pytest.mark.parametrize(("law", "mean", "second", "fourth"), EXAMPLES, ids=IDS)
def test_samples_have_the_moments(law, mean, second, fourth):
    count = 40000
    draws = law.sample(np.random.default_rng(0), count)
    assert draws.shape == (count,)
    mean_error = np.sqrt((second - mean**2) / count) + 1e-12
    second_error = np.sqrt(max(fourth - second**2, 0.0) / count) + 1e-12
    assert abs(draws.mean() - mean) < 4 * mean_error
    assert abs(np.mean(draws**2) - second) < 4 * second_error
    np.testing.assert_array_equal(draws, law.sample(np.random.default_rng(0), count))
    # a second sample follows the first: no fixed seed inside
    rng = np.random.default_rng(0)
    first, other = law.sample(rng, 200), law.sample(rng, 200)
    assert law == Bernoulli(1.0, 0.5) or not np.array_equal(first, other)


def test_full_density_has_one_component():
    assert len(Bernoulli(1.0).components()) == 1
    assert len(BernoulliGaussian(1.0).components()) == 1
    assert [c.std for c in BernoulliGaussian(0.5, 2.0).components()] == [2.0, 0.0]


def test_equal_atoms_are_merged_and_empty_ones_dropped():
    law = Discrete([2.0, 0.0, 2.0, 5.0], [0.25, 0.5, 0.25, 0.0])
    assert [tuple(c) for c in law.components()] == [(0.5, 0.0, 0.0), (0.5, 2.0, 0.0)]
    parts = Empirical([3.0, 1.0, 3.0, 3.0]).components()
    assert [tuple(c) for c in parts] == [(0.25, 1.0, 0.0), (0.75, 3.0, 0.0)]


@pytest.mark.parametrize(("law", "mean", "second", "fourth"), EXAMPLES, ids=IDS)
def test_configuration_is_plain_and_rebuilds_the_law(law, mean, second, fourth):
    config = json.loads(json.dumps(law.config()))
    assert config["name"] == law.name
    again = signal_from_config(config)
    assert again == law
    assert hash(again) == hash(law)
    assert again.components() == law.components()


def test_laws_compare_by_kind_and_numbers():
    assert Bernoulli(0.1) != Bernoulli(0.2)
    assert Discrete([1.0], [1.0]) != Discrete([2.0], [1.0])
    assert Discrete([1.0], [1.0]) != Empirical([1.0])
    assert len({Empirical([1.0]), Empirical([1.0]), Empirical([2.0])}) == 2


def test_arrays_are_copies_and_read_only():
    values = np.array([1.0, 2.0])
    for law, name in ((Discrete(values, [0.5, 0.5]), "values"), (Empirical(values), "array")):
        values[0] = 9.0
        assert getattr(law, name)[0] == 1.0
        with pytest.raises(ValueError, match="read-only"):
            getattr(law, name)[0] = 3.0
        values[0] = 1.0


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: Bernoulli(0.0), "density must satisfy density > 0 and density <= 1; got 0.0"),
        (lambda: Bernoulli(1.1), "density"),
        (lambda: Bernoulli(math.nan), "density"),
        (lambda: Bernoulli(0.1, math.inf), "value must be a finite real number; got inf"),
        (lambda: BernoulliGaussian(-0.1), "density"),
        (lambda: BernoulliGaussian(0.1, 0.0), "std must satisfy std > 0; got 0.0"),
        (lambda: BernoulliGaussian(0.1, 1.0, math.nan), "mean_nonzero"),
        (lambda: Gaussian(-1.0), "std"),
        (lambda: Gaussian(1.0, "0"), "location"),
        (lambda: Discrete([0.0, 1.0], [1.0]), "probabilities must have the shape of values"),
        (lambda: Discrete([0.0, 1.0], [1.5, -0.5]), "probabilities must be >= 0; got"),
        (lambda: Discrete([0.0, 1.0], [0.5, 0.4]), "probabilities must sum to 1; got"),
        (lambda: Discrete([0.0, math.nan], [0.5, 0.5]), "values must be finite"),
        (lambda: Discrete([], []), "values must be a non-empty 1-d array"),
        (lambda: Empirical([[1.0]]), "array must be a non-empty 1-d array; got shape"),
        (lambda: Empirical([math.inf]), "array must be finite"),
        (lambda: signal_from_config({"name": "cauchy"}), "signal must be one of .*; got 'cauchy'"),
        (lambda: signal_from_config({}), "signal must be one of"),
        (lambda: signal_from_config({"name": "gaussian", "width": 1.0}), "'gaussian'.*width"),
    ],
)  # fmt: skip
def test_bad_parameters(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_config_is_not_changed_by_rebuilding():
    config = {"name": "bernoulli", "density": 0.2}
    assert signal_from_config(config) == Bernoulli(0.2)
    assert config == {"name": "bernoulli", "density": 0.2}


def test_every_law_is_listed():
    assert {type(law) for law, *_ in EXAMPLES} == set(LAWS.values())


# --- long, scipy's and new laws ---------------------------------------------------------------


def smooth(x):
    return np.tanh(5 * x) + 0.3 * np.logaddexp(0.0, (x - 1.0) / 0.3)


def average(law, function):
    parts = law.components()
    return sum(c.probability * float(function(c.mean)) for c in parts)


@pytest.mark.parametrize("kind", ["gaussian", "student_t", "rounded", "sparse"])
def test_long_laws_are_condensed_without_a_change_of_averages(kind):
    rng = np.random.default_rng(3)
    x = {
        "gaussian": lambda: rng.standard_normal(100_000),
        "student_t": lambda: rng.standard_t(3, 100_000),
        "rounded": lambda: rng.standard_normal(100_000) + 1e-14 * rng.standard_normal(100_000),
        "sparse": lambda: rng.standard_normal(100_000) * (rng.random(100_000) < 0.1),
    }[kind]()
    law = Empirical(x)
    assert len(law.components()) < 5000
    for function in (lambda v: v, lambda v: v**2, smooth):
        np.testing.assert_allclose(
            average(law, function), np.mean(function(x)), rtol=1e-11, atol=1e-12, err_msg="seed 3"
        )
    zeros = sum(c.probability for c in law.components() if c.mean == 0)
    assert zeros == pytest.approx(np.mean(x == 0), abs=1e-12)


def test_a_million_numbers_are_a_law_at_once():
    # it took 9 s for each use, 18 times a solve; the bound in calls holds on any machine
    law = Empirical(np.random.default_rng(4).standard_normal(1_000_000))
    parts = law.components()
    assert parts is law.components()
    assert len(parts) < 5000
    assert law.second_moment == pytest.approx(np.mean(law.array**2), rel=1e-13)


SCIPY = [
    (stats.laplace(scale=0.5), Distribution("laplace", (0.0, 0.5)), 1e-12),
    (stats.gamma(0.3, loc=-1.0, scale=2.0), Distribution("gamma", (0.3, -1.0, 2.0)), 1e-12),
    (stats.gamma(0.3, -1.0, scale=2.0), Distribution("gamma", (0.3, -1.0, 2.0)), 1e-12),
    (stats.uniform, Distribution("uniform", (0.0, 1.0)), 1e-12),
    (stats.t(3), Distribution("t", (3.0, 0.0, 1.0)), 1e-8),
    (stats.poisson(2.5), Distribution("poisson", (2.5, 0.0)), 1e-12),
    (stats.norm(1.0, 2.0), Gaussian(2.0, 1.0), 1e-12),
]


@pytest.mark.parametrize(("frozen", "law", "accuracy"), SCIPY, ids=[repr(s[1]) for s in SCIPY])
def test_scipy_distributions_are_laws(frozen, law, accuracy):
    found = as_signal(frozen)
    assert found == law
    assert signal_from_config(json.loads(json.dumps(found.config()))) == found
    mean, var = frozen.stats()
    assert found.mean == pytest.approx(mean, rel=accuracy, abs=accuracy)
    assert found.second_moment == pytest.approx(var + mean**2, rel=accuracy)
    draws = found.sample(np.random.default_rng(5), 20_000)
    assert abs(draws.mean() - mean) < 5 * np.sqrt(var / 20_000), "seed 5"


def test_a_distribution_without_a_name_in_scipy_becomes_atoms():
    class Ramp(stats.rv_continuous):  # density 2 x on [0, 1]
        def _pdf(self, x):
            return 2 * x

        def _ppf(self, p):
            return np.sqrt(p)

    law = as_signal(Ramp(a=0.0, b=1.0, name="ramp")())
    assert isinstance(law, Discrete)
    assert law.mean == pytest.approx(2 / 3, rel=1e-10)
    assert law.second_moment == pytest.approx(0.5, rel=1e-10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (stats.cauchy(), "signal must have a finite second moment"),
        (stats.t(2.01), "signal must be smooth and have light tails"),
        (
            stats.rv_histogram(([1.0, 0.0, 3.0], [-1.0, 0.0, 1.0, 3.0]), density=False),
            "signal must be smooth .*; give an array of draws instead",
        ),
        ([], "array must be a non-empty 1-d array"),
    ],
)
def test_what_is_no_law_of_finite_size_is_refused(value, text):
    with pytest.raises(ValueError, match=text):
        as_signal(value)


def test_a_registered_law_is_known_by_its_name():
    @dataclass(frozen=True)
    class Ternary(SignalLaw):
        density: float = number("P(w* != 0)", 0.1, low=0.0, high=1.0)
        name = "ternary"

        def components(self):
            half = Component(0.5 * self.density, 1.0, 0.0)
            return half, half._replace(mean=-1.0), Component(1 - self.density, 0.0, 0.0)

    try:
        register(Ternary)
        assert signal_from_config({"name": "ternary", "density": 0.4}) == Ternary(0.4)
        register(Ternary)  # again, as in a notebook
        with pytest.raises(ValueError, match="density must satisfy"):
            Ternary(1.5)

        class Other(Ternary):
            pass

        with pytest.raises(ValueError, match="signal name 'ternary' is taken"):
            register(Other)
    finally:
        LAWS.pop("ternary", None)
