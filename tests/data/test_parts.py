"""Parts of the records: disjoint, equal, drawn by the seed and never by the order of a file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.data.parts import draw_part, parse_pool, select_records
from stillage.errors import ConfigError, DataError
from stillage.types import Record


def records(count: int, name: str = "r") -> list[Record]:
    return [
        Record(id=f"{name}{number:04d}", prompt="p", response=str(number))
        for number in range(count)
    ]


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 60), data=st.data())
def test_parts_are_disjoint_equal_and_independent_of_order(count: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, count))
    pool = records(count)
    drawn = [draw_part(pool, part, parts, seed=3) for part in range(1, parts + 1)]
    ids = [record.id for part in drawn for record in part]
    assert sorted(ids) == [record.id for record in pool]
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    assert draw_part(data.draw(st.permutations(pool)), 1, parts, seed=3) == drawn[0]


def test_a_part_is_a_random_draw_that_the_seed_decides() -> None:
    pool = records(200)
    half = {record.id for record in draw_part(pool, 1, 2, seed=1)}
    assert half != {record.id for record in draw_part(pool, 1, 2, seed=2)}
    assert 30 < len(half & {record.id for record in pool[:100]}) < 70


def test_choices_of_training_records() -> None:
    split = {"private": records(10, "a"), "public": records(6, "b"), "nonmembers": records(5, "c")}
    chosen = [select_records(split, text, 1)[0] for text in ("private", "public", "all")]
    assert list(map(len, chosen)) == [10, 6, 16]
    halves = [select_records(split, f"private {part} of 2", 1) for part in (1, 2)]
    assert [len(half) for half, _ in halves] == [5, 5]
    (_, about), (_, other) = halves
    assert about["of"] == 10 and about["ids_sha256"] != other["ids_sha256"]
    assert parse_pool(" public  3 of 5 ") == ("public", 3, 5)
    for text in ("nonmembers", "private 3 of 2", "private 0 of 2", "private 1", ""):
        with pytest.raises(ConfigError, match="given"):
            parse_pool(text)
    with pytest.raises(DataError, match="fewer records"):
        select_records(split, "public 1 of 7", 1)
    with pytest.raises(DataError, match="no records with part: public"):
        select_records({"private": records(2)}, "all", 1)
    with pytest.raises(DataError, match="twice"):
        draw_part(records(3) + records(3), 1, 2, 1)
    with pytest.raises(ConfigError, match="no such part"):
        draw_part(records(3), 4, 3, 1)
