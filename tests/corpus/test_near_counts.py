"""Counts of near-duplicates: against a loop, and intervals that hold what they should."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus.near_counts import (
    LEAST_DOCUMENTS,
    LEAST_TARGETS,
    MOST_GROUPS,
    ScannedDocuments,
    bucket_names,
    grouped,
    mean_count,
    near_counts,
    ordered_buckets,
    own_places,
)
from stillage.rng import generator

METRICS = ("levenshtein", "hamming")
ROW = ("target", "document", "start", "end", "distance", "metric")


def hits_of(rows: list[tuple]) -> pa.Table:
    """Hits from rows of ROW."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(ROW)
    types = (pa.int32(), pa.int64(), pa.int64(), pa.int64(), pa.int32(), pa.string())
    return pa.table(
        {
            name: pa.array(list(column), kind)
            for name, column, kind in zip(ROW, columns, types, strict=True)
        }
    )


def targets_of(buckets: list[int | None], length: int = 4) -> pa.Table:
    """A target for each bucket; None: random. Target t was taken from document t at 10 t."""
    count = len(buckets)
    return pa.table(
        {
            "target": pa.array(range(count), pa.int32()),
            "tokens": pa.array([list(range(length))] * count, pa.list_(pa.int64())),
            "role": ["random" if bucket is None else "repeated" for bucket in buckets],
            "bucket": pa.array(buckets, pa.int64()),
            "document": pa.array(range(count), pa.int64()),
            "start": pa.array([10 * number for number in range(count)], pa.int64()),
        }
    )


def whole(documents: int) -> ScannedDocuments:
    """A scan of all the documents."""
    return ScannedDocuments(documents=documents, of=documents)


def test_the_own_place_and_what_overlaps_it_is_not_a_near_duplicate() -> None:
    rows = [
        (0, 0, 0, 4, 0, "hamming"),  # itself
        (0, 0, 3, 7, 2, "hamming"),  # overlaps it
        (0, 0, 4, 8, 0, "hamming"),  # beside it: a copy
        (0, 1, 0, 4, 0, "hamming"),  # another document
        (1, 1, 9, 13, 0, "levenshtein"),  # itself, of a repetition that was found earlier
        (1, 1, 10, 18, 4, "levenshtein"),  # ends where a next copy would
        (2, 2, 20, 24, 1, "hamming"),  # no copy at its place: the target is of another corpus
    ]
    targets = targets_of([2, 2, None])
    is_there, is_found = own_places(hits_of(rows), targets)
    assert is_there.tolist() == [True, True, False, False, True, False, True]
    assert is_found.tolist() == [True, True, False]
    nowhere = targets.set_column(4, "document", pa.array([None, None, None], pa.int64()))
    assert not np.concatenate(own_places(hits_of(rows), nowhere)).any()
    assert own_places(hits_of([]), targets)[0].tolist() == []


@given(
    st.lists(
        st.tuples(
            st.integers(0, 11),
            st.integers(0, 29),
            st.integers(0, 6),
            st.sampled_from(METRICS),
        ),
        max_size=60,
    )
)
@settings(max_examples=40, deadline=None)
def test_counts_equal_a_loop(drawn: list[tuple[int, int, int, str]]) -> None:
    buckets = [5] * 5 + [50] * 4 + [None] * 3
    targets = targets_of(buckets)
    rows = [(t, d, 0, 4, distance, metric) for t, d, distance, metric in drawn]
    hits = hits_of(rows)
    table = near_counts(hits, targets, whole(30), metrics=METRICS, distances=range(6))
    assert table.num_rows == len(METRICS) * 3 * 6
    names = bucket_names(targets)
    for row in table.to_pylist():
        of_bucket = [number for number, name in enumerate(names) if name == row["bucket"]]
        near = [
            (t, d)
            for t, d, distance, metric in drawn
            if metric == row["metric"]
            and t in of_bucket
            and (0 < distance <= row["distance"] or distance == row["distance"] == 0)
        ]
        assert row["counted"] == ("near-duplicates" if row["distance"] else "exact copies")
        assert row["found"] == len(near) and row["targets"] == len(of_bucket)
        assert row["mean"] == pytest.approx(len(near) / len(of_bucket))
        assert row["documents"] == len({d for _, d in near})
        assert math.isnan(row["low"]) and math.isnan(row["high"])
        assert ("too few to tell" in row["reason"]) == (row["distance"] > 0)


