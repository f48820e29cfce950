"""The lines of a file and its bytes as text, in one way for all readers.

Only a newline byte ends a line, so that U+2028 inside a text is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stillage.errors import DataError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put first into a file of UTF-8."""


def file_lines(path: Path, *, keep_mark: bool = False) -> Iterator[bytes]:
    """Read the lines of a file without their ends and the byte order mark."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle):
            start = b"" if number or keep_mark else BYTE_ORDER_MARK
            yield line.removeprefix(start).removesuffix(b"\n").removesuffix(b"\r")


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
