import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import linprog
from scipy.stats import norm

from dmft.limits.mixture import Mixture
from dmft.limits.state_evolution import MirrorProx, SoftThreshold
from dmft.limits.steady_states import recovery_threshold, steady_state
from dmft.networks.deep import Deep, Power
from dmft.networks.diagonal import Diagonal, Hyperbolic
from dmft.networks.linear import Linear
from dmft.networks.product import Product, ProductOfLayers
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian

INTERPOLATORS = [
    Problem(0.5, 1.0, 0.0, 0.1),
    Problem(0.5, 1e-4, 0.0, 0.1),
    Problem(0.2, 1e-8, 0.0, 0.0, BernoulliGaussian(0.1)),
    Problem(0.7, 0.3, 0.0, 0.05, Discrete([-2.0, 0.0, 1.0], [0.1, 0.7, 0.2]), Diagonal(2.0, 0.5)),
    Problem(0.5, 0.1, 0.0, 0.1, network=Deep(3)),
    Problem(0.3, 0.5, 0.0, 0.01, Gaussian(1.0, 0.5), Product((1.0, 0.5, 0.2))),
]
LASSOS = [
    Problem(0.5, 1.0, 0.1, 0.1),
    Problem(2.0, 1.0, 0.1, 0.1),
    Problem(0.3, 1.0, 0.01, 0.0, BernoulliGaussian(0.2, 0.7, 0.4)),
    Problem(0.2, 1.0, 10.0, 0.0, BernoulliGaussian(0.1)),
]


# --- reference values and closed forms ------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "test", "train"),
    [
        (Problem(0.5, 1.0, 0.0, 0.1), 0.074545, 0.0),
        (Problem(0.5, 1.0, 0.1, 0.1), 0.0675425, 0.00326828),
        (Problem(2.0, 1.0, 0.1, 0.1), 0.0151419, 0.0312628),
        (Problem(0.5, 1.0, 0.0, 0.09), 0.1391 / 2, 0.0),
        (Problem(0.5, 0.1, 0.0, 0.09), 0.1523 / 2, 0.0),
    ],
)
def test_reference_values(problem, test, train):
    state = steady_state(problem)
    digits = 1e-4 if problem.sigma2 == 0.09 else 1e-6
    assert abs(state.test_error - test) < digits
    assert abs(state.train_error - train) < 1e-7


def test_least_squares():
    state = steady_state(Problem(3.0, 0.2, 0.0, 0.4, network=Deep(3)))
    assert state.branch == "least squares"
    assert math.isclose(state.test_error, 0.4 / (3 - 1) / 2)
    assert math.isclose(state.train_error, 0.4 / 2 * (1 - 1 / 3))


def test_least_norm_interpolator():
    problem = Problem(0.4, 1.0, 0.0, 0.3, Gaussian(1.0, 0.5), Linear())
    state = steady_state(problem)
    expected = (1 - 0.4) * 1.25 + 0.3 * 0.4 / (1 - 0.4)
    assert math.isclose(2 * state.test_error, expected)
    assert math.isclose(state.overlap, 0.4 * 1.25)


@pytest.mark.parametrize("delta", [0.5, 2.0])
def test_ridge_against_its_spectral_formula(delta):
    lam, sigma2, d = 0.2, 0.3, 4000
    state = steady_state(Problem(delta, 1.0, lam, sigma2, network=Linear()))
    # quantiles of the Marchenko-Pastur law by inverting its cdf on a fine grid
    low, high = (1 - delta**-0.5) ** 2, (1 + delta**-0.5) ** 2
    angle = (np.arange(d) + 0.5) * math.pi / d
    x = 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angle)
    mass = delta / (2 * math.pi * x) * (0.5 * (high - low) * np.sin(angle)) ** 2 * math.pi / d
    atom = max(1 - delta, 0.0)
    assert math.isclose(mass.sum() + atom, 1.0, rel_tol=1e-6)
    bias = 0.1 * (mass @ (lam / (x + lam)) ** 2 + atom)
    variance = sigma2 / delta * (mass @ (x / (x + lam) ** 2))
    assert math.isclose(2 * state.test_error, bias + variance, rel_tol=1e-6)
    residual = 0.1 * (mass @ (x * (lam / (x + lam)) ** 2)) + sigma2 * (
        1 - 1 / delta * (1 - atom) + 1 / delta * (mass @ (lam / (x + lam)) ** 2)
    )
    assert math.isclose(2 * state.train_error, residual, rel_tol=1e-6)


