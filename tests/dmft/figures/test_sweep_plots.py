"""Pictures of sweeps, read back from what was drawn."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import dmft
from dmft.figures.sweeps import plot_sweep
from dmft.storage import Variable

PROBLEM = dmft.Problem(0.5, lam=0.1, network="linear")
OPTIONS = {"solve": {"t_max": 1.0, "rtol": 0.1}, "workers": 1}


@pytest.fixture(scope="module")
def grid():
    """Three by four points, of which one has failed and one does not meet the tolerance."""
    sweep = dmft.sweep(PROBLEM, lam=[0.1, 0.2, 0.5], delta=dmft.logspace(0.2, 2, 4), **OPTIONS)
    variables = dict(sweep.variables)

    def changed(name, place, value):
        values = variables[name].values.copy()
        if name == "status":
            values = values.astype("U9")  # as long as "failed" needs
        values[place] = value
        old = variables[name]
        variables[name] = Variable(old.dimensions, values, old.long_name, old.units)

    changed("status", (1, 2), "failed")
    changed("test_error", (1, 2), np.nan)
    changed("success", (1, 2), False)
    changed("success", (2, 3), False)
    return dataclasses.replace(sweep, variables=variables)


def marks(ax):
    return {
        c.get_label(): c.get_offsets().tolist() for c in ax.collections if c.get_label()[0] != "_"
    }


def test_a_map_has_the_values_and_marks_what_failed(grid):
    ax = plot_sweep(grid)
    image = ax.collections[0]
    assert np.array_equal(
        np.ma.filled(image.get_array(), np.nan), grid["test_error"][..., -1], equal_nan=True
    )
    delta = grid["delta"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("delta", "lam", "log")
    edges = image.get_coordinates()
    assert np.all((edges[0, :-1, 0] < delta) & (delta < edges[0, 1:, 0]))
    assert marks(ax) == {"failed": [[delta[2], 0.2]], "tolerance not met": [[delta[3], 0.5]]}


def test_a_curve_at_a_time_and_a_held_value(grid):
    ax = plot_sweep(grid, "train_error", t=0.5, at={"lam": 0.2})
    line = ax.lines[0]
    assert np.array_equal(line.get_xdata(), grid["delta"])
    assert np.array_equal(line.get_ydata(), grid["train_error"][1, :, 50])
    assert "at $t$ = 0.5" in ax.get_ylabel()
    assert marks(ax)["failed"][0][0] == grid["delta"][2]


def test_curves_over_time(grid):
    ax = grid.plot(at={"delta": grid["delta"][0]}, over_time=True)
    assert len(ax.lines) == 3
    assert np.array_equal(ax.lines[2].get_ydata(), grid["test_error"][2, 0])


def test_names_and_draws_are_drawn():
    sweep = dmft.sweep(
        PROBLEM,
        network=["linear", "diagonal"],
        lam=stats.uniform(0.1, 0.4),
        delta=stats.uniform(0.5, 1.0),
        draws=3,
        **OPTIONS,
    )
    ax = sweep.plot(at={"network": "linear"})
    dots = ax.collections[0]
    assert np.allclose(dots.get_offsets(), np.stack([sweep["lam"], sweep["delta"]], axis=1))
    assert np.array_equal(dots.get_array(), sweep["test_error"][:, 0, -1])
    only = dmft.sweep(PROBLEM, network=["linear", "diagonal"], **OPTIONS).plot()
    assert [label.get_text() for label in only.get_xticklabels()] == ["linear", "diagonal"]


def test_what_cannot_be_drawn(grid):
    with pytest.raises(ValueError, match=r"quantity must be one of test_error, .*; got 'C_w'"):
        plot_sweep(grid, "C_w")
    with pytest.raises(ValueError, match=r"lam must be one of .*; got 0\.3"):
        plot_sweep(grid, at={"lam": 0.3})
    with pytest.raises(ValueError, match="at must name axes of the sweep"):
        plot_sweep(grid, at={"alpha": 0.3})
    with pytest.raises(ValueError, match="at must hold all but 1 of the dimensions lam, delta"):
        plot_sweep(grid, over_time=True)
