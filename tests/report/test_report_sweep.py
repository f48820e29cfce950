"""The page of a sweep: what its verdict says of the numbers, and that names and errors cannot break it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from stillage.report.cells import number, share
from stillage.report.comparison_tables import variants_table
from stillage.report.sweep_page import SweepPoint, SweepView, summary, write_sweep_report
from stillage.types import Result


def row(
    method: str,
    metric: str,
    value: float,
    low: float = math.nan,
    high: float = math.nan,
    against: str = "",
    p: float = math.nan,
    p_adjusted: float = math.nan,
) -> Result:
    return Result(
        run="",
        stage="compare",
        model="student",
        metric=metric,
        value=value,
        low=low,
        high=high,
        n=60,
        method=method,
        attack="loss" if "auc" in metric else "",
        against=against,
        p=p,
        p_adjusted=p_adjusted,
    )


def view(
    p_leak: float = 0.001, p_quality: float = 0.4, low: float = 0.7, beyond: float | None = 0.1
) -> SweepView:
    results = [
        row("kd", "auc", 0.8, low, 0.9),
        row("sft", "auc", 0.55, 0.45, 0.65),
        row("gkd", "auc", 0.6, 0.5, 0.7),
        row("kd", "rouge_l", 0.41, 0.3, 0.5),
        row("sft", "rouge_l", 0.4, 0.3, 0.5),
        row("gkd", "rouge_l", 0.39, 0.3, 0.5),
        row(
            "sft",
            "auc_difference",
            -0.25,
            -0.3,
            -0.2,
            "kd",
            0.001,
            p_leak,
        ),
        row(
            "kd",
            "rouge_l_difference",
            0.02,
            -0.1,
            0.1,
            "gkd",
            0.3,
            p_quality,
        ),
    ]
    if beyond is not None:
        above = row(
            "kd",
            "auc_beyond_control",
            0.3,
            0.2,
            0.4,
            "student_counterfactual",
            0.001,
            0.002,
        )
        results += [
            above,
            row(
                "kd",
                "auc_beyond_control",
                0.2,
                beyond,
                0.4,
                "student_no_teacher",
                0.01,
                0.01,
            ),
        ]
    points = [
        SweepPoint(
            name=f"method={name}",
            values={"distill.method": name},
            is_finished=name != "bad",
            state=state,
        )
        for name, state in (
            ("kd", "finished"),
            ("sft", "finished"),
            ("gkd", "finished"),
            ("bad", "<b>no</b> such thing"),
        )
    ]
    return SweepView(
        title="my <grid>",
        points=points,
        seeds={"kd": [1], "sft": [1], "gkd": [1]},
        results=results,
        level=0.95,
        said=["not trained equally: kd & others"],
    )


@pytest.mark.parametrize(
    ("given", "leakage", "quality"),
    [
        (
            view(),
            "kd leaks more than sft: AUC 0.80 [0.70, 0.90] of kd",
            "no difference in quality shown: ROUGE-L",
        ),
        (view(beyond=None), "kd tells members apart better than sft: AUC", "no difference"),
        (view(beyond=-0.01), "kd tells members apart better than sft: AUC", "no difference"),
        (view(beyond=math.nan), "kd tells members apart better than sft: AUC", "no difference"),
        (view(p_leak=0.2), "no difference in leakage shown: AUC", "no difference"),
        (view(low=0.48), "kd is highest, but not above chance", "no difference"),
        (view(p_quality=0.01), "kd leaks more", "kd answers better than gkd: ROUGE-L 0.41"),
    ],
)
def test_the_verdict_claims_what_the_tests_bear(
    given: SweepView, leakage: str, quality: str
) -> None:
    lines = summary(given)
    assert lines[0] == "my <grid>: 3 of 4 points finished"
    assert lines[1].startswith(f"leakage of the student: {leakage}") and quality in lines[2]
    assert lines[3:] == [
        "failed: method=bad: <b>no</b> such thing",
        "not trained equally: kd & others",
    ]


def test_the_page_escapes_what_it_is_given_and_is_the_same_again(tmp_path: Path) -> None:
    write_sweep_report(tmp_path / "a", view())
    write_sweep_report(tmp_path / "b", view())
    page = (tmp_path / "a" / "report.html").read_bytes()
    assert page == (tmp_path / "b" / "report.html").read_bytes()
    assert b"<h1>kd leaks more than sft; no difference in quality shown</h1>" in page
    assert b"<b>no" not in page and b"<grid>" not in page and b"kd &amp; others" in page
    assert b'href="../method%3Dkd/report/report.html"' in page and b"method%3Dbad" not in page
    figure = (tmp_path / "a" / "figures" / "quality_leakage.csv").read_text().splitlines()
    assert figure[0].startswith("variant,ROUGE-L,") and len(figure) == 4


def test_one_variant_and_none_have_a_page_too(tmp_path: Path) -> None:
    full = view()
    seeds = SweepView(
        title="s",
        points=full.points[:1],
        seeds={"s": [1, 2]},
        level=0.95,
        said=[],
        results=[
            row("s", "auc", 0.8, 0.7, 0.9),
            row("s", "needed_exact", 0.9, 0.8, 1.0),
            row("s", "rouge_l", 0.4),
        ],
    )
    assert write_sweep_report(tmp_path / "one", seeds)[1:] == [
        "leakage of the student: one variant, s: AUC 0.80 [0.70, 0.90]",
        "quality of the student: one variant, s: needed part exact 0.90 [0.80, 1.00]",
    ]
    page = (tmp_path / "one" / "report.html").read_text()
    assert "<h1>One variant, s: nothing to compare it with</h1>" in page
    bare = SweepView(
        title="t",
        points=full.points[3:],
        seeds={},
        results=[],
        level=0.95,
        said=["not compared: because"],
    )
    assert "no point has numbers to compare" in write_sweep_report(tmp_path / "none", bare)
    assert "<svg" not in (tmp_path / "none" / "report.html").read_text()


def test_no_pooled_auc_is_shaded_where_a_point_is_not_valid() -> None:
    full = view()
    shaded = {
        cells[0].text: cells[3].tint for cells in variants_table(full.results, full.seeds).rows
    }
    assert shaded["kd"] > 0
    table = variants_table(full.results, full.seeds, ["kd"])
    assert all(cells[3].tint == 0 for cells in table.rows if cells[0].text == "kd")
    assert all(
        cells[3].tint == shaded[cells[0].text] for cells in table.rows if cells[0].text != "kd"
    )


def test_a_number_without_interval_says_why_not() -> None:
    same = replace(row("kd", "exact_match", 0.0), reason="the same in all seeds")
    assert number(same, 3).plain == "0.000 the same in all seeds"
    assert share(same).plain == "0.0 % the same in all seeds"
