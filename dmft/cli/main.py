"""The command line `dmft`: its options, errors and exit codes.

Exit codes: 0 done; 1 done, but not converged, or theory and simulation do not agree; 2 bad input,
one line on standard error; 130 interrupted. What the commands do is in `dmft.cli.commands`, which
is imported once a command has been parsed, so that --help is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import dmft
from dmft.cli.tables import Option, options_of
from dmft.interrupts import deferred, interruptible
from dmft.parallel import BLAS_THREADS

NOT_DONE, BAD_INPUT, INTERRUPTED = 1, 2, 130

QUANTITIES = ("errors", "order_parameters", "paths", "law", "C_w", "C_r", "R_w", "R_r")
_PROBLEM = ("problem", "signal", "network", "dynamics")

_CONFIGURATION = """\
A TOML file given by --config holds the same options, without their dashes, in the tables
[problem], [signal], [network], [dynamics], [solve] and [simulate]; law, network and dynamics
are called name. Options of the command line win. For example

    [problem]
    delta = 0.5
    lam = 0.1
    [signal]
    name = "bernoulli"
    density = 0.1
    [solve]
    t-max = 10
"""

_SWEEP = """\
The file has the tables of --config of the other commands, also [dynamics], and [sweep] with the
axes: lists, ranges, or distributions with their number of draws. For example

    [problem]
    lam = 0.1
    [solve]
    t-max = 10
    [sweep]
    delta = [0.3, 0.5, 0.8]
    alpha = {logspace = [0.01, 1, 20]}
    signal.density = {uniform = [0.1, 0.5]}
    draws = 5
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments without the program's name; those of the process by default.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with interruptible():
            return _run(words)
    except SystemExit as stop:  # of --help and --version
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("dmft: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a table has gone, as in `dmft ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_DONE
    except (ValueError, OSError, ImportError) as error:
        return _failure(words, error, BAD_INPUT)
    except RuntimeError as error:
        return _failure(words, error, NOT_DONE)


def _run(words: Sequence[str]) -> int:
    """Run a command and return its exit code."""
    _hold_threads()
    with deferred():
        parser = build_parser(words)
    parsed = parser.parse_args(words)
    with deferred():  # an import that is interrupted leaves half of a module behind
        from dmft.cli.commands import COMMANDS
    code = COMMANDS[parsed.command](parsed)
    sys.stdout.flush()
    return code


def _hold_threads() -> None:
    """Ask for one BLAS thread, which is fastest for small matrices.

    Variables that are set already stand.
    """
    if "numpy" not in sys.modules:  # else the libraries have been started
        for variable in BLAS_THREADS:
            os.environ.setdefault(variable, "1")


def _failure(words: Sequence[str], error: Exception, code: int) -> int:
    """Print an error in one line and return the exit code."""
    command = next((word for word in words if not word.startswith("-")), "")
    name = f"dmft {command}" if command in _COMMANDS else "dmft"
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"{name}: error: {text}", file=sys.stderr)
    return code


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Only the commands among `words` get their options, if these are given: options of laws and
    networks come from classes, whose import takes a tenth of a second.
    """
    parser = _Parser(
        prog="dmft",
        description="Dynamical mean-field theory of diagonal linear networks.",
        epilog="`dmft COMMAND --help` lists the options of a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dmft {dmft.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (summary, add) in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if words is None or name in words:
            add(command)
    return parser


# --- the options of each command --------------------------------------------------------------


def _solve(parser: argparse.ArgumentParser) -> None:
    _add_tables(parser, *_PROBLEM, "solve")
    _add_progress(parser)


def _simulate(parser: argparse.ArgumentParser) -> None:
    _add_tables(parser, *_PROBLEM, "simulate")
    _add_progress(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="written by `dmft solve`, by `dmft simulate`, or one of each; what is missing is "
        "computed",
    )
    for table, names in (
        ("simulate", ("dimension", "seeds", "design", "seed", "workers")),
        ("solve", ("rtol", "atol", "max_time", "max_memory")),
    ):
        group = parser.add_argument_group(table)
        for option in options_of(table):
            if option.name in names:
                _add_option(group, option)
    parser.add_argument(
        "--resolution",
        type=float,
        default=0.3,
        metavar="X",
        help="relative error that must be visible before the two are said to agree (default 0.3)",
    )
    parser.add_argument("--plot", metavar="FILE", help="picture to draw, e.g. compare.png")
    _add_progress(parser)


def _benchmark(parser: argparse.ArgumentParser) -> None:
    _add_tables(
        parser, *_PROBLEM, "solve", "simulate", without=("out", "data", "samples", "targets")
    )
    _add_progress(parser)


def _plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="written by `dmft solve`, by `dmft simulate`, or one of each to compare them; or a "
        "sweep's file or folder",
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="picture to draw")
    parser.add_argument(
        "--quantity",
        metavar="NAME",
        help=f"what to draw: {', '.join(QUANTITIES)} (default errors); of a sweep a function of "
        "time (default the first one)",
    )


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", help="file written by `dmft solve` or `dmft simulate`")


def _predict(parser: argparse.ArgumentParser) -> None:
    _add_tables(parser, *_PROBLEM)
    parser.add_argument(
        "--dimension",
        type=int,
        help="give the search-to-descent time of that many coordinates, not of the typical one",
    )


def _diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help=".npy, .npz, .csv or HDF5 file with the design X (n, d)")
    parser.add_argument("--out", metavar="FILE", help="picture to draw, e.g. spectrum.png")


def _saddles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help=".npz file with the arrays X (n, d) and y (n,)")
    parser.add_argument(
        "--layer-scales",
        type=float,
        nargs="+",
        help="starts of the layers of a product, relative to each other (default: depth two)",
    )
    parser.add_argument(
        "--loss-scale",
        type=float,
        default=1.0,
        help="factor c of the loss (c/2)|Xw - y|^2; 1/delta gives this project's time (default 1)",
    )
    parser.add_argument("--max-saddles", type=int, help="largest number of jumps")
    parser.add_argument("--out", metavar="FILE", help=".npz file to write")


def _figure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the figure; an unknown one lists all")
    parser.add_argument(
        "--out", metavar="FILE", required=True, help="picture to draw: .png, .pdf or .svg"
    )
    for name in ("delta", "alpha", "lam"):
        parser.add_argument(
            f"--{name}", type=float, nargs="+", metavar="X", help="in place of the figure's own"
        )
    parser.add_argument("--dimension", type=int, metavar="N", help="dimension of the simulations")
    parser.add_argument("--seeds", type=int, metavar="N", help="draws of the data")
    parser.add_argument("--rtol", type=float, metavar="X", help="relative accuracy of the theory")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed (default 0)")
    parser.add_argument("--full", action="store_true", help="larger simulations, more accuracy")
    _add_progress(parser)


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="TOML file, see below")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        required=True,
        help="folder of the points; those that are whole in it are not computed again",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: processors)")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="Dask scheduler, e.g. tcp://host:8786"
    )
    parser.add_argument("--shard", metavar="I/N", help="run every N-th point from the I-th on")
    parser.add_argument(
        "--keep-failed", action="store_true", help="do not try again what failed before"
    )
    parser.add_argument("--collect", metavar="FILE", help="netCDF-4 file of all points to write")
    parser.add_argument("--plot", metavar="FILE", help="picture to draw")
    parser.add_argument(
        "--quantity", default="test_error", help="what to draw (default test_error)"
    )
    _add_progress(parser)
    parser.epilog = _SWEEP


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="results of any command, or folders of sweeps"
    )
    parser.add_argument("--out", metavar="FILE", required=True, help="page to write, .html")
    parser.add_argument("--title", default="dmft report", help="its title")


def _quadratic(parser: argparse.ArgumentParser) -> None:
    from dmft.cli.quadratic import add_options

    add_options(parser)
    _add_progress(parser)


_COMMANDS = {
    "solve": ("solve the mean-field equations to a stated accuracy", _solve),
    "simulate": ("simulate gradient flow at finite dimension", _simulate),
    "compare": ("compare a solution with simulations of its problem", _compare),
    "benchmark": ("time the theory against the simulation", _benchmark),
    "plot": ("draw a solution", _plot),
    "info": ("describe a file, or this installation", _info),
    "predict": ("print limits, rates and timescales that need no solve", _predict),
    "diagnose": ("say why the theory may not hold on your own design", _diagnose),
    "saddles": ("compute the saddle-to-saddle path of a data set", _saddles),
    "figure": ("draw a figure of the literature", _figure),
    "sweep": ("solve or simulate over ranges of fields and options", _sweep),
    "report": ("write one page about results, for any browser", _report),
    "quadratic": ("solve or simulate wide networks of quadratic activation", _quadratic),
}


def _add_tables(
    parser: argparse.ArgumentParser, *tables: str, without: tuple[str, ...] = ()
) -> None:
    """Add the options of some tables, each long option once, and --config."""
    added = set(without)
    for table in tables:
        group = parser.add_argument_group(table)
        for option in options_of(table):
            if option.destination not in added:
                added.add(option.destination)
                _add_option(group, option)
    parser.add_argument("--config", metavar="FILE", help="TOML file with the same options")
    parser.epilog = _CONFIGURATION


def _add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    if option.kind is bool:
        action = argparse.BooleanOptionalAction
        group.add_argument(option.long_option, action=action, default=None, help=option.help)
        return
    group.add_argument(
        option.long_option,
        type=option.kind,
        nargs="+" if option.many else None,
        help=option.help,
        metavar="FILE" if option.file else {float: "X", int: "N", str: "NAME"}[option.kind],
    )


def _add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="show progress on standard error (default: if that is a terminal)",
    )
