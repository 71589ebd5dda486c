"""Records for other libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmft.storage.variables import Record

if TYPE_CHECKING:
    import pandas
    import xarray


def to_xarray(record: Record) -> xarray.Dataset:
    """Return the variables of a record, without its groups, as an xarray.Dataset; see `Result`."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError("to_xarray needs xarray: pip install xarray") from error
    content = record.content
    variables: dict[str, Any] = {
        name: (v.dimensions, v.values, {"units": v.units, "long_name": v.long_name})
        for name, v in content.variables.items()
    }
    coordinates = {name: v for name, v in variables.items() if v[0] == (name,)}
    others = {name: v for name, v in variables.items() if name not in coordinates}
    attributes = {"title": record.title, "references": record.references, **content.attributes}
    return xarray.Dataset(others, coordinates, attributes)


def to_dataframe(record: Record, names: tuple[str, ...]) -> pandas.DataFrame:
    """Return the named variables, or all functions of the first dimension, as a DataFrame."""
    variables = record.content.variables
    unknown = [name for name in names if name not in variables]
    if unknown:
        raise ValueError(f"names must be among {sorted(variables)}; got {unknown[0]!r}")
    plain = [name for name, v in variables.items() if v.dimensions != (name,)]
    dimensions = variables[(names or plain)[0]].dimensions
    wanted = list(names) or [n for n in plain if variables[n].dimensions == dimensions]
    for name in wanted:
        if variables[name].dimensions != dimensions:
            raise ValueError(
                f"names must have the same dimensions; {wanted[0]} has {dimensions} and {name} "
                f"has {variables[name].dimensions}"
            )
    return to_xarray(record)[wanted].to_dataframe(dim_order=list(dimensions))
