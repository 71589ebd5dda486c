"""Results as named variables: stored, compared, exported and read back by one declaration.

A result type is a frozen dataclass that inherits `Result` and states itself twice:

    @dataclass(frozen=True, eq=False, repr=False)
    class Curve(Result):                                # registered by its name, "Curve"
        t: np.ndarray
        height: np.ndarray
        seed: int
        stats: dict[str, Any]

        def record(self):
            t = Variable(("t",), self.t, "time", "s")   # a coordinate has the name of its dimension
            height = Variable(("t",), self.height, "height of the ball", "m")
            return Record("A ball", {"seed": self.seed}, Group({"t": t, "height": height},
                          groups={"stats": Group.of_stats(self.stats)}))

        @classmethod
        def from_record(cls, record):
            content, stats = record.content, record.content.groups["stats"].as_stats()
            return cls(content["t"], content["height"], record.configuration["seed"], stats)

It then has `save(path)`, `Curve.load(path)`, `to_xarray()`, `to_dataframe()` and `==`, and
`dmft.storage.load(path)` returns it without being told what is in the file: a kind that is not yet
known is looked up among the public names of `dmft`. Whatever is written to a file, in any format,
goes through `replace_file`: the file appears whole or not at all.
"""

from dmft.storage.hdf5 import read
from dmft.storage.replace import remove_abandoned, replace_file, require_writable
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
    "read",
    "remove_abandoned",
    "replace_file",
    "require_writable",
]
