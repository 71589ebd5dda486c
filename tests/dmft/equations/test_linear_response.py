"""The linear model of the averages' answer to other kernels."""

import numpy as np
import pytest

from dmft.equations.averages import Averages
from dmft.equations.data_side import Kernels
from dmft.equations.effective_process import EffectiveProcess
from dmft.equations.linear_response import LinearResponse
from dmft.equations.noise_rules import QuadraticRule
from dmft.problem import Problem
from dmft.signals import BernoulliGaussian, Discrete
from dmft.solver import iteration
from dmft.solver.cheap_map import cheap_rule
from dmft.solver.iteration import SelfConsistency
from dmft.solver.tolerance import Tolerance
from dmft.solvers.collocation import Grid

GRID = Grid(np.array([0.0, 0.5, 1.5, 4.0]), 4)
TARGETS = (Discrete([-1.0, 0.5, 2.0], [0.2, 0.5, 0.3]), BernoulliGaussian(0.3, 1.0, 0.5))


def kernels_of(scale, seed):
    """Return some causal memory and some noise that is smooth in time."""
    t = GRID.nodes
    K = scale * GRID.integration * (1.0 + 0.3 * np.cos(t))[:, None]
    waves = np.stack([t, np.sin(t + seed), np.cos(0.5 * t) - 1.0], axis=1)
    return Kernels(K, scale * waves @ waves.T)


@pytest.mark.parametrize("signal", TARGETS)
def test_linear_networks_answer_like_the_model(signal):
    problem = Problem(0.7, 1.0, 0.0, 0.2, signal, network="linear")
    process = EffectiveProcess(problem, GRID, QuadraticRule())
    here, there = kernels_of(0.8, 0), kernels_of(1.1, 1)
    model = LinearResponse(problem, process.averages(here), here, GRID.stages)
    moved, exact = model.at(there), process.averages(there)
    for name in ("C_w", "A", "mean_w", "overlap", "mean_D"):
        np.testing.assert_allclose(getattr(moved, name), getattr(exact, name), atol=1e-12)


def test_the_model_agrees_where_it_was_built():
    problem = Problem(0.5, 0.5, 0.1, 0.1)
    process = EffectiveProcess(problem, GRID, cheap_rule(None, 1e-3))
    here = kernels_of(0.8, 0)
    averages = process.averages(here)
    same = LinearResponse(problem, averages, here, GRID.stages).at(here)
    np.testing.assert_allclose(same.pack(), averages.pack(), atol=1e-12)


def test_linear_networks_need_one_average():
    # sweeps of the model alone end at the fixed point
    system = SelfConsistency(Problem(0.5, network="linear"), GRID, Tolerance(1e-6))
    process, x = system.process(QuadraticRule()), system.start()
    exact = system.solve(process, x, 1e-3, 200).x
    guess = system.image(process, x)
    model = LinearResponse(
        system.problem, Averages.unpack(guess, GRID.size), system.kernels(x), GRID.stages
    )
    assert system.distance(guess, exact) > 1e3
    for _ in range(60):
        guess = model.at(system.kernels(guess)).pack()
    assert system.distance(guess, exact) < 1e-2


@pytest.mark.parametrize(("alpha", "t_max"), [(1.0, 10.0), (3.0, 60.0)])
def test_the_model_saves_sweeps(monkeypatch, alpha, t_max):
    problem, tolerance = Problem(0.5, alpha, 0.1, 0.1), Tolerance(1e-4)
    edges = np.concatenate([[0.0], np.geomspace(0.01, t_max, 9)])
    system = SelfConsistency(problem, Grid(edges, 6), tolerance)
    found = []
    for sweeps in (iteration.MODEL_SWEEPS, 0):
        monkeypatch.setattr(iteration, "MODEL_SWEEPS", sweeps)
        process = system.process(cheap_rule(None, 1e-4))
        found.append(system.solve(process, system.start(), 1e-3, 100))
    with_model, without = found
    assert with_model.success
    assert without.success
    assert len(with_model.history) < 0.75 * len(without.history)
    assert system.distance(with_model.x, without.x) < 2e-3


def test_steps_of_the_model_that_do_not_shrink_are_left_out(monkeypatch):
    system = SelfConsistency(Problem(0.5, 1.0, 0.1, 0.1), GRID, Tolerance(1e-3))
    process = system.process(cheap_rule(None, 1e-3))
    x = system.solve(process, system.start(), 1.0, 100).x
    image = system.image(process, x)

    def astray(self, kernels):
        wrong = Averages.unpack(image.copy(), GRID.size)
        return Averages(30.0 * wrong.C_w, wrong.A, wrong.mean_w, wrong.overlap, wrong.mean_D)

    monkeypatch.setattr(LinearResponse, "at", astray)
    assert system.refined(x, image) is image
