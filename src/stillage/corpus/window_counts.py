"""Every distinct window of so many tokens whose count lies in a range.

A shard's suffix array has equal windows side by side. Copies may lie in different shards, once in
each: so every window first adds to one of many small counters, chosen by its hash. No counter is
below the count of a window that chose it, so what stands at a low one is left out, and nothing else
is. What stays is put together over the shards, by hash and then by its tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stillage.corpus.shard_index import ShardIndex, open_index
from stillage.corpus.shards import Shard, ShardSet
from stillage.types import Array

COUNTER_BITS = (16, 30)  # of the number of counters, at least and at most; a byte each
ROWS = 1 << 16  # windows whose tokens are held at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Distinct windows, one entry each."""

    shard_C: Array  # int64: in which shard one copy stands
    place_C: Array  # int64: where it begins there
    count_C: Array  # int64: copies over all shards
    hash_C: Array  # uint64: of the tokens


def counted_windows(
    corpus: ShardSet,
    length: int,
    span: tuple[int, int],
    *,
    hash_bits: int = 64,
    tell: Callable[[int, int], object] = lambda tokens, of: None,
) -> Windows:
    """Find the distinct windows that occur span[0] to span[1] times in all.

    Memory: a byte for each token of a shard, up to 1 GiB of counters, and 32 bytes for each window
    of a shard that stays. hash_bits: fewer make more windows meet by chance. tell: is told how
    many tokens are read, of how many. DataError without an index.
    """
    indexes = [open_index(shard) for shard in corpus.shards]
    from stillage.corpus import window_kernels as kernels

    least, single = min(span[0], kernels.FULL), len(corpus.shards) == 1
    needs_marks = not single or least == 1
    none = np.zeros(0, dtype=np.uint8)
    bits = min(max((4 * corpus.tokens).bit_length(), COUNTER_BITS[0]), COUNTER_BITS[1])
    counters = np.zeros(1 << (bits if needs_marks else 0), dtype=np.uint8)
    read, of = 0, corpus.tokens * (2 if needs_marks else 1)
    for shard in corpus.shards if needs_marks else ():
        tokens_T = np.asarray(shard.tokens_T)
        kernels.pass_over(tokens_T, shard.offsets_D, length, counters, none, 0)
        read += len(tokens_T)
        tell(read, of)
    parts = []
    for number, (shard, index) in enumerate(zip(corpus.shards, indexes, strict=True)):
        marks_T = none
        if needs_marks:
            tokens_T = np.asarray(shard.tokens_T)
            marks_T = np.zeros(len(tokens_T), dtype=np.uint8)
            if len(tokens_T):
                kernels.pass_over(tokens_T, shard.offsets_D, length, counters, marks_T, least)
        parts.append(shard_windows((shard, index, number), length, span, marks_T, hash_bits))
        read += len(shard.tokens_T)
        tell(read, of)
    alone = Windows(
        shard_C=np.concatenate([part.shard_C for part in parts]),
        place_C=np.concatenate([part.place_C for part in parts]),
        count_C=np.concatenate([part.count_C for part in parts]),
        hash_C=np.concatenate([part.hash_C for part in parts]),
    )
    together = alone if single else merged_windows(corpus.shards, alone, length)
    inside = (together.count_C >= span[0]) & (together.count_C <= span[1])
    return taken(together, np.flatnonzero(inside))


