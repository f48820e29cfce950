"""Canaries that stand in the documents by themselves, before anything is injected."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger("stillage")
COLUMNS = {"canary": "int32", "role": "string", "documents": "int32", "occurrences": "int64"}
"""documents: how many hold it; occurrences: at how many places in all."""
PLACES = {"hosts": "documents that are to hold canaries", "others": "the other documents"}


def occurrences(documents: Sequence[Array], canaries: pa.Table) -> pa.Table:
    """Count where canaries stand verbatim in documents: a row of COLUMNS for each.

    documents: ids [T] each, as they are before injection. canaries: of CANARIES. O(T log canaries).
    """
    import pyarrow as pa

    from stillage.mosaic.table_columns import table_schema

    ids = [tuple(one) for one in canaries["ids"].to_pylist()]
    numbers: dict[tuple[int, ...], list[int]] = {}
    for number, one in enumerate(ids):
        numbers.setdefault(one, []).append(number)
    held, times = [0] * len(ids), [0] * len(ids)
    for document in documents:
        for canary, count in counts_in(document, list(numbers)).items():
            for number in numbers[canary]:
                held[number] += 1
                times[number] += count
    columns = [canaries["canary"].to_pylist(), canaries["role"].to_pylist(), held, times]
    kinds = table_schema(COLUMNS)
    arrays = [pa.array(one, kind.type) for one, kind in zip(columns, kinds, strict=True)]
    return pa.Table.from_arrays(arrays, schema=kinds)


def counts_in(
    document: Array, canaries: Sequence[tuple[int, ...]]
) -> Mapping[tuple[int, ...], int]:
    """Count at how many places each of some different texts stands in a document."""
    by_start: dict[int, list[tuple[int, ...]]] = {}
    for canary in canaries:
        if len(canary) > 1:
            by_start.setdefault(pair(*canary[:2]), []).append(canary)
    ids_T = np.asarray(document, np.int64)
    starts = np.flatnonzero(np.isin((ids_T[:-1] << 32) | ids_T[1:], list(by_start)))
    counts: dict[tuple[int, ...], int] = {}
    for start in starts.tolist():
        for canary in by_start[pair(int(ids_T[start]), int(ids_T[start + 1]))]:
            if tuple(ids_T[start : start + len(canary)].tolist()) == canary:
                counts[canary] = counts.get(canary, 0) + 1
    return counts


def pair(first: int, second: int) -> int:
    """Write two ids as one number."""
    return (first << 32) | second


def with_occurrences(
    canaries: pa.Table, hosts: Sequence[Array], others: Sequence[Array]
) -> pa.Table:
    """Add to the metadata of canaries how many stand in the documents; warn of them.

    hosts, others: documents that are to hold canaries and those that are not, ids [T] each.
    "occurrences" (JSON): of each, how many canaries of each role stand there, at how many places.
    """
    documents = {"hosts": hosts, "others": others}
    facts = {place: role_counts(occurrences(ids, canaries)) for place, ids in documents.items()}
    for words in warnings_of(facts):
        log.warning("%s", words)
    metadata = {**(canaries.schema.metadata or {}), b"occurrences": json.dumps(facts).encode()}
    return canaries.replace_schema_metadata(metadata)


def role_counts(found: pa.Table) -> dict[str, int]:
    """Count the canaries of each role that occur, and their places."""
    rows = [row for row in found.to_pylist() if row["occurrences"]]
    roles = {
        f"{role}s": sum(row["role"] == role for row in rows) for role in ("member", "nonmember")
    }
    return {**roles, "places": sum(row["occurrences"] for row in rows)}


def warnings_of(facts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Say which canaries a model reads beyond what is injected."""
    for place, counts in facts.items():
        if counts["places"]:
            yield (
                f"{counts['members']} members and {counts['nonmembers']} nonmembers stand in "
                f"{PLACES[place]} already ({counts['places']} places): the model reads them there, "
                "whatever is injected"
            )
