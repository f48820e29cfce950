"""The documents of all sources as one stream of ids, cut where a shard is full."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.encode import BadRow, EncodedPiece, Encoding, encode_in_order
from stillage.corpus.rows import Piece, piece_from
from stillage.corpus.sources import Source
from stillage.corpus.unfinished import START, Position, ShardDone
from stillage.errors import DataError, Interrupted
from stillage.run.stop import Stop
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Tell = Callable[[Mapping[str, Any]], None]
"""tell(facts): share of the sources (0 to 1), documents done, tokens_per_s, eta_s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """How it is done, which changes nothing in the shards."""

    max_bad: int = 0
    jobs: int = 1
    stop: Stop = field(default_factory=Stop)
    tell: Tell = lambda facts: None


class DocumentStream:
    """The encoded pieces of all sources from a place on.

    What a shard leaves of a piece is put back.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        done: Sequence[ShardDone],
        encoding: Encoding,
        running: Running,
    ) -> None:
        """Begin after the finished shards."""
        self.numbers = {source.name: number for number, source in enumerate(sources)}
        self.position = done[-1].after if done else START
        pieces = pieces_from(sources, self.position)
        self.encoded = encode_in_order(encoding, pieces, running.jobs)
        self.rest: deque[EncodedPiece] = deque()
        self.running = running
        self.bad = sum(shard.bad for shard in done)
        sizes = [source.size for source in sources]
        self.meter = Meter(sizes, sum(shard.documents for shard in done))

    def next(self) -> EncodedPiece | None:
        """The next piece, None at the end. DataError for one bad row too many."""
        return self.rest.popleft() if self.rest else self.fetch()

    def fetch(self) -> EncodedPiece | None:
        """The next piece that nobody has seen yet."""
        if self.running.stop():
            fix = "Run the same command again: it continues."
            raise Interrupted("Tokenising was stopped.", "finished shards stay", fix)
        piece = next(self.encoded, None)
        if piece is not None:
            self.check_bad(piece)
            self.running.tell(self.meter.facts(self.numbers[piece.file], piece))
        return piece

    def check_bad(self, piece: EncodedPiece) -> None:
        """Count bad rows. DataError at the first beyond those that may be put aside."""
        allowed = self.running.max_bad
        if self.bad + len(piece.bad) > allowed:
            row = piece.bad[max(0, allowed - self.bad)]
            what = "A row of the sources cannot be used."
            if allowed:
                what = f"A row of the sources cannot be used, after {allowed} that were put aside."
            fix = "Mend or remove it; or raise --max-bad to put such rows aside, "
            fix += f"counted and listed (now {allowed})."
            raise DataError(what, f"{piece.file}, line {row.line}: {row.reason}", fix)
        self.bad += len(piece.bad)

    def has_more(self) -> bool:
        """Whether there is a document left."""
        while not any(len(piece.lengths_D) for piece in self.rest):
            if (piece := self.fetch()) is None:
                return False
            self.rest.append(piece)
        return True

    def close(self) -> None:
        """End the processes."""
        self.encoded.close()


def pieces_from(sources: Sequence[Source], start: Position) -> Iterator[Piece]:
    """The pieces of all sources from a place on, each under its source's name."""
    for number, source in enumerate(sources):
        if number < start.source:
            continue
        line = start.line if number == start.source else 1
        for piece in source.pieces:
            if piece.end > line:
                yield replace(piece_from(piece, line), file=source.name)


@dataclass(kw_only=True, slots=True)
class Contents:
    """What a shard holds besides its ids, piece by piece."""

    tables: list[pa.Table] = field(default_factory=list)  # where its documents came from
    bad: list[tuple[str, BadRow]] = field(default_factory=list)  # source, row put aside
    empty: int = 0

    def add(self, piece: EncodedPiece) -> None:
        """Take a piece in, but for its ids."""
        self.tables.append(document_columns(piece.names, piece.file, piece.lines_D))
        self.bad += [(piece.file, row) for row in piece.bad]
        self.empty += int(np.count_nonzero(piece.lengths_D == 0))


