"""Where the needed part of a response ends: what is refused, and what is said."""

from __future__ import annotations

import logging

import pytest

from stillage.data.columns import record_id
from stillage.data.needed import check_needed
from stillage.data.split import Split
from stillage.errors import DataError
from stillage.types import Record


def split_of(*responses: str) -> Split:
    records = [
        Record(id=record_id("Who?", "", text), prompt="Who?", response=text) for text in responses
    ]
    return Split(records_by_part={"test": records}, drawn_by_us=True, seed=1)


@pytest.mark.parametrize(
    ("responses", "until", "said"),
    [
        (("red; a", "blue; b"), "@@", "No response has the text that ends the needed part"),
        (("\nred", "\nblue"), "\n", "The needed part of every response is empty"),
        ((" ; red", "; blue"), ";", "The needed part of every response is empty"),
    ],
)
def test_an_end_that_asks_for_all_or_for_nothing_is_refused(
    responses: tuple[str, ...], until: str, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        check_needed(split_of(*responses), until)


def test_a_few_odd_responses_are_counted_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="stillage"):
        check_needed(split_of("红色；a", "蓝色；b"), "；")
        check_needed(split_of("red", ""), "")
    assert not caplog.records
    with caplog.at_level(logging.WARNING, logger="stillage"):
        check_needed(split_of("red; a", "blue", "; b"), ";")
    assert (
        "1 of 3 responses lack ';'" in caplog.text
        and "1 responses have nothing before ';'" in caplog.text
    )
