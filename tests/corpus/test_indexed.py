"""Published indexed sets, written here byte by byte: both layouts, both kinds, every damage named."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.cli import plain_text as cli
from stillage.corpus.indexed import open_indexed, shard_prefixes
from stillage.corpus.indexed_shard import open_shard
from stillage.errors import DataError

CODES = {"uint8": 1, "int16": 3, "int32": 4, "int64": 5, "float32": 6, "uint16": 8, "uint32": 9}
LETTERS = {
    "uint8": "B",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float32": "f",
    "uint16": "H",
    "uint32": "I",
}
PAIRS = [[5, 6, 65535, 7, 2], [65535, 9, 2], [1, 65535, 2]]


def tokens_of(rows: Sequence[Sequence[int]], kind: str) -> bytes:
    return b"".join(struct.pack(f"<{len(row)}{LETTERS[kind]}", *row) for row in rows)


def mmididx(
    prefix: Path, rows: Sequence[Sequence[int]], kind: str = "uint16", documents: bool = True
) -> None:
    """The memory-mapped layout, as MiniLLM's and Megatron's readers expect it; without documents: as fairseq's does."""
    data = tokens_of(rows, kind)
    width = struct.calcsize(LETTERS[kind])
    index = b"MMIDIDX\x00\x00" + struct.pack("<QBQ", 1, CODES[kind], len(rows))
    index += struct.pack("<Q", len(rows) + 1) if documents else b""
    index += b"".join(struct.pack("<i", len(row)) for row in rows)
    start = 0
    for row in rows:
        index += struct.pack("<q", start)
        start += width * len(row)
    index += (
        b"".join(struct.pack("<q", number) for number in range(len(rows) + 1)) if documents else b""
    )
    prefix.with_name(prefix.name + ".bin").write_bytes(data)
    prefix.with_name(prefix.name + ".idx").write_bytes(index)


def tntidx(
    prefix: Path, rows: Sequence[Sequence[int]], kind: str = "int32", documents: bool = False
) -> None:
    """The older layout; the rows are stored as given."""
    width = struct.calcsize(LETTERS[kind])
    index = b"TNTIDX\x00\x00" + struct.pack("<QQQQQ", 1, CODES[kind], width, len(rows), len(rows))
    index += struct.pack("<Q", 2) if documents else b""
    index += struct.pack(f"<{len(rows) + 1}q", *range(len(rows) + 1))
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    index += struct.pack(f"<{len(offsets)}q", *offsets) + struct.pack(
        f"<{len(rows)}q", *map(len, rows)
    )
    index += struct.pack("<2q", 0, len(rows)) if documents else b""
    prefix.with_name(prefix.name + ".bin").write_bytes(tokens_of(rows, kind))
    prefix.with_name(prefix.name + ".idx").write_bytes(index)


def test_prompts_and_responses_over_shards(tmp_path: Path) -> None:
    mmididx(tmp_path / "train_0", PAIRS[:2])
    mmididx(tmp_path / "train_1", PAIRS[2:])
    (tmp_path / "train.jsonl").write_text("{}\n")
    opened = open_indexed(tmp_path, "train", vocab_size=50257)
    assert (opened.sequences, opened.tokens, opened.separator, opened.largest_id) == (
        3,
        8,
        65535,
        9,
    )
    found = [[ids.tolist() for ids in opened.pair(number)] for number in range(3)]
    assert found == [[[5, 6], [7, 2]], [[], [9, 2]], [[1], [2]]]
    assert opened.block(2).tolist() == [1, 2] and opened.block(2).dtype == np.int32
    assert "3 sequences, 8 tokens, 2 shards of uint16" in opened.summary()
    with pytest.raises(DataError, match="asked: 3"):
        opened.sequence(3)


@pytest.mark.parametrize(
    ("kind", "separator"),
    [
        ("uint16", 65535),
        ("uint32", 4294967295),
        ("int32", -1),
        ("int32", 2147483647),
        ("int64", -1),
        ("int16", -1),
    ],
)
def test_the_separator_of_every_width(kind: str, separator: int, tmp_path: Path) -> None:
    mmididx(tmp_path / "valid_0", [[3, separator, 4], [5, 6, separator, 7]], kind)
    opened = open_indexed(tmp_path, "valid")
    assert opened.separator == separator
    assert [ids.tolist() for ids in opened.pair(1)] == [[5, 6], [7]]


@pytest.mark.parametrize("documents", [True, False])
def test_blocks_have_no_separator(documents: bool, tmp_path: Path) -> None:
    rows = [[1, 2, 3], [], [4, 5, 0]]
    mmididx(
        tmp_path / "corpus", rows, "int32", documents
    )  # one pair of files without a number, as Megatron writes it
    opened = open_indexed(tmp_path, "corpus", vocab_size=6)
    assert opened.separator is None and [ids.tolist() for ids in opened.blocks()] == rows
    assert opened.shards[0].documents_D.tolist() == ([0, 1, 2, 3] if documents else [])
    with pytest.raises(DataError, match="no separator"):
        opened.pair(0)


