"""Scores kept on disk: one Parquet file per (model, examples, way of scoring).

A file that is damaged, or of other records, or was made under another name (copied from another
model's scores), is scored again.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

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
    "ids_T": pa.int32(),
    "logp_T": pa.float32(),
    "mean_T": pa.float32(),
    "var_T": pa.float32(),
    "rank_T": pa.int32(),
    "greedy_T": pa.bool_(),
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


def write_columns(file: Path, columns: Mapping[str, pa.Array]) -> None:
    """Keep a row per example, and the file's name, which says whose they are."""
    count = len(next(iter(columns.values())))
    made_for = pa.array([file.stem] * count, pa.string())
    write_table(file, pa.table({**columns, MADE_FOR: made_for}))


def read_columns(file: Path, names: Iterable[str], what: str) -> dict[str, pa.Array] | None:
    """Read columns back; None where they are missing, damaged or another model's.

    The log says so, and names them by `what`.
    """
    if not file.exists():
        return None
    try:
        table = read_table(file)
        made_for = set(table[MADE_FOR].unique().to_pylist())
        columns = {name: table[name].combine_chunks() for name in names}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        kind = type(error).__name__
        log.warning("cached %s %s are damaged (%s): scoring again", what, file.name, kind)
        return None
    if made_for - {file.stem}:
        log.warning("cached %s %s were made for another model: scoring again", what, file.name)
        return None
    return columns


def write_cache(file: Path, results: Sequence[TokenStats]) -> None:
    """Keep token statistics: one list column per field."""
    columns = {
        name: pa.array([getattr(stats, name) for stats in results], pa.list_(kind))
        for name, kind in COLUMNS.items()
    }
    write_columns(file, columns)


def read_cache(file: Path, examples: Sequence[Example]) -> list[TokenStats] | None:
    """Read the token statistics of these examples; None where they are not there."""
    columns = read_columns(file, COLUMNS, "scores")
    if columns is None:
        return None
    results = stats_rows(map(rows_of_lists, columns.values()))
    scored = [example.ids_T[example.response_T] for example in examples]
    if len(results) != len(examples) or not all(map(agree, results, scored)):
        log.warning("cached scores %s are of other records: scoring again", file.name)
        return None
    return results


def stats_rows(columns: Iterable[Iterable[np.ndarray]]) -> list[TokenStats]:
    """Make the statistics of each row, from columns in the order of COLUMNS."""
    return [
        TokenStats(ids_T=ids, logp_T=logp, mean_T=mean, var_T=var, rank_T=rank, greedy_T=greedy)
        for ids, logp, mean, var, rank, greedy in zip(*columns, strict=True)
    ]


def rows_of_lists(column: pa.ListArray) -> list[np.ndarray]:
    """Cut a list column into rows, as numpy arrays."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.split(flat, np.cumsum(column.value_lengths().to_numpy())[:-1]) if len(column) else []


def agree(stats: TokenStats, ids_T: np.ndarray) -> bool:
    """Tell whether these are the statistics of these tokens, in every field."""
    lengths = {len(getattr(stats, name)) for name in COLUMNS}
    return lengths == {len(ids_T)} and np.array_equal(stats.ids_T, ids_T)
