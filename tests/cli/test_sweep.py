"""A sweep runs every combination, and does equal stages once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.errors import ConfigError
from stillage.run.folder import remove
from stillage.run.lock import locked
from stillage.run.parse import from_yaml
from stillage.run.results import read_results
from stillage.run.sweep import check_overruled

SMALL = (
    "run biographies --jobs 1 --data.people 24 --tokenizer.vocab-size 400 "
    "--stages distill evaluate --teacher.layers 1 --teacher.width 32 --teacher.heads 2 "
    "--teacher-train.epochs 1 --student.layers 1 --student.width 32 --student.heads 2 "
    "--student-train.epochs 1 --generate.max-new-tokens 4 --generate.records 2 --jobs 1"
).split()


def test_points_share_what_is_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid"
    words = [*SMALL, "--out", str(out), "--sweep.student-train.lr-peak", "1e-3", "2e-3"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.count(": teacher: starts") == 1 and said.count(": student: starts") == 2
    assert sorted(
        path.name.rsplit("-", 1)[0] for path in (out / "store").glob("[a-z]*-*")
    ) == sorted(
        [
            "data",
            "tokenizer",
            "teacher",
            "student",
            "student",
            "evaluate",
            "evaluate",
            "report",
            "report",
        ]
    )
    index = json.loads((out / "sweep.json").read_text())["points"]
    assert [point["values"] for point in index] == [
        {"student_train.lr_peak": lr} for lr in ("1e-3", "2e-3")
    ]
    assert {result.run for result in read_results(out / "results.parquet")} == {
        point["run"] for point in index
    }
    assert main(words) == 0
    assert "starts" not in capsys.readouterr().err


def test_a_sweep_in_hand_keeps_its_list_of_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another sweep into its folder is refused before it writes anything."""
    with locked(tmp_path):
        assert main([*SMALL, "--out", str(tmp_path), "--sweep.seed", "1", "2"]) == 2
    assert "in use by a live process" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_copy_that_followed_the_links_goes_on(tmp_path: Path) -> None:
    """`cp -rL` and archives make folders of a point's links: they find their way back into the store."""
    words = "data biographies --data.people 8 --stages distill --sweep.seed 1 2 --out".split()
    assert main([*words, str(tmp_path / "grid")]) == 0
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "grid", copy, symlinks=False)
    made = next((copy / "store").glob("data-*"))
    before = (made / "records.parquet").stat().st_mtime_ns
    remove(next(other for other in (copy / "store").glob("data-*") if other != made))
    assert main([*words, str(copy)]) == 0
    assert all((copy / f"seed={seed}" / "data").is_symlink() for seed in (1, 2))
    assert (made / "records.parquet").stat().st_mtime_ns == before and not list(
        copy.glob("*/aside")
    )
    assert len(list((copy / "store").glob("data-*"))) == 2


def test_a_flag_that_a_case_would_overrule_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sweep_of_cases: str
) -> None:
    config = tmp_path / "grid.yaml"
    config.write_text("student: {width: 32}\n" + sweep_of_cases)
    dry = ["run", str(config), "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*dry, "--student.width", "48"]) == 2
    assert capsys.readouterr().err.splitlines()[1] == "given: 48; set by sweep.cases.method (gkd)"
    assert main([*dry, "--seed", "7"]) == 2
    assert "set by sweep.seed" in capsys.readouterr().err
    assert (
        main([*dry, "--student.width", "48", "--sweep.cases.method", "sft"]) == 0
    )  # gkd is not among the points
    with pytest.raises(ConfigError, match=r"Two axes of the sweep set student\.width"):
        check_overruled(
            from_yaml(sweep_of_cases, "grid.yaml") | {"sweep.student.width": ["32", "64"]}, {}
        )


def test_students_that_start_from_one_fine_tuned_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = [*SMALL, "--out", str(out), "--distill.init-epochs", "2"]
    assert main(words) == 0
    assert (out / "student_init" / "model" / "model.safetensors").is_file()
    first = [
        json.loads(line) for line in (out / "student" / "metrics.jsonl").read_text().splitlines()
    ]
    untrained = [
        json.loads(line)
        for line in (out / "student_init" / "metrics.jsonl").read_text().splitlines()
    ]
    last = min(row["validation_loss"] for row in untrained if "validation_loss" in row)
    assert next(
        row["validation_loss"] for row in first if "validation_loss" in row
    ) == pytest.approx(last, abs=1e-4)
    assert {result.model for result in read_results(out / "report" / "results.parquet")} == {
        "teacher",
        "student",
    }
    capsys.readouterr()
    assert main([*words, "--distill.init-epochs", "1", "--accept-changes", "--dry-run"]) == 0
    again = [line for line in capsys.readouterr().out.splitlines() if line.split()[0] == "run"]
    assert [line.split()[1] for line in again] == ["student_init", "student", "evaluate", "report"]


def test_points_side_by_side_give_what_points_in_turn_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The children read the configs that the parent wrote: their stages' hashes must be the parent's."""
    words = [*SMALL, "--sweep.distill.params.divergence", "fkl", "rkl"]
    words += ["--distill.init-epochs", "1", "--student-train.max-steps", "2"]
    assert main([*words, "--out", str(tmp_path / "one")]) == 0
    capsys.readouterr()
    words[words.index("--jobs") + 1] = "2"
    assert main([*words, "--out", str(tmp_path / "two")]) == 0
    said = capsys.readouterr().err
    assert said.count("student_init: starts") == 1 and said.count(": student: starts") == 2
    one, two = (read_results(tmp_path / name / "results.parquet") for name in ("one", "two"))
    assert (
        list(map(repr, one)) == list(map(repr, two)) and len({result.run for result in one}) == 2
    )  # NaN is NaN


def test_an_adapter_is_not_fine_tuned_first(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert (
        main(
            [
                *SMALL,
                "--out",
                str(tmp_path),
                "--distill.init-epochs",
                "1",
                "--student.lora-rank",
                "2",
            ]
        )
        == 2
    )
    assert "cannot be fine-tuned before" in capsys.readouterr().err
