"""Distances at the places that a filter leaves: loops over a batch of tokens.

A region is a target and a range of ends: indices, in the batch, of the last token of pieces that
may be near it. Every piece lies within one document.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stillage.corpus.edit_kernels import ANYWHERE, AT_THE_FIRST, sweep
from stillage.types import Array

LEVENSHTEIN, HAMMING = 1, 2
"""Metrics, as bits: a search may ask for both."""


@njit(nogil=True)
def target_locals(keys_S: Array, local_S: Array, tokens_T: Array, out_T: Array) -> None:
    """Write which distinct token of a target each token of a text is; 0: none.

    keys_S, local_S: the target's hash table, as `tables_of_targets` makes it.
    """
    mask = np.uint32(keys_S.size - 1)
    for at in range(tokens_T.size):
        token = tokens_T[at]
        slot = hash_slot(token) & mask
        while local_S[slot] != 0 and keys_S[slot] != token:
            slot = (slot + np.uint32(1)) & mask
        out_T[at] = local_S[slot]


@njit(nogil=True)
def fill_slots(keys_S: Array, local_S: Array, tokens_L: Array) -> None:
    """Number distinct tokens from 1 in a hash table, open addressing."""
    mask = np.uint32(keys_S.size - 1)
    for number in range(tokens_L.size):
        slot = hash_slot(tokens_L[number]) & mask
        while local_S[slot] != 0:
            slot = (slot + np.uint32(1)) & mask
        keys_S[slot], local_S[slot] = tokens_L[number], number + 1


@njit(nogil=True)
def hash_slot(token: int) -> np.uint32:
    """Spread token ids over 32 bits."""
    mixed = np.uint32(token) * np.uint32(2654435769)
    return mixed ^ (mixed >> np.uint32(15))


@njit(nogil=True)
def near_windows(
    tokens_T: Array,
    offsets_D: Array,
    regions_P3: Array,
    tables: tuple[Array, Array, Array, Array, Array],
    limits: tuple[int, int],
    hits_H4: Array,
) -> int:
    """Measure every window of a target's length that ends in its region.

    offsets_D: of documents, in the batch. regions_P3: target, first and last end. tables: see
    `near_plan.Tables`. limits: greatest distance, metrics as bits. hits_H4: target, metric, end,
    distance. Returns how many hits there are, even where there is no room.

    Neighbouring windows differ by at most 2 in Levenshtein distance: at distance d, the next
    (d - k - 1) // 2 windows can't be near.
    """
    keys_NS, local_NS, needs_NL, masks_NLW, targets_NM = tables
    most, metrics = limits
    length = targets_NM.shape[1]
    counts = np.zeros(needs_NL.shape[1], dtype=np.int32)
    scores = np.empty(length, dtype=np.int64)
    found = 0
    for region in range(regions_P3.shape[0]):
        target, low, high = regions_P3[region]
        document = np.searchsorted(offsets_D, low, side="right") - 1
        while document < offsets_D.size - 1 and offsets_D[document] <= high:
            start = max(low - length + 1, offsets_D[document])
            stop = min(high + 1, offsets_D[document + 1])
            document += 1
            if stop - start < length:
                continue
            text = tokens_T[start:stop]
            local = np.empty(text.size, dtype=np.uint32)
            target_locals(keys_NS[target], local_NS[target], text, local)
            needs, own = needs_NL[target], targets_NM[target]
            counts[:] = 0
            overlap = skip = 0
            for at in range(text.size):
                number = local[at]
                overlap += counts[number] < needs[number]
                counts[number] += 1
                begin = at - length + 1
                if begin < 0:
                    continue
                if overlap >= length - most:
                    if metrics & HAMMING:
                        distance = 0
                        for place in range(length):
                            distance += local[begin + place] != own[place]
                        if distance <= most:
                            found = _add(hits_H4, found, target, HAMMING, start + at, distance)
                    if metrics & LEVENSHTEIN and at >= skip:
                        window = local[begin : at + 1]
                        sweep(masks_NLW[target], length, window, AT_THE_FIRST, scores)
                        distance = int(scores[length - 1])
                        skip = at + max(1, (distance - most + 1) // 2)
                        if distance <= most:
                            found = _add(hits_H4, found, target, LEVENSHTEIN, start + at, distance)
                gone = local[begin]
                counts[gone] -= 1
                overlap -= counts[gone] < needs[gone]
    return found


@njit(nogil=True)
def near_pieces(
    tokens_T: Array,
    offsets_D: Array,
    regions_P3: Array,
    tables: tuple[Array, Array, Array, Array, Array],
    limits: tuple[int, int],
    hits_H4: Array,
) -> int:
    """Find every end in a region where some piece, of any length, is near its target.

    As `near_windows`, for Levenshtein distance alone; the distance is the least of all pieces with
    that end. A piece near a target is at most m + k tokens long; its last m tokens hold m - k of
    the target's (`count_filter`).
    """
    keys_NS, local_NS, needs_NL, masks_NLW, targets_NM = tables
    most = limits[0]
    length = targets_NM.shape[1]
    longest = length + most
    counts = np.zeros(needs_NL.shape[1], dtype=np.int32)
    found = 0
    for region in range(regions_P3.shape[0]):
        target, low, high = regions_P3[region]
        document = np.searchsorted(offsets_D, low, side="right") - 1
        while document < offsets_D.size - 1 and offsets_D[document] <= high:
            start = max(low - longest + 1, offsets_D[document])
            stop = min(high + 1, offsets_D[document + 1])
            document += 1
            if stop <= max(start, low):
                continue
            text = tokens_T[start:stop]
            local = np.empty(text.size, dtype=np.uint32)
            target_locals(keys_NS[target], local_NS[target], text, local)
            needs = needs_NL[target]
            counts[:] = 0
            overlap, first, last = 0, -1, -1
            for at in range(text.size):
                number = local[at]
                overlap += counts[number] < needs[number]
                counts[number] += 1
                if at >= length:
                    gone = local[at - length]
                    counts[gone] -= 1
                    overlap -= counts[gone] < needs[gone]
                if overlap >= length - most:
                    first = at if first < 0 else first
                    last = at
            if first < 0:
                continue
            begin = max(0, first - longest + 1)
            scores = np.empty(last + 1 - begin, dtype=np.int64)
            sweep(masks_NLW[target], length, local[begin : last + 1], ANYWHERE, scores)
            for at in range(max(first, low - start), last + 1):
                distance = scores[at - begin]
                if distance <= most:
                    found = _add(hits_H4, found, target, LEVENSHTEIN, start + at, distance)
    return found


@njit(nogil=True)
def _add(hits_H4: Array, found: int, target: int, metric: int, end: int, distance: int) -> int:
    """Write a hit where there is room; returns how many have been found."""
    if found < hits_H4.shape[0]:
        hits_H4[found, 0], hits_H4[found, 1] = target, metric
        hits_H4[found, 2], hits_H4[found, 3] = end, distance
    return found + 1


@njit(nogil=True)
def earliest_start(
    tokens_T: Array,
    target: int,
    distance: int,
    tables: tuple[Array, Array, Array, Array, Array],
) -> int:
    """Find where the longest piece at a distance begins that ends with the text.

    tokens_T: the document up to the end, or as much as a piece can be long. tables: of the targets
    read backwards.
    """
    keys_NS, local_NS, _, masks_NLW, targets_NM = tables
    local_T = np.empty(tokens_T.size, dtype=np.uint32)
    score_T = np.empty(tokens_T.size, dtype=np.int64)
    target_locals(keys_NS[target], local_NS[target], tokens_T, local_T)
    sweep(masks_NLW[target], targets_NM.shape[1], local_T[::-1], AT_THE_FIRST, score_T)
    for back in range(tokens_T.size - 1, -1, -1):
        if score_T[back] == distance:
            return tokens_T.size - 1 - back
    return -1


@njit(nogil=True)
def keep_least(groups_H: Array, place_H: Array, order_H: Array, apart: int) -> Array:
    """Mark the hits that stay: of overlapping ones the nearest, bool[H].

    Hits lie in groups (target, metric, document), within these by place. Smallest distance first,
    the earliest on ties (order_H: the hits in that order, group by group); a hit that stays removes
    those less than `apart` away, and one that was removed removes nothing.
    """
    keep_H = np.zeros(place_H.size, dtype=np.bool_)
    gone_H = np.zeros(place_H.size, dtype=np.bool_)
    for hit in order_H:
        if gone_H[hit]:
            continue
        keep_H[hit] = True
        for step in (-1, 1):
            near = hit + step
            while (
                0 <= near < place_H.size
                and groups_H[near] == groups_H[hit]
                and abs(place_H[near] - place_H[hit]) < apart
            ):
                gone_H[near] = True
                near += step
    return keep_H
