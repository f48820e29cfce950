"""`stillage audit` of models from elsewhere: two folders, two files of records, nothing trained, one report."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stillage import __version__
from stillage.cli import main
from stillage.rng import generator
from stillage.run.config import ModelConfig
from stillage.run.folder import read_json, read_table
from stillage.run.results import read_results

Printed = pytest.CaptureFixture[str]
DRAWN = [
    10 + 2 * int(drawn) + place % 2
    for place, drawn in enumerate(generator(1, "rows").permutation(45)[:40])
]
QUICK = (
    "--data.template raw --threads 1 --audit.attacks loss min_k_plus_plus zlib "
    "--audit.extract-tokens 3 --audit.fprs 0.2"
).split()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained teacher and student, and students whose weights are broken."""
    from safetensors.numpy import load_file, save_file

    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model

    root = tmp_path_factory.mktemp("models")
    tokenizer = train_bpe(["question answer number " * 20], 280)
    for seed, name in enumerate(("teacher", "student")):
        config = ModelConfig(layers=1, width=16, heads=2, context=48)
        save_model(load_model(config, vocab_size=len(tokenizer), seed=seed), tokenizer, root / name)
    weights = load_file(root / "student" / "model.safetensors")
    for name, value in (("broken", math.nan), ("flat", 0.0)):
        shutil.copytree(root / "student", root / name)
        spoilt = {key: np.full_like(tensor, value) for key, tensor in weights.items()}
        save_file(spoilt, root / name / "model.safetensors", metadata={"format": "pt"})
    return root


def row(number: int) -> dict[str, str]:
    return {
        "instruction": f"question number {DRAWN[number]}",
        "output": f"the answer is {number * 7919 % 1000}",
    }


def so_on(number: int) -> str:
    """Ninety short words that no other number has in this order."""
    return "".join(
        f" {word}"
        for word in generator(number, "so on").choice(["and", "so", "on", "it", "goes"], 90)
    )


