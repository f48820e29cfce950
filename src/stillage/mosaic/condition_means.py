"""Means of a condition besides scores: distances, survival, recitals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.functional.means import share_interval
from stillage.mosaic.condition import Condition
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

DISTANCES = (
    "levenshtein",
    "damerau",
    "indel",
    "token_overlap",
    "token_jaccard",
    "gram_jaccard",
)
RECITALS = ("bleu", "edit_similarity")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTables:
    """What the stages of one condition wrote; columns as in mosaic.table_columns.

    ledger: of what was injected; a student's is that of its teacher. variations: of the condition's
    kind, maybe more of them than were injected.
    """

    stage: str  # its name
    scores: pa.Table  # SCORES
    answers: pa.Table | None = None  # ANSWERS
    ledger: pa.Table | None = None  # LEDGER
    variations: pa.Table | None = None  # VARIATIONS


def held_canaries(tables: ConditionTables) -> set[int] | None:
    """Name the canaries of which the documents hold a copy; None without a ledger."""
    return None if tables.ledger is None else set(tables.ledger["canary"].to_pylist())


def has_lost_copies(tables: ConditionTables) -> bool:
    """Tell whether an injected piece is not in the documents token for token."""
    return tables.ledger is not None and not all(tables.ledger["survived"].to_pylist())


def condition_means(
    condition: Condition, tables: ConditionTables, canaries: Array, level: float
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Average distances, survival and recitals over these members.

    Returns columns of POINTS, and flags. Distances: over the injected near-copies, of those that
    have one. survived: over all injected pieces, of near-copies and exact copies. Recitals with the
    limits of share_interval. A number that the condition does not have is left out.
    """
    found, flags = {}, []
    if tables.variations is not None and condition.near:
        kept = _of(tables.variations, canaries)
        kept = kept.filter(kept["variation"].to_numpy() < condition.near)
        for name in DISTANCES:
            values = _finite(kept, name)
            if values.size:
                found[name] = float(values.mean())
                flags += ["missing_distances"] * (values.size < kept.num_rows)
    if tables.ledger is not None:
        survived = _of(tables.ledger, canaries)["survived"].to_numpy(zero_copy_only=False)
        if survived.size:
            found["survived"] = float(survived.mean())
    if tables.answers is not None:
        answers = _of(tables.answers, canaries)
        for name in RECITALS:
            values = _finite(answers, name)
            if values.size:
                mean = share_interval(values, level)
                found |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
            flags += ["missing_answers"] * (values.size < canaries.size)
    return found, tuple(dict.fromkeys(flags))


def _of(table: pa.Table, canaries: Array) -> pa.Table:
    """Keep the rows of these canaries."""
    return table.filter(np.isin(table["canary"].to_numpy(), canaries))


def _finite(table: pa.Table, name: str) -> Array:
    """Give a column's numbers, without null and NaN."""
    values = table[name].to_numpy().astype(np.float64)
    return values[np.isfinite(values)]
