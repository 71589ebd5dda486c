"""Does Ctrl-C always end in a KeyboardInterrupt, soon, and with no file half-written?

    python benchmarks/interrupts.py [--count 50] [--rng 0]

Each trial starts a process of its own that loads, compiles, solves, simulates or saves again and
again, sends it SIGINT at a random time, and measures the time until it ends. It must end with
KeyboardInterrupt (the command line: exit code 130 and one line), and a file that it was writing
must be whole.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

CALM = """\
import sys
try:
    {setup}
    print("ready", flush=True)
    while True:
        {work}
except KeyboardInterrupt:
    print("KeyboardInterrupt", flush=True)
"""
PROBLEM = "dmft.Problem(0.5, 1.0, 0.1, 0.1)"
SOLVE = f"dmft.solve({PROBLEM}, 10.0, rtol=1e-3)"
SIMULATE = f"dmft.simulate({PROBLEM}, [0.0, 5.0], dimension=300, seeds=8, workers="
LOOP = ["solve", "--delta", ".5", "--alpha", ".01", "--t-max", "30", "--rtol", "1e-7"]


class Stage(NamedTuple):
    """What is interrupted, code or the command line, and the latest time for it in seconds."""

    name: str
    code: str
    latest: float
    cold: bool = False  # whether nothing is in numba's cache


STAGES = (
    Stage("load", CALM.format(setup="import dmft", work=SOLVE), 2.0),
    Stage("compile", CALM.format(setup="import dmft", work=SOLVE), 12.0, cold=True),
    Stage("solve", CALM.format(setup=f"import dmft; {SOLVE}", work=SOLVE), 1.0),
    Stage("simulate", CALM.format(setup="import dmft", work=f"{SIMULATE}1)"), 2.0),
    Stage("workers", CALM.format(setup="import dmft", work=f"{SIMULATE}2)"), 2.0),
    Stage("save", CALM.format(setup=f"import dmft; s = {SOLVE}", work="s.save('run.h5')"), 0.5),
    Stage("command", "", 2.5),
)


class Outcome(NamedTuple):
    """How one trial ended; `fault` is empty where all is well."""

    stage: str
    delay: float
    seconds: float
    fault: str


def interrupt(stage: Stage, delay: float, patience: float = 60.0) -> Outcome:
    """Interrupt one process after `delay` seconds and say how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        environment = dict(os.environ)
        if stage.cold:
            environment["NUMBA_CACHE_DIR"] = folder
        words = ["-c", stage.code] if stage.code else ["-m", "dmft", *LOOP, "--out", "run.h5"]
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_interrupts,
        )
        assert process.stdout is not None
        if stage.code:
            process.stdout.readline()
        else:
            time.sleep(0.3)  # the interpreter itself has started by then
        time.sleep(delay)
        started = time.perf_counter()
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Outcome(stage.name, delay, patience, "it went on")
        seconds = time.perf_counter() - started
        fault = _fault(stage, process.returncode, out, err) or _half_written(Path(folder))
    return Outcome(stage.name, delay, seconds, fault)


def _heed_interrupts() -> None:
    """Undo that shells let processes in the background ignore Ctrl-C, and their children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _fault(stage: Stage, code: int, out: str, err: str) -> str:
    # Python itself ends by SIGINT, although the exception was caught, where that was raised while
    # exec() ran a text, as dataclasses do on import.
    if stage.code:
        right = (out, err) == ("KeyboardInterrupt\n", "") and code in (0, -signal.SIGINT)
    else:  # which may have said before that it compiles
        right = code == 130 and err.endswith("dmft: interrupted\n") and "Traceback" not in err
    return "" if right else f"exit code, output and errors {(code, out, err)}"


def _half_written(folder: Path) -> str:
    """Say what is wrong with the files that are left, if anything is."""
    import dmft

    others = [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]
    if others:
        return f"left behind: {others}"
    if (folder / "run.h5").exists():
        dmft.load(folder / "run.h5")
    return ""


def trials(count: int, rng: int, stages: Sequence[Stage] = STAGES) -> list[Outcome]:
    """Interrupt `count` processes, the stages by turns, at random times."""
    generator = np.random.default_rng(rng)
    chosen = [stages[k % len(stages)] for k in range(count)]
    return [interrupt(stage, generator.uniform(0.0, stage.latest)) for stage in chosen]


def main() -> int:
    """Run the trials and print a table; return 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rng", type=int, default=0)
    parser.add_argument("--stage", choices=[stage.name for stage in STAGES])
    given = parser.parse_args()
    stages = [stage for stage in STAGES if given.stage in (None, stage.name)]
    outcomes = trials(given.count, given.rng, stages)
    print("stage       trials  KeyboardInterrupts  slowest / s")
    for stage in stages:
        mine = [outcome for outcome in outcomes if outcome.stage == stage.name]
        good = sum(not outcome.fault for outcome in mine)
        slowest = max((outcome.seconds for outcome in mine), default=0.0)
        print(f"{stage.name:<10}  {len(mine):6d}  {good:18d}  {slowest:11.2f}")
    faults = [outcome for outcome in outcomes if outcome.fault]
    for outcome in faults:
        print(f"{outcome.stage} after {outcome.delay:.3f} s: {outcome.fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
