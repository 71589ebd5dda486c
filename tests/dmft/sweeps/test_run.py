"""What a sweep computes, keeps and gives back."""

import dataclasses

import numpy as np
import pytest
import xarray

import dmft
from dmft.sweeps import run

PROBLEM = dmft.Problem(0.5, lam=0.1, sigma2=0.1, network="linear")
SOLVE = {"t_max": 2.0, "rtol": 1e-3}


def test_each_point_is_what_solve_and_simulate_give(tmp_path):
    simulate = {"dimension": 30, "seeds": 3, "rng": 7}
    sweep = dmft.sweep(
        PROBLEM,
        **{"solve.rtol": [1e-2, 1e-3]},
        delta=[0.5, 2.0],
        solve={"t_eval": [0.0, 0.5, 2.0]},
        simulate=simulate,
        out=tmp_path / "sweep",
        keep="everything",
        workers=1,
    )
    problem = dmft.Problem(2.0, lam=0.1, sigma2=0.1, network="linear")
    solution = dmft.solve(problem, 2.0, [0.0, 0.5, 2.0], rtol=1e-2)
    ensemble = dmft.simulate(problem, [0.0, 0.5, 2.0], **simulate)
    data = sweep.to_xarray().sel({"solve.rtol": 1e-2, "delta": 2.0})
    for name in ("test_error", "train_error", "mean_w", "norm_w"):
        assert np.array_equal(data[name], solution.values[name])
        assert np.array_equal(data[f"error_of_{name}"], solution.error[name])
    assert np.array_equal(data.simulated_test_error, ensemble.test_error)
    assert np.array_equal(data.error_of_simulated_overlap, ensemble.error["overlap"])
    assert data.success.item()
    assert data["status"].item() == "done"
    assert data.simulated_test_error.dims == ("t",)
    keys = dmft.sweeps.folder.folder_of(tmp_path / "sweep").description()["points"]
    point = dmft.load(tmp_path / "sweep" / "points" / f"{keys[1]}.h5")
    assert point.result("solve") == solution
    assert point.result("simulate") == ensemble
    assert not np.array_equal(data.test_error, sweep["test_error"][0, 0])


def test_a_sweep_is_saved_as_netcdf_and_read_from_its_folder(tmp_path):
    sweep = dmft.sweep(PROBLEM, alpha=[0.5, 1.0], solve=SOLVE, out=tmp_path / "sweep", workers=1)
    sweep.save(tmp_path / "sweep.nc")
    assert dmft.load(tmp_path / "sweep.nc") == sweep == dmft.Sweep.open(tmp_path / "sweep")
    with xarray.open_dataset(tmp_path / "sweep.nc", engine="h5netcdf") as data:
        assert data.test_error.dims == ("alpha", "t")
        assert data.alpha.values.tolist() == [0.5, 1.0]
        assert np.array_equal(data.test_error, sweep["test_error"])


def test_times_that_differ_have_an_index():
    sweep = dmft.sweep(PROBLEM, **{"solve.t_max": [1.0, 2.0]}, solve={"rtol": 0.1}, workers=1)
    assert sweep["t"].shape == (2, 101)
    assert sweep["t"][:, -1].tolist() == [1.0, 2.0]
    steps = dmft.Problem(0.5, network="linear", dynamics=dmft.GradientDescent(0.1))
    sweep = dmft.sweep(steps, **{"dynamics.step": [0.1, 0.2]}, solve={"t_max": 1.0}, workers=1)
    assert sweep["t"].shape == (2, 11)
    assert np.allclose(sweep["t"][1][:6], 0.2 * np.arange(6))
    assert np.all(np.isnan(sweep["t"][1][6:]))


