"""The presets: what they state, what they compute, and what their pictures show."""

import dataclasses
import math

import numpy as np
import pytest

from dmft.comparison import compare
from dmft.figures import base, presets, trade_off, weight_decay_limit
from dmft.figures.base import Effort, Preset, compute
from dmft.figures.presets import PRESETS, draw
from dmft.limits.rates import convergence_rate
from dmft.limits.steady_states import steady_state
from dmft.limits.transitions import grokking_delay, lazy_to_rich_time, search_to_descent_time
from dmft.problem import Problem
from dmft.solver.solve import solve

# dimension and seeds are too small to mean anything, but every part of a picture is drawn
TINY = Effort((40,), 2, 0.1)


def reduced(name):
    """Return a preset of few problems and little effort."""
    preset = PRESETS[name]
    kept = {"lazy-to-rich": [0, 3], "trade-off": [4], "weight-decay-limit": [0, 1]}
    kept |= {"grokking": [0, 3], "interpolation": [0], "search-to-descent": [0, 1]}
    indices = kept.get(name, range(len(preset.problems)))
    share = {"phases": 0.02, "weight-decay-limit": 0.05, "saddles": 0.3, "steps": 0.15}.get(
        name, 1.0
    )
    efforts = {"weight-decay-limit": Effort((30, 40), 2, 0.1), "trade-off": Effort((40,), 2, 1e-3)}
    return dataclasses.replace(
        preset,
        problems=tuple(preset.problems[k] for k in indices),
        horizons=tuple(share * preset.horizons[k] for k in indices),
        quick=efforts.get(name, TINY),
    )


@pytest.fixture(scope="module")
def search_runs():
    preset = dataclasses.replace(reduced("search-to-descent"), quick=Effort((100,), 8, 1e-2))
    return preset, compute(preset)


def test_presets_are_those_that_were_promised():
    names = {"lazy-to-rich", "search-to-descent", "interpolation", "trade-off"}
    names |= {"weight-decay-limit", "saddles", "phases", "grokking", "steps"}
    assert set(PRESETS) == names
    for preset in PRESETS.values():
        assert preset.title
        assert "\n" not in preset.title
        assert preset.dimension >= 300
        assert max(preset.full.dimensions) > preset.dimension
        with pytest.raises(dataclasses.FrozenInstanceError):
            preset.title = "another"


def test_settings_of_the_literature():
    pairs = {(p.alpha, p.lam) for p in PRESETS["lazy-to-rich"].problems}
    assert pairs == {(a, lam) for a in (2.0, 5.0) for lam in (0.01, 0.1, 0.5)}
    for name in ("lazy-to-rich", "search-to-descent"):
        assert PRESETS[name].dimension == 500
        for p in PRESETS[name].problems:
            assert (p.delta, p.sigma2, p.signal.density) == (0.5, 0.1, 0.1)
    assert [p.alpha for p in PRESETS["search-to-descent"].problems] == [1e-2, 1e-3, 1e-4]
    assert all(p.lam == 0 for p in PRESETS["search-to-descent"].problems)
    assert [p.alpha for p in PRESETS["saddles"].problems] == [1e-2, 1e-4, 1e-8]


def preset_step(preset, k):
    return preset.problems[k].dynamics.config().get("step", 0.0)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_times_cover_the_horizon(name):
    preset = PRESETS[name]
    for k, horizon in enumerate(preset.horizons):
        t = preset.times(k)
        assert t[0] == 0
        assert t[-1] == pytest.approx(horizon, abs=0.7 * preset_step(preset, k))
        assert np.all(np.diff(t) > 0)


# --- what the pictures show --------------------------------------------------------------------


def drawn(name, monkeypatch):
    """Return runs of little effort and their picture, every axis of which must be labelled."""
    for module in (trade_off, weight_decay_limit):
        monkeypatch.setattr(module, "CURVE", 2)
    monkeypatch.setattr(base, "TIMES", 40)
    preset = reduced(name)
    runs = compute(preset)
    figure = preset.drawing(preset, runs)
    assert figure.get_suptitle() == preset.title
    assert figure.legends or any(ax.get_legend() for ax in figure.axes)
    for ax in figure.axes:
        rows = ax.get_subplotspec().get_gridspec().nrows
        shared = name == "lazy-to-rich"  # only the lowest and leftmost panels of this grid
        assert ax.get_xlabel() or (shared and ax.get_subplotspec().rowspan.stop < rows)
        assert ax.get_ylabel() or (shared and ax.get_subplotspec().colspan.start > 0)
    return runs, figure


