"""Compiled loops that merge suffix arrays; imported only where they run (numba compiles them).

Positions are counted through all parts. The token at position g of part k stands at bases_K[k] + g.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stillage.types import Array

STEP = 256  # positions per entry of the coarse table of documents
RUN = 256  # tokens between two places at which the end of a common run is remembered


class Places(NamedTuple):
    """Where the tokens and the documents of all parts are."""

    halves: Array  # uint16: one window over the memory of all parts
    is_wide: bool  # a token takes two of them, the lower half first
    bases_K: Array  # int64
    firsts_K: Array  # int64 [K + 1]: the first position of each part, and the end
    offsets_D: Array  # int64 [D + 1]: where each document of the corpus begins
    coarse: Array  # int64: the document of every STEP-th position, and the last document


class Heads(NamedTuple):
    """The next suffix of every part, and the tree of the losers of their matches."""

    position_K: Array  # int64
    end_K: Array  # int64: where its document ends
    common_K: Array  # int64: tokens shared with the winner of its last match; -1: part is used up
    loser_K: Array  # int64: node 1 is the root; node 0 holds the winner of all


class Waiting(NamedTuple):
    """A stretch of every part's suffix array, read ahead."""

    position_KN: Array  # int64
    common_KN: Array  # int64
    at_K: Array  # int64: the head's place in the stretch
    filled_K: Array  # int64: how many suffixes the stretch holds
    is_last_K: Array  # bool: nothing comes after this stretch


class Runs(NamedTuple):
    """Ends of long common runs of two parts: a table of fixed size that may forget."""

    distance_N: Array  # int64: from a run to its copy; 0: free
    block_N: Array  # int64: the run covers position block * RUN
    end_N: Array  # int64: the first position at which they differ, or a document ends


@njit
def token_at(places: Places, place: int) -> int:
    """The token that stands at a place. One code for both widths: a compilation takes seconds."""
    if not places.is_wide:
        return int(places.halves[place])
    return int(places.halves[2 * place]) | int(places.halves[2 * place + 1]) << 16


@njit
def document_of(position: int, offsets_D: Array, coarse: Array) -> int:
    """The document that holds a position."""
    low, high = coarse[position // STEP], coarse[position // STEP + 1]
    while low < high:
        middle = (low + high + 1) // 2
        if offsets_D[middle] <= position:
            low = middle
        else:
            high = middle - 1
    return low


@njit
def part_of(position: int, firsts_K: Array) -> int:
    """The part that holds a position."""
    low, high = 0, len(firsts_K) - 2
    while low < high:
        middle = (low + high + 1) // 2
        if firsts_K[middle] <= position:
            low = middle
        else:
            high = middle - 1
    return low


@njit
def slot_of(distance: int, block: int, size: int) -> int:
    """Where the table of runs keeps one."""
    mixed = np.uint64(distance) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ np.uint64(block)) * np.uint64(0xC2B2AE3D27D4EB4F)
    return int((mixed >> np.uint64(32)) % np.uint64(size))


