"""The ledger says what stands in the documents, or it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.errors import DataError
from stillage.mosaic.ledger import ledger_table, survived_share, verify_ledger

DOCUMENTS = [np.arange(10, dtype=np.int32), np.arange(20, 25, dtype=np.int32)]
ROW = {"canary": 0, "variation": -1, "piece": 0, "copy": 0, "document": 0, "lead": 1}
ROWS = [
    {**ROW, "start": 2, "end": 4, "survived": True, "ids": [2, 3]},
    {**ROW, "start": 5, "end": 6, "survived": False, "ids": [5], "copy": 1},
    {**ROW, "start": 1, "end": 5, "survived": True, "ids": [21, 22, 23, 24], "document": 1},
]


def test_a_true_ledger_passes() -> None:
    ledger = ledger_table(ROWS)
    verify_ledger(DOCUMENTS, ledger)
    assert survived_share(ledger) == pytest.approx(2 / 3)
    assert survived_share(ledger_table([])) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ids": [2, 9]}, "expected: 2 9 .* found: 2 3"),
        ({"ids": [2]}, "tokens 2 to 4"),
        ({"end": 5, "ids": [2, 3, 4]}, "the copy before it ends at 5"),
        ({"start": 0, "end": 2, "ids": [0, 1]}, "tokens 0 to 2"),  # no room for what leads to it
        ({"document": 2}, "documents: 2"),
        ({"document": -1}, "documents: 2"),
        ({"start": 9, "end": 11, "ids": [9, 10]}, "tokens 9 to 11"),
    ],
)
def test_an_untrue_ledger_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        verify_ledger(DOCUMENTS, ledger_table([{**ROWS[0], **change}, *ROWS[1:]]))
