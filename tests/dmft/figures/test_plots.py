import builtins
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dmft.cli.main import QUANTITIES
from dmft.comparison import compare
from dmft.equations.observables import TWO_TIME
from dmft.figures.axes import save_figure
from dmft.figures.paths import plot_law, plot_paths
from dmft.figures.plots import PICTURES, plot_comparison, plot_correlation, plot_errors
from dmft.problem import Problem
from dmft.simulation.simulate import simulate
from dmft.solver.solve import solve

matplotlib = pytest.importorskip("matplotlib")

PROBLEM = Problem(delta=0.5, alpha=1.0, lam=0.1, sigma2=0.1)
TIMES = np.linspace(0.0, 5.0, 6)


@pytest.fixture(scope="module")
def solution():
    return solve(PROBLEM, 5.0, TIMES, rtol=1e-2)


@pytest.fixture(scope="module")
def ensemble():
    return simulate(PROBLEM, TIMES, dimension=100, seeds=8, rng=0, workers=1)


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.get_lines()}


def logarithmic(solution):
    """The same values at times that crowd towards 0."""
    return replace(solution, t=np.array([0.0, 0.01, 0.1, 1.0, 10.0, 100.0]))


def test_errors_are_drawn_as_lines_with_the_solvers_band(solution):
    ax = plot_errors(solution)
    for name, label in (("test_error", "test error"), ("train_error", "train error")):
        assert lines(ax)[label] == pytest.approx(np.column_stack([TIMES, solution.values[name]]))
    for band, name in zip(ax.collections, ("test_error", "train_error"), strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.max() == pytest.approx(np.max(solution.values[name] + solution.error[name]))
    assert "time" in ax.get_xlabel()
    assert "unit" in ax.get_xlabel()
    assert ax.get_ylabel()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "test error",
        "train error",
    ]


def test_a_dotted_line_marks_where_the_absolute_tolerance_decides(solution):
    assert not any("atol" in label for label in lines(plot_errors(solution)))
    loose = solve(PROBLEM, 5.0, TIMES, rtol=1e-2, atol={"train_error": 5e-4, "test_error": 0.0})
    floor = 5e-4 / 1e-2  # rtol times it is atol
    assert loose.train_error.min() < floor < loose.train_error.max()
    drawn = {label: line for label, line in lines(plot_errors(loose)).items() if "atol" in label}
    assert list(drawn) == ["below it atol decides (train error)"]
    assert drawn["below it atol decides (train error)"][:, 1] == pytest.approx(floor)


def test_simulations_are_means_with_two_standard_errors(solution, ensemble):
    ax = plot_errors(solution, ensemble)
    for container, name in zip(ax.containers, ("test_error", "train_error"), strict=True):
        points, _, (bars,) = container
        mean, error = ensemble.mean(name), ensemble.standard_error(name)
        assert points.get_xydata() == pytest.approx(np.column_stack([TIMES, mean]))
        ends = np.array(bars.get_segments())[:, :, 1]
        assert ends == pytest.approx(np.column_stack([mean - 2 * error, mean + 2 * error]))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["test error", "train error", "simulation, $d$ = 100, ±2 s.e."]


def test_a_dense_ensemble_is_thinned(solution, ensemble):
    t = np.linspace(0.0, 5.0, 500)
    runs = {name: np.ones((8, 500)) for name in ("test_error", "train_error")}
    ax = plot_errors(solution, replace(ensemble, t=t, runs=runs))
    points = ax.containers[0][0].get_xdata()
    assert len(points) == 24
    assert (points[0], points[-1]) == (0.0, 5.0)


def test_one_seed_has_no_bars(solution, ensemble):
    single = replace(ensemble, runs={name: runs[:1] for name, runs in ensemble.runs.items()})
    figure = plot_comparison(solution, single)
    assert not figure.axes[0].containers[0].has_yerr
    assert figure.axes[0].get_title() == "$d$ = 100, 1 seed: inconclusive"


def test_axes_are_logarithmic_where_values_span_decades(solution):
    assert plot_errors(solution).get_xscale() == "linear"
    ax = plot_errors(logarithmic(solution))
    assert ax.get_xscale() == "log"
    assert lines(ax)["test error"][0, 0] == 0.01
    assert plot_correlation(logarithmic(solution)).get_yscale() == "log"
    small = {**solution.values, "train_error": np.geomspace(0.1, 1e-5, 6)}
    assert plot_errors(replace(solution, values=small)).get_yscale() == "log"
    flat = {**solution.values, "train_error": solution.test_error}
    assert plot_errors(replace(solution, values=flat)).get_yscale() == "linear"