def test_a_restart_computes_what_is_missing_damaged_or_of_another_version(
    stunts, log, tmp_path, monkeypatch
):
    problem = stunts.Stunt(log=str(log))

    def sweep(heights):
        return dmft.sweep(
            problem, height=heights, solve={"t_max": 1.0}, out=tmp_path / "s", workers=1
        )

    first = sweep([1.0, 2.0, 3.0, 4.0])
    assert first.count("done") == 4, first.failures
    files = sorted((tmp_path / "s" / "points").iterdir())
    by_height = {dmft.load(f).configuration["problem"]["height"]: f for f in files}
    by_height[1.0].write_bytes(by_height[1.0].read_bytes()[:-100])
    data = bytearray(by_height[2.0].read_bytes())
    data[len(data) // 2] ^= 1
    by_height[2.0].write_bytes(bytes(data))
    by_height[3.0].write_bytes(by_height[4.0].read_bytes())  # whole, but of another point
    again = sweep([1.0, 2.0, 3.0, 4.0, 5.0])
    assert stunts.counts(log) == {1.0: 2, 2.0: 2, 3.0: 2, 4.0: 1, 5.0: 1}
    assert np.array_equal(again["test_error"][:4], first["test_error"])
    assert np.array_equal(again["test_error"][:, -1], [1, 2, 3, 4, 5])
    for module in ("point", "folder"):
        monkeypatch.setattr(f"dmft.sweeps.{module}.__version__", "next")
    sweep([4.0])
    assert stunts.counts(log)[4.0] == 2


def test_a_point_that_raises_is_recorded_and_tried_again_next_time(stunts, log, tmp_path):
    problem = stunts.Stunt(log=str(log))
    axes = {"height": [1.0, 2.0], "act": ["value", "memory", "none"]}

    def sweep(**options):
        return dmft.sweep(
            problem, **axes, solve={"t_max": 1.0}, out=tmp_path / "s", workers=1, **options
        )

    first = sweep()
    assert (first.count("failed"), first.count("done")) == (4, 2)
    assert first.failures[0] == {
        "height": 1.0,
        "act": "value",
        "message": "solve: ValueError: the height is unlucky",
    }
    assert "MemoryError" in first.failures[1]["message"]
    assert np.all(np.isnan(first["test_error"][:, :2]))
    assert np.array_equal(first["test_error"][:, 2, -1], [1.0, 2.0])
    files = (tmp_path / "s" / "points").iterdir()
    traces = "".join(trace for f in files for _, trace in dmft.load(f).failures.values())
    assert 'raise ValueError("the height is\\nunlucky")' in traces
    assert stunts.counts(log) == {1.0: 3, 2.0: 3}
    assert sweep(keep_failed=True) == first
    assert stunts.counts(log) == {1.0: 3, 2.0: 3}
    assert sweep() == first
    assert stunts.counts(log) == {1.0: 5, 2.0: 5}


def test_shards_share_the_points_and_the_last_one_has_all(stunts, log, tmp_path):
    problem, heights = stunts.Stunt(log=str(log)), [1.0, 2.0, 3.0, 4.0, 5.0]

    def sweep(part):
        return dmft.sweep(
            problem,
            height=heights,
            solve={"t_max": 1.0},
            out=tmp_path / "s",
            workers=1,
            shard=(part, 2),
        )

    first = sweep(1)
    assert first["status"].tolist() == ["done", "missing", "done", "missing", "done"]
    assert sweep(2)["test_error"][:, -1].tolist() == heights
    assert stunts.counts(log) == dict.fromkeys(heights, 1)


def test_progress_counts_points(stunts, log, tmp_path):
    problem, seen = stunts.Stunt(log=str(log)), []
    options = {"solve": {"t_max": 1.0}, "out": tmp_path / "s", "workers": 1}
    dmft.sweep(problem, height=[1.0], **options)
    dmft.sweep(problem, height=[1.0, 2.0, 3.0], progress=seen.append, **options)
    assert [(p.total, p.found, p.done, p.failed) for p in seen] == [(3, 1, 1, 0), (3, 1, 2, 0)]
    assert seen[-1].remaining == 0.0 < seen[0].remaining
    assert run.Progress(9, 1, 0, 0, 0.0).remaining == np.inf


def test_problems_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="problem must be such as"):
        dmft.sweep("problem", alpha=[1.0], solve={"t_max": 1.0})
    with pytest.raises(TypeError, match="solve must be a mapping"):
        dmft.sweep(PROBLEM, alpha=[1.0], solve=3.0)


@pytest.mark.parametrize(
    ("problem", "axis", "direct"),
    [
        (dmft.QuadraticProblem(1.0, kappa=0.5, kappa_star=0.5), {"lam": [0.05, 0.1]}, {"lam": 0.1}),
        (
            dmft.Problem(0.5, dynamics=dmft.SGD(0.1, 0.5)),
            {"dynamics.batch": [0.25, 0.5]},
            {},
        ),
    ],
    ids=["quadratic", "in steps"],
)
def test_points_of_every_model_are_what_the_verb_gives(problem, axis, direct):
    options = {"t_eval": [0.0, 0.2, 0.4], "dimension": 12, "seeds": 2}
    sweep = dmft.sweep(problem, **axis, simulate=options, workers=1)
    last = dataclasses.replace(problem, **direct)
    expected = dmft.simulate(last, workers=1, **options)
    (name, values), *_ = axis.items()
    found = sweep.to_xarray().sel({name: values[-1]})
    assert np.array_equal(found.simulated_train_error, expected.train_error)
