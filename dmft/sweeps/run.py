"""Run a sweep: the loop in view."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dmft import __version__, compilation
from dmft.storage import configuration_of
from dmft.sweeps.axes import TASKS, Layout, changed, lay_out, require_known, split
from dmft.sweeps.collect import Sweep, gathered, labels
from dmft.sweeps.engines import ATTEMPTS, Engine, engine_for
from dmft.sweeps.folder import Folder, finished, folder_of
from dmft.sweeps.point import CURVES, FAILED, KEEP, SweepPoint, Task, compute, option_names, task_of
from dmft.validation import require_integer


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Parameters
    ----------
    total : int
        Points of this run, those that were found whole in the folder included.
    found : int
        Points that were found.
    done, failed : int
        Points that have been computed, and those of them that failed.
    seconds : float
        Time since the first point was begun.
    """

    total: int
    found: int
    done: int
    failed: int
    seconds: float

    @property
    def rate(self) -> float:
        """Points a second; 0 before the first one is done."""
        return self.done / self.seconds if self.done else 0.0

    @property
    def remaining(self) -> float:
        """Seconds that the rest will take at this rate; infinite before the first one is done."""
        left = self.total - self.found - self.done
        return left / self.rate if self.rate > 0 else (0.0 if left == 0 else float("inf"))


@dataclass(frozen=True)
class Order:
    """What a worker receives: a task, and the folder that its file belongs to."""

    folder: Folder
    task: Task
    keep_failed: bool


def sweep(
    problem: Any,
    *,
    solve: Mapping[str, Any] | None = None,
    simulate: Mapping[str, Any] | None = None,
    out: str | os.PathLike[str] | None = None,
    draws: int | None = None,
    rng: int = 0,
    keep: str = CURVES,
    keep_failed: bool = False,
    workers: int | None = None,
    scheduler: Any = None,
    shard: tuple[int, int] | None = None,
    progress: Callable[[Progress], None] | None = None,
    **axes: Any,
) -> Sweep:
    """Solve or simulate a problem over ranges of its fields and of the options.

    Parameters
    ----------
    problem : Problem
        What does not vary; a problem of any model.
    solve, simulate : mapping, optional
        Options of `dmft.solve` and `dmft.simulate`, at least one of the two. Without `t_eval` the
        times are 101 equidistant ones up to `t_max`; simulations take those of the theory.
    out : path-like, optional
        Folder of the points' files. Points that are whole in it are not computed again, so that
        the same call goes on where an earlier one ended. Without it nothing is kept on disk.
    draws : int, optional
        Number of draws of the axes that are distributions.
    rng : int
        Seed of these draws. The seeds of theory and simulation are those of the options, the same
        at each point, so that curves are smooth; vary `simulate.rng` for independent points.
    keep : {"curves", "everything"}
        Whether a point's file holds the functions of one time, or also the whole `Solution` and
        `Ensemble` (`SweepPoint.result`).
    keep_failed : bool
        Whether points that failed in an earlier run stay as they are, or are tried again.
    workers : int, optional
        Processes of this machine; by default as many as it has processors. With one worker the
        points run in this process.
    scheduler : str or distributed.Client, optional
        Dask scheduler, such as "tcp://host:8786", whose workers run the points instead.
    shard : (int, int), optional
        (i, n): run every n-th point from the i-th on, 1 <= i <= n, as one job of an array does.
    progress : callable, optional
        Receives a `Progress` after each point.
    **axes
        Values by the name of a field ("alpha", "network"), of a field's field
        (**{"signal.density": [0.1, 0.3]}) or of an option (**{"solve.rtol": [1e-3, 1e-4]}): lists
        and arrays, such as `dmft.logspace(0.01, 1, 20)`, span a grid; distributions of
        `scipy.stats` are drawn from.

    Returns
    -------
    Sweep
        All that is in the folder for these points. What failed is in it with its message.

    Raises
    ------
    ValueError, TypeError
        If a name is unknown or a value out of its range; before anything is computed.
    OSError
        If a file cannot be written. What is done stays, and the same call goes on.

    Notes
    -----
    Ctrl-C ends the workers and propagates; the points in flight are lost, no others.

    Examples
    --------
    >>> import dmft
    >>> sweep = dmft.sweep(
    ...     dmft.Problem(0.5, network="linear"),
    ...     lam=dmft.logspace(0.01, 1.0, 2),
    ...     delta=[0.5, 2.0],
    ...     solve={"t_max": 1.0, "rtol": 0.01},
    ... )
    >>> sweep.to_xarray().test_error.dims
    ('lam', 'delta', 't')
    """
    if keep not in KEEP:
        raise ValueError(f"keep must be one of {', '.join(KEEP)}; got {keep!r}")
    layout, tasks = _tasks(problem, solve, simulate, keep, axes, draws, rng)
    chosen = _of_shard(len(tasks), shard)
    description = {
        "version": __version__,
        "problem": configuration_of("problem", problem),
        **{name: getattr(tasks[0], name) for name in TASKS},
        "dimensions": layout.dimensions,
        "axes": {
            name: {"dimension": dimension, "values": labels(values)}
            for name, (dimension, values) in layout.axes.items()
        },
    }
    with _folder(out) as folder:
        folder.describe(description | {"points": [task.key for task in tasks]})
        points = [folder.read(task) for task in tasks]
        waiting = [k for k in chosen if not finished(points[k], keep_failed)]
        # In an order of their own: time left can be told from the first ones, and processes that
        # share a folder rarely compute the same point.
        random.shuffle(waiting)
        orders = [Order(folder, tasks[k], keep_failed) for k in waiting]
        if orders:
            engine = engine_for(workers, scheduler, _importable(problem, tasks))
            _compile(tasks)
            for index, point in _run(engine, orders, len(chosen), progress):
                points[waiting[index]] = point
    return gathered(description, points)


