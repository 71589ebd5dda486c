"""Are damaged files noticed? 300 damaged copies of a solution's file, loaded one by one.

    python benchmarks/damaged_files.py [--copies 300] [--seed 0] [--no-verify]

A copy is truncated, has bits flipped, or has a sector of 512 bytes zeroed; which, and where, is
drawn by the seed. Each is loaded in a child process that is replaced if it crashes or takes more
than ten seconds. A load is wrong if it gives a solution that differs from the one that was saved.
With --no-verify the digest is not looked at, which shows what it is for.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import sys
import tempfile
from pathlib import Path

import numpy as np

import dmft

SECTOR = 512
PATIENCE = 10.0  # A load takes 0.05 s; one that takes ten is counted as a hang.
GOOD = {"refused", "right"}


def damaged(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return a kind of damage and a copy that has suffered it."""
    data = bytearray(content)
    kind = ("truncated", "bits flipped", "sector zeroed")[rng.integers(3)]
    if kind == "truncated":
        data = data[: rng.integers(len(data))]
    elif kind == "bits flipped":
        for place in rng.integers(len(data), size=rng.integers(1, 4)):
            data[place] ^= 1 << int(rng.integers(8))
    else:
        start = int(rng.integers(-(-len(data) // SECTOR))) * SECTOR
        end = min(start + SECTOR, len(data))
        data[start:end] = bytes(end - start)
    return kind, bytes(data)


def outcomes(copies: int, seed: int, verify: bool = True) -> collections.Counter[tuple[str, str]]:
    """Return how many copies had which damage and which outcome.

    Outcomes are "refused" (a ValueError), "right" (the damage changed no byte, or none that
    counts), "wrong", "hang" and "crash".
    """
    rng = np.random.default_rng(seed)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole, copy = Path(folder, "whole.h5"), Path(folder, "copy.h5")
        solution = dmft.solve(dmft.Problem(0.5, 1.0, 0.1, 0.1), 2.0, [0.0, 1.0, 2.0], rtol=0.1)
        solution.save(whole)
        content = whole.read_bytes()
        reader = _Reader(whole, copy, verify)
        for _ in range(copies):
            kind, data = damaged(content, rng)
            copy.write_bytes(data)
            counts[kind, reader.outcome()] += 1
        reader.end()
    return counts


class _Reader:
    """A child process that loads the copy whenever it is asked."""

    def __init__(self, whole: Path, copy: Path, verify: bool) -> None:
        self.arguments = (str(whole), str(copy), verify)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *self.arguments), daemon=True)
        self.process.start()
        theirs.close()
        assert self.connection.recv() == "ready"

    def outcome(self) -> str:
        self.connection.send("load")
        try:
            if self.connection.poll(PATIENCE):
                return self.connection.recv()
            outcome = "hang"
        except (EOFError, ConnectionError):
            outcome = "crash"
        self.end()
        self._start()
        return outcome

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _serve(connection, whole: str, copy: str, verify: bool) -> None:
    original = dmft.load(whole)
    connection.send("ready")
    while connection.recv() == "load":
        try:
            loaded = dmft.load(copy, verify=verify)
            connection.send("right" if loaded == original else "wrong")
        except ValueError:
            connection.send("refused")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copies", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-verify", action="store_true")
    options = parser.parse_args()
    counts = outcomes(options.copies, options.seed, verify=not options.no_verify)
    for (kind, outcome), count in sorted(counts.items()):
        print(f"{kind:15} {outcome:10} {count:5}")
    bad = sum(count for (_, outcome), count in counts.items() if outcome not in GOOD)
    print(f"{bad} of {options.copies} damaged copies were not noticed (seed {options.seed})")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
