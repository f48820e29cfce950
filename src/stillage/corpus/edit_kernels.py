"""Levenshtein distances of a text to a target, bit-parallel.

A column of the distance table is two bit vectors of 64-bit words, and a token of text costs a few
operations a word: Myers (J. ACM 46(3), 1999); several words as Hyyro (2003).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stillage.types import Array

ANYWHERE, AT_THE_FIRST = 0, 1
"""Where a piece may begin: at any token of the text, or only at the first."""


@njit(nogil=True)
def sweep(masks_LW: Array, length: int, local_T: Array, begins: int, score_T: Array) -> None:
    """Write, for each token, the least distance of a piece that ends with it.

    masks_LW: bit i of row l, where the target's token i is its distinct token l; row 0 is empty.
    length: m, of the target. local_T: which distinct token of the target each of the text is; 0:
    none. begins: ANYWHERE or AT_THE_FIRST (then the piece is all of the text so far).
    """
    if length <= 128:
        _sweep_two_words(masks_LW, length, local_T, begins, score_T)
    else:
        _sweep_words(masks_LW, length, local_T, begins, score_T)


@njit(nogil=True)
def _sweep_two_words(
    masks_LW: Array, length: int, local_T: Array, begins: int, score_T: Array
) -> None:
    """`sweep` of a target of up to 128 tokens: the column stays in registers."""
    one, top, ones = np.uint64(1), np.uint64(63), ~np.uint64(0)
    carry = np.uint64(begins)
    plus_a, plus_b, minus_a, minus_b = ones, ones, np.uint64(0), np.uint64(0)
    in_second, bit = length > 64, np.uint64((length - 1) % 64)
    score = length
    for at in range(local_T.size):
        row = masks_LW[local_T[at]]
        same_a, same_b = row[0], row[1]
        vertical = same_a | minus_a
        across = (((same_a & plus_a) + plus_a) ^ plus_a) | same_a
        higher_a, lower_a = minus_a | ~(across | plus_a), plus_a & across
        up, down = (higher_a << one) | carry, lower_a << one
        plus_a, minus_a = down | ~(vertical | up), up & vertical
        vertical = same_b | minus_b
        same_b |= lower_a >> top
        across = (((same_b & plus_b) + plus_b) ^ plus_b) | same_b
        higher_b, lower_b = minus_b | ~(across | plus_b), plus_b & across
        up, down = (higher_b << one) | (higher_a >> top), (lower_b << one) | (lower_a >> top)
        plus_b, minus_b = down | ~(vertical | up), up & vertical
        higher, lower = (higher_b, lower_b) if in_second else (higher_a, lower_a)
        score += np.int64((higher >> bit) & one) - np.int64((lower >> bit) & one)
        score_T[at] = score


@njit(nogil=True)
def _sweep_words(masks_LW: Array, length: int, local_T: Array, begins: int, score_T: Array) -> None:
    """`sweep` of a target of any length."""
    one, top, words = np.uint64(1), np.uint64(63), masks_LW.shape[1]
    plus_W = np.full(words, ~np.uint64(0), dtype=np.uint64)
    minus_W = np.zeros(words, dtype=np.uint64)
    bit = np.uint64((length - 1) % 64)
    score = length
    for at in range(local_T.size):
        row = masks_LW[local_T[at]]
        up, down = np.uint64(begins), np.uint64(0)
        higher = lower = np.uint64(0)
        for word in range(words):
            same, plus, minus = row[word], plus_W[word], minus_W[word]
            vertical = same | minus
            same |= down
            across = (((same & plus) + plus) ^ plus) | same
            higher, lower = minus | ~(across | plus), plus & across
            shifted_up, shifted_down = (higher << one) | up, (lower << one) | down
            up, down = higher >> top, lower >> top
            plus_W[word] = shifted_down | ~(vertical | shifted_up)
            minus_W[word] = shifted_up & vertical
        score += np.int64((higher >> bit) & one) - np.int64((lower >> bit) & one)
        score_T[at] = score