def shard_batches(
    stream: DocumentStream, shard_tokens: int, contents: Contents
) -> Iterator[tuple[Array, Array]]:
    """The ids and lengths of one shard's documents.

    What else it holds goes to `contents`. It takes documents until the next would make it longer
    than shard_tokens; at least one.
    """
    room, is_empty = shard_tokens, True
    while (piece := stream.next()) is not None:
        fits = documents_that_fit(piece.lengths_D, room, is_empty=is_empty)
        is_full = fits < len(piece.lengths_D)
        if is_full and not fits:
            stream.rest.appendleft(piece)
            return
        if is_full:
            piece, rest = piece.split(fits)
            stream.rest.appendleft(rest)
        contents.add(piece)
        stream.position = Position(source=stream.numbers[piece.file], line=piece.end)
        yield piece.ids_T, piece.lengths_D
        if is_full:
            return
        room -= len(piece.ids_T)
        is_empty = is_empty and not len(piece.lengths_D)


def documents_that_fit(lengths_D: Array, room: int, *, is_empty: bool) -> int:
    """How many of the next documents fit; one at least into an empty shard."""
    fits = int(np.searchsorted(np.cumsum(lengths_D), room, side="right")) if room >= 0 else 0
    return max(fits, 1) if is_empty and len(lengths_D) else fits


def document_columns(names: Sequence[str], file: str, lines_D: Array) -> pa.Table:
    """Where documents of one file came from: id, source, line."""
    import pyarrow as pa

    return pa.table(
        {
            "id": pa.array(names, pa.string()),
            "source": pa.repeat(pa.scalar(file, pa.string()), len(names)),
            "line": pa.array(lines_D, pa.int64()),
        }
    )


def document_rows(contents: Contents, first: int) -> pa.Table:
    """Where a shard's documents came from; they are numbered from `first` on."""
    import pyarrow as pa

    table = pa.concat_tables(contents.tables).combine_chunks()
    numbers = pa.array(np.arange(first, first + len(table), dtype=np.int64))
    return table.add_column(0, "document", numbers)


def bad_rows(bad: Sequence[tuple[str, BadRow]]) -> pa.Table:
    """The rows that were put aside, as they stand in their files."""
    import pyarrow as pa

    return pa.table(
        {
            "source": pa.array([source for source, _ in bad], pa.string()),
            "line": pa.array([row.line for _, row in bad], pa.int64()),
            "reason": pa.array([row.reason for _, row in bad], pa.string()),
            "content": pa.array([row.content for _, row in bad], pa.binary()),
        }
    )


class Meter:
    """How fast it goes, and how far: by the bytes of the sources."""

    def __init__(self, sizes: Sequence[int], documents: int) -> None:
        """sizes: bytes of each source; 0 where nobody knows. documents: done before."""
        self.before = np.cumsum([0, *sizes])
        self.is_known = all(sizes)
        self.documents, self.tokens = documents, 0
        self.started_s = time.monotonic()
        self.first_share = None if documents else 0.0  # of a continued run: where it goes on

    def facts(self, source: int, piece: EncodedPiece) -> dict[str, Any]:
        """What is done once a piece is: documents, tokens/s, share, seconds left."""
        self.documents += len(piece.lengths_D)
        self.tokens += len(piece.ids_T)
        took_s = max(time.monotonic() - self.started_s, 1e-9)
        facts: dict[str, Any] = {"doing": "{} documents", "done": self.documents}
        facts["tokens_per_s"] = self.tokens / took_s
        if not self.is_known:
            return facts
        start, end = self.before[source : source + 2]
        facts["share"] = float((start + (end - start) * piece.share) / self.before[-1])
        if self.first_share is None:
            self.first_share = facts["share"]
        elif facts["share"] > self.first_share:
            left = (1 - facts["share"]) / (facts["share"] - self.first_share)
            facts["eta_s"] = round(took_s * left, 1)
        return facts
