"""Which documents of a corpus each task of a scan reads: all of them, each once.

Parts hold whole documents and follow from the corpus and `tokens_per_part` alone, whatever the
number of processes. So does the sample: each document is drawn for itself, by its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stillage.corpus.shards import ShardSet
from stillage.rng import generator
from stillage.types import Array

SMALLEST_PART, LARGEST_PART = 1 << 21, 1 << 26  # tokens: below a second, and a minute or so
PARTS_WANTED = 512
"""How many parts a middling corpus has: enough to share out, to count on, and to lose one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Documents first to end - 1 of a shard: what one task scans."""

    number: int
    shard: int  # its place in the corpus
    first: int  # document, counted from the shard's first
    end: int


def tokens_per_part_for(tokens: int) -> int:
    """How many tokens a part of a corpus of so many has where nobody says."""
    return min(max(tokens // PARTS_WANTED, SMALLEST_PART), LARGEST_PART)


def plan_parts(corpus: ShardSet, tokens_per_part: int) -> list[Part]:
    """Cut a corpus into parts of whole documents, in order; every document is in one.

    A part ends before the document that would take it above tokens_per_part; a longer document is
    a part by itself. A shard without documents has no part.
    """
    parts: list[Part] = []
    for place, shard in enumerate(corpus.shards):
        for first, end in cut(shard.offsets_D, tokens_per_part):
            parts.append(Part(number=len(parts), shard=place, first=first, end=end))
    return parts


def cut(offsets_D: Array, tokens_per_part: int) -> Iterator[tuple[int, int]]:
    """Yield the documents (first, end) of each part of a shard."""
    first, documents = 0, len(offsets_D) - 1
    while first < documents:
        limit = int(offsets_D[first]) + tokens_per_part
        # the last border within the limit: empty documents at it are taken along
        end = max(first + 1, int(np.searchsorted(offsets_D, limit, side="right")) - 1)
        yield first, end
        first = end


def is_in_sample(seed: int, share: float, first: int, end: int) -> Array:
    """Which of the documents first to end - 1 of a corpus a sample holds: a bool each.

    Each is drawn with probability `share`, independently; document d takes the d-th number of the
    generator, so that no part or shard decides anything.
    """
    if share >= 1:
        return np.ones(end - first, dtype=bool)
    numbers = generator(seed, "scan sample")
    assert isinstance(numbers.bit_generator, np.random.PCG64)
    numbers.bit_generator.advance(first)
    return numbers.random(end - first) < share


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What is to be read, counted from the shards themselves, not from the parts."""

    documents: int
    tokens: int
    longest: int  # tokens of the longest document


def extent(corpus: ShardSet, seed: int, share: float) -> Extent:
    """Count the documents and tokens of a corpus, or of a sample of it."""
    counts = [
        np.diff(shard.offsets_D)[
            is_in_sample(seed, share, shard.first_document, shard.first_document + shard.documents)
        ]
        for shard in corpus.shards
    ]
    return Extent(
        documents=sum(len(lengths) for lengths in counts),
        tokens=sum(int(lengths.sum()) for lengths in counts),
        longest=max((int(lengths.max(initial=0)) for lengths in counts), default=0),
    )


def tokens_in(corpus: ShardSet, parts: Iterable[Part]) -> int:
    """Tokens of some parts, those that a sample leaves out included."""
    return sum(
        int(corpus.shards[part.shard].offsets_D[part.end])
        - int(corpus.shards[part.shard].offsets_D[part.first])
        for part in parts
    )
