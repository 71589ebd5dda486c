"""A phase diagram of 200 points that is killed half way, twice; every point is computed once.

    python benchmarks/killed_sweeps.py [folder]

1. `dmft sweep` with two processes is killed (-9) in the middle and called again. Files of finished
   points must stay as they were; the second call draws the map.
2. The same on two Dask workers (pip install 'dmft[dask]'), one of which is killed in the middle.
3. The same, one point after the other in this process. All three must be equal to the last bit.

Exits with 1 if anything is not as it should be.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import dmft
from dmft.cli.main import main as command

CONFIG = """
[problem]
lam = 0.1
sigma2 = 0.1
[solve]
t-max = 5
rtol = 0.01
[sweep]
delta = {linspace = [0.2, 2.0, 10]}
alpha = {logspace = [0.1, 1.0, 20]}
"""
POINTS = 200


def stamps(folder: Path) -> dict[str, int]:
    return {f.name: f.stat().st_mtime_ns for f in folder.glob("points/*.h5")}


def wait_for(folder: Path, points: int) -> None:
    while len(stamps(folder)) < points:
        time.sleep(0.02)


def killed_and_resumed(config: Path, folder: Path) -> bool:
    words = ["sweep", str(config), "--out", str(folder), "--workers", "2"]
    with subprocess.Popen([sys.executable, "-m", "dmft", *words]) as running:
        wait_for(folder, POINTS // 2)
        running.send_signal(signal.SIGKILL)
    time.sleep(1.0)  # a worker that is in a point finishes it
    finished = stamps(folder)
    picture = str(folder.parent / "phases.png")
    code = command([*words, "--plot", picture])
    after = stamps(folder)
    kept = all(after[name] == stamp for name, stamp in finished.items())
    print(f"killed after {len(finished)} points; all of them kept: {kept}; now {len(after)}")
    return kept and code == 0 and len(after) == POINTS


def on_dask(config: Path, folder: Path) -> bool:
    file = folder.parent / "scheduler.json"
    where = ["--scheduler-file", str(file), "--no-dashboard"]
    worker = ["distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", *where]
    scheduler = ["distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1", *where]
    with ExitStack() as stack:
        started = []
        for words in (scheduler, worker, worker):
            command = [sys.executable, "-m", *words]
            started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            stack.callback(started[-1].wait)
            stack.callback(started[-1].kill)
            while not file.exists():
                time.sleep(0.05)
        from distributed import Client

        with Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(2)
            address = client.scheduler.address
        words = ["sweep", str(config), "--out", str(folder), "--scheduler", address]
        running = subprocess.Popen([sys.executable, "-m", "dmft", *words])
        wait_for(folder, POINTS // 2)
        started[1].kill()
        before = stamps(folder)
        code = running.wait()
    after = stamps(folder)
    kept = all(after[name] == stamp for name, stamp in before.items())
    print(f"a worker killed after {len(before)} points; all kept: {kept}; now {len(after)}")
    return kept and code == 0 and len(after) == POINTS


def main(folder: Path) -> int:
    config = folder / "phases.toml"
    config.write_text(CONFIG)
    outcomes = [killed_and_resumed(config, folder / "one"), on_dask(config, folder / "dask")]
    outcomes.append(
        command(["sweep", str(config), "--out", str(folder / "serial"), "--workers", "1"]) == 0
    )
    serial = dmft.Sweep.open(folder / "serial")
    for name in ("one", "dask"):
        outcomes.append(dmft.Sweep.open(folder / name) == serial)
        print(f"{name}: equal to the serial sweep to the last bit: {outcomes[-1]}")
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        sys.exit(main(Path(sys.argv[1])))
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(Path(name)))
