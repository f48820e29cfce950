"""Notes are for people: rewording every one of them changes nothing that the program says."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from test_report_blocks import write_blocks, write_others

from stillage.report import write_report
from stillage.report.claims import claims_of
from stillage.report.html import tables
from stillage.report.run_view import RunView, read_run
from stillage.run.config import ReportConfig
from stillage.run.results import read_results, write_results

REWORDED = "block=7; fpr=0.5; student minus nobody; holm p=0.9 of 3; refused: reworded"


@pytest.fixture
def full(built: Path, tmp_path: Path) -> Path:
    """A run with every stage that gives results."""
    run = shutil.copytree(built, tmp_path / "full")
    write_blocks(run)
    write_others(run)
    return run


def reword(run: Path) -> int:
    """Reword every note of a run; returns how many there were."""
    count = 0
    for path in run.glob("*/results.parquet"):
        rows = read_results(path)
        count += sum(bool(row.note) for row in rows)
        write_results(path, [replace(row, note=REWORDED) for row in rows])
    return count


def claimed(view: RunView) -> list[tuple[object, ...]]:
    """What is claimed of every model, and how it stands against each control."""
    return [
        (model, one.row.metric, one.row.attack, one.shows, one.is_attributed, control)
        for model in view.models
        for one in claims_of(view, model)
        for control in [tuple((c.row.model, c.is_above, c.reads_as_well) for c in one.against)]
    ]


def test_rewording_every_note_changes_no_table_and_no_claim(full: Path) -> None:
    before = read_run(full)
    assert reword(full) > 4
    after = read_run(full)
    assert {row.note for row in after.results} == {REWORDED}
    shown, again = (tables(view, ReportConfig()) for view in (before, after))
    assert sum(table is not None for table in shown.values()) > 12
    assert again == shown
    assert claimed(after) == claimed(before) != []
    rows = zip(before.results, after.results, strict=True)
    assert all(repr(replace(new, note=old.note)) == repr(old) for old, new in rows)  # their order


def test_rewording_every_note_changes_no_figure_and_no_sentence(full: Path) -> None:
    def written() -> dict[str, bytes]:
        write_report(full, ReportConfig(), title="run")
        files = [full / "report" / "summary.txt", *(full / "report" / "figures").iterdir()]
        return {path.name: path.read_bytes() for path in files}

    before = written()
    reword(full)
    assert written() == before and len(before) > 12
