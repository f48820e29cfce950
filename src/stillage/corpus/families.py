"""Families of near-copies of any size: texts linked by shared 5-grams.

Two texts are near where they share half of their grams together (Jaccard), or 45 % of the shorter
one's (containment; all of them where they are few). The wording of a template does not count: what
many texts share that are otherwise different. But where it is the whole of some text, the others
quote that text, and are near it (`_quoting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.grams import Grams, cut_grams
from stillage.functional.words import compared_form
from stillage.types import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

JACCARD = 0.5
CONTAINMENT = 0.45  # of the shorter text's grams: every tenth word changed leaves half of them
LEAST_SHARED = 4  # grams, for containment: eight words in a row
SHORT_WHOLE = 2  # grams, where they are all that the shorter text has: six words
# of a quoted text's grams, in most that quote it: a form that was filled in leaves fewer
WHOLE = 0.9
AT_THE_START = 0.9  # of its holders: what begins so many, as an instruction does, is their template
# of all families: what so many hold is the template of a task, not a text that is quoted
TASK_SHARE = 0.25
# of a text's words, that make it otherwise different from those that share the rest
DIFFERENT_SHARE = 1 / 3
DIFFERENT_RUN = 0.2  # or so many in a row: words changed here and there leave shorter rows
DIFFERENT_WORDS = 8  # in a row, where the wording is in many texts, e.g. a long system prompt
SHORT_WORDING = 10  # words: where fewer are shared, one word makes the rest different
WIDE_SHARE, WIDE_COUNT = 0.05, 100  # of the families: in so many, whichever is less
OF_HOLDERS = 0.25  # of a gram's holders must differ otherwise, lest a few long ones hide a family
EXHAUSTIVE = 50  # texts with one gram that are all compared with each other; of more, links suffice
THIRDS = 3  # parts of a quoted text, each of which leads to those that hold it
ORDERS = 3  # orders in which the holders of a frequent gram are linked, one after the other
BLOCK_ROWS = 1024  # texts compared with all others at once: bounds the memory of the pairs
BLOCK_PAIRS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Families:
    """Equal numbers for near-copies, int[n], and what was compared."""

    number_N: Array
    n_grams: int  # distinct 5-grams compared
    n_template: int  # left out as wording of templates


def families(texts: Sequence[str], limit: float) -> Families:
    """Group exact copies (`compared_form`) and near ones, directly or through others.

    Numbered in the order of their first texts. limit: how many otherwise different families may
    hold a gram before it is the wording of a template. Counting families needs templates, and these
    need families: repeated until no gram changes (one that few families hold is a template's no
    more, so that it ends).
    """
    first: dict[str, int] = {}
    copies = [first.setdefault(compared_form(text), len(first)) for text in texts]
    found = cut_grams(list(first))
    number, template = np.arange(len(first)), np.ones(found.n_grams, dtype=bool)
    while True:
        now = template & _template(found, number, limit)
        if (now == template).all():
            break
        template = now
        number = _joined(found.matrix, ~template, number)
    number = connected(*_quoting(found, number, template), number.size, number)
    number_N = _by_first(number[np.array(copies, dtype=np.int64)])
    kept, n_template = int((~template).sum()), int(template.sum())
    return Families(number_N=number_N, n_grams=kept, n_template=n_template)


def connected(left_P: Array, right_P: Array, count: int, *numbers_N: Array) -> Array:
    """Number the groups of places joined by pairs or equal numbers, or through others."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    for number in numbers_N:
        _, place, inverse = np.unique(number, return_index=True, return_inverse=True)
        left_P, right_P = np.append(left_P, np.arange(count)), np.append(right_P, place[inverse])
    graph = coo_matrix((np.ones(left_P.size, dtype=bool), (left_P, right_P)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _distinct(numbers: Array) -> Array:
    """Sort the different numbers; for many faster than numpy's hashing."""
    ordered = np.sort(numbers)
    return ordered[np.append(True, np.diff(ordered) > 0)] if ordered.size else ordered


def _by_first(number: Array) -> Array:
    """Number the same families in the order of their first texts."""
    _, place, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(place))[inverse]


def _template(found: Grams, family_N: Array, limit: float) -> Array:
    """Mark the grams of templates, which more than `limit` different families hold.

    Otherwise different is a text with enough words outside the grams that are at least half as
    frequent: a template's wording is more frequent than what its records have of their own, while
    copies of one text have nothing beside what they all have. A long wording in many records (wide)
    may leave a smaller share.
    """
    template = np.zeros(found.n_grams, dtype=bool)
    frequency = _families_with(found, family_N, np.ones(family_N.size, dtype=bool), ~template)
    wide = frequency >= min(WIDE_COUNT, WIDE_SHARE * np.unique(family_N).size)
    for level in np.unique(np.log2(frequency[frequency > limit]).astype(int)).tolist():
        here = (frequency > limit) & (np.log2(np.maximum(frequency, 1)).astype(int) == level)
        own, run = found.own_words(frequency >= 2 ** (level - 1))
        enough = np.maximum(limit, OF_HOLDERS * frequency)
        words = found.n_words_N
        apart = (own >= DIFFERENT_SHARE * words) | (run >= DIFFERENT_RUN * words)
        apart |= (own > 0) & (words - own < SHORT_WORDING)
        template |= here & (_families_with(found, family_N, apart, here) > enough)
        here &= wide & ~template
        if here.any():
            long = _families_with(found, family_N, run >= DIFFERENT_WORDS, here)
            template |= here & (long > enough)
    return template


def _families_with(found: Grams, family_N: Array, texts_N: Array, grams: Array) -> Array:
    """Count the families in which a chosen text holds the (chosen) gram, int[n_grams]."""
    chosen = texts_N[found.text_W] & grams[found.gram_W]
    count = int(family_N.max(initial=0)) + 1
    pairs = _distinct(found.gram_W[chosen] * count + family_N[found.text_W[chosen]])
    return np.bincount(pairs // count, minlength=found.n_grams)


def _quoting(found: Grams, family_N: Array, template: Array) -> tuple[Array, Array]:
    """Pair texts that are nothing but wording of templates with those that quote them.

    Such a text is quoted where most that share 45 % of its grams hold nearly all of it. It is a
    template that stands alone where it is short, where it is wide and begins what it stands in, or
    where a good part of all families hold it.
    """
    count = family_N.size
    n_own = np.bincount(found.text_W[~template[found.gram_W]], minlength=count)
    bare = (n_own == 0) & (found.n_words_N >= SHORT_WORDING)
    quoted, other = _holders(found, bare)
    sizes = found.matrix.getnnz(axis=1)
    shared = _shared(found.matrix, quoted, other)
    near = shared >= CONTAINMENT * sizes[quoted]
    quoted, other, shared = quoted[near], other[near], shared[near]
    first_gram = np.full(count, -1)
    first_gram[found.text_W[::-1]] = found.gram_W[::-1]
    n_near = np.bincount(quoted, minlength=count)
    n_whole = np.bincount(quoted[shared >= WHOLE * sizes[quoted]], minlength=count)
    n_begun = np.bincount(quoted[first_gram[quoted] == first_gram[other]], minlength=count)
    n_families = np.unique(family_N).size
    in_families = _distinct(quoted * n_families + family_N[other]) // n_families
    n_in = np.bincount(in_families, minlength=count)
    wide = n_in >= min(WIDE_COUNT, WIDE_SHARE * n_families)
    is_text = (n_whole > n_near / 2) & (n_in <= TASK_SHARE * n_families)
    is_text &= ~wide | (n_begun < AT_THE_START * n_near)
    return quoted[is_text[quoted]], other[is_text[quoted]]


def _holders(found: Grams, texts_N: Array) -> tuple[Array, Array]:
    """Pair chosen texts with others that share the rarest gram of one of their thirds.

    Grams that a whole task has are left out.
    """
    count, held = texts_N.size, found.matrix.getnnz(axis=0)
    chosen = np.flatnonzero(texts_N[found.text_W])
    text, gram = found.text_W[chosen], found.gram_W[chosen]
    n_grams_N = np.bincount(text, minlength=count)
    place = np.arange(text.size) - (np.cumsum(n_grams_N) - n_grams_N)[text]
    third = text * THIRDS + place * THIRDS // np.maximum(n_grams_N[text], 1)
    order = np.lexsort((held[gram], third))
    _, first = np.unique(third[order], return_index=True)
    text, gram = text[order[first]], gram[order[first]]
    few = held[gram] <= TASK_SHARE * count
    text, gram = text[few], gram[few]
    by_gram = found.matrix.tocsc()
    starts = np.repeat(by_gram.indptr[gram], held[gram])
    within = np.arange(starts.size) - np.repeat(np.cumsum(held[gram]) - held[gram], held[gram])
    pairs = _distinct(np.repeat(text, held[gram]) * count + by_gram.indices[starts + within])
    quoted, other = pairs // count, pairs % count
    return quoted[quoted != other], other[quoted != other]


def _joined(matrix: csr_matrix, counts: Array, number: Array) -> Array:
    """Join families where texts of two are near, int[n].

    counts: bool[n_grams], no wording of templates. Texts that share a gram of at most EXHAUSTIVE
    are all compared. Of a more frequent gram, whose holders are mostly one family, each holder is
    compared with the first and with its neighbours in ORDERS orders, by the smallest of their
    hashed grams, which puts texts with much in common side by side.
    """
    kept = matrix[:, counts]
    frequency, sizes = kept.getnnz(axis=0), kept.getnnz(axis=1)
    least = np.where(sizes == matrix.getnnz(axis=1), sizes, LEAST_SHARED)
    least = np.clip(least, SHORT_WHOLE, LEAST_SHARED)
    rare, often = kept[:, frequency <= EXHAUSTIVE], kept[:, frequency > EXHAUSTIVE]
    by_order = (_neighbours(often, order) for order in range(ORDERS if often.nnz else 0))
    for left, right in chain([_rare_pairs(rare, sizes, least, often.getnnz(axis=1))], by_order):
        apart = number[left] != number[right]
        left, right = left[apart], right[apart]
        near = _near(_shared(kept, left, right), sizes, least, left, right)
        number = connected(left[near], right[near], sizes.size, number)
    return number


def _rare_pairs(
    rare: csr_matrix, sizes: Array, least: Array, n_often: Array
) -> tuple[Array, Array]:
    """Pair texts that share a rare gram and, with n_often frequent ones, may be near."""
    left, right = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, sizes.size, BLOCK_ROWS):
        shared = (rare[start : start + BLOCK_ROWS] @ rare.T).tocoo()
        row, column = start + shared.row.astype(np.int64), shared.col.astype(np.int64)
        most = shared.data + np.minimum(n_often[row], n_often[column])
        chosen = (row < column) & _near(most, sizes, least, row, column)
        left.append(row[chosen])
        right.append(column[chosen])
    return np.concatenate(left), np.concatenate(right)


def _neighbours(often: csr_matrix, order: int) -> tuple[Array, Array]:
    """Pair each gram's holders with the first, and with neighbours in an order."""
    per_text, n_grams = often.getnnz(axis=1), often.getnnz(axis=0).size
    count, hashed = per_text.size, np.random.default_rng(order).permutation(n_grams)
    smallest = np.full(count, n_grams)
    np.minimum.at(smallest, np.repeat(np.arange(count), per_text), hashed[often.indices])
    by_text = np.lexsort((np.arange(count), smallest)) if order else np.arange(count)
    holders = often[by_text].tocsc()
    starts = holders.indptr[:-1]
    place = holders.indices.astype(np.int64)
    leader = np.repeat(place[starts], np.diff(holders.indptr))
    after = np.delete(np.arange(place.size), starts)
    pairs = np.concatenate([leader * count + place, place[after - 1] * count + place[after]])
    pairs = _distinct(pairs)
    left, right = by_text[pairs // count], by_text[pairs % count]
    return left[left != right], right[left != right]


def _shared(kept: csr_matrix, left: Array, right: Array) -> Array:
    """Count the grams that each of the pairs shares, float[P]."""
    found = [np.zeros(0)]
    for start in range(0, left.size, BLOCK_PAIRS):
        one, two = left[start : start + BLOCK_PAIRS], right[start : start + BLOCK_PAIRS]
        found.append(np.asarray(kept[one].multiply(kept[two]).sum(axis=1)).ravel())
    return np.concatenate(found)


def _near(shared: Array, sizes: Array, least: Array, left: Array, right: Array) -> Array:
    """Tell which pairs of texts are near that share so many grams, bool[P].

    sizes, least: of each text, all that count, and the fewest that do.
    """
    one, two = sizes[left], sizes[right]
    contained = (shared >= least[left]) & (shared >= CONTAINMENT * one)
    contained |= (shared >= least[right]) & (shared >= CONTAINMENT * two)
    return (shared > 0) & ((shared >= JACCARD * (one + two - shared)) | contained)
