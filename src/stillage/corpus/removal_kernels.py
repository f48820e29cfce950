"""Compiled loop that turns copies of L tokens into spans; imported where it runs."""

from __future__ import annotations

import numpy as np
from numba import njit

from stillage.types import Array


@njit
def chain_end(copy: int, source_T: Array, first: int, starts: Array) -> int:
    """Find the last copy in a run of copies whose sources follow each other too."""
    while copy + 1 < len(source_T) and source_T[copy + 1] == source_T[copy] + 1:
        if len(starts):  # single tokens: what follows may belong to the next document
            here, there = first + copy + 1, source_T[copy + 1]
            if starts[np.searchsorted(starts, here)] == here:
                break
            if starts[np.searchsorted(starts, there)] == there:
                break
        copy += 1
    return copy


@njit
def write_spans(
    source_T: Array, first: int, length: int, is_kept: bool, starts: Array, out: Array
) -> int:
    """Write start, end and start of the source of every span; return how many.

    All three are positions. source_T: of what the `length` tokens from here are a copy, -1: of
    nothing. first: the position of source_T[0]. starts: where documents begin, and the end, if
    length is 1; else empty. Of all copies that remove a token, the last names its source: its span
    reaches furthest.
    """
    latest_T = np.full(len(source_T), -1, dtype=np.int64)  # the last copy that removes from here on
    for copy in range(len(source_T)):
        source = source_T[copy]
        if source >= 0:
            is_own = is_kept and source < first + copy < source + length  # it runs into its copy
            latest_T[source + length - first if is_own else copy] = copy
    count, latest, at = 0, -1, 0
    while at < len(source_T):
        latest = max(latest, latest_T[at])
        if latest < 0 or at >= latest + length:
            at += 1
            continue
        last = chain_end(latest, source_T, first, starts)
        out[count, 0], out[count, 1] = first + at, first + last + length
        out[count, 2] = source_T[latest] + at - latest
        count += 1
        while at < last + length:
            latest = max(latest, latest_T[at])
            at += 1
    return count
