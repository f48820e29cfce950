"""The loops of the suffix array, compiled by numba at their first call.

An element is a token's rank among the ids in use, or a part of a border. Arrays end in E where they
have an entry for each element.
"""

from __future__ import annotations

import numba
import numpy as np

from stillage.corpus.prefetch import prefetch
from stillage.types import Array

compiled = numba.njit(nogil=True)
AHEAD = 16  # reads announced before their turn


@compiled
def fill_elements(
    tokens_T: Array, offsets_D: Array, rank_V: Array, number: tuple[int, int], elements_E: Array
) -> None:
    """Fill in the elements: documents, each with its border: a 0 and its number.

    offsets_D: of documents that are not empty. rank_V: from 1. number: into how many elements of
    how many bits a document's number goes, the largest place first.
    """
    digits, bits = number
    mask = (1 << bits) - 1
    at = 0
    for document in range(len(offsets_D) - 1):
        for token in range(offsets_D[document], offsets_D[document + 1]):
            elements_E[at] = rank_V[tokens_T[token]]
            at += 1
        elements_E[at] = 0
        for place in range(digits):
            elements_E[at + 1 + place] = (document >> (bits * (digits - 1 - place))) & mask
        at += 1 + digits


@compiled
def keep_elements(order_S: Array, width: int) -> None:
    """Move the places of whole elements to the front of sorted bytes, as elements."""
    kept = 0
    if width == 2:
        for rank in range(len(order_S)):
            place = order_S[rank]
            order_S[kept] = place >> 1
            kept += 1 - (place & 1)
    else:
        for rank in range(len(order_S)):
            place = order_S[rank]
            if place % width == 0:
                order_S[kept] = place // width
                kept += 1


@compiled
def link_neighbours(order_E: Array, before_E: Array) -> None:
    """For each element, the one that is sorted just before it; -1 for the first."""
    before = -1
    for rank in range(len(order_E)):
        element = order_E[rank]
        before_E[element] = before
        before = element


@compiled
def measure_prefixes(
    elements_E: Array, before_E: Array, offsets_D: Array, digits: int, found_E2: Array
) -> None:
    """For each element, the token that it is, and what it shares with the one before.

    The Phi algorithm: what element e + 1 shares is at least what e shares, less one. What a token
    shares is cut where its document ends. An element of a border gets the largest integer as token.
    """
    none = ~found_E2.dtype.type(0)
    document, token, shared = 0, 0, 0
    count = len(elements_E)
    end = 0  # the border behind the document, as element
    for element in range(count):
        if element == end + (1 + digits if document else 0):
            end = element + offsets_D[document + 1] - offsets_D[document]
            document += 1
        prefetch(elements_E, np.int64(before_E[min(element + AHEAD, count - 1)]))
        other = before_E[element]
        if other < 0:
            shared = 0
        else:
            most = count - max(element, other)
            while shared < most and elements_E[element + shared] == elements_E[other + shared]:
                shared += 1
        if element < end:
            found_E2[element, 0] = token
            found_E2[element, 1] = min(shared, end - element)
            token += 1
        else:
            found_E2[element, 0] = none
            found_E2[element, 1] = shared
        shared = max(shared - 1, 0)


@compiled
def sorted_suffixes(order_E: Array, found_E2: Array, suffixes_T: Array, lcp_T: Array) -> None:
    """Put tokens and shared prefixes in sorted order; borders fall out.

    suffixes_T may begin where order_E does, with integers of equal width.
    """
    none = ~found_E2.dtype.type(0)
    flat, last = found_E2.reshape(-1), len(order_E) - 1
    rank, shared = 0, none
    for place in range(len(order_E)):
        prefetch(flat, np.int64(2 * order_E[min(place + AHEAD, last)]))
        element = order_E[place]
        shared = min(shared, found_E2[element, 1])  # the smallest over what fell out between
        if found_E2[element, 0] != none:
            suffixes_T[rank] = found_E2[element, 0]
            lcp_T[rank] = shared
            rank += 1
            shared = none
