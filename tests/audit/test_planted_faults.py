"""Faults planted into a whole tiny run, or into what one is made of: each is caught by name, and its clean twin passes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.attacks.reference import reference
from stillage.audit.duplicates import Sides
from stillage.audit.given import TrainingFacts
from stillage.audit.judge import judge_audit, order, overlap, training_overlap, truncation
from stillage.audit.membership import membership_results, score_schema
from stillage.audit.record_readings import model_readings
from stillage.audit.validity import Check
from stillage.cli import main
from stillage.data.columns import record_id
from stillage.data.draw import draw_split, split_from_files
from stillage.data.records import read_records
from stillage.data.split import Split, read_split
from stillage.data.synthetic import people
from stillage.errors import DataError
from stillage.experiment.audit_stage import (
    audit_records,
    audit_settings,
    run_models,
    training_facts,
)
from stillage.experiment.context import Context, make_context
from stillage.experiment.inputs import model_source
from stillage.models.limits import weights_key
from stillage.report import write_report
from stillage.report.run_view import read_run
from stillage.report.verdict import verdict
from stillage.run.config import ReportConfig
from stillage.run.folder import read_json, read_table, write_json, write_table
from stillage.run.parse import build, from_yaml
from stillage.run.results import read_results
from stillage.types import Record, Result

SHIFT = "cannot tell leakage from a difference of the groups"
TINY = [
    "run",
    "biographies",
    "--data.people",
    "50",
    "--tokenizer.vocab-size",
    "400",
    "--jobs",
    "1",
    "--threads",
    "1",
    "--teacher.layers",
    "1",
    "--teacher.width",
    "32",
    "--teacher.heads",
    "2",
    "--teacher-train.epochs",
    "10",
    "--teacher-train.lr-peak",
    "1e-2",
    "--teacher-train.validate-every",
    "0",
    "--student-train.validate-every",
    "0",
    "--student.layers",
    "1",
    "--student.width",
    "32",
    "--student.heads",
    "2",
    "--student-train.epochs",
    "2",
    "--stages",
    "distill",
    "audit",
]
Found = Mapping[str, object]
READERS = {"private": read_records, "nonmembers": read_records}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("planted") / "run"
    assert main([*TINY, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run, to be spoilt."""
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def context_of(run: Path, **data: object) -> Context:
    config = build(from_yaml((run / "config.yaml").read_text(), "config.yaml"))
    config = dataclasses.replace(config, out=run, data=dataclasses.replace(config.data, **data))
    return make_context(config, lambda: False, lambda stage, facts: None)  # pyright: ignore[reportArgumentType]


def judged(run: Path, scores: pa.Table | None = None) -> dict[str, Found]:
    """The verdict on a run folder as it lies there: check name -> check, and the verdict itself under ''."""
    context = context_of(run)
    records = audit_records(context, read_split(run / "data"))
    settings, models = audit_settings(context), run_models(context).audited
    found = judge_audit(
        records,
        models,
        training_facts(context),
        read_table(run / "audit" / "scores.parquet") if scores is None else scores,
        model_readings(models, records.records, settings.data),
        settings,
    )
    checks = found["checks"]
    assert isinstance(checks, tuple)
    return {"": found, **{str(check["name"]): check for check in checks}}


def failed(found: Mapping[str, Found]) -> set[str]:
    return {name for name, check in found.items() if name and not check["passed"]}


def caught(found: Mapping[str, Found], name: str, fault: str, *said: str) -> None:
    """Only that check failed, with this fault; the headline says all the words."""
    assert failed(found) == {name} and found[""]["verdict"] == fault
    headline = str(found[""]["headline"])
    assert all(words in headline for words in said), headline


def edited(table: pa.Table, change: Callable[[dict[str, Any]], object]) -> pa.Table:
    """The table with every row changed in place."""
    rows = table.to_pylist()
    for row in rows:
        change(row)
    return pa.Table.from_pylist(rows, schema=table.schema)


