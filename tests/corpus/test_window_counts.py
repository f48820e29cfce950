"""Windows by their count over all shards equal counting by brute force, whatever the shards are."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards

from stillage.corpus import window_counts
from stillage.corpus.shard_index import index_shards
from stillage.corpus.window_counts import counted_windows, distinct_tokens, window_tokens


def brute(documents: list[list[int]], length: int) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(ids[at : at + length]) for ids in documents for at in range(len(ids) - length + 1)
    )


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=10), max_size=8),
    st.integers(1, 8),
    st.integers(1, 4),
    st.tuples(st.integers(1, 4), st.integers(0, 5)),
    st.sampled_from([64, 2]),
)
@settings(max_examples=50)
def test_all_windows_in_a_range_are_found(
    documents: list[list[int]],
    shard_documents: int,
    length: int,
    least: tuple[int, int],
    hash_bits: int,
) -> None:
    """hash_bits 2: most windows meet others by chance."""
    span = (least[0], sum(least))
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_shards(Path(folder), documents, vocab_size=3, shard_documents=shard_documents)
        index_shards(corpus)
        found = counted_windows(corpus, length, span, hash_bits=hash_bits)
        tokens = [tuple(ids) for ids in window_tokens(corpus.shards, found, length).tolist()]
        expected = {
            ids: n for ids, n in brute(documents, length).items() if span[0] <= n <= span[1]
        }
        assert len(set(tokens)) == len(tokens)
        assert dict(zip(tokens, found.count_C.tolist(), strict=True)) == expected
        unique = distinct_tokens(corpus.shards, found, length).tolist()
        assert unique == [len(set(ids)) for ids in tokens]


@pytest.mark.parametrize("span", [(2, 9), (300, 400)])
def test_few_counters_lose_nothing(
    span: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four counters, most of them full; a count beyond what a byte holds."""
    monkeypatch.setattr(window_counts, "COUNTER_BITS", (2, 2))
    documents = [[0, 1, 2, 1, 0], [2, 1, 0, 1], [5, 5, 5], *[[7, 8]] * 320]
    corpus = make_shards(tmp_path, documents, vocab_size=9, shard_documents=100)
    index_shards(corpus)
    found = counted_windows(corpus, 2, span)
    tokens = map(tuple, window_tokens(corpus.shards, found, 2).tolist())
    expected = {ids: n for ids, n in brute(documents, 2).items() if span[0] <= n <= span[1]}
    assert dict(zip(tokens, found.count_C.tolist(), strict=True)) == expected and expected
