"""What one model answers better than another: paired on the records, only where both answered."""

from __future__ import annotations

import pyarrow as pa
import pytest

from stillage.data.needed import needed_part
from stillage.evaluate.quality import gain_results, sample_rows, samples_schema, text_results
from stillage.types import Record, Result

RECORDS = [
    Record(id=str(n), prompt=f"q{n}", response=f"year {n}, code A; mentor {n}") for n in range(40)
]
BASE = Result(run="", stage="evaluate", model="", metric="", value=float("nan"))


def samples(needed_until: str = ";", **texts: list[str]) -> pa.Table:
    rows = []
    for model, said in texts.items():
        rows += sample_rows(model, RECORDS, said, [5] * len(said), [True] * len(said), needed_until)
    return pa.Table.from_pylist(rows, schema=samples_schema())


def test_the_needed_part_is_judged_alone() -> None:
    assert (
        needed_part("a; b; c", ";") == "a;"
        and needed_part("a", ";") == "a"
        and needed_part("a; b", "") == "a; b"
    )
    right = [f"year {n}, code A; mentor nobody" for n in range(40)]
    table = samples(student=right, student_no_teacher=["year 1, code A; mentor 1"] * 40)
    assert sum(table.column("exact_match").to_pylist()) == 1  # the other model, on its one record
    found = {(row.model, row.metric): row for row in text_results(table, level=0.95, base=BASE)}
    assert (
        found["student", "needed_exact"].value == 1 and found["student", "needed_exact"].low > 0.9
    )
    assert found["student_no_teacher", "needed_exact"].value == pytest.approx(1 / 40)


def test_gains_are_paired_and_say_from_what() -> None:
    right = [f"year {n}, code A;" for n in range(40)]
    half = [text if n % 2 else "wrong" for n, text in enumerate(right)]
    table = samples(student=right, student_no_teacher=half)
    rows = gain_results(
        table,
        (("student", "student_no_teacher"), ("student_minimal", "student")),
        level=0.95,
        base=BASE,
    )
    by_metric = {row.metric: row for row in rows}
    gain = by_metric["needed_exact_gain"]
    assert (gain.model, gain.against, gain.n) == ("student", "student_no_teacher", 40)
    assert gain.value == pytest.approx(0.5) and 0.3 < gain.low < 0.5 < gain.high < 0.7
    assert by_metric["rouge_l_gain"].low > 0 and {row.model for row in rows} == {"student"}


def test_nothing_needed_is_nothing_measured() -> None:
    table = samples("", student=["x"] * 40, student_no_teacher=["y"] * 40)
    assert table.column("needed_exact").null_count == 80
    rows = gain_results(table, (("student", "student_no_teacher"),), level=0.95, base=BASE)
    assert {row.metric for row in rows} == {"rouge_l_gain", "exact_match_gain"}
    assert "needed_exact" not in {row.metric for row in text_results(table, level=0.95, base=BASE)}


def test_answers_without_words_are_left_out_of_rouge_l_and_counted() -> None:
    records = [*RECORDS[:20], *(Record(id=f"p{n}", prompt="q", response="!!!") for n in range(5))]
    records += [Record(id=f"r{n}", prompt="q", response="чёрный кот") for n in range(15)]
    rows = []
    for model, said in (("student", "чёрный кот"), ("student_no_teacher", "x")):
        rows += sample_rows(model, records, [said] * 40, [5] * 40, [True] * 40)
    table = pa.Table.from_pylist(rows, schema=samples_schema())
    found = {(row.model, row.metric): row for row in text_results(table, level=0.95, base=BASE)}
    ours, published = found["student", "rouge_l"], found["student", "rouge_l_published"]
    assert (ours.n, ours.value, ours.missing) == (35, pytest.approx(15 / 35), 5)
    assert (published.n, published.missing, published.missing_reason) == (
        0,
        40,
        "no words",
    ) and published.value != published.value
    assert found["student_no_teacher", "rouge_l_published"].n == 20
    gain = gain_results(table, (("student", "student_no_teacher"),), level=0.95, base=BASE)[0]
    assert (gain.metric, gain.n, gain.value) == ("rouge_l_gain", 35, pytest.approx(15 / 35))
