"""Report and sweep take a quadratic problem as they take any other."""

import numpy as np
import pytest

import dmft
from dmft import QuadraticProblem
from dmft.report import write_report

PROBLEM = QuadraticProblem(0.3, 0.7, 0.5, lam=0.1)


def test_a_sweep_over_quadratic_problems(tmp_path):
    sweep = dmft.sweep(
        PROBLEM,
        alpha=[0.3, 0.6],
        simulate={"t_eval": [0.0, 0.2], "dimension": 10, "seeds": 2},
        out=tmp_path / "sweep",
        workers=1,
    )
    mse = np.array([sweep.to_xarray().sel(alpha=a)["simulated_mse"].values for a in (0.3, 0.6)])
    assert np.all(np.isfinite(mse))


def test_a_report_about_simulations(tmp_path):
    runs = dmft.simulate(PROBLEM, [0.0, 0.1, 0.2], dimension=10, seeds=2)
    runs.save(tmp_path / "runs.h5")
    pytest.importorskip("jinja2", reason="the report is an extra")
    write_report([tmp_path / "runs.h5"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "quadratic" in page
    assert "2601.10483" in page
