"""Paths of H = U + K phi(H) and their mean response, against independent solvers."""

import numpy as np
import pytest
from scipy.optimize import root

from dmft.networks.product import Product
from dmft.networks.table import mirror_table
from dmft.solvers import panels
from dmft.solvers.collocation import Grid
from dmft.solvers.families import Paths, family_averages, solve_paths
from dmft.solvers.map_codes import HYPERBOLIC, LINEAR, POWER, TABLE
from dmft.solvers.scalar_maps import evaluate

NO_TABLE = np.empty((0, 3))


def product_table(starts):
    return mirror_table(Product(tuple(starts)), 1.0)


def geometric_grid(panels=8, stages=4, t_max=20.0):
    return Grid(np.r_[0.0, np.geomspace(0.01, t_max, panels)], stages)


def memory(grid, level, delta=0.5):
    """K = S (I + level S/delta)^(-1), the form of the memory of a DMFT."""
    S = grid.integration
    return np.linalg.solve((np.eye(grid.size) + level * S / delta).T, S.T).T.copy()


def drives(grid, paths, size, seed=0):
    """Random smooth drives U(0) = 0 of about `size`, shape (paths, N)."""
    rng = np.random.default_rng(seed)
    rate, phase = rng.uniform(0.2, 1.0, (paths, 1)), rng.uniform(0, 2 * np.pi, (paths, 1))
    amplitude = size * rng.standard_normal((paths, 1))
    return amplitude * np.sin(rate * grid.nodes + phase) * -np.expm1(-grid.nodes)


def hyperbolic_parameters(grid, log_alpha2, lam=0.0):
    return np.repeat((log_alpha2 - lam * grid.nodes)[:, None], 2, axis=1)


def residual(code, parameters, table, K, U, H):
    w, _ = evaluate(code, H, parameters, table)
    return np.max(np.abs(H - U - w @ K.T))


# --- paths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 2])
def test_drives_along_thresholds_of_long_panels(seed):
    # drives stay next to the threshold over panels of 1e6 / 10, where one node after the other
    # crosses it in the iteration: Newton steps that overshoot take turns and end in circles
    grid = Grid(np.r_[0.0, np.geomspace(10.0, 1e6, 6)], 6)
    t, K = grid.nodes, grid.integration
    waves = [0.05 * wave(k * np.log1p(t)) for k in (1, 2, 4) for wave in (np.cos, np.sin)]
    shapes = 0.1 * t * np.array([np.ones_like(t), *waves])
    U = np.random.default_rng(seed).standard_normal((1000, 7)) @ shapes
    H = np.zeros_like(U)
    parameters = hyperbolic_parameters(grid, 2 * np.log(0.1), 0.1)
    _, _, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, grid.stages, U, H)
    assert np.all(iterations > 0), f"seed {seed}: {np.sum(iterations < 0)} paths are not solved"
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U, H) < 1e-10 * np.max(np.abs(H))


@pytest.mark.parametrize("alpha", [1e-8, 1e-4, 0.01, 0.3, 1.0, 5.0, 20.0])
@pytest.mark.parametrize(("size", "lam"), [(1.0, 0.0), (8.0, 0.1), (30.0, 0.1), (200.0, 5.0)])
def test_residual_of_random_drives(alpha, size, lam):
    grid = geometric_grid()
    K = memory(grid, np.clip(alpha**2, 0.1, 400.0))
    parameters = hyperbolic_parameters(grid, 2 * np.log(alpha), lam)
    U = drives(grid, 100, size)
    H = np.zeros_like(U)
    w, D, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    assert np.all(iterations > 0)
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U, H) < 1e-8
    exact, exact_D = evaluate(HYPERBOLIC, H, parameters, NO_TABLE)
    np.testing.assert_allclose(w, exact, atol=1e-7, rtol=1e-7)
    np.testing.assert_allclose(D, exact_D, atol=1e-7, rtol=1e-7)
    np.testing.assert_allclose(H - U - w @ K.T, 0.0, atol=1e-9)


