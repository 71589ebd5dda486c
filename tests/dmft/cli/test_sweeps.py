"""`dmft sweep` and its file."""

from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft.cli.main import main
from dmft.sweeps.configuration import read_sweep

FILE = """
[problem]
lam = 0.1
[signal]
name = "gaussian"
std = 2.0
[network]
name = "linear"
[solve]
t-max = 1
points = 3
rtol = 0.1
[simulate]
dimension = 20
seeds = 2
seed = 3
[sweep]
delta = [0.5, 2.0]
signal.std = {logspace = [1, 4, 3]}
"""


def write(tmp_path, text):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    return str(path)


def test_the_command_does_what_the_function_does(tmp_path, capsys):
    config, out = write(tmp_path, FILE), tmp_path / "folder"
    words = ["--collect", str(tmp_path / "all.nc"), "--plot", str(tmp_path / "map.png")]
    assert main(["sweep", config, "--out", str(out), "--workers", "1", *words]) == 0
    assert "6 done" in capsys.readouterr().out
    sweep = dmft.sweep(
        dmft.Problem(0.5, lam=0.1, signal=dmft.Gaussian(2.0), network="linear"),
        delta=[0.5, 2.0],
        **{"signal.std": [1.0, 2.0, 4.0]},
        solve={"t_max": 1.0, "t_eval": [0.0, 0.5, 1.0], "rtol": 0.1},
        simulate={"dimension": 20, "seeds": 2, "rng": 3},
        workers=1,
    )
    collected = dmft.load(tmp_path / "all.nc")
    assert np.allclose(collected["signal.std"], [1, 2, 4])
    assert np.allclose(collected["test_error"], sweep["test_error"], rtol=1e-12)
    assert np.allclose(collected["simulated_test_error"], sweep["simulated_test_error"])
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    for drawn in (out, tmp_path / "all.nc"):
        picture = tmp_path / f"{drawn.name}.png"
        assert main(["plot", str(drawn), "--out", str(picture), "--quantity", "mean_w"]) == 0
        assert picture.exists()
    assert main(["plot", str(out), "--out", str(picture), "--quantity", "C_w"]) == 2
    assert "quantity must be one of test_error" in capsys.readouterr().err


def test_progress_and_failures_are_told(tmp_path, capsys):
    text = FILE.replace("dimension = 20", "dimension = 1").replace("[0.5, 2.0]", "[0.1, 2.0]")
    config, out = write(tmp_path, text), tmp_path / "folder"
    words = ["sweep", config, "--out", str(out), "--workers", "1", "--progress"]
    assert main([*words, "--shard", "1/2"]) == 1
    shown = capsys.readouterr()
    assert "3 of 3 points" in shown.err
    assert "3 missing" in shown.out
    assert "failed at delta = 0.1, signal.std = 1" in shown.out
    assert main([*words, "--keep-failed"]) == 1
    assert "6 of 6 points, " in capsys.readouterr().err


def test_steps_and_other_models_are_read(tmp_path):
    text = """
    [problem]
    model = "quadratic"
    kappa = 0.7
    kappa-star = 0.5
    [solve]
    t-max = 1
    [sweep]
    alpha = {loguniform = [0.1, 1]}
    draws = 4
    """
    problem, arguments = read_sweep(write(tmp_path, text))
    assert problem == dmft.QuadraticProblem(problem.alpha, 0.7, 0.5)
    assert arguments["draws"] == 4
    assert arguments["alpha"].support() == pytest.approx((0.1, 1.0))
    text = """
    [problem]
    delta = 0.5
    [dynamics]
    name = "gradient_descent"
    step = 0.1
    [solve]
    t-max = 1
    [sweep]
    network = ["linear", {name = "deep", depth = 4}]
    dynamics.step = [0.1, 0.2]
    """
    problem, arguments = read_sweep(write(tmp_path, text))
    assert problem.dynamics == dmft.GradientDescent(0.1)
    assert arguments["network"] == [dmft.Linear(), dmft.Deep(4)]
    assert arguments["dynamics.step"] == [0.1, 0.2]


def test_the_file_of_the_documentation_is_read(tmp_path):
    page = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text()
    text = page.partition("```toml\n")[2].partition("```")[0]
    problem, arguments = read_sweep(write(tmp_path, text))
    assert problem == dmft.Problem(0.2, lam=0.1, sigma2=0.1)
    assert arguments["solve"] == {"t_max": 5, "rtol": 1e-3}
    assert arguments["alpha"].size == 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[sweep]", "[swep]", "takes no 'swep'; did you mean 'sweep'?"),
        ("lam = 0.1", "lamb = 0.1", "problem takes no 'lamb'; did you mean 'lam'?"),
        ("delta = [0.5, 2.0]", "", "delta is required, in [problem] or [sweep]"),
        ("delta =", "delt =", "delta is required"),
        ("[0.5, 2.0]", "[]", "delta must have at least one value"),
        ("logspace = [1, 4, 3]", "logspace = [1, 4]", "logspace of signal.std takes 3 numbers"),
        ("logspace = [1, 4, 3]", "logspace = [0, 4, 3]", "logspace of signal.std: low must"),
        ("logspace", "logrange", "signal.std.logrange is no field"),
        ("rtol = 0.1", "rtl = 0.1", "solve takes no 'rtl'"),
        ("points = 3", "points = 1", "points of [solve] must be an integer >= 2"),
        ('"linear"', '"liner"', "network must be one of"),
        ("[problem]", "[problem", "is not a TOML file"),
    ],
)
def test_mistakes_in_the_file_are_named(old, new, message, tmp_path, capsys):
    config = write(tmp_path, FILE.replace(old, new))
    assert main(["sweep", config, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
    assert main(["sweep", config, "--out", "x", "--shard", "3"]) == 2
