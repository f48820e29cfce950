"""The seed filter: where a short piece of a target stands word for word.

Cut k + 1 disjoint pieces of q = m // (k + 1) tokens from a target of m. k changes touch at most k
of them, so that every text within distance k holds one exactly. Pieces are chosen to be rare. A
rolling hash finds them at a cost that does not grow with the number of targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from stillage.types import Array

BASE, SPREAD = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # of the rolling hash; odd
DP_TARGETS = 1024  # targets whose pieces are chosen at once: bounds memory
ROOM = 1 << 16  # pieces found in a batch; where there are more, it is searched twice


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFilter:
    """The pieces of all targets, in the order of their hashes."""

    size: int  # q, tokens of a piece
    hash_U: Array  # uint64, distinct, sorted
    first_U: Array  # int64, one more: the pieces with a hash are first_U[u] to first_U[u + 1]
    target_S: Array  # int64
    place_S: Array  # int64, of the piece in its target
    known_B: Array  # bool, by the hash's top bits: whether some piece may have it


def seed_filter(targets_NM: Array, pieces: int, frequency_NM: Array) -> SeedFilter:
    """Choose disjoint pieces of each target, the rarest together.

    targets_NM: uint32. frequency_NM: of each token, as a share of the text.
    """
    size = targets_NM.shape[1] // pieces
    parts = [
        rarest_pieces(frequency_NM[at : at + DP_TARGETS], pieces, size)
        for at in range(0, len(targets_NM), DP_TARGETS)
    ]
    place_NP = np.concatenate(parts)
    hashes_NM = np.stack([piece_hashes(row, size) for row in targets_NM])
    hash_S = np.take_along_axis(hashes_NM, place_NP, axis=1).ravel()
    order = np.argsort(hash_S, kind="stable")
    hash_U, first_U = np.unique(hash_S[order], return_index=True)
    bits = int(np.clip(np.ceil(np.log2(32 * len(hash_U))), 12, 26))
    known_B = np.zeros(1 << bits, dtype=np.bool_)
    known_B[hash_U >> np.uint64(64 - bits)] = True
    return SeedFilter(
        size=size,
        hash_U=hash_U,
        first_U=np.append(first_U, len(hash_S)),
        target_S=np.repeat(np.arange(len(targets_NM)), pieces)[order],
        place_S=place_NP.ravel()[order],
        known_B=known_B,
    )


def rarest_pieces(frequency_NM: Array, pieces: int, size: int) -> Array:
    """Choose the disjoint pieces that are rarest in all, [N, pieces].

    Occurrences as if tokens were independent: the product of their frequencies. By dynamic
    programming over the end of the last piece.
    """
    targets, length = frequency_NM.shape
    sums_NM = np.cumsum(np.log(np.maximum(frequency_NM, 1e-9)), axis=1)
    sums_NM = np.concatenate([np.zeros((targets, 1)), sums_NM], axis=1)
    expected_NM = np.exp(sums_NM[:, size:] - sums_NM[:, :-size])
    best_NM = np.zeros((targets, length + 1))
    takes = np.zeros((pieces, targets, length + 1), dtype=np.bool_)
    for piece in range(pieces):
        before_NM, best_NM = best_NM, np.full((targets, length + 1), np.inf)
        for end in range((piece + 1) * size, length + 1):
            with_this = before_NM[:, end - size] + expected_NM[:, end - size]
            takes[piece, :, end] = with_this < best_NM[:, end - 1]
            best_NM[:, end] = np.minimum(with_this, best_NM[:, end - 1])
    place_NP = np.zeros((targets, pieces), dtype=np.int64)
    end_N = np.full(targets, length)
    every = np.arange(targets)
    for piece in range(pieces - 1, -1, -1):
        while not (taken := takes[piece, every, end_N]).all():
            end_N -= ~taken
        end_N -= size
        place_NP[:, piece] = end_N
    return place_NP


def seeds_found(tokens_T: Array, seeds: SeedFilter) -> tuple[Array, Array, Array]:
    """Where pieces stand: (place in the text, target, place in the target), int64.

    tokens_T: uint32. Equal hashes of other tokens are found too: candidates, no hits.
    """
    room = ROOM
    while True:
        found_P2 = np.empty((room, 2), np.int64)
        count = _find(tokens_T, seeds.size, seeds.hash_U, seeds.first_U, seeds.known_B, found_P2)
        if count <= room:
            piece = found_P2[:count, 1]
            return found_P2[:count, 0], seeds.target_S[piece], seeds.place_S[piece]
        room = count


def piece_hashes(tokens_T: Array, size: int) -> Array:
    """The hash of every `size` tokens in a row, uint64: a polynomial modulo 2^64."""
    total = np.zeros(max(0, len(tokens_T) - size + 1), dtype=np.uint64)
    for place in range(size):
        total = total * np.uint64(BASE) + spread(tokens_T[place : place + len(total)])
    return total * np.uint64(BASE)


def spread(tokens_T: Array) -> Array:
    """Token ids as odd-looking 64-bit numbers, so that equal sums are unlikely."""
    return (tokens_T.astype(np.uint64) + np.uint64(1)) * np.uint64(SPREAD)


@njit(nogil=True)
def _find(
    tokens_T: Array, size: int, hash_U: Array, first_U: Array, known_B: Array, found_P2: Array
) -> int:
    """Write (place, piece) of every hash that is known; returns how many there are."""
    base, factor, one = np.uint64(BASE), np.uint64(SPREAD), np.uint64(1)
    beyond, shift, room = one, np.uint64(64), known_B.size
    for _ in range(size):
        beyond *= base
    while room > 1:
        shift -= one
        room >>= 1
    total, found = np.uint64(0), 0
    for at in range(tokens_T.size):
        total = total * base + (np.uint64(tokens_T[at]) + one) * factor
        if at >= size:
            total -= (np.uint64(tokens_T[at - size]) + one) * factor * beyond
        if at < size - 1:
            continue
        hashed = total * base
        if not known_B[hashed >> shift]:
            continue
        piece = np.searchsorted(hash_U, hashed)
        if piece == hash_U.size or hash_U[piece] != hashed:
            continue
        for one_of in range(first_U[piece], first_U[piece + 1]):
            if found < found_P2.shape[0]:
                found_P2[found, 0], found_P2[found, 1] = at - size + 1, one_of
            found += 1
    return found
