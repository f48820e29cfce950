"""The lines of a file and its bytes as text, in one way for all readers.

Only a newline byte ends a line, so that U+2028 inside a text is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillage.corpus.compressed import CutOff, cut_off, file_chunks
from stillage.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put first into a file of UTF-8."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineGroup:
    """Some lines of a file, one after the other, without their ends."""

    first: int  # its number, from 1
    lines: list[bytes]
    position: int  # bytes of the file read so far, as it lies on the disk


def line_groups(path: Path, *, keep_mark: bool = False) -> Iterator[LineGroup]:
    """Read a file's lines, a megabyte at a time, without ends and byte order mark.

    DataError, with the line, for a compressed file that is cut off.
    """
    count, open_line, position = 0, list[bytes](), 0  # open_line: what of it has been read
    start = b"" if keep_mark else BYTE_ORDER_MARK
    try:
        for chunk, position in file_chunks(path):
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                open_line.append(chunk)
                continue
            lines = _without_ends(b"".join([*open_line, head]), start)
            yield LineGroup(first=count + 1, lines=lines, position=position)
            count, start, open_line = count + len(lines), b"", [tail]
    except CutOff as error:
        raise cut_off(path, count + 1, error) from error
    if last := b"".join(open_line):
        yield LineGroup(first=count + 1, lines=_without_ends(last, start), position=position)


def _without_ends(content: bytes, start: bytes) -> list[bytes]:
    """LineGroup without newlines, the carriage return before one, and what the file starts with."""
    return [line.removesuffix(b"\r") for line in content.removeprefix(start).split(b"\n")]


def file_lines(path: Path, *, keep_mark: bool = False) -> Iterator[bytes]:
    """Read the lines of a file without their ends and the byte order mark."""
    for group in line_groups(path, keep_mark=keep_mark):
        yield from group.lines


def decode(content: bytes) -> tuple[str, str]:
    """Decode UTF-8: (text, ""), or ("", which byte is none)."""
    try:
        return content.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return "", f"invalid UTF-8 (byte 0x{content[error.start]:02x} at {error.start + 1})"


def text_lines(path: Path, *, keep_mark: bool = False) -> Iterator[str]:
    """Read the lines of a text file. DataError where one is not UTF-8."""
    for number, line in enumerate(file_lines(path, keep_mark=keep_mark), start=1):
        text, wrong = decode(line)
        if wrong:
            fix = "Save it as UTF-8, or write it again from its source."
            raise DataError("The text file is damaged.", f"{path}, line {number}: {wrong}", fix)
        yield text
