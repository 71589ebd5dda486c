"""Files appear whole or not at all, whatever happens to the process or the disk."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dmft.storage import load, remove_abandoned, replace_file, require_writable
from dmft.storage import replace as module


def run(code, source, target):
    code = f"source, target = {str(source)!r}, {str(target)!r}\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


# --- a full disk -----------------------------------------------------------------------------

# Every format that the package writes: twice without a limit, which shows that the limit is what
# fails and loads what is needed, and then as on a full disk.
FULL_DISK = """
import os, resource, sys
from pathlib import Path
import numpy as np
import dmft
from dmft.figures.axes import save_figure
from dmft.storage import replace_file, write_arrays
solution = dmft.load(source)
figure = solution.plot().figure
writers = {
    ".h5": solution.save,
    ".bin": lambda path: replace_file(path, bytes(200_000)),
    ".png": lambda path: save_figure(figure, path),
    ".npz": lambda path: write_arrays(path, X=np.zeros((200, 200))),
}
for suffix, write in writers.items():
    write(target + suffix)
    assert os.path.getsize(target + suffix) > 4096
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
before = {suffix: Path(target + suffix).read_bytes() for suffix in writers}
for suffix, write in writers.items():
    try:
        write(target + suffix)
    except OSError as error:
        print(suffix, error.errno == 27, Path(target + suffix).read_bytes() == before[suffix])
sys.exit(17)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_full_disk_is_an_error_and_leaves_the_old_file(path, tmp_path):
    done = run(FULL_DISK, path, tmp_path / "target")
    # not a signal: HDF5 once kept a dead file and crashed when Python ended
    assert done.returncode == 17, done.stderr
    suffixes = [".h5", ".bin", ".png", ".npz"]
    assert done.stdout.splitlines() == [f"{suffix} True True" for suffix in suffixes]
    assert sorted(os.listdir(tmp_path)) == sorted(["run.h5", *(f"target{s}" for s in suffixes)])


# --- a process that dies ---------------------------------------------------------------------

KILLED = """
import os, signal
from dmft.storage import replace_file
os.fsync = lambda number: os.kill(os.getpid(), signal.SIGKILL)
replace_file(target, b"new")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs kill -9")
def test_what_a_killed_process_leaves_is_removed_by_the_next_write(tmp_path):
    target = tmp_path / "run.h5"
    target.write_bytes(b"old")
    assert run(KILLED, "", target).returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    replace_file(tmp_path / "other", b"text")
    assert sorted(os.listdir(tmp_path)) == ["other", "run.h5"]


def temporary(folder, machine, process, age=0.0):
    path = folder / f".{machine}-{process}-0123456789ab.dmft.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_only_files_without_a_writer_are_removed(tmp_path):
    here, day = module._machine(), module.ABANDONED_AFTER
    living = temporary(tmp_path, here, os.getpid(), age=3 * day)
    young = temporary(tmp_path, "0" * 8, 2**22 + 1)
    old = temporary(tmp_path, "1" * 8, 2**22 + 1, age=1.1 * day)
    foreign = tmp_path / ".a.tmp"
    foreign.touch()
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    dead = temporary(tmp_path, here, child.pid)
    assert remove_abandoned(tmp_path) == 2
    assert not dead.exists()
    assert not old.exists()
    assert living.exists()
    assert young.exists()
    assert foreign.exists()


# --- interrupts ------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("Input/output error"), KeyboardInterrupt()])
def test_a_failure_in_the_write_leaves_the_old_file_alone(solution, path, monkeypatch, step, error):
    def fails(*args):
        assert path.read_bytes() == old
        raise error

    old = path.read_bytes()
    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[step], fails)
    with pytest.raises(type(error)):
        replace(solution, seed=99).save(path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["run.h5"]


def test_the_content_is_complete_before_a_file_is_touched(solution, path, monkeypatch):
    opened = []
    monkeypatch.setattr(module, "require_writable", lambda path: opened.append(path) or Path(path))
    monkeypatch.setattr("dmft.storage.hdf5._write_group", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        solution.save(path)
    assert opened == []


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_links_are_those_of_an_ordinary_file(solution, tmp_path):
    (tmp_path / "ordinary").touch()
    (tmp_path / "link.h5").symlink_to("run.h5")
    solution.save(tmp_path / "link.h5")
    assert (tmp_path / "link.h5").is_symlink()
    modes = [(tmp_path / name).stat().st_mode for name in ("run.h5", "ordinary")]
    assert modes[0] == modes[1]
    assert load(tmp_path / "run.h5") == solution


# --- require_writable ----------------------------------------------------------------------


def test_writable_target_is_left_alone(tmp_path):
    assert require_writable(tmp_path / "new.h5") == tmp_path.resolve() / "new.h5"
    assert os.listdir(tmp_path) == []
    (tmp_path / "old.h5").write_text("old")
    require_writable(str(tmp_path / "old.h5"))
    assert (tmp_path / "old.h5").read_text() == "old"


def test_unwritable_targets(solution, tmp_path):
    (tmp_path / "file").touch()
    cases = [
        (tmp_path / "none" / "run.h5", FileNotFoundError, "none"),
        (tmp_path, IsADirectoryError, "is a directory"),
        (tmp_path / "file" / "run.h5", NotADirectoryError, "file"),
    ]
    for target, error, text in cases:
        for action in (require_writable, solution.save):
            with pytest.raises(error, match=text):
                action(target)
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(TypeError):
        require_writable(None)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_target(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="regular file"):
        require_writable(tmp_path / "pipe")


def test_unwritable_directory(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(PermissionError, match=f"{re.escape(tmp_path.name)}: Permission denied"):
        require_writable(tmp_path / "run.h5")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_permissions_are_respected(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="locked"):
        require_writable(tmp_path / "locked" / "run.h5")
    (tmp_path / "run.h5").touch(mode=0o400)
    with pytest.raises(PermissionError, match="read-only"):
        require_writable(tmp_path / "run.h5")
