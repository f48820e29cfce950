"""Maximal repeats and clusters equal a search by brute force, for any number of shards."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards
from naive_suffixes import naive_parts

from stillage.corpus import merge
from stillage.corpus.removal import joined_removal
from stillage.corpus.repeats import COLUMNS, corpus_repeats, joined_repeats, repeats_in_arrays
from stillage.corpus.shard_index import index_shards
from stillage.corpus.similar import corpus_similar, joined_similar
from stillage.errors import ConfigError, DataError

Documents = list[list[int]]
DOCUMENTS = st.lists(st.lists(st.integers(0, 2), max_size=10), max_size=9)
BORDER = (-1,)  # equal to nothing, itself included


def laid_out(documents: Documents, kind: str = "u2") -> tuple[np.ndarray, np.ndarray]:
    tokens = np.array([one for ids in documents for one in ids], dtype=kind)
    return tokens, np.cumsum([0, *map(len, documents)])


def brute_places(documents: Documents) -> dict[tuple[int, ...], list[tuple[int, int]]]:
    places = defaultdict(list)
    for number, ids in enumerate(documents):
        for start in range(len(ids)):
            for end in range(start + 1, len(ids) + 1):
                places[tuple(ids[start:end])].append((number, start))
    return places


def go_together(neighbours: list[int | None]) -> bool:
    """Whether the same token stands beside all occurrences; None: a border."""
    return None not in neighbours and len(set(neighbours)) == 1


def brute_repeats(documents: Documents, min_length: int, min_count: int) -> list[tuple[int, ...]]:
    rows = []
    for ids, places in brute_places(documents).items():
        if len(ids) < min_length or len(places) < max(2, min_count):
            continue
        before = [documents[d][at - 1] if at else None for d, at in places]
        ends = [(documents[d], at + len(ids)) for d, at in places]
        behind = [text[end] if end < len(text) else None for text, end in ends]
        if not go_together(before) and not go_together(behind):
            number, start = places[0]
            held = len({document for document, _ in places})
            rows.append((number, start, len(ids), len(places), held))
    return sorted(rows)


def rows_of(table: pa.Table) -> list[tuple[int, ...]]:
    assert table.schema.names[:5] == list(COLUMNS)
    assert table.schema.types[:5] == [pa.int64()] * 5
    return [tuple(row[name] for name in COLUMNS) for row in table.to_pylist()]


@given(DOCUMENTS, st.integers(1, 5), st.integers(2, 4), st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_repeats_equal_brute_force_for_any_number_of_shards(
    documents: Documents, min_length: int, min_count: int, parts: int
) -> None:
    joined = naive_parts(documents, parts)
    table = joined_repeats(joined, min_length=min_length, min_count=min_count)
    assert rows_of(table) == brute_repeats(documents, min_length, min_count)


@given(DOCUMENTS, st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_clusters_equal_brute_force_for_any_number_of_shards(
    documents: Documents, length: int, parts: int
) -> None:
    joined = naive_parts(documents, parts)
    similar = joined_similar(joined, length)
    clusters = {
        ids: at for ids, at in brute_places(documents).items() if len(ids) == length and len(at) > 1
    }
    assert similar.sizes == Counter(map(len, clusters.values()))
    covered = {
        (d, at + n) for places in clusters.values() for d, at in places for n in range(length)
    }
    assert similar.repeated_tokens == len(covered)
    assert similar.repeated_documents == len({document for document, _ in covered})
    gone = joined_removal(joined, length, "none")
    assert similar.repeated_tokens == sum(
        b - a for a, b in zip(gone["start"].to_pylist(), gone["end"].to_pylist(), strict=True)
    )


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [[0] * 9, [1, 0, 0, 2], [], [0, 0, 2], [1, 0, 0, 2]]
    expected = rows_of(joined_repeats(naive_parts(documents, 1), min_length=1))
    assert expected == brute_repeats(documents, 1, 2)
    original = merge.merged_suffixes
    for block in (1, 2, 3):
        monkeypatch.setattr(
            merge, "merged_suffixes", lambda joined, block=block: original(joined, block)
        )
        for parts in (1, 3):
            joined = naive_parts(documents, parts)
            assert rows_of(joined_repeats(joined, min_length=1)) == expected
            assert joined_similar(joined, 2) == joined_similar(naive_parts(documents, 5), 2)


def test_occurrences_overlap_and_the_most_frequent_come_out() -> None:
    tokens, offsets = laid_out([[7, 7, 7, 7], [8, 9, 8, 9]])
    assert rows_of(repeats_in_arrays(tokens, offsets, min_length=1)) == [
        (0, 0, 1, 4, 1), (0, 0, 2, 3, 1), (0, 0, 3, 2, 1), (1, 0, 2, 2, 1),
    ]  # fmt: skip
    table = repeats_in_arrays(tokens, offsets, min_length=1, top=3, with_tokens=True)
    assert table["tokens"].to_pylist() == [[7], [7, 7], [7, 7, 7]]
    assert rows_of(repeats_in_arrays(tokens, offsets, min_length=2, min_count=3)) == [
        (0, 0, 2, 3, 1)
    ]


def test_the_most_frequent_are_those_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tokens, offsets = laid_out(rng.integers(0, 3, (20, 40)).tolist())
    every = rows_of(repeats_in_arrays(tokens, offsets, min_length=2))
    ranked = sorted(every, key=lambda row: (-row[3], -row[2], row[:2]))
    monkeypatch.setattr("stillage.corpus.repeats.HELD", 0)
    original = merge.merged_suffixes
    monkeypatch.setattr(merge, "merged_suffixes", lambda joined: original(joined, 50))
    for top in (1, 7, 100, len(every) + 1):
        assert rows_of(repeats_in_arrays(tokens, offsets, min_length=2, top=top)) == sorted(
            ranked[:top]
        )


@pytest.mark.parametrize("kind", ["u1", "i2", ">u4", "i8", "u8"])
def test_any_integers_in_any_layout(tmp_path: Path, kind: str) -> None:
    documents = [[1, 2, 3, 4], [9], [], [1, 2, 3]]
    tokens, offsets = laid_out(documents, kind)
    expected = brute_repeats(documents, 2, 2)
    wide = np.zeros(2 * len(tokens), dtype=kind)
    wide[::2] = tokens
    tokens.tofile(tmp_path / "tokens")
    mapped = np.memmap(tmp_path / "tokens", dtype=kind, mode="r")
    for given_tokens in (tokens, wide[::2], mapped):
        for given_offsets in (offsets, offsets.astype("u8"), np.repeat(offsets, 2)[::2]):
            assert rows_of(repeats_in_arrays(given_tokens, given_offsets, min_length=2)) == expected
    assert tokens.tolist() == [1, 2, 3, 4, 9, 1, 2, 3]


def test_ids_of_all_sizes_are_content() -> None:
    large = [2**32 - 1, 65_536, 0]
    tokens, offsets = laid_out([large, [*large, 65_535], [4_464, 0]], "u8")
    table = repeats_in_arrays(tokens, offsets, min_length=2, with_tokens=True)
    assert rows_of(table) == [(0, 0, 3, 2, 2)]
    assert table["tokens"].to_pylist() == [large]


def test_nothing_there_is_an_empty_table() -> None:
    for documents in ([], [[]], [[1]], [[], [1, 2], []]):
        table = repeats_in_arrays(*laid_out(documents), min_length=1, with_tokens=True)
        assert rows_of(table) == []
        assert str(table.schema.field("tokens").type).startswith("large_list")
    assert rows_of(repeats_in_arrays(np.array([]), np.array([0]), min_length=1)) == []
    tokens, offsets = laid_out([[1, 2, 1, 2]])
    for limits in ({"min_length": 10**30}, {"min_length": 1, "min_count": 10**30}):
        assert rows_of(repeats_in_arrays(tokens, offsets, **limits)) == []


def test_what_cannot_be_is_refused() -> None:
    tokens, offsets = laid_out([[1, 2], [3]])
    for limits in ({"min_length": 0}, {"min_length": 2, "min_count": 1}):
        with pytest.raises(ConfigError, match="or more"):
            repeats_in_arrays(tokens, offsets, **limits)
    with pytest.raises(DataError, match="do not fit"):
        repeats_in_arrays(tokens, offsets[:-1], min_length=1)
    with pytest.raises(DataError, match="outside the vocabulary"):
        repeats_in_arrays(np.array([1, -1]), np.array([0, 2]), min_length=1)
    with pytest.raises(DataError, match="float64"):
        repeats_in_arrays(np.array([1.0]), np.array([0, 1]), min_length=1)


def test_a_corpus_of_shards_gives_the_same(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4], [], [5, 1, 2, 3], [2, 3, 4, 4, 4, 4], [1]]
    for count in (1, 2, 5):
        corpus = make_shards(
            tmp_path / str(count), documents, vocab_size=70_000, shard_documents=count
        )
        with pytest.raises(DataError, match="not indexed"):
            corpus_repeats(corpus, min_length=1)
        index_shards(corpus)
        heard: list[tuple[int, int]] = []
        table = corpus_repeats(corpus, min_length=1, progress=lambda *facts: heard.append(facts))  # noqa: B023
        assert rows_of(table) == brute_repeats(documents, 1, 2)
        assert heard[-1] == (15, 15)
        assert corpus_similar(corpus, 3) == joined_similar(naive_parts(documents, 1), 3)
