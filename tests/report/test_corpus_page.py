"""The report of a scan: its numbers against the hits, its sentences, and what it keeps to itself."""

from __future__ import annotations

import csv
import html
import math
import re
from pathlib import Path

import fixture_scan
import numpy as np
import pyarrow as pa
import pytest
from chromium import Chromium
from fixture_scan import EACH, MOST

from stillage.cli import main
from stillage.corpus.copy_worth import published_worth
from stillage.report.corpus_page import write_corpus_report
from stillage.report.corpus_tables import distances_table
from stillage.report.corpus_view import read_corpus_view
from stillage.report.corpus_words import amount, unjudged, unknowns
from stillage.run.folder import read_json, read_table, write_json, write_table

Printed = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished scan of everything, with its report; not to be changed."""
    folder = fixture_scan.build(tmp_path_factory.mktemp("scan") / "webtext")
    assert main(["corpus", "report", str(folder)]) == 0
    return folder


def text_of(folder: Path) -> str:
    """What a reader of the page sees."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    body = re.sub(r"<(style|svg).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub("<[^>]+>", " ", body)).replace("\u00a0", " ").split())


def test_numbers_are_those_of_the_hits(scan: Path) -> None:
    found = fixture_scan.distances_of(read_corpus_view(scan).scan.hits)
    rows = read_table(scan / "report" / "near_counts.parquet").to_pylist()
    for row in (row for row in rows if row["rule"] == "none" and row["bucket"] == "50"):
        each = [found[target, row["metric"]] for target in range(EACH, 2 * EACH)]
        most = row["distance"]
        counts = [int(((d <= most) & ((d > 0) | (most == 0))).sum()) for d in each]
        assert row["found"] == sum(counts)
        assert row["mean"] == pytest.approx(np.mean(counts))
        assert row["low"] < row["mean"] < row["high"] or most == 0
    targets = read_table(scan / "report" / "by_target.parquet").to_pylist()
    assert len(targets) == 2 * 3 * EACH
    for row in targets:
        distances = found[row["target"], row["metric"]]
        by_model = published_worth().by_model(distances / fixture_scan.LENGTH).sum(axis=1)
        assert row["exact"] == (distances == 0).sum() and row["near"] == (distances > 0).sum()
        worth = [row["worth_low"], row["worth"], row["worth_high"]]
        assert worth == pytest.approx([by_model.min(), by_model.mean(), by_model.max()])
        assert row["own_place"]


