"""Private text stays out of the report, wherever it came from; the report's own words and public text stay in."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from stillage.errors import DataError
from stillage.report import RunView, write_report
from stillage.report.cells import Cell, Table
from stillage.report.group_names import shown_names
from stillage.report.private import MASK, Disclosure, PrivateText, run_key
from stillage.report.section import Section
from stillage.run.config import ReportConfig
from stillage.run.folder import (
    read_json,
    read_table,
    sha256_file,
    write_json,
    write_table,
    write_text,
)
from stillage.run.results import COLUMNS, read_results, write_results
from stillage.types import Result

SECRET = "Quillfeather Obadiah keeps the vault key 493-771 under the third stair"
PIECES = ("quillfeather", "obadiah", "vault", "493-771", "493771", "third stair")
ID = "0123456789abcdef"


def everything_written(run: Path) -> str:
    """Every file of the report as text, what the page escapes as it is read, and every text of the tables."""
    parts = []
    for path in sorted((run / "report").rglob("*")):
        if path.suffix == ".parquet":
            parts += [str(value) for row in read_table(path).to_pylist() for value in row.values()]
        elif path.is_file():
            parts.append(html.unescape(path.read_text(encoding="utf-8")))
    return "\n".join(parts)


def change(path: Path, field: str, value: object, rows: str = "") -> None:
    """Set a field of every row of a table, or of those of one id."""
    table = read_table(path)
    found = table.to_pylist()
    for row in found:
        row[field] = value if not rows or row["id"] == rows else row[field]
    write_table(path, pa.Table.from_pylist(found, schema=table.schema))


def plant(run: Path) -> None:
    """Plant a member's secret wherever one can stand, and hashes of it in every place for those."""
    table = read_table(run / "data" / "records.parquet")
    rows = table.to_pylist()
    member = next(row for row in rows if row["part"] == "private")
    old = member["id"]
    member.update(response=SECRET, id=ID, source=f"{SECRET}.jsonl:1")
    write_table(run / "data" / "records.parquet", pa.Table.from_pylist(rows, schema=table.schema))
    for name in ("scores", "extraction"):
        change(run / "audit" / f"{name}.parquet", "id", ID, old)
    change(run / "audit" / "scores.parquet", "score", 97.328417, ID)  # the most exposed of all
    for field in ("target", "recited"):
        change(run / "audit" / "extraction.parquet", field, SECRET)
    change(run / "evaluate" / "samples.parquet", "text", f"The model says: {SECRET.upper()}!")
    typed = {
        "data": {
            "needed_until": "Quillfeather",
            "files": {"private": f"/srv/{SECRET}.jsonl", "public": "p.jsonl"},
        },
        "teacher": {"path": "models/obadiah"},
    }
    write_text(run / "config.yaml", f"{json.dumps(typed)}\n# {SECRET}\n")
    write_json(
        run / "env.json",
        {"python": "3.11", "plugins": [{"path": "/home/quillfeather/mine.py", "sha256": "a" * 64}]},
    )
    digest = sha256_file(run / "data" / "records.parquet")
    split = {
        "sources": {f"private: {SECRET}.jsonl": digest},
        "bad_lines": [["quillfeather.jsonl", 3, f"no {SECRET}"]],
    }
    write_json(run / "data" / "split.json", {**read_json(run / "data" / "split.json"), **split})
    values = {
        "near nonmembers, ids": [ID],
        "data/records.parquet": f"expected {digest}, found {'b' * 64}",
    }
    check = {
        "name": "overlap",
        "passed": False,
        "detail": f"Near a member: record {ID}.",
        "values": values,
    }
    validity = {
        **read_json(run / "audit" / "validity.json"),
        "verdict": "contaminated",
        "headline": f"{ID} is near.",
    }
    write_json(run / "audit" / "validity.json", {**validity, "checks": [check]})
    named = ("run", "stage", "model", "metric", "attack", "dataset", "method")
    texts = [name for name, kind in COLUMNS.items() if kind == "str" and name not in named]
    assert {"note", "reason", "missing_reason", "against"} <= set(texts)
    row = Result(run="", stage="audit", model="student", metric="left_out", attack="mope", value=0)
    row = replace(row, **{name: f"record {ID} of {'e' * 64}" for name in texts})
    results = run / "audit" / "results.parquet"
    write_results(results, [*read_results(results), row])
    summary = read_json(run / "student" / "summary.json")
    identity = {
        "data": digest,
        "teacher": f"{'c' * 64} {'d' * 64}",
        "rollout": {"stop_after": "Obadiah"},
    }
    write_json(run / "student" / "summary.json", {**summary, "identity": identity})