@pytest.mark.parametrize("stages", [4, 6])
def test_stiff_panels_far_up_the_exponential(stages):
    # one panel as long as all the earlier ones, |U| in the hundreds: Newton comes down from the
    # exponential by steps of about one, some 25 of them
    grid = geometric_grid(6, stages)
    K = memory(grid, 0.1)
    parameters = hyperbolic_parameters(grid, 2 * np.log(0.01), 0.1)
    U = drives(grid, 300, 200.0, seed=1)
    H = np.zeros_like(U)
    *_, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, stages, U, H)
    assert np.all(iterations > 0)
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U, H) < 1e-8


def test_amplitude_beyond_the_range_of_doubles():
    # log amplitude down to -1e5: w stays 0 although H is in the hundreds
    grid = geometric_grid()
    K = memory(grid, 0.5)
    parameters = hyperbolic_parameters(grid, 0.0, lam=5e3)
    U = drives(grid, 50, 300.0)
    H = np.zeros_like(U)
    w, _, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    assert np.all(iterations > 0)
    assert np.max(np.abs(H)) > 300
    assert parameters.min() == -1e5
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U, H) < 1e-8
    late = grid.nodes > 1.0
    assert not np.any(w[:, late])


def test_late_activation_of_a_decayed_amplitude():
    # |H| > 4 * 100: the decayed amplitude is reached again, and w balances the drive
    grid = geometric_grid()
    K = memory(grid, 0.1)
    parameters = hyperbolic_parameters(grid, 0.0, lam=5.0)
    U = 30.0 * grid.nodes[None, :] * np.array([[1.0], [-1.0], [0.1]])
    H = np.zeros_like(U)
    w, _, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    assert np.all(iterations > 0)
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U, H) < 1e-8
    assert w[0, -1] < -1.0
    np.testing.assert_allclose(w[1], -w[0], atol=1e-9)
    assert abs(w[2, -1]) < 1e-10


@pytest.mark.parametrize("stages", range(2, 7))
def test_linear_map_in_closed_form(stages):
    grid = geometric_grid(stages=stages)
    K = memory(grid, 0.7)
    scale = np.exp(-0.1 * grid.nodes)
    U = drives(grid, 5, 3.0)
    H = np.zeros_like(U)
    w, D, _ = solve_paths(LINEAR, np.stack([scale, 0.0 * scale], axis=1), NO_TABLE, K, stages, U, H)
    exact = np.linalg.solve(np.eye(grid.size) + K * scale, U.T).T
    np.testing.assert_allclose(H, exact, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(w, -scale * exact, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(D, np.tile(scale, (5, 1)))


MAPS = [
    (HYPERBOLIC, lambda n: np.full((n, 2), -2.0), NO_TABLE),
    (HYPERBOLIC, lambda n: np.tile([0.4, -1.0], (n, 1)), NO_TABLE),
    (POWER, lambda n: np.tile([3.0, 4.0, 0.9], (n, 1)), NO_TABLE),
    (TABLE, lambda n: np.full((n, 1), 0.8), product_table(np.array([0.1, 0.4, 0.7]))),
]


@pytest.mark.parametrize(("code", "parameters", "table"), MAPS)
def test_agrees_with_scipy_root_and_forgets_its_guess(code, parameters, table):
    grid = geometric_grid(3, 4, t_max=4.0)
    parameters = parameters(grid.size)
    K = memory(grid, 0.3)
    U = drives(grid, 4, 4.0)
    H = np.zeros_like(U)
    _, _, iterations = solve_paths(code, parameters, table, K, 4, U, H)
    assert np.all(iterations > 0)
    for path, drive in zip(H, U, strict=True):

        def equation(x, drive=drive):
            w, _ = evaluate(code, x[None, :], parameters, table)
            return x - drive - K @ w[0]

        exact = root(equation, path + 0.02 * np.cos(grid.nodes), tol=1e-13)
        np.testing.assert_allclose(exact.x, path, atol=1e-9)
    guess = np.random.default_rng(5).uniform(-3.0, 3.0, U.shape)
    solve_paths(code, parameters, table, K, 4, U, guess)
    np.testing.assert_allclose(guess, H, atol=1e-8)


@pytest.mark.parametrize("depth", [3.0, 4.0, 5.0])
@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.5])
@pytest.mark.parametrize("size", [0.1, 3.0, 100.0])
def test_deep_paths_stay_inside_the_barrier(depth, alpha, size):
    grid = geometric_grid()
    K = memory(grid, 0.3)
    start = alpha ** (2 - depth)
    parameters = np.tile([depth, start, 1.0], (grid.size, 1))
    barrier = 2 * start / (depth - 2)
    U = drives(grid, 50, size * barrier)
    H = np.zeros_like(U)
    w, _, iterations = solve_paths(POWER, parameters, NO_TABLE, K, 4, U, H)
    assert np.all(iterations > 0)
    assert np.max(np.abs(U)) > size * barrier  # the drive alone would cross where size >= 1
    assert np.all(np.abs(H) < barrier)
    np.testing.assert_allclose(H, U + w @ K.T, atol=1e-8 * max(1.0, size * barrier))