def test_tables_are_there_as_csv_too(scan: Path) -> None:
    for name in ("near_counts", "by_target"):
        table = read_table(scan / "report" / f"{name}.parquet")
        with (scan / "report" / f"{name}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(table) and list(rows[0]) == table.column_names
        assert [row["metric"] for row in rows] == table["metric"].to_pylist()
    drawn = {path.name for path in (scan / "report" / "figures").iterdir()}
    names = ("near_levenshtein", "near_hamming", "rules")
    assert drawn == {f"{name}.{end}" for name in names for end in ("svg", "csv")}


def test_the_first_screen_says_what_was_found_and_that_nothing_was_missed(scan: Path) -> None:
    view, said = read_corpus_view(scan), text_of(scan)
    near = view.apart(view.before, "levenshtein", "50")
    assert f"A sequence that occurs 50 times has {amount(near['mean'])} [" in said
    assert "at most 8 of 20 tokens changed, left out or put in" in said
    assert "With the 49 exact copies elsewhere they are worth" in said
    assert "2,000 of 2,000 documents scanned (800,000 tokens), none missed." in said
    assert "Each of the 45 targets was found at the place it was taken from" in said
    assert "deduplication leaves in the corpus: exact 100 %, ngram:5" in said
    assert (
        "Not judged: how far off the number of “random” may be (0 documents with a near-duplicate: "
        "too few to tell, 10 needed)."
    ) in said
    assert "No interval for a random sequence: 0 documents with a near-duplicate" in said


def test_what_a_rule_leaves_is_counted_without_the_own_places(scan: Path) -> None:
    rows = read_table(scan / "report" / "near_counts.parquet").to_pylist()
    left = [row for row in rows if row["rule"] == "exact" and row["reading"] == "in the corpus"]
    keys = ("metric", "bucket", "distance", "found", "mean", "low", "high")
    before = [row for row in rows if row["rule"] == "none"]
    assert [[str(row[key]) for key in keys] for row in left] == [
        [str(row[key]) for key in keys] for row in before
    ]
    far = [row for row in rows if row["rule"] == "ngram:5" and row["bucket"] == "50"]
    assert all((row["found"] == 0) == (row["distance"] <= MOST // 2) for row in far)


def test_the_reading_is_named_and_the_other_one_where_it_differs(tmp_path: Path) -> None:
    folder = fixture_scan.build(tmp_path / "scan")
    path = folder / "policy" / "survivors.parquet"
    left = read_table(path)
    is_kept = [
        row["rule"] != "ngram:5" or row["reading"] == "in the corpus" or row["distance"] == 0
        for row in left.to_pylist()
    ]
    write_table(path, left.filter(pa.array(is_kept)))
    said = write_corpus_report(read_corpus_view(folder))[1]
    shares = said.partition("Share of the near-duplicates that deduplication leaves ")[2]
    assert re.fullmatch(
        r"in the corpus: exact 100 %, ngram:5 \d+ % \(against the target alone 0 %\)\.", shares
    ), shares
    page = text_of(folder)
    assert "left in the corpus, before any rule and after each was applied to all" in page


def test_cells_bands_and_rows_give_limits_to_the_same_numbers(scan: Path) -> None:
    """To near-duplicates alone; the page says why exact copies have none."""
    view, page = read_corpus_view(scan), text_of(scan)
    rows = read_table(scan / "report" / "near_counts.parquet").to_pylist()
    assert all(math.isnan(row["low"]) for row in rows if row["distance"] == 0)
    assert all(math.isnan(row["low"]) == bool(row["reason"]) for row in rows)
    table = distances_table(view, "levenshtein")
    assert table
    for cells in table.rows:
        bucket = {"5": "5", "50": "50"}.get(cells[0].text.split()[1], "random")
        line = view.counts(view.before, "levenshtein", bucket)
        shown = dict(zip(table.columns, cells, strict=True))
        assert not shown["exact copies"].small
        for step in (2, 3, 5, 6, 8):
            assert bool(shown[f"≤ {step}"].small) == (not math.isnan(line[step]["low"]))
    drawn = (scan / "report" / "figures" / "near_levenshtein.csv").read_text().splitlines()
    assert all(int(row.split(",")[3]) > 0 for row in drawn[1:])
    assert "Exact copies have no interval: a bucket’s targets were chosen by" in page


def test_what_has_no_interval_is_named_with_the_smallest_number(tmp_path: Path) -> None:
    table = fixture_scan.hits(("levenshtein",), 1.0, 1)
    target, distance = table["target"].to_numpy(), table["distance"].to_numpy()
    is_near = (target < EACH) & (distance > 0)
    few = np.flatnonzero(is_near)[:1]
    is_kept = ~is_near
    is_kept[few] = True
    folder = fixture_scan.build(
        tmp_path / "few", metrics=("levenshtein",), found=table.filter(pa.array(is_kept))
    )
    view = read_corpus_view(folder)
    assert unjudged(view) == (
        "Not judged: how far off the numbers of “5 times” and “random” may be (at the least 0 "
        "documents with a near-duplicate: too few to tell, 10 needed)."
    )
    assert any("5 times: 1 document with a near-duplicate: too" in said for said in unknowns(view))


def test_exact_copies_alone(tmp_path: Path) -> None:
    """A scan at distance 0 has a page, without a figure of near-duplicates."""
    table = fixture_scan.hits(("levenshtein",), 1.0, 1)
    exact = table.filter(pa.array(table["distance"].to_numpy() == 0))
    folder = fixture_scan.build(
        tmp_path / "exact", metrics=("levenshtein",), found=exact, rules=False, most=0
    )
    view = read_corpus_view(folder)
    lines = write_corpus_report(view)
    assert lines[0] == "Exact copies alone were looked for (distance 0)."
    assert not list((folder / "report" / "figures").glob("*.svg"))
    assert all(view.apart(view.before, "levenshtein", b)["found"] == 0 for b in ("5", "50"))
    assert "49" in text_of(folder)


def test_a_sample_speaks_of_the_whole_corpus(tmp_path: Path) -> None:
    folder = fixture_scan.build(tmp_path / "sample", share=0.2, metrics=("hamming",))
    lines = write_corpus_report(read_corpus_view(folder))
    assert "400 of 2,000 documents scanned (160,000 tokens), drawn at random" in lines[2]
    assert "numbers are multiplied by 5 " in lines[2]
    assert "In a sample they are multiplied as near-duplicates are" in text_of(folder)
    assert "the others' documents were not drawn" in lines[3]
    for row in read_table(folder / "report" / "near_counts.parquet").to_pylist():
        assert row["mean"] == pytest.approx(5 * row["found"] / row["targets"])


def test_nothing_found_is_said_and_drawn(tmp_path: Path) -> None:
    nothing = fixture_scan.hits(("levenshtein",), 0.0, 1)
    folder = fixture_scan.build(
        tmp_path / "bare", metrics=("levenshtein",), found=nothing, rules=False
    )
    lines = write_corpus_report(read_corpus_view(folder))
    assert lines[0] == "No near-duplicate was found within a distance of 8."
    assert "0 of 45 targets were found at the place" in lines[2]
    said = text_of(folder)
    assert "What does deduplication leave?" not in said and "none missed" in said


def test_texts_are_shown_with_a_tokenizer_and_ones_word_alone(scan: Path, capsys: Printed) -> None:
    page = (scan / "report.html").read_text(encoding="utf-8")
    assert "No text of the corpus is on this page" in page and "secret" not in page
    for flags in (["--show-text"], ["--tokenizer", "tokenizer.json"]):
        assert main(["corpus", "report", str(scan), *flags]) == 2
        assert "Texts need a tokenizer and your word." in capsys.readouterr().err


def test_shown_texts_are_escaped(tmp_path: Path, capsys: Printed) -> None:
    from tokenizers import Tokenizer, models

    words = {f"<b>{number}</b>": number for number in range(5000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<b>0</b>"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    folder = fixture_scan.build(tmp_path / "scan", rules=False)
    flags = ["--tokenizer", str(tmp_path / "tokenizer.json"), "--show-text"]
    assert main(["corpus", "report", str(folder), *flags]) == 0, capsys.readouterr().err
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;3" in page and "<b>3" not in page
    assert "This page shows texts of the corpus" in page
    assert "<b>" not in (folder / "report" / "by_target.csv").read_text()


def test_what_cannot_be_reported(scan: Path, tmp_path: Path, capsys: Printed) -> None:
    assert main(["corpus", "report", str(tmp_path)]) == 2
    assert "The folder holds no scan." in capsys.readouterr().err
    assert main(["corpus", "report", str(scan), "--level", "95"]) == 2
    assert "No interval has such a level." in capsys.readouterr().err
    folder = fixture_scan.build(tmp_path / "other")
    judged = read_json(folder / "policy" / "policy.json")
    write_json(folder / "policy" / "policy.json", {**judged, "scan": "0"})
    assert main(["corpus", "report", str(folder)]) == 2
    assert "The rules were tried on another scan." in capsys.readouterr().err


def test_equal_scans_give_equal_bytes(scan: Path, tmp_path: Path) -> None:
    again = fixture_scan.build(tmp_path / "webtext")
    write_corpus_report(read_corpus_view(again))
    for path in sorted((scan / "report").rglob("*.*")):
        assert path.read_bytes() == (again / path.relative_to(scan)).read_bytes(), path.name
    assert (again / "report.html").read_bytes() == (scan / "report.html").read_bytes()


def test_amounts() -> None:
    shown = [amount(number) for number in (0, 0.254, 4, 12.34, 99.96, 1234.5, float("nan"))]
    assert shown == ["0", "0.25", "4", "12.3", "100.0", "1,234", "no value"]


EDGES = """[...document.querySelectorAll('.scroll')].map(e => ({
  fits: e.scrollWidth <= e.clientWidth,
  shadow: getComputedStyle(e).backgroundAttachment.includes('scroll'),
  name: e.ariaLabel}))"""
"""Of each table: whether all of it is seen; whether a shadow at its edge says that more is there."""


@pytest.mark.browser
@pytest.mark.parametrize("width", [400, 1280])
def test_it_fits_and_asks_nobody(browser: Chromium, scan: Path, width: int) -> None:
    page = scan / "report.html"
    browser.open(page, width=width)
    assert browser.requests == [page.as_uri()] and browser.complaints == []
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run("document.querySelectorAll('svg.figure').length") == 3
    first = "document.querySelector('.keys').getBoundingClientRect().bottom"
    assert browser.run(first) < 900  # all that matters is on the first screen
    for edge in browser.run(EDGES):
        assert edge["fits"] or edge["shadow"], edge


def test_parquet_tables_have_one_type_a_column(scan: Path) -> None:
    table = read_table(scan / "report" / "near_counts.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in ("distance", "mean", "reason")}
    assert kinds == {"distance": "int64", "mean": "double", "reason": "string"}
    assert not any(pa.types.is_null(field.type) for field in table.schema)