@njit
def common_tokens(
    places: Places,
    pair: tuple[int, int],
    positions: tuple[int, int],
    known: int,
    most: int,
    runs: Runs,
) -> int:
    """How many tokens two suffixes share, where `known` are and `most` can be.

    pair: the places where they stand. Compared once, a long common run is looked up afterwards:
    copies of one long text cost a comparison of their tokens, not one for each of their suffixes.
    """
    first, distance = positions[0], positions[1] - positions[0]
    at, size, unknown_from = known, len(runs.end_N), -1
    while True:
        stop = min(most, ((first + at) // RUN + 1) * RUN - first)
        while at < stop and token_at(places, pair[0] + at) == token_at(places, pair[1] + at):
            at += 1
        if at < stop or at == most:
            break
        block = (first + at) // RUN
        slot = slot_of(distance, block, size)
        if runs.distance_N[slot] == distance and runs.block_N[slot] == block:
            at = runs.end_N[slot] - first
            break
        if unknown_from < 0:
            unknown_from = block
    if unknown_from >= 0:
        for block in range(unknown_from, (first + at) // RUN + 1):
            slot = slot_of(distance, block, size)
            runs.distance_N[slot] = distance
            runs.block_N[slot] = block
            runs.end_N[slot] = first + at
    return at


@njit
def play(places: Places, heads: Heads, runs: Runs, a: int, b: int) -> int:
    """Which of two parts has the smaller next suffix; the loser keeps what they share.

    Both know how many tokens they share with the suffix that was taken last; who shares more is
    smaller, and tokens are compared only where they share as many (Ng & Kakehashi 2008).
    """
    if heads.common_K[a] != heads.common_K[b]:
        return a if heads.common_K[a] > heads.common_K[b] else b
    known = heads.common_K[a]
    if known < 0:
        return a
    if heads.position_K[a] > heads.position_K[b]:
        a, b = b, a
    first, second = heads.position_K[a], heads.position_K[b]
    length, other = heads.end_K[a] - first, heads.end_K[b] - second
    at = (places.bases_K[a] + first, places.bases_K[b] + second)
    most = min(length, other)
    common = common_tokens(places, at, (first, second), known, most, runs)
    is_first = length <= other  # a document's end is smaller than any token; ties by position
    if common < most:
        is_first = token_at(places, at[0] + common) < token_at(places, at[1] + common)
    winner, loser = (a, b) if is_first else (b, a)
    heads.common_K[loser] = common
    return winner


@njit
def take_head(places: Places, heads: Heads, waiting: Waiting, part: int) -> None:
    """Make the suffix at the part's place in its stretch its head."""
    at = waiting.at_K[part]
    if at >= waiting.filled_K[part]:
        heads.common_K[part] = -1
        return
    position = waiting.position_KN[part, at]
    heads.position_K[part] = position
    heads.common_K[part] = waiting.common_KN[part, at]
    document = document_of(position, places.offsets_D, places.coarse)
    heads.end_K[part] = places.offsets_D[document + 1]


@njit
def first_matches(places: Places, heads: Heads, waiting: Waiting, runs: Runs) -> None:
    """Let the first suffixes of all parts play; every node keeps its loser."""
    parts = len(heads.loser_K)
    winners = np.empty(2 * parts, dtype=np.int64)
    for part in range(parts):
        take_head(places, heads, waiting, part)
        winners[parts + part] = part
    for node in range(parts - 1, 0, -1):
        a, b = int(winners[2 * node]), int(winners[2 * node + 1])
        winner = play(places, heads, runs, a, b)
        winners[node], heads.loser_K[node] = winner, a + b - winner
    heads.loser_K[0] = winners[1]


@njit
def merge_block(
    places: Places,
    heads: Heads,
    waiting: Waiting,
    runs: Runs,
    out: tuple[Array, Array],
    done: int,
) -> tuple[int, int]:
    """Write merged suffixes and what each shares with the one before, from out[.][done] on.

    Returns how many are written, and the part whose stretch has to be read on (-1: none).
    """
    parts = len(heads.loser_K)
    while done < len(out[0]):
        part = heads.loser_K[0]
        if heads.common_K[part] < 0:
            break
        if waiting.at_K[part] + 1 == waiting.filled_K[part] and not waiting.is_last_K[part]:
            return done, part
        out[0][done] = heads.position_K[part]
        out[1][done] = heads.common_K[part]
        done += 1
        waiting.at_K[part] += 1
        take_head(places, heads, waiting, part)
        node = (parts + part) // 2
        while node > 0:
            loser = int(heads.loser_K[node])
            winner = play(places, heads, runs, loser, part)
            heads.loser_K[node] = loser + part - winner
            part = winner
            node //= 2
        heads.loser_K[0] = part
    return done, -1