def column(table: pa.Table, name: str, values: Sequence[object]) -> pa.Table:
    """The table with one column replaced."""
    kind = table.schema.field(name).type
    return table.set_column(table.column_names.index(name), name, pa.array(list(values), kind))


def test_the_clean_run_fails_no_check_and_says_what_it_could_not_ask(run: Path) -> None:
    found = judged(run)
    assert (
        failed(found) == set() and found[""]["verdict"] == "too few records to tell"
    )  # fifty people
    assert {name for name, check in found.items() if check.get("undecided")} == {"controls"}
    assert "(controls) need" in str(found[""]["headline"])
    assert set(found) - {""} == {
        "provenance",
        "overlap",
        "training_overlap",
        "truncation",
        "records",
        "sources",
        "answers",
        "controls",
    }
    assert found[""]["unchecked"] == {"order": "the records do not say where in a file they stood"}
    values = found["controls"]["values"]
    assert isinstance(values, dict) and {"blind bag_of_words", "loss on student_untrained"} <= set(
        values
    )
    rows = read_results(run / "audit" / "results.parquet")
    assert {"detectable_auc", "detectable_tpr"} <= {
        row.metric for row in rows if row.model == "student"
    }
    written = read_json(run / "audit" / "validity.json")
    assert written["verdict"] == "too few records to tell" and len(written["checks"]) == 12
    assert (
        "Not checked: order (the records do not say" in (run / "report" / "report.html").read_text()
    )


@pytest.mark.parametrize(
    ("stage", "part", "said"),
    [
        (
            "student",
            "private",
            "private in student",
        ),  # private prompts in the rollouts: their ids are written too
        ("tokenizer", "private", "private in tokenizer"),
        ("student_no_teacher", "nonmembers", "nonmembers in student_no_teacher"),
        ("teacher", "nonmembers", "nonmembers in teacher"),
        ("teacher_counterfactual", "private", "private in teacher_counterfactual"),
    ],
)
def test_a_record_in_a_stage_that_must_not_see_it(
    run: Path, stage: str, part: str, said: str
) -> None:
    records = read_table(run / "data" / "records.parquet").to_pylist()
    strangers = [row["id"] for row in records if row["part"] == part][:3]
    path = run / stage / "provenance.parquet"
    ids = [*read_table(path).column("id").to_pylist(), *strangers]
    write_table(path, pa.table({"id": ids}))
    found = judged(run)
    caught(found, "provenance", "contaminated", f"3 {said}.")
    write_json(run / "audit" / "validity.json", found[""])
    write_report(run, ReportConfig(), title="run", run_id="r")
    summary = (run / "report" / "summary.txt").read_text()
    assert summary.startswith(
        "run: contaminated; split contaminated, 6 of 8 checks passed, 1 could not tell\nContaminated. Records where they must not be:"
    )
    assert "Contaminated." in (run / "report" / "report.html").read_text()


def test_members_and_nonmembers_swapped(run: Path) -> None:
    """Labels flipped: the training stages' own lists contradict them; and the AUC falls below 0.5 instead of being folded."""
    path, other = (
        run / "data" / "records.parquet",
        {"private": "nonmembers", "nonmembers": "private"},
    )
    records = read_table(path)
    swapped = column(
        records, "part", [other.get(part, part) for part in records["part"].to_pylist()]
    )
    write_table(path, swapped)
    found = judged(run)
    assert found[""]["verdict"] == "contaminated" and {"provenance", "sources"} <= failed(found)
    assert "50 nonmembers in teacher" in str(found["provenance"]["detail"])
    scores = read_table(run / "audit" / "scores.parquet")
    flipped = column(scores, "part", [other[part] for part in scores["part"].to_pylist()])
    base = Result(run="", stage="audit", model="", metric="", value=0.0)

    def auc(table: pa.Table) -> Result:
        rows = membership_results(table, fprs=(), level=0.95, base=base)
        return next(
            row for row in rows if (row.metric, row.model, row.attack) == ("auc", "teacher", "loss")
        )

    right, wrong = auc(scores), auc(flipped)
    assert right.low > 0.5 and wrong.value == pytest.approx(1 - right.value) and wrong.high < 0.5
    view = read_run(run)
    only = dataclasses.replace(view, results=(wrong,), validity={"verdict": "valid"})
    assert (
        verdict(only).tone == "unknown" and "nonmembers above its members" in verdict(only).headline
    )


