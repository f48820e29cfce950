"""Files of targets: tables and plain lists give the same ids, and an error names the target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stillage.corpus.targets import (
    COLUMNS,
    about_targets,
    read_targets,
    target_table,
    write_targets,
)
from stillage.errors import DataError
from stillage.run.folder import write_table

ROWS = {
    "target": [0, 1],
    "tokens": [[5, 2**32 - 1], [0, 0]],
    "role": ["repeated", "random"],
    "bucket": [3, None],
    "count": [3, 1],
    "unique": [2, 1],
    "document": [7, 0],
    "start": [1, 0],
}


def test_a_table_of_targets_comes_back_with_what_made_it(tmp_path: Path) -> None:
    write_targets(tmp_path / "t.parquet", target_table(ROWS, {"seed": 3}))
    tokens_Nm, table = read_targets(tmp_path / "t.parquet")
    assert tokens_Nm.dtype == np.uint32 and tokens_Nm.tolist() == ROWS["tokens"]
    assert table.to_pydict() == ROWS and about_targets(table) == {"seed": 3}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.jsonl", "[1, 2]\n\n[3, 4]\r\n"),
        ("t.jsonl", '{"tokens": [1, 2], "note": "x"}\n{"tokens": [3, 4]}'),
        ("t.json", "[\n [1, 2],\n [3, 4]\n]\n"),
    ],
)
def test_plain_lists_are_targets(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    tokens_Nm, table = read_targets(tmp_path / name, vocab_size=5)
    assert tokens_Nm.tolist() == [[1, 2], [3, 4]]
    assert table.column_names == list(COLUMNS) and table["bucket"].null_count == 2
    assert about_targets(table) == {}


def test_one_list_of_ids_is_one_target(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("[1, 2, 3]")
    assert read_targets(tmp_path / "t.json")[0].tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("lists", "told"),
    [
        ([[1, 2], [1, 2], [3]], "target 0 has 2 tokens, target 2 has 1"),
        ([[1, 2], [1, -2]], "target 1, place 1: -2"),
        ([[1, 2], [1, 2**32]], "target 1, place 1: 4294967296"),
        ([[1, 2], [True, 2]], "target 1, place 0: True"),
        ([[1, 2], [1.0, 2]], "target 1, place 0: 1.0"),
        ([[1, 9], [10, 2]], "target 1 holds 10; vocabulary: 10"),
        ([[1, 2], []], "target 1 has no tokens"),
        ([[1, 2], "a"], "target 1: a"),
        ([], "no targets"),
    ],
)
def test_an_error_names_the_target(tmp_path: Path, lists: list[object], told: str) -> None:
    for name, text in (
        ("t.json", json.dumps(lists)),
        ("t.jsonl", "\n".join(json.dumps(ids) for ids in lists)),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=told):
            read_targets(tmp_path / name, vocab_size=10)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no file of targets"):
        read_targets(tmp_path / "t.parquet")
    (tmp_path / "t.jsonl").write_text("[1, 2]\n[1,")
    with pytest.raises(DataError, match="line 2"):
        read_targets(tmp_path / "t.jsonl")
    write_table(tmp_path / "t.parquet", pa.table({"tokens": [[1]]}))
    with pytest.raises(DataError, match="no column target, role"):
        read_targets(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:50])
    with pytest.raises(DataError, match="damaged"):
        read_targets(tmp_path / "t.parquet")
    write_targets(tmp_path / "e.parquet", target_table({name: [] for name in COLUMNS}, {}))
    with pytest.raises(DataError, match="no targets"):
        read_targets(tmp_path / "e.parquet")


def test_missing_ids_and_deep_lists_are_refused(tmp_path: Path) -> None:
    table = target_table(ROWS, {})
    holed = pa.array([[5, None], [0, 0]], pa.list_(pa.uint32()))
    write_targets(tmp_path / "t.parquet", table.set_column(1, "tokens", holed))
    with pytest.raises(DataError, match="1 ids are missing"):
        read_targets(tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.json"):
        (tmp_path / name).write_text("[" * 100_000)
        with pytest.raises(DataError, match="nested too deeply"):
            read_targets(tmp_path / name)


def test_texts_are_cut_where_something_cuts_them(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "ab"}\n{"tokens": [3, 4], "text": "xyz"}\n[1, 0]\n')

    def encode(text: str) -> list[int]:
        return ["abcd".index(letter) for letter in text]

    tokens_Nm, table = read_targets(tmp_path / "t.jsonl", 5, encode)
    assert tokens_Nm.tolist() == [[0, 1], [3, 4], [1, 0]]
    assert table.column_names == list(COLUMNS)
    with pytest.raises(DataError) as raised:
        read_targets(tmp_path / "t.jsonl", 5)
    assert "target 0: 'ab'" in raised.value.values and "--tokenizer" in raised.value.fix
    assert '[1, 2, 3] or {"tokens": [1, 2, 3]} on each line' in raised.value.fix
    for text, told in (("abc", "target 0 has 3 tokens, target 1 has 2"), ("", "target 0 has no")):
        (tmp_path / "t.jsonl").write_text(json.dumps({"text": text}) + "\n[1, 2]")
        with pytest.raises(DataError, match=told):
            read_targets(tmp_path / "t.jsonl", 5, encode)
