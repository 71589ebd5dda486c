"""Faults, each produced for real: nothing is lost, nothing half-written, the message is clear."""

import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import dmft
from dmft.sweeps.folder import folder_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and limits of POSIX")

HERE = Path(__file__).parent

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import dmft, stunts
problem = stunts.Stunt(log={log!r}, seconds={seconds})
dmft.sweep(
    problem, height=range(1, {points} + 1), solve={{"t_max": 1.0}}, out={out!r}, workers={workers}
)
print("done")
"""


def script(log, out, *, seconds=0.05, points=20, workers=2):
    text = SCRIPT.format(
        here=str(HERE), log=str(log), out=str(out), seconds=seconds, points=points, workers=workers
    )
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        return subprocess.Popen(
            [sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, own)


def whole(out):
    """The points that are whole; every file is."""
    points = [dmft.load(path) for path in Path(out, "points").glob("*.h5")]
    return {point.configuration["problem"]["height"] for point in points}


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the sweep does not get on"
        time.sleep(0.01)


def test_a_sweep_that_is_killed_goes_on_without_repeating_a_point(stunts, log, tmp_path):
    out = tmp_path / "sweep"
    with script(log, out) as running:
        until(lambda: len(list(out.glob("points/*.h5"))) >= 6)
        running.kill()  # in the middle of two points
    time.sleep(0.3)  # a worker that is in a point finishes it
    finished = whole(out)
    assert 6 <= len(finished) < 20
    dmft.sweep(
        stunts.Stunt(log=str(log), seconds=0.05),
        height=range(1, 21),
        solve={"t_max": 1.0},
        out=out,
        workers=1,
    )
    counts = stunts.counts(log)
    assert whole(out) == set(range(1, 21)) == set(counts)
    assert all(counts[height] == 1 for height in finished)
    assert not list(out.glob("points/.*"))  # no temporary file


def test_ctrl_c_loses_the_points_in_flight_alone(stunts, log, tmp_path):
    out = tmp_path / "sweep"
    with script(log, out, seconds=0.2) as running:
        until(lambda: len(list(out.glob("points/*.h5"))) >= 4)
        sent = time.monotonic()
        running.send_signal(signal.SIGINT)
        error = running.communicate()[1]
        assert time.monotonic() - sent < 5.0
    assert running.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    begun, finished = set(stunts.counts(log)), whole(out)
    assert 4 <= len(finished) < 20
    assert len(begun - finished) <= 2
    assert not list(out.glob("points/.*"))


def test_a_worker_that_is_killed_is_replaced_and_its_point_done_again(stunts, log, tmp_path):
    sweep = dmft.sweep(
        stunts.Stunt(log=str(log)),
        height=[1.0, 2.0, 3.0],
        act=["none", "kill once"],
        solve={"t_max": 1.0},
        out=tmp_path / "sweep",
        workers=2,
    )
    assert sweep.count("done") == 6
    assert np.array_equal(sweep["test_error"][:, 1, -1], [1.0, 2.0, 3.0])


def test_a_point_that_kills_every_worker_is_recorded(stunts, log, tmp_path):
    sweep = dmft.sweep(
        stunts.Stunt(log=str(log)),
        **{"act": ["kill", "none"]},
        height=[1.0, 2.0],
        solve={"t_max": 1.0},
        out=tmp_path / "sweep",
        workers=2,
    )
    assert sweep["status"].tolist() == [["failed", "failed"], ["done", "done"]]
    assert "3 workers died of this point" in sweep.failures[0]["message"]
    assert "signal 9: maybe it took too much memory" in sweep.failures[0]["message"]
    assert stunts.counts(log) == {1.0: 4, 2.0: 4}


def test_two_processes_share_a_folder(stunts, log, tmp_path):
    out = tmp_path / "sweep"
    both = [script(log, out, workers=1) for _ in range(2)]
    for running in both:
        message, error = running.communicate(timeout=60)
        assert message == "done\n", error
    assert whole(out) == set(range(1, 21))
    # Each process looks for the file first; only a point that both are in is computed twice.
    assert sum(stunts.counts(log).values()) <= 26


def test_a_full_disk_ends_the_sweep_and_keeps_what_is_done(stunts, log, tmp_path):
    problem, out = stunts.Stunt(log=str(log)), tmp_path / "sweep"
    options = {"solve": {"t_max": 1.0}, "out": out, "workers": 1}
    dmft.sweep(problem, height=[1.0], **options)
    before = {path: path.read_bytes() for path in out.glob("points/*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python itself has it
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            dmft.sweep(problem, height=[1.0, 2.0], **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert {path: path.read_bytes() for path in out.glob("points/*")} == before
    assert dmft.sweep(problem, height=[1.0, 2.0], **options).count("done") == 2


def test_a_folder_that_cannot_be_written_is_refused_at_once(stunts, log, tmp_path):
    problem = stunts.Stunt(log=str(log))
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(NotADirectoryError, match="out must be a folder"):
        dmft.sweep(problem, height=[1.0], solve={"t_max": 1.0}, out=file)
    # A user may write anywhere as root, but nobody can in /proc.
    with pytest.raises(OSError, match="/proc"):
        dmft.sweep(problem, height=[1.0], solve={"t_max": 1.0}, out="/proc/sweep")
    assert stunts.counts(log) == {}


def test_a_read_only_folder_is_refused_at_once(stunts, log):
    problem = stunts.Stunt(log=str(log))
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        user = os.geteuid()
        if user == 0:  # root may write everywhere, the user nobody may not
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match="Permission denied"):
                dmft.sweep(problem, height=[1.0], solve={"t_max": 1.0}, out=f"{name}/sweep")
        finally:
            os.seteuid(user)
            os.chmod(name, 0o755)
        assert os.listdir(name) == []
    assert stunts.counts(log) == {}


def test_a_folder_without_or_with_a_damaged_description(stunts, log, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not the folder of a sweep: no sweep\.json"):
        dmft.Sweep.open(tmp_path)
    problem = stunts.Stunt(log=str(log))
    sweep = dmft.sweep(problem, height=[1.0, 2.0], solve={"t_max": 1.0}, out=tmp_path, workers=1)
    folder = folder_of(tmp_path)
    keys = folder.description()["points"]
    folder.file(keys[0]).write_bytes(b"\x89HDF")
    assert dmft.Sweep.open(tmp_path)["status"].tolist() == ["missing", "done"]
    assert np.array_equal(dmft.Sweep.open(tmp_path)["test_error"][1], sweep["test_error"][1])
    (tmp_path / "sweep.json").write_text('{"version": ')
    with pytest.raises(ValueError, match=r"sweep\.json is damaged"):
        dmft.Sweep.open(tmp_path)
