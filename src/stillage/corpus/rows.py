"""Rows of a file with their place: lines, JSON arrays, Parquet, whole texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stillage.corpus.lines import BYTE_ORDER_MARK, decode, file_lines
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


def file_rows(path: Path, name: str, txt: TxtMode) -> Iterator[Row]:
    """Read the rows of a file by its format. name: what they say that they come from."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        values = _parquet_values(path)
    elif suffix == ".json" and _starts_array(path):
        values = _array_values(path)
    elif suffix == ".txt" and txt == "document":
        values = iter([_text_value(path.read_bytes().removeprefix(BYTE_ORDER_MARK))])
    elif suffix == ".txt":
        mark = MARK.encode()
        values = (_text_value(line.replace(mark, b"\n")) for line in file_lines(path))
    else:
        values = (_object(line) for line in file_lines(path))
    for number, (value, reason) in enumerate(values, start=1):
        yield Row(file=name, line=number, value=value, reason=reason)


def data_set_rows(data: Iterable[Any], name: str) -> Iterator[Row]:
    """Read the rows of a `datasets.Dataset`, streamed or not."""
    for number, value in enumerate(data, start=1):
        yield Row(file=name, line=number, value=dict(value))


Value = tuple[dict[str, Any] | None, str]
"""A row's columns, or None and why there are none; (None, "") for a blank line."""


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


def _checked(value: object) -> Value:
    """A JSON value, which must be an object."""
    if isinstance(value, dict):
        return value, ""
    return None, f"not a JSON object but a {type(value).__name__}"


def _starts_array(path: Path) -> bool:
    """Whether this .json file is one array of objects, rather than an object per line."""
    with path.open("rb") as handle:
        return handle.read(4096).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")


def _array_values(path: Path) -> Iterator[Value]:
    """The entries of one JSON array."""
    text, wrong = decode(path.read_bytes().removeprefix(BYTE_ORDER_MARK))
    if wrong:
        raise DataError("The data file is damaged.", f"{path}: {wrong}", "Save it as UTF-8.")
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        fix = "Mend it, or write one object per line."
        raise DataError("The JSON array is broken.", f"{path}: {error}", fix) from error
    yield from map(_checked, values)


def _parquet_values(path: Path) -> Iterator[Value]:
    """The rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from _batch_values(batch)
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
