"""Files that appear whole or not at all: the one way in which anything is written.

The content is complete in memory before a file is touched. It is written beside its target, brought
to disk, and moved onto the target in one step: whenever a process dies or a disk is full, the
target is the old file or the whole new one. The temporary file's name tells machine and process;
a later write in the same folder removes those whose process is gone.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import re
import tempfile
import time
import uuid
from functools import cache
from pathlib import Path

import numpy as np

StrPath = str | os.PathLike[str]

# The process of another machine cannot be asked whether it lives. A write takes seconds, so that a
# temporary file of a day's age has no writer, even if the clocks of two machines differ by hours.
ABANDONED_AFTER = 86400.0

TEMPORARY = re.compile(r"\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}\.dmft\.tmp")


def replace_file(path: StrPath, content: bytes | memoryview) -> Path:
    """Write `content` to a file, which at all times holds its old content or the new one.

    Parameters
    ----------
    path : path-like
        Target; symbolic links are followed.
    content : bytes
        The whole file.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    OSError
        If it cannot be written, see `require_writable`; or the disk is full, in which case the old
        file stays and nothing else is left behind.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     replace_file(Path(folder, "text"), b"some bytes").read_bytes()
    b'some bytes'
    """
    target = require_writable(path)
    remove_abandoned(target.parent)
    return _put(target, content, lasting=True)


def put_file(path: StrPath, content: bytes | memoryview) -> Path:
    """Write one of many files that are computed again if lost, in a folder that was checked before.

    It appears whole or not at all too, whatever happens to the process. But it is not forced to
    the disk, which takes some milliseconds: after a failure of power it may be found damaged.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left behind.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     put_file(Path(folder, "text"), b"some bytes").read_bytes()
    b'some bytes'
    """
    return _put(Path(path), content, lasting=False)


def _put(target: Path, content: bytes | memoryview, lasting: bool) -> Path:
    name = f".{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.dmft.tmp"
    temporary = target.with_name(name)
    try:
        # unlike those of tempfile, such a file has the user's usual permissions
        with temporary.open("xb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())  # on disk before it replaces the old one
        temporary.replace(target)
    except BaseException:  # an interrupt too leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise
    return target


def write_arrays(path: StrPath, **arrays: np.ndarray) -> Path:
    """Write an .npz file of named arrays by `replace_file`.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.load(write_arrays(Path(folder, "data.npz"), X=np.eye(2)))["X"]
    array([[1., 0.],
           [0., 1.]])
    """
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return replace_file(path, buffer.getvalue())


def remove_abandoned(folder: StrPath) -> int:
    """Remove the temporary files in `folder` whose process has died; return their number.

    Those of other machines are removed once they are a day old. A file that cannot be removed
    stays.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     remove_abandoned(folder)
    0
    """
    removed = 0
    for name in os.listdir(folder):
        match = TEMPORARY.fullmatch(name) if name.endswith(".dmft.tmp") else None
        if match is None:
            continue
        path = Path(folder, name)
        try:
            if match["machine"] == _machine():
                abandoned = not _alive(int(match["process"]))
            else:
                abandoned = time.time() - path.stat().st_mtime > ABANDONED_AFTER
            if abandoned:
                path.unlink()
                removed += 1
        except OSError:  # somebody else removed it, or may do so and we may not
            continue
    return removed


def require_writable(path: StrPath) -> Path:
    """Check, before long work, that its result can be written to `path`.

    Returns
    -------
    Path
        The file that `path` stands for, symbolic links resolved.

    Raises
    ------
    OSError
        If the directory is missing (FileNotFoundError), not one (NotADirectoryError) or admits
        no new file (PermissionError, or what the file system reports), or if `path` is a
        directory (IsADirectoryError), no regular file, or a file without write permission.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     require_writable(Path(folder, "new.h5")).exists()
    False
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"path must be a file; {target} is a directory")
    if not target.parent.exists():
        raise FileNotFoundError(f"the directory of path must exist; {target.parent} does not")
    if not target.parent.is_dir():
        raise NotADirectoryError(f"path must be in a directory; {target.parent} is a file")
    if target.exists() and not target.is_file():
        raise OSError(f"path must be a regular file; {target} is not")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"path must be writable; {target} is a read-only file")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"cannot write to directory {target.parent}: {reason}") from error
    return target


@cache
def _machine() -> str:
    """Return a name of this machine and, where there are such, its namespace of processes."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return hashlib.sha256(f"{platform.node()} {namespace}".encode()).hexdigest()[:8]


def _alive(process: int) -> bool:
    if os.name == "nt":  # where os.kill would end the process; a day's age decides there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and belongs to somebody else
        return True
    return True