@pytest.mark.parametrize("documents", [True, False])
def test_the_older_layout(documents: bool, tmp_path: Path) -> None:
    """fairseq stores id + 1; Megatron, whose index has documents, stores the ids."""
    shift = 0 if documents else 1
    tntidx(tmp_path / "train_0", [[5 + shift, 6 + shift], [7 + shift]], documents=documents)
    opened = open_indexed(tmp_path, "train", vocab_size=8)
    assert [ids.tolist() for ids in opened.blocks()] == [[5, 6], [7]] and opened.first_id == shift
    assert open_indexed(tmp_path, "train", first_id=0).largest_id == 7 + shift


def test_the_older_layout_that_stores_zero_does_not_count_from_one(tmp_path: Path) -> None:
    tntidx(tmp_path / "train_0", [[0, 6], [7]])
    assert [ids.tolist() for ids in open_indexed(tmp_path, "train").blocks()] == [[0, 6], [7]]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 65534)), st.lists(st.integers(0, 65534), min_size=1)),
        min_size=1,
    )
)
def test_any_pairs_come_back(rows: list[tuple[list[int], list[int]]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        mmididx(
            Path(folder) / "train_0", [[*prompt, 65535, *response] for prompt, response in rows]
        )
        opened = open_indexed(Path(folder), "train")
        found = [opened.pair(number) for number in range(opened.sequences)]
    assert [(prompt.tolist(), response.tolist()) for prompt, response in found] == rows


def edit(path: Path, offset: int, content: bytes) -> None:
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(whole)


def idx_edit(offset: int, content: bytes) -> object:
    return lambda folder: edit(folder / "train_0.idx", offset, content)


def truncate(name: str, by: int) -> object:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-by])


def append(name: str, content: bytes) -> object:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + content)


