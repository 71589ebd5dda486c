"""Solutions and ensembles in HDF5 files that netCDF-4 readers, such as xarray, understand.

    /t, /s                 the same times twice: a two-time function needs two dimensions
    /test_error, ...       values, dimensions (t) or (t, s); of an ensemble its mean over seeds
    /error_of_<name>       a solution's error estimate of each value
    /solver, /stats        what the solver needs to go on from the solution; counts and seconds
    /standard_error_of_<name>, /runs_of_<name>    an ensemble's; runs have (seed_index, t[, s])

Each dataset has `units`, `long_name` and dimension scales; the root has the schema version, the
versions of the packages, the UTC time and, as JSON, the configuration. `seed` is text, as it may
have more than 64 bits. A file is written beside its target and then moved onto it, so that the
target is at all times either the old file or the whole new one.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dmft import __version__
from dmft.equations.averages import Averages
from dmft.equations.observables import ONE_TIME, TWO_TIME
from dmft.problem import Problem
from dmft.simulation.ensemble import Ensemble
from dmft.solution import Solution
from dmft.solvers.collocation import Grid

SCHEMA_VERSION = 1

StrPath = str | os.PathLike[str]

TIME = "time in the unit du/dt = -(d/2) dL/du"
LONG_NAMES = {
    "test_error": "test error |w - w*|^2/(2 d)",
    "train_error": "train error |y - X w|^2/(2 n)",
    "mean_w": "mean weight E[w]",
    "overlap": "overlap of weight and target E[w w*]",
    "norm_w": "second moment of the weight E[w^2]",
    "alignment": "alignment of weight and target E[w w*]/sqrt(E[w^2] E[w*^2])",
    "C_w": "correlation E[theta(t) theta(s)] of theta = w - w*",
    "R_w": "response d theta(t)/d h(s) of theta = w - w*, 0 for s > t",
    "C_r": "correlation E[r(t) r(s)] of the residual r = X w - y",
    "R_r": "response of the residual without its delta function at s = t, 0 for s > t",
}
AVERAGES = {
    "C_w": (("t_start", "s_start"), "E[theta(t) theta(s)] at t = 0 and the nodes"),
    "A": (("t_node", "s_node"), "E[D (I + K D)^(-1)] on the nodes"),
    "mean_w": (("t_start",), "E[w] at t = 0 and the nodes"),
    "overlap": (("t_start",), "E[w w*] at t = 0 and the nodes"),
    "mean_D": (("t_start",), "E[D] at t = 0 and the nodes"),
}


def save(solution: Solution, path: StrPath) -> None:
    """Write a solution to a file that `load` reads.

    Parameters
    ----------
    solution : Solution
    path : path-like
        Target; an existing file is replaced only once the new one is complete.

    Raises
    ------
    TypeError
        If `solution` is not a Solution.
    ValueError
        If its problem has a signal law or network that `load` could not rebuild.
    OSError
        If the target cannot be written; see `require_writable`.
    """
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a dmft.Solution; got {type(solution).__name__}")
    settings = {
        "problem": _problem_config(solution.problem),
        "t_max": solution.grid.t_max,
        "rtol": float(solution.rtol),
        "seed": int(solution.seed),
    }
    with _replaced(path) as file:
        _write_root(file, "Solution", "DMFT of a diagonal network", settings)
        outcome = {"status": solution.status, "message": solution.message}
        file.attrs.update(outcome, success=int(solution.success))
        scales = _time_scales(file, solution.t)
        for name in (*ONE_TIME, *TWO_TIME):
            text, value = LONG_NAMES[name], solution.values[name]
            _write(file, name, value, scales[: value.ndim], text)
            error = f"estimated absolute error of: {text}"
            _write(file, f"error_of_{name}", solution.error[name], scales[: value.ndim], error)
        _write_solver(file.create_group("solver"), solution.grid, solution.averages)
        _write_stats(file.create_group("stats"), solution.stats)


def load(path: StrPath) -> Solution:
    """Read a solution that `save` wrote; it equals the one that was saved.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Solution

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, not one of `save`'s, or of a newer schema.
    """
    with _opened(path, "Solution") as file:
        settings = json.loads(file.attrs["configuration"])
        solver, stats = file["solver"], file["stats"]
        names = (*ONE_TIME, *TWO_TIME)
        return Solution(
            problem=Problem.from_config(settings["problem"]),
            t=file["t"][()],
            values={name: file[name][()] for name in names},
            error={name: file[f"error_of_{name}"][()] for name in names},
            grid=Grid(solver["edges"][()], int(solver.attrs["stages"])),
            averages=Averages(**{name: solver[name][()] for name in AVERAGES}),
            rtol=settings["rtol"],
            seed=settings["seed"],
            success=bool(file.attrs["success"]),
            status=int(file.attrs["status"]),
            message=file.attrs["message"],
            stats=_scalars(stats) | _arrays(stats),
        )


def save_ensemble(ensemble: Ensemble, path: StrPath) -> None:
    """Write an ensemble of simulations, with means and standard errors, for `load_ensemble`.

    Parameters
    ----------
    ensemble : Ensemble
    path : path-like
        Target; an existing file is replaced only once the new one is complete.

    Raises
    ------
    TypeError
        If `ensemble` is not an Ensemble.
    ValueError
        If its problem has a signal law or network that `load_ensemble` could not rebuild.
    OSError
        If the target cannot be written; see `require_writable`.
    """
    if not isinstance(ensemble, Ensemble):
        raise TypeError(f"ensemble must be a dmft.Ensemble; got {type(ensemble).__name__}")
    settings = {
        "problem": _problem_config(ensemble.problem),
        "dimension": ensemble.dimension,
        "samples": ensemble.samples,
        "design": ensemble.design,
        "seed": ensemble.seed,
    }
    with _replaced(path) as file:
        _write_root(file, "Ensemble", "Simulations of a diagonal network", settings)
        scales = _time_scales(file, ensemble.t)
        index = _write_scale(file, "seed_index", np.arange(ensemble.seeds), "index of the seed")
        for name, runs in ensemble.runs.items():
            text, axes = LONG_NAMES[name], scales[: runs.ndim - 1]
            _write(file, name, ensemble.mean(name), axes, f"mean over seeds: {text}")
            error = f"standard error of the mean over seeds: {text}"
            _write(file, f"standard_error_of_{name}", ensemble.standard_error(name), axes, error)
            _write(file, f"runs_of_{name}", runs, (index, *axes), f"each seed: {text}")
        group = file.create_group("stats")
        for name, value in ensemble.stats.items():
            _write(group, name, value, (index,), _spaced(name), _stats_units(name))


def load_ensemble(path: StrPath) -> Ensemble:
    """Read an ensemble that `save_ensemble` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Ensemble

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is truncated, not one of `save_ensemble`'s, or of a newer schema.
    """
    with _opened(path, "Ensemble") as file:
        settings = json.loads(file.attrs["configuration"])
        problem = Problem.from_config(settings.pop("problem"))
        prefix = "runs_of_"
        runs = {k.removeprefix(prefix): v[()] for k, v in file.items() if k.startswith(prefix)}
        return Ensemble(problem, file["t"][()], runs=runs, stats=_arrays(file["stats"]), **settings)


def require_writable(path: StrPath) -> Path:
    """Check, before long work, that its result can be written to `path`.

    Returns
    -------
    Path
        The file that `path` stands for, symbolic links resolved.

    Raises
    ------
    OSError
        If the directory is missing (FileNotFoundError), not one (NotADirectoryError) or admits
        no new file (PermissionError, or what the file system reports), or if `path` is a
        directory (IsADirectoryError), no regular file, or a file without write permission.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(f"path must be a file; {target} is a directory")
    if not target.parent.exists():
        raise FileNotFoundError(f"the directory of path must exist; {target.parent} does not")
    if not target.parent.is_dir():
        raise NotADirectoryError(f"path must be in a directory; {target.parent} is a file")
    if target.exists() and not target.is_file():
        raise OSError(f"path must be a regular file; {target} is not")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"path must be writable; {target} is a read-only file")
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise type(error)(f"cannot write to directory {target.parent}: {reason}") from error
    return target


