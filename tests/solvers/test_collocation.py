"""Radau collocation: identities of the tableau, orders of convergence, exactness on polynomials."""

from math import comb

import numpy as np
import pytest
from scipy.special import airy

from dmft.solvers.collocation import Grid, Transfer, integration_block, lagrange_matrix, radau_nodes

STAGES = range(2, 7)
EDGES = np.array([0.0, 0.3, 1.0, 2.5, 3.0])


def last_panel_solution(panels, stages):
    """x(T) of x = 1 - S (1 + t) S x, a Volterra equation with the kernel int_s^t (1 + u) du."""
    grid = Grid(np.linspace(0.0, 5.0, panels + 1), stages)
    S = grid.integration
    operator = S @ ((1 + grid.nodes)[:, None] * S)
    return np.linalg.solve(np.eye(grid.size) + operator, np.ones(grid.size))[-1]


def exact_solution(t):
    """y = int x obeys y'' = -(1 + t) y: Airy functions of -(1 + t); x = y'."""
    A0, dA0, B0, dB0 = airy(-1.0)
    _, dA, _, dB = airy(-(1.0 + t))
    return (A0 * dB - B0 * dA) / (A0 * dB0 - B0 * dA0)


# --- the tableau -------------------------------------------------------------------------------


def test_two_and_three_stage_tables():
    r = np.sqrt(6.0)
    np.testing.assert_allclose(radau_nodes(2), [1 / 3, 1], atol=1e-15)
    np.testing.assert_allclose(
        integration_block(2), [[5 / 12, -1 / 12], [3 / 4, 1 / 4]], atol=1e-15
    )
    np.testing.assert_allclose(radau_nodes(3), [(4 - r) / 10, (4 + r) / 10, 1], atol=1e-15)
    table = [
        [(88 - 7 * r) / 360, (296 - 169 * r) / 1800, (-2 + 3 * r) / 225],
        [(296 + 169 * r) / 1800, (88 + 7 * r) / 360, (-2 - 3 * r) / 225],
        [(16 - r) / 36, (16 + r) / 36, 1 / 9],
    ]
    np.testing.assert_allclose(integration_block(3), table, atol=1e-15)


@pytest.mark.parametrize("p", STAGES)
def test_rows_integrate_polynomials_to_their_nodes(p):
    c, block = radau_nodes(p), integration_block(p)
    assert np.all(np.diff(c) > 0)
    assert c[0] > 0
    assert c[-1] == 1
    np.testing.assert_allclose(block.sum(axis=1), c, atol=2e-15)
    for k in range(p):
        np.testing.assert_allclose(block @ c**k, c ** (k + 1) / (k + 1), atol=2e-15)


@pytest.mark.parametrize("p", STAGES)
def test_quadrature_is_exact_to_degree_2p_minus_2_and_no_further(p):
    c, weights = radau_nodes(p), integration_block(p)[-1]
    assert np.all(weights > 0)
    for k in range(2 * p - 1):
        assert weights @ c**k == pytest.approx(1 / (k + 1), abs=2e-15)
    assert abs(weights @ c ** (2 * p - 1) - 1 / (2 * p)) > 1e-10


@pytest.mark.parametrize("p", STAGES)
def test_the_scheme_is_l_stable(p):
    # growth factor of x' = z x over one panel, Re z <= 0
    block = integration_block(p)
    for z in [1j, 10j, 100j, -1 + 5j, -30.0]:
        growth = np.linalg.solve(np.eye(p) - z * block, np.ones(p))[-1]
        assert abs(growth) < 1 + 1e-12
    stiff = np.linalg.solve(np.eye(p) + 1e9 * block, np.ones(p))[-1]
    assert abs(stiff) < 1e-8


@pytest.mark.parametrize("p", STAGES)
def test_tables_are_read_only(p):
    # they are cached: a caller that wrote into one would change every later grid
    for table in (radau_nodes(p), integration_block(p)):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0.0


# --- convergence -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "panels"),
    [(2, (24, 48, 96)), (3, (16, 32, 64)), (4, (12, 18, 27)), (5, (8, 12, 18)), (6, (6, 8, 10))],
)
def test_order_2p_minus_1_at_panel_ends(p, panels):
    errors = [abs(last_panel_solution(P, p) - exact_solution(5.0)) for P in panels]
    assert errors[-1] < errors[0]
    assert errors[-1] > 1e-13  # the slope is not that of rounding
    order = -np.polyfit(np.log(panels), np.log(errors), 1)[0]
    assert order == pytest.approx(2 * p - 1, abs=0.15)


