"""The folder of a sweep: a description, and one file a point named by the hash of what was asked.

    sweep.json              the problem, the axes and the options, as the last run gave them
    points/<hash>.h5        a `SweepPoint`; whole or not there at all

Nothing is locked: whoever computes a point puts the same file in place.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dmft import __version__
from dmft.storage import put_file, remove_abandoned, replace_file, require_writable, write
from dmft.sweeps.point import DONE, SweepPoint, Task

DESCRIPTION = "sweep.json"


@dataclass(frozen=True)
class Folder:
    """Where the points of a sweep are kept.

    Parameters
    ----------
    path : Path
    """

    path: Path

    @property
    def points(self) -> Path:
        """The folder of the points' files."""
        return self.path / "points"

    def create(self) -> None:
        """Make the folder if need be, and check that files can be written to it.

        Raises
        ------
        OSError
            If they cannot.
        """
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"out must be a folder; {self.path} is a file")
        self.points.mkdir(parents=True, exist_ok=True)
        require_writable(self.points / "new.h5")
        remove_abandoned(self.points)

    def file(self, key: str) -> Path:
        """Return the file of the point of this key."""
        return self.points / f"{key}.h5"

    def read(self, task: Task) -> SweepPoint | None:
        """Return the point if its file is whole, of this task and of this version of dmft."""
        path = self.file(task.key)
        try:
            point = SweepPoint.load(path)
        except (FileNotFoundError, ValueError):
            return None
        fits = point.configuration == task.configuration and point.version == __version__
        return point if fits else None

    def save(self, task: Task, point: SweepPoint) -> None:
        """Put the file of a point in place.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        # A point that a failure of power damages is computed again: no wait for the disk.
        write(point.kind, point.record(), self.file(task.key), put_file)

    def describe(self, description: dict[str, Any]) -> None:
        """Write the description of the sweep."""
        text = json.dumps(description, indent=1)
        replace_file(self.path / DESCRIPTION, text.encode())

    def description(self) -> dict[str, Any]:
        """Return the description of the sweep.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged.
        """
        path = self.path / DESCRIPTION
        if not path.is_file():
            raise FileNotFoundError(f"{self.path} is not the folder of a sweep: no {DESCRIPTION}")
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None


def finished(point: SweepPoint | None, keep_failed: bool) -> bool:
    """Return whether a point need not be computed any more."""
    return point is not None and (point.status == DONE or keep_failed)


def folder_of(path: str | os.PathLike[str]) -> Folder:
    """Return the folder at `path`, absolute, as workers may run elsewhere."""
    return Folder(Path(path).resolve())
