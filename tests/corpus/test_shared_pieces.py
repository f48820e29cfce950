"""The longest shared pieces, against a search of every piece."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus.shared_pieces import NOT_THERE, PieceIndex, Shared
from stillage.errors import DataError

Documents = list[list[int]]
LEAST, GRAM = 3, 2


def joined(documents: Documents) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *map(len, documents)])
    return np.array([one for row in documents for one in row], dtype=np.int64), offsets


def searched(documents: Documents, others: Documents) -> list[tuple[int, int, int, int, int]]:
    """(longest, its start, its first place in the others, covered, grams), piece by piece."""
    starts = np.cumsum([0, *map(len, others)]).tolist()
    rows = []
    for document in documents:
        longest, start, place, covered, grams = 0, 0, -1, set[int](), 0
        for begin in range(len(document)):
            for stop in range(begin + 1, len(document) + 1):
                size, piece = stop - begin, document[begin:stop]
                places = [
                    starts[number] + at
                    for number, other in enumerate(others)
                    for at in range(len(other) - size + 1)
                    if other[at : at + size] == piece and NOT_THERE not in piece
                ]
                if not places:
                    break
                if size > longest:
                    longest, start, place = size, begin, places[0]
                if size >= LEAST:
                    covered |= set(range(begin, stop))
                grams += size == min(GRAM, len(document))
        rows.append((longest, start, place, len(covered), grams))
    return rows


def rows(shared: Shared) -> list[tuple[int, ...]]:
    columns = (shared.longest_D, shared.start_D, shared.place_D, shared.covered_D, shared.grams_D)
    return list(zip(*(one.tolist() for one in columns), strict=True))


documents = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None)
@given(one=documents, two=documents, batch=st.integers(1, 6))
def test_equals_a_search_of_every_piece_on_both_sides(
    one: Documents, two: Documents, batch: int
) -> None:
    two = [
        [
            NOT_THERE if symbol == 2 and place % 3 == 0 else symbol
            for place, symbol in enumerate(row)
        ]
        for row in two
    ]
    index = PieceIndex(*joined(one), least=LEAST, gram=GRAM)
    found = [
        row
        for start in range(0, len(two), batch)
        for row in rows(index.read(*joined(two[start : start + batch])))
    ]
    assert found == searched(two, one)
    assert rows(index.finish()) == searched(one, two)


def test_ids_of_any_vocabulary_are_content() -> None:
    top = 2**32 - 1
    index = PieceIndex(*joined([[0, top, 0, top, 5], [top]]), least=2, gram=2)
    assert rows(index.read(*joined([[7, top, 0, top], [0]])))[0] == (3, 1, 1, 3, 2)
    assert index.finish().longest_D.tolist() == [3, 1]


def test_nothing_at_all() -> None:
    index = PieceIndex(*joined([[], []]), least=2, gram=2)
    assert rows(index.read(*joined([[4, 4], []]))) == [(0, 0, -1, 0, 0)] * 2
    assert rows(index.finish()) == [(0, 0, -1, 0, 0)] * 2


def test_a_side_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stillage.corpus.shared_pieces.MOST_SYMBOLS", 3)
    with pytest.raises(DataError, match="too large"):
        PieceIndex(*joined([[1, 2, 3, 4]]), least=2, gram=2)
