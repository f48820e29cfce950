"""Documents whose token ids are equal, whole with whole."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np

from stillage.corpus.shards import Shard, ShardSet
from stillage.types import Array

NONE = -1
DIGEST = 16  # bytes of a document's hash; equal hashes are confirmed on the ids


def document_lengths(corpus: ShardSet) -> Array:
    """Tokens of every document of all shards, int64[documents]."""
    lengths = [np.diff(shard.offsets_D) for shard in corpus.shards]
    return np.concatenate([np.zeros(0, dtype=np.int64), *lengths])


class DocumentReader:
    """Gives the ids of a document by its number in the corpus."""

    def __init__(self, corpus: ShardSet) -> None:
        """Nothing is read yet."""
        self.shards = corpus.shards
        self.firsts = np.array([shard.first_document for shard in corpus.shards], dtype=np.int64)

    def __call__(self, document: int) -> Array:
        """The ids of one document, memory-mapped."""
        # of empty shards that begin at one number, the last begins the documents there
        shard = self.shards[int(np.searchsorted(self.firsts, document, side="right")) - 1]
        at = document - shard.first_document
        return shard.tokens_T[shard.offsets_D[at] : shard.offsets_D[at + 1]]


def first_equals(corpus: ShardSet) -> Array:
    """Find, for each document, the first that equals it (int64[documents]).

    The first of equal documents is given itself.
    NONE for an empty document, which is a duplicate of nothing. Memory: 40 bytes a document.
    """
    digests_D = np.concatenate([np.zeros((0, 2), dtype="<u8"), *map(_digests, corpus.shards)])
    firsts_D = np.arange(len(digests_D), dtype=np.int64)
    order = np.lexsort((digests_D[:, 1], digests_D[:, 0]))  # stable: equal ones stay in order
    same = (digests_D[order[1:]] == digests_D[order[:-1]]).all(axis=1)
    read, first = DocumentReader(corpus), 0
    for at in np.flatnonzero(same).tolist():
        if at == 0 or not same[at - 1]:
            first = int(order[at])
        if np.array_equal(read(first), read(int(order[at + 1]))):
            firsts_D[order[at + 1]] = first
    firsts_D[document_lengths(corpus) == 0] = NONE
    return firsts_D


def equal_copies(firsts_D: Array, keep: str) -> Array:
    """Name the document that each is removed as a copy of; NONE: it stays.

    Returns int64[documents].
    keep: "first" of equal documents, or "none"; then the first is listed with the second.
    """
    numbers_D = np.arange(len(firsts_D), dtype=np.int64)
    is_later = (firsts_D != NONE) & (firsts_D != numbers_D)
    copies_D = np.where(is_later, firsts_D, NONE)
    if keep == "none":
        later = np.flatnonzero(is_later)[::-1]  # the second of each group is written last
        copies_D[firsts_D[later]] = later
    return copies_D


def _digests(shard: Shard) -> Array:
    """The hash of every document of a shard, uint64[documents, 2]."""
    tokens_T, offsets = shard.tokens_T, shard.offsets_D.tolist()
    hashed = bytearray()
    for start, end in pairwise(offsets):
        ids = tokens_T[start:end].tobytes()
        hashed += hashlib.blake2b(ids, digest_size=DIGEST).digest()
    return np.frombuffer(bytes(hashed), dtype="<u8").reshape(-1, 2)