def test_weights_that_were_replaced_after_training(run: Path) -> None:
    shutil.copy(
        run / "teacher" / "model" / "model.safetensors",
        run / "student" / "model" / "model.safetensors",
    )
    caught(judged(run), "sources", "contaminated", "student/model/model.safetensors")


def test_scores_of_another_model_are_never_found_in_the_cache(run: Path) -> None:
    context = context_of(run)
    keys = {spec.name: weights_key(model_source(context, spec)) for spec in context.models}
    assert len(set(keys.values())) == len(keys) == 5
    student = next(spec for spec in context.models if spec.name == "student")
    shutil.copy(
        run / "teacher" / "model" / "model.safetensors",
        run / "student" / "model" / "model.safetensors",
    )
    assert weights_key(model_source(context, student)) != keys["student"]


@pytest.mark.parametrize("how", ["fewer", "twice", "other records"])
def test_scores_of_other_records_than_the_audited_ones(run: Path, how: str) -> None:
    scores = read_table(run / "audit" / "scores.parquet").to_pylist()
    rows = [row for row in scores if (row["model"], row["attack"]) == ("student", "loss")]
    rest = [row for row in scores if (row["model"], row["attack"]) != ("student", "loss")]
    if how == "fewer":
        rows, said = rows[7:], "7 missing, 0 of other records, 0 repeated"
    elif how == "twice":
        rows, said = [*rows, *rows[:2]], "0 missing, 0 of other records, 2 repeated"
    else:
        rows = [row | {"id": f"x{i}"} if i < 4 else row for i, row in enumerate(rows)]
        said = "4 missing, 4 of other records, 0 repeated"
    spoilt = pa.Table.from_pylist([*rest, *rows], schema=score_schema())
    caught(judged(run, spoilt), "records", "contaminated", f"loss on student: {said}")


def test_the_order_of_the_scores_changes_nothing(run: Path) -> None:
    scores = read_table(run / "audit" / "scores.parquet")
    shuffled = scores.take(pa.array(np.random.default_rng(0).permutation(scores.num_rows)))
    found, before = judged(run, shuffled), judged(run)
    assert failed(found) == set() and found["controls"]["values"] == before["controls"]["values"]


@pytest.mark.parametrize(
    ("value", "said"),
    [(1.5, "gives all 100 records one score"), (np.nan, "for 100 of 100 records")],
)
def test_a_model_whose_scores_say_nothing(run: Path, value: float, said: str) -> None:
    def silence(row: dict[str, Any]) -> None:
        if row["model"] == "student":
            row["score"] = value

    spoilt = edited(read_table(run / "audit" / "scores.parquet"), silence)
    caught(
        judged(run, spoilt), "answers", "unusable scores", "Scores that say nothing: student", said
    )


def test_a_few_missing_scores_are_counted_and_many_are_refused(run: Path) -> None:
    scores = read_table(run / "audit" / "scores.parquet")
    ids = sorted(set(scores["id"].to_pylist()))

    def without(number: int) -> dict[str, Found]:
        def lose(row: dict[str, Any]) -> None:
            if row["model"] == "teacher" and row["id"] in ids[:number]:
                row["score"] = np.nan

        return judged(run, edited(scores, lose))

    few = without(1)
    assert failed(few) == set() and few["answers"]["values"] == {
        "teacher, records without score": 1
    }
    assert "1 scores are missing" in str(few["answers"]["detail"])
    caught(
        without(2), "answers", "unusable scores", "teacher has no finite score for 2 of 100 records"
    )


