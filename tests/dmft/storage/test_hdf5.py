"""Files of results: what h5py and xarray see, and what is refused."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from dmft.equations.observables import (
    ONE_TIME,
    TWO_TIME,
    one_time_functions,
    two_time_functions,
)
from dmft.networks.diagonal import Diagonal
from dmft.problem import Problem
from dmft.signals import Bernoulli
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution
from dmft.storage import hdf5, load

# solve(Problem(0.5, 1.0, 0.1, 0.1), 4.0, [0, 1, 2, 3, 4], rtol=0.01, rng=7,
#       grid=Grid([0, 0.5, 1.5, 4], 3)), saved under schema version 1
SCHEMA_1 = Path(__file__).parents[2] / "data" / "schema1.h5"
# simulate(Problem(0.5, 1.0, 0.1, 0.1), [0, 1, 3], dimension=20, seeds=3, rng=5), saved by the same
SCHEMA_1_ENSEMBLE = SCHEMA_1.with_name("schema1_ensemble.h5")


# --- what other programs see -------------------------------------------------------------


def test_xarray_opens_it_with_named_dimensions(solution, path):
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        assert dict(data.sizes) == {"t": 3, "s": 3}
        assert data["t"].dims == ("t",)
        assert data["s"].dims == ("s",)
        for name in ONE_TIME:
            assert data[name].dims == data[f"error_of_{name}"].dims == ("t",)
        for name in TWO_TIME:
            assert data[name].dims == data[f"error_of_{name}"].dims == ("t", "s")
        # the response is causal: t is the first dimension, s the second
        assert float(data["R_w"].sel(t=0.7, s=2.0)) == 0.0
        assert float(data["R_w"].sel(t=2.0, s=0.7)) == solution.R_w[2, 1] < 0
        np.testing.assert_array_equal(data["C_w"], solution.C_w)
        np.testing.assert_array_equal(data["error_of_test_error"], solution.error["test_error"])


def test_xarray_opens_the_groups(solution, path):
    with xarray.open_dataset(path, engine="h5netcdf", group="solver") as data:
        assert data["A"].dims == ("t_node", "s_node")
        assert data["C_w"].dims == ("t_start", "s_start")
        np.testing.assert_array_equal(data["t_node"], solution.grid.nodes)
        np.testing.assert_array_equal(data["s_start"], solution.grid.nodes_with_start)
    with xarray.open_dataset(path, engine="h5netcdf", group="stats") as data:
        assert data["residual_history"].dims == ("residual_history_index",)
        assert data.attrs["sweeps"] == solution.stats["sweeps"]


def assert_described(path):
    def check(name, item):
        if isinstance(item, h5py.Dataset):
            assert item.attrs["units"] in ("1", "s"), name
            assert len(item.attrs["long_name"]) > 3, name
            assert item.is_scale or all(len(axis) == 1 for axis in item.dims), name

    with h5py.File(path) as file:
        file.visititems(check)


def test_each_dataset_is_described(path):
    assert_described(path)
    with h5py.File(path) as file:
        assert "time" in file["t"].attrs["long_name"]
        assert "estimated absolute error" in file["error_of_C_w"].attrs["long_name"]


def test_root_attributes(solution, path):
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
    assert attributes["schema_version"] == hdf5.SCHEMA_VERSION == 2
    assert attributes["numpy_version"] == np.__version__
    assert attributes["h5py_version"] == h5py.__version__
    for package in ("dmft", "scipy", "numba", "python"):
        assert attributes[f"{package}_version"][0].isdigit()
    created = datetime.fromisoformat(attributes["date_created"])
    assert created.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - created) < timedelta(hours=1)
    assert attributes["seed"] == "3"
    assert attributes["success"] == int(solution.success)
    assert attributes["message"] == solution.message
    settings = json.loads(attributes["configuration"])
    assert Problem.from_config(settings["problem"]) == solution.problem
    assert settings["t_max"] == 2.0
    assert settings["rtol"] == 0.1
    assert attributes["title"]
    assert attributes["source"].startswith("dmft ")


# --- files that cannot be read -------------------------------------------------------------


def assert_refused(path, text="", verify=True):
    for read in (load, Solution.load, Ensemble.load):
        with pytest.raises(ValueError, match=f"{path.name} is not a readable file of dmft.*{text}"):
            read(path, verify=verify)


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        load(tmp_path / "none.h5")
    with pytest.raises(OSError, match=tmp_path.name):
        load(tmp_path)


def test_truncated_file(path):
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 100, *range(512, len(whole), 1999), len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert_refused(path)


def test_foreign_files(tmp_path):
    other = tmp_path / "other.h5"
    other.write_text("alpha = 1.0\n")
    assert_refused(other, "no HDF5 file")
    with h5py.File(other, "w") as file:
        file["t"] = np.arange(3.0)
    assert_refused(other, "not written by dmft")
    with h5py.File(other, "w") as file:
        file.attrs.update(format="dmft.Solution", schema_version="latest")
    assert_refused(other, "not written by dmft")


def changed(path, change):
    """Change the file with h5py, which ends the digest; it is then read on demand only."""
    with h5py.File(path, "r+") as file:
        change(file)
    assert_refused(path, "digest")


def test_newer_schema(path):
    changed(path, lambda file: file.attrs.update(schema_version=hdf5.SCHEMA_VERSION + 1))
    assert_refused(path, "schema version 3.* reads up to 2", verify=False)


def test_unknown_kind(path):
    for kind in ("Solutions", "Problem", "solve"):
        changed(path, lambda file, kind=kind: file.attrs.update(format=f"dmft.{kind}"))
        assert_refused(path, f"holds a {kind}, which this dmft does not know", verify=False)


@pytest.mark.parametrize("name", ["t", "C_r", "error_of_R_r", "solver", "solver/A", "stats"])
def test_incomplete_file(path, name):
    changed(path, lambda file: file.__delitem__(name))
    assert_refused(path, name.split("/")[-1], verify=False)


@pytest.mark.parametrize("times", [[0.0, np.nan, 2.0], [0.0, 2.0, 0.7], [-1.0, 0.7, 2.0]])
def test_times_out_of_order(path, times):
    changed(path, lambda file: file["t"].write_direct(np.array(times)))
    assert_refused(path, "t must be", verify=False)


def test_damaged_configuration(path):
    def change(file):
        settings = json.loads(file.attrs["configuration"])
        settings["problem"]["delta"] = -1.0
        file.attrs["configuration"] = json.dumps(settings)

    changed(path, change)
    assert_refused(path, "delta", verify=False)


# --- old files -----------------------------------------------------------------------------


def test_file_of_schema_1(tmp_path):
    old = load(SCHEMA_1)
    assert load(SCHEMA_1, verify=False) == old
    assert old.problem == Problem(0.5, 1.0, 0.1, 0.1, Bernoulli(0.1, 1.0), Diagonal(1.0, 1.0))
    assert (old.seed, old.rtol, old.success, old.status) == (7, 0.01, True, 0)
    assert old.t.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert old.grid.edges.tolist() == [0.0, 0.5, 1.5, 4.0]
    assert old.grid.stages == 3
    assert old.stats["residual_history"].size == old.stats["sweeps"] == 19
    test_error = [0.05, 0.0431662567, 0.0492002776, 0.0528069339, 0.0546581141]
    train_error = [0.1, 0.00941274967, 0.00413645092, 0.00255923898, 0.0019534716]
    np.testing.assert_allclose(old.test_error, test_error, rtol=1e-8)
    np.testing.assert_allclose(old.train_error, train_error, rtol=1e-8)
    # the solver's state still means the same
    state = (old.problem, old.grid, old.averages, old.t)
    again = one_time_functions(*state) | two_time_functions(*state)
    for name, value in old.values.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    shutil.copy(SCHEMA_1, tmp_path / "old.h5")
    old.save(tmp_path / "old.h5")
    assert load(tmp_path / "old.h5") == old


def test_ensemble_of_schema_1():
    old = load(SCHEMA_1_ENSEMBLE)
    assert type(old) is Ensemble
    assert (old.dimension, old.samples, old.seeds, old.seed) == (20, 10, 3, 5)
    assert list(old.values) == ["test_error", "train_error", "mean_w", "overlap", "C_w", "C_r"]
    np.testing.assert_allclose(old.test_error, [0.05, 0.04684504, 0.06118888], rtol=1e-7)
    error = [0.05343678, 0.01015308, 0.00371341]
    np.testing.assert_allclose(old.error["train_error"], error, rtol=1e-6)
    assert old.stats["steps"].tolist() == [12, 14, 15]
