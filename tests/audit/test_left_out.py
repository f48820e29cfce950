"""Audited records that a student was trained on, and nonmembers that are members nearly, leave every evaluation, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from stillage.audit import duplicates
from stillage.audit.audit_records import AuditRecords, choose_records
from stillage.audit.duplicates import Sides
from stillage.audit.given import AuditSettings, TrainingFacts
from stillage.audit.judge import overlap, training_overlap
from stillage.audit.left_out import left_out
from stillage.corpus.near_copies import Across, near_across
from stillage.data.split import Split
from stillage.data.synthetic import people
from stillage.measures.measure import MeasureInput
from stillage.measures.signal import compared_records
from stillage.run.audit_config import AuditConfig
from stillage.types import Record, Result

TRAINED = TrainingFacts(learns_public=True)


def given(chosen: AuditRecords, audit: AuditConfig, cache: Path) -> MeasureInput:
    base = Result(run="", stage="signal", model="", metric="", value=0.0)
    settings = AuditSettings(audit=audit, seed=1, base=base, cache=cache)
    return MeasureInput(
        split=chosen.split,
        choose=lambda: chosen,
        models=(),
        elsewhere=(),
        settings=settings,
        params=None,
        read=lambda name: pa.table({}),
    )


def copied(records: list[Record], name: str) -> list[Record]:
    return [
        replace(one, id=f"{name}{i}", response=f"{one.response} Indeed.")
        for i, one in enumerate(records)
    ]


def spoilt(trained: int, near: int) -> Split:
    """Of 200 members and nonmembers each, so many members in the public set, and so many of them as nonmembers, reworded."""
    folk = people(3, 200)
    members, nonmembers, public = folk["private"], folk["nonmembers"], folk["public"]
    nonmembers = [*nonmembers[near:], *copied(members[-near:], "near")] if near else nonmembers
    records = {
        "private": members,
        "nonmembers": nonmembers,
        "public": [*public, *copied(members[:trained], "trained")],
    }
    return Split(records_by_part=records, drawn_by_us=True, seed=1)  # pyright: ignore[reportArgumentType]


def test_within_the_tolerance_they_leave_and_are_counted(tmp_path: Path) -> None:
    split = spoilt(3, 2)
    sides = Sides(split=split)
    left = left_out(sides, learns_public=True)
    members = [record.id for record in split.records_by_part["private"]]
    assert left == {**dict.fromkeys(members[:3], "trained"), "near0": "near", "near1": "near"}
    one, two = overlap(sides, left), training_overlap(sides, TRAINED, {}, left)
    assert one.passed and two is not None and two.passed
    assert two.detail.endswith(
        "3 members and 0 nonmembers left the evaluation because the students were trained on them."
    )
    assert one.detail.endswith(
        "0 members and 2 nonmembers left the evaluation because they are near-duplicates of members."
    )
    assert (two.values["members left out"], one.values["nonmembers left out"]) == (3, 2)
    copied_too = replace(split, duplicates_collapsed=440, n_read=1240)
    assert (
        "440 of 1,240 records were exact copies; models trained here"
        in overlap(Sides(split=copied_too), {}).detail
    )
    assert not overlap(Sides(split=spoilt(0, 3)), {}).passed  # 1.5 %: no tolerance for more
    audit = AuditConfig(signal_records=500)
    chosen = choose_records(split, [], audit, 1, learns_public=True)
    assert chosen.parts == ("private",) * 197 + ("nonmembers",) * 198
    assert not set(left) & {record.id for record in chosen.records}
    compared, _ = compared_records(given(chosen, audit, tmp_path))
    assert not set(left) & {record.id for record in compared} and len(compared) == 203 + 197 + 198


def test_near_copies_are_searched_once_for_who_leaves_and_for_the_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[tuple[int, int]] = []

    def counted(left: Sequence[str], right: Sequence[str]) -> Across:
        searched.append((len(left), len(right)))
        return near_across(left, right)

    monkeypatch.setattr(duplicates, "near_across", counted)
    chosen = choose_records(spoilt(3, 2), [], AuditConfig(), 1, learns_public=True)
    chosen = chosen.some(20, 1, "fewer")
    overlap(chosen.sides, chosen.left)
    training_overlap(chosen.sides, TRAINED, {}, chosen.left)
    assert searched == [(200, 200), (400, 203)]  # members and nonmembers, both and the public ones


@pytest.mark.parametrize(
    ("trained", "inclusion"), [(0, "fixed"), (200, "fixed"), (199, "fixed"), (3, "bernoulli")]
)
def test_nobody_leaves_a_clean_split_an_emptied_side_or_coins(trained: int, inclusion: str) -> None:
    split = replace(spoilt(trained, 0), inclusion=inclusion)
    sides = Sides(split=split)
    left = left_out(sides, learns_public=True)
    assert left == {}
    checked = training_overlap(sides, TRAINED, {}, left)
    assert (
        checked is not None
        and checked.passed is (trained < 5)
        and "left the evaluation" not in checked.detail
    )