def test_nothing_of_a_private_record_is_anywhere_in_the_report(run: Path) -> None:
    plant(run)
    write_report(run, ReportConfig(), title="the Quillfeather run")
    written = everything_written(run).casefold()
    hashes = [sha256_file(path) for path in (run / "data").iterdir()] + [
        ID,
        "a" * 64,
        "b" * 64,
        "c" * 64,
        "d" * 64,
        "e" * 64,
    ]
    assert [piece for piece in (*PIECES, *hashes, "97.328") if piece in written] == []
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    named = Disclosure(key=run_key(run)).id(ID)
    assert (
        f"Near a member: record {named}." in page and f"{named} is near." in page
    )  # our words, and its keyed name
    assert page.count(named) >= 4  # in both tables too
    write_report(
        run, ReportConfig(), title="the Quillfeather run"
    )  # with the key that is there now
    assert (run / "report" / "report.html").read_text(encoding="utf-8") == page
    assert f"The model says: {MASK}!" in page and f"the {MASK} run" in page and "p.jsonl" in page


def test_a_key_is_the_owners_made_once_and_refused_where_it_is_none(tmp_path: Path) -> None:
    key = run_key(tmp_path)
    assert stat.S_IMODE((tmp_path / "report.key").stat().st_mode) == 0o600
    assert run_key(tmp_path) == key and len(key) == 32
    (tmp_path / "report.key").unlink()
    assert Disclosure(key=run_key(tmp_path)).id(ID) != Disclosure(key=key).id(ID)
    write_text(tmp_path / "report.key", "none\n")
    with pytest.raises(DataError, match="holds no key"):
        run_key(tmp_path)


def test_show_text_reveals_and_says_so(run: Path) -> None:
    plant(run)
    write_report(run, ReportConfig(show_text=True), title="shown")
    written = everything_written(run)
    assert (
        written.count(SECRET) > 5 and ID in written and "97.328" in written and MASK not in written
    )
    assert sha256_file(run / "data" / "records.parquet") in written and not os.path.exists(
        run / "report.key"
    )
    assert "keep it as safe as the records" in written