@pytest.mark.parametrize("p", STAGES)
def test_stiff_equation_keeps_its_stage_order(p):
    # x' = -1e4 (x - cos t) - sin t: the error is not amplified by the rate
    rate = 1e4
    errors = []
    for panels in (4, 8):
        grid = Grid(np.linspace(0.0, 4.0, panels + 1), p)
        t, S = grid.nodes, grid.integration
        x = np.linalg.solve(np.eye(grid.size) + rate * S, 1 + S @ (rate * np.cos(t) - np.sin(t)))
        errors.append(np.max(np.abs(x - np.cos(t))))
    assert errors[1] < 0.7 * 2.0 ** (1 - p) * errors[0]
    assert errors[0] < 1e-3


# --- the grid ----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", STAGES)
def test_nodes_and_edges(p):
    grid = Grid(EDGES, p)
    assert (grid.panels, grid.size, grid.t_max) == (4, 4 * p, 3.0)
    assert np.all(np.diff(grid.nodes_with_start) > 0)
    assert grid.nodes_with_start[0] == 0
    np.testing.assert_array_equal(grid.nodes[p - 1 :: p], EDGES[1:])  # to the last bit
    np.testing.assert_allclose(grid.nodes[p : 2 * p], 0.3 + 0.7 * radau_nodes(p), rtol=1e-15)


@pytest.mark.parametrize("p", STAGES)
def test_integration_matrix(p):
    grid = Grid(EDGES, p)
    S = grid.integration
    panel = np.repeat(np.arange(4), p)
    assert not np.any(S[panel[:, None] < panel[None, :]])  # block-lower-triangular
    np.testing.assert_allclose(S[-1], grid.weights, rtol=1e-14)
    for k in range(p):  # exact at every node
        t = grid.nodes
        np.testing.assert_allclose(S @ t**k, t ** (k + 1) / (k + 1), rtol=1e-12, atol=1e-15)
    for k in range(2 * p - 1):  # and at panel ends to the quadrature's degree
        ends = EDGES[1:]
        integral = S[p - 1 :: p] @ grid.nodes**k
        np.testing.assert_allclose(integral, ends ** (k + 1) / (k + 1), rtol=1e-12)


@pytest.mark.parametrize("p", STAGES)
def test_interpolation_is_exact_on_polynomials_and_continuous(p):
    grid = Grid(EDGES, p)
    t = np.linspace(0.0, 3.0, 61)
    for k in range(p + 1):
        found = grid.interpolation(t) @ grid.nodes_with_start**k
        np.testing.assert_allclose(found, t**k, atol=1e-12 * 3.0**k)
    wrong = grid.interpolation(t) @ grid.nodes_with_start ** (p + 1)
    assert np.max(np.abs(wrong - t ** (p + 1))) > 1e-6
    rough = np.random.default_rng(0).standard_normal(grid.size + 1)
    sides = [grid.interpolation(EDGES[1:-1] + step) @ rough for step in (-1e-9, 1e-9)]
    np.testing.assert_allclose(sides[0], sides[1], atol=1e-6)
    np.testing.assert_allclose(grid.interpolation(grid.nodes_with_start) @ rough, rough, atol=1e-14)


@pytest.mark.parametrize("p", STAGES)
def test_node_interpolation_is_exact_one_degree_lower(p):
    grid = Grid(EDGES, p)
    t = np.linspace(0.0, 3.0, 61)
    for k in range(p):
        found = grid.node_interpolation(t) @ grid.nodes**k
        np.testing.assert_allclose(found, t**k, atol=1e-11 * 3.0**k)
    wrong = grid.node_interpolation(t) @ grid.nodes**p
    assert np.max(np.abs(wrong - t**p)) > 1e-6
    # the second panel's polynomial goes on over the later panels
    beyond = grid.node_interpolation(t, last_panel=1)
    assert not np.any(beyond[:, 2 * p :])
    np.testing.assert_allclose(beyond @ grid.nodes ** (p - 1), t ** (p - 1), atol=1e-8 * 3.0**p)


