"""One contract: `rng` is an int, Generator, SeedSequence or None, and what it was is recorded."""

from functools import cache

import numpy as np
import pytest

import dmft
from dmft.equations.noise_rules import MonteCarloRule, SobolRule, SparseRule
from dmft.simulation.saddle_ensemble import saddle_ensemble
from dmft.validation import recorded_seed

PROBLEM = dmft.Problem(0.5, 1.0, 0.1, 0.1)
SOURCES = {
    "int": lambda: 11,
    "generator": lambda: np.random.default_rng(11),
    "seed sequence": lambda: np.random.SeedSequence(11),
}


def quick(rule=None, rng=0):
    return dmft.solve(PROBLEM, 0.5, [0.5], rtol=0.1, rule=rule, rng=rng)


@cache
def a_solution():
    return quick()


@pytest.mark.parametrize("kind", [SobolRule, MonteCarloRule])
def test_random_rules_follow_rng(kind):
    rule = kind(paths=64, modes=3)
    values = [quick(rule, rng).test_error[0] for rng in (1, 1, 2, np.random.default_rng(1))]
    assert values[0] == values[1]
    assert len(set(values)) == 3, "seeds 1, 2 and a generator"
    other = quick(kind(paths=64, modes=3, seed=5), 1).test_error[0]
    assert other != values[0], "a rule's own seed counts too"


def test_rules_without_randomness_stay_what_they_are():
    rule = SparseRule(0.5, 1e-2)
    assert rule.seeded(3) is rule
    assert quick(rng=1).test_error == quick(rng=2).test_error


@pytest.mark.parametrize("source", SOURCES)
def test_the_recorded_seed_repeats_a_solve(source, tmp_path):
    rule = MonteCarloRule(paths=64, modes=3)
    first = quick(rule, SOURCES[source]())
    first.save(tmp_path / "run.h5")
    seed = dmft.load(tmp_path / "run.h5").seed
    assert seed == recorded_seed(SOURCES[source]())
    np.testing.assert_array_equal(quick(rule, seed).test_error, first.test_error)


def test_none_draws_fresh_entropy_which_is_recorded(tmp_path):
    rule = MonteCarloRule(paths=64, modes=3)
    first, second = quick(rule, None), quick(rule, None)
    assert first.seed != second.seed
    first.save(tmp_path / "run.h5")
    assert dmft.load(tmp_path / "run.h5").seed == first.seed
    np.testing.assert_array_equal(quick(rule, first.seed).test_error, first.test_error)


@pytest.mark.parametrize(
    "use",
    [
        lambda rng: quick(MonteCarloRule(paths=64, modes=3), rng),
        lambda rng: a_solution().sample_paths(3, rng),
        lambda rng: dmft.simulate(PROBLEM, [1.0], 20, 2, rng),
        lambda rng: saddle_ensemble(dmft.Problem(0.5), [1.0], 20, 2, rng),
    ],
    ids=["solve", "sample_paths", "simulate", "saddle_ensemble"],
)
def test_other_sources_are_refused(use):
    with pytest.raises(ValueError, match=r"rng must be an integer >= 0; got -1"):
        use(-1)
    for wrong in (True, 1.0, "a"):
        with pytest.raises(TypeError, match="rng must be an int, Generator, SeedSequence or None"):
            use(wrong)
    for source in SOURCES.values():
        use(source())
