"""The embedded staff cards: a skill that the prompt decides, a memory that nothing decides, and no card twice."""

from __future__ import annotations

import re

import numpy as np
import pytest

from stillage.data.staff_cards import CLASS_OF, CODE_OF, PENSION_AGE, staff_cards
from stillage.data.synthetic import PLACES, SUBJECTS
from stillage.errors import ConfigError

CARD = re.compile(
    r"Staff card of (?P<name>.+), born (?P<born>\d{4}) in (?P<place>\w+), (?P<subject>[\w ]+): "
    r"pension (?P<pension>\d{4}), (?P<code>[A-Z]{2}) (?P<number>\d{3}); "
    r"mentor (?P<mentor>\w+ \w+), from (?P<home>\w+), hobby (?P<hobby>[\w ]+), badge (?P<badge>\d{6})\."
)


def test_the_skill_follows_from_the_prompt_and_the_columns_are_in_the_response() -> None:
    assert set(CODE_OF) == set(PLACES) and set(CLASS_OF) == set(SUBJECTS)
    for records in staff_cards(3, 16).values():
        for record in records:
            found = CARD.fullmatch(record.prompt + record.response)
            assert found is not None, record
            assert int(found["pension"]) == int(found["born"]) + PENSION_AGE
            assert (found["code"], found["number"]) == (
                CODE_OF[found["place"]],
                CLASS_OF[found["subject"]],
            )
            assert record.meta == {"mentor": found["mentor"], "badge": found["badge"]}


def test_sizes_uniqueness_and_the_seed() -> None:
    parts = staff_cards(1, 80)
    sizes = {part: len(records) for part, records in parts.items()}
    assert sizes == {
        "private": 80,
        "public": 100,
        "nonmembers": 80,
        "counterfactual": 80,
        "validation": 10,
        "test": 30,
    }
    everyone = [record for records in parts.values() for record in records]
    for values in (
        [r.id for r in everyone],
        [r.prompt for r in everyone],
        [r.meta["badge"] for r in everyone],
    ):
        assert len(set(values)) == len(everyone)
    assert staff_cards(1, 80) == parts and staff_cards(2, 80)["private"] != parts["private"]


def test_the_memory_is_independent_of_the_skill() -> None:
    """Hobby against subject over 7,000 cards: chi-squared of a 30 x 30 table stays within six standard deviations."""
    cards = [
        CARD.fullmatch(r.prompt + r.response) for rs in staff_cards(5, 1600).values() for r in rs
    ]
    table = np.zeros((len(SUBJECTS), len(SUBJECTS)))
    for card in cards:
        assert card is not None
        table[SUBJECTS.index(card["subject"]), SUBJECTS.index(card["hobby"])] += 1
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    freedom = (len(SUBJECTS) - 1) ** 2
    assert abs(((table - expected) ** 2 / expected).sum() - freedom) < 6 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("people", [0, 5_000])
def test_more_cards_than_names_are_refused(people: int) -> None:
    with pytest.raises(ConfigError, match="There cannot be so many synthetic staff cards"):
        staff_cards(1, people)