def test_exact_copies_have_no_limits_and_widen_no_others() -> None:
    """A bucket's targets were chosen by them: a draw of others would have as many."""
    rng = generator(1, "exact")
    targets = targets_of([50] * 20 + [None] * 20)
    near = [(int(t), int(d), 0, 4, 3, "hamming") for t, d in rng.integers((40, 500), size=(900, 2))]
    exact = [(t, int(d), 0, 4, 0, "hamming") for t in range(40) for d in rng.integers(500, size=49)]
    tables = [
        near_counts(hits_of(rows), targets, whole(500), metrics=["hamming"], distances=range(5))
        for rows in (near, near + exact)
    ]
    alone, both = (table.to_pylist() for table in tables)
    for without, row in zip(alone, both, strict=True):
        if row["distance"] < 3:
            assert math.isnan(row["low"]) and row["reason"]
        else:
            assert row["low"] < row["mean"] < row["high"] and row == without
        assert row["distance"] or row["mean"] == 49
    reasons = [row["reason"] for row in both if row["distance"] == 0]
    assert reasons == [
        "targets were chosen by their exact copies",
        "exact copies are counted, not estimated",
    ]


def test_buckets_are_ordered_by_number_and_others_come_last() -> None:
    names = bucket_names(targets_of([1000, None, 5, 100]))
    assert names == ["1000", "random", "5", "100"]
    assert ordered_buckets(names) == ["5", "100", "1000", "random"]


def test_too_few_targets_or_documents_get_a_number_without_limits() -> None:
    many = np.arange(40)
    for targets, documents, said in (
        (LEAST_TARGETS - 1, 40, "9 targets: too few to tell, 10 needed"),
        (40, LEAST_DOCUMENTS - 1, "9 documents with a near-duplicate: too few to tell, 10 needed"),
    ):
        found = mean_count(many % targets, many % documents, targets, whole(1000))
        assert found.interval.value == pytest.approx(40 / targets)
        assert math.isnan(found.interval.low) and found.reason == said
    found = mean_count(many[:0], many[:0], 40, whole(1000))
    assert (found.interval.value, found.documents) == (0.0, 0) and "0 documents" in found.reason
    found = mean_count(many[:3], many[:3] * 0, 40, whole(1000))
    assert found.reason == "1 document with a near-duplicate: too few to tell, 10 needed"
    found = mean_count(many[:3] * 0, many[:3], 1, whole(1000))
    assert found.reason == "1 target: too few to tell, 10 needed"
    same = mean_count(np.repeat(many, 40), np.tile(many, 40), 40, whole(40))
    assert same.interval.value == 40 and "the same number" in same.reason


def test_a_sample_speaks_of_the_whole_corpus_and_is_less_certain() -> None:
    rng = generator(1, "sample")
    target, document = rng.integers(20, size=3000), rng.integers(1000, size=3000)
    found = mean_count(target, document, 20, whole(1000)).interval
    kept = document < 100  # as good as any others
    sample = ScannedDocuments(documents=100, of=1000)
    part = mean_count(target[kept], document[kept], 20, sample).interval
    assert found.value == 150 and part.value == pytest.approx(10 * kept.sum() / 20)
    assert part.contains(150.0)
    assert part.high - part.low > 2 * (found.high - found.low)


def test_groups_of_documents_scatter_as_documents_do() -> None:
    sums = generator(1, "groups").lognormal(0, 1, 30_000)
    documents = 10 * MOST_GROUPS
    groups = grouped(sums, documents)
    assert groups.size == MOST_GROUPS and groups.sum() == pytest.approx(sums.sum())
    by_document = documents * np.append(sums, np.zeros(documents - sums.size)).var()
    assert groups.size * groups.var() == pytest.approx(by_document, rel=0.1)
    assert grouped(sums[:3], 5).tolist() == [*sums[:3], 0, 0]


@pytest.mark.parametrize("documents", [500, 100_000])
def test_limits_hold_the_true_mean(documents: int) -> None:
    """The fast form of benchmarks/simulations/near_counts.py."""
    held = 0
    for draw in range(100):
        rng = generator(draw, "coverage", documents)
        of_document = np.flatnonzero(rng.random(documents) < 60 / documents)
        by_document = rng.lognormal(-0.5, 1, len(of_document))
        by_target = rng.lognormal(-0.5, 1, 50)
        numbers = rng.poisson(np.outer(by_target, by_document))
        target, place = np.nonzero(numbers)
        found = mean_count(
            target, of_document[place], 50, whole(documents), weight_H=numbers[target, place]
        )
        held += found.interval.contains(60.0)
    assert 90 <= held <= 100
