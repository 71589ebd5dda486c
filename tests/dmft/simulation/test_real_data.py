from dataclasses import replace

import numpy as np
import pytest

import dmft
from dmft.simulation.real_data import given, own_source, signal_and_noise

PROBLEM = dmft.Problem(0.5, 1.0, 0.1, 0.1)
TIMES = np.linspace(0.0, 4.0, 5)


def raw_design(rows, columns, seed=0):
    """Independent entries behind shifts and scales that standardising has to undo."""
    rng = np.random.default_rng(seed)
    return 3 + rng.standard_normal((rows, columns)) * rng.uniform(1, 5, columns)


def labels(X, noise, seed=1):
    """Sparse weights on the raw columns, labels, and the standard deviation of w* X."""
    rng = np.random.default_rng(seed)
    rows, columns = X.shape
    w = rng.binomial(1, 0.2, columns) / (X.std(axis=0) * np.sqrt(columns))
    return X @ w + noise * rng.standard_normal(rows), w


# --- scaling, draws, estimates -----------------------------------------------------------------


def test_draws_have_the_scaling_of_the_theory():
    source = own_source(raw_design(600, 300), 600, None, 1, True)
    data, held_out = source.draw(PROBLEM, np.random.SeedSequence(0))
    assert held_out is None
    assert np.abs(data.X.mean(axis=0)) == pytest.approx(np.zeros(300), abs=1e-14)
    assert np.mean(data.X**2, axis=0) == pytest.approx(np.full(300, 1 / 300))
    assert np.mean((data.y - data.X @ data.w_star) ** 2) == pytest.approx(0.1, rel=0.2)


