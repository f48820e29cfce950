"""Find near-copies of documents: MinHash proposes pairs, n-gram sets confirm them.

MinHash (Broder 1997) over the n-grams of token ids, in bands (locality-sensitive hashing); the
signatures are those of the package rensa (extra `dedup`). What is left out of a corpus has the
stated Jaccard similarity exactly; what the bands miss is the recall, `band_recall`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from stillage.corpus.exact_copies import NONE, DocumentReader, equal_copies, first_equals
from stillage.corpus.pace import Tell
from stillage.corpus.shards import Shard, ShardSet
from stillage.errors import CapabilityError
from stillage.types import Array

SLOTS = 256  # numbers of a signature
RECALL = 0.9999  # at least, for a pair exactly at the threshold, where SLOTS allow it
SEED = 1
BATCH_TOKENS = 1 << 21
PRIME = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing


def band_rows(threshold: float) -> int:
    """Signature numbers in a band: the most that keep the recall, and at least one."""
    enough = (rows for rows in range(SLOTS, 0, -1) if band_recall(threshold, rows) >= RECALL)
    return next(enough, 1)


def band_recall(similarity: float, rows: int) -> float:
    """The chance that two documents share a band: 1 - (1 - J^r)^b, b = SLOTS // r.

    similarity: their Jaccard similarity J; rows: r numbers a band.
    """
    return 1 - (1 - similarity**rows) ** (SLOTS // rows)


def near_copies(
    corpus: ShardSet, threshold: float, ngram: int, keep: str, tell: Tell = lambda tokens: None
) -> Array:
    """Name the document that each is removed as a near-copy of; NONE: it stays.

    Returns int64[documents].
    Two documents are near-copies where |A & B| / |A | B| >= threshold for their sets of n-grams of
    token ids; a shorter one has one n-gram, itself. keep "first": in document order, a document is
    removed where one that stays is a near-copy of it. "none": where any other is.
    CapabilityError without the extra.
    """
    firsts_D = first_equals(corpus)
    copies_D = equal_copies(firsts_D, keep)
    found = _near_among_distinct(corpus, firsts_D, threshold, ngram, keep, tell)
    if keep == "none":  # a document with an equal is listed with that
        for document, copy in found.items():
            copies_D[document] = copy if copies_D[document] == NONE else copies_D[document]
        return copies_D
    for document in np.flatnonzero(copies_D != NONE).tolist():
        first = int(firsts_D[document])
        copies_D[document] = found.get(first, first)  # where that goes, they go with it
    for document, copy in found.items():
        copies_D[document] = copy
    return copies_D


def jaccard(first: frozenset[bytes], second: frozenset[bytes], threshold: float) -> float:
    """|A & B| / |A | B|, or 0 where their sizes say that it is below the threshold."""
    small, large = sorted((len(first), len(second)))
    if not large or small / large < threshold:
        return 0.0
    shared = len(first & second)
    return shared / (small + large - shared)


def ngram_set(ids: Array, ngram: int) -> frozenset[bytes]:
    """Collect a document's distinct n-grams.

    A shorter document is its own n-gram; an empty one has none.
    """
    ids = np.ascontiguousarray(ids)
    if not len(ids):
        return frozenset()
    length = min(ngram, len(ids))
    windows = np.lib.stride_tricks.sliding_window_view(ids, length)
    width = length * ids.dtype.itemsize
    return frozenset(np.ascontiguousarray(windows).view(f"V{width}")[:, 0].tolist())


def ngram_hashes(tokens_T: Array, ngram: int) -> Array:
    """A hash of the n-gram at each place, uint64[T - n + 1]: a polynomial modulo 2^64."""
    places = max(0, len(tokens_T) - ngram + 1)
    hashes = np.zeros(places, dtype=np.uint64)
    mixed_T = mix_hashes(tokens_T.astype(np.uint64) + np.uint64(1))
    for shift in range(ngram):
        hashes *= PRIME
        hashes += mixed_T[shift : shift + places]
    return mix_hashes(hashes)


def mix_hashes(values: Array) -> Array:
    """Spread 64-bit values over all bits (the finaliser of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _near_among_distinct(
    corpus: ShardSet, firsts_D: Array, threshold: float, ngram: int, keep: str, tell: Tell
) -> dict[int, int]:
    """Near-copies among the first of equal documents: document -> what it is a copy of.

    A document shorter than an n-gram shares none with one that differs.
    """
    numbers, bands = [], []
    for shard in corpus.shards:
        for chosen, hashes, counts in _batches(shard, firsts_D, ngram, tell):
            numbers.append(chosen)
            bands.append(_bands(hashes, counts, band_rows(threshold)))
    if not numbers:
        return {}
    documents_R, buckets_RB = np.concatenate(numbers), _buckets(np.concatenate(bands))
    read = DocumentReader(corpus)

    @lru_cache(maxsize=64)  # sets of long documents are large
    def ngrams(row: int) -> frozenset[bytes]:
        return ngram_set(read(int(documents_R[row])), ngram)

    def is_near(first: int, second: int) -> bool:
        return jaccard(ngrams(first), ngrams(second), threshold) >= threshold

    copies = {"first": _keep_first, "none": _keep_none}[keep](buckets_RB, is_near)
    return {int(documents_R[row]): int(documents_R[copy]) for row, copy in copies.items()}


def _batches(
    shard: Shard, firsts_D: Array, ngram: int, tell: Tell
) -> Iterator[tuple[Array, Array, Array]]:
    """Documents of a shard to compare, their n-grams' hashes in a row, and how many each has."""
    offsets_D, start = shard.offsets_D, 0
    while start < shard.documents:
        end = int(np.searchsorted(offsets_D, offsets_D[start] + BATCH_TOKENS, side="right")) - 1
        end = max(start + 1, end)
        starts_D, ends_D = offsets_D[start:end], offsets_D[start + 1 : end + 1]
        numbers_D = shard.first_document + np.arange(start, end)
        is_chosen = (firsts_D[numbers_D] == numbers_D) & (ends_D - starts_D >= ngram)
        hashes_T = ngram_hashes(shard.tokens_T[starts_D[0] : ends_D[-1]], ngram)
        if is_chosen.any():
            begins = (starts_D - starts_D[0])[is_chosen]
            counts = (ends_D - starts_D)[is_chosen] - ngram + 1
            shifts = np.repeat(begins - np.cumsum(counts) + counts, counts)
            yield numbers_D[is_chosen], hashes_T[np.arange(counts.sum()) + shifts], counts
        tell(int(ends_D[-1] - starts_D[0]))
        start = end


def signature_maker() -> Any:  # noqa: ANN401 - compiled, without types
    """The MinHash of the package rensa. CapabilityError where it is not installed."""
    try:
        from rensa import RMinHash  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        what = "Near-duplicate documents need the package rensa, which is not installed."
        fix = "Install it: pip install 'stillage[dedup]'."
        raise CapabilityError(what, "rule: jaccard", fix) from error
    return RMinHash


def _bands(hashes: Array, counts: Array, rows: int) -> Array:
    """The hash of each band of each document's signature, uint64[documents, bands]."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
    matrix = signature_maker().digest_matrix_from_flat_token_hashes(hashes, offsets, SLOTS, SEED)
    slots_DS = np.array(matrix.to_rows(), dtype=np.uint64)
    bands_DB = np.zeros((len(counts), SLOTS // rows), dtype=np.uint64)
    for row in range(rows):
        bands_DB = mix_hashes(bands_DB * PRIME + slots_DS[:, row::rows][:, : SLOTS // rows])
    return bands_DB


def _buckets(bands_RB: Array) -> Array:
    """Number the values that two rows or more share in a band, int64[rows, bands]; else NONE."""
    buckets_RB = np.full(bands_RB.shape, NONE, dtype=np.int64)
    used = 0
    for band in range(bands_RB.shape[1]):
        _, group_R, sizes = np.unique(bands_RB[:, band], return_inverse=True, return_counts=True)
        is_shared = sizes > 1
        number = np.where(is_shared, used + np.cumsum(is_shared) - 1, NONE)
        buckets_RB[:, band] = number[group_R]
        used += int(is_shared.sum())
    return buckets_RB


def _candidates(buckets_RB: Array) -> Iterator[tuple[int, list[int]]]:
    """Rows that share a bucket with another, in order, with their buckets."""
    for row in np.flatnonzero((buckets_RB != NONE).any(axis=1)).tolist():
        yield row, buckets_RB[row][buckets_RB[row] != NONE].tolist()


def _keep_first(buckets_RB: Array, is_near: Callable[[int, int], bool]) -> dict[int, int]:
    """Compare each row with those that stay; row -> the first of these that is near."""
    staying: dict[int, list[int]] = {}
    copies: dict[int, int] = {}
    for row, buckets in _candidates(buckets_RB):
        earlier = sorted({other for bucket in buckets for other in staying.get(bucket, ())})
        near = next((other for other in earlier if is_near(other, row)), None)
        if near is not None:
            copies[row] = near
            continue
        for bucket in buckets:
            staying.setdefault(bucket, []).append(row)
    return copies


def _keep_none(buckets_RB: Array, is_near: Callable[[int, int], bool]) -> dict[int, int]:
    """Every row that has a near one -> the first of these."""
    seen: dict[int, list[int]] = {}
    copies: dict[int, int] = {}
    for row, buckets in _candidates(buckets_RB):
        for other in sorted({other for bucket in buckets for other in seen.get(bucket, ())}):
            if not (row in copies and other in copies) and is_near(other, row):
                copies.setdefault(row, other)
                copies.setdefault(other, row)
        for bucket in buckets:
            seen.setdefault(bucket, []).append(row)
    return copies
