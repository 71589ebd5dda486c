"""What every result can do: round trips, equality, export, kinds."""

import os
from dataclasses import dataclass, replace

import h5py
import numpy as np
import pytest
import xarray

from dmft.networks.deep import Deep
from dmft.networks.diagonal import Diagonal
from dmft.networks.linear import Linear
from dmft.networks.product import Product
from dmft.problem import Problem
from dmft.signals import Bernoulli, BernoulliGaussian, Discrete, Empirical, Gaussian
from dmft.simulation.ensemble import Ensemble, load_ensemble, save_ensemble
from dmft.solution import Solution
from dmft.storage import Group, Record, Result, Variable, load

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
        assert load(path, verify=False) != solution, name
        with h5py.File(path, "r+") as file:
            file[name][...] = old
        assert load(path, verify=False) == solution, name


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
        {"message": "", "stats": {"rule": "", "settled": True}},
        {"seed": np.int64(4), "rtol": np.float64(0.1)},
        {"stats": {"error": {"time": 1e-3, "law": {"atoms": np.arange(3)}}, "none": {}}},
        {"stats": {"sweeps": np.int64(3), "spacing": np.inf, "residual_history": np.array([1.0])}},
    ],
)
def test_every_problem_and_outcome_survives(solution, tmp_path, changes):
    changed = replace(solution, **changes)
    changed.save(tmp_path / "run.h5")
    loaded = load(tmp_path / "run.h5")
    assert loaded == changed
    assert loaded != solution
    assert type(loaded.problem.network) is type(changed.problem.network)


def test_infinities_and_nans_survive(solution, tmp_path):
    error = solution.error | {"C_w": np.full((3, 3), np.nan), "overlap": np.full(3, np.inf)}
    stats = solution.stats | {"residual_history": np.array([1.0, np.nan, np.inf])}
    changed = replace(solution, error=error, stats=stats)
    changed.save(tmp_path / "run.h5")
    assert load(tmp_path / "run.h5") == changed


def test_wall_time_does_not_count(solution):
    for name in ("wall_time", "compile_time"):
        assert replace(solution, stats=solution.stats | {name: 1e9}) == solution
    for name in ("sweeps", "error_from_time"):  # the latter is no time
        assert replace(solution, stats=solution.stats | {name: 0.123}) != solution
    assert replace(solution, message="") != solution
    assert solution != "solution"


def test_a_problem_that_cannot_be_rebuilt_is_refused(solution, path):
    class Half(Bernoulli):
        name = "half"

    old = path.read_bytes()
    with pytest.raises(ValueError, match=r"problem cannot be saved.*half"):
        replace(solution, problem=Problem(0.5, signal=Half())).save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["run.h5"]


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


def test_load_returns_what_is_in_the_file(solution, ensemble, tmp_path, path):
    ensemble.save(tmp_path / "runs.h5")
    assert load(tmp_path / "runs.h5") == ensemble
    assert load(path) == solution
    with pytest.raises(ValueError, match=r"runs\.h5 is not a file of a dmft\.Solution.*Ensemble"):
        Solution.load(tmp_path / "runs.h5")
    with pytest.raises(ValueError, match=r"run\.h5 is not a file of a dmft\.Ensemble.*Solution"):
        load_ensemble(path)
    with pytest.raises(TypeError, match=r"ensemble must be a dmft\.Ensemble; got Solution"):
        save_ensemble(solution, tmp_path / "run.h5")


# --- export --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["solution", "ensemble"])
def test_to_xarray_is_what_xarray_reads_from_the_file(request, tmp_path, name):
    result = request.getfixturevalue(name)
    result.save(tmp_path / "file.h5")
    with xarray.open_dataset(tmp_path / "file.h5", engine="h5netcdf") as data:
        xarray.testing.assert_equal(result.to_xarray(), data)
        for variable in data.variables:
            assert result.to_xarray()[variable].attrs == data[variable].attrs, variable


def test_to_dataframe(solution, ensemble):
    frame = solution.to_dataframe()
    assert frame.index.name == "t"
    assert frame.loc[0.7, "train_error"] == solution.train_error[1]
    assert frame.loc[2.0, "error_of_overlap"] == solution.error["overlap"][2]
    assert "C_w" not in frame
    pairs = solution.to_dataframe("R_w", "C_r")
    assert list(pairs.columns) == ["R_w", "C_r"]
    assert pairs.loc[(2.0, 0.7), "R_w"] == solution.R_w[2, 1] != solution.R_w[1, 2]
    runs = ensemble.to_dataframe("runs_of_test_error")
    assert runs.loc[(2, 3.0), "runs_of_test_error"] == ensemble.runs["test_error"][2, 2]
    with pytest.raises(ValueError, match=r"names must be among.*'C_x'"):
        solution.to_dataframe("C_x")
    with pytest.raises(ValueError, match=r"same dimensions; C_w has .* and overlap has"):
        solution.to_dataframe("C_w", "overlap")


# --- another kind of result ------------------------------------------------------------------


@dataclass(frozen=True, eq=False, repr=False)
class Fall(Result):
    """A result type of which the storage knows nothing."""

    t: np.ndarray
    heights: np.ndarray
    labels: np.ndarray
    spin: bool

    def record(self):
        variables = {
            "t": Variable(("t",), self.t, "time", "s"),
            "heights": Variable(("ball", "t"), self.heights, "height of each ball", "m"),
            "labels": Variable(("ball",), self.labels, "name of each ball"),
            "energy": Variable((), np.array(2.5), "energy of all"),
        }
        return Record("Falling balls", {"seed": 2**70}, Group(variables, {"spin": self.spin}))

    @classmethod
    def from_record(cls, record):
        content = record.content
        assert record.configuration == {"seed": 2**70}
        assert content["energy"] == 2.5
        assert content.variables["heights"].units == "m"
        spin = content.attributes["spin"]
        return cls(content["t"], content["heights"], content["labels"], spin)

    def summary(self):
        return {"balls": str(len(self.labels))}


def test_a_result_that_declares_itself_is_stored_compared_and_exported(tmp_path):
    fall = Fall(np.arange(3.0), np.ones((2, 3)), np.array(["a", "ß"]), True)
    fall.save(tmp_path / "fall.h5")
    loaded = load(tmp_path / "fall.h5")
    assert type(loaded) is Fall
    assert loaded == fall
    assert loaded.spin is True
    assert loaded != replace(fall, labels=np.array(["a", "b"]))
    assert loaded.labels.tolist() == ["a", "ß"]
    assert not loaded.heights.flags.writeable
    with xarray.open_dataset(tmp_path / "fall.h5", engine="h5netcdf") as data:
        assert data["heights"].dims == ("ball", "t")
        assert data["ball"].values.tolist() == [0, 1]
        assert data["labels"].values.tolist() == ["a", "ß"]
    assert fall.to_dataframe().loc[(1, 2.0), "heights"] == 1.0
    with pytest.raises(ValueError, match="it holds Fall"):
        Ensemble.load(tmp_path / "fall.h5")


def test_a_wrong_declaration_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dimensions must name the 2 axes"):
        Variable(("t",), np.ones((2, 2)), "matrix")
    fall = Fall(np.arange(3.0), np.ones((2, 4)), np.array(["a", "b"]), False)
    with pytest.raises(ValueError, match="'heights' must have length 3 along 't'; got 4"):
        fall.save(tmp_path / "fall.h5")
    with pytest.raises(TypeError):
        replace(fall, heights=np.ones((2, 3)), spin=object()).save(tmp_path / "fall.h5")
    assert os.listdir(tmp_path) == []
