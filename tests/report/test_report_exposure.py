"""The report's table of canary exposure, and its words in the summary."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from stillage.report.exposure_table import exposure_table, exposure_words
from stillage.report.run_view import read_run
from stillage.run.results import write_results
from stillage.types import Result

MEMBERS = Result(
    run="",
    stage="exposure",
    model="student",
    metric="exposure",
    value=5.25,
    low=4.5,
    high=6,
    n=62,
    dataset="private",
    unit="bits",
    ceiling=8.01,
    at_ceiling=7,
    missing=2,
    missing_reason="2 left out: longer than the model's context or data.max_tokens",
)
FLOOR = replace(
    MEMBERS,
    value=1.4,
    low=1.1,
    high=1.7,
    n=64,
    dataset="nonmembers",
    at_ceiling=0,
    missing=0,
    missing_reason="",
)
BEYOND = replace(
    MEMBERS,
    metric="exposure_extrapolated",
    value=7.5,
    low=5,
    high=10,
    note="model-based: skew-normal fits",
)


def test_members_their_groups_and_the_floor(tmp_path: Path) -> None:
    group = replace(
        MEMBERS,
        metric="slice_exposure",
        dataset="copies: 16",
        value=8.01,
        low=7,
        high=8.01,
        n=4,
        at_ceiling=3,
    )
    write_results(tmp_path / "exposure" / "results.parquet", [FLOOR, group, MEMBERS, BEYOND])
    (tmp_path / "config.yaml").write_text("audit:\n  extract: badge\n")
    view = read_run(tmp_path)
    table = exposure_table(view)
    assert (
        table is not None
        and "The badge of a record" in table.note
        and "shows 8.01 bits at most" in table.note
    )
    lost = "2 left out: longer than the model's context or data.max_tokens"
    assert [[cell.plain for cell in row] for row in table.rows] == [
        ["student", "members", "5.25 [4.50, 6.00]", "7 of 62", "7.50 [5.00, 10.00]", "62", lost],
        ["student", "members, copies: 16", "8.01 [7.00, 8.01]", "3 of 4", "–", "4", lost],
        ["student", "nonmembers (floor)", "1.40 [1.10, 1.70]", "0 of 64", "–", "64", "0"],
    ]
    assert exposure_words(
        view, "student"
    ) == "exposure 5.2 bits (nonmembers: 1.4)" and not exposure_words(view, "teacher")


def test_what_was_not_measured_is_not_shown(tmp_path: Path) -> None:
    nothing = replace(
        MEMBERS,
        value=math.nan,
        low=math.nan,
        high=math.nan,
        n=0,
        missing=3,
        missing_reason="3 left out: a score is NaN",
    )
    write_results(tmp_path / "exposure" / "results.parquet", [nothing])
    view = read_run(tmp_path)
    table = exposure_table(view)
    assert (
        table is not None
        and table.rows[0][2].plain.startswith("–")
        and not exposure_words(view, "student")
    )
    write_results(tmp_path / "exposure" / "results.parquet", [replace(MEMBERS, metric="auc")])
    assert exposure_table(read_run(tmp_path)) is None
