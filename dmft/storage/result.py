"""What every result can do: it is saved, loaded, exported and compared by its declaration."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dmft.display import Summarised
from dmft.storage import hdf5
from dmft.storage.replace import StrPath
from dmft.storage.variables import Record

if TYPE_CHECKING:
    import pandas
    import xarray

_KINDS: dict[str, type[Result]] = {}


class Result(Summarised):
    """A value that declares its named variables.

    A subclass defines `record`, `from_record` and `summary`; it is registered by `kind`, its own
    name by default, which is how a file says what it holds.

    See Also
    --------
    dmft.storage : an example.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.1)
    >>> solution.kind, type(solution.record()).__name__
    ('Solution', 'Record')
    """

    kind: ClassVar[str]

    @property
    def sources(self) -> tuple[str, ...]:
        """What the result rests on, by the keys of `dmft.citations`."""
        return ("2510.01930",)

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Register the class by its kind."""
        super().__init_subclass__(**arguments)
        cls.kind = vars(cls).get("kind", cls.__name__)
        _KINDS[cls.kind] = cls

    @abstractmethod
    def record(self) -> Record:
        """Return everything that is stored, from which `from_record` makes an equal result."""

    @classmethod
    @abstractmethod
    def from_record(cls, record: Record) -> Self:
        """Return the result of which this is the record.

        Raises
        ------
        ValueError, LookupError, TypeError
            If something is missing or out of its range.
        """

    def save(self, path: StrPath) -> None:
        """Write the result to an HDF5 file that `dmft.load` and xarray read.

        Parameters
        ----------
        path : path-like
            Target; an existing file is replaced only once the new one is complete.

        Raises
        ------
        ValueError
            If a part of it, such as the problem's signal law, could not be rebuilt from the file.
        OSError
            If the target cannot be written; nothing is left behind then.
        """
        hdf5.write(self.kind, self.record(), path)

    @classmethod
    def load(cls, path: StrPath, *, verify: bool = True) -> Self:
        """Read a result of this class; see `dmft.load`.

        Raises
        ------
        ValueError
            If the file holds another kind of result, or as `dmft.load` does.
        """
        result = load(path, verify=verify)
        if not isinstance(result, cls):
            raise ValueError(f"{path} is not a file of a dmft.{cls.kind}: it holds {result.kind}")
        return result

    def to_xarray(self) -> xarray.Dataset:
        """Return the variables as an xarray.Dataset, which is what xarray reads from the file.

        Raises
        ------
        ImportError
            If xarray is not installed.
        """
        from dmft.storage.export import to_xarray

        return to_xarray(self.record())

    def to_dataframe(self, *names: str) -> pandas.DataFrame:
        """Return variables as a pandas.DataFrame, indexed by their dimensions.

        Parameters
        ----------
        *names : str
            Variables of the same dimensions; by default all whose dimensions are those of the
            first one that is no coordinate (of a solution: all functions of t).

        Raises
        ------
        ImportError
            If xarray or pandas is not installed.
        ValueError
            If there is no such variable, or their dimensions differ.
        """
        from dmft.storage.export import to_dataframe

        return to_dataframe(self.record(), names)

    def __eq__(self, other: object) -> bool:
        """Two results of a class are equal when all is equal to the last bit but wall times."""
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Result)
        return self.record().fingerprint() == other.record().fingerprint()

    __hash__ = None  # type: ignore[assignment]  # results are compared by their numbers


def load(path: StrPath, *, verify: bool = True) -> Any:
    """Read the result that a file holds, whatever its kind.

    Parameters
    ----------
    path : path-like
        A file that a result's `save` wrote.
    verify : bool
        Whether the digest of the whole content is checked before the file is parsed. Without it
        a file that another program has changed is read, and a damaged one may give anything.

    Returns
    -------
    Result
        Such as a `dmft.Solution` or `dmft.Ensemble`; it equals the one that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or truncated, was not written by dmft, or has a newer schema.

    Examples
    --------
    >>> import dmft, tempfile
    >>> solution = dmft.solve(dmft.Problem(0.5), 1.0, rtol=0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     solution.save(f"{folder}/run.h5")
    ...     dmft.load(f"{folder}/run.h5") == solution
    True
    """
    kind, record = hdf5.read(path, verify)
    with hdf5.reading(path):
        return from_record(kind, record)


def from_record(kind: str, record: Record) -> Any:
    """Return the result of a kind, such as "Solution", that a record was made of.

    Raises
    ------
    ValueError, LookupError, TypeError
        If the kind is unknown, or the record not one of its own.

    Examples
    --------
    >>> import dmft
    >>> solution = dmft.solve(dmft.Problem(0.5, network="linear"), 1.0, rtol=0.1)
    >>> from_record("Solution", solution.record()) == solution
    True
    """
    return _class_of(kind).from_record(record)


def _class_of(kind: str) -> type[Result]:
    """Return the class of a kind, imported if it is a public name of dmft."""
    if kind not in _KINDS:
        package = importlib.import_module("dmft")
        if kind in package.__all__:
            getattr(package, kind)  # its import registers it
    if kind not in _KINDS:
        raise ValueError(f"it holds a {kind}, which this dmft does not know")
    return _KINDS[kind]
