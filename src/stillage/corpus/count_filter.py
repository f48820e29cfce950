"""The counting filter: where enough of a target's rare tokens lie close together.

Choose k + t positions S of a target. A piece of text within distance k (Hamming or Levenshtein) of
it leaves at most k positions unmatched, so that at least t positions of S are matched, each by
another token of the piece: sum over tokens x of min(count of x in the piece, count of x in S) >= t.
The sum only grows with the stretch of text that is counted. So a piece of up to L tokens that ends
in block b of B tokens is looked for in the W = ceil((L - 1) / B) + 1 blocks up to b; where these
have t, the target is a candidate, whatever else it is: nothing can be missed.

The sums of all targets lie side by side in 64-bit words (8 bits or more each), so that one addition
counts a token for 8 targets. They change only where a token becomes the n-th of its kind among the
W blocks, or ceases to be, and some target holds n of it. They start at half their range less t: the
top bit says "enough".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from stillage.types import Array

BLOCK_TOKENS = 8
"""Shorter blocks count less beside the piece, and compare more often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFilter:
    """The counters of a group of targets, over C classes of tokens and R rows.

    class_V: uint16, class of each token id below its length; 0: in no target's S. first_C: the
    row of a class's first token; the next row is of its second, up to last_C tokens. rows_RW: what
    that token adds to the sums, uint64. start_W: half the range less t of each target.
    """

    class_V: Array
    first_C: Array
    last_C: Array
    rows_RW: Array
    start_W: Array
    bits: int  # of a sum: 8, 16 or 32
    block_tokens: int  # B
    blocks: int  # W


def count_filter(
    chosen: Sequence[Array], needs: Array, *, longest: int, block_tokens: int = BLOCK_TOKENS
) -> CountFilter:
    """Lay out the counters of targets.

    chosen: the tokens at each target's positions S. needs: t of each, int, 1 to its len(S).
    longest: L, in tokens.
    """
    largest = max(len(tokens) - int(need) for tokens, need in zip(chosen, needs, strict=True))
    bits = next(bits for bits in (8, 16, 32) if max(largest, *needs) < 1 << (bits - 1))
    kind, lanes = {8: np.uint8, 16: np.uint16, 32: np.uint32}[bits], 64 // bits
    words = -(-len(chosen) // lanes)
    counts = [Counter(tokens.tolist()) for tokens in chosen]
    most: Counter[int] = Counter()
    for count in counts:
        most |= count
    distinct = np.array(sorted(most), dtype=np.int64)
    assert len(distinct) < 1 << 16
    class_V = np.zeros(int(distinct[-1]) + 1, dtype=np.uint16)
    class_V[distinct] = np.arange(1, len(distinct) + 1)
    last_C = np.array([0, *(most[token] for token in distinct.tolist())], dtype=np.int32)
    first_C = np.concatenate([[0], np.cumsum(last_C)[:-1]]).astype(np.int32)
    rows = np.zeros((int(last_C.sum()), words * lanes), dtype=kind)
    for target, count in enumerate(counts):
        for token, times in count.items():
            first = first_C[class_V[token]]
            rows[first : first + times, target] = 1
    start = np.zeros(words * lanes, dtype=kind)  # sums of no target never reach the top bit
    start[: len(chosen)] = (1 << (bits - 1)) - np.asarray(needs)
    return CountFilter(
        class_V=class_V,
        first_C=first_C,
        last_C=last_C,
        rows_RW=rows.view(np.uint64),
        start_W=start.view(np.uint64),
        bits=bits,
        block_tokens=block_tokens,
        blocks=-(-(longest - 1) // block_tokens) + 1,
    )


def candidates(tokens_T: Array, counters: CountFilter) -> tuple[Array, Array]:
    """Blocks of text in which a piece near a target may end: (block, target), int64.

    tokens_T: uint32. Block b is tokens [b B, (b + 1) B). In order of blocks, then of targets.
    """
    room = 1024
    top = sum(1 << (lane + counters.bits - 1) for lane in range(0, 64, counters.bits))
    sizes = np.array([counters.bits, counters.block_tokens, counters.blocks], dtype=np.int64)
    while True:
        found_P2 = np.empty((room, 2), np.int64)
        count = _count(
            tokens_T,
            counters.class_V,
            (counters.first_C, counters.last_C),
            counters.rows_RW,
            (counters.start_W, np.uint64(top)),
            sizes,
            found_P2,
        )
        if count <= room:
            return found_P2[:count, 0], found_P2[:count, 1]
        room = count


@njit(nogil=True)
def _count(
    tokens_T: Array,
    class_V: Array,
    levels: tuple[Array, Array],
    rows_RW: Array,
    start: tuple[Array, int],
    sizes: Array,
    found_P2: Array,
) -> int:
    """Write the candidates, and return how many there are even where there is no room."""
    first_C, last_C = levels
    total_W, top = start[0].copy(), start[1]
    bits, block_tokens, blocks = sizes
    words, classes, found = total_W.size, np.uint32(class_V.size), 0
    ring = np.zeros((blocks, block_tokens), dtype=np.uint16)  # classes of the last blocks
    count_C = np.zeros(first_C.size, dtype=np.int32)
    more, less = np.empty(block_tokens, dtype=np.int64), np.empty(block_tokens, dtype=np.int64)
    for block in range((tokens_T.size + block_tokens - 1) // block_tokens):
        own = ring[block % blocks]
        n_more = n_less = 0
        for at in range(block_tokens):
            number = own[at]
            count = count_C[number]
            less[n_less] = first_C[number] + count - 1
            n_less += (number != 0) & (count <= last_C[number])
            count_C[number] = count - 1
        start_at = block * block_tokens
        for at in range(block_tokens):
            token = tokens_T[start_at + at] if start_at + at < tokens_T.size else classes
            number = class_V[token] if token < classes else np.uint16(0)
            own[at] = number
            count = count_C[number]
            count_C[number] = count + 1
            more[n_more] = first_C[number] + count
            n_more += (number != 0) & (count < last_C[number])
        both = min(n_more, n_less)
        for at in range(both):
            row, gone = rows_RW[more[at]], rows_RW[less[at]]
            for word in range(words):
                total_W[word] += row[word] - gone[word]
        for at in range(both, n_more):
            row = rows_RW[more[at]]
            for word in range(words):
                total_W[word] += row[word]
        for at in range(both, n_less):
            row = rows_RW[less[at]]
            for word in range(words):
                total_W[word] -= row[word]
        reached = np.uint64(0)
        for word in range(words):
            reached |= total_W[word]
        if reached & top != 0:
            found = _write(total_W, top, bits, block, found, found_P2)
    return found


@njit(nogil=True)
def _write(total_W: Array, top: int, bits: int, block: int, found: int, found_P2: Array) -> int:
    """Write the targets whose sum has its top bit; returns how many candidates there are."""
    lanes = 64 // bits
    for word in range(total_W.size):
        if total_W[word] & top == 0:
            continue
        for lane in range(lanes):
            if (total_W[word] >> np.uint64(lane * bits + bits - 1)) & np.uint64(1):
                if found < found_P2.shape[0]:
                    found_P2[found, 0], found_P2[found, 1] = block, word * lanes + lane
                found += 1
    return found
