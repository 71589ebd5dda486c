"""What the commands share: exit codes, settings and the files that they are to write."""

from __future__ import annotations

import importlib.util
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dmft.cli.options import Settings, merge

DONE, NOT_DONE = 0, 1


def settings_of(arguments: Namespace) -> Settings:
    """Return the settings of each table, from defaults, the file and the command line."""
    return merge(vars(arguments), getattr(arguments, "config", None))


def outcome(success: bool, message: str) -> int:
    """Return the exit code of what was done; say why where it was not."""
    if success:
        return DONE
    print(f"dmft: {message}", file=sys.stderr)
    return NOT_DONE


def target(path: str | None) -> Path | None:
    """Return the file to be written, if there is to be one, checked to be writable."""
    return None if path is None else require_target(path)


def require_target(path: str) -> Path:
    """Return the file to be written, checked to be writable."""
    from dmft.storage import require_writable

    return require_writable(path)


def require_picture(path: str) -> Path:
    """Return the picture to be written, checked to be possible."""
    from dmft.figures.axes import FORMATS

    if importlib.util.find_spec("matplotlib") is None:
        raise ModuleNotFoundError("pictures need matplotlib: pip install 'dmft[plot]'")
    if Path(path).suffix.lower() not in FORMATS:
        raise ValueError(
            f"the picture must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}; got {path!r}"
        )
    return require_target(path)


def theory_and_simulation(paths: Sequence[str]) -> tuple[Any, Any]:
    """Return the solution and the ensemble that one or two files hold, None for what is missing."""
    from dmft.storage import load
    from dmft.trajectory import Trajectory

    found: dict[bool, Any] = {}
    for path in paths:
        result = load(path)
        if not isinstance(result, Trajectory):
            raise ValueError(f"{path} holds a {result.kind}, no solution or simulation")
        if result.simulated in found or len(paths) > 2:
            raise ValueError(
                "files must be a solution, an ensemble of simulations, or one of each; got "
                f"{', '.join(paths)}"
            )
        found[result.simulated] = result
    return found.get(False), found.get(True)


def sweep_in(paths: Sequence[str]) -> Any:
    """Return the sweep in a file or a folder, or None where these are other files."""
    from dmft.storage import load
    from dmft.sweeps.collect import Sweep

    if len(paths) != 1:
        return None
    if Path(paths[0]).is_dir():
        return Sweep.open(paths[0])
    result = load(paths[0])
    return result if result.kind == Sweep.kind else None
