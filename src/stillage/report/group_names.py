"""Names of groups that may be printed: private values become numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stillage.data.columns import LENGTH
from stillage.report.private import Disclosure
from stillage.report.redact import SAFE_PARTS, parsed
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

QUARTER = re.compile(r"(quarter [1-4]) \((.+) to (.+)\)")
OURS = re.compile(r"\(none\)|\d+ other values")
"""Groups that the audit makes itself (audit.slices.slice_labels), besides quarters."""


def column_values(
    records: pa.Table | None, columns: Sequence[str]
) -> dict[str, tuple[set[str], set[str]]]:
    """Read the values of each column: of protected records, and of public ones."""
    found: dict[str, tuple[set[str], set[str]]] = {column: (set(), set()) for column in columns}
    if records is None or "meta" not in records.column_names or not columns:
        return found
    for batch in records.select(["part", "meta"]).to_batches(max_chunksize=4096):
        for part, cell in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            meta = parsed(cell)
            for column in columns if isinstance(meta, Mapping) else ():
                if column in meta:
                    found[column][part in SAFE_PARTS].add(str(meta[column]))
    return found


def shown_names(
    labels: Iterable[str],
    values: Mapping[str, tuple[set[str], set[str]]],
    sight: Disclosure,
    *,
    is_known: bool,
) -> dict[str, str]:
    """Choose what is printed for each label "column: value" that may not stand.

    is_known: whether there are records to tell private values by; without them every value counts
    as private. Groups of a column are numbered in an order that only the key knows. Where one
    column's name begins with another's ("name" and "name: of kin") a label may be of either, and
    what neither hides is shown.
    """
    numbered: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for label in sorted(set(labels)):
        columns = sorted((one for one in values if label.startswith(f"{one}: ")), key=len)
        shown = label
        for column in columns:
            value = shown_value(
                label.removeprefix(f"{column}: "), column, values[column], is_known=is_known
            )
            shown = min(shown, f"{column}: {value}" if value else "", key=len)
        if columns and not shown:
            numbered.setdefault(columns[-1], []).append(label)
        elif shown != label:
            names[label] = shown
    for column, found in numbered.items():
        found.sort(key=lambda label: sight.keyed("group", label))
        width = len(str(len(found)))
        names |= {
            label: f"group {number:0{width}d} of {column}" for number, label in enumerate(found, 1)
        }
    return names


def shown_value(
    value: str, column: str, values: tuple[set[str], set[str]], *, is_known: bool
) -> str:
    """Choose what may be printed of a group of a column; empty: nothing of it.

    Public values and the audit's own names of groups: (none), the rest together, and the lengths of
    responses where no record has such a column. A quarter loses its range unless both its ends are
    public.
    """
    private, public = values
    if value in public:
        return value
    if value in private:
        return ""
    counted = is_known and column == LENGTH and not (private or public)
    quarter = QUARTER.fullmatch(value)
    if quarter:
        return value if counted or {quarter[2], quarter[3]} <= public else quarter[1]
    return value if OURS.fullmatch(value) or (counted and value.isdecimal()) else ""


def renamed(results: Iterable[Result], names: Mapping[str, str]) -> tuple[Result, ...]:
    """Name the groups of results as they are printed."""
    return tuple(replace(row, dataset=names.get(row.dataset, row.dataset)) for row in results)
