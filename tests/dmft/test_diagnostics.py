import numpy as np
import pytest
from matplotlib.figure import Figure

import dmft
from dmft.diagnostics import marchenko_pastur, spectrum

N, D = 120, 240


def gaussian(seed=0, shape=(N, D)):
    return np.random.default_rng(seed).standard_normal(shape)


def autoregressive(rho):
    X = gaussian(1)
    for j in range(1, D):
        X[:, j] = rho * X[:, j - 1] + np.sqrt(1 - rho**2) * X[:, j]
    return X


@pytest.mark.parametrize("shape", [(120, 240), (240, 120), (100, 100), (20, 2000), (500, 10)])
def test_independent_entries_have_nothing_to_explain(shape):
    for seed in range(8):
        diagnosis = dmft.diagnose(5 + 3 * gaussian(seed, shape))
        assert diagnosis.reasons == (), (seed, str(diagnosis))
    assert "No difference from independent entries" in str(diagnosis)


@pytest.mark.parametrize(
    ("X", "named", "absent"),
    [
        (gaussian() + gaussian(2, (N, 1)), {"outliers", "column correlations"}, {"tails"}),
        (autoregressive(0.7), {"bulk", "column correlations"}, {"tails"}),
        (np.repeat(gaussian(3, (N // 4, D)), 4, axis=0), {"row correlations"}, {"row lengths"}),
        (gaussian() * (1 + gaussian(4, (N, 1)) ** 2), {"row lengths", "tails"}, set()),
        (np.random.default_rng(5).standard_t(3, (N, D)), {"tails"}, {"column correlations"}),
        (np.random.default_rng(6).choice([-1.0, 1.0], (N, D)), set(), {"tails", "bulk"}),
    ],
    ids=["factor", "autoregressive", "repeated rows", "row scales", "student t", "rademacher"],
)
def test_the_reason_is_named(X, named, absent):
    reasons = set(dmft.diagnose(X).reasons)
    assert named <= reasons
    assert not absent & reasons


def test_permuting_each_column_removes_correlations_and_keeps_marginals():
    X = autoregressive(0.9)
    permuted = np.random.default_rng(0).permuted(X, axis=0)
    before, after = dmft.diagnose(X), dmft.diagnose(permuted)
    assert "column correlations" in before.reasons
    assert after.reasons == ()
    fourth = [next(f.value for f in d.findings if f.name == "tails") for d in (before, after)]
    assert fourth[0] == pytest.approx(fourth[1], rel=1e-12)


@pytest.mark.parametrize("delta", [0.25, 1.0, 4.0])
def test_marchenko_pastur_law(delta):
    n, d = round(800 * min(1, delta)), round(800 * min(1, delta) / delta)
    values = spectrum(gaussian(0, (n, d)))
    law = marchenko_pastur(values, delta)
    assert law == pytest.approx((np.arange(len(values)) + 0.5) / len(values), abs=0.02)
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    assert marchenko_pastur(np.array([low, high]), delta) == pytest.approx([0, 1], abs=1e-12)
    # E x of the non-zero part is 1 or 1/delta, from the trace; by parts from the distribution
    x = np.linspace(low, high, 20001)
    mean = high - np.trapezoid(marchenko_pastur(x, delta), x)
    assert mean == pytest.approx(1 / min(1.0, delta), rel=1e-4)


def test_report_and_picture():
    diagnosis = dmft.diagnose(gaussian() + gaussian(2, (N, 1)))
    text = str(diagnosis)
    assert text.startswith("X: n = 120, d = 240, delta = 0.5. The theory may not hold: outliers")
    assert "times the Marchenko-Pastur edge" in text
    assert "What helps: whitening" in text
    ax = Figure().subplots()
    assert diagnosis.plot(ax) is ax
    assert "outliers" in ax.get_title()
    outliers = ax.lines[1].get_xdata()
    assert outliers.max() == pytest.approx(diagnosis.eigenvalues[-1])
    assert diagnosis.plot().figure is not None


def test_bad_matrices():
    with pytest.raises(ValueError, match="at least 2 rows and 2 columns"):
        dmft.diagnose(np.ones(4))
    with pytest.raises(ValueError, match="no constant column; got 3"):
        dmft.diagnose(np.ones((4, 3)))
