"""Progress, interrupts and what is loaded at the start of the command line."""

import io
import subprocess
import sys
import time

import pytest

from dmft.cli.main import main
from dmft.cli.terminal import SLOW_STAGE, Reporter, format_table

PROBLEM = ["--delta", "0.5", "--alpha", "1", "--lam", "0.1", "--sigma2", "0.1"]
TIMES = ["--t-eval", "0", "0.5", "2"]
QUICK = [*PROBLEM, "--rtol", "1e-2", *TIMES]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run.h5"
    assert main(["solve", *QUICK, "--out", str(path)]) == 0
    return path


@pytest.mark.parametrize("command", ["solve", "simulate"])
def test_an_interrupt_leaves_the_old_file_and_exits_with_130(
    monkeypatch, tmp_path, capsys, command
):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(Reporter, "stage", interrupt)
    monkeypatch.setattr(Reporter, "seeds", interrupt)
    path = tmp_path / "run.h5"
    path.write_text("old")
    words = [*PROBLEM, *TIMES, "--out", str(path)]
    assert main([command, *words]) == 130
    assert capsys.readouterr().err == "dmft: interrupted\n"
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    assert path.read_text() == "old"


def test_progress_is_shown_only_on_a_terminal_or_on_demand(capsys):
    assert main(["solve", *QUICK, "--progress"]) == 0
    assert "sweeps" in capsys.readouterr().err
    words = ["simulate", *PROBLEM, *TIMES, "--dimension", "20", "--seeds", "2"]
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert main([*words, "--progress"]) == 0
    err = capsys.readouterr().err
    assert err == "simulated 1 of 2 seeds\nsimulated 2 of 2 seeds\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_progress_changes_in_place_and_is_cleared(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Reporter() as reporter:
        reporter.stage("one")
        reporter.stage("two")
        reporter.seeds(1, 3)
        reporter.seeds(3, 3)
    text = sys.stderr.getvalue()
    assert "\r\x1b[Kone\r\x1b[Ktwo" in text
    assert "\n" not in text
    assert "0/3" in text
    assert text.endswith("\r\x1b[K")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with Reporter(shown=False) as reporter:
        reporter.stage("one")
    assert sys.stderr.getvalue() == ""


def test_a_long_compilation_is_announced_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("dmft.cli.terminal.PATIENCE", 0.02)
    with Reporter() as reporter:
        reporter.stage(f"{SLOW_STAGE} (...)")
        time.sleep(0.2)
        reporter.stage("grid")
    assert capsys.readouterr().err == f"{SLOW_STAGE} (...)\n"
    monkeypatch.setattr("dmft.cli.terminal.PATIENCE", 10.0)
    with Reporter() as reporter:
        reporter.stage(f"{SLOW_STAGE} (...)")
    assert capsys.readouterr().err == ""


def test_the_module_runs_and_first_announces_the_kernels():
    words = [sys.executable, "-m", "dmft", "solve", *QUICK, "--progress"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.startswith(SLOW_STAGE)
    assert "test_error" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["solve", "--help"], ["--version"]])
def test_help_is_printed_without_heavy_imports(words):
    code = (
        "import sys; from dmft.cli.main import main; code = main(sys.argv[1:]); "
        "heavy = {'numba', 'scipy', 'matplotlib', 'h5py'} & set(sys.modules); "
        "heavy |= {'numpy'} & set(sys.modules) if 'solve' not in sys.argv else set(); "
        "sys.exit(code if not heavy else f'imported {heavy}')"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "dmft" in done.stdout


def test_python_m_dmft_help():
    command = [sys.executable, "-m", "dmft", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in ("solve", "simulate", "compare", "benchmark", "plot", "info", "predict", "figure"):
        assert name in done.stdout


def test_tables_are_aligned():
    assert format_table([("t", [0.0, 10.0]), ("name", ["a", "b"])]) == (
        " t  name\n 0     a\n10     b"
    )