def _run(
    engine: Engine,
    orders: list[Order],
    total: int,
    progress: Callable[[Progress], None] | None,
) -> Iterator[tuple[int, SweepPoint]]:
    """Yield each point as it ends, its file in place."""
    started, failed = time.perf_counter(), 0
    with contextlib.closing(engine(run_order, orders, lambda error: error)) as outcomes:
        for done, (index, outcome) in enumerate(outcomes, 1):
            order = orders[index]
            point = outcome if isinstance(outcome, SweepPoint) else _lost(order.task, outcome)
            if not order.folder.file(order.task.key).exists():
                order.folder.save(order.task, point)
            failed += point.status == FAILED
            if progress is not None:
                seconds = time.perf_counter() - started
                progress(Progress(total, total - len(orders), done, failed, seconds))
            yield index, point


def run_order(order: Order) -> SweepPoint:
    """Compute a point and put its file in place, unless another process has done so."""
    found = order.folder.read(order.task)
    if found is not None and finished(found, order.keep_failed):
        return found
    point = compute(order.task)
    order.folder.save(order.task, point)
    return point


def _lost(task: Task, error: Exception) -> SweepPoint:
    """Return what stands for a point that no worker survived."""
    message = f"{ATTEMPTS} workers died of this point: {error}"
    return SweepPoint(task.configuration, failures={"worker": (message, "")})


# --- what is asked -----------------------------------------------------------------------------


def _tasks(
    problem: Any,
    solve: Mapping[str, Any] | None,
    simulate: Mapping[str, Any] | None,
    keep: str,
    axes: Mapping[str, Any],
    draws: int | None,
    rng: int,
) -> tuple[Layout, list[Task]]:
    """Return the layout of a sweep and the task of each point, all checked."""
    if not dataclasses.is_dataclass(problem) or isinstance(problem, type):
        raise TypeError(f"problem must be such as a dmft.Problem; got {problem!r}")
    options = {"solve": solve, "simulate": simulate}
    for name, given in options.items():
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(f"{name} must be a mapping of options; got {given!r}")
    if all(given is None for given in options.values()):
        raise ValueError('a sweep needs solve or simulate, such as solve={"t_max": 10.0}')
    if not axes:
        raise ValueError("a sweep needs an axis, such as alpha=[0.1, 1.0]")
    for name in axes:
        task, _, option = name.partition(".")
        if task in TASKS and options[task] is None:
            raise ValueError(f"{name} needs {task}={{...}}")
        if task in TASKS:
            require_known(task, [option], option_names(task, problem))
    layout = lay_out(axes, draws, rng)
    tasks = []
    for assignment in layout:
        fields, own = split(assignment.values)
        try:
            merged = {
                n: given if given is None else {**given, **own[n]} for n, given in options.items()
            }
            tasks.append(task_of(changed(problem, fields), **merged, keep=keep))
        except (ValueError, TypeError) as error:
            raise type(error)(f"{error} (at {_told(assignment.values)})") from None
    if len({task.key for task in tasks}) < len(tasks):
        raise ValueError(f"all points must differ; two of {', '.join(axes)} are the same")
    return layout, tasks


def _told(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())


def _of_shard(size: int, shard: tuple[int, int] | None) -> range:
    """Return the points of a shard."""
    if shard is None:
        return range(size)
    part, parts = shard
    require_integer("shard's n", parts, low=1)
    if require_integer("shard's i", part, low=1) > parts:
        raise ValueError(f"shard must be (i, n) with 1 <= i <= n; got {shard!r}")
    return range(part - 1, size, parts)


@contextlib.contextmanager
def _folder(out: str | os.PathLike[str] | None) -> Iterator[Folder]:
    """Give the folder of the points, a temporary one where none is asked for."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="dmft-sweep-") as path:
            folder = folder_of(path)
            folder.create()
            yield folder
        return
    folder = folder_of(out)
    folder.create()
    yield folder


def _importable(problem: Any, tasks: list[Task]) -> bool:
    """Return whether another process can import the classes of all problems."""
    parts = [problem, *(v for task in tasks for v in vars(task.problem).values())]
    return "__main__" not in {type(part).__module__ for part in parts}


def _compile(tasks: list[Task]) -> None:
    """Compile what the points need once, before there are workers that would each do so."""
    for task in tasks:
        dynamics = getattr(task.problem, "dynamics", None)
        if dynamics is None:
            continue
        if task.solve is not None:
            compilation.load(compilation.STEPS if dynamics.in_steps else compilation.FLOW)
        if task.simulate is not None and not dynamics.in_steps:
            compilation.load(compilation.SIMULATION)