def shows(ax, values):
    """Whether a line ends with these values: a logarithmic axis of time leaves out t = 0."""
    kept = np.asarray(values)[1:]
    return any(np.array_equal(line.get_ydata()[-kept.size :], kept) for line in ax.lines)


def vertical_lines(ax):
    pairs = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2]
    return sorted(float(x[0]) for x in pairs if x[0] == x[1])


def bands(ax):
    return [*ax.collections, *ax.containers]


def test_lazy_to_rich_shows_the_predicted_times(monkeypatch):
    runs, figure = drawn("lazy-to-rich", monkeypatch)
    for column, run in enumerate(runs):  # one a value of alpha
        upper, lower = figure.axes[column], figure.axes[2 + column]
        problem = run.solution.problem
        assert f"{problem.alpha:g}" in upper.get_title()
        for ax, name in ((upper, "test_error"), (lower, "train_error")):
            assert shows(ax, run.solution.values[name])
            assert len(bands(ax)) == 2
            (time,) = vertical_lines(ax)
            assert time == pytest.approx(2 * math.log(problem.alpha) / problem.lam)


def test_grokking_shows_the_delays(monkeypatch):
    runs, figure = drawn("grokking", monkeypatch)
    left, right = figure.axes
    fastest = runs[0].solution
    assert shows(left, fastest.test_error)
    assert vertical_lines(left) == pytest.approx([lazy_to_rich_time(fastest.problem)])
    theory = {line.get_label(): line for line in right.lines}
    for run in runs:  # one a value of lam
        solution, lam = run.solution, run.solution.problem.lam
        line = theory[rf"theory, $\lambda$ = {lam:g}"]
        delay = grokking_delay(solution.t, solution.train_error, solution.test_error)
        np.testing.assert_allclose(line.get_ydata(), [lam * delay])
        np.testing.assert_allclose(line.get_xdata(), [2 * math.log(solution.problem.alpha)])


def test_phases_show_runs_and_limits(monkeypatch):
    runs, figure = drawn("phases", monkeypatch)
    for ax, run in zip(figure.axes, runs, strict=True):
        assert shows(ax, run.solution.test_error)
        assert shows(ax, run.solution.train_error)
        (limit,) = [line for line in ax.lines if line.get_label() == "limit"]
        expected = steady_state(run.solution.problem).test_error
        np.testing.assert_allclose(limit.get_ydata(), expected)


def test_trade_off_shows_limits_against_rates(monkeypatch):
    (run,), figure = drawn("trade-off", monkeypatch)
    (ax,) = figure.axes
    predicted = {line.get_label(): line for line in ax.lines}
    problem = run.solution.problem
    for delta in (0.3, 0.8):
        line = predicted[rf"prediction, $\delta$ = {delta:g}"]
        start = dataclasses.replace(problem, delta=delta, alpha=0.05)
        state = steady_state(start)
        assert line.get_ydata()[0] == pytest.approx(state.test_error)
        assert line.get_xdata()[0] == pytest.approx(convergence_rate(start))
    (mark,) = [line for line in ax.lines if "fitted rate" in line.get_label()]
    assert mark.get_xdata()[0] == pytest.approx(convergence_rate(problem), rel=0.05)
    assert mark.get_ydata()[0] == run.solution.test_error[-1]


def test_weight_decay_limit_shows_both_limits(monkeypatch):
    runs, figure = drawn("weight-decay-limit", monkeypatch)
    left, right = figure.axes
    assert all(shows(left, run.solution.test_error) for run in runs)
    lines = {line.get_label(): line for line in right.lines}
    ends = [run.solution.test_error[-1] for run in runs]
    np.testing.assert_array_equal(lines["theory, end of the run"].get_ydata(), ends)
    problem = runs[0].solution.problem
    lasso = lines[r"LASSO, any $\alpha$"]
    for lam, limit in zip(lasso.get_xdata(), lasso.get_ydata(), strict=True):
        assert limit == pytest.approx(
            steady_state(dataclasses.replace(problem, lam=lam)).test_error
        )
    interpolator = steady_state(dataclasses.replace(problem, lam=0.0)).test_error
    levels = [line.get_ydata()[0] for line in (*left.lines, lines[r"$\lambda$ = 0, $\alpha$ = 1"])]
    assert levels.count(pytest.approx(interpolator)) == 2


