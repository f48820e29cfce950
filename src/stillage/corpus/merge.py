"""Merge the sorted suffixes of all parts of a corpus, little by little.

Each part (a shard, or arrays in memory) brings its suffix array and what neighbours in it share.
The merged order is that of one suffix array of the whole corpus, however it is cut into parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

if TYPE_CHECKING:
    from stillage.corpus.merge_kernels import Places

BLOCK = 1 << 18  # suffixes per block
READ_AHEAD = 1 << 20  # suffixes of all parts together
LARGEST_TABLE = 1 << 22  # long common runs remembered, 24 bytes each
DAMAGED_FIX = "Remove the .index.safetensors files, and run `stillage corpus index` again."


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedPart:
    """Documents with their suffix array; positions are tokens from the part's first."""

    tokens_T: Array  # uint16 or uint32
    offsets_D: Array  # integers, one more than documents
    suffixes_T: Array  # positions, sorted; a suffix ends with its document; ties by position
    lcp_T: Array  # tokens that suffix i shares with suffix i - 1; the first is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Parts as one corpus; positions are tokens from the corpus's first."""

    parts: tuple[SortedPart, ...]
    firsts_K: Array  # int64 [K + 1]: the first position of each part, and the end
    offsets_D: Array  # int64: where each document of the corpus begins, and the end
    places: Places

    @property
    def tokens(self) -> int:
        """Tokens of all parts."""
        return int(self.firsts_K[-1])

    @property
    def documents(self) -> int:
        """Documents of all parts, empty ones included."""
        return len(self.offsets_D) - 1


def join_parts(parts: Sequence[SortedPart]) -> Joined:
    """Make one corpus of parts, in order; nothing is copied but the offsets."""
    from stillage.corpus.merge_kernels import STEP, Places

    sizes = [len(part.tokens_T) for part in parts]
    firsts_K = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
    starts = [
        np.asarray(part.offsets_D[:-1]).astype(np.int64) + first
        for part, first in zip(parts, firsts_K, strict=False)
    ]
    offsets_D = np.concatenate([*starts, firsts_K[-1:]])
    every = np.arange(0, firsts_K[-1], STEP, dtype=np.int64)
    coarse = np.searchsorted(offsets_D, every, side="right") - 1
    coarse = np.append(coarse, max(0, len(offsets_D) - 2)).astype(np.int64)
    halves, is_wide, starts_K = one_window([part.tokens_T for part in parts])
    places = Places(
        halves=halves,
        is_wide=is_wide,
        bases_K=starts_K - firsts_K[:-1],
        firsts_K=firsts_K,
        offsets_D=offsets_D,
        coarse=coarse,
    )
    return Joined(parts=tuple(parts), firsts_K=firsts_K, offsets_D=offsets_D, places=places)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Memory as an array; keeps alive what lies in it."""

    arrays: Sequence[Array]
    __array_interface__: dict[str, Any] = field(repr=False)


def one_window(arrays: Sequence[Array]) -> tuple[Array, bool, Array]:
    """View several arrays of tokens as one array: (halves, is_wide, starts_K).

    What these are: see `Places`.
    Read-only. Compiled loops take one array, not any number of mapped files. What lies between the
    arrays is not theirs and is never read.
    """
    is_wide = any(ids.dtype.itemsize > 2 for ids in arrays)
    kind = np.dtype("<u4" if is_wide else "<u2")
    kept = [np.require(ids, kind, ["C", "A"]) for ids in arrays]
    full = [ids for ids in kept if len(ids)] or [np.zeros(1, dtype=kind)]
    low = min(ids.ctypes.data for ids in full)
    high = max(ids.ctypes.data + ids.nbytes for ids in full)
    interface = {"data": (low, True), "shape": ((high - low) // 2,), "typestr": "<u2", "version": 3}
    starts = [(ids.ctypes.data - low) // kind.itemsize if len(ids) else 0 for ids in kept]
    window = np.asarray(Window(arrays=full, __array_interface__=interface))
    return window, is_wide, np.array(starts, dtype=np.int64)


def merged_suffixes(joined: Joined, block: int = BLOCK) -> Iterator[tuple[Array, Array]]:
    """Yield all suffixes in order, in blocks: positions, tokens shared with the last.

    Both int64. Memory: a block, as much read ahead, and the table of long common runs. Time: per
    token log2(parts) comparisons, and each long common run of two parts read once.
    """
    full = [number for number, part in enumerate(joined.parts) if len(part.tokens_T)]
    if not full:
        return
    if len(full) == 1:
        part, first = joined.parts[full[0]], int(joined.firsts_K[full[0]])
        for start in range(0, len(part.suffixes_T), block):
            stretch = slice(start, start + block)
            positions_N = np.asarray(part.suffixes_T[stretch]).astype(np.int64)
            common_N = np.asarray(part.lcp_T[stretch]).astype(np.int64)
            check_index(positions_N, common_N, len(part.tokens_T))
            yield positions_N + first, common_N
        return
    yield from merge_many(joined, block)


def feed_all(
    joined: Joined,
    feed: Callable[[tuple[Array, Array]], None],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Feed every block of `merged_suffixes`. progress: (suffixes done, of all)."""
    done = 0
    for block in merged_suffixes(joined):
        feed(block)
        done += len(block[0])
        if progress is not None:
            progress(done, joined.tokens)


