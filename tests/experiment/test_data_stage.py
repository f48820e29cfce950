"""Records that a later stage would stumble over are refused before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from stillage.data.split import Split
from stillage.errors import DataError, UserError
from stillage.experiment.context import Context, make_context
from stillage.experiment.data_stage import LEAST_RECORDS, check_public_answers, check_split
from stillage.run.config import AuditConfig, Config, DataConfig, DistillConfig, ModelConfig
from stillage.run.stop import Stop
from stillage.types import Part, Record

PARTS: tuple[Part, ...] = ("private", "public", "nonmembers", "counterfactual", "test")


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


def records(part: str, count: int, response: str = "badge 7") -> list[Record]:
    return [
        Record(
            id=f"{part}{index}", prompt=f"{part} {index}", response=response, meta={"badge": "7"}
        )
        for index in range(count)
    ]


def split_of(counts: Mapping[Part, int]) -> Split:
    found: dict[Part, list[Record]] = {part: records(part, count) for part, count in counts.items()}
    return Split(records_by_part=found, drawn_by_us=True, seed=1)


ENOUGH: dict[Part, int] = {part: LEAST_RECORDS.get(part, 1) for part in PARTS}


def test_the_least_records_are_enough() -> None:
    check_split(context_of(Config()), split_of(ENOUGH))


@pytest.mark.parametrize("part", PARTS)
def test_one_record_less_is_too_few(part: Part) -> None:
    counts: dict[Part, int] = {**ENOUGH, part: ENOUGH[part] - 1}
    with pytest.raises(DataError, match=f"part {part} has too few") as caught:
        check_split(context_of(Config()), split_of(counts))
    assert f"{part}: {counts[part]}, needed: {ENOUGH[part]}" in caught.value.values
    assert ("--audit.counterfactual false" in caught.value.fix) == (part == "counterfactual")
    assert len(str(caught.value).splitlines()) == 3


def test_only_the_parts_that_the_run_needs_are_counted() -> None:
    """Records that were drawn for one run may serve another, of other models and stages."""
    config = Config(stages=("audit",), student=ModelConfig(path="s"))
    few = split_of({"private": 2, "nonmembers": 2})
    check_split(context_of(config), few)
    with pytest.raises(DataError, match="part test has too few"):
        check_split(context_of(replace(config, stages=("evaluate", "audit"))), few)


def test_a_column_to_recite_must_be_there_where_it_is_audited() -> None:
    pin = Config(data=DataConfig(source="of_mine.jsonl"), audit=AuditConfig(extract="pin"))
    with pytest.raises(DataError, match="no column 'pin'"):
        check_split(context_of(pin), split_of(ENOUGH))
    check_split(context_of(replace(pin, audit=AuditConfig(extract="badge"))), split_of(ENOUGH))
    check_split(context_of(replace(pin, stages=("distill", "evaluate"))), split_of(ENOUGH))


def test_a_value_that_does_not_stand_in_its_response_is_refused() -> None:
    found = split_of(ENOUGH)
    wrong = [*records("private", 1), *records("other", 1, "nothing of it")]
    changed = replace(found, records_by_part={**found.records_by_part, "private": wrong})
    with pytest.raises(UserError):
        check_split(context_of(Config(audit=AuditConfig(extract="badge"))), changed)


def test_an_end_of_the_needed_part_that_no_response_has_is_refused() -> None:
    with pytest.raises(DataError, match="No response has the text"):
        check_split(context_of(Config(data=DataConfig(needed_until="\n"))), split_of(ENOUGH))
    check_split(context_of(Config(data=DataConfig(needed_until=" 7"))), split_of(ENOUGH))


def test_a_method_that_trains_on_answers_needs_every_one() -> None:
    some = [*records("a", 2), *records("b", 1, "")]
    with pytest.raises(DataError, match="not every public record has one") as caught:
        check_public_answers(context_of(Config()), some)
    assert caught.value.values == "public: 3, of them answered: 2"
    assert "answer them all" in caught.value.fix
    kept = context_of(Config(data=DataConfig(public_answers=0.5)))
    with pytest.raises(DataError, match="kd trains") as caught:
        check_public_answers(kept, some)
    assert "data.public_answers: 1" in caught.value.fix
    check_public_answers(context_of(Config()), records("a", 2))


def test_a_teacher_writes_answers_for_all_but_the_student_without_one() -> None:
    config = Config(distill=DistillConfig(method="seqkd"))
    some = [*records("a", 1), *records("b", 2, "")]
    check_public_answers(context_of(config), some)
    with pytest.raises(DataError, match="student_no_teacher needs answers of its own"):
        check_public_answers(context_of(config), records("b", 3, ""))
    without = replace(config, audit=AuditConfig(no_teacher=False))
    check_public_answers(context_of(without), records("b", 3, ""))
    starts = replace(without, distill=DistillConfig(method="seqkd", init_epochs=1))
    with pytest.raises(DataError, match="student_init needs answers of its own"):
        check_public_answers(context_of(starts), records("b", 3, ""))


def test_all_that_prompts_alone_stand_in_the_way_of_is_said_at_once() -> None:
    config = Config(distill=DistillConfig(method="kd", init_epochs=1))
    with pytest.raises(DataError) as caught:
        check_public_answers(context_of(config), records("b", 3, ""))
    said = str(caught.value)
    assert "kd trains on the records' own answers" in said and "--method seqkd" in said
    assert "student_init needs answers of its own (like student_no_teacher)" in said
    assert "--audit.no-teacher false, --distill.init-epochs 0" in said
    mended = replace(config, distill=DistillConfig(method="seqkd"))
    mended = replace(mended, audit=AuditConfig(no_teacher=False))
    check_public_answers(context_of(mended), records("b", 3, ""))
