"""Join indexed shards, or arrays in memory, into one corpus with suffix arrays."""

from __future__ import annotations

import numpy as np

from stillage.corpus.merge import Joined, SortedPart, join_parts
from stillage.corpus.shards import ShardSet
from stillage.corpus.token_file import LARGEST_VOCABULARY, check_offsets, check_token_ids
from stillage.errors import DataError
from stillage.types import Array


def indexed_parts(corpus: ShardSet) -> Joined:
    """Join all shards and their mapped index. DataError: a shard has no index."""
    from stillage.corpus.shard_index import open_index

    parts = []
    for shard in corpus.shards:
        index = open_index(shard)
        part = SortedPart(
            tokens_T=shard.tokens_T,
            offsets_D=shard.offsets_D,
            suffixes_T=index.suffixes_T,
            lcp_T=index.lcp_T,
        )
        parts.append(part)
    return join_parts(parts)


def sorted_arrays(tokens: Array, offsets: Array) -> Joined:
    """Sort arrays in memory into one corpus. DataError: they are no documents.

    tokens: ids of any integer type, one axis. offsets: documents + 1, in tokens, 0 first.
    """
    from stillage.corpus.suffix_array import suffix_array

    for name, array in (("tokens", tokens), ("offsets", offsets)):
        if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
            values = f"{name}: {array.dtype}, shape {array.shape}"
            fix = "Give one axis of integers for each."
            raise DataError("Tokens and offsets are lists of integers.", values, fix)
    check_token_ids(tokens, LARGEST_VOCABULARY, "tokens")
    offsets_D = offsets.astype(np.int64)
    check_offsets(offsets_D, len(tokens), "offsets")
    tokens_T = np.ascontiguousarray(tokens, dtype=np.uint32)
    suffixes_T, lcp_T = suffix_array(tokens_T, offsets_D)
    part = SortedPart(tokens_T=tokens_T, offsets_D=offsets_D, suffixes_T=suffixes_T, lcp_T=lcp_T)
    return join_parts([part])
