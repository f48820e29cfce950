"""Opens data files: plain, .gz or .zst, as pieces of their bytes.

The one place of the package that opens a file of data; what is cut off is an error, never an end.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from stillage.errors import DataError

CHUNK = 1 << 20
"""Bytes of text that are handed out at a time, about."""
ZSTD_CHUNK = 1 << 12
"""Compressed bytes read at a time: so few that even a file of zeros does not fill the memory."""
ZSTD_WINDOW = 1 << 31
"""The largest window there is: what `zstd --long=31` writes, and others refuse by default."""


class CutOff(Exception):
    """A compressed file ends early or is damaged; readers say after which line."""


def data_suffix(path: Path) -> str:
    """The ending that tells the format, in lower case: .jsonl of a.jsonl.gz."""
    if path.suffix.lower() in OPENERS:
        path = path.with_suffix("")
    return path.suffix.lower()


def file_chunks(path: Path) -> Iterator[tuple[bytes, int]]:
    """Read a file as (text bytes, bytes of the file read so far).

    Raises CutOff for a compressed file that ends early or is damaged.
    """
    with path.open("rb") as handle:
        chunks = OPENERS.get(path.suffix.lower(), plain_chunks)(handle)
        while (chunk := next_chunk(chunks)) is not None:
            yield chunk, handle.tell()


def next_chunk(chunks: Iterator[bytes]) -> bytes | None:
    """The next piece, None at the end; CutOff for what the formats' libraries raise."""
    from zstandard import ZstdError

    try:
        return next(chunks, None)
    except EOFError as error:
        raise CutOff("it ends in the middle of its compressed stream") from error
    except (gzip.BadGzipFile, zlib.error, ZstdError) as error:
        raise CutOff(str(error) or type(error).__name__) from error


def plain_chunks(handle: IO[bytes]) -> Iterator[bytes]:
    """Read a file that is not compressed."""
    while chunk := handle.read(CHUNK):
        yield chunk


def gzip_chunks(handle: IO[bytes]) -> Iterator[bytes]:
    """Read a gzip file, all its members."""
    with gzip.GzipFile(fileobj=handle, mode="rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def zstd_chunks(handle: IO[bytes]) -> Iterator[bytes]:
    """Read a Zstandard file, all its frames. EOFError where the last one is cut off.

    By hand, since the library's own reader takes a cut for an end.
    """
    from zstandard import ZstdDecompressor

    maker = ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame, held, size = None, list[bytes](), 0
    while piece := handle.read(ZSTD_CHUNK):
        while piece:
            frame = frame or maker.decompressobj()
            held.append(frame.decompress(piece))
            size += len(held[-1])
            piece = frame.unused_data if frame.eof else b""
            frame = None if frame.eof else frame
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)
    if frame is not None:
        raise EOFError


OPENERS: dict[str, Callable[[IO[bytes]], Iterator[bytes]]] = {
    ".gz": gzip_chunks,
    ".zst": zstd_chunks,
}
"""Ending of a compressed file -> what reads it."""


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file's text. DataError where it is damaged."""
    try:
        return next((chunk for chunk, _ in file_chunks(path)), b"")
    except CutOff as error:
        raise cut_off(path, 1, error) from error


def whole_file(path: Path) -> bytes:
    """All of a file's text as bytes. DataError where it is cut off."""
    held: list[bytes] = []
    try:
        held.extend(chunk for chunk, _ in file_chunks(path))
    except CutOff as error:
        raise cut_off(path, 1 + sum(chunk.count(b"\n") for chunk in held), error) from error
    return b"".join(held)


def cut_off(path: Path, line: int, error: CutOff) -> DataError:
    """The error for a compressed file that can be read before `line` alone."""
    fix = "Copy it anew, or compress it again from its source."
    values = f"{path}, line {line}: {error}"
    return DataError("The compressed file is damaged.", values, fix)
