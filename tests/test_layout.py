"""The layout of the repository: imports go one way, down, and files stay short."""

from __future__ import annotations

import ast
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 450  # lines of a file that a newcomer still reads in one go


@cache
def modules() -> dict[str, Path]:
    """Return every module of the package by its importable name."""
    found = {}
    for path in sorted([*(ROOT / "dmft").rglob("*.py"), *(ROOT / "solvers").rglob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts if parts[0] == "dmft" else ("dmft", *parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, names: set[str]) -> set[str]:
    """Return the modules that a file imports, inside functions too, but for type checks alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & names
            found |= members or {node.module}
    return found & names


@cache
def graph() -> dict[str, set[str]]:
    """Return the modules that each module imports; `dmft` itself only passes names on."""
    names = set(modules()) - {"dmft"}
    return {name: imported(modules()[name], names) - {name} for name in names}


def test_imports_run_in_no_circle():
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")
    assert set(order) == set(graph())


def test_packages_import_each_other_in_no_circle():
    def room(name: str) -> str:
        return ".".join(name.split(".")[:2])

    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        rooms.setdefault(room(name), set()).update({room(other) for other in others} - {room(name)})
    try:
        list(TopologicalSorter(rooms).static_order())
    except CycleError as error:
        pytest.fail(f"folders import each other: {' -> '.join(error.args[1])}")


def test_mathematics_does_not_know_the_theory():
    for name, others in graph().items():
        if name.startswith("dmft.solvers"):
            strangers = {other for other in others if not other.startswith("dmft.solvers")}
            assert not strangers, f"{name} imports {strangers}"
    for name, path in modules().items():
        if name.startswith("dmft.solvers"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                assert not (isinstance(node, ast.ImportFrom) and node.module == "dmft"), name


def test_the_graph_is_not_empty():
    # a check of the checks above: known arrows are found, and a circle would be
    assert "dmft.solvers.collocation" in graph()["dmft.solver.grids"]
    assert "dmft.problem" in graph()["dmft.solver.solve"]
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


@pytest.mark.parametrize("folder", ["dmft", "solvers", "tests", "benchmarks"])
def test_files_are_short(folder):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    long = {name: lines for name, lines in lengths.items() if lines >= LONGEST}
    assert not long, f"these files have {LONGEST} lines or more: {long}"


def test_importing_the_package_loads_nothing_heavy():
    import subprocess

    code = (
        "import sys, dmft; "
        "print(sorted({'numba', 'scipy', 'matplotlib', 'h5py', 'xarray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
