"""One reading of scores.parquet: by model and attack, and record by record."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.membership import score_schema
from stillage.audit.scores import BLIND, Scores
from stillage.errors import DataError

NAN = math.nan
ROWS = [  # in another order of ids for each model
    *(
        ("student", "loss", id_, score)
        for id_, score in zip("badc", (2.0, 1.0, NAN, 3.0), strict=True)
    ),
    *(
        ("teacher", "loss", id_, score)
        for id_, score in zip("abcd", (5.0, math.inf, 7.0, 8.0), strict=True)
    ),
    *(("student", "zlib", id_, score) for id_, score in zip("cb", (9.0, 8.0), strict=True)),
    (BLIND, "words", "a", 0.5),
]
PARTS = {"a": "private", "b": "private", "c": "nonmembers", "d": "nonmembers"}


def table(rows: list[tuple[str, str, str, float]] = ROWS) -> pa.Table:
    """Scores of four records, of which b and c are near-duplicates."""
    found = [
        {
            "model": model,
            "attack": attack,
            "id": id_,
            "part": PARTS[id_],
            "group": "g" if id_ in "bc" else "",
            "score": score,
        }
        for model, attack, id_, score in rows
    ]
    return pa.Table.from_pylist(found, schema=score_schema())


def test_one_attack_on_one_model_keeps_the_order_and_counts_what_has_no_score() -> None:
    read = Scores(table())
    assert read.models == ["student", "teacher", BLIND] and read.attacks("student") == [
        "loss",
        "zlib",
    ]
    assert read.pairs[1] == ("teacher", "loss")
    one = read.of("student", "loss")
    assert one.ids.tolist() == ["b", "a", "c"] and one.scores.tolist() == [2.0, 1.0, 3.0]
    assert one.is_member.tolist() == [True, True, False] and one.dropped == 1 and one.has_both
    assert one.clusters[0] == one.clusters[2] != one.clusters[1]
    whole = read.of("student", "loss", with_missing=True)
    assert whole.ids.tolist() == list("badc") and math.isnan(whole.scores[2])
    assert whole.dropped == 0 and whole.by_id["c"] == 3.0
    assert read.of("teacher", "loss").dropped == 1  # an infinite score is none
    assert read.of("teacher", "zlib").ids.size == 0 and not read.of(BLIND, "words").has_both


def test_models_are_joined_by_record() -> None:
    found = Scores(table()).aligned()
    assert set(found) == {"loss", "zlib"}  # blind attackers ask no model
    loss = found["loss"]
    assert loss.ids == tuple("abcd") and loss.is_member.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(loss.scores["student"], [1.0, 2.0, 3.0, NAN])
    (student, teacher), member, clusters = loss.kept("student", "teacher")
    assert (student.tolist(), teacher.tolist()) == ([1.0, 3.0], [5.0, 7.0])
    assert member.tolist() == [True, False] and clusters[0] != clusters[1]
    assert loss.compares("student", "teacher") and not loss.compares("student", "other")
    assert set(Scores(table()).aligned(["teacher"])) == {"loss"}
    assert list(Scores(table()).aligned(["teacher"])["loss"].scores) == ["teacher"]


def test_models_that_were_scored_on_other_records_are_not_joined() -> None:
    with pytest.raises(DataError, match="different records"):
        Scores(table(ROWS[1:])).aligned()


def test_attacks_on_a_model_are_joined_by_record() -> None:
    found = Scores(table()).attacks_on("student")
    assert found.ids == tuple("abcd") and found.is_member.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(found.scores["zlib"], [NAN, 8.0, 9.0, NAN])
    np.testing.assert_array_equal(found.scores["loss"], [1.0, 2.0, 3.0, NAN])
    assert found.clusters[1] == found.clusters[2]
