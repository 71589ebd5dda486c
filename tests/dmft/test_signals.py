"""Laws of w*: moments, samples, merging of atoms, configuration, bad parameters."""

import json
import math

import numpy as np
import pytest

from dmft.signals import (
    LAWS,
    Bernoulli,
    BernoulliGaussian,
    Discrete,
    Empirical,
    Gaussian,
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
        (lambda: signal_from_config({"name": "cauchy"}), "name must be one of .*; got 'cauchy'"),
        (lambda: signal_from_config({}), "signal name must be one of"),
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