def test_runs_are_theory_and_simulation_of_the_same_times(search_runs):
    preset, runs = search_runs
    assert len(runs) == len(preset.problems)
    for k, run in enumerate(runs):
        assert run.solution.problem == preset.problems[k]
        np.testing.assert_array_equal(run.solution.t, preset.times(k))
        (ensemble,) = run.ensembles
        assert (ensemble.dimension, ensemble.seeds, ensemble.seed) == (100, 8, 0)
        np.testing.assert_array_equal(ensemble.t, run.solution.t)


def test_theory_and_simulation_agree(search_runs):
    for run in search_runs[1]:
        report = compare(run.solution, run.ensembles[0])
        assert report.verdict != "rejected", str(report)


def test_lines_are_theory_and_bands_are_simulation(search_runs):
    preset, runs = search_runs
    figure = preset.drawing(preset, runs)
    for ax, name in zip(figure.axes, ("test_error", "train_error"), strict=True):
        drawn = {len(line.get_xdata()): line for line in ax.lines}
        assert len(preset.times(0)) in drawn
        lines = [line for line in ax.lines if len(line.get_xdata()) == len(preset.times(0))]
        marks = [line for line in ax.lines if len(line.get_xdata()) == 2]
        for run, line, mark in zip(runs, lines, marks, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), run.solution.values[name])
            time = search_to_descent_time(run.solution.problem)
            np.testing.assert_allclose(mark.get_xdata(), time)
        # bands come in pairs: the error of the theory, then the simulation
        for run, band in zip(runs, ax.collections[1::2], strict=True):
            (ensemble,) = run.ensembles
            extent = band.get_paths()[0].get_extents()
            half = 2 * ensemble.standard_error(name)
            assert extent.y1 == pytest.approx(np.max(ensemble.mean(name) + half))
            low = np.min(np.maximum(ensemble.mean(name) - half, 0))
            assert extent.y0 == pytest.approx(low, abs=1e-12)
        assert "time" in ax.get_xlabel()
        assert ax.get_legend() is not None


def test_limits_are_drawn_at_the_steady_state():
    preset = reduced("interpolation")
    figure = preset.drawing(preset, compute(preset))
    for ax, problem in zip(figure.axes, preset.problems, strict=True):
        (line,) = [line for line in ax.lines if line.get_label() == "limit"]
        np.testing.assert_allclose(line.get_ydata(), steady_state(problem).test_error)


def test_the_saddle_figure_holds_one_saddle_ensemble():
    preset = reduced("saddles")
    runs = compute(preset)
    assert [run.saddles is None for run in runs] == [True, True, False]
    assert all(run.ensembles == () for run in runs)
    tau = [run.solution.t / (2 * np.log(1 / run.solution.problem.alpha)) for run in runs]
    for one in tau:
        np.testing.assert_allclose(one, runs[-1].saddles.tau, rtol=1e-12)
    axes = preset.drawing(preset, runs).axes
    for ax, name in zip(axes, ("test_error", "train_error"), strict=False):
        for run, line in zip(runs, ax.lines, strict=False):
            np.testing.assert_array_equal(line.get_ydata(), run.solution.values[name])


def test_the_seed_decides():
    preset = Preset("a", tuple, (Problem(0.5, 1.0, 0.0, 0.1),), (1.0,), Effort((20,), 2, 0.1))
    errors = [compute(preset, rng=rng)[0].ensembles[0].test_error for rng in (1, 1, 2)]
    np.testing.assert_array_equal(errors[0], errors[1])
    assert np.any(errors[0] != errors[2])


