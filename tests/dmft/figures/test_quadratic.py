"""Figures of quadratic networks: what is drawn, from computations too small to mean anything."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft.figures import quadratic
from dmft.figures.quadratic import PICTURES, Task, draw
from dmft.quadratic import recovery_threshold

TASK = Task(dimension=12, seeds=2, rtol=0.5, seed=0, note=lambda text: None)


def drawn(name, count=1, t_max=0.2):
    picture = PICTURES[name]
    picture = dataclasses.replace(picture, problems=picture.problems[:count], t_max=t_max)
    figure = picture.drawing(picture, TASK)
    assert figure.get_suptitle() == picture.title
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in figure.axes)
    return picture, figure


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr(quadratic, "CURVE", 8)


def test_the_settings_are_those_of_the_literature():
    widths = {name: (p.problems[0].kappa, p.problems[0].kappa_star) for name, p in PICTURES.items()}
    assert widths["quadratic-double-descent"] == (0.4, 0.3)
    assert widths["quadratic-training"] == (0.7, 0.5)
    assert [p.lam for p in PICTURES["quadratic-training"].problems] == [0.5, 0.1, 0.05]


def test_training_shows_theory_simulation_and_limits():
    picture, figure = drawn("quadratic-training", t_max=0.03)
    state = dmft.steady_state(picture.problems[0])
    for ax, name in zip(figure.axes, ("mse", "train_error"), strict=True):
        assert len(ax.containers) == 1  # error bars
        levels = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
        assert levels == [pytest.approx(getattr(state, name))]


def test_curves_are_steady_states():
    picture, figure = drawn("quadratic-double-descent")
    curve = figure.axes[0].lines[0]
    problem = dataclasses.replace(picture.problems[0], alpha=curve.get_xdata()[3])
    assert curve.get_ydata()[3] == pytest.approx(dmft.steady_state(problem).mse)
    assert len(figure.axes[0].containers) == 4


def test_spectra_and_thresholds():
    picture, figure = drawn("quadratic-spectra")
    line = figure.axes[0].lines[-1]
    density = dmft.steady_state(picture.problems[0]).density(line.get_xdata())
    np.testing.assert_allclose(line.get_ydata(), density)
    _, figure = drawn("quadratic-recovery")
    line = figure.axes[0].lines[2]
    assert line.get_ydata()[-1] == recovery_threshold(1.1, 0.3)


def test_maps_of_two_times_and_bad_names(tmp_path):
    problem = PICTURES["quadratic-training"].problems[0]
    runs = dmft.simulate(problem, [0.0, 0.1, 0.2], dimension=10, seeds=2)
    assert runs.plot("C_Z").get_ylabel() == "time $t$"
    assert "W" in runs.plot().get_xlabel()
    with pytest.raises(ValueError, match=r"quantity must be one of .*C_Z, C_f; got 'R_Z'"):
        runs.plot("R_Z")
    with pytest.raises(ValueError, match="name must be one of quadratic-training"):
        draw("training", tmp_path / "a.png")
    with pytest.raises(ValueError, match="path must end in"):
        draw("quadratic-training", tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="existing directory"):
        draw("quadratic-training", tmp_path / "none" / "a.png")
