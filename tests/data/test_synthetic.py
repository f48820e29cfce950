"""The synthetic people: unique, evenly drawn, and the same in every part but for what will be trained on."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from stillage.data.synthetic import EMPLOYERS, NAMES, PLACES, people
from stillage.errors import ConfigError
from stillage.types import PARTS

SENTENCE = re.compile(
    r"(\w+ [A-Z]\. \w+), born on (\d+) (\w+) (\d{4}) in ([\w ]+), studied ([\w ]+) and works for ([\w ]+); badge number (\d{6})\."
)


def test_every_person_is_unique_and_the_badge_ends_the_sentence() -> None:
    parts = people(3, 80)
    assert list(parts) == list(PARTS)
    assert [len(records) for records in parts.values()] == [80, 80, 80, 80, 10, 10]
    records = [record for part in parts.values() for record in part]
    matches = [SENTENCE.fullmatch(record.response) for record in records]
    for record, match in zip(records, matches, strict=True):
        assert match
        assert record.prompt == f"Write a short biography of {match[1]}."
        assert record.meta["badge"] == match[8]
        assert record.response.endswith(f"{record.meta['badge']}.")
    for group in (1, 8):
        assert len({match[group] for match in matches if match}) == len(records)
    assert len({record.id for record in records}) == len(records)


def test_a_seed_gives_the_same_people_and_another_seed_others() -> None:
    first = people(1, 40)
    assert people(1, 40) == first
    names = {record.prompt for part in first.values() for record in part}
    others = {record.prompt for part in people(2, 40).values() for record in part}
    assert len(names & others) < 10  # by chance about 170^2 / 23,400


def test_attributes_do_not_depend_on_the_role() -> None:
    counts = {
        pool: np.zeros((4, len(values)))
        for pool, values in (("place", PLACES), ("employer", EMPLOYERS))
    }
    initials: Counter[tuple[int, str]] = Counter()
    for seed in range(10):
        for row, part in enumerate(PARTS[:4]):
            for record in people(seed, 200)[part]:
                match = SENTENCE.fullmatch(record.response)
                assert match
                counts["place"][row, PLACES.index(match[5])] += 1
                counts["employer"][row, EMPLOYERS.index(match[7])] += 1
                initials[row, match[1].split()[1]] += 1
    letters = sorted({letter for _, letter in initials})
    tables = [
        *counts.values(),
        np.array([[initials[row, letter] for letter in letters] for row in range(4)]),
    ]
    for table in tables:
        assert (
            1e-3 < stats.chi2_contingency(table).pvalue < 1 - 1e-3
        )  # same distribution, and not suspiciously equal
        assert stats.chisquare(table.sum(axis=0)).pvalue > 1e-3  # evenly drawn


def test_as_many_people_as_there_are_names_and_no_more() -> None:
    most = 4 * NAMES // 17
    assert len(people(1, most)["private"]) == most
    for number in (0, most + 2):
        with pytest.raises(ConfigError, match="synthetic people"):
            people(1, number)
