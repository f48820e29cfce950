"""The page and the files beside it: complete, escaped, deterministic, and there for every shape of run."""

from __future__ import annotations

import hashlib
import math
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stillage.errors import DataError
from stillage.evaluate.quality import text_results
from stillage.report import write_report
from stillage.report.cells import Cell, Table, text
from stillage.report.figures import attack_scores, bin_edges, thinned
from stillage.report.run_view import read_run
from stillage.report.tables import auc_table, models_table
from stillage.run.config import ReportConfig
from stillage.run.folder import read_table, write_table, write_text
from stillage.run.results import read_results, write_results
from stillage.types import Result

XSS = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}]]>--><svg onload=alert(3)>"
)
VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Reader(HTMLParser):
    """Collects tags, attributes and unbalanced ends."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (self.open[-3:], tag)
        self.open.pop()


def read(run: Path) -> tuple[str, Reader]:
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    return html, reader


def make(run: Path, **options: bool) -> tuple[str, Reader]:
    write_report(run, ReportConfig(**options), title="quickstart")
    return read(run)


def test_the_order_of_the_page(reported: Path) -> None:
    html, _ = read(reported)
    places = [
        html.index(f'<section id="{name}">')
        for name in (
            "validity",
            "models",
            "membership",
            "tradeoff",
            "scores",
            "extraction",
            "inheritance",
            "groups",
            "exposed",
            "answers",
            "facts",
            "guide",
        )
    ]
    assert places == sorted(places)
    assert html.index("<h1>") < places[0]


def test_nothing_is_loaded_scripted_or_styled_inline(reported: Path) -> None:
    html, reader = read(reported)
    tags = {tag for tag, _ in reader.tags}
    assert tags.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "form", "base", "image"}
    )
    for tag, attributes in reader.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (
            tag,
            attributes,
        )
        for name in ("href", "src", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.search(r"url\((?!#)", html)
    assert "@import" not in html
    policy = next(
        a["content"]
        for t, a in reader.tags
        if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    css = html[html.index("<style>") + 7 : html.index("</style>")]
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    assert (
        policy
        == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_ids_are_unique_and_every_reference_resolves(reported: Path) -> None:
    html, reader = read(reported)
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    asked = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', html)) | {
        i for _, a in reader.tags for i in (a.get("aria-labelledby") or "").split()
    }
    assert asked <= set(ids)


def test_every_figure_speaks_and_has_its_numbers(reported: Path) -> None:
    html, reader = read(reported)
    figures = [a for t, a in reader.tags if t == "svg"]
    assert len(figures) == 8
    assert all(a.get("role") == "img" and a.get("aria-labelledby") for a in figures)
    names = sorted(path.stem for path in (reported / "report" / "figures").glob("*.svg"))
    assert names == sorted(path.stem for path in (reported / "report" / "figures").glob("*.csv"))
    assert len(names) == 8
    for path in (reported / "report" / "figures").glob("*.svg"):
        ET.parse(path)
    assert html.count("The numbers behind it") == 2 and html.count("The numbers behind them") == 1


def test_the_table_shows_the_results(reported: Path) -> None:
    row = read_run(reported).result("auc", "student", attack="loss")
    assert row is not None
    html, _ = read(reported)
    assert f"{row.value:.2f} <small>[{row.low:.2f}, {row.high:.2f}]</small>" in html
    assert "1.99 M" in html and "545 k" in html
    assert len((reported / "report" / "summary.txt").read_text().splitlines()) <= 10


def test_bleu_and_chrf_stand_in_the_table_where_they_were_computed(run: Path) -> None:
    """By the code that computes them, signature and all; a run without them has no empty columns."""
    before = models_table(read_run(run))
    assert before is not None
    assert "BLEU" not in before.columns and "sacrebleu" not in before.note
    samples, file = (
        read_table(run / "evaluate" / "samples.parquet"),
        run / "evaluate" / "results.parquet",
    )
    base = Result(run="r", stage="evaluate", model="", metric="", value=0.0)
    written = [
        row
        for row in text_results(samples, level=0.95, base=base)
        if row.metric in ("bleu", "chrf")
    ]
    write_results(file, [*read_results(file), *written])
    table = models_table(read_run(run))
    assert table is not None
    assert table.columns[4:] == (
        "needed part exact",
        "ROUGE-L",
        "exact match",
        "BLEU",
        "chrF",
        "perplexity",
        "bits/byte",
    )
    of_student = {row.metric: row for row in written if row.model == "student"}
    cells = next(row for row in table.rows if row[0].text == "student")
    for place, metric in ((7, "bleu"), (8, "chrf")):
        found = of_student[metric]
        assert cells[place].plain == f"{found.value:.1f} [{found.low:.1f}, {found.high:.1f}]"
        assert found.signature and found.signature in table.note
    assert "BLEU nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:" in table.note


def test_what_is_left_of_the_teacher_stands_in_its_section(reported: Path) -> None:
    html, _ = read(reported)
    section = html.split('<section id="inheritance">')[1].split("</section>")[0]
    view = read_run(reported)
    for metric in ("attributable_leak", "inheritance", "spearman"):
        row = view.result(metric, "student", attack="loss")
        assert row is not None and row.low > 0
        assert f"{row.value:.2f} <small>[{row.low:.2f}, {row.high:.2f}]</small>" in section
    recited = next(row for row in view.results if row.metric == "inherited_rate" and not row.attack)
    assert f"{100 * recited.value:.1f} %" in section and f"of {recited.n}<" in section
    for row in view.rows("inheritance_curve", model="student"):
        assert math.isnan(row.value) == (row.n == 0)
    assert section.count("<small>no record above</small>") == sum(
        row.n == 0 for row in view.rows("inheritance_curve", model="student")
    )
    groups = html.split('<section id="groups">')[1].split("</section>")[0]
    assert groups.count("task: ") == 3


def test_no_student_no_section(run: Path) -> None:
    path = run / "audit" / "results.parquet"
    compared = (
        "attributable_leak",
        "inheritance",
        "spearman",
        "tpr_on_leaked",
        "inheritance_curve",
        "slice_auc",
    )
    kept = [
        row
        for row in read_results(path)
        if row.metric not in compared and not row.metric.endswith("_rate")
    ]
    write_results(path, kept)
    html, _ = make(run)
    assert (
        'id="membership"' in html and 'id="inheritance"' not in html and 'id="groups"' not in html
    )


def test_equal_inputs_give_equal_bytes(built: Path, tmp_path: Path) -> None:
    def one(name: str) -> dict[str, bytes]:
        run = shutil.copytree(built, tmp_path / name / "quickstart")
        for stage in ("evaluate", "audit"):  # rows in another order
            path = run / stage / "results.parquet"
            if name == "b":
                table = read_table(path)
                write_table(path, table.take(np.arange(table.num_rows)[::-1]))
        write_report(run, ReportConfig(), title="quickstart")
        return {
            str(p.relative_to(run)): p.read_bytes()
            for p in sorted((run / "report").rglob("*"))
            if p.is_file() and p.suffix in (".parquet", ".svg", ".csv")
        }

    first, second = one("a"), one("b")
    assert len(first) == 17
    assert first == second


def test_all_results_are_kept(reported: Path) -> None:
    parts = [
        row
        for stage in ("evaluate", "audit")
        for row in read_results(reported / stage / "results.parquet")
    ]
    assert len(read_results(reported / "report" / "results.parquet")) == len(parts)


def test_hostile_model_output_stays_text(run: Path) -> None:
    samples = read_table(run / "evaluate" / "samples.parquet")
    for name in ("prompt", "reference", "text"):
        samples = samples.set_column(
            samples.column_names.index(name), name, pa.array([XSS] * samples.num_rows)
        )
    write_table(run / "evaluate" / "samples.parquet", samples)
    extraction = read_table(run / "audit" / "extraction.parquet")
    extraction = extraction.set_column(
        extraction.column_names.index("recited"), "recited", pa.array([XSS] * extraction.num_rows)
    )
    write_table(run / "audit" / "extraction.parquet", extraction)
    write_text(run / "config.yaml", f"out: '{XSS.replace(chr(39), '')}'\n")
    for show in (False, True):
        html, reader = make(run, show_text=show)
        assert {tag for tag, _ in reader.tags}.isdisjoint({"script", "img"})
        assert not any("onload" in a or "onerror" in a for _, a in reader.tags)
        assert "&lt;script&gt;alert(1)" in html


def test_a_hostile_model_name_stays_text_in_figures_too(run: Path) -> None:
    name = 'm<script>$x^2$"&'
    scores = read_table(run / "audit" / "scores.parquet")
    swapped = [
        name if model == "student_no_teacher" else model
        for model in scores.column("model").to_pylist()
    ]
    write_table(run / "audit" / "scores.parquet", scores.set_column(0, "model", pa.array(swapped)))
    path = run / "audit" / "results.parquet"
    write_results(
        path,
        [
            replace(row, model=name) if row.model == "student_no_teacher" else row
            for row in read_results(path)
        ],
    )
    html, reader = make(run)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "m&lt;script&gt;$x^2$" in html
    for figure in (run / "report" / "figures").glob("*.svg"):
        ET.parse(figure)


@pytest.mark.parametrize(
    ("gone", "sections", "badge"),
    [
        (("audit",), {"models", "answers"}, "not audited"),
        (("evaluate",), {"models", "membership", "scores", "extraction", "exposed"}, "leaks"),
        (("audit", "evaluate"), {"models"}, "not audited"),
        (("data", "evaluate", "teacher", "student"), {"membership", "extraction"}, "leaks"),
        (
            ("audit/scores.parquet", "audit/extraction.parquet"),
            {"models", "membership", "tradeoff"},
            "leaks",
        ),
        (("config.yaml", "env.json"), {"models", "membership"}, "leaks"),
    ],
)
def test_any_part_may_be_absent(
    run: Path, gone: tuple[str, ...], sections: set[str], badge: str
) -> None:
    for name in gone:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    html, _ = make(run)
    assert sections | {"validity", "facts", "guide"} <= set(
        re.findall(r'<section id="(\w+)">', html)
    )
    assert re.search(rf'<p class="badge \w+">{badge}</p>', html)
    assert (run / "report" / "results.parquet").exists()


def test_an_empty_folder_is_a_user_error_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        write_report(tmp_path, ReportConfig(), title="none")
    assert len(str(caught.value).splitlines()) == 3
    assert list(tmp_path.iterdir()) == []


def test_nan_everywhere_still_makes_a_page(run: Path) -> None:
    nan = float("nan")
    for stage in ("evaluate", "audit"):
        path = run / stage / "results.parquet"
        write_results(
            path, [replace(row, value=nan, low=nan, high=nan) for row in read_results(path)]
        )
    scores = read_table(run / "audit" / "scores.parquet")
    write_table(
        run / "audit" / "scores.parquet",
        scores.set_column(5, "score", pa.array([nan] * scores.num_rows)),
    )
    html, _ = make(run)
    assert "no finding" in html
    assert not re.search(r">\s*nan\b", html)
    assert list((run / "report" / "figures").glob("*")) == []


def test_some_scores_missing_one_group_or_constant(run: Path) -> None:
    rows = read_table(run / "audit" / "scores.parquet").to_pylist()
    for index, row in enumerate(rows):
        if row["attack"] != "loss":
            continue
        if row["model"] == "teacher" and index % 3 == 0:
            row["score"] = float("nan")
        if row["model"] == "student_no_teacher":
            row["score"] = -1.0
        if row["model"] == "teacher_counterfactual" and row["part"] == "private":
            row["score"] = float("-inf")
    write_table(run / "audit" / "scores.parquet", pa.Table.from_pylist(rows))
    make(run)
    drawn = {path.stem for path in (run / "report" / "figures").glob("scores_*.svg")}
    assert drawn == {
        "scores_student",
        "scores_teacher",
        "scores_student_counterfactual",
        "scores_student_no_teacher",
        "scores_student_minimal",
    }


def test_an_old_figure_does_not_outlive_its_run(run: Path) -> None:
    make(run)
    shutil.rmtree(run / "audit")
    make(run)
    assert list((run / "report" / "figures").glob("*")) == []


def test_roc_vertices_are_those_of_the_scores(reported: Path) -> None:
    """The CSV against counting by hand."""
    found = attack_scores(read_run(reported), "loss")["student"]
    values, member = found.scores, found.is_member
    lines = [
        line.split(",")
        for line in (reported / "report" / "figures" / "roc.csv").read_text().splitlines()
    ]
    points = [(float(fpr), float(tpr)) for model, fpr, tpr, *_ in lines[1:] if model == "student"]
    outside = np.sort(values[~member])[::-1]
    for fpr, tpr in points[::20]:
        allowed = int(np.floor(fpr * len(outside) + 1e-9))
        threshold = outside[allowed] if allowed < len(outside) else -np.inf
        assert tpr == pytest.approx(np.mean(values[member] > threshold), abs=1e-12)


def test_thinning_keeps_the_ends_and_the_order() -> None:
    fpr = np.linspace(0, 1, 5001)
    x, y = thinned(fpr, np.sqrt(fpr), 0.001)
    assert len(x) <= 402
    assert (x[0], x[-1], y[-1]) == (0.001, 1.0, 1.0)
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()


def test_bins_hold_constant_scores() -> None:
    edges = bin_edges(np.full(5, 7.0))
    assert edges[0] < 7 < edges[-1]


def test_a_table_as_text(reported: Path) -> None:
    table = Table(
        caption="c",
        columns=("a|b", "n"),
        rows=((Cell(text="x|y\nz"), Cell(text="1", small="[0, 2]")),),
    )
    assert text(table) == "a|b           n\nx|y z  1 [0, 2]\n"
    lines = text(auc_table(read_run(reported))).splitlines()
    assert len(lines) == 1 + 7
    assert lines[0].split()[:3] == ["attack", "teacher", "student"] and lines[1].startswith("loss ")


def test_refused_rates_say_why(run: Path) -> None:
    path = run / "audit" / "results.parquet"
    nan = float("nan")
    rows = [row for row in read_results(path) if row.metric != "achieved_fpr"]
    refused = [
        replace(r, value=nan, low=nan, high=nan, reason="few") if r.metric == "tpr_at_fpr" else r
        for r in rows
    ]
    write_results(path, refused)
    html, _ = make(run)
    assert "too few nonmembers" in html
    assert "TPR at 1 % FPR" in html


def test_the_report_loads_neither_torch_nor_transformers(built: Path, tmp_path: Path) -> None:
    run = shutil.copytree(built, tmp_path / "r")
    code = (
        "import sys; from pathlib import Path; from stillage.report import write_report; from stillage.run.config import ReportConfig;"
        f"write_report(Path({str(run)!r}), ReportConfig(), title='t');"
        "print([m for m in ('torch', 'transformers', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
