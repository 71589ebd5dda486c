"""What every result type can do: shown in a few lines, read-only, compared by numbers, saved."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest

import dmft

TIMES = np.array([0.0, 0.1, 0.2])
PROBLEM = dmft.Problem(0.5, 2.0, 0.1, 0.1)
LINEAR = dmft.Problem(0.5, network="linear")
IN_STEPS = dmft.Problem(0.5, dynamics=dmft.GradientDescent(0.1))
QUADRATIC = dmft.QuadraticProblem(0.3, 0.7, 0.5)


def solution():
    return dmft.solve(LINEAR, 0.2, TIMES, rtol=0.01)


def ensemble():
    return dmft.simulate(LINEAR, TIMES, dimension=10, seeds=3, rng=1, workers=1)


TRAJECTORIES = {
    "Solution": solution,
    "StepSolution": lambda: dmft.solve(IN_STEPS, 0.2, TIMES, rtol=0.05, rng=1),
    "QuadraticSolution": lambda: dmft.solve(QUADRATIC, 0.2, TIMES, rtol=0.3, rng=1),
    "Ensemble": ensemble,
    "QuadraticEnsemble": lambda: dmft.simulate(QUADRATIC, TIMES, dimension=8, seeds=2, rng=1),
}
STORED = TRAJECTORIES | {
    "Sweep": lambda: dmft.sweep(LINEAR, delta=[0.5, 2.0], solve={"t_max": 0.2}, workers=1),
}
VALUES = STORED | {
    "Report": lambda: dmft.compare(made("Solution"), made("Ensemble")),
    "SaddlePath": lambda: dmft.saddle_to_saddle([[1, 0.5], [0.5, 1]], [1, 0]),
    "Timescales": lambda: dmft.timescales(PROBLEM),
    "Paths": lambda: made("Solution").sample_paths(3),
}


@cache
def made(name):
    return VALUES[name]()


@pytest.mark.parametrize("name", VALUES)
def test_it_is_shown_in_a_few_lines(name):
    value = made(name)
    assert type(value).__name__ == name
    lines = repr(value).splitlines()
    assert lines[0].startswith(name)
    assert 1 < len(lines) < 15
    assert max(map(len, lines)) <= 100
    page = value._repr_html_()
    assert page.startswith("<table>")
    assert all(f">{row}<" in page for row in value.summary())


def arrays_of(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from arrays_of(item)
    elif hasattr(value, "items"):
        for _, item in value.items():
            yield from arrays_of(item)


@pytest.mark.parametrize("name", VALUES)
def test_its_fields_are_listed_frozen_and_read_only(name):
    value = made(name)
    listed = dir(value)
    found = 0
    for field in fields(value):
        assert field.name in listed
        with pytest.raises(AttributeError):
            setattr(value, field.name, None)
        for array in arrays_of(getattr(value, field.name)):
            found += 1
            assert not array.flags.writeable, field.name
    if name == "Sweep":
        assert not value["test_error"].flags.writeable
    else:
        assert found or name == "Timescales"  # which holds numbers alone


@pytest.mark.parametrize("name", VALUES)
def test_it_equals_what_the_same_call_gives_whatever_the_wall_time(name):
    value, again = made(name), VALUES[name]()
    assert value == again
    assert value != "value"
    if hasattr(value, "stats") and "wall_time" in value.stats:
        assert replace(value, stats=value.stats | {"wall_time": 1e3}) == value
        assert replace(value, stats=value.stats | {"another": 1e3}) != value


@pytest.mark.parametrize("name", TRAJECTORIES)
def test_values_and_errors_have_one_manner(name):
    value = made(name)
    assert set(value.values) == set(value.error)
    for key, values in value.values.items():
        assert values.shape == value.error[key].shape
        assert set(values.shape) == {TIMES.size}
        assert getattr(value, key) is value.values[key]
        assert key in dir(value)
        assert np.all(value.error[key] >= 0)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = value.nothing_of_that_name


@pytest.mark.parametrize("name", STORED)
def test_it_is_saved_and_loaded(name, tmp_path):
    made(name).save(tmp_path / "result.h5")
    assert dmft.load(tmp_path / "result.h5") == made(name)
    assert type(made(name)).load(tmp_path / "result.h5") == made(name)
