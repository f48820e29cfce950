"""Rules of deduplication against brute force: who goes, as a copy of whom."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards

from stillage.corpus import near_documents
from stillage.corpus.dedup_rules import Keep, read_rule, read_rules, rule_spans
from stillage.corpus.near_documents import band_recall, band_rows
from stillage.errors import CapabilityError, ConfigError

Documents = Sequence[Sequence[int]]
KEEPS = st.sampled_from(["first", "none"])
SMALL = st.lists(st.lists(st.integers(0, 2), max_size=7), max_size=8)


def copies(
    folder: Path, documents: Documents, rule: str, keep: Keep, shard_documents: int = 3
) -> dict[int, int]:
    """Whole documents that a rule removes -> what they are copies of."""
    corpus = make_shards(folder, documents, vocab_size=80_000, shard_documents=shard_documents)
    table = rule_spans(corpus, read_rule(rule), keep)
    rows = table.to_pylist()
    for row in rows:
        assert (row["start"], row["copy_start"], row["rule"]) == (0, 0, read_rule(rule).text)
        assert row["end"] == len(documents[row["document"]])
    assert [row["document"] for row in rows] == sorted(row["document"] for row in rows)
    return {row["document"]: row["copy_document"] for row in rows}


def similarity(first: Sequence[int], second: Sequence[int], ngram: int) -> float:
    """The Jaccard similarity of two documents, plainly; an empty one is like nothing."""
    one, other = (
        {tuple(ids[at : at + ngram]) for at in range(max(1, len(ids) - ngram + 1))}
        for ids in (first, second)
    )
    return len(one & other) / len(one | other) if first and second else 0.0


def kept_by_brute_force(
    documents: Documents, threshold: float, ngram: int, keep: Keep
) -> list[int]:
    """Documents that stay, comparing all pairs."""
    stays: list[int] = []
    for at, ids in enumerate(documents):
        others = stays if keep == "first" else [n for n in range(len(documents)) if n != at]
        if all(similarity(ids, documents[other], ngram) < threshold for other in others):
            stays.append(at)
    return stays


@settings(deadline=None, max_examples=25)
@given(documents=SMALL, keep=KEEPS, shard_documents=st.integers(1, 4))
def test_exact_is_brute_force(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, keep: Keep, shard_documents: int
) -> None:
    found = copies(tmp_path_factory.mktemp("c"), documents, "exact", keep, shard_documents)
    for at, ids in enumerate(documents):
        equal = [n for n, other in enumerate(documents) if other == ids and n != at and ids]
        goes = equal and (keep == "none" or min(equal) < at)
        assert found.get(at) == (min(equal) if goes else None)


@settings(deadline=None, max_examples=60)
@given(
    documents=SMALL,
    keep=KEEPS,
    threshold=st.sampled_from([0.3, 0.5, 0.8, 1.0]),
    ngram=st.integers(1, 4),
    shard_documents=st.integers(1, 4),
)
def test_near_copies_are_brute_force(
    tmp_path_factory: pytest.TempPathFactory,
    documents: Documents,
    keep: Keep,
    threshold: float,
    ngram: int,
    shard_documents: int,
) -> None:
    rule, folder = f"jaccard:{threshold}:{ngram}", tmp_path_factory.mktemp("c")
    with pytest.MonkeyPatch.context() as patch:  # bands of one number miss nothing in practice
        patch.setattr(near_documents, "band_rows", lambda threshold: 1)
        patch.setattr(near_documents, "BATCH_TOKENS", 5)
        found = copies(folder, documents, rule, keep, shard_documents)
    stays = kept_by_brute_force(documents, threshold, ngram, keep)
    assert sorted(found) == [at for at in range(len(documents)) if at not in stays]
    for document, copy in found.items():
        assert copy != document
        assert similarity(documents[document], documents[copy], ngram) >= threshold
        assert keep == "none" or copy in stays  # what it is a copy of is still there


def test_the_result_does_not_depend_on_shards_and_pieces_are_found_in_any(tmp_path: Path) -> None:
    """Copies that lie in two shards are found as those in one."""
    draw = np.random.default_rng(0)
    documents = [draw.integers(0, 65_536, 400).tolist() for _ in range(30)]
    documents += [[*ids[:390], *draw.integers(0, 65_536, 10).tolist()] for ids in documents[:20]]
    found = [
        copies(tmp_path / str(size), documents, "jaccard:0.8", "first", size) for size in (1, 7, 99)
    ]
    assert found[0] == found[1] == found[2] == {30 + at: at for at in range(20)}


def test_the_stated_recall_is_the_measured_one(tmp_path: Path) -> None:
    """2,000 pairs exactly at the threshold, with bands that miss some by design."""
    rows, draw = 10, np.random.default_rng(1)
    pairs = []
    for _ in range(2000):
        shared, own, other = np.split(draw.permutation(3000)[:300], [200, 250])
        pairs += [[*shared, *own], [*shared, *other]]  # 200 of 300: 2/3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near_documents, "band_rows", lambda threshold: rows)
        found = copies(tmp_path, pairs, f"jaccard:{2 / 3!r}:1", "first", 4000)
    expected = band_recall(2 / 3, rows)
    assert 0.2 < expected < 0.5
    assert abs(len(found) / 2000 - expected) < 4 * (expected * (1 - expected) / 2000) ** 0.5
    assert band_recall(0.8, band_rows(0.8)) >= 0.9999 and band_rows(1.0) > band_rows(0.5) > 1


def test_shorter_than_an_ngram_is_compared_whole(tmp_path: Path) -> None:
    """n=5, texts cat, dog, cat: dog stays, one cat is a copy. Empty ones are copies of nothing."""
    cat, dog = [7, 8, 9], [1, 2]
    documents = [cat, dog, cat, [], []]
    assert copies(tmp_path / "a", documents, "jaccard:0.8:5", "first") == {2: 0}
    assert copies(tmp_path / "b", documents, "jaccard:0.8:5", "none") == {0: 2, 2: 0}
    assert copies(tmp_path / "c", documents, "exact", "none") == {0: 2, 2: 0}


def test_a_chain_of_near_copies_keeps_what_has_no_near_copy_left(tmp_path: Path) -> None:
    """b is near a and c; a and c are not near: with b gone, c stays."""
    a, b, c = [1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 3, 7, 6]
    assert copies(tmp_path / "a", [a, b, c], "jaccard:0.6:1", "first") == {1: 0}
    assert copies(tmp_path / "b", [a, b, c], "jaccard:0.6:1", "none") == {0: 1, 1: 0, 2: 1}


def test_ids_of_a_large_vocabulary_do_not_wrap(tmp_path: Path) -> None:
    assert copies(tmp_path, [[4464, 1], [65_536 + 4464, 1]], "jaccard:0.1:2", "first") == {}


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("exact", "exact"),
        ("ngram:50", "ngram:50"),
        ("jaccard:0.8", "jaccard:0.8"),
        ("minhash:0.80:13", "jaccard:0.8"),
        ("jaccard:1:5", "jaccard:1.0:5"),
    ],
)
def test_rules_are_read_and_named(text: str, shortest: str) -> None:
    rule = read_rule(text)
    assert rule.text == shortest and read_rule(rule.text) == rule and rule.in_words()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("jacard:0.8", "Did you mean jaccard"),
        ("bloom", "Choose from: exact, ngram:N"),
        ("ngram", "Write ngram:N"),
        ("ngram:0", "given: ngram:0"),
        ("ngram:2:3", "given: ngram:2:3"),
        ("jaccard:80", "at most 1"),
        ("jaccard:nan", "given: jaccard:nan"),
        ("jaccard:0.8:x", "Write jaccard:T or jaccard:T:N"),
        ("exact:5", "without a number"),
        ("", "no such rule"),
    ],
)
def test_wrong_rules_say_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_rule(text)


def test_no_rule_or_one_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="--rule was not given"):
        read_rules([])
    with pytest.raises(ConfigError, match="twice"):
        read_rules(["jaccard:0.8", "minhash:0.8"])


def test_without_the_extra_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    with pytest.raises(CapabilityError, match=r"pip install 'stillage\[dedup\]'"):
        copies(tmp_path, [[1] * 20, [1] * 30], "jaccard:0.8", "first")
