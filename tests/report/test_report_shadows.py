"""The report's table of counterfactual memorization."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stillage.report.memorized_table import memorized_table
from stillage.report.run_view import read_run
from stillage.run.results import write_results
from stillage.types import Result

ROW = Result(
    run="",
    stage="audit",
    model="teacher",
    metric="counterfactual_memorization",
    value=0.21,
    low=0.15,
    high=0.27,
    n=90,
    unit="token_accuracy",
    shadows=8,
)


def test_means_ranks_and_what_is_missing(tmp_path: Path) -> None:
    student = replace(ROW, model="student", value=0.02, low=-0.01, high=0.05)
    rank = replace(student, metric="counterfactual_spearman", value=0.4, low=0.3, high=0.5)
    lost = replace(student, metric="nan_scores", value=3)
    for name in ("teacher_shadow_01", "teacher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text("{}")
    write_results(tmp_path / "audit" / "results.parquet", [ROW, student, rank, lost])
    view = read_run(tmp_path)
    table = memorized_table(view)
    assert table is not None and view.models == (
        "teacher",
        "student",
    )  # a shadow is no model of the report
    found = [[cell.plain for cell in row] for row in table.rows]
    assert found == [
        ["teacher", "token accuracy, share of tokens", "0.210 [0.150, 0.270]", "–", "90", "0"],
        [
            "student",
            "token accuracy, share of tokens",
            "0.020 [-0.010, 0.050]",
            "0.40 [0.30, 0.50]",
            "90",
            "3",
        ],
    ]
    assert "8 shadow pipelines" in table.note and "95 % intervals" in table.note


def test_without_shadows_there_is_no_table(tmp_path: Path) -> None:
    write_results(tmp_path / "audit" / "results.parquet", [replace(ROW, metric="auc")])
    assert memorized_table(read_run(tmp_path)) is None
