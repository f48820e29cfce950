"""The suffix array of documents, and what each suffix shares with the one before.

Suffixes end where their document ends. They are sorted by their ids, a shorter one before what it
begins; equal ones stand in the order of their places. libdivsufsort sorts bytes, so each token is
written as its rank among the ids in use, from 1, highest byte first; behind each document stand a 0
and the document's number, which no token can be taken for and which put equal suffixes in order.
"""

from __future__ import annotations

import ctypes

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

LARGEST = 2**31 - 1  # bytes that are sorted with 32-bit places
SMALL_IDS = 1 << 24  # up to here a table of all ids is small beside the rest
LONGEST = 2**32 - 1  # tokens of a document: a shared prefix has 32 bits


def suffix_array(
    tokens_T: Array, offsets_D: Array, *, largest: int = LARGEST
) -> tuple[Array, Array]:
    """Sort the suffixes of documents: (suffixes_T, lcp_T).

    suffixes_T: where each suffix begins, in tokens, uint32 (uint64 beyond its range). lcp_T[r],
    uint32: how many tokens suffixes r - 1 and r share; 0 for r = 0. Linear-time but for
    libdivsufsort's n log n; about 20 bytes of memory a token where at most 65,535 ids are in use.
    largest: bytes that are sorted with 32-bit places. DataError for a document of 2^32 tokens.
    Sources: Karkkainen, Manzini, Puglisi, CPM 2009 (the prefixes); github.com/y-256/libdivsufsort.
    """
    lengths_D = np.diff(offsets_D)
    if len(lengths_D) and lengths_D.max() > LONGEST:
        values = f"{lengths_D.max()} tokens; at most {LONGEST}"
        raise DataError("A document is too long to be indexed.", values, "Cut it in two.")
    kind = np.dtype(np.uint32 if len(tokens_T) < 2**32 - 1 else np.uint64)
    if not len(tokens_T):
        return np.zeros(0, dtype=kind), np.zeros(0, dtype=np.uint32)
    from stillage.corpus import suffix_kernels as kernels

    starts_D = np.concatenate([[0], offsets_D[1:][lengths_D > 0]])  # of those that are not empty
    rank_V = _ranks(tokens_T)
    if rank_V is None:
        used = np.unique(tokens_T)
        tokens_T = np.searchsorted(used, tokens_T).astype(np.uint32)
        rank_V = np.arange(1, len(used) + 1, dtype=np.uint32)
    width, element = _width(int(rank_V.max()))
    digits = -(-(len(starts_D) - 2).bit_length() // (8 * width))  # that tell documents apart
    elements_E = np.empty(len(tokens_T) + (len(starts_D) - 1) * (1 + digits), dtype=element)
    kernels.fill_elements(
        tokens_T, starts_D, rank_V.astype(element), (digits, 8 * width), elements_E
    )
    order_S = sort_bytes(_as_bytes(elements_E, width), largest)
    count = len(elements_E)
    if width > 1:
        kernels.keep_elements(order_S, width)
    order_E = order_S[:count]
    before_E = order_S[count : 2 * count] if width > 1 else np.empty_like(order_S)
    kernels.link_neighbours(order_E, before_E)
    found_E2 = np.empty((count, 2), dtype=kind)
    kernels.measure_prefixes(elements_E, before_E, starts_D, digits, found_E2)
    if order_S.itemsize == kind.itemsize == 4:  # in the memory that is there
        suffixes_T = order_E.view(kind)[: len(tokens_T)]
        lcp_T = before_E.view(np.uint32)[: len(tokens_T)]
    else:
        suffixes_T = np.empty(len(tokens_T), dtype=kind)
        lcp_T = np.empty(len(tokens_T), dtype=np.uint32)
    kernels.sorted_suffixes(order_E, found_E2, suffixes_T, lcp_T)
    return suffixes_T, lcp_T


def sort_bytes(text_S: Array, largest: int = LARGEST) -> Array:
    """Sort the suffixes of bytes: their places, int32, or int64 beyond `largest`."""
    from pydivsufsort.dll import libdivsufsort, libdivsufsort64

    is_small = len(text_S) <= largest
    order_S = np.empty(len(text_S), dtype=np.int32 if is_small else np.int64)
    text, order = (ctypes.c_void_p(array.ctypes.data) for array in (text_S, order_S))
    if is_small:
        failed = libdivsufsort.divsufsort(text, order, ctypes.c_int32(len(text_S)))
    else:
        failed = libdivsufsort64.divsufsort64(text, order, ctypes.c_int64(len(text_S)))
    if failed:
        raise MemoryError(f"libdivsufsort failed ({failed}) on {len(text_S)} bytes")
    return order_S


def _ranks(tokens_T: Array) -> Array | None:
    """Id -> its rank among the ids in use, from 1; None where the ids are too large."""
    largest = int(tokens_T.max())
    if largest >= SMALL_IDS:
        return None
    used_V = np.zeros(largest + 1, dtype=bool)
    used_V[tokens_T] = True
    return np.cumsum(used_V, dtype=np.uint32)


def _width(ranks: int) -> tuple[int, np.dtype]:
    """Bytes that hold so many ranks and a 0, and the integers of the elements."""
    width = max(1, (ranks.bit_length() + 7) // 8)
    return width, np.dtype({1: np.uint8, 2: np.uint16}.get(width, np.uint32))


def _as_bytes(elements_E: Array, width: int) -> Array:
    """The elements, highest byte first; width bytes each."""
    if width == 1:
        return elements_E
    big = elements_E.astype(elements_E.dtype.newbyteorder(">")).view(np.uint8)
    return np.ascontiguousarray(big.reshape(-1, 4)[:, 1:]).ravel() if width == 3 else big