# --- files -----------------------------------------------------------------------------------


@contextmanager
def _replaced(path: StrPath) -> Iterator[Any]:
    """Give a new HDF5 file that takes the place of `path` on success and vanishes on failure."""
    target = require_writable(path)
    # unlike those of tempfile, a file that HDF5 creates has the user's usual permissions
    temporary = target.with_name(f".{uuid.uuid4().hex}.h5.tmp")
    try:
        with h5py.File(temporary, "x") as file:
            yield file
        with temporary.open("rb+") as written:  # on disk before it replaces the old one
            os.fsync(written.fileno())
        temporary.replace(target)
    except BaseException:  # an interrupt too leaves nothing behind
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(path: StrPath, kind: str) -> Iterator[Any]:
    """Give the file, checked to hold a `kind`; what fails while it is read is a ValueError."""
    Path(path).open("rb").close()  # a missing file or permission has an error of its own
    try:
        with h5py.File(path, "r") as file:
            _check_schema(file, kind)
            yield file
    # h5py raises all of these for damaged files
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is not a readable dmft.{kind} file: {error}") from error


def _check_schema(file: Any, kind: str) -> None:
    found, version = file.attrs.get("format"), file.attrs.get("schema_version")
    if found not in ("dmft.Solution", "dmft.Ensemble") or not isinstance(version, np.integer):
        raise ValueError("it was not written by dmft (no format and schema_version)")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"it has schema version {version}, and this dmft reads up to {SCHEMA_VERSION}; "
            "install a newer one"
        )
    if found != f"dmft.{kind}":
        raise ValueError(f"it holds a {found}")


