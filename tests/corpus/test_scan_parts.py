"""Parts of a scan: every document in exactly one, whatever the sizes; a sample that no part decides."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.corpus.scan_parts import (
    LARGEST_PART,
    SMALLEST_PART,
    extent,
    is_in_sample,
    plan_parts,
    tokens_in,
    tokens_per_part_for,
)
from stillage.corpus.shards import Shard, ShardSet

LENGTHS = st.lists(st.lists(st.sampled_from([0, 0, 1, 2, 7, 50]), max_size=30), max_size=4)


def corpus_of(shards: list[list[int]]) -> ShardSet:
    made, first = [], 0
    for number, lengths in enumerate(shards):
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        tokens = np.zeros(offsets[-1], dtype=np.uint16)
        made.append(
            Shard(
                name=f"shard-{number:05d}",
                path=Path(),
                tokens_T=tokens,
                offsets_D=offsets,
                first_document=first,
                sha256="",
            )
        )
        first += len(lengths)
    return ShardSet(folder=Path(), shards=tuple(made), vocab_size=9, tokenizer="", manifest={})


@given(shards=LENGTHS, size=st.integers(1, 60))
def test_every_document_is_in_exactly_one_part(shards: list[list[int]], size: int) -> None:
    corpus = corpus_of(shards)
    parts = plan_parts(corpus, size)
    documents = [(part.shard, d) for part in parts for d in range(part.first, part.end)]
    assert documents == [(s, d) for s, lengths in enumerate(shards) for d in range(len(lengths))]
    assert [part.number for part in parts] == list(range(len(parts)))
    assert tokens_in(corpus, parts) == corpus.tokens
    for part in parts:
        lengths = shards[part.shard][part.first : part.end]
        assert len(lengths) >= 1 and (
            sum(lengths) <= size or len(lengths) == 1 or not any(lengths[1:])
        )


@given(shards=LENGTHS, size=st.integers(1, 60))
def test_no_part_could_take_the_next_document_too(shards: list[list[int]], size: int) -> None:
    for part in plan_parts(corpus_of(shards), size):
        lengths = shards[part.shard]
        if part.end < len(lengths):
            assert sum(lengths[part.first : part.end + 1]) > size


def test_parts_grow_with_the_corpus() -> None:
    assert [tokens_per_part_for(tokens) for tokens in (0, 10**6, 627 * 10**9)] == [
        SMALLEST_PART,
        SMALLEST_PART,
        LARGEST_PART,
    ]
    assert SMALLEST_PART < tokens_per_part_for(5 * 10**9) < LARGEST_PART


@given(cuts=st.lists(st.integers(0, 200), max_size=5), share=st.sampled_from([0.05, 0.5, 1.0]))
def test_the_sample_is_the_same_in_whatever_pieces_it_is_drawn(
    cuts: list[int], share: float
) -> None:
    borders = [0, *sorted(cuts), 200]
    pieces = [is_in_sample(7, share, first, end) for first, end in itertools.pairwise(borders)]
    assert np.array_equal(np.concatenate(pieces), is_in_sample(7, share, 0, 200))


def test_a_sample_holds_its_share_and_another_seed_draws_another() -> None:
    one, two = is_in_sample(1, 0.05, 0, 100_000), is_in_sample(2, 0.05, 0, 100_000)
    assert 4_700 < one.sum() < 5_300  # 5,000 +- 4 standard deviations
    assert not np.array_equal(one, two)
    assert is_in_sample(1, 1.0, 0, 5).all()


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_the_extent_counts_what_is_drawn(share: float) -> None:
    shards = [[3, 0, 5], [], [2, 9, 1, 0]]
    chosen = is_in_sample(3, share, 0, 7)
    lengths = np.array([3, 0, 5, 2, 9, 1, 0])[chosen]
    there = extent(corpus_of(shards), 3, share)
    assert (there.documents, there.tokens, there.longest) == (
        len(lengths),
        lengths.sum(),
        max(lengths, default=0),
    )
