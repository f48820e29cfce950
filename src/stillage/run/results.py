"""Results as a Parquet table: one row a number, in a fixed order of columns and rows, so that equal runs give equal bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
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


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write results, sorted by everything that names them."""
    import pyarrow as pa

    keys = ("run", "stage", "model", "dataset", "metric", "attack", "note", "method", "seed")
    rows = sorted((dataclasses.asdict(result) for result in results), key=lambda row: [row[key] for key in keys])
    write_table(path, pa.Table.from_pylist(rows, schema=schema()))


def read_results(path: Path) -> list[Result]:
    """Read what `write_results` wrote."""
    return [Result(**row) for row in read_table(path).to_pylist()]