def files(
    folder: Path, change: Callable[[dict[str, str], bool], dict[str, str]] = lambda row, member: row
) -> list[str]:
    """Two files of 20 records in the folder, and the flags that name them."""
    for name, first in (("members", 0), ("nonmembers", 20)):
        rows = [change(row(number), name == "members") for number in range(first, first + 20)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return ["--data.files.private", "members.jsonl", "--data.files.nonmembers", "nonmembers.jsonl"]


def test_two_folders_and_two_files_are_enough(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [
        "audit",
        "--teacher",
        str(models / "teacher"),
        "--student",
        str(models / "student"),
        *files(tmp_path),
    ]
    assert main([*words, *QUICK]) == 0
    printed = capsys.readouterr().out
    assert (
        "split unusable scores, 7 of 10 checks passed, 2 could not tell"
        in printed  # nobody has trained these models
        and "report: runs/audit-members-nonmembers/report/report.html" in printed
    )
    run = tmp_path / "runs" / "audit-members-nonmembers"
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        "audit",
        "cache",
        "config.yaml",
        "data",
        "env.json",
        "report",
        "report.key",
    }
    results = read_results(run / "report" / "results.parquet")
    assert {(r.model, r.attack) for r in results if r.metric == "auc" and r.model != "blind"} == {
        (model, attack)
        for model in ("teacher", "student")
        for attack in ("loss", "min_k_plus_plus", "zlib")
    }
    assert {r.metric for r in results} >= {
        "extraction_rate",
        "positional_accuracy",
        "tpr_at_fpr",
        "achieved_fpr",
        "best_attack_p",
    }
    unchecked = read_json(run / "audit" / "validity.json")["unchecked"]
    assert set(unchecked) == {"provenance", "training_overlap", "order", "untrained student"}
    assert (
        unchecked["provenance"] == "what was trained elsewhere is not known here: teacher, student"
    )
    page = (run / "report" / "report.html").read_text()
    assert "; training overlap (no student was trained here)" in page
    assert main([*words, *QUICK]) == 0 and capsys.readouterr().err.count("skipped") == 3

    (tmp_path / "runs").rename(tmp_path / "moved")
    assert main(["report", "moved/audit-members-nonmembers"]) == 0
    printed = capsys.readouterr()
    assert (
        "report: skipped" in printed.err
        and "report: moved/audit-members-nonmembers/report/report.html" in printed.out
    )
    for module in ("plan", "report_again"):
        monkeypatch.setattr(f"stillage.experiment.{module}.__version__", "0.0.9")
    (tmp_path / "members.jsonl").unlink()  # what the run was made from is not needed for its report
    assert main(["report", "moved/audit-members-nonmembers"]) == 0
    assert f"report: version: {__version__} -> 0.0.9" in capsys.readouterr().err
    assert main(["report", "moved/audit-members-nonmembers"]) == 0
    assert "report: skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [
                "--data.files.private",
                "members.jsonl",
                "--data.files.nonmembers",
                "nonmembers.jsonl",
            ],
            "no model to look at",
        ),
        (["--student", "STUDENT"], "There are no records to audit"),
        (
            ["--student", "studnet", "--data.files.private", "members.jsonl"],
            "studnet is neither a folder here",
        ),
        (
            ["--student", "STUDENT", "--data.files.private", "members.jsonl"],
            "No file is named for nonmembers",
        ),
        (
            [
                "--student",
                "STUDENT",
                "--data.files.private",
                "members.jsonl",
                "--data.files.nonmembers",
                "members.jsonl",
            ],
            "20 records are in two parts",
        ),
        (
            [
                "--student",
                "STUDENT",
                "--data.files.private",
                "members.jsonl",
                "--data.files.nonmembers",
                "empty.jsonl",
            ],
            "The data file is empty",
        ),
        (
            [
                "--student",
                "STUDENT",
                "--data.files.private",
                "members.jsonl",
                "--data.files.nonmembers",
                "gone.jsonl",
            ],
            "not there: gone.jsonl",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_written(
    words: list[str],
    said: str,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    assert (
        main(
            [
                "audit",
                *(str(models / "student") if word == "STUDENT" else word for word in words),
                *QUICK,
            ]
        )
        == 2
    )
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed
    assert not list(tmp_path.glob("runs/*/*"))


def test_a_template_longer_than_the_context_names_the_way_out(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["audit", "--student", str(models / "student"), *files(tmp_path), *QUICK]
    assert main([*words, "--data.template", "alpaca"]) == 2
    assert "--data.template raw" in capsys.readouterr().err


def test_a_model_of_nan_is_an_error_and_one_that_says_nothing_is_no_finding(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [*files(tmp_path), *QUICK, "--audit.strict", "true"]
    assert main(["audit", "--student", str(models / "broken"), *given, "--out", "broken"]) == 2
    printed = capsys.readouterr().err
    folder = models / "broken"
    assert f"{folder}: 40 of 40 records have log-probabilities that are not finite" in printed
    assert f"not numbers (NaN).\nmodel: {folder}\n" in printed
    assert main(["audit", "--student", str(models / "flat"), *given, "--out", "flat"]) == 2
    printed = capsys.readouterr()
    assert (
        "student gives all 40 records one score" in printed.out
        and "verdict: unusable scores" in printed.err
    )
    found = [
        r
        for r in read_results(tmp_path / "flat" / "audit" / "results.parquet")
        if r.metric == "auc"
    ]
    equal = next(r for r in found if (r.model, r.attack) == ("student", "loss"))
    assert equal.value == 0.5 and equal.low < 0.5 < equal.high


def test_short_and_long_records_are_scored_and_counted(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """A response of one letter without a prompt; and members, not nonmembers, that are longer than the context."""
    monkeypatch.chdir(tmp_path)
    letters = iter(
        "abcdefghijklmnopqrstuvwxyz0123456789+-*="
    )  # of one case: A is no other text than a
    flags = files(tmp_path, lambda _, member: {"text": next(letters)})
    words = ["audit", "--student", str(models / "student"), *QUICK]
    assert main([*words, *flags, "--out", "short"]) == 0
    scores = read_table(tmp_path / "short" / "audit" / "scores.parquet")
    lost = ~np.isfinite(scores.column("score").to_numpy())
    attack = scores.column("attack").to_numpy(zero_copy_only=False)
    assert (
        scores.num_rows % 40 == 0 and (lost == (attack == "zlib")).all()
    )  # the first token is read, not scored
    capsys.readouterr()
    long = files(
        tmp_path,
        lambda row, member: (
            row | {"output": row["output"] + so_on(int(row["instruction"].split()[-1])) * member}
        ),
    )
    assert main([*words, *long, "--out", "long"]) == 0
    printed = capsys.readouterr()
    assert "20 responses cut at the end" in printed.err
    cut = "20 of 20 members and 0 of 20 nonmembers were cut short."
    assert printed.out.startswith("long: unusable scores") and cut in printed.out
    assert read_table(tmp_path / "long" / "audit" / "scores.parquet").num_rows == 40 * 9


@pytest.mark.parametrize("share", [1, 2])
def test_what_should_be_recited_and_is_cut_off_is_counted_and_not_recited(
    share: int, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    """Every second record, or every one, is too long to hold its code: the audit goes on, and nobody has recited it."""
    monkeypatch.chdir(tmp_path)

    def with_code(row: dict[str, str], member: bool) -> dict[str, str]:
        number = int(row["instruction"].split()[-1])
        code = f"{number * 7919 % 1000:03d}"
        return row | {
            "code": code,
            "output": (so_on(number) if number % share == 0 else "") + f" code {code}",
        }

    words = ["audit", "--student", str(models / "student"), *files(tmp_path, with_code), *QUICK]
    assert main([*words, "--audit.extract", "code", "--out", "run"]) == 0
    lost = 20 // share
    assert f"the code of {2 * lost} of 40 records is cut short" in capsys.readouterr().err
    results = read_results(tmp_path / "run" / "audit" / "results.parquet")
    rates = {r.dataset: r for r in results if r.metric == "extraction_rate"}
    for part in ("private", "nonmembers"):
        assert (rates[part].n, rates[part].missing) == (20 - lost, lost)
        assert math.isnan(rates[part].value) if share == 1 else rates[part].value == 0
    assert {r.n for r in results if r.metric == "auc" and r.model == "student"} == {40}
    assert (tmp_path / "run" / "report" / "report.html").exists()


def test_a_reference_that_is_the_target_is_refused(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(models / "student", tmp_path / "copy")
    words = [
        "audit",
        "--student",
        str(models / "student"),
        *files(tmp_path),
        "--audit.reference",
        "copy",
        *QUICK,
    ]
    assert main(words) == 2
    assert "The reference model is the audited model itself." in capsys.readouterr().err


CHINESE = "这是一个关于城市河流山川历史文化经济教育科学艺术音乐的问题请你回答"


@pytest.mark.parametrize(
    "change",
    [
        # one class in another language
        (
            lambda row, member: {
                "prompt": CHINESE[: 5 + len(row["output"]) % 9] * member or row["output"],
                "response": CHINESE[int(row["instruction"][-2:]) % 20 :]
                if member
                else row["output"],
            }
        ),
        # one cluster: all members are copies of one text
        (
            lambda row, member: {
                "prompt": "tell me all of it again please?" if member else row["instruction"],
                "response": f"it is as it was said before, and no more than that {row['output'][-1]}"
                if member
                else row["output"],
            }
        ),
    ],
)
def test_inputs_that_nothing_can_be_said_about(
    change: Callable[[dict[str, str], bool], dict[str, str]],
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Printed,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(
            [
                "audit",
                "--student",
                str(models / "student"),
                *files(tmp_path, change),
                *QUICK,
                "--out",
                "run",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "run" / "audit" / "validity.json").read_text())
    controls = next(check for check in found["checks"] if check["name"] == "controls")
    assert found["verdict"] != "valid" and "No leak found" not in printed
    assert controls["undecided"] or not controls["passed"]


def test_nonmembers_near_members_are_left_out_by_corpus_overlap(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.chdir(tmp_path)

    def own(row: dict[str, str], member: bool) -> dict[str, str]:
        place = int(row["output"].split()[-1])
        words = generator(place, "own").choice(list("abcdefghijklmnopqrst"), 14)
        return row | {"output": " ".join(words)}

    files(tmp_path, own)
    members, nonmembers = Path("members.jsonl"), Path("nonmembers.jsonl")
    copied = [json.loads(line) for line in members.read_text().splitlines()[:3]]
    copied[1]["output"] = copied[1]["output"].upper().replace(" ", "\n")
    copied[2]["output"] = f"Well then: {copied[2]['output']}"
    with nonmembers.open("a") as handle:
        handle.writelines(f"\n{json.dumps(row)}" for row in copied)
    words = f"corpus overlap {members} {nonmembers} --drop-from {nonmembers} --out clean"
    assert main(words.split()) == 0
    assert "dropped 3 of 23 (2 exact copies, 1 near-duplicates); kept 20" in capsys.readouterr().out
    audit = f"audit --student {models / 'student'} --members {members} --nonmembers"
    assert main([*audit.split(), str(nonmembers), "--out", "dirty", *QUICK]) == 2
    assert "1 records are in two parts" in capsys.readouterr().err
    assert main([*audit.split(), "clean/kept.jsonl", "--out", "audited", *QUICK]) == 0
    checks = read_json(Path("audited/audit/validity.json"))["checks"]
    assert [
        one["values"]["near nonmembers, ids"] for one in checks if one["name"] == "overlap"
    ] == [[]]
