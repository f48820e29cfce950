"""The parts of the report that are there on request: blocks, the teacher's signal, and the bound on epsilon."""

from __future__ import annotations

import re
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stillage.audit.block_auc import Profile, block_results
from stillage.audit.membership import Audited
from stillage.audit.teacher_divergence import Signals, signal_results
from stillage.experiment.report_stage import list_sections
from stillage.report import read_run, write_report
from stillage.report.block_tables import beyond_table, block_pictures, blocks_table, ticks
from stillage.report.signal_tables import divergence_table, dp_table
from stillage.run.config import ReportConfig
from stillage.run.results import write_results
from stillage.types import Result

BASE = Result(run="", stage="blocks", model="", metric="", value=float("nan"), seed=1)
LEAKING = {"teacher": (0.4, 0.7, 1.2, 1.6), "student": (0.3, 1.1)}
OTHERS = {"student_counterfactual": 2, "student_no_teacher": 2, "teacher_counterfactual": 4}


def write_blocks(run: Path, n: int = 60) -> None:
    """blocks/results.parquet of made-up scores, as the stage makes it."""
    rng = np.random.default_rng(1)
    parts = ("private",) * n + ("nonmembers",) * n
    audited = Audited(
        ids=tuple(f"{k:04d}" for k in range(2 * n)),
        parts=parts,
        texts=("",) * 2 * n,
        groups=("",) * 2 * n,
    )
    strengths = LEAKING | {model: (0.0,) * blocks for model, blocks in OTHERS.items()}
    profiles = []
    for model, strength in strengths.items():
        for measure in (
            "mope",
            "gradient",
            "lens",
            "probe",
            *["revert"] * model.startswith("student_c"),
            *["revert"] * (model == "student"),
        ):
            scores = (
                rng.normal(0, 1, (1, len(strength), 2 * n))
                + np.array(strength)[:, None] * audited.is_member
            )
            probe = measure == "probe"
            profiles.append(
                Profile(
                    model=model,
                    measure=measure,
                    scores_SLN=scores,
                    whole_N=scores[0].max(0) if measure == "revert" else None,
                    null_LP=rng.normal(0.5, 0.04, (len(strength), 50)) if probe else None,
                    p_L=np.full(len(strength), 0.02) if probe else None,
                )
            )
    write_results(
        run / "blocks" / "results.parquet", block_results(audited, profiles, level=0.95, base=BASE)
    )


def write_others(run: Path) -> None:
    """signal/results.parquet and dp/results.parquet."""
    rng, n = np.random.default_rng(2), 50
    parts = tuple(np.repeat(["public", "private", "nonmembers"], n))
    teacher = rng.exponential(0.1, 3 * n)
    signals = Signals(
        ids=tuple(f"{k:04d}" for k in range(3 * n)),
        parts=parts,
        groups=("",) * 3 * n,
        kl={"teacher": teacher, "student": 0.2 * teacher + 0.01},
    )
    shown = {"loss": {f"{k:04d}": float(teacher[k]) for k in range(3 * n)}}
    base = replace(BASE, stage="signal")
    write_results(
        run / "signal" / "results.parquet", signal_results(signals, shown, level=0.95, base=base)
    )
    row = replace(BASE, stage="dp", model="student", attack="reference", n=100)
    row = replace(row, delta=1e-5, coins=640, n_members=50, n_nonmembers=50)
    write_results(
        run / "dp" / "results.parquet",
        [
            replace(row, metric="dp_epsilon_low", value=1.61, low=1.61),
            replace(row, metric="dp_right", value=0.9, low=0.82, high=0.95),
        ],
    )


