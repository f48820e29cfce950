"""The longest piece in a row that each document shares with another set, exactly.

One set, the smaller, becomes an index (a suffix automaton); the other is read past it once, a batch
at a time. Time is linear in both, memory in the smaller: about 130 bytes a word. Nothing is
sampled, hashed away or cut to n-grams, so that a piece of any length is found, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

MOST_SYMBOLS = 1 << 30  # two states each are numbered in 31 bits
SLOTS = 3.5  # of the table of moves, a symbol; at most 3 moves are needed
NOT_THERE = -1
"""A symbol that the index has nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What each of D documents shares with the other set, counted in symbols.

    Of several longest pieces, it is the first in the document, and the first place of that on the
    other side. A piece never crosses from one document into the next, on neither side.
    """

    longest_D: Array  # int64: symbols of the longest shared piece; 0: none
    start_D: Array  # int64: where it begins in the document
    place_D: Array  # int64: where it begins in all symbols of the other set, one after the other
    covered_D: Array  # int64: symbols in shared pieces of at least `least`
    grams_D: Array  # int64: places whose gram is shared; of a shorter document, the whole


class PieceIndex:
    """All pieces of a set of documents, to read another set past."""

    def __init__(self, symbols_T: Array, offsets_D: Array, *, least: int, gram: int) -> None:
        """Index documents of symbols (0 to 2^32 - 1), as offsets cut them.

        least: symbols of a piece that counts as covered. gram: symbols of a gram. DataError for
        more than MOST_SYMBOLS.
        """
        count = len(symbols_T)
        if count > MOST_SYMBOLS:
            values = f"words of the smaller side: {count:,}; at most {MOST_SYMBOLS:,}"
            fix = "Cut the smaller side into parts, and compare one after the other."
            raise DataError("The smaller of two sets is too large to be indexed.", values, fix)
        from stillage.corpus import piece_kernels

        self.kernels = piece_kernels
        self.offsets_D = np.ascontiguousarray(offsets_D, dtype=np.int64)
        self.limits = (min(least, count + 1), gram)  # no shared piece is as long as that
        self.read_so_far = 0
        self.state_T = np.zeros(count, dtype=np.int32)
        length, link, end = (np.empty(2 * count + 1, dtype=np.int32) for _ in range(3))
        heads = np.empty(2 * count + 1, dtype=np.int64)
        slots = int(SLOTS * count) + 64
        keys = np.full(slots, piece_kernels.FREE, dtype=np.int64)
        targets, after = np.empty(slots, dtype=np.int32), np.empty(slots, dtype=np.int64)
        symbols_T = np.ascontiguousarray(symbols_T, dtype=np.int64)
        states, moves = (length, link, end, heads), (keys, targets, after)
        states_in_all = piece_kernels.build_automaton(
            symbols_T, self.offsets_D, states, moves, self.state_T
        )
        length, link, end = length[:states_in_all], link[:states_in_all], end[:states_in_all]
        self.automaton = (length, link, end, keys, targets)
        self.hits = (
            np.zeros(states_in_all, dtype=np.int32),
            np.full(states_in_all, -1, dtype=np.int64),
            np.full(states_in_all, -1, dtype=np.int64),
        )

    def read(self, symbols_T: Array, offsets_D: Array) -> Shared:
        """Read the next documents of the other set; NOT_THERE is shared with nothing."""
        offsets_D = np.ascontiguousarray(offsets_D, dtype=np.int64)
        found = _nothing(len(offsets_D) - 1)
        symbols_T = np.ascontiguousarray(symbols_T, dtype=np.int64)
        limits = (self.read_so_far, *self.limits)
        self.kernels.walk(symbols_T, offsets_D, self.automaton, self.hits, found, limits)
        self.read_so_far += len(symbols_T)
        return _shared(found)

    def finish(self) -> Shared:
        """Sum up what the indexed documents share with all that was read; call it once."""
        length, link, *_ = self.automaton
        order = np.argsort(length, kind="stable")[::-1]
        self.kernels.settle(order, length, link, self.hits)
        found = _nothing(len(self.offsets_D) - 1)
        self.kernels.sum_up_own(self.offsets_D, self.state_T, self.hits, found, self.limits)
        return _shared(found)


def concatenated(parts: Sequence[Shared]) -> Shared:
    """What several batches share, one after the other."""
    names = [one.name for one in fields(Shared)]
    none = [_shared(_nothing(0))]
    columns = {
        name: np.concatenate([getattr(part, name) for part in (*none, *parts)]) for name in names
    }
    return Shared(**columns)


def _nothing(documents: int) -> tuple[Array, Array, Array, Array, Array]:
    """The arrays of `Shared` before anything is found."""
    zeros = [np.zeros(documents, dtype=np.int64) for _ in range(5)]
    zeros[2] -= 1
    return (zeros[0], zeros[1], zeros[2], zeros[3], zeros[4])


def _shared(found: tuple[Array, Array, Array, Array, Array]) -> Shared:
    """The arrays by name."""
    longest_D, start_D, place_D, covered_D, grams_D = found
    return Shared(
        longest_D=longest_D,
        start_D=start_D,
        place_D=place_D,
        covered_D=covered_D,
        grams_D=grams_D,
    )
