"""Pieces of a corpus as token ids, in this process or in others, always in order."""

from __future__ import annotations

import json
import os
import signal
from array import array
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.rows import Piece, Row, Unusable, piece_rows, utf8_text
from stillage.errors import DataError, Interrupted, first_line
from stillage.run.children import die_with_parent
from stillage.types import Array

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AHEAD = 3
"""Pieces in hand for each process: one that it works on, and two that wait."""
ID = "id"
"""The column of ids that need not be there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How rows become ids: by a tokenizer, or because they hold ids already."""

    rules: str  # the tokenizer as JSON; "": the column holds lists of ids
    column: str  # of texts, or of lists of ids
    id_column: str  # of the documents' names
    vocab_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be used, put aside."""

    line: int  # from 1
    reason: str
    content: bytes  # the line as it stands in the file; empty for a row of a table


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPiece:
    """The documents of a piece: document d has lengths_D[d] of the ids, in order."""

    file: str
    ids_T: Array  # uint32
    lengths_D: Array  # int64
    lines_D: Array  # int64, from 1
    names: Sequence[str]
    bad: Sequence[BadRow]
    end: int  # the line after the last row
    share: float  # of the file, read where the piece ends

    def split(self, count: int) -> tuple[EncodedPiece, EncodedPiece]:
        """Split off the first documents (at least one), with the bad rows among them."""
        tokens, line = int(self.lengths_D[:count].sum()), int(self.lines_D[count - 1]) + 1
        left = replace(
            self,
            ids_T=self.ids_T[:tokens],
            lengths_D=self.lengths_D[:count],
            lines_D=self.lines_D[:count],
            names=self.names[:count],
            bad=[row for row in self.bad if row.line < line],
            end=line,
        )
        right = replace(
            self,
            ids_T=self.ids_T[tokens:],
            lengths_D=self.lengths_D[count:],
            lines_D=self.lines_D[count:],
            names=self.names[count:],
            bad=[row for row in self.bad if row.line >= line],
        )
        return left, right


def encode_piece(encoding: Encoding, piece: Piece) -> EncodedPiece:
    """Parse the rows of a piece and encode their documents; what cannot be is bad.

    A blank line is nothing; an empty text is a document without tokens.
    """
    values, names, lines, bad = [], list[str](), list[int](), list[BadRow]()
    read = document_text if encoding.rules else document_ids
    for at, row in enumerate(piece_rows(piece)):
        if row.is_blank or (piece.form == "texts" and not piece.content[at].strip()):
            continue
        try:
            value, name = read(row, encoding), document_name(row, encoding, piece)
        except Unusable as error:
            content = piece.content[at] if piece.form in ("objects", "texts", "document") else b""
            bad.append(BadRow(line=row.line, reason=str(error), content=content))
            continue
        values.append(value)
        names.append(name)
        lines.append(row.line)
    place = f"{piece.file}, line {piece.line} to {piece.end - 1}"
    lists = encoded_texts(encoding.rules, values, place) if encoding.rules else values
    flat = array("I")  # of 4 bytes; the fastest way from lists of numbers to an array
    for ids in lists:
        flat.fromlist(ids)
    return EncodedPiece(
        file=piece.file,
        ids_T=np.frombuffer(flat, dtype=np.uint32),
        lengths_D=np.array([len(ids) for ids in lists], dtype=np.int64),
        lines_D=np.array(lines, dtype=np.int64),
        names=names,
        bad=bad,
        end=piece.end,
        share=piece.share,
    )


def encoded_texts(rules: str, texts: Sequence[str], place: str) -> list[list[int]]:
    """The ids of texts, without special tokens; a text that spells one is plain text."""
    tokenizer = loaded_tokenizer(rules)
    try:
        return [one.ids for one in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    except Exception as error:  # the library has no narrower one
        fix = "Use the tokenizer of the model, or mend the text."
        what = "The tokenizer cannot encode a text."
        raise DataError(what, f"{place}: {first_line(error)}", fix) from error


@cache
def loaded_tokenizer(rules: str) -> Tokenizer:
    """A tokenizer from its JSON, once in a process."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(rules)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def column_of(row: Row, column: str) -> object:
    """The value of a row's column. Raises Unusable where there is none."""
    if row.value is None:
        raise Unusable(row.reason)
    if column not in row.value:
        raise Unusable(f"no column {column} (it has: {', '.join(map(str, row.value)) or 'none'})")
    return row.value[column]


def document_text(row: Row, encoding: Encoding) -> str:
    """The text of a row. Raises Unusable where there is none."""
    return utf8_text(column_of(row, encoding.column), encoding.column)


def document_ids(row: Row, encoding: Encoding) -> list[int]:
    """The ids that a row holds already. Raises Unusable for any other value."""
    value = column_of(row, encoding.column)
    if value is None:
        return []
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise Unusable(f"column {encoding.column} holds no list of whole numbers")
    ends = (min(value), max(value)) if value else ()
    if wrong := [one for one in ends if not 0 <= one < encoding.vocab_size]:
        raise Unusable(f"id {wrong[0]} is outside the vocabulary of {encoding.vocab_size}")
    return value


def document_name(row: Row, encoding: Encoding, piece: Piece) -> str:
    """The id that a row gives its document; without one its place, FILE:LINE.

    A column that was asked for by name must be there: Unusable.
    """
    assert row.value is not None
    if piece.form == "document":
        return piece.file
    if encoding.id_column not in row.value and encoding.id_column == ID:
        return f"{piece.file}:{row.line}"
    value = column_of(row, encoding.id_column)
    if isinstance(value, (int, float)):
        return json.dumps(value)
    return utf8_text(value, encoding.id_column) or f"{piece.file}:{row.line}"


def encode_in_order(
    encoding: Encoding, pieces: Iterable[Piece], jobs: int
) -> Generator[EncodedPiece, None, None]:
    """Encode pieces, in their order whatever the number of processes.

    Interrupted where one of them is killed.
    """
    if jobs == 1:
        yield from (encode_piece(encoding, piece) for piece in pieces)
        return
    with processes(encoding, jobs) as pool:
        try:
            waiting: deque[Any] = deque()
            for piece in pieces:
                waiting.append(pool.submit(work, piece))
                if len(waiting) >= AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            what = "A process that tokenises was killed."
            fix = "Run the same command again, with fewer --jobs: it continues."
            values = f"jobs: {jobs}; often the memory was full"
            raise Interrupted(what, values, fix) from error


@contextmanager
def processes(encoding: Encoding, jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Start processes that encode, which end with this one however it ends."""
    pool = ProcessPoolExecutor(
        jobs,
        # a fork would copy the threads' locks; and what this process holds open
        mp_context=get_context("spawn"),
        initializer=begin,
        initargs=(encoding, os.getpid()),
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


GIVEN: list[Encoding] = []
"""In a process that encodes: how."""


def begin(encoding: Encoding, parent_pid: int) -> None:
    """Make a process ready: it encodes on one core, and leaves signals to its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches every process of a terminal
    die_with_parent(parent_pid)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    GIVEN[:] = [encoding]
    if encoding.rules:
        loaded_tokenizer(encoding.rules)


def work(piece: Piece) -> EncodedPiece:
    """Encode a piece as this process was told."""
    return encode_piece(GIVEN[0], piece)