@pytest.fixture(scope="module")
def asked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the three stages, and its report; not to be changed."""
    run = shutil.copytree(built, tmp_path_factory.mktemp("asked") / "quickstart")
    write_blocks(run)
    write_others(run)
    write_report(run, ReportConfig(), title="asked", sections=list_sections())
    return run


def test_each_measure_has_a_figure_with_its_numbers(asked: Path) -> None:
    names = {path.stem for path in (asked / "report" / "figures").glob("blocks_*.svg")}
    assert names == {f"blocks_{m}" for m in ("mope", "gradient", "lens", "probe", "revert")}
    for name in names:
        root = ET.fromstring((asked / "report" / "figures" / f"{name}.svg").read_text())
        text = " ".join(root.itertext())
        assert "block (0 is the first)" in text and "student, counterfactual" in text
        lines = (asked / "report" / "figures" / f"{name}.csv").read_text().splitlines()
        assert lines[0] == "model,block,auc,auc_low,auc_high" and len(lines) == 1 + (
            4 if name.endswith("revert") else 14
        )
        for line in lines[1:]:
            value, low, high = map(float, line.split(",")[2:])
            assert 0 <= low <= value <= high <= 1
    picture = next(p for p in block_pictures(read_run(asked)) if p.name == "blocks_mope")
    assert (
        picture.svg
        == next(p for p in block_pictures(read_run(asked)) if p.name == "blocks_mope").svg
    )


def test_the_page_says_where_the_leak_is(asked: Path) -> None:
    html = (asked / "report" / "report.html").read_text()
    assert "Which block carries it?" in html and "How private can the training have been?" in html
    assert "What the signal says about the members" in html
    assert html.count('aria-labelledby="fig-blocks-') == 5 and not re.search(r'style="', html)
    view = read_run(asked)
    table = blocks_table(view)
    assert table is not None and [row[0].text for row in table.rows] == ["0", "1", "none exchanged"]
    assert table.columns == (
        "block",
        "noise in the block",
        "gradient",
        "logit lens",
        "linear probe",
        "exchanged",
    )
    assert table.rows[1][1].tint > 0 and float(table.rows[1][1].text) > float(table.rows[0][1].text)
    beyond = beyond_table(view)
    assert (
        beyond is not None
        and beyond.columns[-1] == "lost when exchanged"
        and "student, counterfactual" in beyond.note
    )
    assert beyond.rows[1][1].text == f"{view_row(view, 'block_excess', 'mope', 1).value:.2f}"


def view_row(view: object, metric: str, attack: str, block: int) -> Result:
    rows = (r for r in view.results if (r.metric, r.attack, r.model) == (metric, attack, "student"))  # type: ignore[attr-defined]
    return next(row for row in rows if row.block == block)


def test_signal_and_bound_are_shown_with_what_they_rest_on(asked: Path) -> None:
    view = read_run(asked)
    signal, bound = divergence_table(view), dp_table(view)
    assert signal is not None and bound is not None
    assert [(row[0].text, row[1].text) for row in signal.rows][:2] == [
        ("teacher", "public (the student’s)"),
        ("teacher", "members"),
    ]
    means = [float(cell.text) for cell in signal.rows[0][2:6]]
    assert means[1] < means[0] < means[2] < means[3]  # a skewed KL: median, mean, 90 %, 99 %
    assert [cell.small for cell in signal.rows[0][2:6]][-1] == "no interval"
    assert "No interval: it takes 368 records that are no near-duplicates" in signal.note
    assert signal.rows[3][6].text == "1.00" and "loss score correlate at 1.00" in signal.note
    assert [cell.text for cell in bound.rows[0]] == ["student", "1.61", "0.90", "100"]
    assert (
        "640 coins" in bound.note
        and "delta=1e-05" in bound.note
        and "fixed in advance: 50 in, 50 out" in bound.note
    )


def test_without_them_nothing_is_shown(reported: Path) -> None:
    view = read_run(reported)
    assert block_pictures(view) == [] and blocks_table(view) is None and beyond_table(view) is None
    assert divergence_table(view) is None and dp_table(view) is None
    assert "Which block" not in (reported / "report" / "report.html").read_text()


def test_many_blocks_have_few_ticks() -> None:
    assert (
        ticks(1) == [0, 1] and ticks(0) == [0] and len(ticks(47)) <= 9 and ticks(47)[:2] == [0, 6]
    )
