"""Which group a record belongs to in every column that the numbers are shown by (data.slice_by)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.types import Record

if TYPE_CHECKING:
    from stillage.data.split import Split
    from stillage.experiment.plan import Context

PARTS = ("private", "nonmembers", "test")
"""Parts whose records are measured by group: labels are made for all of them at once, so that a group means one thing."""


def labels_of_run(context: Context, split: Split) -> dict[str, list[str]]:
    """Record id -> its label in every column of data.slice_by, of all records that are measured."""
    found = {record.id: record for part in PARTS for record in split.records_by_part.get(part, ())}
    return labels_of(list(found.values()), context.config.data.slice_by)


def labels_of(records: Sequence[Record], columns: Sequence[str]) -> dict[str, list[str]]:
    """Record id -> its group in every column; by words where it is LENGTH and no column."""
    from stillage.audit.slices import slice_labels
    from stillage.data.columns import LENGTH

    def value(record: Record, column: str) -> str:
        return str(
            record.meta.get(column, len(record.response.split()) if column == LENGTH else "")
        )

    labels = [
        slice_labels([value(record, column) for record in records], column) for column in columns
    ]
    return {record.id: [column[index] for column in labels] for index, record in enumerate(records)}
