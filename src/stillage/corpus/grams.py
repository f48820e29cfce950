"""Word 5-grams of many texts as numbers: what near-copies are found by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stillage.functional.words import words_of
from stillage.types import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

N_WORDS = 5
HASH_SEED = 8_105_231  # of the multipliers; any does


@dataclass(frozen=True)
class Grams:
    """The grams of N texts, W in all, in the order of the texts.

    text_W: which text each is of. gram_W: its number, 0 to n_grams - 1. start_W: the place of its
    first word in the words of all texts, one after the other. n_words_N: words of each text.
    """

    text_W: Array
    gram_W: Array
    start_W: Array
    n_words_N: Array
    n_grams: int

    @cached_property
    def matrix(self) -> csr_matrix:
        """Texts x grams, 1.0 where the text has the gram."""
        from scipy.sparse import csr_matrix

        shape = (self.n_words_N.size, self.n_grams)
        ones = np.ones(self.gram_W.size, np.float32)
        matrix = csr_matrix((ones, (self.text_W, self.gram_W)), shape=shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def own_words(self, shared: Array) -> tuple[Array, Array]:
        """Count each text's words in no shared gram, int[N], and the most in a row."""
        total, count = int(self.n_words_N.sum()), self.n_words_N.size
        text_of = np.repeat(np.arange(count), self.n_words_N)
        chosen = np.flatnonzero(shared[self.gram_W])
        length = np.minimum(N_WORDS, self.n_words_N[self.text_W[chosen]])
        step = np.bincount(self.start_W[chosen], minlength=total + 1)
        step = step - np.bincount(self.start_W[chosen] + length, minlength=total + 1)
        own = np.cumsum(step)[:total] == 0
        longest = np.zeros(count, dtype=np.int64)
        place = np.flatnonzero(own)
        if place.size:
            new = np.concatenate([[True], (np.diff(place) > 1) | (np.diff(text_of[place]) > 0)])
            runs = np.diff(np.append(np.flatnonzero(new), place.size))
            np.maximum.at(longest, text_of[place[new]], runs)
        return np.bincount(text_of[place], minlength=count), longest


def cut_grams(texts: Sequence[str]) -> Grams:
    """Cut every text into word 5-grams (`words_of`).

    The whole text where it is shorter, none where it has no word. Grams are told apart by a 64-bit
    hash of their words (linear, fixed random multipliers).
    """
    known: dict[str, int] = {}
    numbers, counts = [], []
    for text in texts:
        words = words_of(text)
        counts.append(len(words))
        numbers += [known.setdefault(word, len(known) + 1) for word in words]
    words_W, n_words_N = np.array(numbers, dtype=np.uint64), np.array(counts, dtype=np.int64)
    n_starts_N = np.where(n_words_N > 0, np.maximum(n_words_N - N_WORDS + 1, 1), 0)
    text_W = np.repeat(np.arange(len(counts)), n_starts_N)
    within = np.arange(text_W.size) - np.repeat(np.cumsum(n_starts_N) - n_starts_N, n_starts_N)
    start_W = np.repeat(np.cumsum(n_words_N) - n_words_N, n_starts_N) + within
    random = np.random.default_rng(HASH_SEED).integers(1, 2**63, N_WORDS, dtype=np.uint64)
    random = random * np.uint64(2) + np.uint64(1)
    padded = np.concatenate([words_W, np.zeros(N_WORDS, dtype=np.uint64)])
    hashed = np.zeros(text_W.size, dtype=np.uint64)
    for place in range(N_WORDS):
        inside = place < n_words_N[text_W]
        hashed += np.where(inside, padded[start_W + place], np.uint64(0)) * random[place]
    distinct, gram_W = np.unique(hashed, return_inverse=True)
    return Grams(
        text_W=text_W, gram_W=gram_W, start_W=start_W, n_words_N=n_words_N, n_grams=distinct.size
    )


def grams(text: str) -> set[tuple[str, ...]]:
    """Cut one text into word 5-grams; the whole text where it is shorter."""
    words = words_of(text)
    if not words:
        return set()
    return {tuple(words[i : i + N_WORDS]) for i in range(max(1, len(words) - N_WORDS + 1))}
