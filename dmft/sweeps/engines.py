"""Engines: what runs the points of a sweep.

An engine is called with a function and the points' arguments and yields (index, outcome) as the
points end, in any order. A point whose worker dies is done again by another one, up to `ATTEMPTS`
times in all; then `lost` gives its outcome. What the function raises ends the sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, Protocol

from dmft import parallel
from dmft.validation import require_integer

# A worker may die by chance once and twice, as when a machine goes away; a point that takes three
# workers with it would take a fourth.
ATTEMPTS = 3

# Seconds in which a scheduler answers: it is running already, on the same network.
PATIENCE = 10.0

Outcomes = Generator[tuple[int, Any], None, None]
Lost = Callable[[Exception], Any]


class Engine(Protocol):
    """What a sweep asks of an engine."""

    workers: int

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any], lost: Lost
    ) -> Outcomes:
        """Yield (index, function(items[index])) as the points end."""


class InThisProcess:
    """One point after the other, here."""

    workers = 1

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any], lost: Lost
    ) -> Outcomes:
        """Yield (index, function(items[index])) in order; nobody is lost."""
        for index, item in enumerate(items):
            yield index, function(item)


class Processes:
    """Processes of this machine, each of one thread."""

    def __init__(self, workers: int | None = None) -> None:
        """Take as many workers as there are processors, or as are given."""
        given = parallel.processors() if workers is None else workers
        self.workers = require_integer("workers", given, low=1)

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any], lost: Lost
    ) -> Outcomes:
        """Yield (index, function(items[index])) as the points end."""
        workers = min(self.workers, len(items))
        calls = parallel.unordered_map(function, items, workers, ATTEMPTS, lost)
        with closing(calls):
            yield from calls


class Dask:
    """The workers of a Dask cluster, which must see the sweep's folder and have one thread each.

    Parameters
    ----------
    scheduler : str or distributed.Client
        Address such as "tcp://host:8786", or a client.

    Raises
    ------
    ImportError
        If dask.distributed is not installed.
    OSError
        If there is no scheduler at the address.
    ValueError
        If a worker has more than one thread, in which points would get in each other's way.
    """

    def __init__(self, scheduler: Any) -> None:
        """Connect to the scheduler."""
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError("a scheduler needs Dask: pip install 'dmft[dask]'") from error
        self._own = not isinstance(scheduler, Client)
        self._client = Client(scheduler, timeout=PATIENCE) if self._own else scheduler
        threads = self._client.nthreads()
        self.workers = len(threads)
        if max(threads.values(), default=1) > 1:
            self._close()
            raise ValueError(
                "the workers of the scheduler must have one thread each: start them with "
                f"--nthreads 1; got {max(threads.values())}"
            )

    def _close(self) -> None:
        if self._own:
            self._client.close()

    def __call__(
        self, function: Callable[[Any], Any], items: Sequence[Any], lost: Lost
    ) -> Outcomes:
        """Yield (index, function(items[index])) as the points end."""
        from distributed import KilledWorker, as_completed

        client = self._client
        client.run_on_scheduler(_allow_failures)
        futures = client.map(function, items, pure=False)
        place = {future.key: index for index, future in enumerate(futures)}
        try:
            for future in as_completed(futures, raise_errors=False):
                index = place[future.key]
                if future.status == "error":
                    error = future.exception()
                    if not isinstance(error, KilledWorker):
                        raise error
                    yield index, lost(error)
                else:
                    yield index, future.result()
        finally:
            client.cancel(futures)
            self._close()


def _allow_failures(dask_scheduler: Any) -> None:
    """Let points be done again whose worker died; Dask's own bound may be lower."""
    dask_scheduler.allowed_failures = max(dask_scheduler.allowed_failures, ATTEMPTS - 1)


def engine_for(workers: int | None, scheduler: Any, importable: bool) -> Engine:
    """Return the engine for some arguments of a sweep.

    Parameters
    ----------
    workers : int, optional
        Number of processes.
    scheduler : str or distributed.Client, optional
    importable : bool
        Whether another process can import the classes of the problems.

    Raises
    ------
    ValueError
        If both are given, or `workers` is out of its range.
    """
    if scheduler is not None:
        if workers is not None:
            raise ValueError(f"workers must be absent with a scheduler; got {workers!r}")
        return Dask(scheduler)
    engine = Processes(workers)
    return engine if importable and engine.workers > 1 else InThisProcess()
