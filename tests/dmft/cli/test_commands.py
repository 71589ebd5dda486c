import dataclasses
import math
import sys

import numpy as np
import pytest

import dmft
from dmft.cli.main import QUANTITIES, main
from dmft.cli.terminal import Reporter
from dmft.limits.steady_states import recovery_threshold, steady_state
from dmft.problem import Problem
from dmft.simulation.ensemble import load_ensemble
from dmft.simulation.simulate import simulate
from dmft.solver.solve import solve
from dmft.storage import load

PROBLEM = ["--delta", "0.5", "--alpha", "1", "--lam", "0.1", "--sigma2", "0.1"]
TIMES = ["--t-eval", "0", "0.5", "2"]
QUICK = [*PROBLEM, "--rtol", "1e-2", *TIMES]
THE_PROBLEM = Problem(0.5, 1.0, 0.1, 0.1)


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr("dmft.cli.terminal.PATIENCE", 1e4)  # for a first run on a machine


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.h5"
    assert main(["solve", *QUICK, "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def solution(run):
    return load(run)


def table(text):
    """Numbers of a printed table, one column a row."""
    return np.array([[float(x) for x in line.split()] for line in text.splitlines()[1:]]).T


def failure(capsys, *arguments):
    """The one line with which a command rejects its input."""
    assert main([str(a) for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dmft {arguments[0]}: error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


# --- solve -----------------------------------------------------------------------------------


def test_solve_prints_the_values_of_the_solution(solution, capsys):
    assert main(["solve", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    header = out.splitlines()[0].split()
    assert header == ["t", "test_error", "+-", "train_error", "+-", "mean_w", "overlap"]
    t, test, test_err, train, train_err, mean_w, overlap = table(out)
    np.testing.assert_allclose(t, solution.t)
    for printed, name in ((test, "test_error"), (train, "train_error")):
        np.testing.assert_allclose(printed, solution.values[name], rtol=1e-5)
    np.testing.assert_allclose([mean_w, overlap], [solution.mean_w, solution.overlap], rtol=1e-5)
    errors = [solution.error["test_error"], solution.error["train_error"]]
    np.testing.assert_allclose([test_err, train_err], errors, rtol=0.1)


def test_solve_writes_the_solution_of_the_library(solution):
    direct = solve(THE_PROBLEM, 2.0, [0.0, 0.5, 2.0], rtol=1e-2)
    assert solution.problem == THE_PROBLEM
    assert (solution.rtol, solution.seed) == (1e-2, 0)
    np.testing.assert_array_equal(solution.t, direct.t)
    np.testing.assert_allclose(solution.C_w, direct.C_w, rtol=1e-10)


def test_solve_takes_its_times_from_points_or_from_the_solver(tmp_path):
    short = ["solve", *PROBLEM, "--rtol", "1e-2", "--t-max", "1", "--seed", "7"]
    path = tmp_path / "run.h5"
    assert main([*short, "--points", "5", "--out", str(path)]) == 0
    np.testing.assert_allclose(load(path).t, [0, 0.25, 0.5, 0.75, 1])
    assert load(path).seed == 7
    assert main([*short, "--out", str(path)]) == 0
    solution = load(path)
    np.testing.assert_array_equal(solution.t, solution.grid.nodes_with_start)


def test_a_solve_that_does_not_converge_exits_with_1_and_still_gives_its_values(
    monkeypatch, capsys, tmp_path, solution
):
    changes = {"success": False, "status": 1, "message": "The error is too large."}
    unconverged = dataclasses.replace(solution, **changes)
    monkeypatch.setitem(
        vars(sys.modules["dmft.solver.solve"]), "solve", lambda *_, **__: unconverged
    )
    assert main(["solve", *QUICK]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert err == "dmft: The error is too large.\n"
    path = tmp_path / "run.h5"
    assert main(["solve", *QUICK, "--out", str(path)]) == 1
    assert not load(path).success


@pytest.mark.parametrize("config", [False, True])
def test_accuracy_and_limits_reach_the_solver(monkeypatch, tmp_path, config, solution):
    given = {}

    def record(*arguments, **options):
        given.update(options)
        return solution

    monkeypatch.setitem(vars(sys.modules["dmft.solver.solve"]), "solve", record)
    words = [*QUICK]
    assert main(["solve", *words]) == 0
    expected = {"atol": None, "max_time": 600.0, "max_memory": 1e9}
    assert {name: given[name] for name in expected} == expected
    if config:
        path = tmp_path / "run.toml"
        path.write_text("[solve]\natol = 0\nmax-time = 5\nmax-memory = 5e8\n")
        words += ["--config", str(path)]
    else:
        words += ["--atol", "0", "--max-time", "5", "--max-memory", "5e8"]
    assert main(["solve", *words]) == 0
    assert (given["atol"], given["max_time"], given["max_memory"]) == (0, 5, 5e8)


def test_a_solve_that_runs_out_of_time_exits_with_1_and_its_best_values(tmp_path, capsys):
    path = tmp_path / "run.h5"
    words = ["--delta", "1", "--alpha", "1e-3", "--sigma2", "0.5", "--t-max", "1000"]
    limits = ["--rtol", "1e-8", "--max-time", "0.5"]
    assert main(["solve", *words, *limits, "--out", str(path)]) == 1
    assert "max_time" in capsys.readouterr().err
    assert load(path).status == 3


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        "problem = {delta = 0.5, alpha = 1, lam = 0.1, sigma2 = 0.1}\n"
        '[signal]\nname = "discrete"\nvalues = [0, 1.5]\nprobabilities = [0.8, 0.2]\n'
        '[network]\nname = "diagonal"\nscale-u = 1.25\n'
        "[solve]\nt-max = 3\nt_eval = [0, 1, 2]\nrtol = 1e-2\n"
        "[simulate]\ndimension = 40\nseeds = 3\nt-max = 1.0\npoints = 3\n"
    )
    return str(path)


# --- simulate, compare, benchmark --------------------------------------------------------------


def test_simulate_prints_means_and_standard_errors(capsys):
    words = ["--dimension", "50", "--seeds", "3", "--seed", "4", "--design", "rademacher"]
    assert main(["simulate", *PROBLEM, *TIMES, *words]) == 0
    rows = table(capsys.readouterr().out)
    ensemble = simulate(THE_PROBLEM, [0, 0.5, 2], 50, 3, rng=4, design="rademacher")
    names = ("test_error", "train_error", "mean_w", "overlap")
    np.testing.assert_allclose(rows[1::2], [ensemble.mean(n) for n in names], rtol=1e-5)
    np.testing.assert_allclose(rows[2::2], [ensemble.standard_error(n) for n in names], rtol=0.1)


def test_simulate_writes_the_ensemble(tmp_path, capsys):
    path = tmp_path / "runs.h5"
    words = ["--t-max", "1", "--dimension", "30", "--seeds", "2", "--out", str(path)]
    assert main(["simulate", *PROBLEM, *words]) == 0
    ensemble = load_ensemble(path)
    assert (ensemble.problem, ensemble.dimension, ensemble.seeds) == (THE_PROBLEM, 30, 2)
    np.testing.assert_allclose(ensemble.t, np.linspace(0, 1, 21))
    capsys.readouterr()
    assert main(["info", str(path)]) == 0
    assert "dimension  30" in capsys.readouterr().out


def test_compare_accepts_the_theory_and_rejects_that_of_another_problem(
    run, solution, tmp_path, capsys
):
    words = ["--dimension", "50", "--seeds", "12", "--seed", "1"]
    picture = tmp_path / "compare.pdf"
    coarse = ["--resolution", "2"]  # what 12 seeds at d = 50 can tell
    assert main(["compare", str(run), *words, *coarse, "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"%PDF")
    out, err = capsys.readouterr()
    assert "test_error" in out
    assert err == ""
    assert main(["compare", str(run), *words]) == 1
    assert capsys.readouterr().err.startswith("dmft: The comparison is inconclusive at d = 50")
    other = tmp_path / "other.h5"
    dataclasses.replace(solution, problem=Problem(0.5, 1.0, 0.1, 1.0)).save(other)
    assert main(["compare", str(other), *words]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("dmft: ")
    assert err.count("\n") == 1


def test_compare_takes_files_of_either_or_both_kinds(run, tmp_path, capsys):
    runs = tmp_path / "runs.h5"
    words = ["--dimension", "50", "--seeds", "12", "--seed", "1"]
    assert main(["simulate", *PROBLEM, *TIMES, *words, "--out", str(runs)]) == 0
    capsys.readouterr()
    codes = [main(["compare", str(run), *words, "--resolution", "2"])]
    codes += [
        main(["compare", *map(str, files), "--rtol", "1e-2", "--resolution", "2"])
        for files in ([runs], [runs, run], [run, runs])
    ]
    tables = capsys.readouterr().out
    assert codes == [0, 0, 0, 0]
    quarter = len(tables) // 4
    assert tables == 4 * tables[:quarter]
    assert "one of each; got" in failure(capsys, "compare", run, run)
    assert "one of each; got" in failure(capsys, "plot", runs, runs, "--out", tmp_path / "a.png")
    for files in ([runs], [runs, run]):
        picture = tmp_path / "a.svg"
        assert main(["plot", *map(str, files), "--out", str(picture)]) == 0
        picture.unlink()


def test_benchmark_extrapolates_the_simulation_to_the_error_of_the_theory(solution, capsys):
    assert main(["benchmark", *QUICK, "--dimension", "50", "--seeds", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    theory, simulation, needed = (line.split() for line in lines[1:4])
    assert theory[0] == "theory"
    error = np.max(solution.error["test_error"] / solution.test_error)
    ensemble = simulate(THE_PROBLEM, [0, 0.5, 2], 50, 3)
    sampled = np.max(ensemble.standard_error("test_error") / ensemble.test_error)
    assert float(theory[-2]) == pytest.approx(error, rel=1e-5)
    assert float(simulation[-2]) == pytest.approx(sampled, rel=1e-5)
    factor = (sampled / error) ** 2
    assert float(needed[-3]) == pytest.approx(float(simulation[-3]) * factor, rel=1e-4)
    assert float(needed[-1]) == pytest.approx(3 * factor, rel=0.06)


# --- what needs no solve -----------------------------------------------------------------------


def test_predict_prints_what_exists_and_why_the_rest_does_not(capsys):
    assert main(["predict", *PROBLEM]) == 0
    out = capsys.readouterr().out
    values = dict(line.split()[-2:] for line in out.splitlines() if "none" not in line)
    state = steady_state(THE_PROBLEM)
    assert float(values["test_error"]) == pytest.approx(state.test_error, rel=1e-5)
    assert float(values["delta_c"]) == pytest.approx(recovery_threshold(0.1), rel=1e-5)
    assert "convergence rate        none: lam must be 0" in out
    assert main(["predict", "--delta", "0.5", "--alpha", "10", "--lam", "0.5"]) == 0
    assert f"lazy to rich time       {4 * math.log(10):.6g}" in capsys.readouterr().out


def test_saddles_prints_the_path_of_the_reference_case(tmp_path, capsys):
    data, out = tmp_path / "data.npz", tmp_path / "path.npz"
    np.savez(data, X=[[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]], y=[1.0, 0.0])
    assert main(["saddles", str(data), "--out", str(out)]) == 0
    rows = table(capsys.readouterr().out.split("wrote")[0])
    np.testing.assert_allclose(rows[0], [0, 1, 4, 4 + 80 / 49], rtol=1e-5)
    np.testing.assert_array_equal(rows[2], [0, 1, 1, 2])
    with np.load(out) as path:
        np.testing.assert_allclose(path["saddles"][-1], [0, 0, 10 / 7, -10 / 49], atol=1e-12)
        np.testing.assert_allclose(path["losses"], rows[1], rtol=1e-5)
    assert main(["saddles", str(data), "--max-saddles", "1"]) == 1
    assert "stopped after" in capsys.readouterr().err


def test_info_describes_a_file_and_the_installation(run, solution, capsys):
    assert main(["info", str(run)]) == 0
    out = capsys.readouterr().out
    for words in (
        "sigma2",
        "bernoulli",
        "Converged",
        "compile_time",
        "date_created",
        "3 from 0 to 2",
    ):
        assert words in out
    error = solution.error["test_error"]
    assert (
        f"{solution.test_error[-1]:.6g} +- {error[-1]:.2g} (at any time {error.max():.2g})" in out
    )
    assert main(["info"]) == 0
    out = capsys.readouterr().out
    assert f"dmft           {dmft.__version__}" in out
    assert np.__version__ in out


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_plot_draws_a_solution(run, tmp_path, quantity):
    path = tmp_path / "a.png"
    assert main(["plot", str(run), "--out", str(path), "--quantity", quantity]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_two_time_function_needs_two_times(solution, tmp_path, capsys):
    path = tmp_path / "one.h5"
    values = {k: v[tuple([slice(1)] * v.ndim)] for k, v in solution.values.items()}
    errors = {k: v[tuple([slice(1)] * v.ndim)] for k, v in solution.error.items()}
    dataclasses.replace(solution, t=solution.t[:1], values=values, error=errors).save(path)
    words = ["plot", path, "--out", tmp_path / "a.png", "--quantity", "C_w"]
    assert "needs at least 2 times" in failure(capsys, *words)


def test_figure_is_drawn_by_the_presets(monkeypatch, tmp_path, capsys):
    drawn = []
    monkeypatch.setattr("dmft.figures.presets.PRESETS", {"one": None})
    monkeypatch.setattr("dmft.figures.presets.draw", lambda *args, **options: drawn.append(args))
    assert main(["figure", "one", "--out", str(tmp_path / "a.png")]) == 0
    assert [(name, str(path)) for name, path in drawn] == [("one", str(tmp_path / "a.png"))]
    capsys.readouterr()
    assert "figure must be one of one, quadratic-training, " in failure(
        capsys, "figure", "two", "--out", tmp_path / "a.png"
    )


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("solve", "--t-max 1", "delta is required: give --delta"),
        ("solve", "--delta 0 --t-max 1", "delta must satisfy delta > 0; got 0.0"),
        ("solve", "--delta nan --t-max 1", "delta must be a finite real number; got nan"),
        ("solve", "--delta 1 --alpha -1 --t-max 1", "alpha must satisfy alpha > 0; got -1.0"),
        ("solve", "--delta 1", "t-max is required"),
        ("solve", "--delta 1 --t-max 0", "t_max must satisfy t_max > 0; got 0.0"),
        ("solve", "--delta 1 --t-max inf", "t_max must be a finite real number; got inf"),
        ("solve", "--delta 1 --t-eval 0 2 1", "t_eval must be strictly increasing"),
        ("solve", "--delta 1 --t-max 1 --t-eval 0 2", "t_eval must be >= 0 and <= t_max = 1"),
        ("solve", "--delta 1 --t-max 1 --t-eval 1 --points 3", "t-eval and points exclude"),
        ("solve", "--delta 1 --t-max 1 --points 1", "points must be an integer >= 2; got 1"),
        ("solve", "--delta 1 --t-max 1 --rtol 2", "rtol must satisfy rtol >= 1e-10"),
        ("solve", "--delta 1 --t-max 1 --seed -1", "an integer >= 0; got -1"),
        ("solve", "--delta one --t-max 1", "argument --delta: invalid float value: 'one'"),
        ("solve", "--delta 1 --t-ma 1", "unrecognized arguments: --t-ma 1"),
        ("solve", "--delta 1 --t-max 1 --density 2", "density <= 1; got 2.0"),
        ("solve", "--delta 1 --t-max 1 --signal cauchy", "signal must be one of bernoulli"),
        ("solve", "--delta 1 --t-max 1 --signal gaussian --density 1", "takes --std, --location"),
        ("solve", "--delta 1 --t-max 1 --depth 3", "--depth does not belong to network 'diagonal'"),
        ("solve", "--delta 1 --t-max 1 --network linear --depth 3", "which takes --scale"),
        ("solve", "--delta 1 --t-max 1 --network deep --depth 2", "depth must be an integer >= 3"),
        ("solve", "--delta 1 --t-max 1 --signal discrete --values 0 1", "needs --probabilities"),
        (
            "solve",
            "--delta 1 --t-max 1 --signal discrete --values 0 1 --probabilities .5 .6",
            "probabilities must sum to 1; got",
        ),
        ("solve", "--delta 1 --t-max 1 --signal empirical --array no.npy", "No such file"),
        ("solve", "--delta 1 --t-max 1 --out no/such/run.h5", "directory of path must exist"),
        ("solve", "--delta 1 --t-max 1 --out .", "is a directory"),
        ("solve", "--config no.toml --t-max 1", "No such file or directory: 'no.toml'"),
        ("simulate", "--delta 1 --t-max 1 --dimension 0", "dimension must be an integer >= 1"),
        ("simulate", "--delta 1 --t-max 1 --design cauchy", "design must be one of gaussian"),
        ("simulate", "--delta 1 --t-max 1 --workers 0", "workers must be an integer >= 1"),
        ("benchmark", "--delta 1 --t-max 1 --dimension 0", "dimension must be an integer >= 1"),
        ("benchmark", "--delta 1 --t-max 1 --seeds 1", "seeds must be an integer >= 2; got 1"),
        ("compare", "no.h5", "No such file or directory: 'no.h5'"),
        ("compare", "no.h5 --plot no/such/a.png", "directory of path must exist"),
        (
            "compare",
            "no.h5 --plot a.gif",
            "the picture must end in .png, .pdf or .svg; got 'a.gif'",
        ),
        ("predict", "--delta 1 --dimension 0", "dimension must be an integer >= 1; got 0"),
        ("plot", "no.h5 --out a.png", "No such file or directory: 'no.h5'"),
        ("info", "no.h5", "No such file or directory: 'no.h5'"),
        ("saddles", "no.npz", "No such file or directory: 'no.npz'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch, tmp_path, capsys, command, words, message
):
    def work(*args):
        raise AssertionError("work has started")

    monkeypatch.setattr(Reporter, "stage", work)
    monkeypatch.setattr(Reporter, "seeds", work)
    monkeypatch.chdir(tmp_path)
    assert message in failure(capsys, command, *words.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["compare", "info", "plot", "saddles", "config", "array"])
def test_a_foreign_file_is_rejected(tmp_path, capsys, command):
    path = tmp_path / "foreign.npy"
    path.write_bytes(b"\x93not one of ours\n")
    words = {
        "plot": ["plot", path, "--out", tmp_path / "a.png"],
        "config": ["solve", "--config", path],
        "array": ["solve", "--delta", 1, "--t-max", 1, "--signal", "empirical", "--array", path],
    }
    assert str(path) in failure(capsys, *words.get(command, [command, path]))
    assert [p.name for p in tmp_path.iterdir()] == ["foreign.npy"]


def test_saddles_needs_both_arrays(tmp_path, capsys):
    data = tmp_path / "data.npz"
    np.savez(data, X=np.eye(2))
    assert "data must hold X and y" in failure(capsys, "saddles", data)


def test_without_a_command_the_error_is_one_line(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err == (
        "dmft: error: the following arguments are required: COMMAND\n"
    )


# --- training in steps -------------------------------------------------------------------------


def test_training_in_steps_from_the_command_line(tmp_path):
    path = tmp_path / "run.h5"
    words = "--delta .5 --dynamics sgd --step .1 --batch .5 --sampling reshuffle --nesterov"
    words += " --momentum .3 --t-max 1 --points 4 --rtol .05"
    assert main(["solve", *words.split(), "--out", str(path)]) == 0
    solution = load(path)
    dynamics = dmft.SGD(0.1, 0.5, "reshuffle", momentum=0.3, nesterov=True)
    assert solution.problem == Problem(0.5, dynamics=dynamics)
    np.testing.assert_allclose(solution.t, [0.0, 0.3, 0.7, 1.0])


def test_a_parameter_of_another_dynamics_is_named(capsys):
    words = "--delta .5 --dynamics gradient_descent --step .1 --batch .5 --t-max 1"
    assert "--batch does not belong to dynamics" in failure(capsys, "solve", *words.split())
    words = "--delta .5 --dynamics sgd --step .1 --t-max 1"
    assert "needs --batch" in failure(capsys, "solve", *words.split())
