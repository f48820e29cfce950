"""Names of groups that may be printed: a value of a private column becomes a number, unless public records have it too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stillage.report.private import Sight
from stillage.report.redact import SAFE_ROLES, parsed
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

QUARTER = re.compile(r"(quarter [1-4]) \((.+) to (.+)\)")


def column_values(
    records: pa.Table | None, columns: Sequence[str]
) -> dict[str, tuple[set[str], set[str]]]:
    """column -> (values of protected records, values of those that may be shown), of the columns kept with the records."""
    found: dict[str, tuple[set[str], set[str]]] = {column: (set(), set()) for column in columns}
    if records is None or "meta" not in records.column_names or not columns:
        return found
    for batch in records.select(["role", "meta"]).to_batches(max_chunksize=4096):
        for role, cell in zip(
            *(batch.column(place).to_pylist() for place in range(2)), strict=True
        ):
            meta = parsed(cell)
            for column in columns if isinstance(meta, Mapping) else ():
                if column in meta:
                    found[column][role in SAFE_ROLES].add(str(meta[column]))
    return found


def shown_names(
    labels: Iterable[str],
    values: Mapping[str, tuple[set[str], set[str]]],
    sight: Sight,
    *,
    is_known: bool,
) -> dict[str, str]:
    """Label "column: value" -> what is printed for it; labels that may stand as they are, are not in it.

    is_known: whether there are records to tell private values by; without them every value counts as private. Groups of a
    column are numbered in an order that only the key knows. The range of a quarter goes, unless both ends are public or the
    column is none of the records' (the length of the response).
    """
    numbered: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for label in sorted(set(labels)):
        column = next((column for column in values if label.startswith(f"{column}: ")), None)
        if column is None:
            continue
        value, (private, public) = label.removeprefix(f"{column}: "), values[column]
        quarter = QUARTER.fullmatch(value)
        if value in public or is_ours(value, private, is_known=is_known):
            continue
        if quarter and value not in private:
            if private and not {quarter[2], quarter[3]} <= public:
                names[label] = f"{column}: {quarter[1]}"
            continue
        numbered.setdefault(column, []).append(label)
    for column, found in numbered.items():
        found.sort(key=lambda label: sight.keyed("group", label))
        width = len(str(len(found)))
        names |= {
            label: f"group {number:0{width}d} of {column}" for number, label in enumerate(found, 1)
        }
    return names


def is_ours(value: str, private: set[str], *, is_known: bool) -> bool:
    """Is it one of the audit's own names of a group, and no value of a record?"""
    own = value == "(none)" or re.fullmatch(r"\d+ other values", value) is not None
    return value not in private and (own or (is_known and not QUARTER.fullmatch(value)))


def renamed(results: Iterable[Result], names: Mapping[str, str]) -> tuple[Result, ...]:
    """The results with the names of groups that are printed."""
    return tuple(replace(row, dataset=names.get(row.dataset, row.dataset)) for row in results)
