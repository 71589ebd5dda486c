import json
import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray
from dmft.solvers.collocation import Grid

from dmft.equations.observables import ONE_TIME, TWO_TIME
from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian
from dmft.simulation.ensemble import simulate
from dmft.solution import evaluate
from dmft.solver.solve import solve
from dmft.storage import hdf5
from dmft.storage.hdf5 import load, load_ensemble, require_writable, save, save_ensemble

# solve(Problem(0.5, 1.0, 0.1, 0.1), 4.0, [0, 1, 2, 3, 4], rtol=0.01, rng=7,
#       grid=Grid([0, 0.5, 1.5, 4], 3)), saved under schema version 1
SCHEMA_1 = Path(__file__).parents[2] / "data" / "schema1.h5"


@pytest.fixture(scope="module")
def solution():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    grid = Grid(np.array([0.0, 0.5, 2.0]), 2)
    return solve(problem, 2.0, t_eval=[0.0, 0.7, 2.0], rtol=0.1, rng=3, grid=grid)


@pytest.fixture(scope="module")
def ensemble():
    problem = Problem(0.5, 1.0, 0.1, 0.1)
    return simulate(problem, [0.0, 1.0, 3.0, 4.0], dimension=20, seeds=3, rng=5, workers=1)


@pytest.fixture
def path(solution, tmp_path):
    save(solution, tmp_path / "run.h5")
    return tmp_path / "run.h5"


# --- round trip --------------------------------------------------------------------------


def test_load_gives_an_equal_solution(solution, path):
    loaded = load(path)
    assert loaded == solution
    assert loaded is not solution
    assert loaded.grid.stages == solution.grid.stages
    assert {k: type(v) for k, v in loaded.stats.items()} == {
        k: type(v) for k, v in solution.stats.items()
    }
    assert type(loaded.success) is bool
    assert type(loaded.status) is int
    assert type(loaded.seed) is int


def test_a_change_of_one_bit_is_an_unequal_solution(solution, path):
    for name in ("R_w", "error_of_C_r", "t", "solver/A", "solver/mean_D", "stats/residual_history"):
        with h5py.File(path, "r+") as file:
            old = file[name][()]
            file[name][...] = np.nextafter(old, np.inf)
        assert load(path) != solution, name
        with h5py.File(path, "r+") as file:
            file[name][...] = old
        assert load(path) == solution, name


def test_loaded_solution_continues_like_the_original(solution, path):
    loaded = load(str(path))
    one, other = solution.sample_paths(5), loaded.sample_paths(5)
    assert one.w.tobytes() == other.w.tobytes()
    assert one.H.tobytes() == other.H.tobytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"problem": Problem(0.1 + 0.2, 1 / 3, 1e-300, np.pi, BernoulliGaussian(0.2, 0.7, -1.0))},
        {"problem": Problem(1, 2, 0, 0, Gaussian(1, 2), Diagonal(2.0, 0.5))},
        {"problem": Problem(0.5, signal=Bernoulli(np.float64(0.3), np.int64(2)), network=Deep(4))},
        {"problem": Problem(2.0, signal=Discrete([-1, 0.1], [0.5, 0.5]), network=Linear())},
        {"problem": Problem(0.5, network=Product((1.0, 0.5, 0.2)))},
        {"problem": Problem(0.5, signal=Empirical(np.random.default_rng(0).normal(size=20000)))},
        {"success": False, "status": 2, "message": "α → ∞: no convergence.", "seed": 2**100},
        {"seed": np.int64(4), "rtol": np.float64(0.1)},
        {"stats": {"sweeps": np.int64(3), "spacing": np.inf, "residual_history": np.array([1.0])}},
    ],
)
def test_every_problem_and_outcome_survives(solution, tmp_path, changes):
    changed = replace(solution, **changes)
    save(changed, tmp_path / "run.h5")
    loaded = load(tmp_path / "run.h5")
    assert loaded == changed
    assert loaded != solution
    assert type(loaded.problem.network) is type(changed.problem.network)


def test_infinities_and_nans_survive(solution, tmp_path):
    error = solution.error | {"C_w": np.full((3, 3), np.nan), "overlap": np.full(3, np.inf)}
    stats = solution.stats | {"residual_history": np.array([1.0, np.nan, np.inf])}
    changed = replace(solution, error=error, stats=stats)
    save(changed, tmp_path / "run.h5")
    assert load(tmp_path / "run.h5") == changed


def test_method_of_the_solution(solution, tmp_path):
    solution.save(tmp_path / "run.h5")
    assert load(tmp_path / "run.h5") == solution


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
    assert attributes["schema_version"] == hdf5.SCHEMA_VERSION == 1
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