def test_a_control_that_has_learned_members(run: Path) -> None:
    """Two folders mixed up: what is called the student without a teacher is the teacher."""
    scores = read_table(run / "audit" / "scores.parquet")
    other = {"teacher": "student_no_teacher", "student_no_teacher": "teacher"}
    mixed = column(
        scores, "model", [other.get(model, model) for model in scores["model"].to_pylist()]
    )
    caught(
        judged(run, mixed),
        "controls",
        SHIFT,
        "already tell members from nonmembers",
        "loss on student_no_teacher",
    )


def test_members_and_nonmembers_cut_differently(run: Path) -> None:
    context = context_of(run, max_tokens=100)
    chosen = audit_records(context, read_split(run / "data"))
    records, parts = chosen.records, chosen.parts

    def cut(now: Sequence[Record]) -> Check:
        models = run_models(context).audited
        readings = model_readings(models, now, context.config.data)
        return truncation(dataclasses.replace(chosen, records=tuple(now)), readings)

    clean = cut(records)
    assert clean.passed and clean.detail == "0 of 50 members and 0 of 50 nonmembers were cut short."

    def longer(side: str) -> list[Record]:
        return [
            dataclasses.replace(record, response=record.response * 4) if part == side else record
            for record, part in zip(records, parts, strict=True)
        ]

    for side, said in (
        ("private", "50 of 50 members and 0 of 50"),
        ("nonmembers", "0 of 50 members and 50 of 50"),
    ):
        found = cut(longer(side))  # those that are cut end without EOS, the others with it
        assert not found.passed and found.fault == SHIFT and said in found.detail
    everybody = [dataclasses.replace(record, response=record.response * 4) for record in records]
    both = cut(everybody)
    assert both.passed and "50 of 50 members and 50 of 50 nonmembers" in both.detail


def sides_of(
    members: Sequence[Record], nonmembers: Sequence[Record], public: Sequence[Record] = ()
) -> Sides:
    records = {"private": list(members), "nonmembers": list(nonmembers), "public": list(public)}
    return Sides(split=Split(records_by_part=records, drawn_by_us=True, seed=1))  # pyright: ignore[reportArgumentType]


def retold(
    record: Record, change: Callable[[str], str] = str, answer: Callable[[str], str] = str
) -> Record:
    """Another record: its prompt and response changed, and so its id."""
    prompt, response = change(record.prompt), answer(record.response)
    return dataclasses.replace(
        record, id=record_id(prompt, "", response), prompt=prompt, response=response
    )


def test_nonmembers_that_are_members_or_nearly() -> None:
    folk = people(3, 40)
    members, nonmembers = folk["private"], folk["nonmembers"]
    assert overlap(sides_of(members, nonmembers), {}).passed
    same = overlap(sides_of(members, [*nonmembers[2:], *members[:2]]), {})
    assert (
        not same.passed
        and same.fault == "contaminated"
        and "2 records are member and nonmember" in same.detail
    )
    near = overlap(
        sides_of(
            members,
            [*nonmembers[2:], *(retold(m, answer=lambda t: f"{t} Indeed.") for m in members[:2])],
        ),
        {},
    )
    assert (
        not near.passed
        and near.fault == "contaminated"
        and "2 of 40 nonmembers (5.0%) are near" in near.detail
    )