def test_only_earlier_panels_matter():
    grid = geometric_grid()
    K = memory(grid, 0.5)
    parameters = hyperbolic_parameters(grid, 0.0)
    U = drives(grid, 3, 3.0)
    H = np.zeros_like(U)
    solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    changed, other = U.copy(), np.zeros_like(U)
    changed[:, 16:] += 1.0
    solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, changed, other)
    np.testing.assert_array_equal(other[:, :16], H[:, :16])
    assert np.all(np.any(other[:, 16:] != H[:, 16:], axis=1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_path_that_cannot_be_solved_is_reported_and_harms_no_other(bad):
    grid = geometric_grid()
    K = memory(grid, 0.5)
    parameters = hyperbolic_parameters(grid, 0.0)
    U = drives(grid, 20, 2.0)
    expected = np.zeros_like(U)
    solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, expected)
    U[7, 9] = bad
    H = np.zeros_like(U)
    *_, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    assert np.flatnonzero(iterations < 0).tolist() == [7]
    np.testing.assert_array_equal(np.delete(H, 7, axis=0), np.delete(expected, 7, axis=0))


# --- responses ---------------------------------------------------------------------------------


def dense_response(K, D, weights):
    """sum_m weights_m D_m (I + K D_m)^(-1) by dense linear algebra."""
    identity = np.eye(len(K))
    return sum(
        weight * d[:, None] * np.linalg.inv(identity + K * d)
        for weight, d in zip(weights, D, strict=True)
    )


LEAST = 1e-18  # in place of D = 0, which no path of the map below has


def mean_response(K, p, D, weights, root, carried, cutoff):
    """Sums over paths of the map -e^c sinh(H), e^c cosh(H) = D, of drives that they solve."""
    D = np.maximum(D, LEAST)
    scale = 0.5 * D.min(axis=0)
    H = np.arccosh(D / scale)
    U = H + (scale * np.sinh(H)) @ K.T
    mirror = HYPERBOLIC, np.repeat(np.log(scale)[:, None], 2, axis=1), NO_TABLE
    size, none = len(K), np.zeros(len(D))
    paths = Paths(U, none, none, weights, none, carried, H)
    modes = np.eye(size)
    sums, used = family_averages(mirror, K, p, modes, np.zeros(size), (0, 1), paths, root, cutoff)
    assert np.all(used > 0)
    w = -scale * np.sinh(np.arccosh(D / scale))
    square = sums.C_w[1:, 1:] - (weights[:, None] * w).T @ w
    return sums.A, sums.moved, square


def response(K, p, D, weights, cutoff):
    """The mean response alone."""
    none = np.zeros(len(weights))
    mean, moved, _ = mean_response(K, p, D, weights, np.empty((len(K), 0)), none, cutoff)
    assert moved.shape == (len(K), 0)
    return mean


@pytest.mark.parametrize("stages", range(2, 7))
@pytest.mark.parametrize("paths", [1, 7, 33])
def test_mean_response_is_dense_linear_algebra(stages, paths):
    grid = geometric_grid(7, stages)
    rng = np.random.default_rng(3)
    K = memory(grid, 0.4)
    D = np.exp(rng.uniform(-4, 5, (paths, grid.size)))
    weights = rng.standard_normal(paths)  # a sparse rule has negative weights
    exact = dense_response(K, D, weights)
    found = response(K, stages, D, weights, 0.0)
    np.testing.assert_allclose(found, exact, atol=1e-11 * np.max(np.abs(exact)))
    panel = np.repeat(np.arange(grid.panels), stages)
    assert not np.any(found[panel[:, None] < panel[None, :]])


@pytest.mark.parametrize("stages", [3, 6])
@pytest.mark.parametrize(("paths", "rank"), [(1, 1), (13, 5)])
def test_small_noise_on_the_drive_is_dense_linear_algebra(stages, paths, rank):
    grid = geometric_grid(5, stages)
    rng = np.random.default_rng(6)
    K = memory(grid, 0.4)
    D = np.exp(rng.uniform(-4, 5, (paths, grid.size)))
    D[::2, stages : 2 * stages] = 0.0
    root = rng.standard_normal((grid.size, rank))
    weights, carried = rng.standard_normal((2, paths))
    carried[: paths // 2], weights[paths // 2 :] = 0.0, 0.0  # the squares of the others are large
    mean, moved, square = mean_response(K, stages, D, weights, root, carried, 0.0)
    moves = [dense_response(K, d[None], [1.0]) @ root for d in D]
    expected = sum(c * move @ move.T for c, move in zip(carried, moves, strict=True))
    np.testing.assert_allclose(square, expected, atol=1e-11 * np.max(np.abs(expected)))
    expected = sum(c * move for c, move in zip(carried, moves, strict=True))
    np.testing.assert_allclose(moved, expected, atol=1e-11 * np.max(np.abs(expected)))
    expected = dense_response(K, D, weights)
    np.testing.assert_allclose(mean, expected, atol=1e-11 * np.max(np.abs(expected)))


def test_a_path_does_not_depend_on_those_beside_it():
    grid = geometric_grid()
    K = memory(grid, 0.4)
    parameters = hyperbolic_parameters(grid, 0.0, 0.1)
    U = drives(grid, 21, 5.0)
    together = np.zeros_like(U)
    w, _, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, together)
    for m in range(len(U)):
        alone = np.zeros((1, grid.size))
        w_alone, _, used = solve_paths(
            HYPERBOLIC, parameters, NO_TABLE, K, 4, U[m : m + 1].copy(), alone
        )
        np.testing.assert_allclose(together[m], alone[0], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(w[m], w_alone[0], rtol=1e-10, atol=1e-12)
        assert iterations[m] == used[0]


def test_a_path_that_fails_leaves_those_beside_it_alone():
    grid = geometric_grid(4, 4, t_max=4.0)
    K = memory(grid, 0.3)
    parameters = hyperbolic_parameters(grid, 0.0)
    U = drives(grid, 5, 2.0)
    U[2, 5] = np.nan
    H = np.zeros_like(U)
    *_, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
    assert np.array_equal(iterations < 0, np.arange(5) == 2)
    fine = iterations > 0
    assert residual(HYPERBOLIC, parameters, NO_TABLE, K, U[fine], H[fine]) < 1e-8


@pytest.mark.parametrize("stages", range(2, 7))
def test_inactive_panels_are_left_out(stages):
    grid = geometric_grid(7, stages)
    rng = np.random.default_rng(4)
    K = memory(grid, 0.4)
    D = np.exp(rng.uniform(-2, 3, (20, grid.panels, stages)))
    asleep = rng.random((20, grid.panels)) < 0.5
    asleep[:8] = True  # side by side, they are left out together
    D[asleep] *= 1e-15
    D = D.reshape(20, -1)
    weights = rng.random(20)
    exact = dense_response(K, D, weights)
    found = response(K, stages, D, weights, 1e-12)
    np.testing.assert_allclose(found, exact, atol=1e-11 * np.max(np.abs(exact)))
    np.testing.assert_array_equal(response(K, stages, 0 * D, weights, 1e-12), 0.0)
    # a panel is out as a whole or not at all: one large D keeps its neighbours below the cutoff
    mixed = np.where(np.arange(grid.size) % stages == 0, 0.5, 1e-2)[None, :]
    found = response(K, stages, mixed, np.ones(1), 0.1)
    np.testing.assert_allclose(found, dense_response(K, mixed, [1.0]), atol=1e-12)


def test_cutoff_is_relative_to_nothing_else():
    # panels with every D at or below the cutoff drop out, also where D is far from zero
    grid = geometric_grid(3, 4)
    K = memory(grid, 0.4)
    D = np.repeat([0.3, 5.0, 0.3], 4)[None, :]
    found = response(K, 4, D, np.ones(1), 0.3 * (1 + 1e-9))
    middle = slice(4, 8)
    expected = np.zeros((12, 12))
    expected[middle, middle] = dense_response(K[middle, middle], D[:, middle], [1.0])
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(("code", "parameters", "table"), MAPS)
def test_response_is_the_derivative_of_paths_in_their_drive(code, parameters, table):
    # dw = phi' dH and dH = dU + K dw, so that dw/dU = -D (I + K D)^(-1)
    grid = geometric_grid(4, 4, t_max=4.0)
    parameters = parameters(grid.size)
    K = memory(grid, 0.3)
    U = drives(grid, 1, 2.0)
    H = np.zeros_like(U)
    solve_paths(code, parameters, table, K, 4, U, H)
    step = 1e-5
    bumps = step * np.eye(grid.size)
    moved = [
        solve_paths(code, parameters, table, K, 4, U + s * bumps, np.tile(H, (grid.size, 1)))[0]
        for s in (1, -1)
    ]
    derivative = (moved[0] - moved[1]).T / (2 * step)
    nothing = np.zeros(1)
    paths = Paths(U, nothing, nothing, np.ones(1), nothing, nothing, H)
    arguments = np.eye(grid.size), np.zeros(grid.size), (0.0, 1.0), paths, np.empty((grid.size, 0))
    found = family_averages((code, parameters, table), K, 4, *arguments)[0].A
    scale = np.max(np.abs(found))
    np.testing.assert_allclose(found, -derivative, atol=2e-5 * scale)


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    grid = geometric_grid()
    K = memory(grid, 0.4)
    parameters = hyperbolic_parameters(grid, 0.0, 0.1)
    U = drives(grid, 403, 5.0)
    weights = np.random.default_rng(0).standard_normal(403)
    root = drives(grid, 3, 1.0, seed=5).T.copy()
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(panels, "THREADS", threads)
        H = np.zeros_like(U)
        w, D, iterations = solve_paths(HYPERBOLIC, parameters, NO_TABLE, K, 4, U, H)
        results.append(
            (H.copy(), w, D, iterations, *mean_response(K, 4, D, weights, root, H[:, 0], 0.0))
        )
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("stages", range(2, 7))
def test_panel_matrices_need_no_pivoting(stages):
    # every leading minor of I + A D is positive for D >= 0, A the Radau IIA block
    A = Grid(np.array([0.0, 1.0]), stages).integration
    rng = np.random.default_rng(2)
    for D in np.exp(rng.uniform(-8, 8, (200, stages))):
        matrix = np.eye(stages) + A * D
        assert all(np.linalg.det(matrix[:k, :k]) > 0 for k in range(1, stages + 1))


@pytest.mark.parametrize("paths", [1, 13, 150])
@pytest.mark.parametrize(("code", "parameters", "table"), MAPS)
def test_sums_over_paths_are_those_of_their_values(code, parameters, table, paths):
    grid = geometric_grid(4, 4, t_max=4.0)
    rng = np.random.default_rng(9)
    K, parameters = memory(grid, 0.3), parameters(grid.size)
    modes = drives(grid, 3, 1.0, seed=2).T.copy()
    z, k = rng.standard_normal((paths, 3)), 0.3 * grid.nodes
    shift, target, weights, odd = rng.standard_normal((4, paths))
    H = np.zeros((paths, grid.size))
    U = z @ modes.T - shift[:, None] * k
    w, D, _ = solve_paths(code, parameters, table, K, 4, U, H.copy())
    family = Paths(z, shift, target, weights, odd, np.zeros(paths), H)
    mirror, none = (code, parameters, table), np.empty((grid.size, 0))
    sums, used = family_averages(mirror, K, 4, modes, k, (0.7, 0.2), family, none)
    assert np.all(used > 0)
    np.testing.assert_allclose(H, U + w @ K.T, atol=1e-9)
    w = np.column_stack([np.full(paths, 0.7), w])
    D = np.column_stack([np.full(paths, 0.2), D])
    theta = w - target[:, None]
    expected = {
        "C_w": (weights[:, None] * theta).T @ theta,
        "mean_w": odd @ w,
        "overlap": (weights * target) @ w,
        "mean_D": weights @ D,
        "A": dense_response(K, D[:, 1:], weights),
    }
    for name, value in expected.items():
        allowed = 1e-7 * np.abs(value).max() + 1e-9  # Newton steps leave their squares
        np.testing.assert_allclose(getattr(sums, name), value, atol=allowed, err_msg=name)
