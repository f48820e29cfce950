"""The merged order is that of one suffix array of everything, however it is cut into parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_suffixes import naive_part, naive_parts

from stillage.corpus import merge
from stillage.corpus.merge import join_parts, merged_suffixes

DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=12)


def in_order(joined: merge.Joined, block: int) -> list[list[int]]:
    blocks = list(merged_suffixes(joined, block))
    assert all(len(positions) == block for positions, _ in blocks[:-1])
    return [[int(one) for pair in blocks for one in pair[part]] for part in (0, 1)]


@given(DOCUMENTS, st.integers(1, 5), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_order_equals_one_array_of_everything(
    documents: list[list[int]], parts: int, block: int
) -> None:
    whole = naive_part(documents)
    expected = [whole.suffixes_T.tolist(), whole.lcp_T.tolist()]
    assert in_order(naive_parts(documents, parts), block) == expected


def test_long_common_runs_are_looked_up_and_true(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of a text longer than the distance between two remembered ends, some changed, some cut."""
    rng = np.random.default_rng(0)
    text = rng.integers(0, 3, 700)
    documents = [text.tolist() for _ in range(6)]
    documents[1][333] = 5
    documents[4] = documents[4][:511]
    documents[5] = documents[5][300:]
    whole = naive_part(documents)
    expected = [whole.suffixes_T.tolist(), whole.lcp_T.tolist()]
    for table in (1, merge.LARGEST_TABLE):  # a table of one entry forgets all but the last
        monkeypatch.setattr(merge, "LARGEST_TABLE", table)
        for parts in (2, 3, 6):
            assert in_order(naive_parts(documents, parts), 64) == expected


def test_parts_of_two_widths_are_one_corpus() -> None:
    parts = [naive_part([[1, 2, 3]]), naive_part([[70_000, 2, 3], []], "<u4"), naive_part([])]
    positions, common = in_order(join_parts(parts), 4)
    assert positions == [0, 1, 4, 2, 5, 3]
    assert common == [0, 0, 2, 0, 1, 0]