def test_lagrange_matrix_at_and_between_nodes():
    nodes = np.array([0.0, 0.4, 1.0])
    x = np.array([0.4, 0.7, 0.0])
    values = lagrange_matrix(nodes, x)
    np.testing.assert_array_equal(values[[0, 2]], [[0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(values @ nodes**2, x**2, atol=1e-15)


def test_split_cuts_the_marked_panels():
    grid = Grid(EDGES, 3).split(np.array([True, False, True, False]))
    np.testing.assert_allclose(grid.edges, [0.0, 0.15, 0.3, 1.0, 1.75, 2.5, 3.0])
    assert grid.stages == 3
    assert Grid(EDGES).split(np.zeros(4, dtype=bool)).panels == 4


def test_locate_gives_an_edge_to_the_panel_on_its_left():
    grid = Grid(EDGES)
    t = np.array([0.0, 1e-9, 0.3, 0.3 + 1e-9, 0.999, 1.0, 2.7, 3.0])
    np.testing.assert_array_equal(grid.locate(t), [0, 0, 0, 1, 1, 1, 3, 3])


@pytest.mark.parametrize("p", STAGES)
def test_resolution_is_the_last_legendre_coefficient(p):
    grid = Grid(EDGES, p)
    t = grid.nodes_with_start
    # t^p has the leading coefficient h^p in the local time, P_p on [0, 1] binomial(2 p, p)
    expected = np.diff(EDGES) ** p / comb(2 * p, p)
    np.testing.assert_allclose(grid.resolution(t**p), expected, rtol=1e-7, atol=1e-12)
    batch = np.stack([t ** (p - 1), -2 * t**p])[None]
    found = grid.resolution(batch)
    assert found.shape == (1, 2, 4)
    np.testing.assert_allclose(found[0, 0], 0.0, atol=1e-11)
    np.testing.assert_allclose(found[0, 1], 2 * expected, rtol=1e-7, atol=1e-12)


def causal_operator(grid):
    """D (I + S D)^(-1), the shape of the operators that the package moves between grids."""
    D = 1.5 + np.sin(grid.nodes)
    return np.linalg.solve((np.eye(grid.size) + grid.integration * D).T, np.diag(D)).T


@pytest.mark.parametrize("p", STAGES)
@pytest.mark.parametrize("edges", ["finer", "coarser", "crossing"])
def test_moved_operators_stay_causal_and_keep_polynomials(p, edges):
    fine, coarse = np.linspace(0, 2, 7), np.linspace(0, 2, 4)
    source, target = {
        "finer": (Grid(coarse, p), Grid(fine, p)),
        "crossing": (Grid(fine, p), Grid(np.linspace(0, 2, 6), p)),
        "coarser": (Grid(fine, p), Grid(coarse, p)),
    }[edges]
    panel = np.repeat(np.arange(target.panels), p)
    moved = Transfer(source, target).operator(causal_operator(source))
    assert not np.any(moved[panel[:, None] < panel[None, :]])
    identity = Transfer(source, target).operator(np.eye(source.size))
    integration = Transfer(source, target).operator(source.integration)
    t = target.nodes
    np.testing.assert_allclose(identity @ t ** (p - 1), t ** (p - 1), atol=1e-9)
    for k in range(p - 1):
        np.testing.assert_allclose(identity @ t**k, t**k, atol=1e-9)
        np.testing.assert_allclose(integration @ t**k, t ** (k + 1) / (k + 1), atol=1e-9)


@pytest.mark.parametrize("p", STAGES)
@pytest.mark.parametrize("factor", [0.5, 2, 1.5])
def test_moved_operators_converge_to_those_assembled_there(p, factor):
    errors = []
    for panels in (8, 16):
        source = Grid(np.linspace(0, 4, panels + 1), p)
        target = Grid(np.linspace(0, 4, int(panels * factor) + 1), p)
        moved = Transfer(source, target).operator(causal_operator(source))
        f = np.cos(target.nodes)
        errors.append(np.max(np.abs((moved - causal_operator(target)) @ f)))
    assert errors[0] < 0.1
    assert errors[1] < 2.0 ** (0.5 - p) * errors[0]


def test_an_operator_moved_to_its_own_grid_is_unchanged():
    grid = Grid(EDGES, 4)
    operator = causal_operator(grid)
    np.testing.assert_allclose(Transfer(grid, grid).operator(operator), operator, atol=1e-13)


@pytest.mark.parametrize(
    "edges",
    [[0.0], [], [0.1, 1.0], [0.0, 1.0, 1.0], [0.0, 2.0, 1.0], [0.0, np.nan], [0.0, np.inf], 1.0,
     [[0.0, 1.0]]],
)  # fmt: skip
def test_bad_edges(edges):
    with pytest.raises(ValueError, match="edges must be finite and increase from 0"):
        Grid(np.array(edges))


@pytest.mark.parametrize("stages", [1, 0, -3])
def test_bad_stages(stages):
    with pytest.raises(ValueError, match=f"stages must be >= 2; got {stages}"):
        Grid(EDGES, stages)


def test_a_grid_keeps_its_own_read_only_edges():
    edges = EDGES.copy()
    grid = Grid(edges)
    edges[1] = 0.5
    assert grid.edges[1] == 0.3
    with pytest.raises(ValueError, match="read-only"):
        grid.edges[1] = 0.5
