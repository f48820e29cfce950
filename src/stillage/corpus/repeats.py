"""Find all maximal repeats of a corpus: sequences that occur twice or more.

A repeat is a sequence with two occurrences or more that no token, put before or behind it, goes
with at all of them; the borders of a document go with nothing. Occurrences may overlap, and none
crosses a border. The corpus is one, however many shards it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.merge import Joined, feed_all
from stillage.corpus.shards import ShardSet
from stillage.errors import ConfigError
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("document", "start", "length", "count", "documents")
"""First occurrence (start in tokens from the document's first), tokens, occurrences, documents
that hold one; all int64."""
HELD = 1 << 18
"""Repeats held before those that are not among the `top` are dropped."""
Progress = Callable[[int, int], None]
"""(suffixes done, of all)"""


def repeats_in_arrays(
    tokens: Array,
    offsets: Array,
    *,
    min_length: int,
    min_count: int = 2,
    top: int = 0,
    with_tokens: bool = False,
) -> pa.Table:
    """All maximal repeats of at least min_length tokens in documents in memory.

    tokens: ids of any integer type, 0 to 2^32 - 1, one axis; offsets: documents + 1, in tokens,
    0 first. Both may be strided, read-only or memory-mapped, and are not changed. Table of COLUMNS,
    by first occurrence, then length. min_count: leave out what occurs less often. top: only so many
    of the most frequent (the longer, then the earlier, of equals); 0: all. with_tokens: a column
    `tokens` (large_list<uint32>) besides. ConfigError for limits below 1 and a count below 2;
    DataError for arrays that are no documents. Time: that of the suffix array, then linear.
    """
    from stillage.corpus.indexed_parts import sorted_arrays

    check_limits(min_length, min_count, top)
    joined = sorted_arrays(np.asarray(tokens), np.asarray(offsets))
    table = joined_repeats(joined, min_length=min_length, min_count=min_count, top=top)
    return add_tokens(table, joined) if with_tokens else table


def corpus_repeats(
    corpus: ShardSet,
    *,
    min_length: int,
    min_count: int = 2,
    top: int = 0,
    with_tokens: bool = False,
    progress: Progress | None = None,
) -> pa.Table:
    """Find the repeats of an indexed corpus, all shards as one (`repeats_in_arrays`).

    DataError where a shard has no index.
    Memory: that of the merge, 8 bytes a document, and 32 for each repeat found (with `top`: for
    each of those), besides 80 for each of the longest repeat's tokens.
    """
    from stillage.corpus.indexed_parts import indexed_parts

    check_limits(min_length, min_count, top)
    joined = indexed_parts(corpus)
    table = joined_repeats(
        joined, min_length=min_length, min_count=min_count, top=top, progress=progress
    )
    return add_tokens(table, joined) if with_tokens else table


def joined_repeats(
    joined: Joined,
    *,
    min_length: int,
    min_count: int = 2,
    top: int = 0,
    progress: Progress | None = None,
) -> pa.Table:
    """The same of parts with their suffix arrays."""
    search = RepeatSearch(joined, min_length, min_count, top)
    feed_all(joined, search.feed, progress)
    return search.finish()


def check_limits(min_length: int, min_count: int, top: int) -> None:
    """Refuse limits that no repeat can have."""
    least = {"min_length": (min_length, 1), "min_count": (min_count, 2), "top": (top, 0)}
    for name, (value, smallest) in least.items():
        if value < smallest:
            what, fix = "A repeat has a token, and occurs twice.", f"Give {smallest} or more."
            raise ConfigError(what, f"{name}: {value}", fix)


class RepeatSearch:
    """Finds repeats in merged suffixes that are fed block by block."""

    def __init__(self, joined: Joined, min_length: int, min_count: int, top: int = 0) -> None:
        """Nothing fed yet; the limits are those of `repeats_in_arrays`."""
        from stillage.corpus.repeat_kernels import Walk

        self.joined = joined
        longest = joined.tokens + 1  # numbers that no loop can hold are as good as this one
        self.limits = (min(min_length, longest), min(min_count, longest))
        self.top = top
        self.walk = Walk(
            at=np.zeros(3, dtype=np.int64),
            latest_D=np.full(joined.documents, -1, dtype=np.int64),
        )
        self.stack_5S = np.zeros((5, 0), dtype=np.int64)
        self.found_4N: list[Array] = []

    def feed(self, block: tuple[Array, Array]) -> None:
        """Take the next suffixes: positions, and tokens shared with the last (int64)."""
        from stillage.corpus.repeat_kernels import Found, Open, walk_block

        most = int(self.walk.at[0]) + len(block[0])  # open intervals; so many can close
        if most > self.stack_5S.shape[1]:
            room = np.zeros((5, 2 * most), dtype=np.int64)
            room[:, : self.stack_5S.shape[1]] = self.stack_5S
            self.stack_5S = room
        out_4N = np.empty((4, most), dtype=np.int64)
        found, stack = Found(*out_4N), Open(*self.stack_5S)
        done = walk_block(self.joined.places, self.walk, stack, found, block, self.limits)
        self.found_4N.append(out_4N[:, :done].copy())
        if self.top and sum(one.shape[1] for one in self.found_4N) > 2 * self.top + HELD:
            self.found_4N = [most_frequent(self.found_4N, self.top)]

    def finish(self) -> pa.Table:
        """The table of COLUMNS; nothing can be fed after it."""
        import pyarrow as pa

        self.feed((np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)))
        if self.top:
            self.found_4N = [most_frequent(self.found_4N, self.top)]
        length_N, count_N, first_N, documents_N = np.concatenate(self.found_4N, axis=1)
        order = np.lexsort((length_N, first_N))
        first_N = first_N[order]
        offsets_D = self.joined.offsets_D
        document_N = np.searchsorted(offsets_D, first_N, side="right") - 1
        start_N = first_N - offsets_D[document_N]
        columns = (document_N, start_N, length_N[order], count_N[order], documents_N[order])
        arrays = [pa.array(values, pa.int64()) for values in columns]
        return pa.Table.from_arrays(arrays, names=list(COLUMNS))


def most_frequent(found_4N: list[Array], top: int) -> Array:
    """The most frequent of what was found; of equals the longest, then the earliest."""
    found = np.concatenate(found_4N, axis=1)
    length_N, count_N, first_N, _ = found
    return found[:, np.lexsort((first_N, -length_N, -count_N))[:top]]


def add_tokens(table: pa.Table, joined: Joined) -> pa.Table:
    """Add the column `tokens` (large_list<uint32>) to a table of repeats."""
    import pyarrow as pa

    document_N, start_N, length_N = (table[name].to_numpy() for name in COLUMNS[:3])
    first_N = joined.offsets_D[document_N] + start_N
    part_N = np.searchsorted(joined.firsts_K, first_N, side="right") - 1
    pieces = [np.zeros(0, dtype=np.uint32)]
    for part, first, length in zip(part_N, first_N, length_N, strict=True):
        at = int(first - joined.firsts_K[part])
        pieces.append(joined.parts[part].tokens_T[at : at + length].astype(np.uint32))
    edges = pa.array(np.concatenate([[0], np.cumsum(length_N)]), pa.int64())
    lists = pa.LargeListArray.from_arrays(edges, pa.array(np.concatenate(pieces), pa.uint32()))
    return table.append_column("tokens", lists)