def merge_many(joined: Joined, block: int) -> Iterator[tuple[Array, Array]]:
    """Merge two parts or more (`merged_suffixes`)."""
    from stillage.corpus.merge_kernels import AT, RUN, first_matches, merge_block

    count, places = len(joined.parts), joined.places
    ahead = max(1, min(max(READ_AHEAD // count, 1 << 10), block))
    size = min(LARGEST_TABLE, max(1 << 10, 4 * joined.tokens // RUN))
    state_8K = np.zeros((8, count), dtype=np.int64)
    ahead_2KN = np.zeros((2, count, ahead), dtype=np.int64)
    runs_N3 = np.zeros((size, 3), dtype=np.int64)
    read_K = np.zeros(count, dtype=np.int64)
    for number in range(count):
        read_on(joined, state_8K, ahead_2KN, read_K, number)
    state_8K[AT] = 0
    first_matches(places, state_8K, ahead_2KN, runs_N3)
    left = joined.tokens
    while left:
        out_2N = np.empty((2, min(block, left)), dtype=np.int64)
        done, wanted = 0, 0
        while wanted >= 0:
            done, wanted = merge_block(places, state_8K, ahead_2KN, runs_N3, out_2N, done)
            if wanted >= 0:
                read_on(joined, state_8K, ahead_2KN, read_K, wanted)
        assert done == out_2N.shape[1], "a suffix array is shorter than its tokens"
        left -= done
        yield out_2N[0], out_2N[1]


def check_index(positions_N: Array, common_N: Array, tokens: int) -> None:
    """Refuse an index that would make compiled loops read beyond the tokens."""
    ends_N = positions_N + np.asarray(common_N).astype(np.int64)
    if len(positions_N) and (positions_N.max() >= tokens or ends_N.max() > tokens):
        values = f"a suffix that begins at {positions_N.max()}, or ends at {ends_N.max()}"
        raise DataError("An index is damaged.", f"{values}; tokens: {tokens}", DAMAGED_FIX)


def read_on(joined: Joined, state_8K: Array, ahead_2KN: Array, read_K: Array, number: int) -> None:
    """Read the next stretch of a part's suffix array; its head stays.

    read_K: how much of each part was read.
    """
    from stillage.corpus.merge_kernels import AT, FILLED, IS_LAST

    part, start = joined.parts[number], int(read_K[number])
    end = min(start + ahead_2KN.shape[2], len(part.suffixes_T))
    positions_N = np.asarray(part.suffixes_T[start:end]).astype(np.int64)
    check_index(positions_N, part.lcp_T[start:end], len(part.tokens_T))
    ahead_2KN[0, number, : end - start] = positions_N + joined.firsts_K[number]
    ahead_2KN[1, number, : end - start] = part.lcp_T[start:end]
    state_8K[FILLED, number], state_8K[AT, number] = end - start, -1
    state_8K[IS_LAST, number] = end == len(part.suffixes_T)
    read_K[number] = end
