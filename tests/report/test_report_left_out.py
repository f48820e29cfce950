"""The report says which attacks were left out, on which models and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stillage.report import write_report
from stillage.report.left_out_table import left_out_line, left_out_table
from stillage.report.run_view import read_run
from stillage.run.config import ReportConfig
from stillage.run.results import read_results, write_results
from stillage.types import Result

ROW = Result(
    run="",
    stage="audit",
    model="student",
    attack="dc_pdd",
    metric="left_out",
    value=float("nan"),
    reason="there are no public records & <none> to count tokens in",
)


def with_rows(run: Path, rows: list[Result]) -> None:
    path = run / "audit" / "results.parquet"
    write_results(path, [*read_results(path), *rows])


def test_page_and_summary_name_attack_models_and_reason(run: Path) -> None:
    other = replace(ROW, attack="min_k", reason="another tokenizer")
    with_rows(run, [ROW, replace(ROW, model="teacher"), ROW, other])
    table = left_out_table(read_run(run))
    assert table is not None
    assert [[cell.plain for cell in row] for row in table.rows] == [
        ["dc pdd", "teacher, student", ROW.reason],
        ["min-k", "student", "another tokenizer"],
    ]
    write_report(run, ReportConfig(), title="a run")
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert (
        html.count("Attacks that were left out") == 2
    )  # the caption, and the name of the region that scrolls
    assert "records &amp; &lt;none&gt; to count" in html
    lines = (run / "report" / "summary.txt").read_text(encoding="utf-8").splitlines()
    assert "left out (reasons in the report): dc pdd, min-k" in lines and len(lines) <= 10


def test_a_run_with_every_attack_says_nothing(run: Path) -> None:
    view = read_run(run)
    assert left_out_table(view) is None and left_out_line(view) == ""
    write_report(run, ReportConfig(), title="a run")
    assert "left out" not in (run / "report" / "summary.txt").read_text(encoding="utf-8")
    assert "Attacks that were left out" not in (run / "report" / "report.html").read_text(
        encoding="utf-8"
    )


def test_the_table_stands_where_no_attack_was_run(tmp_path: Path) -> None:
    write_results(tmp_path / "audit" / "results.parquet", [ROW])
    write_report(tmp_path, ReportConfig(), title="a run")
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Attacks that were left out" in html and 'id="membership"' in html
