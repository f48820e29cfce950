"""A sweep runs every combination, and does equal stages once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.errors import ConfigError
from stillage.experiment.sweep import points, swept
from stillage.run.results import read_results

SMALL = [
    "quickstart", "--data.people", "24", "--tokenizer.vocab-size", "400", "--stages", "distill", "evaluate",
    "--teacher.layers", "1", "--teacher.width", "32", "--teacher.heads", "2", "--teacher-train.epochs", "1",
    "--student.layers", "1", "--student.width", "32", "--student.heads", "2", "--student-train.epochs", "1",
    "--generate.max-new-tokens", "4", "--generate.records", "2",
]  # fmt: skip


def test_points_share_what_is_equal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "grid"
    words = [*SMALL, "--out", str(out), "--sweep.student-train.lr-peak", "1e-3", "2e-3"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.count("teacher: not done yet") == 1 and said.count("student: not done yet") == 2
    assert sorted(path.name.rsplit("-", 1)[0] for path in (out / "store").glob("[a-z]*-*")) == sorted(
        ["data", "tokenizer", "teacher", "student", "student", "evaluate", "evaluate", "report", "report"]
    )
    index = json.loads((out / "sweep.json").read_text())["points"]
    assert [point["values"] for point in index] == [{"student_train.lr_peak": lr} for lr in ("1e-3", "2e-3")]
    assert {result.run for result in read_results(out / "results.parquet")} == {point["run"] for point in index}
    assert main(words) == 0
    assert "not done yet" not in capsys.readouterr().err


def test_a_sweep_is_every_combination_and_an_empty_one_is_refused() -> None:
    flat, lists = swept({"seed": ["1"], "sweep.seed": ["1", "2"], "sweep.audit.attacks": ["loss,zlib", "loss"]})
    grid = points(flat, lists)
    assert [(point.config.seed, point.config.audit.attacks) for point in grid] == [
        (1, ("loss", "zlib")), (1, ("loss",)), (2, ("loss", "zlib")), (2, ("loss",)),
    ]  # fmt: skip
    assert len({point.config.out for point in grid}) == 4
    with pytest.raises(ConfigError, match="needs values"):
        swept({"sweep.seed": []})
