"""What the documents name exists after `import dmft` alone."""

import re
import subprocess
import sys
from pathlib import Path

import dmft

ROOT = Path(__file__).parents[2]


def test_every_public_name_exists_and_is_listed():
    for name in dmft.__all__:
        assert getattr(dmft, name) is getattr(dmft, name), name
    for name in ("Grid", "SignalLaw", "Network", "SparseRule", "SobolRule", "presets"):
        assert name in dir(dmft)


def test_documented_names_exist_after_import():
    # In a fresh interpreter, so that nothing else has been imported; automodule imports by itself.
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {
        name
        for file in files
        for name in re.findall(
            r"(?<!from )(?<!import )(?<!automodule:: )(?<!\.)"
            r"\bdmft\.([a-z_]+(?:\.[A-Za-z_]+)?|[A-Z]\w+)",
            file.read_text(),
        )
    }
    names = sorted(name for name in found if not name.endswith((".h", ".toml", ".py")))
    assert "solve" in names
    code = (
        "import sys, operator, dmft\n"
        "missing = []\n"
        "for name in sys.argv[1:]:\n"
        "    try: operator.attrgetter(name)(dmft)\n"
        "    except AttributeError: missing.append(name)\n"
        "sys.exit(f'missing: {missing}' if missing else 0)"
    )
    child = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr


def test_importing_the_package_is_light():
    code = "import sys, dmft; print({'numpy', 'numba', 'scipy', 'h5py'} & set(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert child.stdout.strip() == "set()", child.stderr
