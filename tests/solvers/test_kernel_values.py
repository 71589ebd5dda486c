import numpy as np
import pytest

from dmft.solvers.collocation import Grid, lagrange_matrix, radau_nodes
from dmft.solvers.kernel_values import kernel_values

T_MAX = 4.0
TIMES = np.linspace(0.0, T_MAX, 41)


def moment_matrix(grid, kernel):
    """M_ij = int_0^{t_i} k(t_i, s) l_j(s) ds, to rounding."""
    p, matrix = grid.stages, np.zeros((grid.size, grid.size))
    x, w = np.polynomial.legendre.leggauss(20)
    for i, t in enumerate(grid.nodes):
        for q in range(i // p + 1):
            start, stop = grid.edges[q : q + 2]
            end = min(t, stop)
            s = start + 0.5 * (end - start) * (x + 1)
            basis = lagrange_matrix(radau_nodes(p), (s - start) / (stop - start))
            matrix[i, q * p : (q + 1) * p] = (0.5 * (end - start) * w * kernel(t, s)) @ basis
    return matrix


def error(grid, matrix, kernel, times=TIMES):
    diagonal = kernel(grid.nodes_with_start, grid.nodes_with_start)
    exact = np.tril(kernel(times[:, None], times[None, :]))
    return np.max(np.abs(kernel_values(grid, matrix, diagonal, times) - exact))


def uniform(panels, stages):
    return Grid(np.linspace(0.0, T_MAX, panels + 1), stages)


def orders(errors):
    return np.log2(np.array(errors[:-1]) / np.array(errors[1:]))


def damped_cosine(t, s):
    return np.exp(s - t) * np.cos(s)


@pytest.mark.parametrize("stages", [2, 3, 4, 6])
def test_values_from_exact_moments_converge_with_the_order_of_the_grid(stages):
    grids = [uniform(panels, stages) for panels in (4, 8, 16)]
    errors = [error(grid, moment_matrix(grid, damped_cosine), damped_cosine) for grid in grids]
    assert orders(errors)[-1] > stages - 0.5
    assert errors[-1] < {2: 2e-2, 3: 1e-3, 4: 2e-5, 6: 1e-8}[stages]


@pytest.mark.parametrize("stages", [3, 4, 6])
def test_polynomial_kernels_are_reproduced_exactly(stages):
    grid = Grid(np.array([0.0, 0.3, 1.0, 2.9, T_MAX]), stages)

    def kernel(t, s):
        return (1.0 + t - 2.0 * s) ** (stages - 1)

    scale = np.max(np.abs(kernel(TIMES[:, None], TIMES[None, :])))
    assert error(grid, moment_matrix(grid, kernel), kernel) < 1e-10 * scale


# Operators that are products of collocation matrices, as the solver's are, with exact kernels.


def integrated_cosine(grid):
    """S cos S has the kernel sin t - sin s, which vanishes on the diagonal."""
    S = grid.integration
    return S @ np.diag(np.cos(grid.nodes)) @ S, lambda t, s: np.sin(t) - np.sin(s)


def resolvent(grid):
    """(1 + b S)^{-1} S has the kernel exp(-b (t - s))."""
    rate = 1.7
    S = grid.integration
    return np.linalg.solve(np.eye(grid.size) + rate * S, S), lambda t, s: np.exp(rate * (s - t))


def oscillator(grid):
    """(1 + b^2 S^2)^{-1} S has the kernel cos b (t - s)."""
    rate = 1.3
    S = grid.integration
    inverse = np.linalg.inv(np.eye(grid.size) + rate**2 * S @ S)
    return inverse @ S, lambda t, s: np.cos(rate * (t - s))


@pytest.mark.parametrize("operator", [integrated_cosine, resolvent, oscillator])
@pytest.mark.parametrize(
    ("stages", "order", "bound"), [(3, 2.0, 1e-3), (4, 2.7, 1e-4), (6, 3.0, 1e-5)]
)
def test_values_of_products_of_integrations_converge(operator, stages, order, bound):
    errors = [error(grid, *operator(grid)) for grid in (uniform(n, stages) for n in (4, 8, 16))]
    assert orders(errors)[-1] > order
    assert errors[-1] < bound


def test_panels_of_unequal_length():
    grid = Grid(np.array([0.0, 0.05, 0.2, 0.6, 1.5, 2.6, T_MAX]), 6)
    assert error(grid, *resolvent(grid)) < 1e-3


def test_pairs_at_nodes_edges_and_the_origin():
    grid = uniform(8, 6)
    matrix, kernel = resolvent(grid)
    assert error(grid, matrix, kernel, grid.nodes_with_start) < 2e-4
    assert error(grid, matrix, kernel, grid.edges) < 2e-4
    only = kernel_values(grid, matrix, np.ones(grid.size + 1), np.array([0.0]))
    assert only == pytest.approx(np.ones((1, 1)), abs=2e-4)


def test_values_do_not_depend_on_the_other_times_asked_for():
    grid = uniform(5, 4)
    matrix, _ = resolvent(grid)
    diagonal = np.ones(grid.size + 1)
    many = kernel_values(grid, matrix, diagonal, TIMES)
    few = kernel_values(grid, matrix, diagonal, TIMES[[3, 17, 18, 40]])
    np.testing.assert_allclose(few, many[np.ix_([3, 17, 18, 40], [3, 17, 18, 40])], atol=1e-13)
    assert not np.any(np.triu(many, 1))
