"""Designs and targets from files: .npy, .npz, .csv and HDF5."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("X", "y", "w_star")


def read_data(path: str | os.PathLike[str]) -> tuple[np.ndarray, ...]:
    """Read X, (X, y) or (X, y, w_star) from a file, as `dmft.simulate(data=...)` takes it.

    Parameters
    ----------
    path : path
        .npy: X. .npz or HDF5 (.h5, .hdf5): arrays X and, where present, y and w_star. .csv: a
        header and numbers; the column called y, if there is one, is y, the others are X.

    Returns
    -------
    tuple of ndarray
        (X,), (X, y) or (X, y, w_star).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file has another ending, is damaged or holds something else.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"data must end in one of {', '.join(READERS)}; got {str(path)!r}")
    if not path.exists():
        raise FileNotFoundError(f"No such file or directory: {str(path)!r}")
    try:
        found = reader(path)
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"data cannot be read from {str(path)!r}: {error}") from None
    if "X" not in found:
        raise ValueError(f"data must hold an array X; {str(path)!r} holds {sorted(found)}")
    if "w_star" in found and "y" not in found:
        raise ValueError(f"data with w_star must hold y; {str(path)!r} holds {sorted(found)}")
    return tuple(found[name] for name in NAMES if name in found)


def _npy(path: Path) -> dict[str, Any]:
    return {"X": np.load(path, allow_pickle=False)}


def _npz(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _hdf5(path: Path) -> dict[str, Any]:
    import h5py

    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in NAMES if name in file}


def _csv(path: Path) -> dict[str, Any]:
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    values = np.array([_row_of_numbers(k + 2, row, head) for k, row in enumerate(rows)])
    values = values.reshape(len(rows), len(head))
    if "y" not in head:
        return {"X": values}
    target = head.index("y")
    return {"X": np.delete(values, target, axis=1), "y": values[:, target]}


def _row_of_numbers(line: int, row: list[str], head: list[str]) -> list[float]:
    if len(row) != len(head):
        raise ValueError(f"line {line} has {len(row)} entries, the header {len(head)}")
    numbers = []
    for name, cell in zip(head, row, strict=True):
        try:
            numbers.append(float(cell) if cell.strip() else float("nan"))
        except ValueError:
            raise ValueError(f"line {line}, column {name!r} is no number: {cell!r}") from None
    return numbers


READERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".csv": _csv,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
}
