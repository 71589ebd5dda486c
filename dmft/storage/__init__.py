"""Results as named variables: stored, compared, exported and read back by one declaration.

A result type is a frozen dataclass that inherits `Result` and states itself twice:

    >>> import tempfile
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> @dataclass(frozen=True, eq=False, repr=False)
    ... class Curve(Result):  # registered by its name, "Curve"
    ...     t: np.ndarray
    ...     height: np.ndarray
    ...     seed: int
    ...     stats: dict
    ...
    ...     def record(self):
    ...         t = Variable(("t",), self.t, "time", "s")  # a coordinate: its dimension's name
    ...         height = Variable(("t",), self.height, "height of the ball", "m")
    ...         stats = Group.of_stats(self.stats)
    ...         content = Group({"t": t, "height": height}, groups={"stats": stats})
    ...         return Record("A ball", {"seed": self.seed}, content)
    ...
    ...     @classmethod
    ...     def from_record(cls, record):
    ...         content, stats = record.content, record.content.groups["stats"].as_stats()
    ...         return cls(content["t"], content["height"], record.configuration["seed"], stats)
    ...
    ...     def summary(self):  # of `repr`
    ...         return {"height": f"{self.height[-1]:g} m at last"}

It then has `save(path)`, `Curve.load(path)`, `to_xarray()`, `to_dataframe()` and `==`, and
`load(path)` returns it without being told what is in the file:

    >>> curve = Curve(np.arange(3.0), np.array([5.0, 4.0, 1.0]), 0, {"wall_time": 0.1})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     curve.save(f"{folder}/curve.h5")
    ...     load(f"{folder}/curve.h5") == curve
    True

A kind that is not yet registered is looked up among the public names of `dmft`. Whatever is
written to a file, in any format, goes through `replace_file`, or `put_file` where there are many:
it appears whole or not at all.
"""

from dmft.storage.hdf5 import read, write
from dmft.storage.replace import (
    put_file,
    remove_abandoned,
    replace_file,
    require_writable,
    write_arrays,
)
from dmft.storage.result import Result, from_record, load
from dmft.storage.variables import Group, Record, Variable, configuration_of

__all__ = [
    "Group",
    "Record",
    "Result",
    "Variable",
    "configuration_of",
    "from_record",
    "load",
    "put_file",
    "read",
    "remove_abandoned",
    "replace_file",
    "require_writable",
    "write",
    "write_arrays",
]