def test_full_takes_the_larger_effort_and_progress_is_text():
    small, large = Effort((20,), 2, 0.1), Effort((30,), 3, 0.05)
    preset = Preset("a", tuple, (Problem(0.5, 1.0, 0.0, 0.1),), (1.0,), small, large)
    lines = []
    (run,) = compute(preset, full=True, progress=lines.append)
    assert (run.ensembles[0].dimension, run.ensembles[0].seeds) == (30, 3)
    assert run.solution.rtol == 0.05
    assert lines[0] == "problem 1 of 1: theory"
    assert lines[-1] == "problem 1 of 1: simulated 3 of 3 seeds"


def test_what_did_not_converge_is_not_drawn(monkeypatch, tmp_path):
    def unconverged(*args):
        solution = solve(*args)
        return dataclasses.replace(solution, success=False, status=2, message="It diverged.")

    monkeypatch.setitem(presets.PRESETS, "interpolation", reduced("interpolation"))
    monkeypatch.setattr(base, "solve", unconverged)
    with pytest.raises(RuntimeError, match=r"problem 1 of 1, .*alpha=1\.0.*It diverged"):
        draw("interpolation", tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(monkeypatch, tmp_path):
    monkeypatch.setattr(presets, "compute", lambda *args, **kwargs: pytest.fail("work was done"))
    with pytest.raises(ValueError, match=r"name must be one of .*grokking.*; got 'other'"):
        draw("other", tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"path must end in one of .*; got '.*a\.txt'"):
        draw("phases", tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="existing directory"):
        draw("phases", tmp_path / "missing" / "a.png")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="rng must be an integer >= 0; got -1"):
        draw("phases", tmp_path / "a.png", rng=-1)
    with pytest.raises(ValueError, match="horizons must be 1, one a problem; got 2"):
        Preset("a", tuple, (Problem(0.5),), (1.0, 2.0))


def test_steps_figure_shows_errors_and_the_edge(monkeypatch):
    runs, figure = drawn("steps", monkeypatch)
    left, middle, right = figure.axes
    assert all(shows(left, run.solution.test_error) for run in runs[:3])
    assert all(shows(middle, run.solution.train_error) for run in runs[3:])
    # step x lambda_max/2 starts at alpha^2 step (1 + delta^(-1/2))^2/2
    starts = [line.get_ydata()[0] for line in right.lines[:3]]
    np.testing.assert_allclose(
        starts, np.array([0.15, 0.2, 0.25]) * (1 + 0.5**-0.5) ** 2, rtol=1e-6
    )


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("lazy-to-rich", {"alpha": [3.0], "lam": [0.5], "delta": [0.8]}, 1),
        ("search-to-descent", {"alpha": [0.1, 0.05]}, 2),
        ("interpolation", {"delta": [0.4]}, 1),
        ("grokking", {"alpha": [2.0], "lam": [0.5]}, 1),
    ],
)
def test_figures_take_other_values(name, values, count):
    preset = PRESETS[name].varied(**values)
    assert len(preset.problems) == count
    for field, chosen in values.items():
        assert {getattr(problem, field) for problem in preset.problems} == set(chosen)


def test_a_figure_is_drawn_for_other_values(tmp_path):
    values = {"alpha": [1.5], "lam": [0.8], "delta": [0.8], "dimension": 30, "seeds": 2}
    path = draw("lazy-to-rich", tmp_path / "a.svg", rtol=5e-2, **values)
    assert "= 1.5" in path.read_text()


def test_horizons_follow_the_problem():
    preset = PRESETS["lazy-to-rich"].varied(alpha=[3.0], lam=[0.2])
    assert preset.horizons == (pytest.approx(8 * math.log(3.0) / 0.2),)
    assert PRESETS["lazy-to-rich"].varied() == PRESETS["lazy-to-rich"]


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        ("phases", {"alpha": [1.0]}, "alpha cannot be"),
        ("lazy-to-rich", {"delta": [0.5, 1.0]}, "delta cannot be"),
        ("lazy-to-rich", {"alpha": [0.5]}, "alpha must be > 1"),
        ("search-to-descent", {"alpha": [2.0]}, "alpha must be < 1"),
        ("saddles", {"delta": [-1.0]}, "delta must satisfy delta > 0"),
    ],
)
def test_values_that_a_figure_cannot_show_are_refused(name, values, text):
    with pytest.raises(ValueError, match=text):
        PRESETS[name].varied(**values)
