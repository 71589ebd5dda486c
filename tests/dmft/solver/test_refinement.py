"""Grids, nodes and atoms are refined where the solution needs it."""

import dataclasses

import numpy as np
import pytest

import dmft
from dmft.equations import effective_process
from dmft.equations.averages import Averages
from dmft.equations.noise_rules import SparseRule
from dmft.equations.start import initial_state
from dmft.solver import cheap_map
from dmft.solver.iteration import Corrected, SelfConsistency
from dmft.solver.noise_correction import _refined
from dmft.solver.solve import solve
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid
from dmft.solvers.fixed_point import Exhausted

DEFAULT = dmft.Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
# test_error(10) and train_error(10) of DEFAULT, converged to 1e-9 by rules of increasing size
TEST_ERROR = 0.055905369
TRAIN_ERROR = 0.0015637834


@pytest.fixture(scope="module")
def default_solution():
    return solve(DEFAULT, 10.0, rtol=1e-4)


@pytest.mark.parametrize(("alpha", "value"), [(100.0, 1.0), (1e4, 1.0), (1.0, 1e-4)])
def test_large_starts_train_like_the_linear_network(alpha, value):
    # w moves by far less than alpha^2, so that D stays at D(0) and time runs D(0) times as fast
    law = dmft.Bernoulli(0.1, value)
    lazy = dmft.Problem(0.7, alpha, sigma2=0.2 * value**2, signal=law)
    linear = dataclasses.replace(lazy, network=dmft.Linear())
    _, D = initial_state(lazy)
    times = np.array([0.0, 1.0, 3.0])
    solution = solve(lazy, 3.0 / D, t_eval=times / D, rtol=1e-3)
    exact = solve(linear, 3.0, t_eval=times, rtol=1e-5)
    assert solution.success
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(solution.values[name], exact.values[name], rtol=2e-4)


def test_long_horizons_end_in_the_steady_state():
    problem = dmft.Problem(delta=0.5, alpha=1.0, lam=0.001, sigma2=0.01)
    lines = []
    solution = solve(problem, 2e4, t_eval=[2e4], rtol=1e-2, progress=lines.append)
    assert solution.success
    assert any(line.startswith("up to t = ") for line in lines)  # it was taken part by part
    steady = dmft.steady_state(problem)
    for name in ("test_error", "train_error"):
        value = getattr(steady, name)
        assert abs(solution.values[name][-1] / value - 1) < 2e-2


@pytest.mark.parametrize("adapt", [True, False])
def test_panels_that_do_not_settle_are_cut(monkeypatch, adapt):
    monkeypatch.setattr(cheap_map, "PATIENCE", 4)
    tolerance = Tolerance(1e-3)
    system = SelfConsistency(DEFAULT, Grid(np.array([0.0, 0.3, 1.0, 3.0, 10.0]), 4), tolerance)
    run = cheap_map.Run(tolerance, 100, lambda text: None)
    rule = cheap_map.cheap_rule(None, 1e-3)
    found, x = cheap_map._marched(system, rule, adapt, run)
    assert (found.grid.panels > 4) == adapt
    exact = found.solve(found.process(rule), x, 1e-6, 100)
    assert exact.success
    assert (found.distance(x, exact.x) < 1.0) == adapt


def test_laws_of_many_atoms_are_resolved():
    # eight atoms in place of the sixty would leave 20 times the tolerance in the test error
    law = dmft.Empirical(np.random.default_rng(1).laplace(size=60))
    problem = dmft.Problem(delta=3.0, alpha=0.3, sigma2=0.2, signal=law)
    times, lines = [1.0, 5.0, 20.0], []
    solution = solve(problem, 20.0, t_eval=times, rtol=1e-3, progress=lines.append)
    assert solution.success
    assert any(line.startswith("law resolved") for line in lines)
    all_atoms = SparseRule(0.35, 1e-3, reach=5.7, atoms=60)
    other = solve(problem, 20.0, t_eval=times, rtol=1e-3, rule=all_atoms)
    assert other.success
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(solution.values[name], other.values[name], rtol=2e-4)


def test_the_spacing_follows_the_decay_that_was_measured():
    # changes exp(-decay / spacing): as many steps as the decay asks for end below the share
    def steps(decay):
        tried = [(2.0, 50.0)]
        while tried[-1][1] > cheap_map.LEADING_SHARE:
            fineness = 1.0 / cheap_map._leading_spacing(tried)
            tried.append((fineness, 50.0 * np.exp(decay * (2.0 - fineness))))
        return len(tried) - 1

    assert steps(cheap_map.DECAY) == 1
    assert steps(0.6 * cheap_map.DECAY) == 2
    assert steps(0.2 * cheap_map.DECAY) <= 5
    assert cheap_map._leading_spacing([(2.0, np.inf)]) == 0.25


