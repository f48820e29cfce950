"""The report of a scan: its numbers against the hits, its sentences, and what it keeps to itself."""

from __future__ import annotations

import csv
import html
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
from stillage.report.corpus_view import read_corpus_view
from stillage.report.corpus_words import amount
from stillage.run.folder import read_json, read_table, write_json

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
        counts = [int((distances <= row["distance"]).sum()) for distances in each]
        assert row["near_duplicates"] == sum(counts)
        assert row["mean"] == pytest.approx(np.mean(counts))
        assert row["low"] < row["mean"] < row["high"]
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
    assert "deduplication leaves: exact 100 %, ngram:5" in said
    assert "Not judged: how far off some of these numbers may be (0 documents with a" in said
    assert "No interval for a random sequence: 0 documents with a near-duplicate" in said


def test_what_a_rule_leaves_is_counted_without_the_own_places(scan: Path) -> None:
    rows = read_table(scan / "report" / "near_counts.parquet").to_pylist()
    left = [row for row in rows if row["rule"] == "exact" and row["reading"] == "in the corpus"]
    keys = ("metric", "bucket", "distance", "near_duplicates", "mean", "low", "high")
    before = [row for row in rows if row["rule"] == "none"]
    assert [[str(row[key]) for key in keys] for row in left] == [
        [str(row[key]) for key in keys] for row in before
    ]
    far = [row for row in rows if row["rule"] == "ngram:5" and row["bucket"] == "50"]
    assert all((row["near_duplicates"] == 0) == (row["distance"] <= MOST // 2) for row in far)


def test_a_sample_speaks_of_the_whole_corpus(tmp_path: Path) -> None:
    folder = fixture_scan.build(tmp_path / "sample", share=0.2, metrics=("hamming",))
    lines = write_corpus_report(read_corpus_view(folder))
    assert "400 of 2,000 documents scanned (160,000 tokens), drawn at random" in lines[2]
    assert "numbers are multiplied by 5 " in lines[2]
    assert "the others' documents were not drawn" in lines[3]
    for row in read_table(folder / "report" / "near_counts.parquet").to_pylist():
        assert row["mean"] == pytest.approx(5 * row["near_duplicates"] / row["targets"])


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


def test_parquet_tables_have_one_type_a_column(scan: Path) -> None:
    table = read_table(scan / "report" / "near_counts.parquet")
    kinds = {name: str(table.schema.field(name).type) for name in ("distance", "mean", "reason")}
    assert kinds == {"distance": "int64", "mean": "double", "reason": "string"}
    assert not any(pa.types.is_null(field.type) for field in table.schema)
