"""The wheel: it holds every package, and works beside folders of the user's that bear our names."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOLVE = """
import dmft, dmft.solvers.lanes
solution = dmft.solve(dmft.Problem(0.5), 1.0, rtol=1e-2)
assert solution.success, solution.message
print(dmft.__file__)
print(dmft.solvers.lanes.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build the wheel from a copy of the sources, so that nothing is left in the repository."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("the sources are not a git checkout")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", out, source],
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_no_file_is_missing_and_none_is_generic(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {str(path.relative_to(ROOT)) for path in (ROOT / "dmft").rglob("*.py")}
    expected |= {f"dmft/{path.relative_to(ROOT)}" for path in (ROOT / "solvers").rglob("*.py")}
    assert not expected - names
    assert "dmft/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"dmft"}


def test_it_solves_beside_a_folder_named_solvers(wheel, tmp_path):
    site, work = tmp_path / "site", tmp_path / "work"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    (work / "solvers").mkdir(parents=True)
    (work / "solvers" / "__init__.py").touch()
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", SOLVE], cwd=work, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    package, module = done.stdout.split()
    assert Path(package).is_relative_to(site)
    assert Path(module).is_relative_to(site / "dmft" / "solvers")
