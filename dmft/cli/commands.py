"""What each command of `dmft` does with its parsed arguments; each returns the exit code.

All input is checked before work starts: the problem, the times, the options of the simulation
and that the files to be written can be.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from dmft.cli.files import run_figure, run_info, run_plot
from dmft.cli.own_data import run_diagnose
from dmft.cli.predictions import run_predict, run_saddles
from dmft.cli.quadratic import run_quadratic
from dmft.cli.runs import run_benchmark, run_compare, run_simulate, run_solve
from dmft.cli.sweeps import run_report, run_sweep

COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "solve": run_solve,
    "simulate": run_simulate,
    "compare": run_compare,
    "benchmark": run_benchmark,
    "plot": run_plot,
    "info": run_info,
    "predict": run_predict,
    "diagnose": run_diagnose,
    "saddles": run_saddles,
    "figure": run_figure,
    "sweep": run_sweep,
    "report": run_report,
    "quadratic": run_quadratic,
}
