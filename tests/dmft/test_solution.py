"""Solutions and ensembles as people meet them: values, dense output, equality, display."""

import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft.equations.observables import ONE_TIME, TWO_TIME

PROBLEM = dmft.Problem(0.5, 1.0, 0.1, 0.1)


@pytest.fixture(scope="module")
def solution():
    return dmft.solve(PROBLEM, 10.0, rtol=1e-3)


@pytest.fixture(scope="module")
def linear():
    return dmft.solve(dmft.Problem(0.5, sigma2=0.1, network="linear"), 6.0, rtol=1e-8)


@pytest.fixture(scope="module")
def ensemble():
    return dmft.simulate(PROBLEM, [0.0, 1.0, 3.0], dimension=50, seeds=3, workers=1)


# --- values and errors -----------------------------------------------------------------------


def test_all_names_are_there_before_and_after_they_are_read():
    fresh = dmft.solve(PROBLEM, 1.0, rtol=0.01)
    names = [*ONE_TIME, *TWO_TIME]
    for functions in (fresh.values, fresh.error):
        assert list(functions) == names
        assert len(functions) == 10
        assert all(name in functions for name in names)
        _ = functions["C_w"]
        assert list(functions) == names
        assert {name: f.shape for name, f in functions.items()} == {
            name: fresh.t.shape * (1 if name in ONE_TIME else 2) for name in names
        }
        with pytest.raises(KeyError):
            functions["C_x"]


@pytest.mark.parametrize("name", ["solution", "ensemble"])
def test_solutions_and_ensembles_have_one_manner(request, tmp_path, name):
    result = request.getfixturevalue(name)
    assert list(result.values) == list(result.error)
    for key, value in result.values.items():
        assert getattr(result, key) is value
        assert getattr(result.values, key) is value
        assert result.error[key].shape == value.shape
        assert key in dir(result)
    assert {"values", "error", "save", "to_xarray", "plot", "t"} <= set(dir(result))
    with pytest.raises(AttributeError, match="no attribute 'C_x'"):
        _ = result.C_x
    result.save(tmp_path / "file.h5")
    loaded = dmft.load(tmp_path / "file.h5")
    assert loaded == result == pickle.loads(pickle.dumps(result))


def test_an_ensembles_values_are_means_and_standard_errors(ensemble):
    for name, runs in ensemble.runs.items():
        np.testing.assert_array_equal(ensemble.values[name], runs.mean(axis=0))
        spread = runs.std(axis=0, ddof=1) / np.sqrt(3)
        np.testing.assert_array_equal(ensemble.error[name], spread)


