"""Canary exposure as a stage: measured where it is asked for, at nobody's expense, and refused before anything is trained."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stillage.cli import main
from stillage.errors import ConfigError
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.measures.exposure import check_exposure
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config
from stillage.run.results import read_results
from stillage.run.stages import stage_keys
from stillage.run.stop import watch_signals

OWN = (
    "--stages distill audit --teacher.width 48 --teacher.heads 4 --teacher-train.epochs 70 "
    "--teacher-train.lr-peak 1e-2 --audit.attacks loss --audit.signal-records 0 "
    "--audit.counterfactual false --audit.fprs 0.2 --audit.exposure-records 16 "
    "--audit.exposure-candidates 15"
).split()


def test_a_teacher_exposes_the_members_it_learned_and_nobody_else(
    tmp_path: Path, tiny_run: list[str]
) -> None:
    out = tmp_path / "run"
    assert main([*tiny_run, *OWN, "--out", str(out)]) == 0
    found = {
        (row.model, row.dataset): row for row in read_results(out / "exposure" / "results.parquet")
    }
    assert set(found) == {
        (m, d)
        for m in ("teacher", "student", "student_no_teacher")
        for d in ("private", "nonmembers")
    }
    assert all(
        row.n == 16 and row.metric == "exposure" and 0 <= row.low <= row.value <= row.high <= 4
        for row in found.values()
    )
    assert found["teacher", "private"].value > 3 > found["teacher", "nonmembers"].high  # of 4 bits
    for pair in (
        ("teacher", "nonmembers"),
        ("student_no_teacher", "private"),
        ("student_no_teacher", "nonmembers"),
    ):
        assert found[pair].value == pytest.approx(math.log2(math.e), abs=3 * 1.2 / math.sqrt(16))
    table = pq.read_table(out / "exposure" / "exposure.parquet")
    assert table.num_rows == 3 * 32 and set(table.column("references").to_pylist()) == {15}
    html, summary = (out / "report" / name for name in ("report.html", "summary.txt"))
    assert "Exposure of secrets" in html.read_text() and "bits (nonmembers: " in summary.read_text()


def test_asking_for_exposure_repeats_nothing() -> None:
    with watch_signals() as stop:
        base, more = (
            stage_keys(plan(make_context(Config(audit=audit), stop, lambda name, facts: None)))
            for audit in (
                AuditConfig(extract="badge"),
                AuditConfig(extract="badge", exposure_records=9),
            )
        )
    assert set(more) == {*base, "exposure"} and all(
        more[name] == key for name, key in base.items() if name != "report"
    )


def test_without_a_column_there_is_no_secret() -> None:
    asked = Config(audit=AuditConfig(exposure_records=4))
    with pytest.raises(ConfigError, match="what the secret of a record is"):
        check_exposure(asked)
    check_exposure(replace(asked, audit=AuditConfig()))


def test_a_column_that_is_not_in_the_responses_stops_the_run_before_it_trains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tiny_run: list[str]
) -> None:
    rows = [
        f'{{"prompt": "who is {k}?", "response": "person {k} of many", "code": "x{k}"}}'
        for k in range(60)
    ]
    (tmp_path / "pool.jsonl").write_text("\n".join(rows))
    words = [
        *tiny_run,
        *OWN,
        "--data.source",
        str(tmp_path / "pool.jsonl"),
        "--data.group-by",
        "",
        "--data.shares",
        "private",
        "0.4",
        "nonmembers",
        "0.3",
        "public",
        "0.2",
        "validation",
        "0.1",
    ]
    for column, message in (("code", "does not stand in the response"), ("absent", "absent")):
        out = tmp_path / column
        assert main([*words, "--audit.extract", column, "--out", str(out)]) == 2
        assert message in capsys.readouterr().err and not (out / "teacher").exists()