DAMAGES = [
    (idx_edit(0, b"PICKLES"), "unknown format"),
    (idx_edit(9, struct.pack("<Q", 2)), "version 2"),
    (idx_edit(17, b"\x06"), "holds fractions"),
    (idx_edit(17, b"\x63"), "type code 99"),
    (idx_edit(17, b"\x04"), r"index is damaged|integer width"),
    (idx_edit(18, struct.pack("<Q", 4)), "cut short"),
    (idx_edit(18, struct.pack("<Q", 1 << 62)), "cut short"),
    (idx_edit(26, struct.pack("<Q", 3)), "longer than its header"),
    (idx_edit(34, struct.pack("<i", -5)), "sequence 0 has -5 tokens"),
    (idx_edit(34, struct.pack("<i", 6)), "sequence 1 starts at 10; the sizes before it say 12"),
    (idx_edit(46, struct.pack("<q", 2)), "sequence 0 starts at 2"),
    (idx_edit(70, struct.pack("<q", 9)), "document boundaries"),
    (truncate("train_0.idx", 1), "cut short"),
    (truncate("train_0.idx", 90), "header alone needs"),
    (append("train_0.idx", b"\0"), "longer than its header"),
    (truncate("train_0.bin", 2), "20 bytes; 11 tokens of uint16 need 22"),
    (append("train_0.bin", b"\0\0"), "longer than its index"),
    (lambda folder: (folder / "train_0.bin").unlink(), "file of the indexed set is missing"),
    (lambda folder: (folder / "train_0.idx").unlink(), "file of the indexed set is missing"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_damage_is_named(damage: object, words: str, tmp_path: Path) -> None:
    mmididx(tmp_path / "train_0", PAIRS)
    assert callable(damage)
    damage(tmp_path)
    with pytest.raises(DataError, match=words):
        open_indexed(tmp_path, "train")


def test_another_width_that_fits_is_named(tmp_path: Path) -> None:
    mmididx(tmp_path / "train_0", [[1, 2, 3]], "int32")
    edit(tmp_path / "train_0.idx", 17, b"\x08")
    with pytest.raises(DataError, match=r"12 bytes; 3 tokens of uint16 need 6 \(it fits int32\)"):
        open_indexed(tmp_path, "train")


@settings(deadline=None, max_examples=200)
@given(offset=st.integers(0, 200), value=st.integers(0, 255), length=st.integers(0, 200))
def test_no_damage_of_an_index_is_a_crash(offset: int, value: int, length: int) -> None:
    """Any changed or missing byte of either layout's index is refused, or leaves the content as it was."""
    import tempfile

    for write in (mmididx, tntidx):
        with tempfile.TemporaryDirectory() as name:
            prefix = Path(name) / "train_0"
            write(prefix, [[3, 4], [5]])
            whole = bytearray((Path(name) / "train_0.idx").read_bytes())
            before = bytes(whole)
            whole[offset % len(whole)] = value
            changed = bytes(whole[: max(length, 1)]) if length < len(whole) // 2 else bytes(whole)
            (Path(name) / "train_0.idx").write_bytes(changed)
            try:
                shard = open_shard(prefix)
            except DataError:
                assert changed != before
                continue
            assert shard.sizes_N.tolist() == [2, 1] and len(shard.tokens_T) == 3


def test_the_older_layouts_damages(tmp_path: Path) -> None:
    tntidx(tmp_path / "train_0", [[5, 6], [7]])
    whole = (tmp_path / "train_0.idx").read_bytes()
    cases = [
        (24, struct.pack("<Q", 8), "type code 4 is 4 bytes wide; the index says 8"),
        (40, struct.pack("<Q", 3), "longer than its header|cut short"),
        (56, struct.pack("<q", 2), "does not hold token sequences"),
        (80, struct.pack("<q", 1), "sequence 1 starts at 1"),
        (88, struct.pack("<q", 4), "last offset 4"),
    ]
    for offset, content, words in cases:
        edit(tmp_path / "train_0.idx", offset, content)
        with pytest.raises(DataError, match=words):
            open_indexed(tmp_path, "train")
        (tmp_path / "train_0.idx").write_bytes(whole)


def test_width_separator_and_vocabulary_must_agree(tmp_path: Path) -> None:
    def opened(rows: Sequence[Sequence[int]], kind: str, vocab_size: int = 0) -> object:
        mmididx(tmp_path / "train_0", rows, kind)
        return open_indexed(tmp_path, "train", vocab_size=vocab_size)

    with pytest.raises(DataError, match="65535 stands 0 times in sequence 1; 1 of 2"):
        opened([[1, 65535, 2], [3, 4]], "uint16")
    with pytest.raises(DataError, match="65535 stands 2 times in sequence 0"):
        opened([[1, 65535, 65535, 2]], "uint16")
    with pytest.raises(DataError, match="no response after the separator"):
        opened([[1, 65535]], "uint16")
    with pytest.raises(DataError, match="Two values could be the separator"):
        opened([[1, -1, 2], [1, 2147483647, 2]], "int32")
    with pytest.raises(DataError, match="no token ids"):
        opened([[1, -7]], "int32")
    with pytest.raises(DataError, match="too narrow for the vocabulary"):
        opened([[1, 2]], "uint16", vocab_size=151936)
    with pytest.raises(DataError, match="largest id 9; vocabulary: 9"):
        opened([[1, 9]], "uint16", vocab_size=9)
    with pytest.raises(DataError, match="is empty"):
        opened([], "uint16")
    mmididx(tmp_path / "train_0", [[1, 2]], "uint16")
    mmididx(tmp_path / "train_1", [[1, 2]], "int32")
    with pytest.raises(DataError, match="different kinds"):
        open_indexed(tmp_path, "train")


def test_shards_are_probed_in_order_and_a_gap_is_refused(tmp_path: Path) -> None:
    for number in range(11):
        mmididx(tmp_path / f"train_{number}", [[number]])
    assert [path.name for path in shard_prefixes(tmp_path, "train")] == [
        f"train_{number}" for number in range(11)
    ]
    assert [ids.tolist() for ids in open_indexed(tmp_path, "train").blocks()] == [
        [number] for number in range(11)
    ]
    for end in (".bin", ".idx"):
        (tmp_path / f"train_3{end}").unlink()
    with pytest.raises(DataError, match="missing: 3"):
        shard_prefixes(tmp_path, "train")
    for folder, split in ((tmp_path, "valid"), (tmp_path / "no", "train")):
        with pytest.raises(DataError, match="no indexed set"):
            shard_prefixes(folder, split)


def test_import_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stillage.corpus.token_blocks import open_blocks

    mmididx(tmp_path / "train_0", [[1, 2, 3], [4, 5, 6]])
    out = tmp_path / "blocks.safetensors"
    assert cli.main("data", ["import", str(tmp_path), str(out)]) == 0
    assert "2 blocks of 3 tokens (uint16)" in capsys.readouterr().out
    assert open_blocks(out).blocks_NT.tolist() == [[1, 2, 3], [4, 5, 6]]
    mmididx(tmp_path / "train_0", PAIRS)
    with pytest.raises(DataError, match="prompts and responses, not plain text"):
        cli.main("data", ["import", str(tmp_path), str(out)])


def test_prompts_and_responses_become_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from stillage.data.bpe import train_bpe
    from stillage.data.records import read_records

    tokenizer = train_bpe(["who is ada, a clerk " * 20], 270)
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "set").mkdir()
    rows = [("who is ada", " a clerk"), ("is ada", " a\nclerk é")]
    coded = [[tokenizer.encode(text, add_special_tokens=False) for text in row] for row in rows]
    ends = [[tokenizer.eos_token_id], []]
    written = [
        [*prompt, 65535, *response, *end]
        for (prompt, response), end in zip(coded, ends, strict=True)
    ]
    mmididx(tmp_path / "set" / "train_0", written)
    out, words = tmp_path / "set.jsonl", ["import", str(tmp_path / "set")]
    assert cli.main("data", [*words, str(out), "--tokenizer", str(tmp_path / "model")]) == 0
    assert "2 records with prompt and response" in capsys.readouterr().out
    assert [(one.prompt, one.response) for one in read_records(out).records] == rows
    with pytest.raises(DataError, match="prompts and responses, not plain text"):
        cli.main("data", [*words, str(out)])
