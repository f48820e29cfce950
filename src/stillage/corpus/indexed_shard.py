"""One `.bin`/`.idx` pair as fairseq and Megatron write them, checked.

All integers are little-endian. The index of the memory-mapped layout (MMIDIDX):
    9 bytes magic, u64 version = 1, u8 type code, u64 N, [u64 D,]
    i32 sizes[N], i64 byte_offsets[N], [i64 documents[D]]
and of the older layout (TNTIDX):
    8 bytes magic, u64 version = 1, u64 type code, u64 width, u64 N, u64 S, [u64 D,]
    i64 dim_offsets[N+1], i64 offsets[N+1] (in tokens), i64 sizes[S], [i64 documents[D]]
What stands in brackets is Megatron's (and MiniLLM's), not fairseq's; the length of the file tells
which it is. fairseq writes the tokens of the older layout as id + 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

Layout = Literal["MMIDIDX", "MMIDIDX without documents", "TNTIDX", "TNTIDX without documents"]
TYPES: dict[int, type[np.integer]] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    8: np.uint16,
    9: np.uint32,
    10: np.uint64,
}
FLOATS = (6, 7)
REDO = "Copy or make the .bin and .idx again, as a pair."


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedShard:
    """An open pair of files; its tokens are memory-mapped.

    Sequence n is tokens_T[starts_N[n] : starts_N[n] + sizes_N[n]], as stored (separators and all).
    """

    name: str
    layout: Layout
    tokens_T: Array  # in the file's own type
    starts_N: Array  # int64, in tokens
    sizes_N: Array  # int64, in tokens
    documents_D: Array  # int64: first sequence of each document, then N; empty: none


def open_shard(prefix: Path) -> IndexedShard:
    """Open `<prefix>.bin` and `<prefix>.idx`, checked against each other.

    Raises DataError, with the numbers that clash, for a file that is missing or damaged.
    """
    index, data = (prefix.with_name(prefix.name + end) for end in (".idx", ".bin"))
    missing = [str(path) for path in (index, data) if not path.is_file()]
    if missing:
        values = f"looked for: {', '.join(missing)}"
        raise DataError("A file of the indexed set is missing.", values, REDO)
    content = index.read_bytes()
    if content.startswith(b"MMIDIDX\0\0"):
        layout, dtype, sizes_N, offsets_N, documents_D = _memory_mapped(index, content)
        width = np.dtype(dtype).itemsize
    elif content.startswith(b"TNTIDX\0\0"):
        layout, dtype, sizes_N, offsets_N, documents_D = _torch_net(index, content)
        width = 1  # offsets count tokens
    else:
        values = f"{index} starts with {content[:9]!r}"
        fix = "Known: MMIDIDX and TNTIDX (fairseq, Megatron)."
        raise DataError("The index is of an unknown format.", values, fix)
    starts_N = _check_sizes(index, sizes_N, offsets_N, width)
    _check_documents(index, documents_D, len(sizes_N))
    tokens = int(sizes_N.sum())
    _check_data(data, tokens, np.dtype(dtype))
    kind = np.dtype(dtype).newbyteorder("<")
    tokens_T = np.memmap(data, dtype=kind, mode="r") if tokens else np.empty(0, dtype=kind)
    arrays = {"tokens_T": tokens_T, "starts_N": starts_N, "sizes_N": sizes_N}
    return IndexedShard(name=prefix.name, layout=layout, documents_D=documents_D, **arrays)


Parsed = tuple[Layout, type[np.integer], Array, Array, Array]
"""(layout, type of a token, sizes_N, offsets_N, documents_D)"""


def _memory_mapped(index: Path, content: bytes) -> Parsed:
    """Read the index of the memory-mapped layout."""
    version, code, count = _header(index, content, 9, "<QBQ")
    dtype = _token_type(index, version, code)
    documents, offset = _documents(index, content, count, 26, 26 + 12 * count)
    layout: Layout = "MMIDIDX without documents" if offset == 26 else "MMIDIDX"
    sizes_N = np.frombuffer(content, "<i4", count, offset).astype(np.int64)
    offsets_N = np.frombuffer(content, "<i8", count, offset + 4 * count)
    documents_D = np.frombuffer(content, "<i8", documents, offset + 12 * count)
    return layout, dtype, sizes_N, offsets_N, documents_D


def _torch_net(index: Path, content: bytes) -> Parsed:
    """Read the index of the older layout, whose entries must have one dimension."""
    version, code, width, count, sizes = _header(index, content, 8, "<QQQQQ")
    dtype = _token_type(index, version, code)
    if width != np.dtype(dtype).itemsize:
        wide = f"type code {code} is {np.dtype(dtype).itemsize} bytes wide"
        values = f"{index}: {wide}; the index says {width}"
        raise DataError("The index contradicts itself.", values, REDO)
    offset = _documents(index, content, count, 48, 48 + 8 * (2 * (count + 1) + sizes))[1]
    layout: Layout = "TNTIDX without documents" if offset == 48 else "TNTIDX"
    dims, offsets, sizes_N, documents_D = np.split(
        np.frombuffer(content, "<i8", offset=offset), np.cumsum([count + 1, count + 1, sizes])
    )
    if sizes != count or not np.array_equal(dims, np.arange(count + 1)):
        values = f"{index}: {count} entries with {sizes} dimensions in all"
        what = "The indexed set does not hold token sequences."
        raise DataError(what, values, "Give a set of token ids.")
    if count and offsets[-1] != sizes_N.sum():
        values = f"{index}: last offset {offsets[-1]}; sum of sizes {sizes_N.sum()}"
        raise DataError("The index contradicts itself.", values, REDO)
    return layout, dtype, sizes_N, offsets[:-1], documents_D


def _header(index: Path, content: bytes, offset: int, form: str) -> tuple[int, ...]:
    """The fields of a header, or DataError when the file ends before them."""
    end = offset + struct.calcsize(form)
    if len(content) < end:
        values = f"{index}: {len(content)} bytes; the header alone needs {end}"
        raise DataError("The index is cut short.", values, REDO)
    return struct.unpack_from(form, content, offset)


def _token_type(index: Path, version: int, code: int) -> type[np.integer]:
    """The integer type of the tokens."""
    if version != 1:
        values = f"{index}: version {version}; known: 1"
        raise DataError("The index is of an unknown version.", values, REDO)
    if code not in TYPES:
        fractions = "The indexed set holds fractions, not token ids."
        what = fractions if code in FLOATS else "The type code is unknown."
        values = f"{index}: type code {code}; known: {', '.join(map(str, TYPES))}"
        raise DataError(what, values, REDO)
    return TYPES[code]


def _documents(
    index: Path, content: bytes, sequences: int, header: int, short: int
) -> tuple[int, int]:
    """How many document boundaries an index has, and where its arrays begin.

    header: bytes before the number of documents; short: bytes of an index that has none.
    """
    if len(content) == short:
        return 0, header
    (documents,) = _header(index, content, header, "<Q")
    expected = short + 8 + 8 * documents
    if len(content) != expected:
        longer = "The index is longer than its header says."
        what = "The index is cut short." if len(content) < expected else longer
        need = f"{sequences} sequences, {documents} documents need {expected}"
        values = f"{index}: {len(content)} bytes; {need} (or {short} without documents)"
        raise DataError(what, values, REDO)
    return documents, header + 8


def _check_sizes(index: Path, sizes_N: Array, offsets_N: Array, width: int) -> Array:
    """The starts in tokens. DataError where a sequence is not right after the last."""
    if len(sizes_N) and sizes_N.min() < 0:
        worst = int(sizes_N.argmin())
        values = f"{index}: sequence {worst} has {sizes_N[worst]} tokens"
        raise DataError("The index is damaged.", values, REDO)
    starts_N = np.cumsum(sizes_N) - sizes_N
    wrong = np.flatnonzero(offsets_N != starts_N * width)
    if len(wrong):
        at = int(wrong[0])
        said = f"the sizes before it say {starts_N[at] * width} ({len(wrong)} such)"
        values = f"{index}: sequence {at} starts at {offsets_N[at]}; {said}"
        raise DataError("The index is damaged.", values, REDO)
    return starts_N


def _check_documents(index: Path, documents_D: Array, count: int) -> None:
    """Refuse document boundaries that are not ascending sequence numbers."""
    good = len(documents_D) == 0 or (documents_D[0] >= 0 and documents_D[-1] <= count)
    if not good or (np.diff(documents_D) < 0).any():
        values = f"{index}: boundaries {documents_D[:3].tolist()}..., {count} sequences"
        raise DataError("The document boundaries of the index are damaged.", values, REDO)


def _check_data(data: Path, tokens: int, kind: np.dtype) -> None:
    """Refuse a .bin that is not exactly the tokens of the index."""
    actual, expected = data.stat().st_size, tokens * kind.itemsize
    if actual == expected:
        return
    widths = ("uint16", "int32", "int64")
    fits = [one for one in widths if tokens and actual == tokens * np.dtype(one).itemsize]
    values = f"{data}: {actual} bytes; {tokens} tokens of {kind.name} need {expected}"
    if fits:
        what = "The .bin has another integer width than its index says."
        raise DataError(what, f"{values} (it fits {fits[0]})", REDO)
    longer = "The .bin is longer than its index says."
    raise DataError("The .bin is cut short." if actual < expected else longer, values, REDO)
