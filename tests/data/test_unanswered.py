"""Prompts alone: which public records keep their answers, what is refused, and what the data stage says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.data.columns import record_id
from stillage.data.from_config import split_from_config
from stillage.data.split import Split, read_split
from stillage.data.unanswered import keep_answers, with_answers
from stillage.errors import DataError
from stillage.run.config import DataConfig
from stillage.types import Record


def record(number: int) -> Record:
    prompt, response = f"Question number {number} of all?", f"Answer {number}."
    return Record(
        id=record_id(prompt, "", response),
        prompt=prompt,
        response=response,
        meta={"secret": str(number)},
    )


def split_of(public: list[Record], groups: dict[str, str] | None = None) -> Split:
    return Split(
        records_by_part={"public": public}, drawn_by_us=True, seed=4, group_of=groups or {}
    )


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.001, 1), (0.25, 5), (1.0, 20)])
def test_a_share_keeps_its_answers_whatever_the_order_of_the_file(share: float, kept: int) -> None:
    public = [record(number) for number in range(20)]
    found = keep_answers(split_of(public), share).records_by_part["public"]
    again = keep_answers(split_of(public[::-1]), share).records_by_part["public"]
    assert [one.prompt for one in found] == [one.prompt for one in public]
    assert len(with_answers(found)) == kept and {r.id for r in with_answers(found)} == {
        r.id for r in with_answers(again)
    }


def test_a_prompt_alone_is_another_record_and_carries_nothing_of_the_answer() -> None:
    public = [record(number) for number in range(4)]
    done = keep_answers(split_of(public, {public[0].id: "a", public[1].id: "a"}), 0.0)
    for before, after in zip(public, done.records_by_part["public"], strict=True):
        assert after.id == record_id(before.prompt, "", "") != before.id
        assert (after.response, dict(after.meta)) == ("", {})
    assert done.group_of == {one.id: "a" for one in done.records_by_part["public"][:2]}
    assert "4 of the public records are prompts alone" in done.summary()


def test_text_without_a_prompt_stays() -> None:
    text = Record(id=record_id("", "", "A text."), prompt="", response="A text.")
    assert keep_answers(split_of([text, record(1)]), 0.0).records_by_part["public"][0] == text


def test_prompts_that_differed_in_their_answers_alone_become_one() -> None:
    twice = [
        Record(id=record_id("Why is it so?", "", r), prompt="Why is it so?", response=r)
        for r in ("Because.", "So.")
    ]
    done = keep_answers(split_of([*twice, record(1)]), 0.0)
    assert [one.prompt for one in done.records_by_part["public"]] == [
        "Why is it so?",
        record(1).prompt,
    ]
    assert done.duplicates_collapsed == 1


def files(folder: Path, public: list[dict[str, str]]) -> dict[str, str]:
    rows = {
        "private": [
            {"prompt": f"Private question {n}?", "response": f"Yes, {n}."} for n in range(4)
        ],
        "nonmembers": [
            {"prompt": f"Another question {n}?", "response": f"No, {n}."} for n in range(4)
        ],
        "test": [{"prompt": "Who knows?", "response": "Nobody."}],
        "public": public,
    }
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: str(folder / f"{name}.jsonl") for name in rows}


PROMPTS = [{"prompt": "Open question one?"}, {"prompt": "Open question two?", "response": ""}]


def test_a_public_file_may_hold_prompts_alone_and_no_other_file_may(tmp_path: Path) -> None:
    named = files(tmp_path, [*PROMPTS, {"prompt": "A third?", "response": "Third."}])
    public = split_from_config(DataConfig(files=named), 1).records_by_part["public"]
    assert [one.response for one in public] == ["", "", "Third."]
    with pytest.raises(DataError, match="line 1"):
        split_from_config(DataConfig(files={**named, "private": named["public"]}), 1)


@pytest.mark.parametrize(
    ("public", "flags", "said"),
    [
        (PROMPTS, [], "kd trains on the records' own answers"),
        (PROMPTS, ["--method", "seqkd"], "student_no_teacher needs answers of its own"),
        (
            PROMPTS,
            ["--method", "seqkd", "--distill.minimal", "true"],
            "No student can be asked only for what is needed.",
        ),
    ],
)
def test_prompts_that_nobody_answers_are_refused_before_anything_is_trained(
    public: list[dict[str, str]],
    flags: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [
        word
        for name, path in files(tmp_path, public).items()
        for word in (f"--data.files.{name}", path)
    ]
    words = [
        "run",
        *named,
        *flags,
        "--audit.counterfactual",
        "false",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert said in printed and not (tmp_path / "run").exists()


def test_the_teacher_answers_them_where_the_method_asks_it(tmp_path: Path) -> None:
    named = [
        word
        for name, path in files(tmp_path, PROMPTS).items()
        for word in (f"--data.files.{name}", path)
    ]
    words = [
        "data",
        *named,
        "--method",
        "seqkd",
        "--audit.no-teacher",
        "false",
        "--audit.counterfactual",
        "false",
    ]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    assert not with_answers(read_split(tmp_path / "run" / "data").records_by_part["public"])


def test_records_that_were_drawn_for_a_method_that_needs_no_answers_are_refused_to_one_that_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [
        word
        for name, path in files(tmp_path, PROMPTS).items()
        for word in (f"--data.files.{name}", path)
    ]
    words = [
        *named,
        "--audit.no-teacher",
        "false",
        "--audit.counterfactual",
        "false",
        "--out",
        str(tmp_path / "run"),
    ]
    words += [
        "--teacher.layers",
        "1",
        "--teacher.width",
        "16",
        "--teacher.heads",
        "1",
        "--student.layers",
        "1",
    ]
    words += ["--student.width", "16", "--student.heads", "1", "--teacher-train.max-steps", "1"]
    assert main(["data", *words, "--method", "seqkd"]) == 0
    assert main(["distill", *words, "--method", "kd"]) == 2
    assert "kd trains on the records' own answers" in capsys.readouterr().err
    assert not (tmp_path / "run" / "teacher").exists()