def test_the_spacing_ends_at_its_least(monkeypatch):
    monkeypatch.setattr(cheap_map, "LEADING_SHARE", 1e-9)
    lines = []
    solve(DEFAULT, 2.0, rtol=1e-2, progress=lines.append)
    spacings = [float(line.split()[-1]) for line in lines if line.startswith("leading mode")]
    assert len(spacings) > 2
    assert cheap_map.LAST_SPACING < min(spacings) < 2 * cheap_map.LAST_SPACING


def test_atoms_follow_the_decay_that_was_measured():
    more = cheap_map._more_atoms
    assert more(8, [], 6) == 8  # the law has fewer
    assert more(8, [], 200) == 12
    assert more(8, [], 10) == 10
    assert more(12, [(8.0, 50.0)], 200) == 18  # nothing is known of the decay
    assert more(18, [(8.0, 50.0), (12.0, 5.0)], 200) == 27
    slow = [(8.0, 50.0), (12.0, 40.0)]
    assert more(18, slow, 200) == 54
    assert more(18, slow, 40) == 40
    assert more(18, [(8.0, np.inf), (12.0, 5.0)], 200) == 27
    assert more(18, [(8.0, 5.0), (12.0, np.inf)], 200) == 54


def test_horizons_of_a_million_keep_early_times_resolved():
    # the modes of the noise count early times as much as late ones
    problem = dmft.Problem(delta=0.5, alpha=0.1, lam=0.1, sigma2=0.1)
    times = np.array([0.5, 3.0, 10.0])
    long = solve(problem, 1e6, t_eval=[*times, 1e6], rtol=1e-2)
    assert long.success
    assert long.grid.size < 150
    short = solve(problem, 10.0, t_eval=times, rtol=1e-3)
    for name in ("test_error", "train_error"):
        np.testing.assert_allclose(long.values[name][:3], short.values[name], rtol=1e-2)
        value = getattr(dmft.steady_state(problem), name)
        assert abs(long.values[name][-1] / value - 1) < 1e-2


def test_averages_without_a_residual_are_no_solution():
    grid = Grid(np.array([0.0, 1.0, 2.0]), 4)
    system = SelfConsistency(DEFAULT, grid, Tolerance(1e-3))
    start = system.start()
    lost = Averages.unpack(start.copy(), grid.size)
    lost.A[0, 0] = np.nan
    assert system.distance(lost.pack(), start) == np.inf


def test_a_damped_correction_takes_its_share_of_the_way():
    grid = Grid(np.array([0.0, 0.5, 2.0, 6.0]), 4)
    system = SelfConsistency(DEFAULT, grid, Tolerance(1e-4))
    cheap, other = (system.process(SparseRule(0.5, tol)) for tol in (np.inf, 1e-3))
    point = system.solve(cheap, system.start(), 1e-6, 100)
    known = Corrected(point, np.zeros_like(point.x))
    full, half = (
        system.corrected(cheap, known, other, cheap, 1e-6, 100, damping) for damping in (1.0, 0.5)
    )
    assert full.point.success
    assert half.point.success
    np.testing.assert_allclose(half.correction, 0.5 * full.correction, rtol=1e-8, atol=1e-11)
    way, part = (system.distance(found.x, known.x) for found in (full, half))
    assert way > 1.0
    assert 0.45 * way < part < 0.55 * way
    # a step from there changes the correction in proportion, not from nothing
    stay = system.corrected(cheap, full, other, cheap, 1e-6, 100, 1e-12)
    np.testing.assert_allclose(stay.correction, full.correction, rtol=1e-6, atol=1e-12)


def test_the_coarse_grid_stands_where_the_finer_one_does_not_settle(monkeypatch, default_solution):
    monkeypatch.setattr("dmft.solver.noise_correction.on_finer_grid", lambda *_: None)
    solution = solve(DEFAULT, 10.0, t_eval=[1.0, 10.0], rtol=1e-4)
    assert solution.grid.stages < default_solution.grid.stages
    assert solution.status < 2
    miss = abs(solution.test_error[-1] - TEST_ERROR), abs(solution.train_error[-1] - TRAIN_ERROR)
    assert miss[0] < solution.error["test_error"][-1]
    assert miss[1] < solution.error["train_error"][-1]
    # the whole difference of the grids counts
    assert solution.error["test_error"][-1] > default_solution.error["test_error"][-1]


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_grid_that_is_never_good_enough_is_reported(monkeypatch, rounds):
    # the last thing that happens to the grid is that its panels are split
    monkeypatch.setattr("dmft.solver.cheap_map.MAX_ROUNDS", rounds)
    monkeypatch.setattr(
        "dmft.solver.cheap_map.inaccurate_panels", lambda grid, *_: np.ones(grid.panels, dtype=bool)
    )
    solution = solve(DEFAULT, 10.0, t_eval=[0.0, 10.0], rtol=1e-2, rule=SparseRule(0.5, 1e-2))
    assert not solution.success
    assert solution.status == 2


