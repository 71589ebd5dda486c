"""What a sweep costs beyond its points, and what a second processor gains.

    python benchmarks/sweeps.py [points]

All in one run: the same points of a phase diagram over (delta, alpha) by one worker and by two,
each into a new folder, then once more from the folder, where nothing is left to compute. The
overhead is the time of one worker that is not spent in the points. With other work on the machine
the gain of two workers is that of what the system leaves them, not of two processors; the load is
printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dmft

T_MAX, RTOL = 40.0, 1e-4  # a point takes one or two tenths of a second


def timed(folder: Path, points: int, workers: int) -> tuple[float, Any]:
    side = max(2, round(points**0.5))
    started = time.perf_counter()
    sweep = dmft.sweep(
        dmft.Problem(0.5, lam=0.1, sigma2=0.1),
        delta=dmft.linspace(0.2, 2.0, points // side),
        alpha=dmft.logspace(0.1, 1.0, side),
        solve={"t_max": T_MAX, "rtol": RTOL},
        out=folder,
        workers=workers,
    )
    return time.perf_counter() - started, sweep


def main(points: int = 200) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        timed(folder / "warm", 4, 1)  # compiled functions are in memory, as in any later call
        load = os.getloadavg()[0]
        one, alone = timed(folder / "one", points, 1)
        two, shared = timed(folder / "two", points, 2)
        again, _ = timed(folder / "one", points, 1)
        count = alone["status"].size
        inside = float(alone["wall_time"].sum())
        size = sum(f.stat().st_size for f in (folder / "one").rglob("*.h5")) / count
    same = "equal to the last bit" if alone == shared else "DIFFERENT"
    print(f"{count} points, load of the machine before: {load:.1f}")
    print(f"one worker        {one:8.2f} s  {count / one:6.2f} points a second")
    print(f"two workers       {two:8.2f} s  {count / two:6.2f} points a second, {same}")
    print(f"gain of two       {one / two:8.2f}")
    print(f"overhead          {1e3 * (one - inside) / count:8.2f} ms a point ({size / 1e3:.0f} kB)")
    print(f"found again       {1e3 * again / count:8.2f} ms a point")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