# --- parts of a file -------------------------------------------------------------------------


def _write_root(file: Any, kind: str, title: str, settings: dict[str, Any]) -> None:
    file.attrs.update(
        {
            "format": f"dmft.{kind}",
            "schema_version": SCHEMA_VERSION,
            "title": title,
            "source": f"dmft {_version('dmft', __version__)}",
            "references": "arXiv:2510.01930",
            "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
            "configuration": json.dumps(settings),
            "seed": str(settings["seed"]),
            "python_version": platform.python_version(),
            "dmft_version": _version("dmft", __version__),
        }
    )
    for package in ("numpy", "scipy", "numba", "h5py"):
        file.attrs[f"{package}_version"] = _version(package, "unknown")


def _write_solver(group: Any, grid: Grid, averages: Averages) -> None:
    group.attrs["stages"] = grid.stages
    _write_scale(group, "edges", grid.edges, f"panel edges, {TIME}")
    scales = {
        f"{letter}_{name}": _write_scale(group, f"{letter}_{name}", times, f"{text}, {TIME}")
        for letter in "ts"
        for name, times, text in (
            ("start", grid.nodes_with_start, "0 and the solver's nodes"),
            ("node", grid.nodes, "the solver's nodes"),
        )
    }
    for field in fields(Averages):
        dimensions, text = AVERAGES[field.name]
        value = getattr(averages, field.name)
        _write(group, field.name, value, tuple(scales[d] for d in dimensions), text)


def _write_stats(group: Any, stats: dict[str, Any]) -> None:
    """Write scalars as attributes and one-dimensional arrays as datasets."""
    for name, value in stats.items():
        if np.ndim(value) == 0:
            group.attrs[name] = value
            continue
        index = np.arange(len(value))
        scale = _write_scale(group, f"{name}_index", index, f"index into {_spaced(name)}")
        _write(group, name, value, (scale,), _spaced(name), _stats_units(name))


def _scalars(group: Any) -> dict[str, Any]:
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in group.attrs.items()}


def _arrays(group: Any) -> dict[str, np.ndarray]:
    return {name: dataset[()] for name, dataset in group.items() if not dataset.is_scale}


def _time_scales(file: Any, t: np.ndarray) -> tuple[Any, Any]:
    return _write_scale(file, "t", t, TIME), _write_scale(file, "s", t, f"second {TIME}")


def _write_scale(group: Any, name: str, values: np.ndarray, long_name: str) -> Any:
    dataset = _write(group, name, values, (), long_name)
    dataset.make_scale(name)
    return dataset


def _write(
    group: Any,
    name: str,
    values: np.ndarray,
    scales: tuple[Any, ...],
    long_name: str,
    units: str = "1",
) -> Any:
    dataset = group.create_dataset(name, data=values)
    for axis, scale in enumerate(scales):
        dataset.dims[axis].attach_scale(scale)
    dataset.attrs.update(units=units, long_name=long_name)
    return dataset


def _stats_units(name: str) -> str:
    return "s" if name.endswith("_time") else "1"


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _problem_config(problem: Problem) -> dict[str, Any]:
    """Return the problem as JSON values, from which it can be rebuilt."""
    try:
        config = json.loads(json.dumps(problem.config(), default=np.generic.item))
        rebuilt = Problem.from_config(config)
    except (TypeError, ValueError) as error:
        raise ValueError(f"problem cannot be saved, as it cannot be rebuilt: {error}") from error
    if rebuilt != problem:
        raise ValueError(f"problem cannot be saved, as it cannot be rebuilt; got {problem!r}")
    return config


def _version(package: str, fallback: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return fallback