def sentences(page: str) -> list[str]:
    """What the page says, a piece of text between two tags each."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    found = (html.unescape(one).strip() for one in re.sub(r"<[^>]*>", "\n", body).splitlines())
    return [one for one in dict.fromkeys(found) if one]


def without_free_texts(page: str) -> str:
    """The page without what models wrote, and without the hashes of files."""
    page = re.sub(r'<section id="answers">.*?</section>', "", page, flags=re.DOTALL)
    return re.sub(r"<dd>[0-9a-f]{16}</dd>", "", page)


def test_our_own_words_are_never_masked(reported: Path, run: Path) -> None:
    """All that a report says stands in private records, and nowhere in public ones; it is said all the same."""
    shutil.copy(reported / "report.key", run / "report.key")
    page = (reported / "report" / "report.html").read_text(encoding="utf-8")
    said = (
        " ".join(sentences(page)).replace("quickstart", "").replace("runs", "")
    )  # typed: the run's folder
    table = read_table(run / "data" / "records.parquet")
    rows = table.to_pylist()
    for row in rows:
        if row["part"] in ("public", "validation", "test"):
            row.update(prompt="x", response="y", meta="{}")
    next(row for row in rows if row["part"] == "private")["input"] = said
    write_table(run / "data" / "records.parquet", pa.Table.from_pylist(rows, schema=table.schema))
    write_report(run, ReportConfig(), title="quickstart")
    again = (run / "report" / "report.html").read_text(encoding="utf-8")
    assert without_free_texts(again) == without_free_texts(page)
    for name in ("summary.txt", "results.parquet", "figures/roc.svg", "figures/scores_student.csv"):
        assert (run / "report" / name).read_bytes() == (reported / "report" / name).read_bytes(), (
            name
        )


def test_test_records_stay_readable(reported: Path) -> None:
    written = everything_written(reported)
    rows = [
        row
        for row in read_table(reported / "data" / "records.parquet").to_pylist()
        if row["part"] == "test"
    ]
    shown = sorted(rows, key=lambda row: row["id"])[0]
    assert shown["prompt"] in written
    assert shown["response"] in written


def test_without_the_records_no_generated_text_is_shown(run: Path) -> None:
    plant(run)
    (run / "data" / "records.parquet").unlink()
    write_report(run, ReportConfig(), title="no records")
    written = everything_written(run).casefold()
    assert [piece for piece in (*PIECES, ID) if piece in written] == []
    assert "cannot be checked against the private records" in written


def test_a_private_text_is_a_mask_wherever_it_is_printed() -> None:
    text = PrivateText("Ada")
    assert [str(text), f"{text}", repr(text), "%s" % text] == [MASK] * 4  # noqa: UP031 - as a template may print it
    assert Disclosure().text(text) == MASK and Disclosure(shows_all=True).text(text) == "Ada"


def test_groups_are_numbered_unless_public_records_have_the_value_too() -> None:
    values = {
        "name": ({"Ada", "Bo", "quarter 1 (2 to 3)", "(none)"}, {"Cy"}),
        "age": ({"18", "93"}, {"40"}),
        "length": (set(), set()),
    }
    labels = [
        "name: Ada",
        "name: Bo",
        "name: Cy",
        "name: 3 other values",
        "age: quarter 4 (40 to 93)",
        "name: (none)",
        "name: quarter 1 (2 to 3)",
        "length: quarter 1 (3 to 9)",
        "length: 4",
        "test",
    ]
    names = shown_names(labels, values, Disclosure(key=b"k"), is_known=True)
    hidden = {"name: Ada", "name: Bo", "name: (none)", "name: quarter 1 (2 to 3)"}
    assert {label for label in names if label.startswith("name")} == hidden
    assert sorted(names[label] for label in hidden) == [f"group {k} of name" for k in (1, 2, 3, 4)]
    assert {label: names[label] for label in names if label not in hidden} == {
        "age: quarter 4 (40 to 93)": "age: quarter 4"
    }
    orders = {
        tuple(
            sorted(
                hidden,
                key=shown_names(
                    labels, values, Disclosure(key=bytes([k])), is_known=True
                ).__getitem__,
            )
        )
        for k in range(9)
    }
    assert len(orders) > 1  # the order is the key's, not the alphabet's


@pytest.mark.parametrize("columns", [("name", "name: of kin"), ("name: of kin", "name")])
def test_a_column_whose_name_begins_with_another_keeps_its_values_hidden(
    columns: tuple[str, str],
) -> None:
    known = {"name": ({"Bo", "of kin: Vi"}, {"Cy"}), "name: of kin": ({"Ada"}, {"Vi"})}
    values = {column: known[column] for column in columns}
    labels = ["name: of kin: Ada", "name: of kin: Vi", "name: of kin: Xi", "name: Bo", "name: Cy"]
    names = shown_names(labels, values, Disclosure(key=b"k"), is_known=True)
    assert set(names) == {*labels} - {"name: Cy"}
    assert not re.search("Ada|Vi|Xi|Bo", " ".join(names.values()))
    alone = shown_names(labels, {"name: of kin": ({"Ada"}, {"Vi"})}, Disclosure(), is_known=True)
    assert set(alone) == {"name: of kin: Ada", "name: of kin: Xi"}


def test_without_the_records_no_value_and_no_range_is_shown() -> None:
    values = {column: (set[str](), set[str]()) for column in ("age", "length")}
    labels = ["age: quarter 1 (31 to 44)", "age: 17", "age: (none)", "length: 4"]
    labels += ["length: quarter 2 (3 to 9)", "age: 3 other values", "test", ""]
    names = shown_names(labels, values, Disclosure(key=b"k"), is_known=False)
    assert sorted(names.items()) == [
        ("age: 17", "group 1 of age"),
        ("age: quarter 1 (31 to 44)", "age: quarter 1"),
        ("length: 4", "group 1 of length"),
        ("length: quarter 2 (3 to 9)", "length: quarter 2"),
    ]


def test_what_the_audit_did_not_name_itself_is_hidden() -> None:
    """A value of no record that the report knows: as private as any."""
    values = {"name": ({"Ada"}, {"Cy"}), "length": (set[str](), set[str]())}
    labels = ["name: Bo", "name: 4", "length: four", "length: 4", "name: 2 other values"]
    names = shown_names(labels, values, Disclosure(key=b"k"), is_known=True)
    assert set(names) == {"name: Bo", "name: 4", "length: four"}


def sentences_of_a_plugin(view: RunView) -> list[Table]:
    """A table with a member's secret in every place for text, beside names and numbers of ours."""
    row = (Cell(text="student"), Cell(text=SECRET, small=SECRET), Cell(text="0.25", small=ID))
    more = (Cell(text=f"{SECRET}, again"), Cell(text="private"), Cell(text="7"))
    columns = ("model", SECRET, "auc")
    return [Table(caption=f"On {SECRET}", columns=columns, rows=(row, more), note=f"Of {SECRET}.")]


