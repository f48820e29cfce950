"""Scores kept on disk: one Parquet file per (model, tokenizer, examples, way of scoring).

A file that is damaged, or of other records, or was made under another name (copied from another model's scores), is
scored again.
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
    from collections.abc import Sequence
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
MADE_FOR = "made_for"  # one more column: the name that the file was written under, which says whose scores they are


def cache_file(folder: Path, key: str, examples: Sequence[Example]) -> Path:
    """Where the scores of these examples by this model are kept: named by the sha256 of all that decides them."""
    digest = hashlib.sha256(f"{SCHEMA}\x1f{key}\x1f{len(examples)}\x1f".encode())
    for example in examples:
        digest.update(len(example.ids_T).to_bytes(8, "little"))
        digest.update(np.ascontiguousarray(example.ids_T, np.int32).tobytes())
        digest.update(np.ascontiguousarray(example.response_T, bool).tobytes())
    return folder / f"{digest.hexdigest()}.parquet"


def write_cache(file: Path, results: Sequence[TokenStats]) -> None:
    """Keep the scores: one row per example, one list column per field."""
    columns = {
        name: pa.array([getattr(stats, name) for stats in results], pa.list_(kind))
        for name, kind in COLUMNS.items()
    }
    write_table(
        file, pa.table({**columns, MADE_FOR: pa.array([file.stem] * len(results), pa.string())})
    )


def read_cache(file: Path, examples: Sequence[Example]) -> list[TokenStats] | None:
    """The scores in a file, or None where there is none or it is damaged (said in the log)."""
    if not file.exists():
        return None
    try:
        table = read_table(file)
        made_for = set(table[MADE_FOR].unique().to_pylist())
        columns = {name: split(table[name].combine_chunks()) for name in COLUMNS}
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        log.warning(
            "cached scores %s are damaged (%s): scoring again", file.name, type(error).__name__
        )
        return None
    if made_for - {file.stem}:
        log.warning("cached scores %s were made for another model: scoring again", file.name)
        return None
    results = [
        TokenStats(ids_T=ids, logp_T=logp, mean_T=mean, var_T=var, rank_T=rank, greedy_T=greedy)
        for ids, logp, mean, var, rank, greedy in zip(*columns.values(), strict=False)
    ]
    scored = [example.ids_T[example.response_T] for example in examples]
    if len(results) != len(examples) or not all(map(agree, results, scored)):
        log.warning("cached scores %s are of other records: scoring again", file.name)
        return None
    return results


def split(column: pa.ListArray) -> list[np.ndarray]:
    """The rows of a list column as numpy arrays."""
    flat = column.flatten().to_numpy(zero_copy_only=False)
    return np.split(flat, np.cumsum(column.value_lengths().to_numpy())[:-1]) if len(column) else []


def agree(stats: TokenStats, ids_T: np.ndarray) -> bool:
    """Are these the statistics of these tokens, in every field?"""
    lengths = {len(getattr(stats, name)) for name in COLUMNS}
    return lengths == {len(ids_T)} and np.array_equal(stats.ids_T, ids_T)