def arrays(value):
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from arrays(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from arrays(getattr(value, field.name))


@pytest.mark.parametrize("name", ["solution", "ensemble"])
def test_arrays_are_read_only(request, name):
    result = request.getfixturevalue(name)
    found = list(arrays(result))
    assert len(found) > 20
    assert not any(array.flags.writeable for array in found)
    with pytest.raises(AttributeError):
        result.t = np.zeros(3)
    with pytest.raises(TypeError):
        result.values["test_error"] = np.zeros(3)


def test_the_arrays_of_the_caller_stay_writable(solution):
    times = np.array([0.0, 1.0])
    dmft.solve(PROBLEM, 1.0, times, rtol=0.1)
    times[0] = 0.5
    for wrong in ([0.0, np.nan], [1.0, 0.5]):
        with pytest.raises(ValueError, match="t must be"):
            replace(solution, t=np.array(wrong))


def test_equality_ignores_wall_time(solution):
    assert dmft.solve(PROBLEM, 1.0, rtol=0.01) == dmft.solve(PROBLEM, 1.0, rtol=0.01)
    assert dmft.solve(PROBLEM, 1.0, rtol=0.01) != dmft.solve(PROBLEM, 1.0, rtol=0.02)
    other = solution.values["overlap"].copy()
    other[3] = np.nextafter(other[3], 1.0)
    assert replace(solution, values=solution.values | {"overlap": other}) != solution


@pytest.mark.parametrize("network", ["diagonal", "linear", "deep"])
def test_rounding_leaves_nothing_below_zero(network):
    problem = dmft.Problem(0.1, 1.0, 0.0, 0.0, network=network)  # C_r(t, t) ends below 0
    late = dmft.solve(problem, 200.0, rtol=0.01)
    for name in ("test_error", "train_error", "norm_w"):
        assert np.min(late.values[name]) >= 0.0, name
    assert late.norm_w[0] == 0.0
    assert late.train_error[0] == pytest.approx(0.05)


# --- dense output ------------------------------------------------------------------------------


def marchenko_pastur(delta, count=400):
    """Nodes and weights of the law of the eigenvalues of X^T X/delta, delta < 1."""
    angle = np.pi * np.arange(1, count + 1) / (count + 1)
    radius = 2 / np.sqrt(delta)
    x = 1 + 1 / delta + radius * np.cos(angle)
    w = 0.5 * delta * radius**2 * np.sin(angle) ** 2 / (count + 1) / x
    return np.append(x, 1e-300), np.append(w, 1 - delta)


def test_any_time_is_as_accurate_as_the_solution(linear):
    x, w = marchenko_pastur(0.5)
    times = np.random.default_rng(1).uniform(0.0, 6.0, 50)
    growth = -np.expm1(-times[:, None] * x)
    exact = 0.5 * (0.1 * np.exp(-2 * times[:, None] * x) + 0.2 * growth**2 / x) @ w
    # within the panels collocation loses some of the order that it has at their ends
    np.testing.assert_allclose(linear(times).test_error, exact, rtol=1e-6)
    lag = np.exp(-np.subtract.outer(times, times)[..., None] * x) @ w
    causal = np.where(times[:, None] >= times[None, :], -lag, 0.0)
    np.testing.assert_allclose(linear.at(times, times).R_w, causal, rtol=1e-4, atol=1e-5)


def test_between_the_nodes_the_tolerance_holds(solution):
    times = np.sort(np.random.default_rng(2).uniform(0.0, 10.0, 40))
    precise = dmft.solve(PROBLEM, 10.0, rtol=1e-5)(times)
    for name in ("test_error", "train_error"):
        difference = np.abs(solution(times)[name] / precise[name] - 1)
        assert np.max(difference) < 1e-3, (name, difference)


def test_dense_output_agrees_with_another_solve(solution):
    times = np.array([0.3, 1.7, 6.1, 9.9])
    again = dmft.solve(PROBLEM, 10.0, times, rtol=1e-3)
    for name in ONE_TIME:
        np.testing.assert_allclose(solution(times)[name], again.values[name], rtol=1e-12)
    for name in TWO_TIME:
        values = solution.at(times, times)[name]
        np.testing.assert_allclose(values, again.values[name], rtol=1e-9, atol=1e-12)


def test_shapes_and_order_of_dense_output(solution):
    assert solution(2.5)["test_error"].shape == ()
    backwards = solution([[3.0, 1.0], [2.0, 3.0]]).overlap
    # products of matrices of other shapes may round the last bit differently
    np.testing.assert_allclose(
        backwards, [solution([t, s]).overlap for t, s in ((3, 1), (2, 3))], rtol=1e-14
    )
    pairs = solution.at([5.0, 1.0], [2.0, 0.5, 2.0])
    assert pairs.R_w.shape == (2, 3)
    assert pairs.R_w[1, 0] == 0.0 > pairs.R_w[0, 0]
    assert solution.at(5.0, 0.5).R_w == pytest.approx(pairs.R_w[0, 1], rel=1e-12)
    assert solution.at([[5.0]], 0.5).C_w.shape == (1, 1)
    at_nodes = solution.at(solution.t, solution.t).C_r
    np.testing.assert_allclose(at_nodes, solution.C_r, rtol=1e-14)
    with tempfile.TemporaryDirectory() as folder:
        solution.save(Path(folder, "run.h5"))
        loaded = dmft.load(Path(folder, "run.h5"))
    assert loaded(2.345).train_error == solution(2.345).train_error
    for bad in (-1.0, 10.1, np.nan, [1.0, np.inf]):
        with pytest.raises(ValueError, match="t must be"):
            solution(bad)
        with pytest.raises(ValueError, match="s must be"):
            solution.at(1.0, bad)
    with pytest.raises(ValueError, match="t must be"):
        solution([])


# --- display -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["solution", "ensemble"])
def test_it_shows_itself_in_a_few_lines(request, name):
    result = request.getfixturevalue(name)
    text, page = repr(result), result._repr_html_()
    assert len(text.splitlines()) < 15
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith(type(result).__name__)
    for shown in (text, page):
        assert f"{result.test_error[-1]:.6g}" in shown
    assert page.count("<tr>") == page.count("</tr>") == len(text.splitlines()) - 1


def test_plot_draws_into_the_axes_that_it_is_given(solution, ensemble):
    axes = ensemble.plot()
    assert len(axes.lines) == 2
    assert solution.plot(ax=axes) is axes
    assert len(axes.lines) == 4
    assert solution.plot("C_w").get_ylabel() == "time $t$"
    with pytest.raises(ValueError, match="C_x"):
        solution.plot("C_x")
