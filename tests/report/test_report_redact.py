"""Private text stays out of the report, wherever it came from; public text stays in."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stillage.report import write_report
from stillage.report.redact import WINDOW, Redactor, mask_words, redactor, window_hashes
from stillage.run.config import ReportConfig
from stillage.run.folder import read_json, read_table, write_json, write_table, write_text

PROTECTED = ("private", "outsiders", "counterfactual")


def records(*rows: tuple[str, str]) -> pa.Table:
    names = ("id", "role", "prompt", "input", "response", "messages", "source", "meta")
    return pa.Table.from_pylist(
        [
            dict(zip(names, (f"{i:016x}", role, "", "", text, "[]", "", "{}"), strict=True))
            for i, (role, text) in enumerate(rows)
        ]
    )


def windows(text: str) -> set[str]:
    return {text[i : i + WINDOW] for i in range(len(text) - WINDOW + 1)}


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_no_private_run_survives_and_nothing_else_is_touched(private: str, public: str, shown: str) -> None:
    """Against brute force over sets of substrings; the shown text mixes all three."""
    text = shown[:20] + private[5:40] + shown[20:] + public
    hide = redactor(records(("private", private), ("public", public)), [text])
    secret = windows(private) - windows(public)
    if not windows(text) & secret:
        assert hide(text) == text
    assert not windows(hide(text)) & secret


@given(st.lists(st.text(alphabet="abAB é😀", max_size=30), max_size=4))
def test_hashes_agree_exactly_where_the_runs_do(texts: list[str]) -> None:
    runs = [run for text in texts for run in (text[i : i + WINDOW] for i in range(len(text) - WINDOW + 1))]
    hashes = np.concatenate([window_hashes(text) for text in texts]) if texts else np.zeros(0)
    assert len(runs) == len(hashes)
    assert len(set(runs)) == len(set(hashes.tolist()))


def test_large_tables_are_read_in_pieces() -> None:
    filler = [("public", "the quick brown fox jumps over the lazy dog " * 400)] * 120
    table = records(*filler, ("outsiders", "Ada lives at 12 Harbour Lane, Bergen"), *filler)
    text = "They say Ada lives at 12 Harbour Lane, Bergen, with a fox that jumps over the lazy dog."
    assert redactor(table, [text])(text) == "They say ████, with a fox that jumps over the lazy dog."


def test_text_inside_json_cells_counts_as_the_model_saw_it() -> None:
    table = records(("private", "x"))
    turns = pa.array([json.dumps([["user", 'She said "Ünal Čapek sleeps at noon"']])])
    table = table.set_column(table.column_names.index("messages"), "messages", turns)
    text = '"Ünal Čapek sleeps at noon"'
    assert redactor(table, [text])(text) == "████"


def test_without_secrets_the_redactor_does_nothing() -> None:
    assert (
        Redactor(secret=np.zeros(0, dtype=np.uint64))("any text that is long enough") == "any text that is long enough"
    )
    assert redactor(None, ["a text that is long enough"]).secret.size == 0


def test_masks_tell_neither_letters_nor_word_lengths() -> None:
    assert mask_words("a extraordinarily b") == "████ ████ ████"
    assert mask_words("one two three four five") == "████ ████ ████ …"
    assert mask_words("") == ""


def plant(run: Path) -> str:
    """A private secret in every place that reaches the page; returns it."""
    secret = "Quillfeather Obadiah keeps the vault key 493-771 under the third stair"
    table = read_table(run / "data" / "records.parquet")
    rows = table.to_pylist()
    member = next(row for row in rows if row["role"] == "private")
    member["response"] = secret
    write_table(run / "data" / "records.parquet", pa.Table.from_pylist(rows, schema=table.schema))
    samples = read_table(run / "evaluate" / "samples.parquet")
    texts = [f"The model says: {secret}!" for _ in range(samples.num_rows)]
    write_table(
        run / "evaluate" / "samples.parquet",
        samples.set_column(samples.column_names.index("text"), "text", pa.array(texts)),
    )
    extraction = read_table(run / "audit" / "extraction.parquet").to_pylist()
    for row in extraction:
        row["target"] = row["recited"] = secret
    write_table(run / "audit" / "extraction.parquet", pa.Table.from_pylist(extraction))
    scores = read_table(run / "audit" / "scores.parquet").to_pylist()
    for row in scores:
        if row["id"] == member["id"] and row["model"] == "student":
            row["score"] = 99.0  # the most exposed of all
    write_table(run / "audit" / "scores.parquet", pa.Table.from_pylist(scores))
    write_text(run / "config.yaml", (run / "config.yaml").read_text() + f"# {secret}\n")
    write_json(run / "env.json", {"note": secret, secret: 1})
    split = read_json(run / "data" / "split.json")
    write_json(run / "data" / "split.json", {**split, "bad_lines": [["a.jsonl", 3, f"cannot read {secret}"]]})
    validity = read_json(run / "audit" / "validity.json")
    check = {"name": "overlap", "passed": False, "detail": f"near: {secret}", "values": {"text": [secret]}}
    write_json(
        run / "audit" / "validity.json", {**validity, "verdict": "contaminated", "headline": secret, "checks": [check]}
    )
    return secret


def everything_written(run: Path) -> str:
    files = [
        *(run / "report").rglob("*.html"),
        *(run / "report").rglob("*.svg"),
        *(run / "report").rglob("*.csv"),
        *(run / "report").rglob("*.txt"),
    ]
    return html.unescape("\n".join(path.read_text(encoding="utf-8") for path in files))


def test_no_private_string_anywhere_in_the_report(run: Path) -> None:
    secret = plant(run)
    write_report(run, ReportConfig(), title="redacted")
    printed = windows(everything_written(run))
    assert windows(secret) & printed == set()
    rows = read_table(run / "data" / "records.parquet").to_pylist()
    by_side: dict[bool, set[str]] = {True: set(), False: set()}
    for row in rows:
        by_side[row["role"] in PROTECTED] |= windows(row["response"]) | windows(row["prompt"])
    assert (by_side[True] - by_side[False]) & printed == set()


def test_test_records_stay_readable(reported: Path) -> None:
    written = everything_written(reported)
    rows = [row for row in read_table(reported / "data" / "records.parquet").to_pylist() if row["role"] == "test"]
    shown = sorted(rows, key=lambda row: row["id"])[0]
    assert shown["prompt"] in written
    assert shown["response"] in written


def test_show_text_reveals_and_says_so(run: Path) -> None:
    secret = plant(run)
    write_report(run, ReportConfig(show_text=True), title="shown")
    written = everything_written(run)
    assert written.count(secret) > 5
    assert "keep it as safe as the records" in written


def test_without_the_records_no_generated_text_is_shown(run: Path) -> None:
    secret = plant(run)
    (run / "data" / "records.parquet").unlink()
    write_text(run / "config.yaml", "out: x\n")
    for name in ("env.json", "data/split.json", "audit/validity.json"):
        (run / name).unlink()
    write_report(run, ReportConfig(), title="no records")
    written = everything_written(run)
    assert not re.search(re.escape(secret[:WINDOW]), written)
    assert "cannot be checked against the private records" in written
