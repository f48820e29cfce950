"""Canaries that stand in the documents by themselves are counted, and told."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.mosaic.occurrences import counts_in, occurrences, with_occurrences

IDS = st.lists(st.integers(0, 2), max_size=40)
SHORT = st.lists(st.integers(0, 2), min_size=2, max_size=4).map(tuple)


@given(IDS, st.lists(SHORT, max_size=5, unique=True))
def test_counts_are_those_of_every_window(ids: list[int], canaries: list[tuple[int, ...]]) -> None:
    windows = {
        canary: [tuple(ids[start : start + len(canary)]) for start in range(len(ids))].count(canary)
        for canary in canaries
    }
    found = counts_in(np.array(ids, np.int32), canaries)
    assert found == {canary: count for canary, count in windows.items() if count}


def test_members_and_nonmembers_are_counted_by_document(case: SimpleNamespace) -> None:
    """The fixture's document holds each of 4 members three times, and no nonmember."""
    other = np.concatenate([np.array(case.canaries["ids"][5].as_py()), case.public[0]])
    found = occurrences([case.documents[0], other, np.array([], np.int32)], case.canaries)
    assert found["canary"].to_pylist() == list(range(8))
    assert found["occurrences"].to_pylist() == [3, 3, 3, 3, 0, 1, 0, 0]
    assert found["documents"].to_pylist() == [1, 1, 1, 1, 0, 1, 0, 0]


def test_they_stand_in_the_metadata_and_are_told(
    case: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    other = np.array(case.canaries["ids"][5].as_py())
    with caplog.at_level(logging.WARNING, "stillage"):
        table = with_occurrences(case.canaries, case.documents, [other])
    facts = json.loads(table.schema.metadata[b"occurrences"])
    assert facts["hosts"] == {"members": 4, "nonmembers": 0, "places": 12}
    assert facts["others"] == {"members": 0, "nonmembers": 1, "places": 1}
    assert "4 members and 0 nonmembers stand in documents that are to hold" in caplog.text
    assert "0 members and 1 nonmembers stand in the other documents" in caplog.text
    caplog.clear()
    table = with_occurrences(case.canaries, case.public, [])
    assert not caplog.text and table.drop_columns([]).equals(case.canaries)
