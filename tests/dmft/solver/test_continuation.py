"""Solves that go on from a solution."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft.equations.effective_process import EffectiveProcess
from dmft.solver.solve import solve

PROBLEM = dmft.Problem(delta=1.3, alpha=0.05, sigma2=0.1)
TIMES = np.linspace(0.0, 30.0, 7)
OBSERVABLES = ("test_error", "train_error")


@pytest.fixture(scope="module")
def rough():
    return solve(PROBLEM, 30.0, rtol=1e-3)


def assert_agree(one, other):
    for name in OBSERVABLES:
        miss = np.abs(one.values[name] - other.values[name])
        assert np.all(miss <= one.error[name] + other.error[name])


def counted(monkeypatch):
    """Return the list that every later average is added to."""
    taken, take = [], EffectiveProcess.averages

    def averages(process, kernels):
        taken.append(process)
        return take(process, kernels)

    monkeypatch.setattr(EffectiveProcess, "averages", averages)
    return taken


@pytest.mark.parametrize(("t_max", "rtol"), [(30.0, 1e-4), (90.0, 1e-3)])
def test_tighter_tolerances_and_longer_horizons_agree_with_fresh_solves(rough, t_max, rtol):
    more = solve(PROBLEM, t_max, TIMES, rtol=rtol, continue_from=rough)
    fresh = solve(PROBLEM, t_max, TIMES, rtol=rtol)
    assert more.success
    assert more.rtol == rtol
    assert more.grid.t_max == t_max
    assert_agree(more, fresh)


def test_it_starts_from_what_is_known(monkeypatch, rough):
    # the same solve again: the cheap map's sweeps from the start are those that are saved
    taken = counted(monkeypatch)
    again = dataclasses.replace(rough, success=False)  # else its values would do
    solve(PROBLEM, 30.0, rtol=1e-3, continue_from=again)
    warm = len(taken)
    solve(PROBLEM, 30.0, rtol=1e-3)
    assert warm < len(taken) - warm, (warm, len(taken) - warm)


def test_other_times_need_no_solve(monkeypatch, rough):
    taken = counted(monkeypatch)
    other = solve(PROBLEM, 30.0, TIMES, rtol=2e-3, continue_from=rough)
    assert not taken
    np.testing.assert_array_equal(other.t, TIMES)
    direct = solve(PROBLEM, 30.0, TIMES, rtol=1e-3)
    for name in OBSERVABLES:
        np.testing.assert_allclose(other.values[name], direct.values[name], rtol=1e-12)
        assert np.all(other.error[name] >= 0.99 * direct.error[name])
        assert np.all(other.error[name] <= 3 * direct.error[name])
    np.testing.assert_allclose(other.C_w, direct.C_w, rtol=1e-12)
    assert other.error["R_w"].shape == other.R_w.shape


@pytest.mark.parametrize("case", ["tighter", "atol", "failed", "times"])
def test_values_are_used_again_only_where_they_are_as_accurate(monkeypatch, rough, case):
    taken = counted(monkeypatch)
    asked = {"rtol": 5e-4} if case == "tighter" else {"rtol": 1e-3}
    if case == "atol":
        asked["atol"] = 0.0
    if case == "failed":
        rough = dataclasses.replace(rough, success=False, status=1)
    if case == "times":  # the early errors are not known
        rough = solve(PROBLEM, 30.0, TIMES[3:], rtol=1e-3)
        taken.clear()
    solve(PROBLEM, 30.0, TIMES, continue_from=rough, **asked)
    assert taken


def test_stored_solutions_go_on(tmp_path, rough):
    path = tmp_path / "rough.h5"
    rough.save(path)
    loaded = dmft.load(path)
    more = solve(PROBLEM, 30.0, TIMES, rtol=3e-4, continue_from=loaded)
    direct = solve(PROBLEM, 30.0, TIMES, rtol=3e-4, continue_from=rough)
    np.testing.assert_array_equal(more.test_error, direct.test_error)


@pytest.mark.parametrize(
    ("problem", "t_max", "word"),
    [(dmft.Problem(delta=1.3), 30.0, "same problem"), (PROBLEM, 10.0, "t_max")],
)
def test_what_cannot_go_on_is_refused(rough, problem, t_max, word):
    with pytest.raises(ValueError, match=word):
        solve(problem, t_max, continue_from=rough)


def test_steps_and_other_things_are_refused(rough):
    with pytest.raises(TypeError, match="continue_from"):
        solve(PROBLEM, 30.0, continue_from="rough.h5")
    in_steps = dataclasses.replace(PROBLEM, dynamics=dmft.GradientDescent(0.1))
    with pytest.raises(ValueError, match="continue_from"):
        solve(in_steps, 30.0, continue_from=rough)
