import subprocess
import sys

import numba
import pytest

from dmft import compilation

SOLVES = """
import importlib, dmft
from dmft import compilation

def signatures():
    modules = map(importlib.import_module, compilation.FLOW + compilation.STEPS)
    functions = [f for module in modules for f in vars(module).values()]
    return {f.__name__: list(f.signatures) for f in functions if getattr(f, "signatures", None)}

compilation.load()
compilation.load(compilation.STEPS)
loaded = signatures()
for problem, t_max in (
    (dmft.Problem(0.5, 1.0, 0.1, 0.1), 10.0),
    (dmft.Problem(0.5, 1e-3, 0.0, 0.1), 30.0),
    (dmft.Problem(0.5, 5.0, 0.1, 0.1, dmft.Gaussian()), 100.0),
    (dmft.Problem(0.5, network="linear"), 3.0),
    (dmft.Problem(0.5, sigma2=0.1, network="deep"), 3.0),
    (dmft.Problem(0.5, 0.5, network=dmft.Product((1.0, 0.5, 0.5))), 3.0),
    (dmft.Problem(0.5, 1.0, dynamics=dmft.SGD(0.1, 0.25)), 1.0),
):
    assert dmft.solve(problem, t_max, rtol=2e-2).success
for name, found in signatures().items():
    if found != loaded.get(name):
        print(name, found)
"""


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_solves_need_nothing_but_what_was_loaded_before():
    done = subprocess.run([sys.executable, "-c", SOLVES], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_where_no_other_process_can_be_started_this_one_compiles(monkeypatch):
    monkeypatch.setattr(compilation, "_loaded", set())
    monkeypatch.setattr(compilation, "_cached", lambda modules: False)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    lines = []
    compilation.load(["dmft.solvers.principal_modes"], lines.append)
    assert len(lines) == 1
    assert compilation._loaded == {"dmft.solvers.principal_modes"}


def test_what_another_process_compiled_is_loaded_from_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    code = (
        "from dmft import compilation as c; from dmft.solvers import principal_modes as p; "
        "c.load(['dmft.solvers.principal_modes']); "
        "stats = p._pivoted_cholesky.stats; print(len(stats.cache_hits))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
