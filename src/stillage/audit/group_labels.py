"""Which group a record belongs to in every column that the numbers are shown by."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.audit.slices import slice_labels
from stillage.data.columns import LENGTH
from stillage.data.split import Split
from stillage.types import Part, Record

MEASURED: tuple[Part, ...] = ("private", "nonmembers", "test")
"""Parts whose records are measured by group: labelled together, so that a group means one thing."""


def group_labels(split: Split, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return each measured record's label in every column (data.slice_by), by id."""
    records = {
        record.id: record for part in MEASURED for record in split.records_by_part.get(part, ())
    }
    return labels_of(list(records.values()), columns)


def labels_of(records: Sequence[Record], columns: Sequence[str]) -> dict[str, list[str]]:
    """Return each record's label per column, by id; LENGTH without a column: words."""

    def value(record: Record, column: str) -> str:
        return str(
            record.meta.get(column, len(record.response.split()) if column == LENGTH else "")
        )

    labels = [
        slice_labels([value(record, column) for record in records], column) for column in columns
    ]
    return {record.id: [column[index] for column in labels] for index, record in enumerate(records)}
