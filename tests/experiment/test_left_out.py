"""Audited records that a student was trained on, and nonmembers that are members nearly, leave every evaluation, counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stillage.data.split import Split, write_split
from stillage.data.synthetic import people
from stillage.experiment.audit_stage import audited_records
from stillage.experiment.judge import overlap, training_overlap
from stillage.experiment.left_out import left_out
from stillage.experiment.plan import Context, make_context
from stillage.experiment.signal_stage import signal_records
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, ModelConfig
from stillage.run.stop import watch_signals
from stillage.types import Record


def context_of(out: Path, **audit: object) -> Context:
    config = Config(out=out, audit=AuditConfig(**audit), teacher=ModelConfig(architecture="gpt2"))  # pyright: ignore[reportArgumentType]
    config = replace(config, student=ModelConfig(architecture="gpt2"))
    with watch_signals() as stop:
        return make_context(config, stop, lambda stage, facts: None)


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
    split, context = spoilt(3, 2), context_of(tmp_path, signal_records=500)
    left = left_out(context, split)
    members = [record.id for record in split.records_by_part["private"]]
    assert left == {**dict.fromkeys(members[:3], "trained"), "near0": "near", "near1": "near"}
    one, two = overlap(split, left), training_overlap(context, split, {}, left)
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
        "440 of 1,240 records were exact copies; models trained here" in overlap(copied_too).detail
    )
    assert not overlap(spoilt(0, 3), {}).passed  # 1.5 %: no tolerance for more
    write_split(tmp_path / "data", split)
    records, parts = audited_records(context)
    assert parts == ("private",) * 197 + ("nonmembers",) * 198 and not set(left) & {
        record.id for record in records
    }
    compared, _ = signal_records(context)
    assert not set(left) & {record.id for record in compared} and len(compared) == 203 + 197 + 198


@pytest.mark.parametrize(
    ("trained", "inclusion"), [(0, "fixed"), (200, "fixed"), (199, "fixed"), (3, "bernoulli")]
)
def test_nobody_leaves_a_clean_split_an_emptied_side_or_coins(trained: int, inclusion: str) -> None:
    split, context = replace(spoilt(trained, 0), inclusion=inclusion), context_of(Path("nowhere"))
    left = left_out(context, split)
    assert left == {}
    checked = training_overlap(context, split, {}, left)
    assert (
        checked is not None
        and checked.passed is (trained < 5)
        and "left the evaluation" not in checked.detail
    )
