"""Results that are no trajectories: short texts, read-only arrays, equality by numbers."""

from dataclasses import fields, replace

import numpy as np
import pytest

import dmft
from dmft.values import frozen

PROBLEM = dmft.Problem(0.5, 2.0, 0.1, 0.1)
TIMES = np.array([0.0, 1.0])


def report():
    ensemble = dmft.simulate(PROBLEM, TIMES, dimension=50, seeds=3, workers=1)
    return dmft.compare(dmft.solve(PROBLEM, 1.0, TIMES, rtol=0.01), ensemble)


def saddle_path():
    return dmft.saddle_to_saddle([[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]], [1, 0])


def paths():
    return dmft.solve(PROBLEM, 1.0, TIMES, rtol=0.01).sample_paths(7)


SHOWN = {
    report: ["inconclusive", "d = 50, 3 seeds", "print(report)"],
    saddle_path: ["3, the last at 5.63265", "2 of 4"],
    paths: ["7", "2 times from 0 to 1"],
    lambda: dmft.timescales(PROBLEM): ["t = 13.8629", "alpha must be < 1"],
}


@pytest.mark.parametrize("make", SHOWN, ids=["report", "saddles", "paths", "timescales"])
def test_values_show_themselves_and_compare_by_their_numbers(make):
    value, again = make(), make()
    assert value == again
    assert value != "value"
    lines = repr(value).splitlines()
    assert 1 < len(lines) < 15
    assert max(map(len, lines)) <= 100
    page = value._repr_html_()
    for text in SHOWN[make]:
        assert text in repr(value)
        assert text.replace("<", "&lt;") in page
    for field in fields(value):
        content = getattr(value, field.name)
        arrays = content.values() if isinstance(content, dict) else content
        for array in arrays if isinstance(content, dict | tuple) else [content]:
            assert not (isinstance(array, np.ndarray) and array.flags.writeable), field.name


def test_one_bit_makes_another_value():
    value = saddle_path()
    times = value.times.copy()
    times[-1] = np.nextafter(times[-1], 9.0)
    assert replace(value, times=times) != value
    assert replace(value, success=False) != value
    assert replace(value, losses=np.full(4, np.nan)) == replace(value, losses=np.full(4, np.nan))


def test_freezing_leaves_the_array_of_the_caller_alone():
    array = np.zeros(3)
    assert not frozen({"a": (array,)})["a"][0].flags.writeable
    assert array.flags.writeable
