"""Counts and places equal looking at every window, for any number of shards."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards

from stillage.corpus import counts
from stillage.corpus.counts import count_sequences, find_sequence
from stillage.corpus.removal import removal_spans
from stillage.corpus.repeats import corpus_repeats
from stillage.corpus.shard_index import index_shards
from stillage.corpus.shards import ShardSet
from stillage.errors import DataError

IDS = st.sampled_from([0, 1, 2, 65_535, 65_536, 2**32 - 1])
SEQUENCE = st.lists(IDS, max_size=8)


def indexed(
    folder: Path, documents: list[list[int]], shard_documents: int, vocab_size: int = 2**32
) -> ShardSet:
    corpus = make_shards(folder, documents, vocab_size=vocab_size, shard_documents=shard_documents)
    index_shards(corpus)
    return corpus


def brute(documents: list[list[int]], query: list[int]) -> list[tuple[int, int]]:
    return [
        (number, start)
        for number, ids in enumerate(documents)
        for start in range(len(ids) - len(query) + 1)
        if ids[start : start + len(query)] == query
    ]


def places(corpus: ShardSet, query: list[int], limit: int | None = None) -> list[tuple[int, int]]:
    table = find_sequence(corpus, query, limit)
    return list(zip(table["document"].to_pylist(), table["start"].to_pylist(), strict=True))


@given(
    st.lists(SEQUENCE, min_size=1, max_size=8),
    st.integers(1, 8),
    st.lists(SEQUENCE.filter(len), max_size=6),
    st.integers(0, 5),
)
@settings(max_examples=25)
def test_counts_and_places_equal_brute_force(
    documents: list[list[int]], shard_documents: int, queries: list[list[int]], limit: int
) -> None:
    queries = queries + [ids[1:4] for ids in documents if len(ids) > 1]
    with tempfile.TemporaryDirectory() as folder:
        corpus = indexed(Path(folder), documents, shard_documents)
        expected = [brute(documents, query) for query in queries]
        assert count_sequences(corpus, queries).tolist() == list(map(len, expected))
        assert [places(corpus, query) for query in queries] == expected
        assert [places(corpus, query, limit) for query in queries] == [
            one[:limit] for one in expected
        ]


def test_occurrences_overlap_and_stay_in_their_document(tmp_path: Path) -> None:
    corpus = indexed(tmp_path, [[7] * 4, [1, 2], [3]], shard_documents=1, vocab_size=9)
    assert count_sequences(corpus, [[7, 7], [7, 7, 7], [2, 3], [1, 2]]).tolist() == [3, 2, 0, 1]


@pytest.mark.parametrize("shard_documents", [1, 3])
def test_what_cannot_occur_is_0(tmp_path: Path, shard_documents: int) -> None:
    corpus = indexed(tmp_path, [[1, 2], [], [0]], shard_documents, vocab_size=65_536)
    queries = [
        [5],
        [-1],
        [-(2**40), 1],
        [65_536],
        [70_000 + 1 - 65_536],
        [65_537],
        [2**32],
        [2**80, 1],
        [1, -1],
        [0, -2],
    ]
    assert not count_sequences(corpus, [*queries, [1, 2, 0], [1] * 500]).any()
    assert find_sequence(corpus, [5]).num_rows == 0
    assert [str(field.type) for field in find_sequence(corpus, [5]).schema] == ["int64", "int64"]


def test_no_documents_no_queries_and_empty_queries(tmp_path: Path) -> None:
    corpus = indexed(tmp_path, [], shard_documents=1, vocab_size=9)
    assert count_sequences(corpus, [[1], [1, 2]]).tolist() == [0, 0]
    assert count_sequences(corpus, []).shape == (0,)
    with pytest.raises(DataError, match="sequence 1 of 2 has no tokens"):
        count_sequences(corpus, [[1], []])
    with pytest.raises(DataError, match="sequence 1 of 2: float64"):
        count_sequences(corpus, [[1], [1.0]])


def test_many_queries_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(0).integers(0, 3, (4, 30))
    corpus = indexed(tmp_path, ids.tolist(), shard_documents=2, vocab_size=3)
    queries = ids[:, :9].repeat(3, axis=0).astype(np.uint16)
    whole = count_sequences(corpus, queries)
    monkeypatch.setattr(counts, "AT_A_TIME", 20)
    assert count_sequences(corpus, queries).tolist() == whole.tolist() and whole.all()


def test_without_an_index_the_command_is_named(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [[1]], vocab_size=9, shard_documents=1)
    with pytest.raises(DataError, match="stillage corpus index"):
        count_sequences(corpus, [[1]])


@pytest.mark.parametrize("shard_documents", [1, 9])
def test_an_index_with_other_numbers_is_damaged(tmp_path: Path, shard_documents: int) -> None:
    corpus = indexed(tmp_path, [[1, 2, 1, 2], [1, 2, 3]], shard_documents=shard_documents)
    for path in tmp_path.glob("*.index.safetensors"):
        content = bytearray(path.read_bytes())
        content[-4 * path_tokens(corpus, path) :] = b"\xff" * 4 * path_tokens(corpus, path)
        content[8 + 4096 : 8 + 4096 + 4] = b"\xff" * 4
        path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="An index is damaged"):
        corpus_repeats(corpus, min_length=2)
    with pytest.raises(DataError, match="An index is damaged"):
        removal_spans(corpus, 2, "first")
    with pytest.raises(DataError, match="An index is damaged"):
        count_sequences(corpus, [[0], [1], [2]])


def path_tokens(corpus: ShardSet, path: Path) -> int:
    """How many tokens the shard of an index holds."""
    return next(len(one.tokens_T) for one in corpus.shards if path.name.startswith(one.name))
