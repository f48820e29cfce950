"""Compiled loops of `shared_pieces`: build a suffix automaton, and walk it.

A state stands for the pieces that end at the same places; `link` leads to the longest of their ends
that occurs elsewhere, too. Blumer et al., "Complete inverted files" (J. ACM 34, 1987): at most 2
states and 3 moves a symbol, for any alphabet. Symbols are 0 to 2^32 - 1; -1 is one that is not
there. Moves lie in one hash table (open addressing, keys state << 32 | symbol).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit

from stillage.types import Array

FREE = -1
NONE = -1
Integer: TypeAlias = Any
"""Python's or numpy's, which compiled code does not tell apart."""


@njit
def slot_of(keys: Array, state: Integer, symbol: Integer) -> Integer:
    """Find the slot of a move; -1 - slot where it is free."""
    key = (np.int64(state) << 32) | np.int64(symbol)
    mixed = (np.uint64(key) ^ (np.uint64(key) >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    slot = np.int64(((mixed >> np.uint64(32)) * np.uint64(keys.size)) >> np.uint64(32))
    while keys[slot] != FREE:
        if keys[slot] == key:
            return slot
        slot += 1
        if slot == keys.size:
            slot = 0
    return -1 - slot


@njit
def add_move(
    moves: tuple[Array, Array, Array], heads: Array, state: Integer, symbol: Integer, to: Integer
) -> None:
    """Add a move that is not there yet.

    moves: keys, targets, and the next move of the same state.
    """
    keys, targets, after = moves
    slot = -1 - slot_of(keys, state, symbol)
    keys[slot] = (np.int64(state) << 32) | np.int64(symbol)
    targets[slot] = to
    after[slot] = heads[state]
    heads[state] = slot


@njit
def split_state(
    states: tuple[Array, Array, Array, Array],
    moves: tuple[Array, Array, Array],
    place: tuple[Integer, Integer, Integer],
    new: Integer,
) -> None:
    """Give the pieces that end at one more place a state of their own, `new`.

    place: state p, symbol c and the state that c leads to, which holds longer pieces besides.
    """
    length, link, end, heads = states
    keys, targets, after = moves
    p, symbol, old = place
    length[new], link[new], end[new] = length[p] + 1, link[old], end[old]
    heads[new] = NONE
    slot = heads[old]
    while slot != NONE:
        add_move(moves, heads, new, keys[slot] & 0xFFFFFFFF, targets[slot])
        slot = after[slot]
    link[old] = new
    while p != NONE:
        slot = slot_of(keys, p, symbol)
        if slot < 0 or targets[slot] != old:
            break
        targets[slot] = new
        p = link[p]


@njit
def build_automaton(
    symbols_T: Array,
    offsets_D: Array,
    states: tuple[Array, Array, Array, Array],
    moves: tuple[Array, Array, Array],
    state_T: Array,
) -> Integer:
    """Build the automaton of all documents; return how many states it has.

    state_T: filled with the state of each document's beginning up to that symbol.
    """
    length, link, end, heads = states
    keys, targets, _ = moves
    length[0], link[0], end[0], heads[0] = 0, NONE, NONE, NONE
    count = 1
    for document in range(offsets_D.size - 1):
        last = 0
        for at in range(offsets_D[document], offsets_D[document + 1]):
            symbol = symbols_T[at]
            slot = slot_of(keys, last, symbol)
            if slot >= 0:  # an earlier document has this beginning somewhere
                old = targets[slot]
                if length[old] != length[last] + 1:
                    split_state(states, moves, (last, symbol, old), count)
                    old, count = count, count + 1
                last = old
            else:
                new, p = count, last
                count += 1
                length[new], end[new], heads[new] = length[last] + 1, at, NONE
                while p != NONE and slot < 0:
                    add_move(moves, heads, p, symbol, new)
                    p = link[p]
                    if p != NONE:
                        slot = slot_of(keys, p, symbol)
                link[new] = 0
                if p != NONE:
                    old = targets[slot]
                    if length[old] != length[p] + 1:
                        split_state(states, moves, (p, symbol, old), count)
                        old, count = count, count + 1
                    link[new] = old
                last = new
            state_T[at] = last
    return count


@njit
def sum_up(
    found: tuple[Array, Array, Array, Array, Array],
    document: Integer,
    bounds: tuple[Integer, Integer, Integer, Integer],
    covered_to: Integer,
    least: Integer,
    gram: Integer,
) -> Integer:
    """Add to a document's sums a piece; returns the last place covered.

    found: of each document the longest piece, its start, the place of its start on the other side,
    words covered, grams shared. bounds: where the piece ends, its length, where it ends on the
    other side, and the words of the document; places count from the document's first word.
    """
    longest_D, start_D, place_D, covered_D, grams_D = found
    at, size, other, words = bounds
    if size > longest_D[document]:
        longest_D[document], start_D[document] = size, at - size + 1
        place_D[document] = other - size + 1
    if size >= min(gram, words):
        grams_D[document] += 1
    if size >= least:
        covered_D[document] += at - max(at - size, covered_to)
        covered_to = at
    return covered_to


@njit
def walk(
    symbols_T: Array,
    offsets_D: Array,
    automaton: tuple[Array, Array, Array, Array, Array],
    hits: tuple[Array, Array, Array],
    found: tuple[Array, Array, Array, Array, Array],
    limits: tuple[Integer, Integer, Integer],
) -> None:
    """Find the longest piece that ends at each place of the other side's documents.

    automaton: length, link, end, keys, targets. hits: of each state the longest piece met, where it
    ended first, and where any piece ended first. found: as of `sum_up`. limits: symbols of the
    other side before these; the least piece that counts as covered; the words of a gram.
    """
    length, link, end, keys, targets = automaton
    longest_hit, place_hit, first_hit = hits
    before, least, gram = limits
    for document in range(offsets_D.size - 1):
        state, size, covered_to = 0, 0, np.int64(-1)
        words = offsets_D[document + 1] - offsets_D[document]
        for at in range(offsets_D[document], offsets_D[document + 1]):
            symbol = symbols_T[at]
            slot = np.int64(-1)
            if symbol >= 0:
                slot = slot_of(keys, state, symbol)
                while slot < 0 and state != 0:
                    state = link[state]
                    size = length[state]
                    slot = slot_of(keys, state, symbol)
            if slot < 0:
                state, size = 0, 0
                continue
            state, size = targets[slot], size + 1
            place = before + at
            if size > longest_hit[state]:
                longest_hit[state], place_hit[state] = size, place
            if first_hit[state] == NONE:
                first_hit[state] = place
            bounds = (at - offsets_D[document], size, np.int64(end[state]), words)
            covered_to = sum_up(found, document, bounds, covered_to, least, gram)


@njit
def settle(order: Array, length: Array, link: Array, hits: tuple[Array, Array, Array]) -> None:
    """Pass hits on to the shorter pieces that end them, then to pieces never met.

    order: the states, the longest first. A piece that ends another is met where that one is.
    """
    longest_hit, place_hit, first_hit = hits
    for state in order:
        parent = link[state]
        if longest_hit[state] > 0 and parent > 0:
            first = first_hit[state]
            if longest_hit[parent] < length[parent]:
                longest_hit[parent], place_hit[parent] = length[parent], first
            elif place_hit[parent] > first:
                place_hit[parent] = first
            if first_hit[parent] == NONE or first_hit[parent] > first:
                first_hit[parent] = first
    for state in order[::-1]:
        if longest_hit[state] == 0 and link[state] > 0:
            longest_hit[state] = longest_hit[link[state]]
            place_hit[state] = place_hit[link[state]]


@njit
def sum_up_own(
    offsets_D: Array,
    state_T: Array,
    hits: tuple[Array, Array, Array],
    found: tuple[Array, Array, Array, Array, Array],
    limits: tuple[Integer, Integer],
) -> None:
    """Sum up the automaton's own documents, after `settle`.

    limits: the last two of `walk`.
    """
    longest_hit, place_hit, _ = hits
    least, gram = limits
    for document in range(offsets_D.size - 1):
        start, covered_to = offsets_D[document], np.int64(-1)
        words = offsets_D[document + 1] - start
        for at in range(start, offsets_D[document + 1]):
            state = state_T[at]
            size = np.int64(longest_hit[state])
            if size > 0:
                bounds = (at - start, size, place_hit[state], words)
                covered_to = sum_up(found, document, bounds, covered_to, least, gram)
