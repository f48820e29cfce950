"""How often sequences of tokens occur in an indexed corpus, and where.

Exact, over all shards. Occurrences may overlap, and none crosses from one document into the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.merge import DAMAGED_FIX
from stillage.corpus.shard_index import ShardIndex, open_index
from stillage.corpus.shards import Shard, ShardSet
from stillage.corpus.token_file import LARGEST_VOCABULARY
from stillage.errors import DataError
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

AT_A_TIME = 1 << 20  # ids of queries that are compared at a time
UNKNOWN = -1  # stands for every id that no corpus holds
ENDED = -2  # stands behind a document's end: before every id, and no query holds it


def count_sequences(corpus: ShardSet, queries: Sequence[Sequence[int] | Array] | Array) -> Array:
    """Count each query's occurrences, int64[Q].

    What holds an id outside the vocabulary, or is longer than every document, occurs 0 times.
    DataError for an empty query, and without an index.
    """
    counts_Q = np.zeros(len(queries), dtype=np.int64)
    ids_Qm, lengths_Q = padded(queries)
    opened = [(shard, open_index(shard)) for shard in corpus.shards]
    at_a_time = max(1, AT_A_TIME // max(1, ids_Qm.shape[1]))
    for start in range(0, len(queries), at_a_time):
        some = slice(start, start + at_a_time)
        for shard, index in opened:
            low_Q, high_Q = suffix_ranges(shard, index, ids_Qm[some], lengths_Q[some])
            counts_Q[some] += high_Q - low_Q
    return counts_Q


def find_sequence(
    corpus: ShardSet, tokens: Sequence[int] | Array, limit: int | None = None
) -> pa.Table:
    """Find a sequence's occurrences: document, start (in its tokens), both int64.

    In the order of the corpus; the first `limit` of them (None: all). DataError as
    `count_sequences`.
    """
    import pyarrow as pa

    ids_1m, lengths_1 = padded([tokens])
    documents, starts, left = [], [], limit
    for shard in corpus.shards:
        index = open_index(shard)
        low_1, high_1 = suffix_ranges(shard, index, ids_1m, lengths_1)
        places = np.sort(index.suffixes_T[low_1[0] : high_1[0]].astype(np.int64))[:left]
        inside = np.searchsorted(shard.offsets_D, places, side="right") - 1
        documents.append(inside + shard.first_document)
        starts.append(places - shard.offsets_D[inside])
        left = None if left is None else left - len(places)
    none = np.zeros(0, dtype=np.int64)
    return pa.table(
        {
            "document": np.concatenate([none, *documents]),
            "start": np.concatenate([none, *starts]),
        }
    )


def padded(queries: Sequence[Sequence[int] | Array] | Array) -> tuple[Array, Array]:
    """Queries as one array, int64 [Q, m], and their lengths. DataError: an empty one."""
    lengths_Q = np.array([len(query) for query in queries], dtype=np.int64)
    empty = np.flatnonzero(lengths_Q == 0)
    if len(empty):
        values = f"sequence {empty[0]} of {len(queries)} has no tokens"
        raise DataError("An empty sequence cannot be counted.", values, "Give one id or more.")
    ids_Qm = np.full((len(queries), int(lengths_Q.max(initial=0))), UNKNOWN, dtype=np.int64)
    for number, query in enumerate(queries):
        ids = np.asarray(query)
        if ids.dtype.kind not in "iuO":
            values = f"sequence {number} of {len(queries)}: {ids.dtype}"
            raise DataError("A sequence holds what are no ids.", values, "Give whole numbers.")
        if ids.dtype.kind == "O" or ids.dtype == np.uint64:  # what 64 bits may not hold
            ids = np.array([one if one < LARGEST_VOCABULARY else UNKNOWN for one in ids.tolist()])
        ids_Qm[number, : len(ids)] = np.where((ids >= 0) & (ids < LARGEST_VOCABULARY), ids, UNKNOWN)
    return ids_Qm, lengths_Q


def suffix_ranges(
    shard: Shard, index: ShardIndex, ids_Qm: Array, lengths_Q: Array
) -> tuple[Array, Array]:
    """Find the ranks of the suffixes that begin with each query: low_Q to high_Q - 1.

    All queries are searched for together, by halves: both ends of a query's range are a search.
    """
    tokens_T, suffixes_T = np.asarray(shard.tokens_T), np.asarray(index.suffixes_T)
    queries, width = ids_Qm.shape
    if not len(tokens_T) or not queries:
        return np.zeros(queries, dtype=np.int64), np.zeros(queries, dtype=np.int64)
    places_m = np.arange(width)
    matters_Qm = places_m < lengths_Q[:, None]
    ids_Sm, matters_Sm = np.tile(ids_Qm, (2, 1)), np.tile(matters_Qm, (2, 1))
    is_high_S = np.arange(2 * queries) >= queries
    low_S = np.zeros(2 * queries, dtype=np.int64)
    high_S = np.full(2 * queries, len(tokens_T), dtype=np.int64)
    rows_S = np.arange(2 * queries)
    for _ in range(len(tokens_T).bit_length()):
        middle_S = np.minimum((low_S + high_S) // 2, len(tokens_T) - 1)
        start_S = suffixes_T[middle_S].astype(np.int64)
        if start_S.max() >= len(tokens_T):
            values = (
                f"{shard.path}: a suffix that begins at {start_S.max()}; tokens: {len(tokens_T)}"
            )
            raise DataError("An index is damaged.", values, DAMAGED_FIX)
        end_S = shard.offsets_D[np.searchsorted(shard.offsets_D, start_S, side="right")]
        at_Sm = start_S[:, None] + places_m
        held_Sm = tokens_T[np.minimum(at_Sm, len(tokens_T) - 1)].astype(np.int64)
        held_Sm[at_Sm >= end_S[:, None]] = ENDED
        differs_Sm = (held_Sm != ids_Sm) & matters_Sm
        first_S = differs_Sm.argmax(axis=1)
        is_less_S = held_Sm[rows_S, first_S] < ids_Sm[rows_S, first_S]
        is_equal_S = ~differs_Sm[rows_S, first_S]
        is_open_S = low_S < high_S
        goes_up_S = np.where(is_equal_S, is_high_S, is_less_S)
        low_S = np.where(is_open_S & goes_up_S, middle_S + 1, low_S)
        high_S = np.where(is_open_S & ~goes_up_S, middle_S, high_S)
    return low_S[:queries], low_S[queries:]
