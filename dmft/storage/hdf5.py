"""Records as HDF5 files that netCDF-4 readers, such as xarray, understand.

    /t, /s                  coordinates: scales of the dimensions of that name
    /<name>                 a variable, with `units`, `long_name` and its dimensions' scales
    /<group>/...            further groups: "solver", from which a solver goes on; "stats"
    attributes of /         `format` (dmft.<kind>), schema and package versions, title, UTC time,
                            the configuration as JSON, the seed as text (it may exceed 64 bits),
                            and the result's own scalars

The file is made in memory, so that no error of a disk reaches HDF5, and ends in a digest
(`dmft.storage.digest`) that is checked before HDF5 parses anything.

Schema 1 had no digest. Its files begin with an older superblock of HDF5 than those of schema 2,
which is how a file that has lost its digest is told from one that never had any.
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dmft import __version__
from dmft.interrupts import deferred
from dmft.storage.digest import seal, sealed, unsealed
from dmft.storage.replace import StrPath, replace_file
from dmft.storage.variables import Group, Record, Variable

SCHEMA_VERSION = 2
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FORMAT = "dmft."  # begins the attribute `format`, which goes on with the kind of result
# Files in this format of HDF5 (1.8) can be read by every version since 2008; unlike older ones
# their metadata has checksums of its own.
LIBRARY = ("v108", "v108")
PACKAGES = ("numpy", "scipy", "numba", "h5py")
TEXT = h5py.h5t.py_create(h5py.string_dtype(), logical=True)  # in a file
TEXT_OBJECT = h5py.h5t.py_create(h5py.string_dtype())  # in memory
SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)
# Attributes that the writer adds; all others are a result's own scalars.
ADMINISTRATIVE = {
    *("format", "schema_version", "title", "source", "references", "date_created", "seed"),
    *("configuration", "python_version", "dmft_version", *(f"{p}_version" for p in PACKAGES)),
}


def write(
    kind: str,
    record: Record,
    path: StrPath,
    put: Callable[[StrPath, bytes], Path] = replace_file,
) -> Path:
    """Write a record of a kind of result; an existing file is replaced once the new one is whole.

    `put` writes the content of a file: `replace_file`, or `put_file` for one of many.

    Raises
    ------
    ValueError
        If variables disagree about the length of a dimension.
    TypeError
        If something in the record has no place in such a file.
    OSError
        If the target cannot be written.

    Examples
    --------
    >>> import dmft, tempfile
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write("Solution", solution.record(), f"{folder}/run.h5").name
    'run.h5'
    """
    with deferred():  # HDF5 calls back into Python, where an interrupt would be lost
        content = seal(_encoded(kind, record))
    return put(path, content)


def read(path: StrPath, verify: bool = True) -> tuple[str, Record]:
    """Return the kind of result in a file that `write` wrote, and its record.

    Parameters
    ----------
    path : path-like
    verify : bool
        Whether a file whose digest does not hold is refused; otherwise it is parsed as it is.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, not one of `write`'s, or of a newer schema.

    Examples
    --------
    >>> import dmft, tempfile
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     solution.save(f"{folder}/run.h5")
    ...     read(f"{folder}/run.h5")[0]
    'Solution'
    """
    data = Path(path).read_bytes()  # once, so that what is checked is what is parsed
    with reading(path):
        if not data.startswith(SIGNATURE):
            raise ValueError("it is no HDF5 file")
        superblock = data[len(SIGNATURE) : len(SIGNATURE) + 1]
        first_schema = superblock == b"\0" and not sealed(data)
        if verify and not first_schema:
            data = unsealed(data)
        with deferred(), h5py.File(io.BytesIO(data), "r") as file:
            return _decoded(file)


@contextmanager
def reading(path: StrPath) -> Iterator[None]:
    """Turn what goes wrong inside into a ValueError that names the file.

    Examples
    --------
    >>> with reading("run.h5"):
    ...     pass
    """
    try:
        yield
    # h5py raises all of these for files that are not as they should be
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise ValueError(f"{path} is not a readable file of dmft: {text}") from error


# --- writing -----------------------------------------------------------------------------------


def _encoded(kind: str, record: Record) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver=LIBRARY) as file:
        _set_attributes(file, _administration(kind, record))
        _write_group(file, record.content, {})
    return buffer.getvalue()


def _administration(kind: str, record: Record) -> dict[str, Any]:
    version = _version("dmft", __version__)
    return {
        "format": f"{FORMAT}{kind}",
        "schema_version": SCHEMA_VERSION,
        "title": record.title,
        "source": f"dmft {version}",
        "references": record.references,
        "date_created": datetime.now(UTC).isoformat(timespec="seconds"),
        "configuration": json.dumps(record.configuration),
        **({"seed": str(record.configuration["seed"])} if "seed" in record.configuration else {}),
        "python_version": platform.python_version(),
        "dmft_version": version,
        **{f"{package}_version": _version(package, "unknown") for package in PACKAGES},
    }


def _write_group(target: Any, group: Group, outer: dict[str, Any]) -> None:
    """Write a group; `outer` holds the scales of the groups around it."""
    scales = dict(outer)
    for dimension, size in group.sizes().items():
        if dimension in group.variables or dimension not in outer:
            index = Variable((dimension,), np.arange(size), f"index of {dimension}")
            scale = _write(target, dimension, group.variables.get(dimension, index))
            scale.make_scale(dimension)
            scales[dimension] = scale
    for name, variable in group.variables.items():
        if variable.dimensions != (name,):
            dataset = _write(target, name, variable)
            for axis, dimension in enumerate(variable.dimensions):
                dataset.dims[axis].attach_scale(scales[dimension])
    _set_attributes(target, group.attributes)
    for name, inner in group.groups.items():
        _write_group(target.create_group(name), inner, scales)


def _write(target: Any, name: str, variable: Variable) -> Any:
    values = variable.values
    if values.dtype.kind == "U":
        values = values.astype(h5py.string_dtype())
    dataset = target.create_dataset(name, data=values)
    _set_attributes(dataset, {"units": variable.units, "long_name": variable.long_name})
    return dataset


def _set_attributes(target: Any, values: Mapping[str, Any]) -> None:
    """Set attributes of a new object.

    Texts and numbers, which most are, are written without h5py's `attrs`: that makes each under
    another name and renames it, in case there is an old one, in five times the time.
    """
    for name, value in values.items():
        if isinstance(value, str):
            attribute = h5py.h5a.create(target.id, name.encode(), TEXT, SCALAR)
            attribute.write(np.array(value, dtype=object), mtype=TEXT_OBJECT)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = np.array(value)
            kind = h5py.h5t.py_create(number.dtype, logical=True)
            h5py.h5a.create(target.id, name.encode(), kind, SCALAR).write(number)
        else:
            target.attrs[name] = value


@cache
def _version(package: str, fallback: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return fallback


# --- reading -----------------------------------------------------------------------------------


def _decoded(file: Any) -> tuple[str, Record]:
    found, version = file.attrs.get("format"), file.attrs.get("schema_version")
    ours = isinstance(found, str) and found.startswith(FORMAT)
    if not ours or not isinstance(version, np.integer):
        raise ValueError("it was not written by dmft (no format and schema_version)")
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"it has schema version {version}, and this dmft reads up to {SCHEMA_VERSION}; "
            "install a newer one"
        )
    content = _read_group(file, {})
    own = {k: v for k, v in content.attributes.items() if k not in ADMINISTRATIVE}
    rest = {k: v for k, v in content.attributes.items() if k in ADMINISTRATIVE - {"configuration"}}
    record = Record(
        title=file.attrs["title"],
        configuration=json.loads(file.attrs["configuration"]),
        content=Group(content.variables, own, content.groups),
        references=file.attrs["references"],
        provenance=rest,
    )
    return found.removeprefix(FORMAT), record


def _read_group(source: Any, outer: dict[Any, str]) -> Group:
    """Read a group; `outer` holds the names of the scales around it by their place in the file."""
    items = dict(source.items())
    datasets = {name: item for name, item in items.items() if isinstance(item, h5py.Dataset)}
    scales = {_place(item): name for name, item in datasets.items() if item.is_scale} | outer
    variables = {name: _read_variable(name, item, scales) for name, item in datasets.items()}
    groups = {n: _read_group(item, scales) for n, item in items.items() if n not in datasets}
    attributes = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in source.attrs.items()
    }
    return Group(variables, attributes, groups)


def _read_variable(name: str, dataset: Any, scales: dict[Any, str]) -> Variable:
    if dataset.is_scale:
        dimensions: tuple[str, ...] = (name,)
    else:
        dimensions = tuple(scales[_place(axis[0])] for axis in dataset.dims)
    text = h5py.check_string_dtype(dataset.dtype) is not None
    values = np.array(dataset.asstr()[()], dtype=str) if text else np.asarray(dataset[()])
    values.setflags(write=False)
    return Variable(dimensions, values, dataset.attrs["long_name"], dataset.attrs["units"])


def _place(dataset: Any) -> int:
    """Return the address of a dataset in its file."""
    return h5py.h5o.get_info(dataset.id).addr
