"""Loops over all windows of so many tokens, compiled by numba at their first call.

A window's hash is a polynomial over its tokens, in 64 bits: equal windows have equal hashes, and
what has equal hashes is compared by its tokens.
"""

from __future__ import annotations

import numba
import numpy as np

from stillage.types import Array

compiled = numba.njit(nogil=True)
BASE = np.uint64(0x9E3779B97F4A7C15)
ONE, FULL = np.uint64(1), 255  # a counter of a byte stays at FULL


@compiled
def mix(value: np.uint64) -> np.uint64:
    """Spread 64 bits over 64 bits (splitmix64's last step, Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@compiled
def mix_all(values_C: Array) -> Array:
    """Spread each of some 64-bit numbers."""
    mixed_C = np.empty_like(values_C)
    for number in range(len(values_C)):
        mixed_C[number] = mix(values_C[number])
    return mixed_C


@compiled
def hash_windows(tokens_T: Array, places_C: Array, length: int, hash_C: Array) -> None:
    """The hash of the window at each place."""
    for number in range(len(places_C)):
        state = np.uint64(0)
        for at in range(places_C[number], places_C[number] + length):
            state = state * BASE + mix(np.uint64(tokens_T[at]) + ONE)
        hash_C[number] = mix(state)


@compiled
def pass_over(
    tokens_T: Array, offsets_D: Array, length: int, counters: Array, marks_T: Array, least: int
) -> None:
    """Count every window in its counter, or mark those whose counter has enough.

    counters: uint8 [2 ** bits], chosen by a window's hash. marks_T: uint8; empty: count.
    """
    bits = 0
    while (1 << bits) < len(counters):
        bits += 1
    shift = np.uint64(64 - bits)
    gone = ONE  # what a token that leaves the window was multiplied by
    for _ in range(length):
        gone = gone * BASE
    for document in range(len(offsets_D) - 1):
        start, end = offsets_D[document], offsets_D[document + 1]
        state = np.uint64(0)
        for at in range(start, end if end - start >= length else start):
            state = state * BASE + mix(np.uint64(tokens_T[at]) + ONE)
            first = at - length + 1
            if first > start:
                state -= gone * mix(np.uint64(tokens_T[first - 1]) + ONE)
            if first >= start:
                counter = mix(state) >> shift
                if len(marks_T):
                    marks_T[first] = counters[counter] >= least
                elif counters[counter] < FULL:
                    counters[counter] += 1


@compiled
def collect_windows(
    suffixes_T: Array,
    lcp_T: Array,
    length: int,
    span: tuple[int, int],
    marks_T: Array,
    places_C: Array,
    counts_C: Array,
) -> int:
    """Take the distinct windows of a shard that may qualify: how many.

    Suffixes that share `length` tokens and more are one window, that often. With marks_T those
    that are marked; without, those that occur span[0] to span[1] times. places_C
    and counts_C: where one of them stands, and how many they are; empty: only count them.
    """
    rank, found = 0, 0
    while rank < len(suffixes_T):
        behind = rank + 1
        while behind < len(suffixes_T) and lcp_T[behind] >= length:
            behind += 1
        count, place = behind - rank, suffixes_T[rank]
        if marks_T[place] != 0 if len(marks_T) else span[0] <= count <= span[1]:
            if len(places_C):
                places_C[found] = place
                counts_C[found] = count
            found += 1
        rank = behind
    return found
