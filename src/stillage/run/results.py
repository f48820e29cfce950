"""results.parquet: a row a number, in a fixed order; equal runs give equal bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import DataError, listed
from stillage.run.folder import read_table, write_table
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.functional.binomial import Interval

COLUMNS = {entry.name: str(entry.type) for entry in dataclasses.fields(Result)}
ORDER = ("run", "stage", "model", "dataset", "metric", "attack", "fpr", "quantile", "threshold")
ORDER += ("block", "draws", "probability", "tokens", "against", "part", "decoding", "over")
ORDER += ("method", "seed")
"""The columns that name a number; rows are sorted by them."""


def schema() -> pa.Schema:
    """Give the columns of results.parquet: the fields of Result, in their order."""
    import pyarrow as pa

    kinds = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
    return pa.schema([(name, kinds[kind.partition(" ")[0]]) for name, kind in COLUMNS.items()])


def sort_key(row: Result) -> list[str | float]:
    """Give the sorting key of a row; what does not apply comes first."""
    values = (getattr(row, name) for name in ORDER)
    return [-1e9 if value is None or value != value else value for value in values]


def measured_row(
    row: Result, metric: str, interval: Interval, *, unit: str = "", n: int | None = None
) -> Result:
    """Fill a metric and its interval into a row; n: its records, if not the row's."""
    return dataclasses.replace(
        row,
        metric=metric,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        unit=unit,
        n=row.n if n is None else n,
    )


def write_results(
    path: Path, results: Iterable[Result], swept: Iterable[Mapping[str, object]] = ()
) -> None:
    """Write results, sorted by everything that names them.

    swept: for each result, the values of settings that a sweep varied; each setting is a column
    after the others, unless it is called as one of them (`seed`), which then holds it already.
    """
    import pyarrow as pa

    rows = list(results)
    added = [{name: one for name, one in values.items() if name not in COLUMNS} for values in swept]
    order = sorted(range(len(rows)), key=lambda index: sort_key(rows[index]))
    table = pa.Table.from_pylist(
        [dataclasses.asdict(rows[index]) for index in order], schema=schema()
    )
    for name in dict.fromkeys(name for values in added for name in values):
        table = table.append_column(name, pa.array([added[index].get(name) for index in order]))
    write_table(path, table)


def read_results(path: Path) -> list[Result]:
    """Read what `write_results` wrote, without the columns of a sweep."""
    table = read_table(path)
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise DataError(
            "These results were written by an older version.",
            f"{path}; missing columns: {listed(missing)}",
            "Run it again, with the command that made them and another --out.",
        )
    return [Result(**row) for row in table.select(list(COLUMNS)).to_pylist()]
