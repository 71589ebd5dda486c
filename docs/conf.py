"""The documentation: `sphinx-build -W docs docs/_build/html`."""

from __future__ import annotations

import re
from importlib import metadata

project = "dmft"
author = "The dmft developers"
project_copyright = "2026, The dmft developers"
release = version = metadata.version("dmft")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "examples", "gallery/*.ipynb", "gallery/*.py"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "code"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # The docstrings say the types, with shapes.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = f"dmft {release}"

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"plot_",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "abort_on_example_error": True,
}

_DOCTEST = re.compile(r"\s*(>>>|\.\.\. )")
_SPECIAL = re.compile(r"(?<![\\`])([*|])(?![*`])|(?<=\w)(_)(?=\W|$)")


def _escape_mathematics(app, what, name, obj, options, lines) -> None:
    """Escape w*, |w| and x_ in docstrings, where they are mathematics and no markup."""
    example = False
    for k, line in enumerate(lines):
        example = bool(_DOCTEST.match(line)) or (example and bool(line.strip()))
        if not example:
            parts = re.split(r"(`[^`]*`)", line)
            parts[::2] = [_SPECIAL.sub(r"\\\g<0>", part) for part in parts[::2]]
            lines[k] = "".join(parts)


_SECTIONS = {
    "Problems": ("problem", "signals", "networks", "dynamics"),
    "Solving and simulating": ("solver", "solution", "step_solution", "simulation", "storage"),
    "Comparing": ("comparison", "diagnostics"),
    "What needs no solve": ("limits",),
    "Sweeps": ("sweeps",),
    "Quadratic networks": ("quadratic",),
    "Grids and noise rules": ("solvers", "equations"),
}


def _list_public_names(app, docname, source) -> None:
    """Fill the page of the API with the public names of the package, by the room they live in."""
    if docname != "api":
        return
    import dmft

    rooms = {name: home.split(".")[0] for name, home in dmft._HOME.items()}
    known = {room for section in _SECTIONS.values() for room in section}
    sections = _SECTIONS | {"More": tuple(set(rooms.values()) - known)}
    lines = []
    for title, members in sections.items():
        names = [_entry(dmft, name) for name, room in rooms.items() if room in members]
        if names:
            lines += [f"## {title}", "```{eval-rst}", *names, "```", ""]
    source[0] = source[0].replace("PUBLIC NAMES", "\n".join(lines))


def _entry(package, name: str) -> str:
    if isinstance(getattr(package, name), type):
        return f".. autoclass:: dmft.{name}\n   :members:\n"
    return f".. autofunction:: dmft.{name}\n"


def setup(app) -> None:
    """Escape before numpydoc, whose priority is 500, reads the docstrings."""
    app.connect("autodoc-process-docstring", _escape_mathematics, priority=400)
    app.connect("source-read", _list_public_names)
