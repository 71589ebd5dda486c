"""Draw, fill the page, and write it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dmft import __version__
from dmft.citations import cite
from dmft.report.sections import Content, Picture, Section, sections, text_of
from dmft.storage import from_record, read, replace_file, require_writable
from dmft.storage.hdf5 import reading
from dmft.sweeps.collect import Sweep

# What dark pages change in a picture: ink, grid and paper. matplotlib leaves black text without a
# colour of its own, so that it takes that of the whole picture.
DARK = """<style>
svg { fill: #e4e6e9 }
[style*="stroke: #000000"] { stroke: #e4e6e9 !important }
[style*="fill: #000000"] { fill: #e4e6e9 !important }
[style*="stroke: #e0e0e0"] { stroke: #343a41 !important }
[style*="fill: #ffffff"] { fill: #15171a !important }
</style>
"""


def write_report(
    files: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    title: str = "dmft report",
) -> Path:
    """Write one page about results, which opens from disk and needs no network.

    Parameters
    ----------
    files : sequence of path-like
        Files of solutions, simulations or sweeps, or folders of sweeps. A theory and simulations
        of the same problem at the same times are compared.
    out : path-like
        The page, .html.
    title : str
        Its title.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    ImportError
        If matplotlib or Jinja is not installed.
    ValueError
        If there is no file, one cannot be read or shown, or `out` has another ending.
    OSError
        If a file cannot be read, or `out` not be written.

    Examples
    --------
    >>> import dmft, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> dmft.solve(dmft.Problem(0.5, network="linear"), 1.0).save(f"{folder.name}/run.h5")
    >>> write_report([f"{folder.name}/run.h5"], f"{folder.name}/report.html").name
    'report.html'
    >>> folder.cleanup()
    """
    target = Path(out)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"out must end in .html; got {str(out)!r}")
    if not files:
        raise ValueError("files must name at least one file; got none")
    template = _template()
    require_writable(target)
    contents = [_open(path) for path in files]
    page = template.render(
        title=title,
        version=__version__,
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sections=[_filled(section) for section in sections(contents)],
        bibtex=_bibtex(contents),
    )
    return replace_file(target, page.encode())


def _open(path: str | os.PathLike[str]) -> Content:
    """Return what a file or the folder of a sweep holds."""
    name = Path(path).name
    if Path(path).is_dir():
        sweep = Sweep.open(path)
        return Content(name, sweep, {"dmft_version": sweep.description["version"]})
    kind, record = read(path)
    with reading(path):
        return Content(name, from_record(kind, record), record.provenance)


def _template() -> Any:
    try:
        import jinja2
        import matplotlib as _  # noqa: F401  # before work starts
    except ImportError as error:
        raise ImportError("a report needs pip install 'dmft[report]'") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dmft.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("page.html")


def _bibtex(contents: Sequence[Content]) -> str:
    """Return the entries of all results, each once."""
    entries = [entry for content in contents for entry in cite(content.result).split("\n\n")]
    return "\n\n".join(dict.fromkeys(entries))


def _filled(section: Section) -> Mapping[str, Any]:
    """Return what the page needs of a section."""
    return {
        "title": section.title,
        "message": section.message,
        "success": section.success,
        "figures": [_drawn(picture) for picture in section.pictures],
        "tables": section.tables,
        "configuration": text_of(section.configuration),
        "environment": text_of(section.environment),
    }


def _drawn(picture: Picture) -> dict[str, str]:
    """Draw a picture; return its caption, and its addresses for light and for dark pages."""
    import matplotlib

    drawn = picture.draw()
    figure = getattr(drawn, "figure", drawn)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "dmft"}):  # the same names of parts each time
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    light = buffer.getvalue()
    head, tag, rest = light.partition("<defs>")
    return {
        "caption": picture.caption,
        "light": _address(light),
        "dark": _address(head + DARK + tag + rest),
    }


def _address(svg: str) -> str:
    """Return an address that holds the picture itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
