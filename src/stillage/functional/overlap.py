"""Near-duplicates by shared word 5-grams: pairs across two sides, and groups within one pool.

An outsider that is almost a member is no outsider: `near_pairs` finds them, and a draw that keeps the groups of
`near_groups` together makes none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.types import Array

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

WORD = re.compile(r"\w+")
N_WORDS = 5
JACCARD = 0.5
COMMON_SHARE = 0.001
COMMON_LEAST = 10
SURELY = 1e-6  # chance that a gram taken for boilerplate in the pool is none in the part that is checked
BLOCK_ROWS = 1024  # texts compared with all others at once: bounds the memory of the pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPairs:
    """Pairs (member, outsider) whose word 5-grams overlap by at least the threshold, and what was left out of them."""

    member_P: Array  # int: positions among the members
    outsider_P: Array
    jaccard_P: Array
    n_grams: int  # distinct 5-grams compared
    n_common: int  # 5-grams left out as boilerplate that many records share


def near_pairs(members: Sequence[str], outsiders: Sequence[str], threshold: float = JACCARD) -> NearPairs:
    """Every pair with Jaccard |A n B| / |A u B| >= threshold over sets of word 5-grams, lower-cased, by inverted index.

    A text of fewer than 5 words is one gram. Grams in more than 10 records (and 0.1 % of all) are boilerplate, an
    instruction or a template that records share by design, and are left out and counted; without that every pair of one
    task would be "near". O(sum over grams of their squared frequency).
    """
    rows, frequency = _rows((*members, *outsiders))
    kept = frequency <= common_limit(len(rows))
    inside, outside = (_matrix(part, kept) for part in (rows[: len(members)], rows[len(members) :]))
    shared = (inside @ outside.T).tocoo()
    sizes = inside.getnnz(axis=1)[shared.row] + outside.getnnz(axis=1)[shared.col]
    jaccard = shared.data / (sizes - shared.data)
    near = jaccard >= threshold
    return NearPairs(
        member_P=shared.row[near],
        outsider_P=shared.col[near],
        jaccard_P=jaccard[near],
        n_grams=int(kept.sum()),
        n_common=int((~kept).sum()),
    )


def near_groups(texts: Sequence[str], checked: int, threshold: float = JACCARD) -> Array:
    """int[n]: a number per text, equal for texts that are near-duplicates of each other, directly or through others.

    checked: how many of the texts, drawn at random, `near_pairs` will compare later. A gram's frequency there is not
    known yet, and decides whether it counts, so every pair that may come out near counts as near:
    s / (s + d) >= threshold, with s the shared grams that may count, d the grams of one text alone that surely count.
    Groups are numbered in the order of their first text. O(sum over grams of their squared frequency).
    """
    if not texts:
        return np.zeros(0, dtype=np.int32)
    rows, frequency = _rows(texts)
    sure = _matrix(rows, frequency <= common_limit(checked))
    possible = _matrix(rows, frequency <= _boilerplate_above(len(texts), checked))
    sizes = sure.getnnz(axis=1)
    left, right = [], []
    for start in range(0, len(rows), BLOCK_ROWS):
        shared = (possible[start : start + BLOCK_ROWS] @ possible.T).tocsr()
        shared_sure = (sure[start : start + BLOCK_ROWS] @ sure.T).tocsr()
        row, column = shared.nonzero()
        both = np.asarray(shared[row, column]).ravel()
        apart = sizes[start + row] + sizes[column] - 2 * np.asarray(shared_sure[row, column]).ravel()
        near = both >= threshold * (both + apart)
        left.append(start + row[near])
        right.append(column[near])
    return _linked(np.concatenate(left), np.concatenate(right), len(rows))


def own_prompts(frequency: Mapping[str, int], limit: float) -> set[str]:
    """The prompts that are a record's own, not an instruction of many: at least 5 words, in at most `limit` records."""
    return {prompt for prompt, count in frequency.items() if count <= limit and len(prompt.split()) >= N_WORDS}


def same_prompt_groups(prompts: Sequence[str], checked: int) -> Array:
    """int[n]: equal numbers for records with one prompt of their own, whatever they answer; see `own_prompts`.

    checked: how many of the records, drawn at random, a later check counts; a prompt that it may take for a record's own
    counts as one here.
    """
    own = own_prompts(Counter(prompts), _boilerplate_above(len(prompts), checked)) if prompts else set()
    first: dict[str, int] = {}
    return np.array([first.setdefault(one, i) if one in own else i for i, one in enumerate(prompts)], dtype=np.int64)


def united(*numbers_N: Array) -> Array:
    """int[n]: equal numbers for records that any of the groupings puts together, directly or through others."""
    count, first = len(numbers_N[0]), []
    for numbers in numbers_N:
        _, place, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        first.append(place[inverse])
    return _linked(np.tile(np.arange(count), len(first)), np.concatenate(first), count)


def _linked(left_P: Array, right_P: Array, count: int) -> Array:
    """int[count]: equal numbers for places that the pairs join, directly or through others."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(left_P.size, dtype=bool), (left_P, right_P)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def common_limit(n_texts: int) -> float:
    """The largest number of texts that a gram may be in without being boilerplate among n_texts."""
    return max(COMMON_LEAST, COMMON_SHARE * n_texts)


def _boilerplate_above(pool: int, checked: int) -> int:
    """The frequency in the pool above which a gram is boilerplate in a random part of `checked` texts, almost surely."""
    from scipy.stats import hypergeom

    limit = common_limit(checked)
    low, high = int(limit), pool
    while low < high:  # P(frequency in the part <= limit) falls as the frequency in the pool rises
        middle = (low + high) // 2
        if hypergeom.cdf(limit, pool, middle + 1, checked) < SURELY:
            high = middle
        else:
            low = middle + 1
    return low


def _rows(texts: Sequence[str]) -> tuple[list[list[int]], Array]:
    """The gram numbers of each text, sorted, and in how many texts each gram is."""
    vocabulary: dict[tuple[str, ...], int] = {}
    rows = [sorted({vocabulary.setdefault(gram, len(vocabulary)) for gram in grams(text)}) for text in texts]
    flat = np.fromiter((gram for row in rows for gram in row), dtype=np.int64)
    return rows, np.bincount(flat, minlength=len(vocabulary))


def grams(text: str) -> set[tuple[str, ...]]:
    """The word 5-grams of a text; the whole text where it is shorter, nothing where it has no word."""
    words = WORD.findall(text.lower())
    if not words:
        return set()
    return {tuple(words[i : i + N_WORDS]) for i in range(max(1, len(words) - N_WORDS + 1))}


def _matrix(rows: Sequence[Sequence[int]], kept: Array) -> csr_matrix:
    """Records x grams, 1.0 where the record has the gram and the gram is kept."""
    from scipy.sparse import csr_matrix

    chosen = [[gram for gram in row if kept[gram]] for row in rows]
    columns = np.fromiter((gram for row in chosen for gram in row), dtype=np.int64)
    starts = np.cumsum([0, *(len(row) for row in chosen)])
    return csr_matrix((np.ones(columns.size, np.float32), columns, starts), shape=(len(rows), kept.size))
