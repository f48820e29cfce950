"""Compiled loops that find repeats in merged suffixes; imported where they run.

Suffixes that share tokens stand together. An interval is all suffixes that share the same n tokens,
not all of which share more: the occurrences of a sequence that do not all go on alike. Intervals
lie in one another; a stack holds the open ones (Abouelhoda, Kurtz & Ohlebusch 2004).
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from stillage.corpus.merge_kernels import Places, document_of, part_of, token_at
from stillage.types import Array
from stillage.versions import NUMBA_LOOP as LOOP

SEVERAL = -1  # the occurrences have different tokens before them, or one begins its document


class Walk(NamedTuple):
    """The state of a walk over merged suffixes, kept from block to block."""

    at: Array  # int64 [3]: open intervals, rank of the next suffix, position of the last one
    latest_D: Array  # int64: rank of the document's last suffix in any interval; -1: none


class Open(NamedTuple):
    """The stack of open intervals, the longest sequence last."""

    length_S: Array  # int64: tokens that its suffixes share
    rank_S: Array  # int64: of its first suffix
    first_S: Array  # int64: smallest position
    before_S: Array  # int64: the token before each of its suffixes, or SEVERAL
    again_S: Array  # int64: suffixes of a document that has an earlier one in it


class Found(NamedTuple):
    """Repeats that were found, in the order in which their intervals closed."""

    length_N: Array  # int64
    count_N: Array  # int64
    first_N: Array  # int64: position of the first occurrence
    documents_N: Array  # int64: how many documents hold it


@njit(**LOOP)
def token_before(position: int, document: int, places: Places) -> int:
    """Read the token before a position; SEVERAL where a document begins."""
    if places.offsets_D[document] == position:
        return SEVERAL
    base = places.bases_K[part_of(position, places.firsts_K)]
    return token_at(places.halves, places.is_wide, base + position - 1)


@njit(**LOOP)
def note_document(document: int, rank: int, depth: int, walk: Walk, stack: Open) -> None:
    """Count a document's suffix as a further one in the interval that holds both.

    That is the smallest open interval that also holds the document's suffix before.
    """
    latest = walk.latest_D[document]
    walk.latest_D[document] = rank
    low, high = 0, depth  # of the intervals, those that begin at `latest` or before
    while low < high:
        middle = (low + high) // 2
        if stack.rank_S[middle] <= latest:
            low = middle + 1
        else:
            high = middle
    if low:
        stack.again_S[low - 1] += 1


@njit(**LOOP)
def add_to_top(top: int, first: int, before: int, again: int, stack: Open) -> None:
    """Add suffixes to an interval."""
    stack.first_S[top] = min(stack.first_S[top], first)
    stack.again_S[top] += again
    if stack.before_S[top] != before:
        stack.before_S[top] = SEVERAL


@njit(**LOOP)
def close_top(top: int, rank: int, min_count: int, stack: Open, found: Found, done: int) -> int:
    """Write the interval that ends before `rank` if it is a maximal repeat.

    Returns how many are written now.
    To the right it is one already; to the left, where different tokens stand before it.
    """
    count = rank - stack.rank_S[top]
    if stack.before_S[top] != SEVERAL or count < min_count:
        return done
    found.length_N[done] = stack.length_S[top]
    found.count_N[done] = count
    found.first_N[done] = stack.first_S[top]
    found.documents_N[done] = count - stack.again_S[top]
    return done + 1


@njit(**LOOP)
def walk_block(
    places: Places,
    walk: Walk,
    stack: Open,
    found: Found,
    block: tuple[Array, Array],
    limits: tuple[int, int],
) -> int:
    """Walk on over a block of merged suffixes; return how many repeats were found.

    limits: least length and least count. A last block with one suffix that shares nothing closes
    what is open.
    """
    depth, rank, last = walk.at[0], walk.at[1], walk.at[2]
    done = 0
    for number in range(len(block[0])):
        common = block[1][number] if block[1][number] >= limits[0] else 0
        if depth or common:  # the suffix before is in an interval
            document = document_of(last, places.offsets_D, places.coarse)
            start, first, again = rank - 1, last, 0
            before = token_before(last, document, places)
            note_document(document, rank - 1, depth, walk, stack)
            is_apart = True  # not in an open interval yet
            if depth and common <= stack.length_S[depth - 1]:
                add_to_top(depth - 1, first, before, 0, stack)
                is_apart = False
            while depth and stack.length_S[depth - 1] > common:
                depth -= 1
                done = close_top(depth, rank, limits[1], stack, found, done)
                start, first = int(stack.rank_S[depth]), int(stack.first_S[depth])
                before, again = int(stack.before_S[depth]), int(stack.again_S[depth])
                is_apart = not depth or stack.length_S[depth - 1] < common
                if not is_apart:
                    add_to_top(depth - 1, first, before, again, stack)
            if is_apart and common:
                stack.length_S[depth], stack.rank_S[depth] = common, start
                stack.first_S[depth], stack.before_S[depth] = first, before
                stack.again_S[depth] = again
                depth += 1
        last = block[0][number]
        rank += 1
    walk.at[0], walk.at[1], walk.at[2] = depth, rank, last
    return done


@njit(**LOOP)
def count_clusters(
    block: tuple[Array, Array], length: int, at: Array, is_start_T8: Array, sizes_N: Array
) -> int:
    """Mark positions whose first `length` tokens are repeated.

    Returns how many clusters have ended.
    at: size of the open cluster, and its last position. is_start_T8: a bit a position. sizes_N:
    where the sizes of clusters of two and more go.
    """
    size, last, done = at[0], at[1], 0
    for number in range(len(block[0])):
        position = block[0][number]
        if block[1][number] >= length:
            if size == 1:
                is_start_T8[last >> 3] |= 1 << (last & 7)
            is_start_T8[position >> 3] |= 1 << (position & 7)
            size += 1
        else:
            if size > 1:
                sizes_N[done] = size
                done += 1
            size = 1
        last = position
    at[0], at[1] = size, last
    return done


@njit(**LOOP)
def count_covered(is_start_T8: Array, length: int, offsets_D: Array) -> tuple[int, int]:
    """How many tokens lie in a marked sequence, and how many documents hold one."""
    tokens, documents = 0, 0
    for document in range(len(offsets_D) - 1):
        position, end = offsets_D[document], offsets_D[document + 1]
        covered, before = position, tokens
        while position < end:
            byte = is_start_T8[position >> 3]
            if not byte:
                position = ((position >> 3) + 1) << 3
                continue
            if byte >> (position & 7) & 1:
                tokens += position + length - max(position, covered)
                covered = position + length
            position += 1
        documents += tokens > before
    return tokens, documents