# --- failing writes ----------------------------------------------------------------------


def fail_at(monkeypatch, count, error):
    """Let the count-th dataset of a file fail."""
    calls, create = [], h5py.Group.create_dataset

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) == count:
            raise error
        return create(*args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", failing)


@pytest.mark.parametrize("count", [1, 10, 25])
@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file_alone(solution, path, monkeypatch, count, error):
    old = path.read_bytes()
    fail_at(monkeypatch, count, error)
    with pytest.raises(type(error)):
        save(replace(solution, seed=99), path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["run.h5"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupt_after_the_write_leaves_the_old_file_alone(solution, path, monkeypatch, step):
    def interrupted(*args):
        raise KeyboardInterrupt

    old = path.read_bytes()
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(replace(solution, seed=99), path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["run.h5"]


def test_an_interrupted_first_write_leaves_nothing(solution, tmp_path, monkeypatch):
    fail_at(monkeypatch, 5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save(solution, tmp_path / "run.h5")
    assert os.listdir(tmp_path) == []


def test_the_target_is_never_incomplete(solution, path, monkeypatch):
    old, create = path.read_bytes(), h5py.Group.create_dataset

    def watched(*args, **kwargs):
        assert path.read_bytes() == old
        return create(*args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", watched)
    changed = replace(solution, seed=99)
    save(changed, path)
    assert load(path) == changed
    assert os.listdir(path.parent) == ["run.h5"]


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_are_those_of_an_ordinary_file(solution, tmp_path):
    (tmp_path / "ordinary").touch()
    (tmp_path / "link.h5").symlink_to("run.h5")
    save(solution, tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    modes = [(tmp_path / name).stat().st_mode for name in ("run.h5", "ordinary")]
    assert modes[0] == modes[1]


def test_a_problem_that_cannot_be_rebuilt_is_refused(solution, path):
    class Half(Bernoulli):
        name = "half"

    old = path.read_bytes()
    with pytest.raises(ValueError, match=r"problem cannot be saved.*half"):
        save(replace(solution, problem=Problem(0.5, signal=Half())), path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["run.h5"]


def test_save_wants_a_solution(ensemble, solution, tmp_path):
    with pytest.raises(TypeError, match=r"solution must be a dmft\.Solution; got Ensemble"):
        save(ensemble, tmp_path / "run.h5")
    with pytest.raises(TypeError, match=r"ensemble must be a dmft\.Ensemble; got Solution"):
        save_ensemble(solution, tmp_path / "run.h5")


# --- require_writable ----------------------------------------------------------------------


def test_writable_target_is_left_alone(tmp_path):
    assert require_writable(tmp_path / "new.h5") == tmp_path.resolve() / "new.h5"
    assert os.listdir(tmp_path) == []
    (tmp_path / "old.h5").write_text("old")
    require_writable(str(tmp_path / "old.h5"))
    assert (tmp_path / "old.h5").read_text() == "old"


def test_unwritable_targets(solution, tmp_path):
    (tmp_path / "file").touch()
    cases = [
        (tmp_path / "none" / "run.h5", FileNotFoundError, "none"),
        (tmp_path, IsADirectoryError, "is a directory"),
        (tmp_path / "file" / "run.h5", NotADirectoryError, "file"),
    ]
    for target, error, text in cases:
        for action in (require_writable, lambda target: save(solution, target)):
            with pytest.raises(error, match=text):
                action(target)
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(TypeError):
        require_writable(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_target(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular file"):
        require_writable(tmp_path / "pipe")


def test_unwritable_directory(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(PermissionError, match=f"{tmp_path.name}: Permission denied"):
        require_writable(tmp_path / "run.h5")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_permissions_are_respected(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="locked"):
        require_writable(tmp_path / "locked" / "run.h5")
    (tmp_path / "run.h5").touch(mode=0o400)
    with pytest.raises(PermissionError, match="read-only"):
        require_writable(tmp_path / "run.h5")


# --- files that cannot be read -------------------------------------------------------------


def assert_refused(path, text=""):
    for read in (load, load_ensemble):
        with pytest.raises(ValueError, match=f"{path.name} is not a readable dmft.*{text}"):
            read(path)


def test_missing_file_and_directory(tmp_path):
    for read in (load, load_ensemble):
        with pytest.raises(FileNotFoundError, match=r"none\.h5"):
            read(tmp_path / "none.h5")
        with pytest.raises(OSError, match=tmp_path.name):
            read(tmp_path)


def test_truncated_file(path):
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 100, *range(512, len(whole), 1999), len(whole) - 1]:
        path.write_bytes(whole[:size])
        assert_refused(path)


def test_foreign_files(tmp_path, path):
    other = tmp_path / "other.h5"
    other.write_text("alpha = 1.0\n")
    assert_refused(other)
    with h5py.File(other, "w") as file:
        file["t"] = np.arange(3.0)
    assert_refused(other, "not written by dmft")
    with h5py.File(other, "w") as file:
        file.attrs.update(format="dmft.Solution", schema_version="latest")
    assert_refused(other, "not written by dmft")


def test_newer_schema(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = hdf5.SCHEMA_VERSION + 1
    assert_refused(path, "schema version 2.* reads up to 1")


@pytest.mark.parametrize("name", ["t", "C_r", "error_of_R_r", "solver", "solver/A", "stats"])
def test_incomplete_file(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    assert_refused(path)


def test_damaged_configuration(path):
    with h5py.File(path, "r+") as file:
        settings = json.loads(file.attrs["configuration"])
        settings["problem"]["delta"] = -1.0
        file.attrs["configuration"] = json.dumps(settings)
    with pytest.raises(ValueError, match=r"run\.h5 .*delta"):
        load(path)


# --- old files -----------------------------------------------------------------------------


def test_file_of_schema_1(tmp_path):
    old = load(SCHEMA_1)
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
    again = evaluate(old.problem, old.grid, old.averages, old.t)
    for name, value in old.values.items():
        np.testing.assert_allclose(again[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
    shutil.copy(SCHEMA_1, tmp_path / "old.h5")
    save(old, tmp_path / "old.h5")
    assert load(tmp_path / "old.h5") == old


# --- ensembles -----------------------------------------------------------------------------


def test_ensemble_round_trip(ensemble, tmp_path):
    save_ensemble(ensemble, tmp_path / "runs.h5")
    loaded = load_ensemble(tmp_path / "runs.h5")
    for name in ("problem", "dimension", "samples", "design", "seed", "seeds"):
        assert getattr(loaded, name) == getattr(ensemble, name)
    assert loaded.t.tobytes() == ensemble.t.tobytes()
    for one, other in ((loaded.runs, ensemble.runs), (loaded.stats, ensemble.stats)):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name].dtype == value.dtype
            np.testing.assert_array_equal(one[name], value)


def test_ensemble_in_xarray(ensemble, tmp_path):
    save_ensemble(ensemble, tmp_path / "runs.h5")
    assert_described(tmp_path / "runs.h5")
    with xarray.open_dataset(tmp_path / "runs.h5", engine="h5netcdf") as data:
        assert dict(data.sizes) == {"t": 4, "s": 4, "seed_index": 3}
        assert data["test_error"].dims == data["standard_error_of_test_error"].dims == ("t",)
        assert data["C_w"].dims == ("t", "s")
        assert data["runs_of_test_error"].dims == ("seed_index", "t")
        assert data["runs_of_C_w"].dims == ("seed_index", "t", "s")
        raw = data["runs_of_test_error"]
        np.testing.assert_allclose(raw.mean("seed_index"), data["test_error"])
        standard = raw.std("seed_index", ddof=1) / np.sqrt(3)
        np.testing.assert_allclose(standard, data["standard_error_of_test_error"])
    with xarray.open_dataset(tmp_path / "runs.h5", engine="h5netcdf", group="stats") as data:
        assert data["wall_time"].dims == ("seed_index",)
        assert data["wall_time"].attrs["units"] == "s"


def test_ensemble_with_a_large_seed_and_without_two_time_functions(ensemble, tmp_path):
    runs = {"test_error": ensemble.runs["test_error"][:1]}
    stats = {name: value[:1] for name, value in ensemble.stats.items()}
    save_ensemble(replace(ensemble, seed=2**120 + 1, runs=runs, stats=stats), tmp_path / "one.h5")
    loaded = load_ensemble(tmp_path / "one.h5")
    assert loaded.seed == 2**120 + 1
    assert loaded.runs.keys() == {"test_error"}
    assert np.all(np.isinf(loaded.standard_error("test_error")))


def test_solutions_and_ensembles_are_told_apart(ensemble, tmp_path, path):
    save_ensemble(ensemble, tmp_path / "runs.h5")
    with pytest.raises(ValueError, match=r"runs\.h5 .*holds a dmft\.Ensemble"):
        load(tmp_path / "runs.h5")
    with pytest.raises(ValueError, match=r"run\.h5 .*holds a dmft\.Solution"):
        load_ensemble(path)