def test_private_prompts_among_the_students_own() -> None:
    """The student of a method that writes its own texts was given the private prompts, with other answers."""
    facts, folk = TrainingFacts(learns_public=True), people(3, 40)
    members, nonmembers, public = folk["private"], folk["nonmembers"], folk["public"]
    unchecked: dict[str, str] = {}
    clean = training_overlap(sides_of(members, nonmembers, public), facts, unchecked, {})
    assert not unchecked
    beside = dataclasses.replace(facts, reads_corpus=True)
    training_overlap(sides_of(members, nonmembers, public), beside, unchecked, {})
    assert (
        set(unchecked) == {"plain text"} and "not searched for members" in unchecked["plain text"]
    )
    assert clean is not None and clean.passed
    asked = [
        retold(record, answer=lambda text: "Nothing is known about this person.")
        for record in members[:5]
    ]
    found = training_overlap(sides_of(members, nonmembers, [*public, *asked]), facts, {}, {})
    assert found is not None and not found.passed and found.fault == "contaminated"
    assert (
        "the prompts of 5 and on near-duplicates of 0 of 80 members and nonmembers" in found.detail
    )
    copied = [retold(record, change=lambda text: f"Please: {text}") for record in members[:3]]
    found = training_overlap(sides_of(members, nonmembers, [*public, *copied]), facts, {}, {})
    assert found is not None and not found.passed and "near-duplicates of 3 of 80" in found.detail
    task = "Say in one short sentence who this person is."  # an instruction that all share is no record's own prompt
    shared = [
        [retold(record, change=lambda text: task) for record in side]
        for side in (members, nonmembers, public)
    ]
    assert getattr(training_overlap(sides_of(*shared), facts, {}, {}), "passed", False)


def write_lines(path: Path, records: Sequence[Record]) -> str:
    lines = [
        json.dumps({"prompt": record.prompt, "response": record.response}) for record in records
    ]
    path.write_text("\n".join(lines))
    return str(path)


def test_a_sorted_file_cut_in_the_middle(tmp_path: Path) -> None:

    folk = people(4, 60)
    pool = sorted([*folk["private"], *folk["nonmembers"]], key=lambda record: record.response)
    loaded = read_records(write_lines(tmp_path / "pool.jsonl", pool))
    honest = draw_split(loaded, {"private": 0.5, "nonmembers": 0.5}, seed=1, group_by="near")
    check = order(Sides(split=honest), {})
    assert check is not None and check.passed and "says nothing" in check.detail
    cut = dataclasses.replace(
        honest, records_by_part={"private": loaded.records[:60], "nonmembers": loaded.records[60:]}
    )
    check = order(Sides(split=cut), {})
    assert (
        check is not None
        and not check.passed
        and check.fault == SHIFT
        and "(AUC 0.000)" in check.detail
    )


def test_a_member_file_with_nonmembers_in_it_is_refused(tmp_path: Path) -> None:
    folk = people(5, 10)
    files = {
        "private": write_lines(tmp_path / "a.jsonl", [*folk["private"], *folk["nonmembers"][:3]]),
        "nonmembers": write_lines(tmp_path / "b.jsonl", folk["nonmembers"]),
    }
    with pytest.raises(
        DataError, match=r"3 records are in two parts(.|\n)*private & nonmembers: 3"
    ):
        split_from_files(files, READERS)
    clean = write_lines(tmp_path / "a.jsonl", folk["private"])
    assert split_from_files(files | {"private": clean}, READERS).counts == {
        "private": 10,
        "nonmembers": 10,
    }


def audited(
    run: Path, out: Path, members: Sequence[Record], nonmembers: Sequence[Record], *more: str
) -> int:
    """`stillage audit` of the run's teacher, as the student, on two files."""
    out.mkdir()
    return main(
        [
            "audit",
            "--student",
            str(run / "teacher" / "model"),
            "--data.template",
            "raw",
            "--threads",
            "1",
            "--data.files.private",
            write_lines(out / "a.jsonl", members),
            "--data.files.nonmembers",
            write_lines(out / "b.jsonl", nonmembers),
            "--audit.attacks",
            "loss",
            "reference",
            "--audit.extract-tokens",
            "4",
            "--out",
            str(out / "run"),
            *more,
        ]
    )


