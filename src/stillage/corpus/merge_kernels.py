"""Compiled loops that merge suffix arrays; imported only where they run.

Positions are counted through all parts. The token at position g of part k stands at place
bases_K[k] + g.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stillage.corpus.prefetch import prefetch
from stillage.types import Array
from stillage.versions import NUMBA_LOOP as LOOP

STEP = 256  # positions per entry of the coarse table of documents
COMING = 8  # suffixes ahead of the head: their tokens are announced to the processor
RUN = 256  # tokens between two places at which the end of a common run is remembered

POSITION, END, COMMON, BASE, LOSER, AT, FILLED, IS_LAST = range(8)
"""Rows of the state of a merge, int64 [8, K]; a part's head is its next suffix.

POSITION of the head, END of its document, COMMON tokens with the winner of its last match (-1: the
part is used up); BASE: place of a position less itself. LOSER of a node of the tree of matches
(node 1 is the root; node 0 holds the winner of all). Of the stretch that was read ahead: AT, the
head's place in it; FILLED, how many suffixes it holds; IS_LAST, nothing comes after it.
"""


class Places(NamedTuple):
    """Where the tokens and the documents of all parts are."""

    halves: Array  # uint16: one window over the memory of all parts
    is_wide: bool  # a token takes two of them, the lower half first
    bases_K: Array  # int64
    firsts_K: Array  # int64 [K + 1]: the first position of each part, and the end
    offsets_D: Array  # int64 [D + 1]: where each document of the corpus begins
    coarse: Array  # int64: the document of every STEP-th position, and the last document


@njit(**LOOP)
def token_at(halves: Array, is_wide: bool, place: int) -> int:
    """Read the token at a place.

    One function for both widths, as each compilation takes seconds.
    halves: uint16; a wide token takes two of them, the lower half first.
    """
    if not is_wide:
        return int(halves[place])
    return int(halves[2 * place]) | int(halves[2 * place + 1]) << 16


@njit(**LOOP)
def last_begun(firsts: Array, position: int, low: int, high: int) -> int:
    """Find the last of low to high that begins at a position or before it."""
    while low < high:
        middle = (low + high + 1) // 2
        if firsts[middle] <= position:
            low = middle
        else:
            high = middle - 1
    return low


@njit(**LOOP)
def document_of(position: int, offsets_D: Array, coarse: Array) -> int:
    """The document that holds a position; coarse: those of every STEP-th position."""
    near = position // STEP
    return last_begun(offsets_D, position, coarse[near], coarse[near + 1])


@njit(**LOOP)
def part_of(position: int, firsts_K: Array) -> int:
    """The part that holds a position."""
    return last_begun(firsts_K, position, 0, len(firsts_K) - 2)


@njit(**LOOP)
def run_slot(distance: int, block: int, size: int) -> int:
    """Where the table of runs keeps one."""
    mixed = np.uint64(distance) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ np.uint64(block)) * np.uint64(0xC2B2AE3D27D4EB4F)
    return int((mixed >> np.uint64(32)) % np.uint64(size))


@njit(**LOOP)
def common_tokens(
    halves: Array,
    is_wide: bool,
    pair: tuple[int, int, int, int],
    known: int,
    most: int,
    runs_N3: Array,
) -> int:
    """How many tokens two suffixes share, where `known` are and `most` can be.

    pair: their places, the first one's position, and how far the second is from it. Compared once,
    a long common run is looked up afterwards: copies of one long text cost a comparison of their
    tokens, not one for each of their suffixes. runs_N3: distance (0: free), block and end of runs
    that cover position block * RUN; a table that may forget.
    """
    first_place, second_place, first, distance = pair
    at, size, unknown_from = known, len(runs_N3), -1
    while True:
        stop = min(most, ((first + at) // RUN + 1) * RUN - first)
        while at < stop and (
            token_at(halves, is_wide, first_place + at)
            == token_at(halves, is_wide, second_place + at)
        ):
            at += 1
        if at < stop or at == most:
            break
        block = (first + at) // RUN
        slot = run_slot(distance, block, size)
        if runs_N3[slot, 0] == distance and runs_N3[slot, 1] == block:
            at = runs_N3[slot, 2] - first
            break
        if unknown_from < 0:
            unknown_from = block
    if unknown_from >= 0:
        for block in range(unknown_from, (first + at) // RUN + 1):
            slot = run_slot(distance, block, size)
            runs_N3[slot, 0], runs_N3[slot, 1], runs_N3[slot, 2] = distance, block, first + at
    return at


@njit(**LOOP)
def play(halves: Array, is_wide: bool, state_8K: Array, runs_N3: Array, a: int, b: int) -> int:
    """Which of two parts has the smaller next suffix; the loser keeps what they share.

    Both know how many tokens they share with the suffix that was taken last; who shares more is
    smaller, and tokens are compared only where they share as many (Ng & Kakehashi 2008).
    """
    known = state_8K[COMMON, a]
    if known != state_8K[COMMON, b]:
        return a if known > state_8K[COMMON, b] else b
    if known < 0:
        return a
    if state_8K[POSITION, a] > state_8K[POSITION, b]:
        a, b = b, a
    first, second = state_8K[POSITION, a], state_8K[POSITION, b]
    length, other = state_8K[END, a] - first, state_8K[END, b] - second
    place, second_place = state_8K[BASE, a] + first, state_8K[BASE, b] + second
    most = min(length, other)
    pair = (place, second_place, first, second - first)
    common = common_tokens(halves, is_wide, pair, known, most, runs_N3)
    is_first = length <= other  # a document's end is smaller than any token; ties by position
    if common < most:
        is_first = token_at(halves, is_wide, place + common) < token_at(
            halves, is_wide, second_place + common
        )
    winner, loser = (a, b) if is_first else (b, a)
    state_8K[COMMON, loser] = common
    return winner


@njit(**LOOP)
def take_head(
    state_8K: Array, ahead_2KN: Array, offsets_D: Array, coarse: Array, part: int
) -> None:
    """Make the suffix at the part's place in its stretch its head."""
    at = state_8K[AT, part]
    if at >= state_8K[FILLED, part]:
        state_8K[COMMON, part] = -1
        return
    position = ahead_2KN[0, part, at]
    state_8K[POSITION, part] = position
    state_8K[COMMON, part] = ahead_2KN[1, part, at]
    state_8K[END, part] = offsets_D[document_of(position, offsets_D, coarse) + 1]


