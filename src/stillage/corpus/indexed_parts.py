"""A corpus of shards as parts with their suffix arrays, for what reads all suffixes in order."""

from __future__ import annotations

import numpy as np

from stillage.corpus.merge import Joined, Part, join_parts
from stillage.corpus.shards import ShardSet
from stillage.types import Array


def indexed_parts(corpus: ShardSet) -> Joined:
    """All shards with their suffix arrays, as one corpus."""
    return join_parts([sorted_part(shard.tokens_T, shard.offsets_D) for shard in corpus.shards])


def sorted_part(tokens_T: Array, offsets_D: Array) -> Part:
    """Documents with their suffix array, by doubling (Manber & Myers)."""
    count = len(tokens_T)
    ends = np.repeat(np.asarray(offsets_D[1:], dtype=np.int64), np.diff(offsets_D))
    place = np.arange(count)
    rank = np.unique(tokens_T, return_inverse=True)[1].astype(np.int64) + 1
    order, step = np.argsort(rank, kind="stable"), 1
    while step < count:
        after = np.where(place + step < ends, np.append(rank, [0] * step)[step:], 0)
        order = np.lexsort((after, rank))
        is_new = (np.diff(rank[order]) != 0) | (np.diff(after[order]) != 0)
        rank[order] = np.concatenate([[1], 1 + np.cumsum(is_new)])
        step *= 2
    shared = np.zeros(count, dtype=np.uint32)
    for at in range(1, count):
        a, b = int(order[at - 1]), int(order[at])
        most = min(ends[a] - a, ends[b] - b)
        same = tokens_T[a : a + most] == tokens_T[b : b + most]
        shared[at] = most if same.all() else int(np.argmin(same))
    return Part(tokens_T=tokens_T, offsets_D=offsets_D, suffixes_T=order, lcp_T=shared)