def shard_windows(
    opened: tuple[Shard, ShardIndex, int],
    length: int,
    span: tuple[int, int],
    marks_T: Array,
    hash_bits: int,
) -> Windows:
    """Find a shard's distinct windows that may qualify (`kernels.collect_windows`).

    opened: the shard, its index, its number.
    """
    from stillage.corpus import window_kernels as kernels

    shard, index, number = opened
    sorted_T = np.asarray(index.suffixes_T), np.asarray(index.lcp_T)
    empty = np.zeros(0, dtype=np.int64)
    found = kernels.collect_windows(*sorted_T, length, span, marks_T, empty, empty)
    place_C, count_C = np.empty(found, dtype=np.int64), np.empty(found, dtype=np.int64)
    kernels.collect_windows(*sorted_T, length, span, marks_T, place_C, count_C)
    hash_C = np.empty(found, dtype=np.uint64)
    kernels.hash_windows(np.asarray(shard.tokens_T), place_C, length, hash_C)
    return Windows(
        shard_C=np.full(found, number),
        place_C=place_C,
        count_C=count_C,
        hash_C=hash_C >> np.uint64(64 - hash_bits),
    )


def taken(windows: Windows, rows: Array) -> Windows:
    """Some of the windows, in this order."""
    return Windows(
        shard_C=windows.shard_C[rows],
        place_C=windows.place_C[rows],
        count_C=windows.count_C[rows],
        hash_C=windows.hash_C[rows],
    )


def merged_windows(shards: tuple[Shard, ...], windows: Windows, length: int) -> Windows:
    """Add up the counts of equal windows of different shards."""
    if not len(windows.hash_C):
        return windows
    windows = taken(windows, np.argsort(windows.hash_C, kind="stable"))
    starts_here = np.concatenate([[True], windows.hash_C[1:] != windows.hash_C[:-1]])
    group_C = np.cumsum(starts_here) - 1
    first_G = np.flatnonzero(starts_here)
    others = np.flatnonzero(~starts_here)
    met = set()  # groups of windows that differ: they met by chance
    for start in range(0, len(others), ROWS):
        rows = others[start : start + ROWS]
        firsts = first_G[group_C[rows]]
        differ = window_tokens(shards, taken(windows, rows), length) != window_tokens(
            shards, taken(windows, firsts), length
        )
        met.update(group_C[rows[differ.any(axis=1)]].tolist())
    order, key_C = np.arange(len(group_C)), np.zeros(len(group_C), dtype=np.int64)
    for group in met:
        rows = np.flatnonzero(group_C == group)
        tokens_Cm = window_tokens(shards, taken(windows, rows), length)
        key_C[rows] = np.unique(tokens_Cm, axis=0, return_inverse=True)[1].ravel()
        order[rows] = rows[np.argsort(key_C[rows], kind="stable")]
    if met:
        windows, group_C, key_C = taken(windows, order), group_C[order], key_C[order]
        changes = (group_C[1:] != group_C[:-1]) | (key_C[1:] != key_C[:-1])
        first_G = np.flatnonzero(np.concatenate([[True], changes]))
    return Windows(
        shard_C=windows.shard_C[first_G],
        place_C=windows.place_C[first_G],
        count_C=np.add.reduceat(windows.count_C, first_G),
        hash_C=windows.hash_C[first_G],
    )


def window_tokens(shards: tuple[Shard, ...], windows: Windows, length: int) -> Array:
    """The tokens of windows, uint32 [C, length]."""
    tokens_Cm = np.empty((len(windows.place_C), length), dtype=np.uint32)
    for number in np.unique(windows.shard_C):
        rows = np.flatnonzero(windows.shard_C == number)
        places = windows.place_C[rows][:, None] + np.arange(length)
        tokens_Cm[rows] = np.asarray(shards[number].tokens_T)[places]
    return tokens_Cm


def distinct_tokens(shards: tuple[Shard, ...], windows: Windows, length: int) -> Array:
    """How many different tokens each window holds, int64[C]."""
    unique_C = np.ones(len(windows.place_C), dtype=np.int64)
    for start in range(0, len(unique_C), ROWS):
        rows = np.arange(start, min(start + ROWS, len(unique_C)))
        sorted_Cm = np.sort(window_tokens(shards, taken(windows, rows), length), axis=1)
        unique_C[rows] += (sorted_Cm[:, 1:] != sorted_Cm[:, :-1]).sum(axis=1)
    return unique_C