def test_ridge_joins_its_limits():
    for delta in (0.5, 2.0):
        free = steady_state(Problem(delta, 1.0, 0.0, 0.1, network=Linear()))
        weak = steady_state(Problem(delta, 1.0, 1e-9, 0.1, network=Linear()))
        assert math.isclose(free.test_error, weak.test_error, rel_tol=1e-7)


@pytest.mark.parametrize("network", [Diagonal(), Deep(3), Product((1.5, 0.7, 0.0))])
def test_large_start_gives_the_least_norm(network):
    lazy = steady_state(Problem(0.5, 300.0, 0.0, 0.1, network=network))
    linear = steady_state(Problem(0.5, 1.0, 0.0, 0.1, network=Linear()))
    assert math.isclose(lazy.test_error, linear.test_error, rel_tol=1e-6)


def test_small_start_tends_to_basis_pursuit():
    signal = BernoulliGaussian(0.1)
    pursuit = steady_state(Problem(0.2, 1.0, 1e-9, 0.1, signal)).test_error
    gaps = [
        steady_state(Problem(0.2, alpha, 0.0, 0.1, signal)).test_error - pursuit
        for alpha in (1e-10, 1e-20, 1e-40)
    ]
    # the approach goes like 1/log(1/alpha)
    assert abs(gaps[2]) < 0.02 * pursuit
    assert 1.6 < gaps[0] / gaps[1] < 2.4
    assert 1.6 < gaps[1] / gaps[2] < 2.4


# --- optimality of the solution -------------------------------------------------------


@pytest.mark.parametrize("problem", INTERPOLATORS + LASSOS)
def test_fixed_point_equations(problem):
    state = steady_state(problem)
    delta = problem.delta
    assert math.isclose(delta * state.tau**2, problem.sigma2 + 2 * state.test_error, rel_tol=1e-9)
    slope = state.observed.average(state.denoiser.moments(state.observed).slope)
    assert math.isclose(delta * (1 - state.kappa), slope, rel_tol=1e-8, abs_tol=1e-13)


@pytest.mark.parametrize("problem", INTERPOLATORS[:2] + INTERPOLATORS[3:] + LASSOS[:3])
def test_observables_agree_with_a_direct_average(problem):
    state = steady_state(problem)
    z = np.linspace(-8, 8, 801)
    pz = norm.pdf(z) * (z[1] - z[0])
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    test = mean = overlap = 0.0
    for p, m, s in problem.signal.components():
        targets, pt = (m + s * nodes, weights / weights.sum()) if s else (np.array([m]), np.ones(1))
        w = state.denoiser.weight((targets[:, None] + state.tau * z).ravel())
        w = w.reshape(targets.size, z.size)
        test += p * pt @ (w - targets[:, None]) ** 2 @ pz / 2
        mean += p * pt @ w @ pz
        overlap += p * (pt * targets) @ w @ pz
    np.testing.assert_allclose(
        [test, mean, overlap], [state.test_error, state.mean_w, state.overlap], rtol=2e-3, atol=1e-9
    )