@njit(**LOOP)
def announce(halves: Array, is_wide: bool, state_8K: Array, ahead_2KN: Array, part: int) -> None:
    """Prefetch the tokens that a coming head of the part will be compared at."""
    at = state_8K[AT, part] + COMING
    if at < state_8K[FILLED, part]:
        place = state_8K[BASE, part] + ahead_2KN[0, part, at] + ahead_2KN[1, part, at]
        prefetch(halves, 2 * place if is_wide else place)


@njit
def first_matches(places: Places, state_8K: Array, ahead_2KN: Array, runs_N3: Array) -> None:
    """Let the first suffixes of all parts play; every node keeps its loser."""
    parts = state_8K.shape[1]
    winners = np.empty(2 * parts, dtype=np.int64)
    for part in range(parts):
        state_8K[BASE, part] = places.bases_K[part]
        take_head(state_8K, ahead_2KN, places.offsets_D, places.coarse, part)
        winners[parts + part] = part
    for node in range(parts - 1, 0, -1):
        a, b = int(winners[2 * node]), int(winners[2 * node + 1])
        winner = play(places.halves, places.is_wide, state_8K, runs_N3, a, b)
        winners[node], state_8K[LOSER, node] = winner, a + b - winner
    state_8K[LOSER, 0] = winners[1]


@njit(**LOOP)
def merge_block(
    places: Places, state_8K: Array, ahead_2KN: Array, runs_N3: Array, out_2N: Array, done: int
) -> tuple[int, int]:
    """Write merged suffixes, and what each shares with the last, from `done` on.

    ahead_2KN: the stretches, positions and tokens shared. done: columns of out_2N that are full.
    Returns how many are written, and the part whose stretch has to be read on (-1: none).
    """
    halves, is_wide, offsets_D, coarse = (
        places.halves,
        places.is_wide,
        places.offsets_D,
        places.coarse,
    )
    parts = state_8K.shape[1]
    while done < out_2N.shape[1]:
        part = int(state_8K[LOSER, 0])
        if state_8K[COMMON, part] < 0:
            break
        if state_8K[AT, part] + 1 == state_8K[FILLED, part] and not state_8K[IS_LAST, part]:
            return done, part
        out_2N[0, done] = state_8K[POSITION, part]
        out_2N[1, done] = state_8K[COMMON, part]
        done += 1
        state_8K[AT, part] += 1
        announce(places.halves, places.is_wide, state_8K, ahead_2KN, part)
        take_head(state_8K, ahead_2KN, offsets_D, coarse, part)
        node = (parts + part) // 2
        while node > 0:
            loser = int(state_8K[LOSER, node])
            winner = play(halves, is_wide, state_8K, runs_N3, loser, part)
            state_8K[LOSER, node] = loser + part - winner
            part = winner
            node //= 2
        state_8K[LOSER, 0] = part
    return done, -1
