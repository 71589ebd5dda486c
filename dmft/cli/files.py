"""The commands that show what files hold, and draw: plot, figure, info."""

from __future__ import annotations

import platform
from argparse import Namespace
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import dmft
from dmft.cli.common import DONE, require_picture, sweep_in, theory_and_simulation
from dmft.cli.terminal import Reporter, format_tree

if TYPE_CHECKING:
    from dmft.storage import Variable

# What begins the names of the errors of a solution's values, and of an ensemble's.
ERRORS = ("error_of_", "standard_error_of_")


def run_plot(arguments: Namespace) -> int:
    """Draw a solution, simulations, both, or a sweep."""
    from dmft.figures.axes import save_figure

    picture = require_picture(arguments.out)
    sweep = sweep_in(arguments.files)
    if sweep is None:
        figure = _figure(arguments.files, arguments.quantity or "errors")
    else:
        figure = sweep.plot(arguments.quantity or sweep.functions[0]).figure
    save_figure(figure, picture)
    print(f"wrote {picture}")
    return DONE


def _figure(files: Sequence[str], quantity: str) -> Any:
    """Return a figure of theory, simulations, or both."""
    from dmft.figures.plots import plot_comparison

    solution, ensemble = theory_and_simulation(files)
    if solution is None or ensemble is None:
        return (solution or ensemble).plot(quantity).figure
    if quantity != "errors":
        raise ValueError(f"quantity must be errors for two files; got {quantity!r}")
    return plot_comparison(solution, ensemble)


def run_figure(arguments: Namespace) -> int:
    """Draw a figure of the literature."""
    from dmft.figures import quadratic
    from dmft.figures.presets import PRESETS, draw

    if arguments.name in quadratic.PICTURES:
        return _quadratic_figure(arguments)
    if arguments.name not in PRESETS:
        known = ", ".join((*PRESETS, *quadratic.PICTURES))
        raise ValueError(f"figure must be one of {known}; got {arguments.name!r}")
    picture = require_picture(arguments.out)
    names = ("full", "delta", "alpha", "lam", "dimension", "seeds", "rtol")
    with Reporter(arguments.progress) as reporter:
        draw(
            arguments.name,
            picture,
            **{name: getattr(arguments, name) for name in names},
            rng=arguments.seed,
            progress=reporter.stage,
        )
    print(f"wrote {picture}")
    return DONE


def _quadratic_figure(arguments: Namespace) -> int:
    """Draw a figure of quadratic networks, whose problems are its own."""
    from dmft.figures import quadratic

    picture = require_picture(arguments.out)
    for name in ("full", "delta", "alpha", "lam"):
        if getattr(arguments, name):
            raise ValueError(f"{arguments.name} does not take --{name}")
    names = ("dimension", "seeds", "rtol")
    options = {name: getattr(arguments, name) for name in names}
    options = {name: value for name, value in options.items() if value is not None}
    with Reporter(arguments.progress) as reporter:
        quadratic.draw(
            arguments.name, picture, **options, rng=arguments.seed, progress=reporter.stage
        )
    print(f"wrote {picture}")
    return DONE


def run_info(arguments: Namespace) -> int:
    """Describe a file, or this installation."""
    print(format_tree(_installation() if arguments.run is None else _contents(arguments.run)))
    return DONE


def _installation() -> dict[str, Any]:
    import numba

    from dmft.parallel import processors

    return {
        "dmft": dmft.__version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("numpy", "scipy", "numba", "h5py")},
        "platform": platform.platform(),
        "processors": processors(),
        "numba threads": numba.get_num_threads(),
    }


def _contents(path: str) -> dict[str, Any]:
    """Return what a file holds: problem, outcome, last values with their errors, costs, origin."""
    from dmft.storage import read

    kind, record = read(path)
    configuration = dict(record.configuration)
    tree: dict[str, Any] = {"kind": f"dmft.{kind}"}
    if "problem" in configuration:
        tree["problem"] = configuration.pop("problem")
    tree["outcome"] = configuration | dict(record.content.attributes)
    variables = record.content.variables
    if "t" in variables:
        t = variables["t"].values
        tree["outcome"]["times"] = f"{t.size} from {t[0]:g} to {t[-1]:g}"
        tree[f"values at t = {t[-1]:g}"] = _last_values(variables)
    tree |= {
        name: group.as_stats() for name, group in record.content.groups.items() if name == "stats"
    }
    return tree | {"file": dict(record.provenance)}


def _last_values(variables: Mapping[str, Variable]) -> dict[str, str]:
    """Return the last value of each function of time, its error and the largest at any time."""
    rows = {}
    for name, variable in variables.items():
        errors = [
            variables[f"{prefix}{name}"].values
            for prefix in ERRORS
            if f"{prefix}{name}" in variables
        ]
        if variable.dimensions == ("t",) and errors:
            last, largest = errors[0][-1], errors[0].max()
            rows[name] = f"{variable.values[-1]:.6g} +- {last:.2g} (at any time {largest:.2g})"
    return rows
