"""Rows of a file with their place: lines, JSON arrays, Parquet, whole texts.

A file is read in pieces (cheap: bytes and tables), and a piece is parsed into rows (dear), so that
another process may do the second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from stillage.corpus.compressed import data_suffix, first_bytes, whole_file
from stillage.corpus.lines import BYTE_ORDER_MARK, decode, line_groups
from stillage.errors import DataError

TxtMode = Literal["document", "lines"]
"""What a .txt file holds: one document, or one on each line (MARK then stands for a newline)."""
MARK = "<@x(x!>"
"""A newline within a line of a plain-text corpus, as MiniLLM and DistiLLM write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row and its place; line counts from 1."""

    file: str
    line: int
    value: Mapping[str, Any] | None  # None: blank or broken
    reason: str = ""  # why it is broken

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing on the line."""
        return self.value is None and not self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that cannot be used, and why. line counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """file, line: reason."""
        return f"{self.file}, line {self.line}: {self.reason}"


class Unusable(Exception):
    """This row cannot be used, for the reason given; readers catch and count it."""


def utf8_text(value: object, column: str) -> str:
    """A text that UTF-8 can hold; None is "". Raises Unusable for any other value."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unusable(f"column {column} holds {type(value).__name__}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        place = f"at character {error.start + 1}"
        raise Unusable(f"column {column} holds half a surrogate pair {place}") from error
    return value


Value = tuple[dict[str, Any] | None, str]
"""A row's columns, or None and why there are none; (None, "") for a blank line."""
Form = Literal["objects", "texts", "document", "table", "values"]
"""What a piece holds: lines of JSON, lines of text, one text (bytes), Arrow, or Values."""
TABLE_ROWS = 256
"""Rows of a piece of a table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Rows of a file that are read and not parsed yet."""

    file: str
    line: int  # of the first row, from 1
    form: Form
    content: Any  # list[bytes], a RecordBatch, or list[Value]
    share: float  # of the file: what has been read where the piece ends

    @property
    def end(self) -> int:
        """The line after its last row."""
        return self.line + len(self.content)


def file_rows(path: Path, name: str, txt: TxtMode) -> Iterator[Row]:
    """Read the rows of a file by its format. name: what they say that they come from."""
    for piece in file_pieces(path, name, txt):
        yield from piece_rows(piece)


def data_set_rows(data: Iterable[Any], name: str) -> Iterator[Row]:
    """Read the rows of a `datasets.Dataset`, streamed or not."""
    for piece in data_set_pieces(data, name):
        yield from piece_rows(piece)


def file_pieces(
    path: Path, name: str, txt: TxtMode, columns: Sequence[str] = ()
) -> Iterator[Piece]:
    """Read a file by its format, in pieces of about a megabyte.

    columns: all that is read of a table, where it has the first of them; none: every column.
    """
    suffix = data_suffix(path)
    if suffix == ".parquet":
        yield from _parquet_pieces(path, name, columns)
    elif suffix == ".json" and first_bytes(path).removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"[":
        yield from _value_pieces(_array_values(path), name)
    elif suffix == ".txt" and txt == "document":
        content = [whole_file(path).removeprefix(BYTE_ORDER_MARK)]
        yield Piece(file=name, line=1, form="document", content=content, share=1.0)
    else:
        form: Form = "texts" if suffix == ".txt" else "objects"
        size = max(1, path.stat().st_size)
        for group in line_groups(path):
            share = min(1.0, group.position / size)
            yield Piece(file=name, line=group.first, form=form, content=group.lines, share=share)


def data_set_pieces(data: Iterable[Any], name: str) -> Iterator[Piece]:
    """Read a `datasets.Dataset` in pieces; of a streamed one nobody knows the share."""
    size = len(data) if hasattr(data, "__len__") else 0  # pyright: ignore[reportArgumentType]
    yield from _value_pieces(((dict(value), "") for value in data), name, size)


def _value_pieces(values: Iterable[Value], name: str, size: int = 0) -> Iterator[Piece]:
    """Cut values that are parsed already; size: how many there are, 0: not known."""
    rest, line = iter(values), 1
    while content := list(islice(rest, TABLE_ROWS)):
        share = (line - 1 + len(content)) / size if size else 0.0
        yield Piece(file=name, line=line, form="values", content=content, share=share)
        line += len(content)


