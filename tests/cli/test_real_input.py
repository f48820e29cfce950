"""The same path on a user's own files: every format and shape through the command line, whole runs and parts of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillage.cli import main
from stillage.run.folder import read_json, read_table
from stillage.run.results import read_results

Rows = list[dict[str, str]]
SMALL = (
    "--seed 3 --jobs 1 --threads 1 --data.template raw --data.max-tokens 48 "
    "--data.max-prompt-tokens 32 --tokenizer.vocab-size 300 --teacher.layers 1 "
    "--teacher.width 16 --teacher.heads 2 --teacher.context 48 --student.layers 1 "
    "--student.width 16 --student.heads 2 --student.context 48 --teacher-train.max-steps 2 "
    "--student-train.max-steps 2 --generate.max-new-tokens 3 --generate.records 2 "
    "--audit.extract-tokens 3 --audit.fprs 0.3"
).split()


def questions(count: int, seed: int = 0, passages: int = 0) -> Rows:
    """Questions on passages (several on each where `passages` are fewer), no two of which are alike by chance."""
    rng = np.random.default_rng(seed)
    words = np.array([f"{a}{b}{c}" for a in "bdfgklmnpr" for b in "aeiou" for c in "bdgklmnprst"])
    told = [" ".join(rng.choice(words, 20)) for _ in range(passages or count)]
    return [
        {
            "prompt": f"{told[n % len(told)]}. {' '.join(rng.choice(words, 3))}?",
            "response": " ".join(rng.choice(words, 2)),
        }
        for n in range(count)
    ]


def renamed(rows: Rows, **names: str) -> Rows:
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def write(path: Path, rows: Rows) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return str(path)


def stillage(*words: str) -> None:
    assert main(list(words)) == 0


def split_of(run: Path) -> dict[str, Any]:
    return read_json(run / "data" / "split.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run on a pattern of two JSONL files with several questions on each passage."""
    folder = tmp_path_factory.mktemp("whole")
    rows = questions(80, passages=40)
    write(folder / "task_a.jsonl", rows[:50])
    write(folder / "task_b.jsonl", renamed(rows[50:], response="completion"))
    stillage(
        "run", "--data.source", str(folder / "task_*.jsonl"), "--out", str(folder / "run"), *SMALL
    )
    return folder / "run"


def test_a_pool_of_files_becomes_a_whole_run(whole: Path) -> None:
    split = split_of(whole)
    assert split["drawn_by_us"] and list(split["sources"]) == ["task_a.jsonl", "task_b.jsonl"]
    assert (split["group_by"], split["groups"], split["largest_group"]) == ("near", 40, 2)
    validity = read_json(whole / "audit" / "validity.json")
    overlap = next(check for check in validity["checks"] if check["name"] == "overlap")
    assert overlap["passed"], overlap["detail"]
    found = read_results(whole / "report" / "results.parquet")
    models = {
        "teacher",
        "teacher_counterfactual",
        "student",
        "student_counterfactual",
        "student_no_teacher",
    }
    assert {result.model for result in found if result.metric == "auc"} == models | {"blind"}
    assert {result.model for result in found if result.metric == "rouge_l"} == models
    assert "drawn at random from one pool by this run" in (
        whole / "report" / "report.html"
    ).read_text(encoding="utf-8")


def test_distillation_alone_never_audits(tmp_path: Path) -> None:
    source, out = write(tmp_path / "a.jsonl", questions(40)), tmp_path / "run"
    stillage(
        "run", "--data.source", source, "--stages", "distill", "evaluate", "--out", str(out), *SMALL
    )
    assert {
        path.name for path in out.iterdir() if path.is_dir() and not path.name.startswith(".")
    } >= {
        "data",
        "tokenizer",
        "teacher",
        "student",
        "evaluate",
        "report",
    }
    assert not (out / "audit").exists() and not (out / "teacher_counterfactual").exists()
    assert {result.model for result in read_results(out / "report" / "results.parquet")} == {
        "teacher",
        "student",
    }


