"""Drawn targets: their counts by brute force, uniform, the same for any shards, all where few exist."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from make_shards import make_shards

from stillage.corpus.sample_targets import TargetRules, bucket_spans, sample_targets
from stillage.corpus.shard_index import index_shards
from stillage.corpus.shards import ShardSet
from stillage.corpus.targets import about_targets
from stillage.errors import ConfigError, DataError

RULES = TargetRules(
    counts=(2, 4), length=3, tolerance=0.3, per_count=1000, unique=2, random=7, seed=5
)


def documents() -> list[list[int]]:
    """Phrases of three tokens, each in several documents, between rare tokens."""
    chance = np.random.default_rng(0)
    made: list[list[int]] = [[] for _ in range(12)]
    for phrase in range(40):
        for place in chance.permutation(12)[: 1 + phrase % 5]:
            made[place] += [
                3 * phrase,
                3 * phrase + 1,
                3 * phrase + phrase % 2,
                int(chance.integers(200, 10**5)),
            ]
    return [*made[:5], [], *made[5:], [1, 2]]


def indexed(folder: Path, shard_documents: int) -> ShardSet:
    corpus = make_shards(folder, documents(), vocab_size=10**5, shard_documents=shard_documents)
    index_shards(corpus)
    return corpus


def windows(length: int) -> Counter[tuple[int, ...]]:
    return Counter(
        tuple(ids[at : at + length]) for ids in documents() for at in range(len(ids) - length + 1)
    )


def test_all_that_qualify_are_drawn_where_more_are_asked(tmp_path: Path) -> None:
    sampled = sample_targets(indexed(tmp_path, shard_documents=1), RULES)
    held, docs = windows(3), documents()
    for bucket, span in ((2, (2, 2)), (4, (3, 5))):
        expected = {
            ids for ids, n in held.items() if span[0] <= n <= span[1] and len(set(ids)) >= 2
        }
        rows = [row for row in sampled.table.to_pylist() if row["bucket"] == bucket]
        assert {tuple(row["tokens"]) for row in rows} == expected and len(rows) == len(expected) > 7
        assert sampled.available[bucket] == len(expected)
    for number, row in enumerate(sampled.table.to_pylist()):
        assert row["target"] == number and row["count"] == held[tuple(row["tokens"])]
        assert docs[row["document"]][row["start"] : row["start"] + 3] == row["tokens"]
        assert row["unique"] == len(set(row["tokens"]))
        assert (row["role"] == "random") == (row["bucket"] is None)
    assert sampled.table["bucket"].null_count == 7 and sampled.windows == sum(held.values())


def test_the_shards_do_not_matter(tmp_path: Path) -> None:
    rules = replace(RULES, per_count=5)
    tables = [sample_targets(indexed(tmp_path / str(n), n), rules).table for n in (1, 5, 100)]
    assert tables[0].num_rows == 17 and tables[0].equals(tables[1]) and tables[0].equals(tables[2])
    about = about_targets(tables[0])
    assert (
        about["rules"]["seed"] == 5 and len(about["shards"]) == 14 and about["available"]["2"] > 5
    )


def test_a_smaller_draw_is_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    corpus = indexed(tmp_path, shard_documents=4)
    few, more = (
        sample_targets(corpus, replace(RULES, per_count=n)).table.to_pylist() for n in (3, 6)
    )
    assert [row["tokens"] for row in few[:3]] == [row["tokens"] for row in more[:3]]
    none = sample_targets(corpus, replace(RULES, per_count=0, random=0))
    assert none.table.num_rows == 0 and none.available[2] > 0


def test_draws_are_uniform_over_seeds(tmp_path: Path) -> None:
    """Every sequence of a bucket, and every occurrence, comes about equally often."""
    corpus = indexed(tmp_path, shard_documents=100)
    rules = replace(RULES, counts=(4,), per_count=1, random=1)
    drawn, occurrences, controls = Counter(), set(), Counter()
    for seed in range(300):
        sampled = sample_targets(corpus, replace(rules, seed=seed))
        first, control = sampled.table.to_pylist()
        drawn[tuple(first["tokens"])] += 1
        occurrences.add((first["document"], first["start"]))
        controls[control["document"], control["start"]] += 1
    count = sampled.available[4]
    assert len(drawn) == count and max(drawn.values()) < 4 * 300 / count
    assert len(occurrences) > 2 * count and len(controls) > 0.7 * min(300, sampled.windows)


def test_spans_are_of_the_tolerance_as_it_is_written() -> None:
    rules = TargetRules(counts=(100, 1000, 10_000, 5), length=100)
    assert bucket_spans(rules) == {
        5: (5, 5),
        100: (99, 101),
        1000: (990, 1010),
        10_000: (9900, 10_100),
    }


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"counts": (5, 5)}, "overlap"),
        ({"counts": (0,)}, "overlap"),
        ({"counts": (10, 15), "tolerance": 0.5}, "overlap"),
        ({"length": 0}, "length: 0"),
        ({"tolerance": -0.1}, "tolerance: -0.1"),
        ({"tolerance": 1.0}, "tolerance: 1.0"),
        ({"unique": 4}, "unique: 4; length: 3"),
        ({"random": -1}, "random: -1"),
    ],
)
def test_rules_without_meaning_are_refused(changed: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bucket_spans(replace(RULES, **changed))


def test_a_target_longer_than_any_document_is_refused(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [[1, 2], []], vocab_size=9, shard_documents=1)
    with pytest.raises(DataError, match="--length 3; the longest of 2 documents: 2"):
        sample_targets(corpus, RULES)
    with pytest.raises(DataError, match="the longest of 0 documents: 0"):
        sample_targets(make_shards(tmp_path / "b", [], 9, 1), RULES)
