"""Two-time functions against closed forms of gradient flow for linear regression.

With F the limiting law of the eigenvalues of X^T X/delta (Marchenko-Pastur), theta = w - w* and
the residual r obey linear equations with the matrices X^T X/delta and X X^T/delta, so

    R_w(t, s) = -int e^{-(x + lam)(t - s)} dF,
    R_r(t, s) = -(1/delta) int x e^{-(x + lam)(t - s)} dF          (t > s),
    C_w(t, s) = E[w*^2] int e^{-x(t+s)} dF
                + (sigma2/delta) int (1 - e^{-xt})(1 - e^{-xs})/x dF,
    C_r(t, s) = E[w*^2] int x e^{-x(t+s)} dF
                + sigma2 [1 - 1/delta + (1/delta) int e^{-x(t+s)} dF],    the C at lam = 0.
"""

from functools import cache

import numpy as np
import pytest

from dmft.problem import Problem
from dmft.solver.solve import solve
from dmft.solvers.collocation import Grid

T_MAX = 6.0
TIMES = np.linspace(0.0, T_MAX, 49)
SETTINGS = [(0.5, 0.0), (2.0, 0.0), (0.5, 0.3)]


def spectrum(delta):
    """Nodes and weights for integrals over F, its atom at 0 included."""
    centre, radius, count = 1 + 1 / delta, 2 / np.sqrt(delta), 400
    angle = np.pi * np.arange(1, count + 1) / (count + 1)
    x = centre + radius * np.cos(angle)
    w = 0.5 * delta * radius**2 * np.sin(angle) ** 2 / (count + 1) / x
    return (np.append(x, 0.0), np.append(w, 1 - delta)) if delta < 1 else (x, w)


def response(delta, lam, lag):
    """R_w and R_r at the lags t - s >= 0."""
    x, w = spectrum(delta)
    decay = np.exp(-(x + lam) * lag[..., None])
    return -decay @ w, -decay @ (x * w) / delta


def exact_responses(delta, lam):
    lag = TIMES[:, None] - TIMES[None, :]
    R_w, R_r = response(delta, lam, np.maximum(lag, 0.0))
    return {"R_w": np.tril(R_w), "R_r": np.tril(R_r)}


@cache
def solution(delta, lam, panels):
    problem = Problem(delta, lam=lam, sigma2=0.1, network="linear")
    grid = Grid(np.linspace(0.0, T_MAX, panels + 1), 6)
    return solve(problem, T_MAX, TIMES, rtol=1e-4, grid=grid)


def in_one_panel(grid):
    panel = grid.locate(TIMES)
    return panel[:, None] == panel[None, :]


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_the_closed_forms_are_each_others_resolvents(delta):
    # (I - R_w/delta) R_r = I: R_r(t) = R_w(t)/delta + (1/delta) int_0^t R_w(t - u) R_r(u) du
    x, w = spectrum(delta)
    assert [w.sum(), w @ x] == pytest.approx([1.0, 1.0], rel=1e-12)
    lag = 2.3
    u, weights = np.polynomial.legendre.leggauss(40)
    u, weights = 0.5 * lag * (u + 1), 0.5 * lag * weights
    memory = weights @ (response(delta, 0.1, lag - u)[0] * response(delta, 0.1, u)[1])
    R_w, R_r = response(delta, 0.1, np.array(lag))
    assert R_r == pytest.approx((R_w + memory) / delta, rel=1e-10)


@pytest.mark.parametrize(("delta", "lam"), SETTINGS)
def test_responses_of_linear_regression(delta, lam):
    # uniform panels: at 12 of them the largest errors are 3e-5 and 3e-4, in the first panel
    exact = exact_responses(delta, lam)
    found = solution(delta, lam, 12)
    assert in_one_panel(found.grid).sum() > 4 * TIMES.size  # many pairs of times share a panel
    np.testing.assert_allclose(found.R_w, exact["R_w"], atol=1e-4)
    np.testing.assert_allclose(found.R_r, exact["R_r"], atol=6e-4)


@pytest.mark.parametrize(("delta", "lam"), SETTINGS)
@pytest.mark.parametrize("name", ["R_w", "R_r"])
def test_responses_converge_within_panels_and_between_them(delta, lam, name):
    exact = exact_responses(delta, lam)[name]
    found = [solution(delta, lam, panels) for panels in (6, 12)]
    gaps = [np.abs(getattr(s, name) - exact) for s in found]
    within = [np.max(gap[in_one_panel(s.grid)]) for gap, s in zip(gaps, found, strict=True)]
    between = [np.max(gap[~in_one_panel(s.grid)]) for gap, s in zip(gaps, found, strict=True)]
    assert np.log2(within[0] / within[1]) > 3.0
    assert np.log2(between[0] / between[1]) > 3.0


@pytest.mark.parametrize(("delta", "lam"), SETTINGS)
@pytest.mark.parametrize("name", ["R_w", "R_r"])
def test_the_stated_error_of_responses_covers_the_true_one(delta, lam, name):
    for panels in (6, 12):
        found = solution(delta, lam, panels)
        gap = np.max(np.abs(getattr(found, name) - exact_responses(delta, lam)[name]))
        assert gap < 1.5 * np.max(found.error[name])


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_correlations_of_linear_regression(delta):
    found = solution(delta, 0.0, 12)
    power, sigma2 = found.problem.signal.second_moment, found.problem.sigma2
    x, w = spectrum(delta)
    decay = np.exp(-TIMES[:, None] * x)
    learned = -np.expm1(-TIMES[:, None] * x)
    per_x = np.divide(w, x, out=np.zeros_like(w), where=x > 0)
    C_w = power * (decay * w) @ decay.T + sigma2 / delta * (learned * per_x) @ learned.T
    C_r = power * (decay * x * w) @ decay.T
    C_r += sigma2 * (1 - 1 / delta + (decay * w) @ decay.T / delta)
    np.testing.assert_allclose(found.C_w, C_w, atol=1e-4 * power)
    np.testing.assert_allclose(found.C_r, C_r, atol=1e-4 * (power + sigma2))


def test_responses_start_at_their_right_limits():
    problem = Problem(0.5, alpha=1.0, lam=0.1, sigma2=0.1)
    found = solve(problem, 2.0, np.linspace(0.0, 2.0, 9), rtol=1e-3)
    # R_r(t+, t) = R_w(t+, t)/delta = -E[D(t)]/delta, and every D(0) is alpha^2
    np.testing.assert_allclose(np.diag(found.R_r), np.diag(found.R_w) / 0.5, rtol=1e-10)
    assert found.R_w[0, 0] == pytest.approx(-1.0, rel=1e-10)
    assert np.interp(2.0, found.grid.nodes_with_start, -found.averages.mean_D) == pytest.approx(
        found.R_w[-1, -1], rel=1e-5
    )
    assert not np.any(np.triu(found.R_w, 1))
    assert not np.any(np.triu(found.R_r, 1))
