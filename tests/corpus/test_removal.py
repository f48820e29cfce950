"""What deduplication removes equals a search by brute force, and keeps what removal.py promises."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards
from naive_suffixes import naive_parts

from stillage.corpus import removal
from stillage.corpus.removal import Keep, joined_removal, removal_spans
from stillage.corpus.shard_index import index_shards
from stillage.errors import ConfigError

Documents = list[list[int]]
DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=10), max_size=9)


def remove(documents: Documents, length: int, keep: Keep, parts: int = 1) -> pa.Table:
    return joined_removal(naive_parts(documents, parts), length, keep)


def places_of(documents: Documents, length: int) -> dict[tuple[int, ...], list[tuple[int, int]]]:
    """Every sequence of so many tokens, with its occurrences in document order."""
    places = defaultdict(list)
    for number, ids in enumerate(documents):
        for at in range(len(ids) - length + 1):
            places[tuple(ids[at : at + length])].append((number, at))
    return places


def brute_removed(documents: Documents, length: int, keep: Keep) -> set[tuple[int, int]]:
    """The tokens (document, place) that go, by the definition."""
    gone = set()
    for occurrences in places_of(documents, length).values():
        if len(occurrences) < 2:
            continue
        (first_document, first), *_ = occurrences
        for number, at in occurrences[1:] if keep == "first" else occurrences:
            for place in range(at, at + length):
                shared = number == first_document and first <= place < first + length
                if keep == "none" or not shared:
                    gone.add((number, place))
    return gone


def removed(table: pa.Table) -> list[tuple[int, int]]:
    return [
        (row["document"], place)
        for row in table.to_pylist()
        for place in range(row["start"], row["end"])
    ]


def kept_runs(documents: Documents, gone: set[tuple[int, int]]) -> Documents:
    runs: Documents = []
    for number, ids in enumerate(documents):
        runs.append([])
        for place, one in enumerate(ids):
            if (number, place) not in gone:
                runs[-1].append(one)
            elif runs[-1]:
                runs.append([])
    return runs


@given(DOCUMENTS, st.integers(1, 5), st.sampled_from(["first", "none"]), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_what_goes_equals_the_definition_and_keeps_the_promises(
    documents: Documents, length: int, keep: Keep, parts: int
) -> None:
    table = remove(documents, length, keep, parts)
    listed = removed(table)
    gone = set(listed)
    assert listed == sorted(gone)  # in order, none twice
    assert gone == brute_removed(documents, length, keep)
    runs = places_of(kept_runs(documents, gone), length)
    assert all(len(occurrences) == 1 for occurrences in runs.values())
    if keep == "none":
        assert all(len(places_of(documents, length)[ids]) == 1 for ids in runs)
    source_of = {}
    for row in table.to_pylist():
        size = row["end"] - row["start"]
        copied = documents[row["copy_document"]][row["copy_start"] :][:size]
        assert copied == documents[row["document"]][row["start"] : row["end"]]
        for step in range(size):
            copy = row["document"], row["start"] + step
            source_of[copy] = row["copy_document"], row["copy_start"] + step
    for copy, source in source_of.items():
        assert copy != source
        if keep == "first":
            assert source < copy
            while source in source_of:
                source = source_of[source]
            assert source not in gone
    assert table.equals(remove(documents, length, keep))


@pytest.mark.parametrize("length", [1, 7, 30])
def test_thirty_tokens_in_three_documents(length: int) -> None:
    text = list(range(30))
    documents = [[90, *text], [*text, 91, 92], [93, *text, 94]]
    first = remove(documents, length, "first", parts=3)
    assert first.to_pylist() == [
        {"document": 1, "start": 0, "end": 30, "copy_document": 0, "copy_start": 1},
        {"document": 2, "start": 1, "end": 31, "copy_document": 0, "copy_start": 1},
    ]
    assert first.schema.metadata == {b"length": str(length).encode(), b"keep": b"first"}
    none = remove(documents, length, "none")
    assert none.to_pylist()[0] == {
        "document": 0, "start": 1, "end": 31, "copy_document": 1, "copy_start": 0,
    }  # fmt: skip
    assert len(removed(none)) == 90
    assert remove(documents, 31, "first").num_rows == 0


def test_a_run_of_one_token_keeps_its_first_occurrence() -> None:
    table = remove([[7] * 10], 3, "first")
    assert [(row["start"], row["end"], row["copy_start"]) for row in table.to_pylist()] == [
        (3, 6, 0), (6, 9, 0), (9, 10, 2),
    ]  # fmt: skip
    assert removed(remove([[7] * 10], 3, "none")) == [(0, place) for place in range(10)]
    assert removed(remove([[7] * 3, [7, 7]], 3, "none")) == []


def test_ranges_and_temporary_files_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [[1, 2, 3, 4, 1, 2], [], [2, 3, 4], [9], [1, 2, 3, 4], [4, 1, 2, 3, 4, 1, 2]] * 3
    expected = {keep: remove(documents, 2, keep) for keep in ("first", "none")}
    monkeypatch.setattr(removal, "RANGE", 5)
    monkeypatch.setattr(removal, "IN_MEMORY", 1)
    for keep, table in expected.items():
        assert table.num_rows and remove(documents, 2, keep).equals(table)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="length: 0"):
        remove([[1]], 0, "first")
    with pytest.raises(ConfigError, match="Did you mean first"):
        remove([[1]], 2, "frist")  # pyright: ignore


def test_a_corpus_of_shards_gives_the_same(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4], [], [5, 1, 2, 3], [2, 3, 4, 4, 4, 4], [1]]
    expected = remove(documents, 2, "first")
    for count in (1, 2, 5):
        corpus = make_shards(
            tmp_path / str(count), documents, vocab_size=70_000, shard_documents=count
        )
        index_shards(corpus)
        assert removal_spans(corpus, 2, "first").equals(expected)
