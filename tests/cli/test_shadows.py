"""Shadow pipelines through the command line: trained once, taken up again, and at chance where nothing was learned."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from stillage.audit import shadow_audit
from stillage.audit.attacks import SHADOW_ATTACKS
from stillage.cli import main
from stillage.run.results import read_results

TINY = (
    "run biographies --data.people 16 --tokenizer.vocab-size 400 --stages distill audit "
    "--teacher.layers 1 --teacher.width 32 --teacher.heads 2 --teacher-train.epochs 2 "
    "--student.layers 1 --student.width 32 --student.heads 2 --student-train.epochs 1 "
    "--jobs 1 --audit.signal-records 0 --audit.attacks loss learned quantile --audit.fprs 0.2"
).split()


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The stages that were run, in order."""
    return [
        line.split()[1].rstrip(":")
        for line in capsys.readouterr().err.splitlines()
        if ": done in" in line
    ]


def test_shadow_pipelines_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    words = [*TINY, "--out", str(out)]
    assert main([*words, "--audit.shadows", "2"]) == 0
    first = said(capsys)
    shadows = [
        f"{kind}_shadow_{number:02d}" for number in (1, 2, 3, 4) for kind in ("teacher", "student")
    ]
    assert [name for name in first if "_shadow_" in name] == shadows[
        :4
    ] and "shadow_design" in first
    left_out = {
        row.attack
        for row in read_results(out / "audit" / "results.parquet")
        if row.metric == "left_out"
    }
    assert left_out == {name for name, attack in SHADOW_ATTACKS.items() if attack.least > 1}

    loaded: list[str] = []
    scoring_model = shadow_audit.scoring_model
    monkeypatch.setattr(
        shadow_audit,
        "scoring_model",
        lambda model, settings: loaded.append(model.name) or scoring_model(model, settings),
    )
    # two more shadows leave the first two, and everything else that was trained, as they were
    assert main([*words, "--audit.shadows", "4", "--accept-changes"]) == 0
    assert said(capsys) == ["shadow_design", *shadows[4:], "audit", "report"] and set(
        loaded
    ) == set(shadows[4:])
    # another audit of the same shadows trains nothing, nor does a stage that was lost take others with it
    loaded.clear()
    assert main([*words, "--audit.shadows", "4", "--accept-changes", "--audit.fprs", "0.25"]) == 0
    assert said(capsys) == ["audit", "report"] and loaded == [], "their replies are in the cache"
    weights = out / "student_shadow_03" / "model" / "model.safetensors"
    before = weights.read_bytes()
    os.remove(out / "student_shadow_03" / "manifest.json")
    assert main([*words, "--audit.shadows", "4", "--accept-changes", "--audit.fprs", "0.25"]) == 0
    assert said(capsys) == ["student_shadow_03"] and weights.read_bytes() == before

    check_design(out)
    check_results(out)
    verdict = json.loads((out / "audit" / "validity.json").read_text())
    assert verdict["verdict"] == "unusable scores", verdict[
        "headline"
    ]  # of models trained for two steps
    assert {check["name"] for check in verdict["checks"] if not check["passed"]} == {"reading"}
    assert "teacher_shadow" not in (out / "report" / "report.html").read_text().split("<h2", 1)[0]


def check_design(out: Path) -> None:
    """What was written down in advance is what the shadows met, and the students met none of it."""
    design = pq.read_table(out / "shadow_design" / "design.parquet")
    records = pq.read_table(out / "data" / "records.parquet").select(["id", "part"]).to_pylist()
    pool = {row["id"] for row in records if row["part"] in ("private", "nonmembers")}
    public = {row["id"] for row in records if row["part"] == "public"}
    ids = np.array(design.column("id").to_pylist())
    assert set(ids) == pool and design.num_columns == 6
    for number in range(1, 5):
        met = (
            pq.read_table(out / f"teacher_shadow_{number:02d}" / "provenance.parquet")
            .column("id")
            .to_pylist()
        )
        assert set(met) == set(
            ids[design.column(f"in_shadow_{number:02d}").to_numpy(zero_copy_only=False)]
        )
        learned = (
            pq.read_table(out / f"student_shadow_{number:02d}" / "provenance.parquet")
            .column("id")
            .to_pylist()
        )
        assert set(learned) == public
    same = [
        (out / name / "model" / "model.safetensors").read_bytes()
        for name in ("teacher", "teacher_shadow_01")
    ]
    assert same[0] != same[1]


def check_results(out: Path) -> None:
    """Every attack on every model; the pipelines that never met a member among them; memorization with its counts."""
    results = read_results(out / "audit" / "results.parquet")
    models = {
        "teacher",
        "student",
        "student_counterfactual",
        "student_no_teacher",
        "teacher_counterfactual",
    }
    wanted = {"loss", "learned", "quantile", *SHADOW_ATTACKS}
    found = {
        (row.model, row.attack): row
        for row in results
        if row.metric == "auc" and row.model != "blind"
    }
    assert set(found) == {(model, attack) for model in models for attack in wanted}
    assert all(row.n == 32 for pair, row in found.items() if pair[1] in SHADOW_ATTACKS)
    assert not any(row.metric == "left_out" for row in results)
    means = {
        (row.model, row.unit): row for row in results if row.metric == "counterfactual_memorization"
    }
    assert set(means) == {
        (kind, unit)
        for kind in ("teacher", "student")
        for unit in ("token_accuracy", "log_probability")
    }
    table = pq.read_table(out / "audit" / "counterfactual.parquet").to_pandas()
    assert len(table) == 4 * 32 and (table.n_in == 2).all() and (table.n_out == 2).all()
    for (model, unit), row in means.items():
        values = table[(table.model == model) & (table.metric == unit)]
        assert (
            row.value == pytest.approx(values.memorization.mean())
            and row.low < row.value < row.high
            and row.n == 32
        )
    ranks = [row for row in results if row.metric == "counterfactual_spearman"]
    assert len(ranks) == 2 and all(
        -1 <= row.low <= row.value <= row.high <= 1 and row.n == 32 for row in ranks
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--audit.shadows", "3"], "come in pairs"),
        (["--audit.shadows", "-2"], "come in pairs"),
        (["--audit.attacks", "lira_online"], "need shadow pipelines"),
        (
            ["--audit.shadows", "4", "--teacher", "folder", "--teacher-train.epochs", "0"],
            "does not train one",
        ),
        (["--audit.shadows", "4", "--audit.attacks", "lira_onlin"], "Did you mean lira_online"),
    ],
)
def test_what_makes_no_sense_is_refused(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*TINY, "--out", str(tmp_path / "run"), *flags]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_shadows_that_are_off_change_no_other_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*TINY, "--out", str(tmp_path / "run"), "--dry-run"]
    assert main(words) == 0
    without = capsys.readouterr().out.split("\n")
    assert main([*words, "--audit.shadows", "4"]) == 0
    names = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert [name for name in names if "shadow" not in name] == [
        line.split()[1] for line in without if line
    ]
    assert (
        names.count("shadow_design") == 1
        and len([name for name in names if "_shadow_" in name]) == 8
    )
