"""Several runs that share a store: every stage once, and who may offer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists

from stillage.run.schedule import Planned, Schedule, described, schedule
from stillage.run.stages import NOT_DONE, Stage, run_stage, stage_folder, stage_keys

STORE = Path("nowhere/store")
ORDER = ("data", "tokenizer", "teacher", "student")


def stages(*, teacher: int = 1, student: int = 1) -> list[Stage]:
    """Four stages in a row; the numbers are settings."""
    own = {"teacher": teacher, "student": student}
    return [
        Stage(
            name=name,
            settings={"k": own.get(name, 0)},
            work=lambda folder: (folder / "made").touch(),
            inputs=ORDER[max(0, position - 1) : position],
        )
        for position, name in enumerate(ORDER)
    ]


def planned(**plans: Sequence[Stage]) -> Schedule:
    return schedule(
        {
            name: Planned(run=Path("nowhere") / name, store=STORE, stages=plan)
            for name, plan in plans.items()
        }
    )


def test_a_run_alone_has_its_stages_by_their_names(tmp_path: Path) -> None:
    found = schedule({"": Planned(run=tmp_path, store=None, stages=stages())})
    assert list(found.tasks) == list(ORDER) == list(found.of_run[""])
    assert found.folders == {name: tmp_path / name for name in ORDER}
    assert found.needs["student"] == ("teacher",) and found.needs["data"] == ()
    assert {task.key for task in found.tasks.values()} == set(stage_keys(stages()).values())


def test_a_shared_stage_is_done_for_the_run_that_keeps_most_of_it() -> None:
    keeping = [
        replace(stage, kept=("model",) if stage.name == "teacher" else ()) for stage in stages()
    ]
    found = planned(a=stages(), b=keeping, c=stages())
    assert [task.run for task in found.offers["a: teacher"]] == ["b", "a", "c"]
    assert found.tasks["a: teacher"].run == "b" and found.tasks["a: data"].run == "a"


def test_equal_stages_stand_once_in_the_name_of_the_first_that_needs_them() -> None:
    found = planned(a=stages(), b=stages(student=2), c=stages(teacher=2))
    assert list(found.tasks) == [
        *(f"a: {name}" for name in ORDER),
        "b: student",
        "c: teacher",
        "c: student",
    ]
    assert [task.run for task in found.offers["a: data"]] == ["a", "b", "c"]
    assert [task.run for task in found.offers["a: teacher"]] == ["a", "b"]
    assert found.needs["b: student"] == ("a: teacher",)
    assert found.needs["c: student"] == ("c: teacher",)
    assert found.of_run["b"] == ("a: data", "a: tokenizer", "a: teacher", "b: student")
    assert len(set(found.folders.values())) == len(found.tasks)
    assert all(path.parent == STORE for path in found.folders.values())


def test_runs_without_a_store_share_nothing(tmp_path: Path) -> None:
    found = schedule(
        {name: Planned(run=tmp_path / name, store=None, stages=stages()) for name in ("a", "b")}
    )
    assert len(found.tasks) == 2 * len(ORDER)
    assert found.needs["b: student"] == ("b: teacher",)


@settings(max_examples=40, deadline=None)
@given(lists(integers(min_value=0, max_value=8), min_size=1, max_size=5))
def test_a_schedule_has_every_key_once_and_inputs_first(numbers: list[int]) -> None:
    plans = {
        f"r{index}": stages(teacher=number // 3, student=number % 3)
        for index, number in enumerate(numbers)
    }
    found = planned(**plans)
    keys = {key for plan in plans.values() for key in stage_keys(plan).values()}
    assert sorted(task.key for task in found.tasks.values()) == sorted(keys)
    seen: set[str] = set()
    for label in found.tasks:
        assert set(found.needs[label]) <= seen
        seen.add(label)
    for run, plan in plans.items():
        own = stage_keys(plan)
        assert [found.tasks[label].key for label in found.of_run[run]] == list(own.values())
    assert sum(len(offers) for offers in found.offers.values()) == len(ORDER) * len(plans)


def test_a_stage_under_its_label_keeps_all_but_its_name_and_inputs() -> None:
    found = planned(a=stages(), b=stages(student=2))
    labelled = found.labelled("b: student")
    assert (labelled.name, labelled.inputs) == ("b: student", ("a: teacher",))
    assert labelled.settings == {"k": 2}


@pytest.mark.parametrize("name", ORDER)
def test_only_what_checks_ahead_is_offered_in_another_name(name: str) -> None:
    """A training fails for all; records and tokenizer may be refused for one run's models alone."""
    found = planned(a=stages(), b=stages(), c=stages())
    label, checks = f"a: {name}", name in ("data", "tokenizer")
    for run in ("a", "b"):
        assert found.ended_by(label, run) == ([run] if checks else ["a", "b", "c"])
    assert [task.run for task in found.still_offered(label, {"a"})] == ["b", "c"]
    assert found.still_offered(label, {"a", "b", "c"}) == []


def test_what_is_done_is_told_and_described(tmp_path: Path) -> None:
    plan = stages()
    keys = stage_keys(plan)
    for stage in plan[:2]:
        folder = stage_folder(tmp_path, stage, keys[stage.name], None)
        run_stage(folder, stage, keys[stage.name])
    found = schedule({"": Planned(run=tmp_path, store=None, stages=plan)})
    assert [task.state.is_done for task in found.tasks.values()] == [True, True, False, False]
    lines = described(found)
    assert lines[0] == f"skip  {'data':<24} finished before with the same settings and inputs"
    assert lines[3] == f"run   {'student':<24} {NOT_DONE}"


def test_a_description_says_how_many_points_a_stage_serves() -> None:
    lines = described(planned(a=stages(), b=stages(student=2)))
    assert [line.endswith("(for 2 points)") for line in lines] == [True, True, True, False, False]
    long = "a_point_with_a_name_longer_than_the_column"
    lines = described(planned(**{long: stages(), "b": stages(student=2)}))
    places = {line.index(NOT_DONE) for line in lines}
    assert len(places) == 1 and places == {len(f"run   {long}: tokenizer ")}
