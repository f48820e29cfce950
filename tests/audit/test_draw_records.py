"""What the log says of records as they are read, and draws of records that keep near-duplicates together."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest

from stillage.audit.draw_records import some_groups, some_records
from stillage.data.bpe import train_bpe
from stillage.data.grouping import allot_groups, cluster_numbers
from stillage.data.tokenise import make_examples
from stillage.errors import ConfigError
from stillage.functional.multiplicity import max_statistic_test
from stillage.rng import generator
from stillage.run.config import DataConfig
from stillage.types import Record


def test_what_was_cut_is_said_of_model_and_part(caplog: pytest.LogCaptureFixture) -> None:
    records = [Record(id="a", prompt="Who?", response="w1 w2 w3 " * 20)]
    read = partial(
        make_examples,
        records,
        train_bpe(["w1 w2 w3"], 300),
        DataConfig(max_tokens=32, template="raw"),
    )
    with caplog.at_level(logging.WARNING, logger="stillage"):
        read(what="student, test")
    lines = [line.getMessage() for line in caplog.records if "tokenised" in line.getMessage()]
    assert [line.partition(": 1 examples")[0] for line in lines] == ["student, test: tokenised"]


def pool(sizes: list[int]) -> tuple[list[Record], np.ndarray]:
    """Records of groups of these sizes, with their group's number."""
    number = np.repeat(np.arange(len(sizes)), sizes)
    return [
        Record(id=f"{index:04}", prompt="", response="") for index in range(number.size)
    ], number


def test_groups_are_drawn_whole_and_fill_the_room() -> None:
    records, number = pool([1] * 10 + [4] * 10 + [1] * 50 + [30])
    parts = ["private"] * 50 + ["nonmembers"] * 80
    groups = [
        f"g{own}" if count > 1 else ""
        for own, count in zip(number, np.bincount(number)[number], strict=True)
    ]
    drawn = partial(some_groups, records, parts, groups)
    for seed in range(20):
        found, of = drawn(20, seed, "audit")
        counts = np.bincount([number[int(record.id)] for record in found], minlength=71)
        assert (
            set(counts[:70].tolist()) <= {0, 1, 4} and counts[70] == 0
        )  # a group of 30 has no room
        assert of.count("nonmembers") == 20 and 17 <= of.count("private") <= 20
        assert [record.id for record in found] == sorted(record.id for record in found)
    assert drawn(20, 1, "audit") == drawn(20, 1, "audit") != drawn(20, 2, "audit")
    assert drawn(0, 1, "audit") == (records, tuple(parts)) == drawn(80, 1, "audit")
    both, _ = some_groups(
        records[:2] * 1 + records[10:18],
        ["private", "nonmembers"] * 5,
        ["one"] * 2 + [""] * 8,
        3,
        0,
        "x",
    )
    assert len({record.id for record in both} & {"0000", "0001"}) in (
        0,
        2,
    )  # a group of both sides stays whole
    with pytest.raises(ConfigError, match="the smallest group of private has 4") as raised:
        some_groups(
            records[10:50] + records[50:99],
            ["private"] * 40 + ["nonmembers"] * 49,
            groups[10:99],
            3,
            0,
            "x",
        )
    assert "at most 3 of each part" in str(raised.value)


def test_the_best_attack_is_significant_as_often_as_its_level_where_groups_are_drawn_whole() -> (
    None
):
    """Families are easier texts, parts are of unequal size, nothing leaks. Single records drawn would find something."""
    records, number = pool([8] * 40 + [1] * 180)
    groups = [f"g{own}" if own < 40 else "" for own in number]
    low, trials = {"whole": 0, "single": 0}, 60
    for trial in range(trials):
        rng = generator(trial, "best attack")
        by_part = allot_groups(records, number, {"private": 400, "nonmembers": 100}, trial)
        found = {
            part: sorted(by_part[part], key=lambda record: record.id)
            for part in ("private", "nonmembers")
        }
        scores = (
            rng.normal(size=len(records))
            + 2 * (number < 40)
            + 0.5 * rng.normal(size=number.max() + 1)[number]
        )
        own = [record for part in found.values() for record in part]
        parts = [part for part, of_role in found.items() for _ in of_role]
        whole = some_groups(
            own, parts, [groups[int(record.id)] for record in own], 60, trial, "audit"
        )
        parts = {
            part: some_records(of_role, 60, trial, "audit", part) for part, of_role in found.items()
        }
        single = [*parts["private"], *parts["nonmembers"]], ("private",) * 60 + ("nonmembers",) * 60
        for name, (drawn, of) in (("whole", whole), ("single", single)):
            place = [int(record.id) for record in drawn]
            clusters = cluster_numbers(
                [record.id for record in drawn], [groups[index] for index in place]
            )
            test = max_statistic_test(
                scores[None, place], np.array(of) == "private", rng, 199, clusters=clusters
            )
            low[name] += test.p <= 0.05
    assert low["whole"] / trials <= 0.14 and low["single"] / trials > 0.2