def test_a_shift_between_the_files_ends_a_strict_audit_with_2(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folk = people(6, 80)
    members, nonmembers = folk["private"], folk["nonmembers"]
    assert audited(finished, tmp_path / "clean", members, nonmembers, "--audit.strict", "true") == 0
    assert "split valid" in capsys.readouterr().out
    few = members[:20], nonmembers[:20]
    assert audited(finished, tmp_path / "few", *few, "--audit.strict", "true") == 2
    assert "verdict: too few records to tell" in capsys.readouterr().err
    shifts: dict[str, Callable[[str], str]] = {
        "topic": lambda text: text.replace("works for", "was dismissed by"),
        "ending": lambda text: text + "</s>",  # members end with a mark of their own
    }
    for name, shift in shifts.items():
        told = [retold(record, answer=shift) for record in members]
        code = audited(finished, tmp_path / name, told, nonmembers, "--audit.strict", "true")
        printed = capsys.readouterr()
        assert (
            code == 2 and "do not say valid" in printed.err and f"verdict: {SHIFT}" in printed.err
        )
        assert (
            printed.out.startswith(f"run: {SHIFT}")
            and "already tell members from nonmembers: blind" in printed.out
        )
        assert read_json(tmp_path / name / "run" / "audit" / "validity.json")["verdict"] == SHIFT


def test_end_marks_in_a_file_are_taken_off_and_counted(tmp_path: Path) -> None:
    folk = people(6, 10)
    marked = [
        retold(record, answer=lambda text: text + "<|endoftext|>") for record in folk["private"]
    ]
    files = {
        "private": write_lines(tmp_path / "a.jsonl", marked),
        "nonmembers": write_lines(tmp_path / "b.jsonl", folk["nonmembers"]),
    }
    split = split_from_files(files, READERS)
    assert list(split.notes.values()) == [10] and "10" in split.summary()
    assert all(record.response.endswith(".") for record in split.records_by_part["private"])


def test_a_reference_with_another_tokenizer(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Token by token it cannot be compared: left out and said, while the comparison per byte goes on."""
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model
    from stillage.run.config import ModelConfig

    tokenizer = train_bpe(["something else altogether " * 30], 270)
    other = ModelConfig(layers=1, width=16, heads=2, context=160)
    save_model(load_model(other, vocab_size=len(tokenizer), seed=1), tokenizer, tmp_path / "other")
    folk = people(7, 20)
    words = ["--audit.attacks", "loss", "reference", "reference_per_byte", "--audit.reference"]
    for place, per_token in (
        (finished / "teacher_counterfactual" / "model", True),
        (tmp_path / "other", False),
    ):
        out = tmp_path / place.parent.name
        assert audited(finished, out, folk["private"], folk["nonmembers"], *words, str(place)) == 0
        rows = read_results(out / "run" / "audit" / "results.parquet")
        scored = {row.attack for row in rows if (row.metric, row.model) == ("auc", "student")}
        assert scored == {"loss", "reference_per_byte"} | ({"reference"} if per_token else set())
        left = [row for row in rows if (row.metric, row.model) == ("left_out", "student")]
        assert [row.attack for row in left] == ([] if per_token else ["reference"])
        assert ("other tokens" in capsys.readouterr().err) is not per_token
        assert all("use reference_per_byte" in row.reason for row in left)


def test_two_models_that_read_other_tokens_are_never_subtracted() -> None:
    from stillage.types import TokenStats

    def stats(first: int) -> TokenStats:
        ids, zeros = np.arange(first, first + 3, dtype=np.int32), np.zeros(3, np.float32)
        return TokenStats(
            ids_T=ids, logp_T=zeros, mean_T=zeros, var_T=zeros, rank_T=ids, greedy_T=ids > 0
        )

    assert reference(stats(4), stats(4)) == 0
    with pytest.raises(DataError, match="reference_per_byte"):
        reference(stats(4), stats(5))
