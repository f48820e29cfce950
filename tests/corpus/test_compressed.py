"""Compressed files: read as the plain ones are, to the last byte, and a cut is never taken for an end."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from stillage.corpus import compressed
from stillage.corpus.compressed import data_suffix, file_chunks, whole_file
from stillage.corpus.lines import file_lines, line_groups
from stillage.corpus.rows import file_pieces, file_rows, piece_from, piece_rows
from stillage.corpus.sources import check_format, open_source
from stillage.corpus.text_corpus import read_text_corpus
from stillage.data.records import read_records
from stillage.errors import DataError


def zst(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


WAYS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zst}
compressed_ways = pytest.mark.parametrize("end", [".gz", ".zst"])


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9), st.sampled_from([*WAYS]))
def test_any_bytes_in_any_members_and_chunks_are_the_lines_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], chunk: int, end: str
) -> None:
    path = tmp_path_factory.mktemp("c") / f"a.txt{end}"
    whole = b"".join(parts)
    path.write_bytes(b"".join(map(WAYS[end], parts)))  # members of gzip, frames of zstd
    expected = [
        line.removesuffix(b"\r") for line in whole.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    ]
    expected = expected[:-1] if whole.endswith(b"\n") or not whole else expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "CHUNK", chunk)
        patch.setattr(compressed, "ZSTD_CHUNK", chunk)
        assert list(file_lines(path)) == expected
        groups = list(line_groups(path))
        assert b"".join(text for text, _ in file_chunks(path)) == whole == whole_file(path)
    assert [line for group in groups for line in group.lines] == expected
    places = [group.first + at for group in groups for at in range(len(group.lines))]
    assert places == list(range(1, len(expected) + 1))


@compressed_ways
def test_every_cut_is_an_error_that_names_file_and_line(tmp_path: Path, end: str) -> None:
    content = "".join(f'{{"text": "line {n} {n * 7919 % 1000}"}}\n' for n in range(40)).encode()
    packed = WAYS[end](content[:500]) + WAYS[end](content[500:])
    first = len(WAYS[end](content[:500]))
    path = tmp_path / f"a.jsonl{end}"
    for length in range(1, len(packed)):
        path.write_bytes(packed[:length])
        if length == first:
            continue  # whole, of one member
        with pytest.raises(DataError, match="The compressed file is damaged") as caught:
            list(file_rows(path, "a", "document"))
        assert f"{path}, line " in caught.value.values and len(str(caught.value).splitlines()) == 3
    path.write_bytes(packed[: len(packed) - 5])
    with pytest.raises(DataError, match="line"):
        whole_file(path)
    path.write_bytes(b"not compressed at all")
    with pytest.raises(DataError, match=r"a\.jsonl\.\w+, line 1: "):
        list(file_rows(path, "a", "document"))


def test_a_window_beyond_what_others_read_by_default(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    text = b'{"text": "a"}\n' * 1000
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(packer.compress(text) + packer.flush())
    assert len(list(file_lines(path))) == 1000


def test_a_small_file_of_a_huge_text_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zst((b"\0" * 999 + b"\n") * 200_000))  # 200 MB in some KB
    assert max(len(text) for text, _ in file_chunks(path)) < 60_000_000
    assert sum(len(group.lines) for group in line_groups(path)) == 200_000


@compressed_ways
def test_every_format_compressed_gives_the_same_rows(tmp_path: Path, end: str) -> None:
    rows = [{"text": "one"}, {"text": "two\u2028half\x0b\x0c\x85"}]
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    array = b"\xef\xbb\xbf" + json.dumps(rows).encode()
    for name, content in {
        "a.jsonl": b"\xef\xbb\xbf" + lines,
        "b.JSON": array,
        "c.json": lines,
    }.items():
        (tmp_path / (name + end)).write_bytes(WAYS[end](content))
        (source,) = open_source(tmp_path / (name + end))
        assert [row.value for row in source.rows] == rows and source.name == name + end
        assert [row.value for row in source.rows] == rows, "a source can be read twice"
    (tmp_path / f"d.txt{end}").write_bytes(WAYS[end](b"\xef\xbb\xbfone\ntwo"))
    assert [one.name for one in open_source(tmp_path, txt="lines")] == [
        f"a.jsonl{end}", f"b.JSON{end}", f"c.json{end}", f"d.txt{end}",
    ]  # fmt: skip
    whole, lined = (
        open_source(tmp_path / f"d.txt{end}", txt=txt)[0] for txt in ("document", "lines")
    )
    assert [row.value for row in whole.rows] == [{"text": "one\ntwo"}]
    assert [row.value for row in lined.rows] == [{"text": "one"}, {"text": "two"}]
    assert list(read_text_corpus(tmp_path)) == ["\ufeffone", "two"], "as of a plain .txt"


@compressed_ways
def test_records_are_read_from_compressed_files(tmp_path: Path, end: str) -> None:
    lines = [json.dumps({"prompt": f"question {n}", "response": "yes"}) for n in range(1001)]
    path = tmp_path / f"r.jsonl{end}"
    path.write_bytes(WAYS[end]("\n\n".join(lines).encode()))
    assert len(read_records(path).records) == 1001, "blank lines are nothing, and the last counts"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="damaged"):
        read_records(path)


def test_names_of_data() -> None:
    assert data_suffix(Path("a.JSONL.GZ")) == ".jsonl" and data_suffix(Path("b.x.txt")) == ".txt"
    for name in ("a.parquet.gz", "a.csv.gz", "a.gz", "a.zst"):
        with pytest.raises(DataError, match="format of the data file is unknown"):
            check_format(Path(name), "document")


def test_a_piece_can_be_entered_at_any_line(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"text": str(n), "b": n} for n in range(600)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    for name in ("a.parquet", "a.jsonl", "a.json"):
        pieces = list(file_pieces(tmp_path / name, name, "document"))
        assert pieces[-1].share == 1.0 or name == "a.json"
        rest = [row for piece in pieces for row in piece_rows(piece_from(piece, 301))]
        assert [row.line for row in rest] == list(range(301, 601))
        assert [row.value for row in rest] == rows[300:], name
    narrow = file_pieces(tmp_path / "a.parquet", "a", "document", ("text", "no"))
    assert next(piece_rows(next(narrow))).value == {"text": "0"}
    wide = file_pieces(tmp_path / "a.parquet", "a", "document", ("no", "text"))
    assert next(piece_rows(next(wide))).value == rows[0], "what lacks is asked of the whole row"