@pytest.mark.parametrize("name", ["C_w", "C_r", "R_w", "R_r"])
def test_map_has_t_upwards_and_s_to_the_right(solution, name):
    ax = plot_correlation(solution, name)
    (mesh,) = ax.collections
    shown = np.ma.filled(mesh.get_array(), np.nan).reshape(6, 6)
    later, earlier = np.tril_indices(6)
    assert shown[later, earlier] == pytest.approx(solution.values[name][later, earlier])
    if name.startswith("R"):
        assert np.all(np.isnan(shown[np.triu_indices(6, 1)]))
    else:
        assert shown == pytest.approx(shown.T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time $s$", "time $t$")
    assert name[0] in ax.figure.axes[1].get_ylabel()


def test_map_of_both_signs_is_white_at_zero(solution):
    values = solution.C_w - solution.C_w.mean()
    ax = plot_correlation(replace(solution, values={**solution.values, "C_w": values}))
    low, high = ax.collections[0].get_clim()
    assert low == -high == -np.abs(values).max()


def test_map_of_an_unknown_function(solution):
    with pytest.raises(ValueError, match=r"name must be one of .*C_w.*; got 'C_x'"):
        plot_correlation(solution, "C_x")


def test_functions_draw_into_the_axes_they_are_given(solution, ensemble):
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert plot_errors(solution, ensemble, ax=left) is left
    assert plot_correlation(solution, ax=right) is right


def test_comparison_draws_differences_and_rings_the_rejected(solution, ensemble):
    report = compare(solution, ensemble)
    figure = plot_comparison(solution, ensemble, report)
    top, bottom = figure.axes
    assert top.get_title() == "$d$ = 100, 8 seeds: inconclusive"
    drawn = lines(bottom)
    for label, name in (("test error", "test_error"), ("overlap with $w^*$", "overlap")):
        assert drawn[label][:, 1] == pytest.approx(report.standard_errors(name))
    assert "standard error" in bottom.get_ylabel()

    def rings(ax):
        return sum(len(line.get_xdata()) for line in ax.get_lines() if line.get_markersize() == 8)

    assert rings(bottom) == 0
    wrong = replace(solution, values={**solution.values, "overlap": 3 * solution.overlap})
    report = compare(wrong, ensemble)
    top, bottom = plot_comparison(wrong, ensemble).axes
    assert top.get_title().endswith("the theory is rejected")
    assert rings(bottom) == np.sum(report.deviation("overlap") > report.critical_deviation) > 0


@pytest.mark.parametrize("ending", ["png", "pdf", "PNG"])
def test_figures_are_saved(solution, tmp_path, ending):
    path = tmp_path / f"errors.{ending}"
    path.write_bytes(b"old")
    assert save_figure(plot_errors(solution).figure, path) == path
    assert path.read_bytes().startswith(b"%PDF" if ending == "pdf" else b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_save_leaves_the_old_file(solution, tmp_path, monkeypatch):
    path = tmp_path / "errors.png"
    path.write_bytes(b"old")
    figure = plot_errors(solution).figure

    def breaks(target, **options):
        target.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(figure, "savefig", breaks)
    with pytest.raises(KeyboardInterrupt):
        save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_pictures_are_png_pdf_or_svg(solution, tmp_path):
    figure = plot_errors(solution).figure
    save_figure(figure, tmp_path / "errors.svg")
    assert "<svg" in (tmp_path / "errors.svg").read_text()
    for name in ("errors.gif", "errors"):
        with pytest.raises(ValueError, match=rf"\.png.*\.pdf.*{name}"):
            save_figure(figure, tmp_path / name)
    with pytest.raises(FileNotFoundError):
        save_figure(figure, tmp_path / "missing" / "errors.png")


def test_without_matplotlib_the_extra_is_named(solution, monkeypatch):
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install dmft\[plot\]"):
        plot_errors(solution)
    with pytest.raises(ImportError, match=r"pip install dmft\[plot\]"):
        plot_correlation(solution)


def test_importing_loads_neither_matplotlib_nor_numba():
    code = (
        "import sys, dmft.figures.plots; print(sorted({'matplotlib', 'numba'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_pyplot_is_not_touched():
    code = (
        "import sys; from matplotlib.figure import Figure; from dmft.figures.axes import new_axes; "
        "new_axes(None, (3, 2)); print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_pictures_have_names(solution, ensemble):
    assert {*PICTURES, *TWO_TIME} == {*QUANTITIES}
    for quantity in (*PICTURES, "R_w"):
        assert solution.plot(quantity).get_ylabel()
    with pytest.raises(ValueError, match="law needs a solution; got a Ensemble"):
        ensemble.plot("law")
    with pytest.raises(ValueError, match=r"quantity must be one of errors, .*; got 'D'"):
        solution.plot("D")


def test_ensembles_are_drawn_with_two_standard_errors(ensemble):
    ax = ensemble.plot("order_parameters")
    np.testing.assert_array_equal(lines(ax)["overlap with $w^*$"][:, 1], ensemble.overlap)
    band = ax.collections[1].get_paths()[0].vertices
    low = ensemble.overlap - 2 * ensemble.error["overlap"]
    assert np.isclose(band[:, 1].min(), low.min())
    np.testing.assert_array_equal(lines(ensemble.plot())["test error"][:, 1], ensemble.test_error)


def test_the_law_is_that_of_sample_paths(solution):
    ax = plot_law(solution, [solution.t[-1]], n=500, rng=3)
    w = solution.sample_paths(500, 3).w[:, -1]
    density, edges = np.histogram(w, bins=60, range=(w.min(), w.max() + 1e-12), density=True)
    outline = ax.patches[0].get_xy()
    assert np.isclose(outline[:, 1].max(), density.max())
    assert np.isclose(outline[:, 0].min(), edges[0])


def test_paths_are_coloured_by_their_target(solution):
    ax = plot_paths(solution, n=60, rng=1)
    paths = solution.sample_paths(60, 1)
    colours = {tuple(line.get_color()) for line in ax.lines}
    assert len(colours) == len(set(paths.w_star))
    np.testing.assert_array_equal(ax.lines[7].get_ydata(), paths.w[7])
