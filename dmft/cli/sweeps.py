"""The commands that run a sweep and write a report."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from dmft.cli.common import DONE, NOT_DONE, require_picture, target
from dmft.cli.terminal import Reporter

if TYPE_CHECKING:
    from dmft.sweeps.collect import Sweep

SHOWN = 3  # Failures that are printed; all are in the folder.


def run_sweep(arguments: Namespace) -> int:
    """Run the sweep of a TOML file, or what is left of it."""
    from dmft.sweeps.configuration import read_sweep
    from dmft.sweeps.run import sweep

    problem, asked = read_sweep(arguments.config)
    shard = None if arguments.shard is None else _shard(arguments.shard)
    collect = target(arguments.collect)
    picture = None if arguments.plot is None else require_picture(arguments.plot)
    options: dict[str, Any] = {
        "workers": arguments.workers,
        "scheduler": arguments.scheduler,
        "keep_failed": arguments.keep_failed,
        "shard": shard,
    }
    with Reporter(arguments.progress) as reporter:
        result = sweep(problem, out=arguments.out, progress=reporter.points, **options, **asked)
    print(_outcome(result, arguments.out))
    if collect is not None:
        result.save(collect)
        print(f"wrote {collect}")
    if picture is not None:
        from dmft.figures.axes import save_figure

        save_figure(result.plot(arguments.quantity).figure, picture)
        print(f"wrote {picture}")
    return NOT_DONE if result.failures else DONE


def run_report(arguments: Namespace) -> int:
    """Write one page about files."""
    from dmft.report import write_report

    print(f"wrote {write_report(arguments.files, arguments.out, arguments.title)}")
    return DONE


def _outcome(result: Sweep, out: str) -> str:
    lines = [f"{out}: {result.summary()['points']}"]
    for failure in result.failures[:SHOWN]:
        where = ", ".join(f"{name} = {v}" for name, v in failure.items() if name != "message")
        lines.append(f"  failed at {where}: {failure['message']}")
    if len(result.failures) > SHOWN:
        lines.append(f"  and {len(result.failures) - SHOWN} more")
    return "\n".join(lines)


def _shard(text: str) -> tuple[int, int]:
    """Return (i, n) of a text "i/n"."""
    part, slash, parts = text.partition("/")
    if not slash or not part.isdecimal() or not parts.isdecimal():
        raise ValueError(f"shard must be i/n, such as 3/10; got {text!r}")
    return int(part), int(parts)
