"""Options of the command line and tables of configuration files."""

import dataclasses

import numpy as np
import pytest

from dmft.cli.main import build_parser, main
from dmft.cli.options import build_problem, merge
from dmft.cli.tables import options_of
from dmft.dynamics.registry import DYNAMICS
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.networks.registry import NETWORKS
from dmft.problem import Problem
from dmft.signals import LAWS, Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian
from dmft.simulation.ensemble import load_ensemble
from dmft.storage import load

PROBLEM = ["--delta", "0.5", "--alpha", "1", "--lam", "0.1", "--sigma2", "0.1"]
TIMES = ["--t-eval", "0", "0.5", "2"]
QUICK = [*PROBLEM, "--rtol", "1e-2", *TIMES]


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


def parsed(*arguments):
    namespace = build_parser().parse_args(["predict", *arguments])
    return build_problem(merge(vars(namespace), namespace.config))


def test_every_parameter_of_a_law_or_network_is_an_option_and_the_reverse():
    for name, kinds in (("signal", LAWS), ("network", NETWORKS), ("dynamics", DYNAMICS)):
        stated = [kind for kind in kinds.values() if kind.name != "joint"]  # too rich for options
        fields = {f.name for kind in stated for f in dataclasses.fields(kind)}
        assert fields | {"name"} == {option.name for option in options_of(name)}
    fields = {f.name for f in dataclasses.fields(Problem)}
    assert fields - {"signal", "network", "dynamics"} == {
        option.name for option in options_of("problem")
    }


@pytest.mark.parametrize(
    ("words", "signal"),
    [
        ("", Bernoulli()),
        ("--density .3 --value -2", Bernoulli(0.3, -2.0)),
        (
            "--signal bernoulli_gaussian --density .2 --std 2 --mean-nonzero .5",
            BernoulliGaussian(0.2, 2.0, 0.5),
        ),
        ("--signal gaussian --std 2 --location -1", Gaussian(2.0, -1.0)),
        ("--signal discrete --values 0 -1 --probabilities .9 .1", Discrete([0, -1], [0.9, 0.1])),
    ],
)
def test_options_give_the_law(words, signal):
    assert parsed("--delta", "2", *words.split()) == Problem(2.0, signal=signal)


@pytest.mark.parametrize(
    ("words", "network"),
    [
        ("--network linear", Linear()),
        ("--network deep --depth 4", Deep(4)),
        ("--network product --scales 1 .5 .25", Product((1.0, 0.5, 0.25))),
        ("--scale-u 2 --scale-v .5", Diagonal(2.0, 0.5)),
    ],
)
def test_options_give_the_network(words, network):
    assert parsed("--delta", "2", *words.split()) == Problem(2.0, network=network)


@pytest.mark.parametrize("suffix", ["npy", "txt"])
def test_an_empirical_law_is_read_from_a_file(tmp_path, suffix):
    path, values = tmp_path / f"w.{suffix}", np.array([0.0, 0.5, -1.5])
    np.save(path, values) if suffix == "npy" else np.savetxt(path, values)
    problem = parsed("--delta", "2", "--signal", "empirical", "--array", str(path))
    assert problem.signal == Empirical(values)


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


def test_a_file_holds_the_same_options(config, tmp_path, capsys):
    path = tmp_path / "run.h5"
    assert main(["solve", "--config", config, "--out", str(path)]) == 0
    solution = load(path)
    law, network = Discrete([0, 1.5], [0.8, 0.2]), Diagonal(scale_u=1.25)
    assert solution.problem == Problem(0.5, 1.0, 0.1, 0.1, law, network)
    assert solution.grid.t_max == 3.0
    np.testing.assert_array_equal(solution.t, [0, 1, 2])
    assert main(["simulate", "--config", config, "--out", str(path)]) == 0
    ensemble = load_ensemble(path)
    assert (ensemble.dimension, ensemble.seeds) == (40, 3)
    np.testing.assert_array_equal(ensemble.t, [0, 0.5, 1])


@pytest.mark.parametrize(
    ("own", "words", "expected"),
    [
        ("", "", [0, 1, 2]),
        ("points = 3", "", [0, 1.5, 3]),
        ("t-max = 1.0\npoints = 2", "", [0, 1]),
        ("", "--points 4", [0, 1, 2, 3]),
        ("", "--t-eval 0.5", [0.5]),
    ],
)
def test_a_simulation_without_times_takes_those_of_the_theory(tmp_path, own, words, expected):
    path, out = tmp_path / "run.toml", tmp_path / "runs.h5"
    path.write_text(
        "[problem]\ndelta = 0.5\n[solve]\nt-max = 3\nt_eval = [0, 1, 2]\n"
        f"[simulate]\ndimension = 20\nseeds = 2\n{own}\n"
    )
    assert main(["simulate", "--config", str(path), *words.split(), "--out", str(out)]) == 0
    np.testing.assert_array_equal(load_ensemble(out).t, expected)


def test_the_command_line_wins_over_the_file(config, tmp_path):
    path = tmp_path / "run.h5"
    words = ["--lam", "0.2", "--points", "4", "--signal", "bernoulli", "--scale-v", "0.5"]
    assert main(["solve", "--config", config, *words, "--out", str(path)]) == 0
    solution = load(path)
    assert solution.problem == Problem(0.5, 1.0, 0.2, 0.1, Bernoulli(), Diagonal(1.25, 0.5))
    np.testing.assert_allclose(solution.t, [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[solve]\nrtoll = 1",
            "unknown key 'rtoll' in [solve]; known: t-max, t-eval, points, rtol",
        ),
        (
            "[problems]\n",
            "unknown table 'problems'; known: problem, signal, network, dynamics, solve",
        ),
        ("problem = 3", "problem must be a table"),
        ("[problem]\ndelta = 'a'", "delta in [problem] must be a number; got 'a'"),
        ("[problem]\ndelta = true", "delta in [problem] must be a number; got True"),
        ("[simulate]\nseeds = 2.5", "seeds in [simulate] must be an integer; got 2.5"),
        ("[network]\nname = 3", "name in [network] must be a string; got 3"),
        ("[solve]\nt-eval = [0, 'a']", "must be a list, each entry a number; got 'a'"),
        ("[solve]\nt-max = 1\nt_max = 2", "'t_max' in [solve] is given twice"),
        ("[problem]\ndelta = nan", "delta must be a finite real number; got nan"),
        ("[problem\n", "is not a TOML file"),
    ],
)
def test_a_file_with_a_mistake_is_rejected(tmp_path, capsys, text, words):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    assert words in failure(capsys, "solve", "--config", path, "--t-max", "1")