def test_an_audit_alone_takes_two_folders_and_a_file_for_each_role(
    whole: Path, tmp_path: Path
) -> None:
    private = write(
        tmp_path / "a.jsonl", renamed(questions(12, 1), prompt="question", response="answer")
    )
    nonmembers = write(
        tmp_path / "b.jsonl", renamed(questions(14, 2), prompt="question", response="answer")
    )
    out = tmp_path / "run"
    stillage(
        "run",
        "--stages",
        "audit",
        "--teacher",
        str(whole / "teacher" / "model"),
        "--student",
        str(whole / "student" / "model"),
        "--data.files.private",
        private,
        "--data.files.nonmembers",
        nonmembers,
        "--data.columns",
        "prompt",
        "question",
        "response",
        "answer",
        "--out",
        str(out),
        *SMALL,
    )
    assert (
        split_of(out)["counts"] == {"private": 12, "nonmembers": 14}
        and not split_of(out)["drawn_by_us"]
    )
    assert not (out / "teacher").exists() and not (out / "tokenizer").exists()
    scores = read_table(out / "audit" / "scores.parquet")
    assert set(scores.column("model").to_pylist()) == {"teacher", "student", "blind"}
    assert scores.num_rows % 26 == 0
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    assert "The split was given, not drawn by this run" in page


@pytest.mark.parametrize(
    "shape",
    [
        "parquet",
        "saved",
        "saved dictionary",
        "saved part",
        "instruction",
        "messages",
        "text",
        "named",
    ],
)
def test_every_shape_of_input_is_split(shape: str, tmp_path: Path) -> None:
    rows, extra, source = questions(40), [], str(tmp_path / "data")
    if shape == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        source += ".parquet"
        pq.write_table(pa.Table.from_pylist(rows), source)
    elif shape.startswith("saved"):
        import datasets

        pool = datasets.Dataset.from_list(rows)
        (pool if shape == "saved" else datasets.DatasetDict(train=pool)).save_to_disk(source)
        if shape == "saved part":
            datasets.DatasetDict(train=pool.select(range(5)), test=pool).save_to_disk(f"{source}s")
            source = f"{source}s:test"
    elif shape == "named":
        source = write(
            tmp_path / "a.jsonl",
            [row | {"topic": "t"} for row in renamed(rows, prompt="q", response="a")],
        )
        extra = [
            "--data.columns.prompt",
            "q",
            "--data.columns.response",
            "a",
            "--data.slice-by",
            "topic",
        ]
    else:
        layouts = {
            "instruction": lambda row: {
                "instruction": "Answer.",
                "input": row["prompt"],
                "output": row["response"],
            },
            "messages": lambda row: {
                "messages": [
                    {"role": "user", "content": row["prompt"]},
                    {"role": "assistant", "content": row["response"]},
                ]
            },
            "text": lambda row: {"text": f"{row['prompt']} {row['response']}"},
        }
        source = write(tmp_path / "a.jsonl", [layouts[shape](row) for row in rows])
    stillage("data", "--data.source", source, *extra, "--out", str(tmp_path / "run"), *SMALL)
    table = read_table(tmp_path / "run" / "data" / "records.parquet")
    assert table.num_rows == 40 and split_of(tmp_path / "run")["drawn_by_us"]
    answers = set(table.column("response").to_pylist())
    expected = {
        f"{row['prompt']} {row['response']}" if shape == "text" else row["response"] for row in rows
    }
    assert answers == expected
    if shape == "named":
        assert {json.loads(meta)["topic"] for meta in table.column("meta").to_pylist()} == {"t"}


def test_a_finished_model_answers_at_once(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "generate",
                str(whole / "student" / "model"),
                "--prompt",
                "bab bab?",
                "--generate.max-new-tokens",
                "3",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.endswith("\n")


def test_plain_text_is_a_part_of_the_data_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    assert (
        main(["data", "plain-text", "write", str(tmp_path / "a.txt"), str(tmp_path / "corpus.txt")])
        == 0
    )
    assert (tmp_path / "corpus.txt").read_text().startswith("one<@x(x!>two")
    assert main(["data", "plain-text", "stats", str(tmp_path / "corpus.txt")]) == 0
    assert "1 document" in capsys.readouterr().out
    assert main(["data", "plain-text", "--help"]) == 0
    assert "pack CORPUS OUT" in capsys.readouterr().out
    assert main(["data", "plain-text", "wirte"]) == 2
    assert "Did you mean write?" in capsys.readouterr().err
    assert main(["data", "--help"]) == 0
    assert "plain-text" in capsys.readouterr().out
