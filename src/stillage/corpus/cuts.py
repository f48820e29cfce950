"""What is left of documents when spans of tokens are taken out of them.

split (default): each rest is a document of its own, so that no sequence of tokens arises that
nobody wrote. join: the rests of a document follow each other, as the classic tools do; across a cut
new sequences arise, and with them new repeats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from stillage.corpus.shards import Shard
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Rest = Literal["split", "join"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDocument:
    """A document of what is kept: runs of tokens of one document of before."""

    document: int  # number in the corpus before
    runs: tuple[tuple[int, int], ...]  # start and end, in tokens from the document's first
    is_whole: bool  # nothing was taken out

    @property
    def tokens(self) -> int:
        """How many tokens it has."""
        return sum(end - start for start, end in self.runs)

    def ids(self, document_T: Array) -> Array:
        """Its token ids, given those of the document of before."""
        if len(self.runs) == 1:
            return document_T[self.runs[0][0] : self.runs[0][1]]
        return np.concatenate([document_T[start:end] for start, end in self.runs])


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Spans to take out, by document; those of several rules may overlap."""

    documents_S: Array  # int64, ascending
    starts_S: Array  # int64, tokens from the document's first
    ends_S: Array

    def of(self, document: int) -> tuple[Array, Array]:
        """Starts and ends of one document's spans."""
        first, last = np.searchsorted(self.documents_S, [document, document + 1])
        return self.starts_S[first:last], self.ends_S[first:last]


def read_spans(*tables: pa.Table) -> Spans:
    """Put tables of removed spans (document, start, end) together."""
    none = np.zeros(0, dtype=np.int64)
    columns = [
        np.concatenate([none, *(table.column(name).to_numpy() for table in tables)])
        for name in ("document", "start", "end")
    ]
    order = np.lexsort((columns[1], columns[0]))
    documents_S, starts_S, ends_S = (column[order] for column in columns)
    return Spans(documents_S=documents_S, starts_S=starts_S, ends_S=ends_S)


def kept_runs(length: int, starts: Array, ends: Array) -> tuple[tuple[int, int], ...]:
    """The runs of a document that no span covers; spans are ascending by start."""
    runs, at = [], 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start > at:
            runs.append((at, start))
        at = max(at, end)
    if at < length:
        runs.append((at, length))
    return tuple(runs)


def document_pieces(document: int, length: int, spans: Spans, rest: Rest) -> list[KeptDocument]:
    """What is kept of one document: itself, its rests, or nothing."""
    starts, ends = spans.of(document)
    if not len(starts):
        return [KeptDocument(document=document, runs=((0, length),), is_whole=True)]
    runs = kept_runs(length, starts, ends)
    groups = [runs] if rest == "join" and runs else [(run,) for run in runs]
    return [KeptDocument(document=document, runs=group, is_whole=False) for group in groups]


def shard_pieces(shard: Shard, spans: Spans, rest: Rest) -> Iterator[tuple[KeptDocument, Array]]:
    """What is kept of a shard, in order, with the token ids."""
    offsets = shard.offsets_D.tolist()
    touched = set(np.unique(spans.documents_S).tolist())
    for at, (start, end) in enumerate(pairwise(offsets)):
        number, document_T = shard.first_document + at, shard.tokens_T[start:end]
        if number not in touched:
            yield KeptDocument(document=number, runs=((0, end - start),), is_whole=True), document_T
            continue
        for piece in document_pieces(number, end - start, spans, rest):
            yield piece, piece.ids(document_T)


def covered_tokens(spans: Spans) -> int:
    """How many tokens the spans cover together, each counted once."""
    if not len(spans.documents_S):
        return 0
    # Laid end to end, with a gap between documents, an end reaches beyond what came before or not.
    room = int(spans.ends_S.max()) + 1
    _, place_S = np.unique(spans.documents_S, return_inverse=True)
    starts_S = spans.starts_S + place_S * room
    ends_S = np.maximum.accumulate(spans.ends_S + place_S * room)
    before_S = np.concatenate([[0], ends_S[:-1]])
    return int((ends_S - np.maximum(starts_S, before_S)).clip(min=0).sum())
