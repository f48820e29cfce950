"""Results as a Parquet table: a row a number, columns and rows in a fixed order."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.run.folder import read_table, write_table
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = dataclasses.fields(Result)


def schema() -> pa.Schema:
    """The columns of results.parquet: the fields of Result, in their order."""
    import pyarrow as pa

    kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
    return pa.schema([(entry.name, kinds[str(entry.type)]) for entry in FIELDS])


def write_results(
    path: Path, results: Iterable[Result], swept: Iterable[Mapping[str, object]] = ()
) -> None:
    """Write results, sorted by everything that names them.

    swept: for each result, the values of settings that a sweep varied; each setting is a column
    after the others, unless it is called as one of them (`seed`), which then holds it already.
    """
    import pyarrow as pa

    keys = ("run", "stage", "model", "dataset", "metric", "attack", "note", "method", "seed")
    rows = [dataclasses.asdict(result) for result in results]
    names = {entry.name for entry in FIELDS}
    added = [
        {name: value for name, value in values.items() if name not in names} for values in swept
    ]
    order = sorted(range(len(rows)), key=lambda place: [rows[place][key] for key in keys])
    table = pa.Table.from_pylist([rows[place] for place in order], schema=schema())
    for name in dict.fromkeys(name for values in added for name in values):
        table = table.append_column(name, pa.array([added[place].get(name) for place in order]))
    write_table(path, table)


def read_results(path: Path) -> list[Result]:
    """Read what `write_results` wrote, without the columns of a sweep."""
    table, names = read_table(path), {entry.name for entry in FIELDS}
    return [
        Result(**row)
        for row in table.select([name for name in table.column_names if name in names]).to_pylist()
    ]
