import numpy as np
import pytest
from scipy import stats

from dmft.statistics import independent_columns, intercept, student_test


def test_intercept_at_one_covariate_is_that_of_the_textbook():
    x, y = np.random.default_rng(0).standard_normal((2, 12)) + 0.5
    fit = stats.linregress(x, y)
    mean, error = intercept(y[:, None] + np.zeros(3), x[:, None])
    assert mean == pytest.approx(np.full(3, fit.intercept))
    assert error == pytest.approx(np.full(3, fit.intercept_stderr))


def test_no_covariate_gives_the_mean_and_its_standard_error():
    y = np.random.default_rng(1).standard_normal((9, 2, 2))
    mean, error = intercept(y, np.empty((9, 0)))
    assert mean == pytest.approx(y.mean(axis=0))
    assert error == pytest.approx(stats.sem(y, axis=0))


def test_two_covariates_remove_what_they_explain_and_the_error_is_that_of_repeats():
    rng = np.random.default_rng(2)
    means, errors = [], []
    for _ in range(2000):
        x = rng.standard_normal((10, 2)) * [1.0, 1e-6]
        y = 3.0 + x @ [5.0, -2e6] + 0.1 * rng.standard_normal(10)
        mean, error = intercept(y, x)
        means.append(mean)
        errors.append(error)
    assert np.mean(means) == pytest.approx(3.0, abs=0.005)
    assert np.std(means) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.05)


def test_columns_that_repeat_others_are_dropped():
    x, y = np.random.default_rng(3).standard_normal((2, 8))
    kept = independent_columns(np.column_stack([x, np.full(8, 0.3), 2 * x - 1, y]))
    assert np.array_equal(kept, np.column_stack([x, y]))
    assert independent_columns(np.ones((8, 2))).shape == (8, 0)


@pytest.mark.parametrize("freedom", [1, 2, 3, 6, 30])
def test_a_visible_deviation_is_rejected_with_the_stated_power(freedom):
    p_value, critical, visible = student_test(3.0, freedom, 12, 0.01, 0.95)
    assert p_value == pytest.approx(min(1, 24 * stats.t.sf(3.0, freedom)))
    assert critical == pytest.approx(stats.t.isf(0.01 / 24, freedom))
    rng = np.random.default_rng(freedom)
    first, second = np.sqrt(rng.chisquare(freedom, (2, 200000)) / freedom)
    seen = np.abs(rng.standard_normal(200000) + visible * first) / second > critical
    assert np.mean(seen) == pytest.approx(0.95, abs=0.003)
    assert student_test(critical, freedom, 12, 0.01, 0.95)[0] == pytest.approx(0.01)