def piece_rows(piece: Piece) -> Iterator[Row]:
    """Parse the rows of a piece."""
    for number, (value, reason) in enumerate(PARSERS[piece.form](piece.content), piece.line):
        yield Row(file=piece.file, line=number, value=value, reason=reason)


def piece_from(piece: Piece, line: int) -> Piece:
    """The rows of a piece from a line on."""
    skipped = min(max(0, line - piece.line), len(piece.content))
    if not skipped:
        return piece
    content = piece.content
    rest = content.slice(skipped) if piece.form == "table" else content[skipped:]
    return replace(piece, line=piece.line + skipped, content=rest)


def _marked_text(line: bytes) -> Value:
    """The document on one line."""
    return _text_value(line.replace(MARK.encode(), b"\n"))


def _text_value(content: bytes) -> Value:
    """A text as a row with the column `text`."""
    text, wrong = decode(content)
    return (None, wrong) if wrong else ({"text": text}, "")


def _object(line: bytes) -> Value:
    """The JSON object on one line."""
    if not line.strip():
        return None, ""
    text, wrong = decode(line)
    if wrong:
        return None, wrong
    try:
        return _checked(json.loads(text))
    except json.JSONDecodeError as error:
        return None, f"broken JSON ({error.msg} at column {error.colno})"
    except RecursionError:
        return None, "broken JSON (nested too deeply)"
    except ValueError as error:  # a number of thousands of digits
        return None, f"broken JSON ({str(error).split(';')[0]})"


def _checked(value: object) -> Value:
    """A JSON value, which must be an object."""
    if isinstance(value, dict):
        return value, ""
    return None, f"not a JSON object but a {type(value).__name__}"


def _array_values(path: Path) -> Iterator[Value]:
    """The entries of one JSON array."""
    text, wrong = decode(whole_file(path).removeprefix(BYTE_ORDER_MARK))
    if wrong:
        raise DataError("The data file is damaged.", f"{path}: {wrong}", "Save it as UTF-8.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        fix = "Mend it, or write one object per line."
        raise DataError("The JSON array is broken.", f"{path}: {error}", fix) from error
    yield from map(_checked, values)


def _parquet_pieces(path: Path, name: str, columns: Sequence[str]) -> Iterator[Piece]:
    """The rows of a Parquet file, as Arrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows, line = max(1, file.metadata.num_rows), 1
            has = file.schema_arrow.names
            is_wanted = bool(columns) and columns[0] in has
            chosen = [one for one in has if one in columns] if is_wanted else None
            for batch in file.iter_batches(batch_size=TABLE_ROWS, columns=chosen):
                share = (line - 1 + len(batch)) / rows
                yield Piece(file=name, line=line, form="table", content=batch, share=share)
                line += len(batch)
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def parquet_row_count(path: Path) -> int:
    """Count the rows of a Parquet file by its footer, without reading them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    """The error for a Parquet file that cannot be read."""
    values = f"{path}: {str(error).splitlines()[0]}"
    return DataError("The Parquet file is damaged.", values, "Write it again.")


def _batch_values(batch: Any) -> Iterator[Value]:  # noqa: ANN401 - pyarrow has no types
    """The rows of one record batch; one that is not UTF-8 costs no other."""
    try:
        values = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield None, f"invalid UTF-8 (byte {error.start + 1} of a text)"
            return
        for index in range(batch.num_rows):
            yield from _batch_values(batch.slice(index, 1))
        return
    for value in values:
        yield value, ""


def _no_parser(values: Iterable[Value]) -> Iterable[Value]:
    """Values are parsed already."""
    return values


PARSERS: Mapping[Form, Callable[[Any], Iterable[Value]]] = {
    "objects": lambda lines: map(_object, lines),
    "texts": lambda lines: map(_marked_text, lines),
    "document": lambda contents: map(_text_value, contents),
    "table": _batch_values,
    "values": _no_parser,
}
"""Form of a piece -> what parses it."""
