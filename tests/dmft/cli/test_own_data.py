import csv

import h5py
import numpy as np
import pytest

from dmft.cli.main import main
from dmft.simulation.ensemble import Ensemble
from dmft.simulation.read_data import read_data
from dmft.simulation.simulate import simulate

RNG = np.random.default_rng(0)
X, Y, W = RNG.standard_normal((30, 20)), RNG.standard_normal(30), RNG.standard_normal(20)
FLOW = ["--alpha", "1", "--t-eval", "0", "1", "3"]


def write(path, **arrays):
    if path.suffix == ".npy":
        np.save(path, arrays["X"])
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([*(f"x{k}" for k in range(20)), *(["y"] if "y" in arrays else [])])
            rows.writerows(np.column_stack(list(arrays.values())))
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return str(path)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("a.npy", {"X": X}),
        ("a.npz", {"X": X, "y": Y, "w_star": W}),
        ("a.csv", {"X": X, "y": Y}),
        ("b.csv", {"X": X}),
        ("a.h5", {"X": X, "y": Y}),
    ],
)
def test_every_format_gives_its_arrays(name, arrays, tmp_path):
    found = read_data(write(tmp_path / name, **arrays))
    assert len(found) == len(arrays)
    for array, expected in zip(found, arrays.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", r"data must end in one of \.npy, \.npz, \.csv, \.h5, \.hdf5"),
        ("a.npz", b"no zip", "data cannot be read from"),
        ("a.npy", b"", "data cannot be read from"),
        ("a.h5", b"nothing", "data cannot be read from"),
        ("a.csv", b"a,b\n1,2\n3\n", "line 3 has 1 entries, the header 2"),
        ("a.csv", b"a,b\n1,high\n", "line 2, column 'b' is no number: 'high'"),
        ("a.csv", b"", "data cannot be read from"),
    ],
)
def test_unreadable_files_are_refused(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_data(path)


def test_files_without_a_design_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must hold an array X; .* holds \['y'\]"):
        read_data(write(tmp_path / "a.npz", y=Y))
    with pytest.raises(FileNotFoundError, match="No such file"):
        read_data(tmp_path / "none.npy")


def test_simulate_takes_a_file_and_planted_targets(tmp_path, capsys):
    data, out = write(tmp_path / "a.npz", X=X, y=Y), str(tmp_path / "e.h5")
    words = ["simulate", *FLOW, "--data", data, "--seeds", "2", "--samples", "10", "--out", out]
    for targets, arrays in (("given", (X, Y)), ("planted", X)):
        assert main([*words, "--targets", targets]) == 0, capsys.readouterr().err
        ensemble = Ensemble.load(out)
        assert (ensemble.samples, ensemble.dimension, ensemble.design) == (10, 20, "data")
        expected = simulate(ensemble.problem, [0, 1, 3], seeds=2, data=arrays, samples=10)
        np.testing.assert_array_equal(ensemble.test_error, expected.test_error)
    assert main(["compare", out]) == 1  # two seeds of ten samples tell nothing
    assert "inconclusive at d = 20" in capsys.readouterr().err
    assert main([*words, "--targets", "mine"]) == 2
    assert "targets must be given or planted; got 'mine'" in capsys.readouterr().err


def test_diagnose_prints_the_reasons_and_draws(tmp_path, capsys):
    common = X + 2 * RNG.standard_normal((30, 1))
    picture = tmp_path / "spectrum.png"
    data = write(tmp_path / "a.csv", X=common)
    assert main(["diagnose", data, "--out", str(picture)]) == 0
    out = capsys.readouterr().out
    assert "The theory may not hold: outliers" in out
    assert "What helps: whitening" in out
    assert picture.stat().st_size > 1000
    assert main(["diagnose", write(tmp_path / "b.npy", X=X[:1])]) == 2
    assert "at least 2 rows and 2 columns" in capsys.readouterr().err