@pytest.mark.parametrize(
    ("problem", "k"),
    [(INTERPOLATORS[0], np.geomspace(0.3, 30, 30)), (LASSOS[0], np.geomspace(0.03, 1, 60))],
)
def test_the_solution_is_unique(problem, k):
    # along the curve of roots k(tau) of one equation, of which there is one for each tau, the
    # other equation changes sign once
    signal = Mixture(*np.array(problem.signal.components()).T)
    delta, closures = problem.delta, []
    kappa = k if problem.lam else np.zeros_like(k)
    for tau in np.linspace(0.8, 1.3, 10) * steady_state(problem).tau:
        observed = signal.convolved(tau)
        slope, error = [], []
        for value in k:
            prox = (
                SoftThreshold(problem.lam / value)
                if problem.lam
                else MirrorProx(problem.mirror.mirror_potential(problem.alpha), 1 / value)
            )
            moments = prox.moments(observed)
            slope.append(observed.average(moments.slope))
            error.append(observed.average(tau**2 * (2 * moments.slope - 1) + moments.bias_square))
        slope, error = np.array(slope), np.array(error)
        optimum = delta * tau**2 + problem.sigma2 + error - 2 * tau**2 * (slope + delta * kappa)
        crossing = np.flatnonzero(np.diff(np.sign(optimum)))
        if crossing.size == 0:
            continue  # the root is outside the grid
        assert crossing.size == 1
        closures.append(np.interp(0.0, -optimum, delta * (1 - kappa) - slope))
    assert len(closures) > 6
    assert np.count_nonzero(np.diff(np.sign(closures))) == 1


def hyperbolic(alpha, su, sv):
    def map_(q):
        u2, v2 = (alpha * su) ** 2 * np.exp(q), (alpha * sv) ** 2 * np.exp(-q)
        return (u2 - v2) / 2, (u2 + v2) / 2

    return map_


def deep(alpha, L):
    def map_(q):
        u = (alpha ** (2 - L) - (L - 2) * q / 2) ** (-1 / (L - 2))
        v = (alpha ** (2 - L) + (L - 2) * q / 2) ** (-1 / (L - 2))
        power = 2 * L - 2
        return (u**L - v**L) / L, (u**power + v**power) / 2

    return map_


