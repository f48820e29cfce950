"""Near-copies across two sides, and groups of records of one pool that a draw must keep together.

A nonmember that is almost a member is no nonmember: `near_across` finds them, and a draw that keeps the groups of
`near_groups` together makes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.functional.families import families, linked
from stillage.functional.grams import N_WORDS
from stillage.functional.words import compared_form, length_in_words
from stillage.types import Array

COMMON_SHARE = 0.001
COMMON_LEAST = 10
SURELY = 1e-6  # chance that a gram taken for a template's in the pool is none in the part that is checked


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """Which texts of each side have a near-copy on the other, bool[left] and bool[right]; and what was compared."""

    left_N: Array
    right_N: Array
    n_grams: int  # distinct 5-grams compared
    n_template: int  # 5-grams left out as the wording of templates


def near_across(left: Sequence[str], right: Sequence[str]) -> Across:
    """Which texts of two sides are in one family of near-copies with a text of the other (`families`)."""
    found = families((*left, *right), common_limit(len(left) + len(right)))
    one, two = found.number_N[: len(left)], found.number_N[len(left) :]
    return Across(
        left_N=np.isin(one, two),
        right_N=np.isin(two, one),
        n_grams=found.n_grams,
        n_template=found.n_template,
    )


def near_groups(texts: Sequence[str], checked: int) -> Array:
    """int[n]: a number per text, equal for near-copies, directly or through others; in the order of the first texts.

    checked: how many of the texts, drawn at random, `near_across` will compare later. In how many of these a gram is is
    not known yet, so one is the wording of a template only where it is so in the drawn part almost surely.
    """
    return (
        families(texts, template_above(len(texts), checked)).number_N
        if texts
        else np.zeros(0, dtype=np.int64)
    )


def own_prompts(prompts: Iterable[str], limit: float) -> set[str]:
    """The prompts, as compared, that are a record's own, no instruction of many: five words, in at most `limit` records.

    Two characters of a script without spaces count as a word (`length_in_words`).
    """
    frequency = Counter(map(compared_form, prompts))
    return {
        prompt
        for prompt, count in frequency.items()
        if count <= limit and length_in_words(prompt) >= N_WORDS
    }


def same_prompt_groups(prompts: Sequence[str], checked: int) -> Array:
    """int[n]: equal numbers for records with one prompt of their own, whatever they answer; see `own_prompts`.

    checked: how many of the records, drawn at random, a later check counts; a prompt that it may take for a record's own
    counts as one here.
    """
    own = own_prompts(prompts, template_above(len(prompts), checked)) if prompts else set()
    first: dict[str, int] = {}
    normal = map(compared_form, prompts)
    return np.array(
        [first.setdefault(one, i) if one in own else i for i, one in enumerate(normal)],
        dtype=np.int64,
    )


def united(*numbers_N: Array) -> Array:
    """int[n]: equal numbers for records that any of the groupings puts together, directly or through others."""
    nothing, found = np.zeros(0, dtype=np.int64), numbers_N[0]
    for numbers in numbers_N:
        _, place, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        found = (
            linked(np.arange(found.size), place[inverse], found.size, found)
            if found.size
            else nothing
        )
    return found


def common_limit(n_texts: int) -> float:
    """The largest number of families of n_texts texts that may hold a gram before it is the wording of a template."""
    return max(COMMON_LEAST, COMMON_SHARE * n_texts)


def template_above(pool: int, checked: int) -> int:
    """The frequency in the pool above which a gram is above the limit in a random part of `checked` texts, almost surely."""
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
