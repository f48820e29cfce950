"""Scores kept on disk: one Parquet file per (model, examples, way of scoring).

A file that is damaged, or of other records, or was made under another name (copied from another
model's scores), is scored again.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from stillage.run.folder import read_table, write_table
from stillage.types import TokenStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from stillage.types import Example

log = logging.getLogger("stillage")
SCHEMA = 2  # raise it when scoring changes: older files are then no longer found
COLUMNS = {
    "ids_T": pa.list_(pa.int32()),
    "logp_T": pa.list_(pa.float32()),
    "mean_T": pa.list_(pa.float32()),
    "var_T": pa.list_(pa.float32()),
    "rank_T": pa.list_(pa.int32()),
    "greedy_T": pa.list_(pa.bool_()),
}
MADE_FOR = "made_for"  # one more column: the name that the file was written under


def cache_file(folder: Path, key: str, examples: Sequence[Example]) -> Path:
    """Name the file of these examples' scores by the sha256 of all that decides them."""
    digest = hashlib.sha256(f"{SCHEMA}\x1f{key}\x1f{len(examples)}\x1f".encode())
    for example in examples:
        digest.update(len(example.ids_T).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(example.ids_T, np.int32).tobytes())
        digest.update(np.ascontiguousarray(example.response_T, bool).tobytes())
    return folder / f"{digest.hexdigest()}.parquet"


def write_rows(file: Path, kinds: Mapping[str, pa.DataType], rows: Sequence[object]) -> None:
    """Keep the named fields of each row, and the file's name: it says whose they are."""
    columns = {
        name: pa.array([getattr(row, name) for row in rows], kind) for name, kind in kinds.items()
    }
    made_for = pa.array([file.stem] * len(rows), pa.string())
    write_table(file, pa.table({**columns, MADE_FOR: made_for}))


def read_rows(file: Path, names: Iterable[str], what: str) -> list[dict[str, Any]] | None:
    """Read each row's fields back: numbers, or arrays of them.

    None where they are missing, damaged or another model's: the log says so, and names them by
    `what`.
    """
    if not file.exists():
        return None
    try:
        table = read_table(file)
        made_for = set(table[MADE_FOR].unique().to_pylist())
        columns = {name: rows_of_column(table[name].combine_chunks()) for name in names}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        kind = type(error).__name__
        log.warning("cached %s %s are damaged (%s): scoring again", what, file.name, kind)
        return None
    if made_for - {file.stem}:
        log.warning("cached %s %s were made for another model: scoring again", what, file.name)
        return None
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def rows_of_column(column: pa.Array) -> list[Any]:
    """Return a column's values; of a column of lists, each as a numpy array."""
    if not isinstance(column, pa.ListArray) or not len(column):
        return column.to_pylist()
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.split(flat, np.cumsum(column.value_lengths().to_numpy())[:-1])


def stats_of(values: Iterable[Any]) -> TokenStats:
    """Make token statistics of arrays in the order of COLUMNS."""
    return TokenStats(**dict(zip(COLUMNS, values, strict=True)))


def read_stats(file: Path, examples: Sequence[Example]) -> list[TokenStats] | None:
    """Read the token statistics of these examples; None where they are not there."""
    rows = read_rows(file, COLUMNS, "scores")
    if rows is None:
        return None
    if len(rows) != len(examples) or not all(map(agree, rows, examples)):
        log.warning("cached scores %s are of other records: scoring again", file.name)
        return None
    pairs = zip(rows, examples, strict=True)
    return [TokenStats(**row, span=example.span) for row, example in pairs]


def agree(row: Mapping[str, np.ndarray], example: Example) -> bool:
    """Tell whether these are the statistics of an example's tokens, in every field."""
    ids_T = example.ids_T[example.response_T]
    return {*map(len, row.values())} == {len(ids_T)} and np.array_equal(row["ids_T"], ids_T)
