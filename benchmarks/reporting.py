"""What the benchmarks share: times, Markdown tables and where the results go."""

from __future__ import annotations

import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def parser(description: str, full: str) -> ArgumentParser:
    """Return a parser with the switches of every benchmark."""
    options = ArgumentParser(description=description)
    options.add_argument("--full", action="store_true", help=full)
    options.add_argument("--out", type=Path, default=Path("out"), help="directory (default: out)")
    return options


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError soon after this processor time; no limit where it is infinite."""
    if math.isinf(seconds):
        yield
        return

    expired = False

    def stop(*_: Any) -> None:
        nonlocal expired
        expired = True
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except (TimeoutError, SystemError):  # a compiled function turns the first into the second
        if not expired:
            raise
        raise TimeoutError(f"not finished after {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Return the seconds that a call takes and its result."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def median_time(function: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Return the median time of some calls and the last result."""
    runs = [timed(function) for _ in range(repeats)]
    return statistics.median(seconds for seconds, _ in runs), runs[-1][1]


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; columns that hold numbers only are aligned to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    marks = ["---:" if all(_numeric(row[k]) for row in cells) else "---" for k in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [list(head), marks, *cells])


def _numeric(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def versions() -> str:
    """Return what the numbers were measured with."""
    import numba

    return (
        f"Python {platform.python_version()}, NumPy {np.__version__}, numba {numba.__version__}, "
        f"{platform.machine()}, {os.cpu_count()} processors"
    )


def write(directory: Path, name: str, text: str) -> None:
    """Print the text and write it to directory/name.md."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def peak_memory() -> float:
    """Return the most memory that this process has held so far, in MB."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # not on Linux
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    # the kernel's ru_maxrss of a child begins with what its parent held when it was started
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10


def in_child(module: str, function: str, *arguments: Any, **environment: str) -> Any:
    """Return module.function(*arguments) from a process of its own and its peak memory in MB.

    Arguments and result have to be plain numbers, strings and lists.
    """
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); "
        f"import reporting; from {module} import {function}; "
        f"result = {function}(*json.loads(sys.argv[2])); "
        "print(json.dumps([result, reporting.peak_memory()]))"
    )
    here = str(Path(__file__).parent)
    answer = subprocess.run(
        [sys.executable, "-c", code, here, json.dumps(arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def subplots(columns: int, **options: Any) -> tuple[Any, Any]:
    """Return a figure that needs no display, and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(1, columns, figsize=(4.8 * columns, 4.2), layout="constrained", **options)


def save(figure: Any, directory: Path, name: str) -> None:
    """Write the figure to directory/name.png."""
    import matplotlib.pyplot as plt

    directory.mkdir(parents=True, exist_ok=True)
    figure.savefig(directory / f"{name}.png", dpi=150)
    plt.close(figure)
