import subprocess
import sys

import numba
import pytest
from numba.core import event

import dmft
from dmft import compilation


class Compilations(event.Listener):
    """Names of the functions that are compiled."""

    def __init__(self):
        self.names = []

    def on_start(self, event):
        self.names.append(event.data["dispatcher"].py_func.__name__)

    def on_end(self, event):
        pass


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled")
def test_solves_compile_nothing_once_they_have_been_loaded():
    compilation.load()
    compilation.load(compilation.STEPS)
    steps = dmft.Problem(0.5, 1.0, dynamics=dmft.SGD(0.1, 0.25))
    with event.install_listener("numba:compile", Compilations()) as compilations:
        for problem, t_max in (
            (dmft.Problem(0.5, 1.0, 0.1, 0.1), 10.0),
            (dmft.Problem(0.5, 1e-3, 0.0, 0.1), 30.0),
            (dmft.Problem(0.5, 5.0, 0.1, 0.1, dmft.Gaussian()), 100.0),
            (dmft.Problem(0.5, network="linear"), 3.0),
            (dmft.Problem(0.5, sigma2=0.1, network="deep"), 3.0),
            (dmft.Problem(0.5, 0.5, network=dmft.Product((1.0, 0.5, 0.5))), 3.0),
        ):
            assert dmft.solve(problem, t_max, rtol=1e-2).success
        assert dmft.solve(steps, 1.0, rtol=0.1).success
    assert compilations.names == []


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