# --- potentials -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("potential", "map_"),
    [
        (Hyperbolic(0.25 * 1.5 * 0.5, math.log(3.0)), hyperbolic(0.5, 1.5, 0.5)),
        (Power(3, 0.5), deep(0.5, 3)),
        (Power(6, 0.9), deep(0.9, 6)),
    ],
)
def test_potentials_invert_the_mirror_maps(potential, map_):
    point = potential.curve(np.linspace(-6, 6, 41))
    w, D = map_(point.psi)
    np.testing.assert_allclose(point.w, w, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(point.hessian_inverse, D, rtol=1e-9)


def test_product_potential_solves_the_flow_of_its_layers():
    starts = np.array([0.1, 0.4, 0.6, 0.9])
    potential = ProductOfLayers(starts)

    def velocity(H, layers):
        return [-0.5 * np.prod(np.delete(layers, j)) for j in range(4)]

    flow = solve_ivp(velocity, (0, 6), starts, rtol=1e-11, atol=1e-12, t_eval=[0.0, 2.0, 6.0])
    point = potential.curve(potential.solve(flow.y.prod(axis=0), 0.0))
    np.testing.assert_allclose(point.psi, -flow.t, atol=1e-8)
    squares = flow.y**2
    D = 0.5 * sum(np.delete(squares, j, axis=0).prod(axis=0) for j in range(4))
    np.testing.assert_allclose(point.hessian_inverse, D, rtol=1e-8)


def test_depth_two_products_are_diagonal_networks():
    pair = steady_state(Problem(0.5, 0.7, 0.0, 0.1, network=Product((1.2, 0.4))))
    scales = (1.6 / math.sqrt(2), 0.8 / math.sqrt(2))
    diagonal = steady_state(Problem(0.5, 0.7, 0.0, 0.1, network=Diagonal(*scales)))
    assert math.isclose(pair.test_error, diagonal.test_error, rel_tol=1e-12)
    assert pair.mean_w > steady_state(Problem(0.5, 0.7, 0.0, 0.1)).mean_w


def test_lasso_does_not_depend_on_the_start():
    expected = steady_state(Problem(0.5, 1.0, 0.1, 0.1)).test_error
    for alpha, network in ((9.0, Diagonal(2.0, 0.1)), (0.1, Product((1.0, 0.0)))):
        assert steady_state(Problem(0.5, alpha, 0.1, 0.1, network=network)).test_error == expected


# --- the law of w ---------------------------------------------------------------------


@pytest.mark.parametrize("problem", [INTERPOLATORS[0], INTERPOLATORS[4], LASSOS[0], LASSOS[2]])
def test_law_of_the_weights(problem):
    state = steady_state(problem)
    rng = np.random.default_rng(1)
    size = 40000
    g = problem.signal.sample(rng, size) + state.tau * rng.standard_normal(size)
    w = state.denoiser.weight(g)
    edges = np.array([-5.0, -0.5, 0.0, 0.1, 0.7, 5.0])
    counts = np.histogram(w, edges)[0] / size
    np.testing.assert_allclose(state.histogram(edges), counts, atol=4 * 0.5 / math.sqrt(size))
    assert abs(np.mean(w != 0) - state.density) < 4 * 0.5 / math.sqrt(size)
    p = np.array([0.01, 0.3, 0.5, 0.9, 0.999])
    x = state.quantile(p)
    assert np.all(state.cdf(x) >= p - 1e-12)
    away = x != 0
    np.testing.assert_allclose(state.cdf(x)[away], p[away], atol=1e-11)
    assert np.all(state.cdf([-np.inf, np.inf]) == [0, 1])


def test_atom_at_zero():
    state = steady_state(LASSOS[0])
    jump = state.cdf(0.0) - state.cdf(-1e-13)
    assert math.isclose(jump, 1 - state.density, rel_tol=1e-9)
    assert state.quantile(0.5) == 0.0
    np.testing.assert_allclose(state.histogram([-1e-13, 0.0, 1e-13])[1], jump, rtol=1e-9)
    exact = steady_state(Problem(2.0))
    assert math.isclose(exact.density, 0.1)
    np.testing.assert_allclose(exact.cdf([-0.1, 0.0, 0.5, 1.0]), [0.0, 0.9, 0.9, 1.0])
    np.testing.assert_allclose(exact.quantile([0.5, 0.95]), [0.0, 1.0], atol=1e-15)


# --- accuracy -------------------------------------------------------------------------


@pytest.mark.parametrize(("lam", "alpha"), [(0.0, 1e-4), (0.1, 1.0)])
def test_a_gaussian_component_equals_its_atoms(lam, alpha):
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    atoms = Discrete(
        np.concatenate([[0.0], 0.3 + 0.8 * nodes]), np.concatenate([[0.8], 0.2 * weights])
    )
    bell = steady_state(Problem(0.5, alpha, lam, 0.1, BernoulliGaussian(0.2, 0.8, 0.3)))
    sum_ = steady_state(Problem(0.5, alpha, lam, 0.1, atoms))
    assert math.isclose(bell.test_error, sum_.test_error, rel_tol=1e-10)
    assert math.isclose(bell.overlap, sum_.overlap, rel_tol=1e-10)


@pytest.mark.parametrize("lam", [0.0, 0.1])
def test_many_atoms_are_compressed_without_loss(lam, monkeypatch):
    atoms = np.random.default_rng(3).standard_normal(1000)
    problem = Problem(0.5, 0.1, lam, 0.1, Empirical(atoms))
    fast = steady_state(problem)
    assert fast.observed.mean.size < 300
    monkeypatch.setattr("dmft.limits.mixture._FEW_ATOMS", 10**9)
    observed = Mixture(*np.array(problem.signal.components()).T).convolved(fast.tau)
    full = fast.denoiser.moments(observed)
    short = fast.denoiser.moments(fast.observed)
    for exact, approximate in zip(full, short, strict=True):
        assert math.isclose(
            observed.average(exact),
            fast.observed.average(approximate),
            rel_tol=1e-10,
            abs_tol=1e-11,
        )


@pytest.mark.parametrize("problem", [INTERPOLATORS[2], INTERPOLATORS[4], Problem(0.5, 1e-8)])
def test_quadrature_is_converged(problem, monkeypatch):
    coarse = steady_state(problem).test_error
    rule = np.polynomial.legendre.leggauss
    monkeypatch.setattr(np.polynomial.legendre, "leggauss", lambda n: rule(2 * n))
    assert math.isclose(steady_state(problem).test_error, coarse, rel_tol=1e-10)


# --- basis pursuit --------------------------------------------------------------------


def test_recovery_threshold_is_the_minimum():
    rho = np.array([0.01, 0.1, 0.3, 0.7])
    k = np.linspace(0, 6, 200001)
    curve = (1 + k**2) * norm.cdf(-k) - k * norm.pdf(k)
    minimum = [np.min(r * (1 + k**2) + 2 * (1 - r) * curve) for r in rho]
    np.testing.assert_allclose(recovery_threshold(rho), minimum, rtol=1e-9)
    assert recovery_threshold(0.0) == 0.0
    assert recovery_threshold(1.0) == 1.0
    # Donoho-Tanner: the weak threshold at delta = 1/2 is rho/delta = 0.3858
    assert abs(recovery_threshold(0.5 * 0.3858) - 0.5) < 2e-4
    assert isinstance(recovery_threshold(0.1), float)


@pytest.mark.parametrize("side", [-0.05, 0.05])
def test_weak_lasso_recovers_above_the_threshold_only(side):
    delta = recovery_threshold(0.1) + side
    error = [
        steady_state(Problem(delta, 1.0, lam, 0.0, BernoulliGaussian(0.1))).test_error
        for lam in (1e-3, 1e-5)
    ]
    if side > 0:
        assert math.isclose(error[0] / error[1], 1e4, rel_tol=0.02)
    else:
        assert error[1] > 1e-4
        assert math.isclose(error[0], error[1], rel_tol=0.05)


def test_threshold_agrees_with_linear_programming():
    d, rho = 150, 0.1
    recovered = {}
    for side in (-0.1, 0.1):
        n = round((recovery_threshold(rho) + side) * d)
        count = 0
        for seed in range(6):
            rng = np.random.default_rng(seed)
            X = rng.standard_normal((n, d))
            target = np.zeros(d)
            target[: int(rho * d)] = rng.standard_normal(int(rho * d))
            result = linprog(np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=X @ target)
            count += np.abs(result.x[:d] - result.x[d:] - target).max() < 1e-6
        recovered[side] = count
    assert recovered[-0.1] <= 1
    assert recovered[0.1] >= 5


# --- trivial and refused cases --------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.1])
@pytest.mark.parametrize("delta", [0.5, 1.0, 2.0])
def test_nothing_to_learn(lam, delta):
    state = steady_state(Problem(delta, 0.5, lam, 0.0, Bernoulli(0.3, 0.0)))
    assert state.test_error == 0.0
    assert state.density == 0.0


def test_square_data():
    assert steady_state(Problem(1.0)).test_error == 0.0
    with pytest.raises(ValueError, match=r"delta must differ from 1.*diverges"):
        steady_state(Problem(1.0, sigma2=0.1))
    assert steady_state(Problem(1.0, lam=0.1, sigma2=0.1)).test_error > 0


@pytest.mark.parametrize("network", [Deep(3), Product((1.0, 0.5, 0.0))])
def test_deep_networks_with_decay_are_refused(network):
    with pytest.raises(ValueError, match=r"lam must be 0 .* not convex"):
        steady_state(Problem(0.5, lam=0.1, network=network))


def test_tied_layers_are_refused():
    with pytest.raises(ValueError, match=r"scales must have a single smallest layer"):
        steady_state(Problem(0.5, network=Product((1.0, 1.0, 1.0))))


def test_bad_arguments_are_refused():
    state = steady_state(LASSOS[0])
    with pytest.raises(ValueError, match=r"0 <= p <= 1"):
        state.quantile([0.5, 1.5])
    with pytest.raises(ValueError, match=r"bins must be"):
        state.histogram([1.0, 0.0])
    with pytest.raises(ValueError, match=r"x must not hold NaN"):
        state.cdf(np.nan)
    with pytest.raises(ValueError, match=r"0 <= density <= 1"):
        recovery_threshold(1.1)
