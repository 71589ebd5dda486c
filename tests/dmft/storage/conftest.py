import numpy as np
import pytest

from dmft.problem import Problem
from dmft.simulation.simulate import simulate
from dmft.solver.solve import solve
from dmft.solvers.collocation import Grid


@pytest.fixture(scope="session")
def solution():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    grid = Grid(np.array([0.0, 0.5, 2.0]), 2)
    return solve(problem, 2.0, t_eval=[0.0, 0.7, 2.0], rtol=0.1, rng=3, grid=grid)


@pytest.fixture(scope="session")
def ensemble():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    return simulate(problem, [0.0, 1.0, 3.0, 4.0], dimension=20, seeds=3, rng=5, workers=1)


@pytest.fixture
def path(solution, tmp_path):
    solution.save(tmp_path / "run.h5")
    return tmp_path / "run.h5"