def test_rows_and_columns_are_drawn_by_seed_from_the_whole():
    X = raw_design(50, 40)
    whole = given(X, True).X
    source = own_source(X, 20, 10, 2, True)
    first, again, other = (
        source.draw(PROBLEM, np.random.SeedSequence(k))[0].X * np.sqrt(10) for k in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (20, 10)
    assert np.isin(first.round(12), whole.round(12)).all()
    assert source.shared == pytest.approx(20 * 10 / (50 * 40))


def test_weights_of_the_raw_columns_are_rescaled_with_them():
    X = raw_design(80, 30)
    y, w = labels(X, 0.0)
    data, _ = own_source((X, y, w), None, None, 1, True).draw(PROBLEM, np.random.SeedSequence(0))
    assert data.X @ data.w_star == pytest.approx(data.y)
    ensemble = dmft.simulate(PROBLEM, TIMES, seeds=1, data=(X, y, w))
    assert ensemble.problem.delta == pytest.approx(80 / 30)
    assert ensemble.problem.sigma2 < 1e-25
    assert ensemble.problem.signal.second_moment == pytest.approx(np.mean(data.w_star**2))
    assert ensemble.design == "data"


def test_moments_of_labels_are_unbiased():
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal((30, 50)) / np.sqrt(50)
        w = np.full(50, 0.7)
        found.append(signal_and_noise(X, X @ w + 0.5 * rng.standard_normal(30)))
    error = np.std(found, axis=0) / np.sqrt(400)
    assert np.all(np.abs(np.mean(found, axis=0) - [0.49, 0.25]) < 3.5 * error)
    assert np.all(error < 0.03)


def test_rows_held_out_measure_the_errors_that_known_weights_give():
    X = raw_design(3000, 60)
    y, w = labels(X, 0.4)
    known, unknown = (
        dmft.simulate(PROBLEM, TIMES, seeds=8, data=data, samples=120, rng=3)
        for data in ((X, y, w), (X, y))
    )
    assert unknown.problem.sigma2 == pytest.approx(known.problem.sigma2, rel=0.15)
    assert unknown.train_error == pytest.approx(known.train_error)  # the same draws
    assert unknown.test_error == pytest.approx(known.test_error, abs=0.1 * known.test_error[0])
    assert unknown.overlap == pytest.approx(known.overlap, abs=0.1 * known.overlap[-1])
    assert unknown.C_w == pytest.approx(known.C_w, abs=0.1 * known.C_w[0, 0])


def test_a_flow_on_own_data_is_that_of_the_same_arrays():
    def drawn(rng):
        data = dmft.simulation.data.draw_data(PROBLEM, 40, rng=rng)
        return data.X, data.y, data.w_star

    own = dmft.simulate(PROBLEM, TIMES, seeds=2, rng=5, data=drawn, standardise=False)
    plain = dmft.simulate(PROBLEM, TIMES, dimension=40, seeds=2, rng=5)
    # the same entries, but rows in another order: the error differs by that of the integrator
    assert own.test_error == pytest.approx(plain.test_error, rel=1e-5)
    assert own.train_error == pytest.approx(plain.train_error, rel=1e-5)


def test_data_frames_name_their_columns():
    pandas = pytest.importorskip("pandas")
    X = raw_design(30, 4)
    frame = pandas.DataFrame(X, columns=["age", "size", "dose", "score"])
    for value, message in ((3.0, "constant column; got 1, the first 'dose'"), (np.nan, "'dose'")):
        with pytest.raises(ValueError, match=message):
            dmft.simulate(PROBLEM, TIMES, seeds=1, data=frame.assign(dose=value))
    with pytest.raises(ValueError, match=r"X\['dose'\] must hold real numbers"):
        dmft.simulate(PROBLEM, TIMES, seeds=1, data=frame.assign(dose="high"))
    ensembles = [dmft.simulate(PROBLEM, TIMES, seeds=1, data=data) for data in (frame, X)]
    assert np.array_equal(ensembles[0].test_error, ensembles[1].test_error)


# --- verdicts ----------------------------------------------------------------------------------


def correlated(rows, columns):
    rng = np.random.default_rng(7)
    factors = rng.standard_normal((rows, 3)) @ rng.standard_normal((3, columns))
    return rng.standard_normal((rows, columns)) + factors


def test_correlated_columns_never_agree_and_the_reason_is_named():
    X = correlated(300, 300)
    ensemble = dmft.simulate(PROBLEM, TIMES, 200, 16, data=X, samples=100, workers=1, rtol=1e-4)
    solution = dmft.solve(ensemble.problem, TIMES[-1], TIMES, rtol=1e-3)
    for seeds in (1, 2, 4, 8, 16):
        first = replace(ensemble, runs={name: r[:seeds] for name, r in ensemble.runs.items()})
        verdict = dmft.compare(solution, first).verdict
        assert verdict in (["rejected"] if seeds == 16 else ["rejected", "inconclusive"]), seeds
    assert {"outliers", "column correlations"} <= set(dmft.diagnose(X).reasons)


def test_independent_entries_are_not_rejected():
    X = raw_design(400, 600)
    for samples, dimension in ((100, 200), (400, 600)):
        ensemble = dmft.simulate(
            PROBLEM, TIMES, dimension, 8, data=X, samples=samples, workers=1, rtol=1e-4
        )
        solution = dmft.solve(ensemble.problem, TIMES[-1], TIMES, rtol=1e-3)
        assert dmft.compare(solution, ensemble).passed
    assert dmft.diagnose(X).reasons == ()


# --- arguments ---------------------------------------------------------------------------------

GOOD = raw_design(12, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": GOOD[0]}, "X must be a matrix of at least 2 rows and 2 columns"),
        ({"data": GOOD[:1]}, r"at least 2 rows and 2 columns; got shape \(1, 8\)"),
        ({"data": GOOD[:, :1]}, r"at least 2 rows and 2 columns; got shape \(12, 1\)"),
        (
            {"data": np.where(GOOD[2, 3] == GOOD, np.nan, GOOD)},
            "got 1, the first in row 2, column 3",
        ),
        ({"data": GOOD * np.array([1, 0] * 4)}, "no constant column; got 4, the first 1"),
        ({"data": (GOOD, np.ones(8))}, r"y must have one entry a row of X, 12; got shape \(8,\)"),
        ({"data": (GOOD, np.ones(12), np.ones(12))}, "w_star must have one entry a column of X, 8"),
        ({"data": (GOOD, np.full(12, np.inf))}, "y must have no missing or infinite value"),
        ({"data": (1, 2, 3, 4)}, "got 4 parts"),
        ({"data": [["a", "b"], ["c", "d"]]}, "X must hold real numbers"),
        ({"data": GOOD, "samples": 13}, "samples must be at most 12; got 13"),
        (
            {"data": (GOOD, GOOD[:, 0]), "samples": 12},
            "at most 11, one row at least being held out",
        ),
        ({"data": GOOD, "samples": 1}, "samples must be an integer >= 2; got 1"),
        ({"data": GOOD, "dimension": 9}, "dimension must be at most the 8 columns of data; got 9"),
        ({"data": (GOOD, GOOD[:, 0], np.ones(8))}, "seeds must be 1 where each draw holds all"),
        ({"samples": 5}, "samples is for own data; got 5 without data"),
    ],
)
def test_bad_data_are_refused_before_work_starts(arguments, message):
    with pytest.raises(ValueError, match=message):
        dmft.simulate(PROBLEM, [1.0], seeds=2, **arguments)


def test_a_switch_is_a_bool():
    with pytest.raises(TypeError, match="standardise must be True or False; got 1"):
        dmft.simulate(PROBLEM, [1.0], seeds=1, data=GOOD, standardise=1)
