"""The command that looks at a given design: diagnose."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from dmft.cli.common import DONE, require_picture


def run_diagnose(arguments: Namespace) -> int:
    """Print in what a design differs from independent entries, and draw its spectrum."""
    from dmft.diagnostics import diagnose
    from dmft.simulation.read_data import read_data

    picture = None if arguments.out is None else require_picture(arguments.out)
    diagnosis = diagnose(read_data(arguments.data)[0])
    print(diagnosis)
    if picture is not None:
        from dmft.figures.axes import save_figure

        figure: Any = diagnosis.plot().figure
        save_figure(figure, picture)
        print(f"wrote {picture}")
    return DONE
