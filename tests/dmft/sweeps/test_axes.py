"""Which points a sweep has."""

import numpy as np
import pytest
from scipy import stats

import dmft
from dmft.sweeps.axes import changed, lay_out


def test_grids_are_products_with_the_last_axis_fastest():
    layout = lay_out({"alpha": [1.0, 2.0], "network": ["linear", "diagonal", "deep"]}, None, 0)
    points = list(layout)
    assert layout.dimensions == {"alpha": 2, "network": 3}
    assert [p.place for p in points] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert points[4].values == {"alpha": 2.0, "network": "diagonal"}


def test_draws_follow_their_law_share_a_dimension_and_are_extended_by_more_draws():
    axes = {"alpha": stats.loguniform(0.01, 1.0), "delta": stats.uniform(0.2, 0.6), "lam": [0, 1]}
    few, many = lay_out(axes, 50, 1), lay_out(axes, 400, 1)
    assert many.dimensions == {"draw": 400, "lam": 2}
    dimension, alpha = many.axes["alpha"]
    delta = many.axes["delta"][1]
    assert dimension == "draw"
    assert few.axes["alpha"][1] == alpha[:50]
    assert stats.kstest(np.log10(alpha), stats.uniform(-2, 2).cdf).pvalue > 0.01
    assert stats.kstest(delta, stats.uniform(0.2, 0.6).cdf).pvalue > 0.01
    assert abs(np.corrcoef(np.log(alpha), delta)[0, 1]) < 0.15  # 3 / sqrt(400)
    assert lay_out(axes, 50, 2).axes["alpha"][1] != few.axes["alpha"][1]


def test_fields_of_fields_are_changed_after_the_fields():
    problem = dmft.Problem(0.5)
    changes = {"signal.std": 2.0, "signal": dmft.Gaussian(), "network": "deep", "network.depth": 4}
    changed_problem = changed(problem, changes)
    assert changed_problem == dmft.Problem(0.5, signal=dmft.Gaussian(2.0), network=dmft.Deep(4))
    assert problem == dmft.Problem(0.5)


def test_ranges():
    assert np.allclose(dmft.logspace(0.01, 1, 5), 10.0 ** np.arange(-2, 0.1, 0.5))
    assert dmft.linspace(1, 2, 3).tolist() == [1.0, 1.5, 2.0]
    for arguments, name in [((0, 1, 3), "low"), ((2, 1, 3), "high"), ((1, 2, 1), "num")]:
        with pytest.raises(ValueError, match=f"{name} must .* got"):
            dmft.logspace(*arguments)


SOLVE = {"t_max": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpah": [1.0]}, "alpah is no field of Problem; did you mean 'alpha'?"),
        ({"signal.densty": [0.1]}, "signal.densty is no field of Bernoulli; did you mean"),
        ({"delta.x": [0.1]}, "delta is 0.5"),
        ({"alpha": []}, "alpha must have at least one value"),
        ({"alpha": [1.0, 2.0, 1.0]}, "alpha must not repeat a value; got 1.0 twice"),
        ({"alpha": [1, 1.0]}, "alpha must not repeat a value; got 1.0 twice"),
        ({"alpha": 1.0}, "alpha must be a list of values or a distribution; got 1.0"),
        ({"alpha": [1.0, -2.0]}, r"alpha must satisfy alpha > 0; got -2.0 \(at alpha = -2.0\)"),
        ({"solve.rtl": [0.1]}, "solve takes no 'rtl'; did you mean 'rtol'?"),
        ({"simulate.seeds": [1, 2]}, "simulate.seeds needs simulate="),
        ({"alpha": stats.uniform()}, "draws is required: alpha is a distribution"),
        ({"alpha": [1.0], "draws": 3}, "draws must be absent"),
        ({"alpha": stats.cauchy(1e308, 1e308), "draws": 9}, "must give finite numbers"),
        ({"alpha": range(1, 2000), "lam": range(2000)}, "at most 1000000 points; got 3998000"),
        ({"alpha": [1.0], "solve": None}, "a sweep needs solve or simulate"),
        ({}, "a sweep needs an axis"),
        ({"alpha": [1.0], "solve": {"t_mx": 1.0}}, "solve takes no 't_mx'; did you mean 't_max'?"),
        ({"alpha": [1.0], "solve": {"rtol": 0.1}}, "solve needs t_max or t_eval"),
        ({"alpha": [1.0], "solve": {"t_max": 0.0}}, "solve t_max must satisfy"),
        ({"alpha": [1.0], "solve": SOLVE | {"rng": object()}}, "solve rng must be a number"),
        ({"alpha": [1.0], "solve": SOLVE | {"rtol": 5}}, "solve rtol must satisfy .* got 5"),
        (
            {"alpha": [1.0], "solve": SOLVE | {"atol": {"test_error": -1}}},
            "solve atol must satisfy",
        ),
        ({"alpha": [1.0], "solve": SOLVE | {"max_time": 0}}, "solve max_time must satisfy"),
        ({"solve.rtol": [1e-2, 0.5]}, r"solve rtol must satisfy .* \(at solve.rtol = 0.5\)"),
        ({"alpha": [1.0], "simulate": {"seeds": 0}}, "simulate seeds must be an integer >= 1"),
        ({"alpha": [1.0], "simulate": {"rtol": 0.1}}, "simulate rtol must satisfy"),
        ({"alpha": [1.0], "keep": "all"}, "keep must be one of curves, everything; got 'all'"),
        ({"alpha": [1.0], "shard": (3, 2)}, r"shard must be \(i, n\)"),
        ({"alpha": [1.0], "workers": 0}, "workers must be an integer >= 1; got 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_input_is_named_before_anything_is_computed(arguments, message, tmp_path):
    given = {"solve": SOLVE, "out": tmp_path / "sweep"} | arguments
    with pytest.raises(ValueError, match=message):
        dmft.sweep(dmft.Problem(0.5), **given)
    assert not list(tmp_path.glob("sweep/points/*"))