@pytest.mark.parametrize("has_records", [True, False])
def test_what_a_plugin_writes_is_searched_like_answers(run: Path, has_records: bool) -> None:
    plant(run)
    texts = [name for name, kind in COLUMNS.items() if kind == "str"]
    row = Result(run="", stage="mine", model="student", metric="sure", value=0.5)
    named = replace(row, dataset="private", unit="share")
    planted = {name: SECRET for name in texts if name not in ("run", "stage", "metric")}
    of_one = replace(row, metric=f"text of {ID}")
    write_results(run / "mine" / "results.parquet", [named, replace(row, **planted), of_one])
    if not has_records:
        (run / "data" / "records.parquet").unlink()
    section = Section(name="mine", title=f"About {SECRET}", tables=sentences_of_a_plugin)
    write_report(run, ReportConfig(), title="the run", sections=[section])
    written = everything_written(run).casefold()
    assert [piece for piece in (*PIECES, ID) if piece in written] == []
    page = html.unescape((run / "report" / "report.html").read_text(encoding="utf-8"))
    mine = page.split('<section id="mine">')[1].split("</section>")[0]
    assert "student" in mine and "private" in mine and ">auc<" in mine and MASK in mine
    assert ("Of ████." in mine and "0.25" in mine) == has_records
    rows = [one for one in read_results(run / "report" / "results.parquet") if one.metric == "sure"]
    assert (rows[0].model, rows[0].dataset) == ("student", "private")
    assert rows[1].model == rows[1].reason == MASK and rows[1].metric == "sure"
    write_report(run, ReportConfig(show_text=True), title="the run", sections=[section])
    assert f"Of {SECRET}." in (run / "report" / "report.html").read_text(encoding="utf-8")
