"""What a deduplication leaves of near-duplicates, against brute force; and what that is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards

from stillage.corpus.copy_worth import PUBLISHED, REPLACED, published_worth, read_worth
from stillage.corpus.cuts import read_spans
from stillage.corpus.dedup_rules import read_rule
from stillage.corpus.policy import (
    HIT,
    Survivors,
    against_target,
    in_corpus,
    summary_row,
    worth_rows,
)
from stillage.errors import DataError
from stillage.types import Array

Documents = Sequence[Sequence[int]]
Hits = list[tuple[int, int, int, int, int, str]]
NUMBERS = st.integers(0, 2)


def hamming(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def plain_scan(documents: Documents, targets: Documents, limit: int) -> Hits:
    """Every window within a Hamming distance of a target, overlapping or not."""
    return [
        (number, document, start, start + len(target), distance, "hamming")
        for number, target in enumerate(targets)
        for document, ids in enumerate(documents)
        for start in range(len(ids) - len(target) + 1)
        if (distance := hamming(target, ids[start : start + len(target)])) <= limit
    ]


def as_hits(rows: Hits) -> pa.Table:
    """Rows as a scan gives them."""
    columns = zip(*rows, strict=True) if rows else [()] * len(HIT)
    kinds = [pa.int32(), *[pa.int64()] * 3, pa.int32(), pa.string()]
    arrays = [pa.array(list(c), kind) for c, kind in zip(columns, kinds, strict=True)]
    table = pa.table(arrays, names=list(HIT))
    return table.set_column(5, "metric", table["metric"].dictionary_encode())


def as_rows(table: pa.Table) -> Hits:
    return [tuple(row[name] for name in HIT) for row in table.to_pylist()]  # pyright: ignore[reportReturnType]


def shares(one: Sequence[int], other: Sequence[int], ngram: int) -> bool:
    """Whether two texts have an n-gram in common; a shorter one is compared whole."""
    if min(len(one), len(other)) < ngram:
        return list(one) == list(other)
    first, second = (
        {tuple(ids[at : at + ngram]) for at in range(len(ids) - ngram + 1)} for ids in (one, other)
    )
    return bool(first & second)


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.lists(NUMBERS, max_size=9), max_size=5),
    targets=st.integers(1, 5).flatmap(
        lambda m: st.lists(st.lists(NUMBERS, min_size=m, max_size=m), min_size=1, max_size=3)
    ),
    ngram=st.integers(1, 6),
    limit=st.integers(0, 4),
)
def test_against_the_target_is_the_published_what_if(
    tmp_path_factory: pytest.TempPathFactory,
    documents: Documents,
    targets: Documents,
    ngram: int,
    limit: int,
) -> None:
    corpus = make_shards(tmp_path_factory.mktemp("c"), documents, 9, 2)
    hits = plain_scan(documents, targets, limit)
    kept = against_target(corpus, as_hits(hits), np.array(targets), read_rule(f"ngram:{ngram}"))
    assert as_rows(kept) == [
        row
        for row in hits
        if not shares(targets[row[0]], documents[row[1]][row[2] : row[3]], ngram)
    ]


def test_whole_documents_against_the_target(tmp_path: Path) -> None:
    target = [1, 2, 3, 4]
    documents = [target, [*target, 5], [1, 2, 3, 5], [0] * 20]
    corpus = make_shards(tmp_path, documents, 9, 2)
    hits, tokens_Nm = as_hits(plain_scan(documents, [target], 1)), np.array([target], np.uint32)

    def left(rule: str) -> list[int]:
        return against_target(corpus, hits, tokens_Nm, read_rule(rule))["document"].to_pylist()

    assert hits["document"].to_pylist() == [0, 1, 2]
    assert left("exact") == [1, 2]
    assert left("jaccard:0.8:1") == [2]  # [*target, 5]: 4 of 5
    assert left("jaccard:0.6:1") == []
    assert left("jaccard:0.8:13") == [1, 2]  # shorter than 13: compared whole


@settings(deadline=None, max_examples=60)
@given(
    documents=st.lists(st.lists(NUMBERS, max_size=9), max_size=5),
    target=st.lists(NUMBERS, min_size=3, max_size=3),
    cuts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 8), st.integers(1, 4)), max_size=5),
    limit=st.integers(0, 2),
)
def test_in_the_corpus_is_a_scan_of_what_is_left(
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[int]],
    target: list[int],
    cuts: list[tuple[int, int, int]],
    limit: int,
) -> None:
    """As if every document were cut and scanned again, those without a hit too."""
    corpus = make_shards(tmp_path_factory.mktemp("c"), documents, 9, 2)
    rows = [
        {"document": d, "start": start, "end": min(start + n, len(documents[d]))}
        for d, start, n in cuts
        if d < len(documents) and start < len(documents[d])
    ]
    gone = {(row["document"], at) for row in rows for at in range(row["start"], row["end"])}
    kinds = pa.schema([(name, pa.int64()) for name in ("document", "start", "end")])
    spans = read_spans(pa.Table.from_pylist(rows, schema=kinds))
    found = in_corpus(
        corpus, as_hits(plain_scan(documents, [target], limit)), spans, search(target, limit)
    )
    assert as_rows(found) == [
        row
        for row in plain_scan(documents, [target], limit)
        if not any((row[1], at) in gone for at in range(row[2], row[3]))
    ]


def search(target: list[int], limit: int):  # noqa: ANN201 - a Search
    """A scan of other documents, without suppression."""

    def scan(tokens: Array, offsets: Array, metric: str) -> pa.Table:
        assert metric == "hamming"
        documents = [tokens[start:end].tolist() for start, end in pairwise(offsets)]
        return as_hits(plain_scan(documents, [target], limit)).drop_columns(["metric"])

    return scan


def test_a_hit_that_was_cut_may_be_found_again_farther_away(tmp_path: Path) -> None:
    """Of overlapping hits the nearest was kept; where it is cut, the next one is what is left."""
    target, document = [1, 2, 1, 2, 1, 2], [0, 1, 2, 1, 2, 1, 2, 1, 3]
    corpus = make_shards(tmp_path, [document], 10, 9)
    nearest = as_hits([(0, 0, 1, 7, 0, "hamming")])
    spans = read_spans(pa.table({"document": [0], "start": [0], "end": [2]}))
    found = in_corpus(corpus, nearest, spans, search(target, 1))
    assert as_rows(found) == [(0, 0, 3, 9, 1, "hamming")]


def test_the_published_worth_is_its_table() -> None:
    worth = published_worth()
    at = np.array(REPLACED) / 100
    assert worth.by_model(at).tolist() == [list(means) for means in PUBLISHED.values()]
    assert worth.by_model(np.array([0.0])).tolist() == [[1.0]] * 4  # by definition
    assert worth.by_model(np.array([1.0])).tolist() == [[0.0]] * 4  # drawn
    middle = worth.by_model(np.array([0.075]))[0, 0]
    assert middle == pytest.approx((0.7811 + 0.6462) / 2)
    measured = worth.is_measured(np.array([0, 0.005, 0.01, 0.75, 0.76]))
    assert measured.tolist() == [True, False, True, True, False]


def test_worth_is_counted_by_target_and_distance(tmp_path: Path) -> None:
    """Three survivors of targets of 100 tokens: one exact, two at distance 10."""
    rows: Hits = [
        (0, 0, 0, 100, 0, "hamming"),
        (0, 1, 0, 100, 10, "hamming"),
        (1, 2, 5, 105, 10, "hamming"),
    ]
    left = Survivors(rule="exact", reading="in the corpus", hits=as_hits(rows))
    at_10 = [means[REPLACED.index(10)] for means in PUBLISHED.values()]
    table = worth_rows(left, 100, published_worth()).to_pylist()
    assert [(row["target"], row["distance"], row["near_duplicates"]) for row in table] == [
        (0, 0, 1),
        (0, 10, 1),
        (1, 10, 1),
    ]
    assert table[1]["worth"] == pytest.approx(sum(at_10) / 4)
    assert (table[1]["worth_low"], table[1]["worth_high"]) == (min(at_10), max(at_10))
    total = summary_row(left, "hamming", 100, published_worth())
    assert total["worth"] == pytest.approx(1 + 2 * sum(at_10) / 4)
    assert total["worth_low"] == pytest.approx(1 + 2 * min(at_10))
    assert (total["near_duplicates"], total["exact"], total["within_10"]) == (3, 1, 3)
    assert total["worth_not_measured"] == 0
    none = Survivors(rule="exact", reading="in the corpus", hits=as_hits([]))
    assert len(worth_rows(none, 100, published_worth())) == 0
    assert summary_row(none, "hamming", 100, published_worth())["worth"] == 0


def test_a_curve_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "rho.json"
    path.write_text('{"distance": [0.1, 0.5], "rho": {"a": [0.6, 0.2], "b": [0.8, 0.4]}}')
    worth = read_worth(path)
    assert worth.models == ("a", "b")
    assert worth.by_model(np.array([0, 0.1, 0.3, 0.9]))[0] == pytest.approx([1, 0.6, 0.4, 0.2])
    assert worth.is_measured(np.array([0, 0.05, 0.1, 0.5, 0.6])).tolist() == [1, 0, 1, 1, 0]
    path.write_text('{"distance": [0, 0.5], "rho": [0.9, 0.2]}')
    assert read_worth(path).by_model(np.array([0, 0.25])).tolist() == [[0.9, 0.55]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("[1]", "other entries"),
        ('{"distance": [0]}', "other entries"),
        ('{"distance": [0, 0.2, 0.2], "rho": [1, 1, 1]}', "do not ascend[\\s\\S]*0.2, then 0.2"),
        ('{"distance": [-0.1, 0.2], "rho": [1, 1]}', "do not ascend"),
        ('{"distance": [0, 1], "rho": [1, NaN]}', "no finite number[\\s\\S]*place 1: nan"),
        ('{"distance": [0, 1], "rho": [1, "x"]}', "no finite number"),
        ('{"distance": [0, 1], "rho": [1, -0.1]}', "less than nothing[\\s\\S]*-0.1"),
        ('{"distance": [0, 1], "rho": [1, 1' + "0" * 400 + "]}", "no finite number"),
        ('{"distance": [0, 1], "rho": [1]}', "does not fit[\\s\\S]*2 distances, 1 values"),
        ('{"distance": [], "rho": []}', "lacks a list"),
        ('{"distance": [0], "rho": {}}', "no curve"),
    ],
)
def test_a_wrong_curve_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "rho.json"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        read_worth(path)
