"""With NUMBA_DISABLE_JIT=1 the same numbers come from plain Python, so that people can debug."""

import json
import os
import subprocess
import sys

import numpy as np

PROGRAM = """
import json, sys
import numpy as np
import dmft
from dmft.equations.noise_rules import SobolRule, SparseRule
from dmft.solvers.collocation import Grid

def errors(network, rule):
    problem = dmft.Problem(0.5, 1.0, 0.1, 0.1, network=network)
    grid = Grid(np.array([0.0, 0.4, 1.0]), 3)
    solution = dmft.solve(problem, 1.0, rtol=1e-2, grid=grid, rule=rule)
    return [*solution.test_error, *solution.train_error]

found = {
    "diagonal": errors("diagonal", SobolRule(8, 2)),
    "deep": errors("deep", SparseRule(1.0, 0.1)),
    "linear": errors("linear", None),
}
"""


def test_everything_runs_without_compilation():
    environment = dict(os.environ, NUMBA_DISABLE_JIT="1")
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + "print(json.dumps(found))"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr
    compiled: dict = {}
    exec(PROGRAM, compiled)  # the same lines, compiled
    for network, values in json.loads(child.stdout).items():
        np.testing.assert_allclose(values, compiled["found"][network], rtol=1e-11, err_msg=network)
