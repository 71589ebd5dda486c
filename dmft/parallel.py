"""Independent calls in child processes that start afresh.

The children are plain interpreters that talk to this process through pipes. Unlike those of
`multiprocessing` they do not import the main module, so a script needs no guard and a notebook
works, and nothing is forked. Each holds BLAS to one thread. The terminal's interrupt reaches only
this process, which ends its children.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

SIGKILL = 9  # which a system sends to processes when memory runs out

BLAS_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def processors() -> int:
    """Return the number of processors that this process may use.

    Examples
    --------
    >>> processors() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, which is faster at these sizes and always gives the same bits.

    Only libraries that have been loaded are held; SciPy brings its own.
    """
    with _blas(len(sys.modules)).limit(limits=1, user_api="blas"):
        yield


@lru_cache(maxsize=1)
def _blas(modules: int) -> ThreadpoolController:
    """Return the libraries loaded with this number of modules; looking for them takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class WorkerDied(RuntimeError):
    """A worker process ended before it had answered."""


def unordered_map(
    function: Callable[[Any], Any],
    arguments: Sequence[Any],
    workers: int,
    attempts: int = 1,
    lost: Callable[[WorkerDied], Any] | None = None,
) -> Generator[tuple[int, Any], None, None]:
    """Yield (index, function(arguments[index])) as the calls end, from `workers` processes.

    Parameters
    ----------
    function : callable
        Picklable; importable from a module other than the main one.
    arguments : sequence
        Picklable.
    workers : int
        Number of processes, >= 1.
    attempts : int
        How often a call is made whose process dies; another process replaces it.
    lost : callable, optional
        What stands for the answer of a call whose last process has died too.

    Raises
    ------
    Exception
        What a call raised; the other calls are abandoned.
    WorkerDied
        If a child process dies too often and `lost` is absent.
    """
    children = _Children(workers)

    def call(index: int) -> tuple[int, Any]:
        for attempt in range(attempts):
            try:
                return index, children.ask((function, arguments[index]))
            except WorkerDied as error:
                if attempt < attempts - 1:
                    continue
                if lost is None:
                    raise
                return index, lost(error)
        raise ValueError(f"attempts must be >= 1; got {attempts}")

    threads = ThreadPoolExecutor(workers)
    try:
        pending = {threads.submit(call, index) for index in range(len(arguments))}
        while pending:
            # a wait without limit cannot be interrupted on every platform
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        children.kill()  # a thread that waits for one meets the end of its pipe
        threads.shutdown(wait=True)
        children.collect()


class _Children:
    """Worker processes, each of which does one call at a time; a dead one is replaced."""

    def __init__(self, number: int) -> None:
        """Start the processes."""
        self._lock = threading.Lock()
        self._closed = False
        self._all: list[subprocess.Popen[bytes]] = []
        self._idle: queue.SimpleQueue[subprocess.Popen[bytes]] = queue.SimpleQueue()
        for _ in range(number):
            self._start()

    def ask(self, request: Any) -> Any:
        """Return the answer of the next process that is idle."""
        child = self._idle.get()
        try:
            answer = _ask(child, request)
        except WorkerDied:
            child.kill()
            if not self._start():
                self._idle.put(child)  # so that nobody waits for ever
            raise
        except BaseException:
            self._idle.put(child)
            raise
        self._idle.put(child)
        return answer

    def _start(self) -> bool:
        with self._lock:
            if self._closed:
                return False
            child = _start_child()
            self._all.append(child)
        self._idle.put(child)
        return True

    def kill(self) -> None:
        """End all processes and start no more."""
        with self._lock:
            self._closed = True
        for child in self._all:
            child.kill()

    def collect(self) -> None:
        """Wait for the ends of all processes."""
        for child in self._all:
            child.communicate()


def _start_child() -> subprocess.Popen[bytes]:
    environment = dict(os.environ, **dict.fromkeys(BLAS_THREADS, "1"))
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return subprocess.Popen(
        [sys.executable, "-c", "from dmft.parallel import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )


def _ask(child: subprocess.Popen[bytes], request: Any) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    message = pickle.dumps(request)
    try:
        child.stdin.write(message)
        child.stdin.flush()
        failed, answer = pickle.load(child.stdout)
    except (EOFError, OSError, pickle.UnpicklingError):
        raise WorkerDied(f"a worker process ended unexpectedly{_ending(child)}") from None
    if failed:
        raise answer
    return answer


def _ending(child: subprocess.Popen[bytes]) -> str:
    """Return how a process ended, as far as the system tells."""
    try:
        code = child.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return ""
    if code >= 0:
        return f", with exit code {code}"
    hint = ": maybe it took too much memory" if -code == SIGKILL else ""
    return f", by signal {-code}{hint}"


def serve() -> None:
    """Answer requests on standard input until it ends: the main loop of a child process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not mix with the answers
    while True:
        try:
            function, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            message = pickle.dumps((False, function(argument)))
        except Exception as error:
            message = pickle.dumps((True, error))
        try:
            answers.write(message)
            answers.flush()
        except OSError:  # nobody waits any more
            return
