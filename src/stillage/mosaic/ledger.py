"""The ledger: where every injected copy stands, and as which tokens.

It is no plan but a finding: `verify_ledger` reads every copy again from the documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import DataError
from stillage.mosaic.table_columns import LEDGER, table_schema
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 6  # tokens of a mismatch


def ledger_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Make the ledger of some copies, in the order given."""
    import pyarrow as pa

    columns = {name: [row[name] for row in rows] for name in LEDGER}
    return pa.table(columns, schema=table_schema(LEDGER))


def verify_ledger(documents: Sequence[Array], ledger: pa.Table) -> None:
    """Read every copy of a ledger again from the documents (int32[T] each).

    DataError for the first whose tokens are not those that the ledger names, or that overlaps
    another.
    """
    previous = {}
    order = [("document", "ascending"), ("start", "ascending")]
    for row in ledger.sort_by(order).to_pylist():
        number, start, end = row["document"], row["start"], row["end"]
        there = 0 <= number < len(documents) and start - row["lead"] >= 0 and start <= end
        ids_T = documents[number][start:end] if there else np.zeros(0, np.int32)
        if not there or not np.array_equal(ids_T, row["ids"]) or len(ids_T) != end - start:
            found = f"expected: {_some(row['ids'])}; found: {_some(ids_T)}"
            raise _untrue(row, f"{found}; documents: {len(documents)}")
        if start - row["lead"] < previous.get(number, 0):
            raise _untrue(row, f"the copy before it ends at {previous[number]}")
        previous[number] = end


def survived_share(ledger: pa.Table) -> float | None:
    """How many copies are the tokens that were injected, of all; None of none.

    Each piece of a scattered near-copy counts as a copy.
    """
    survived = ledger.column("survived").to_numpy()
    return float(survived.mean()) if len(survived) else None


def _untrue(row: dict[str, Any], values: str) -> DataError:
    """The error for a row that the documents do not bear out."""
    kind = "exact copy" if row["variation"] < 0 else f"near-copy {row['variation']}"
    place = f"document {row['document']}, tokens {row['start']} to {row['end']}"
    copy = f"canary {row['canary']}, {kind}, copy {row['copy']}, piece {row['piece']}"
    what = "The ledger does not say what stands in the documents."
    fix = "One of them was changed or belongs elsewhere: inject again."
    return DataError(what, f"{place} ({copy}): {values}", fix)


def _some(ids: Sequence[int] | Array) -> str:
    """The first few ids."""
    text = " ".join(str(int(one)) for one in ids[:SHOWN])
    return f"{text}{' ...' if len(ids) > SHOWN else ''} ({len(ids)} tokens)"
