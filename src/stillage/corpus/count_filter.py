"""The counting filter: where enough of a target's rare tokens lie close together.

Choose k + t positions S of a target of m tokens. Let a piece of text be within distance k (Hamming
or Levenshtein) of it. At most k positions are unmatched, so that t positions of S are matched, each
by another token of the piece: sum over tokens x of min(count of x in the piece, count in S) >= t. A
piece of m + e tokens has e insertions, which leave k - e changes: t + e are matched, and t of them
in its last m tokens. So whatever the piece, the m tokens up to its end hold t.

The sum only grows with the stretch of text that is counted. What ends in block b of B tokens has
its m tokens in the W = ceil((m - 1) / B) + 1 blocks up to b; where these hold t, the target is a
candidate, whatever else it is: nothing can be missed.

The sums of all targets are kept in planes of bits: bit t of plane i is bit i of target t's sum, so
that a handful of operations on 64-bit words add up 8 tokens for 64 targets. A sum changes only
where a token becomes the n-th of its kind among the W blocks, or ceases to be, and the target holds
n of it. It starts at half the range less t: its top bit says "enough".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.corpus.count_kernels import BLOCK_TOKENS, WORDS, counting_kernel
from stillage.types import Array

GROUP = 64 * WORDS[-1]  # targets side by side, at most
NOBODY = -(1 << 30)  # tokens of class 0 that count: fewer than there ever are
PLANES = (8, 16, 32)  # bits of a sum
ROOM = 1 << 16  # candidates of a batch of real text; where there are more, it is counted twice


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFilter:
    """The sums of a group of targets, over C classes of tokens and R rows.

    class_V: uint16, class of each token id below its length; 0: in no target's S. first_C: the row
    of a class's first token; the next row is of its second, up to count_C tokens. rows_RW: which
    targets that token counts for, bits in uint64; row 0: none. start_PW: half the range less t of
    each target, in planes.
    """

    class_V: Array
    first_C: Array
    count_C: Array
    rows_RW: Array
    start_PW: Array
    blocks: int  # W


def count_filter(chosen: Sequence[Array], needs: Array, *, length: int) -> CountFilter:
    """Lay out the counters of targets.

    chosen: the tokens at each target's positions S, for up to GROUP targets. needs: t of each, int,
    1 to its len(S). length: m, in tokens.
    """
    words = next(words for words in WORDS if len(chosen) <= 64 * words)
    word_N, bit_N = np.divmod(np.arange(len(chosen)), 64)
    bit_N = np.uint64(1) << bit_N.astype(np.uint64)
    counts = [Counter(tokens.tolist()) for tokens in chosen]
    most: Counter[int] = Counter()
    for count in counts:
        most |= count
    distinct = np.array(sorted(most), dtype=np.int64)
    assert len(distinct) < 1 << 16
    class_V = np.zeros(int(distinct[-1]) + 1, dtype=np.uint16)
    class_V[distinct] = np.arange(1, len(distinct) + 1)
    count_C = np.array([0, *(most[token] for token in distinct.tolist())], dtype=np.int32)
    first_C = (np.cumsum(count_C) - count_C + 1).astype(np.int32)
    rows_RW = _aligned_zeros(1 + sum(most.values()), words)
    for target, count in enumerate(counts):
        for token, times in count.items():
            first = first_C[class_V[token]]
            rows_RW[first : first + times, word_N[target]] |= bit_N[target]
    count_C[0] = NOBODY
    largest = max(len(tokens) - int(need) for tokens, need in zip(chosen, needs, strict=True))
    planes = next(bits for bits in PLANES if max(largest, *needs) < 1 << (bits - 1))
    start_PW = np.zeros((planes, words), dtype=np.uint64)
    for target, need in enumerate(needs.tolist()):
        start = (1 << (planes - 1)) - need
        for plane in range(planes):
            if start >> plane & 1:
                start_PW[plane, word_N[target]] |= bit_N[target]
    return CountFilter(
        class_V=class_V,
        first_C=first_C,
        count_C=count_C,
        rows_RW=rows_RW,
        start_PW=start_PW,
        blocks=-(-(length - 1) // BLOCK_TOKENS) + 1,
    )


def _aligned_zeros(rows: int, words: int) -> Array:
    """Zeros, uint64 [rows, words], from a multiple of 64 bytes: a row is in one line of cache."""
    plain = np.zeros(rows * words + 8, dtype=np.uint64)
    skip = -(plain.ctypes.data // 8) % 8
    return plain[skip : skip + rows * words].reshape(rows, words)


def candidates(tokens_T: Array, counters: CountFilter) -> tuple[Array, Array]:
    """Blocks of text in which a piece near a target may end: (block, target), int64.

    tokens_T: uint32. Block b is BLOCK_TOKENS tokens. In order of blocks, then of targets.
    """
    room = ROOM
    planes, words = counters.start_PW.shape
    count_blocks = counting_kernel(words, planes)
    levels = (counters.class_V, counters.first_C, counters.count_C)
    while True:
        found_P2 = np.empty((room, 2), np.int64)
        count = count_blocks(
            tokens_T, levels, counters.rows_RW, counters.start_PW, counters.blocks, found_P2
        )
        if count <= room:
            return found_P2[:count, 0], found_P2[:count, 1]
        room = count
