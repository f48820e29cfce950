"""Which group a record belongs to in every column that the numbers are shown by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from stillage.data.columns import LENGTH
from stillage.data.split import Split
from stillage.types import Array, Part, Record

Labels = Mapping[str, Mapping[str, str]]
"""Column -> record id -> its label, "column: value"."""
MEASURED: tuple[Part, ...] = ("private", "nonmembers", "test")
"""Parts whose records are measured by group: labelled together, so that a group means one thing."""
MOST_GROUPS = 20
MOST_NUMBERS = 8


def group_labels(split: Split, columns: Sequence[str]) -> Labels:
    """Label each measured record in every column (data.slice_by)."""
    records = (record for part in MEASURED for record in split.records_by_part.get(part, ()))
    return labels_of(list({record.id: record for record in records}.values()), columns)


def labels_of(records: Sequence[Record], columns: Sequence[str]) -> Labels:
    """Label each record in every column; LENGTH without a column: its words."""
    ids = [record.id for record in records]
    labels: dict[str, Mapping[str, str]] = {}
    for column in columns:
        values = [
            str(one.meta.get(column, len(one.response.split()) if column == LENGTH else ""))
            for one in records
        ]
        labels[column] = dict(zip(ids, slice_labels(values, column), strict=True))
    return labels


def slice_labels(values: Sequence[str], column: str) -> list[str]:
    """Return labels "column: value".

    A missing value is "(none)". More than MOST_NUMBERS different numbers: quarters by size. More
    than MOST_GROUPS other values: the most frequent ones, the rest together.
    """
    numbers = _numbers(values)
    if numbers is not None and len(set(numbers.tolist())) > MOST_NUMBERS:
        return [f"{column}: {label}" for label in _quarters(numbers)]
    shown = [value or "(none)" for value in values]
    counts = Counter(shown)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    kept = set(ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1])
    other = f"{len(ordered) - len(kept)} other values"
    return [f"{column}: {value if value in kept else other}" for value in shown]


def _numbers(values: Sequence[str]) -> Array | None:
    """Return the values as float64, or None where one is no finite number."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(numbers: Array) -> list[str]:
    """Return each number's quarter, in words with its range; equal numbers together."""
    edges = np.quantile(numbers, [0.25, 0.5, 0.75], method="lower")
    quarter = np.searchsorted(edges, numbers, side="left")
    ranges = {int(q): numbers[quarter == q] for q in np.unique(quarter)}
    shown = {q: f"quarter {q + 1} ({part.min():g} to {part.max():g})" for q, part in ranges.items()}
    return [shown[int(q)] for q in quarter]