def test_the_second_mode_of_a_rare_component_is_seen():
    # without noise and close to delta = 1 all errors are those of the rare Gaussian component
    signal = dmft.BernoulliGaussian(0.05482, 1.099, 0.0)
    problem = dmft.Problem(1.058, 1.536e-4, signal=signal)
    times = np.array([7.0, 10.0, 15.0, 20.0])
    exact = solve(problem, 61.34, times, rtol=1e-3)
    rough = solve(problem, 61.34, times, rtol=1e-2)
    assert exact.success
    for name in ("test_error", "train_error"):
        assert np.all(np.abs(rough.values[name] / exact.values[name] - 1) < 2e-2)


def test_corrections_that_are_rough_in_time_are_resolved(monkeypatch):
    # weights become active throughout the last panel; the cheap map is smoother than its correction
    monkeypatch.setattr("dmft.solver.solve.GRID_SHARE", 1.5)
    monkeypatch.setattr("dmft.solver.noise_correction.GRID_SHARE", 1.5)
    problem = dmft.Problem(delta=0.5, alpha=3.0, lam=0.1, sigma2=0.1)
    times = np.array([29.4, 31.7, 35.5, 37.9, 45.8])
    rough = solve(problem, 60.0, times, rtol=1e-4)
    exact = solve(problem, 60.0, times, rtol=1e-5)
    assert exact.success
    error = np.abs(rough.train_error / exact.train_error - 1)
    assert np.all(error < 1.2 * rough.error["train_error"] / rough.train_error)


def test_errors_of_a_rare_component_are_estimated():
    # a grid that grew in the other component alone would change nothing, and say so
    problem = dmft.Problem(1.898, 1.506e-3, signal=dmft.BernoulliGaussian(0.0832, 1.841, 0.0))
    times = np.array([5.0, 7.2, 9.0, 12.0])
    exact = solve(problem, 12.24, times, rtol=1e-4)
    rough = solve(problem, 12.24, times, rtol=1e-3)
    assert exact.success
    for name in ("test_error", "train_error"):
        assert np.all(np.abs(rough.values[name] - exact.values[name]) < 2 * rough.error[name])


def test_grids_of_all_components_grow():
    problem = dmft.Problem(1.9, 1.5e-3, signal=dmft.BernoulliGaussian(0.08, 1.8))
    system = SelfConsistency(
        problem, Grid(np.array([0.0, 0.6, 2.0, 5.0, 12.0]), 4), Tolerance(1e-3)
    )
    cheap = system.process(cheap_map.cheap_rule(None, 1e-3))
    settled = system.kernels(system.solve(cheap, system.start(), 0.1, 100).x)
    rule, before = SparseRule(0.3, 7e-4), np.zeros(2)
    for _ in range(5):
        process = system.process(rule)
        process.averages(settled)
        paths = process.paths_of(rule)
        assert paths.sum() == process.paths
        assert np.all(paths >= 1.1 * before)
        rule, before = _refined(rule, process, 1e5), paths


def test_a_component_that_cannot_grow_does_not_hinder_the_others(monkeypatch):
    monkeypatch.setattr("dmft.solver.noise_correction.OWN_GROWTH", 1e9)
    assert solve(DEFAULT, 10.0, rtol=1e-3).success


@pytest.mark.parametrize("averages", [24, 25, 28])
def test_time_may_run_out_while_panels_are_split(monkeypatch, averages):
    # 25 and 28 averages end where the solution is carried to panels that the correction has split
    taken, take = [], effective_process.EffectiveProcess.averages

    def counted(process, kernels):
        taken.append(process)
        if len(taken) > averages:
            raise Exhausted
        return take(process, kernels)

    monkeypatch.setattr(effective_process.EffectiveProcess, "averages", counted)
    problem = dmft.Problem(delta=0.5, alpha=0.1, lam=0.1, sigma2=0.1)
    solution = solve(problem, 1e6, rtol=1e-2)
    assert solution.status == 3
    assert not solution.success
