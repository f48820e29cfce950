"""Rows: every value with its place, and every row that is none with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.corpus.rows import (
    MARK,
    BadLine,
    Row,
    Unusable,
    data_set_rows,
    file_rows,
    parquet_row_count,
    utf8_text,
)
from stillage.errors import DataError


def rows_of_bytes(folder: Path, name: str, content: bytes) -> list[Row]:
    path = folder / name
    path.write_bytes(content)
    return list(file_rows(path, "shown", "document"))


def test_blank_lines_are_rows_of_nothing_and_keep_the_count(tmp_path: Path) -> None:
    rows = rows_of_bytes(tmp_path, "a.jsonl", b'{"a": 1}\n\n \t\n{"a": 2}\n')
    assert [row.is_blank for row in rows] == [False, True, True, False]
    assert [row.line for row in rows] == [1, 2, 3, 4] and {row.file for row in rows} == {"shown"}
    assert rows[3].value == {"a": 2}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": ', "broken JSON (Expecting value at column 7)"),
        (b"[" * 100_000, "broken JSON (nested too deeply)"),
        (
            b'{"a": ' + b"9" * 5000 + b"}",
            "broken JSON (Exceeds the limit (4300 digits) for integer string conversion: value has 5000 digits)",
        ),
        (b'"text"', "not a JSON object but a str"),
        (b"null", "not a JSON object but a NoneType"),
        (b'{"a": "\xe9"}', "invalid UTF-8 (byte 0xe9 at 8)"),
    ],
)
def test_a_broken_line_costs_none_of_its_neighbours(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    rows = rows_of_bytes(tmp_path, "a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 3}')
    assert [row.value for row in rows] == [{"a": 1}, None, {"a": 3}]
    assert rows[1].reason == reason and not rows[1].is_blank
    bad = BadLine(file="a.jsonl", line=rows[1].line, reason=rows[1].reason)
    assert str(bad) == f"a.jsonl, line 2: {reason}"


def test_a_json_file_is_an_array_or_an_object_a_line(tmp_path: Path) -> None:
    array = rows_of_bytes(tmp_path, "a.json", b' \n[{"a": 1}, 2,\n {"a": 3}]')
    assert [row.value for row in array] == [{"a": 1}, None, {"a": 3}]
    assert array[1].reason == "not a JSON object but a int" and array[2].line == 3
    assert rows_of_bytes(tmp_path, "b.json", b'{"a": 1}\n')[0].value == {"a": 1}
    assert rows_of_bytes(tmp_path, "c.json", b"[]") == []


@pytest.mark.parametrize(
    ("content", "said"),
    [(b'[{"a": 1}', "The JSON array is broken"), (b'[{"a": "\xe9"}]', "damaged")],
)
def test_an_array_that_is_broken_is_no_data_at_all(
    tmp_path: Path, content: bytes, said: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        rows_of_bytes(tmp_path, "a.json", content)
    assert "a.json" in caught.value.values and len(str(caught.value).splitlines()) == 3


def test_a_text_file_is_one_document_or_one_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(f"one{MARK}two\n\nthree".encode())
    (whole,) = file_rows(path, "a", "document")
    assert whole.value == {"text": f"one{MARK}two\n\nthree"}
    texts = [row.value for row in file_rows(path, "a", "lines")]
    assert texts == [{"text": "one\ntwo"}, {"text": ""}, {"text": "three"}]
    path.write_bytes(b"fine\ncaf\xe9")
    assert [row.reason for row in file_rows(path, "a", "lines")] == [
        "",
        "invalid UTF-8 (byte 0xe9 at 4)",
    ]


def test_parquet_rows_are_counted_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": range(3000)}), path, row_group_size=700)
    rows = list(file_rows(path, "a", "document"))
    assert parquet_row_count(path) == len(rows) == 3000
    assert rows[2999].value == {"a": 2999} and rows[2999].line == 3000


def test_a_parquet_text_that_is_no_utf8_costs_only_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    words = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, words.buffers())
    pq.write_table(pa.table({"a": text}), path)
    rows = list(file_rows(path, "a", "document"))
    assert [row.value for row in rows] == [{"a": "one"}, None, {"a": "three"}]
    assert rows[1].reason == "invalid UTF-8 (byte 1 of a text)"


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    path.write_bytes(path.read_bytes()[:-6])
    for read in (lambda: list(file_rows(path, "a", "document")), lambda: parquet_row_count(path)):
        with pytest.raises(DataError, match=r"The Parquet file is damaged") as caught:
            read()
        assert str(path) in caught.value.values and caught.value.fix == "Write it again."


def test_rows_of_a_data_set_are_copies() -> None:
    data = [{"a": 1}, {"a": 2}]
    rows = list(data_set_rows(data, "set"))
    assert [row.value for row in rows] == data and rows[0].value is not data[0]
    assert [(row.file, row.line) for row in rows] == [("set", 1), ("set", 2)]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "column c holds int, not text"),
        (["a"], "column c holds list, not text"),
        ("ab\ud800", "column c holds half a surrogate pair at character 3"),
    ],
)
def test_what_is_no_text_is_unusable(value: object, reason: str) -> None:
    with pytest.raises(Unusable) as caught:
        utf8_text(value, "c")
    assert str(caught.value) == reason
    assert utf8_text(None, "c") == "" and utf8_text("é", "c") == "é"


@given(st.lists(st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2), max_size=5))
def test_any_objects_come_back_from_every_format(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    (folder / "a.json").write_text(json.dumps(values))
    for name in ("a.jsonl", "a.json"):
        assert [row.value for row in file_rows(folder / name, name, "document")] == values
