"""The Dask engine, with a scheduler and workers that are processes of their own."""

import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

import dmft

pytest.importorskip("distributed", reason="needs dask.distributed: pip install 'dmft[dask]'")

HERE = Path(__file__).parent


@contextmanager
def process(*arguments):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(HERE), *sys.path]))
    words = [sys.executable, "-m", *arguments]
    running = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of a scheduler, and its two workers."""
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    where = ("--scheduler-file", str(file), "--no-dashboard")
    local = ("--host", "127.0.0.1")
    with ExitStack() as stack:
        start = stack.enter_context
        start(process("distributed.cli.dask_scheduler", "--port", "0", *local, *where))
        worker = ("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *where)
        workers = [start(process(*worker)) for _ in range(2)]
        end = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < end, "the scheduler does not start"
            time.sleep(0.05)
        import distributed

        with distributed.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2, timeout=60)
            address = client.scheduler.address
        yield address, workers


def test_two_workers_give_the_bits_of_one_process_though_one_is_killed(
    stunts, log, tmp_path, cluster
):
    address, workers = cluster
    problem = dmft.Problem(0.5, lam=0.1, network="linear")
    axes = {"alpha": [0.5, 1.0], "delta": [0.3, 0.6, 1.2]}
    options = {"solve": {"t_max": 1.0, "rtol": 1e-3}}
    there = dmft.sweep(problem, **axes, **options, scheduler=address, out=tmp_path / "a")
    assert there == dmft.sweep(problem, **axes, **options, workers=1, out=tmp_path / "b")
    with pytest.raises(ValueError, match="workers must be absent with a scheduler; got 2"):
        dmft.sweep(problem, **axes, **options, scheduler=address, workers=2)

    heights = [float(k) for k in range(1, 31)]
    slow = stunts.Stunt(log=str(log), seconds=0.1)
    timer = threading.Timer(1.0, workers[0].kill)
    timer.start()
    sweep = dmft.sweep(
        slow, height=heights, solve={"t_max": 1.0}, scheduler=address, out=tmp_path / "c"
    )
    timer.join()
    assert workers[0].poll() is not None or workers[0].wait(5) != 0
    counts = stunts.counts(log)
    assert sweep.count("done") == 30
    assert np.array_equal(sweep["test_error"][:, -1], heights)
    # The point in which the worker died is computed twice, unless it died between two points.
    assert set(counts) == set(heights)
    assert sum(counts.values()) <= 31
    assert len(list((tmp_path / "c" / "points").glob("*"))) == 30


def test_an_address_without_a_scheduler_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("dmft.sweeps.engines.PATIENCE", 0.5)
    with pytest.raises(OSError, match=r"tcp://127\.0\.0\.1:9"):
        dmft.sweep(
            dmft.Problem(0.5),
            alpha=[1.0],
            solve={"t_max": 1.0},
            scheduler="tcp://127.0.0.1:9",
            out=tmp_path,
        )
