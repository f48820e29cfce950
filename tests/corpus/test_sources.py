"""Sources: what is read of a place, in which order, under which name, and what is said of the rest."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stillage.corpus.lines import decode, file_lines, text_lines
from stillage.corpus.rows import Row
from stillage.corpus.sources import HubPart, check_format, folder_and_part, open_source
from stillage.errors import DataError

COMMIT = "0" * 40
ROWS = [{"text": "one"}, {"text": "two\u2028half"}]


def values(rows: object) -> list[object]:
    return [row.value or row.reason for row in rows if isinstance(row, Row)]  # type: ignore[attr-defined]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in ROWS)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(ROWS).encode())
    (tmp_path / "c.json").write_text(lines, encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.PARQUET")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    for name in ("a.jsonl", "b.json", "c.json", "d.PARQUET", "saved"):
        (source,) = open_source(tmp_path / name)
        rows = list(source.rows)
        assert values(rows) == ROWS and [row.line for row in rows] == [1, 2], name
        assert source.name == name and {row.file for row in rows} == {name}


def test_text_files_are_data_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone<@x(x!>two\nthree\n")
    (tmp_path / "b.jsonl").write_text('{"text": "four"}\n')
    (source,) = open_source(tmp_path)
    assert source.name == "b.jsonl" and source.unread == {"a.txt": 0}
    document, table = open_source(tmp_path, txt="document")
    assert values(document.rows) == [{"text": "one<@x(x!>two\nthree\n"}]
    assert values(table.rows) == [{"text": "four"}] and not document.unread
    lines = open_source(tmp_path / "a.txt", txt="lines")[0]
    assert values(lines.rows) == [{"text": "one\ntwo"}, {"text": "three"}]
    with pytest.raises(DataError, match=r"ends in \.txt"):
        open_source(tmp_path / "a.txt")


def test_a_pattern_names_files_by_folder_where_there_are_several(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.jsonl").write_text('{"text": "t"}\n')
    assert [one.name for one in open_source(tmp_path / "x" / "*.jsonl")] == ["a.jsonl"]
    both = open_source(tmp_path / "?" / "*.jsonl")
    assert [one.name for one in both] == [str(tmp_path / name / "a.jsonl") for name in "xy"]
    with pytest.raises(DataError, match="No file matches"):
        open_source(tmp_path / "*.parquet")


@pytest.mark.parametrize("stream", [True, False])
def test_the_hub_is_asked_for_one_commit(stream: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    def load(name: str, subset: str | None, **options: object) -> list[dict[str, str]]:
        calls.append((name, subset, options))
        return ROWS

    monkeypatch.setattr(datasets, "load_dataset", load)
    hub = HubPart(revision=COMMIT, subset="en", split="test")
    (source,) = open_source("someone/somewhere", hub, stream=stream)
    assert not calls, "nothing is fetched before rows are asked for"
    assert values(source.rows) == ROWS and source.name == "hub:someone/somewhere/en/test"
    options = {"split": "test", "revision": COMMIT, "streaming": stream}
    assert calls == [("someone/somewhere", "en", options)]
    with pytest.raises(DataError, match="needs its commit"):
        open_source("someone/somewhere", HubPart(revision="main"), stream=stream)


def test_parts_of_a_saved_set_and_conversions(tmp_path: Path) -> None:
    parts = {name: datasets.Dataset.from_list(ROWS) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
    (source,) = open_source(f"{tmp_path}/set:test")
    assert source.name == "set:test" and source.unread == {"set:train": 2}
    assert folder_and_part(f"{tmp_path}/set:test") == (tmp_path / "set", "test")
    assert folder_and_part("C:data.jsonl") == (Path("C:data.jsonl"), "")
    with pytest.raises(DataError, match="no such part"):
        open_source(f"{tmp_path}/set:dev")
    with pytest.raises(DataError, match=r"read_csv\('x.tsv', sep='\\t'\).to_parquet"):
        check_format(Path("x.tsv"))


def test_lines_end_at_newline_bytes_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\x0bb\r\n\r\nc\xe2\x80\xa8d\re")
    assert list(text_lines(path)) == ["a\x0bb", "", "c\u2028d\re"]
    assert next(file_lines(path, keep_mark=True)).startswith(b"\xef\xbb\xbf")
    assert decode("é".encode()) == ("é", "")
    path.write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: invalid UTF-8 \(byte 0xe9 at 4\)"):
        list(text_lines(path))
