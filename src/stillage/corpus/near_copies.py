"""Near-copies across two sides, and groups that a draw must keep together.

A nonmember that is almost a member is none: `near_across` finds them, and a draw that keeps the
groups of `near_groups` together makes none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.corpus.families import connected, families
from stillage.corpus.grams import N_WORDS
from stillage.functional.words import compared_form, length_in_words
from stillage.types import Array

COMMON_SHARE = 0.001
COMMON_LEAST = 10
SURELY = 1e-6  # chance that a gram taken for a template's in the pool is none in the checked part


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """Which texts of each side have a near-copy on the other; and what was compared."""

    left_N: Array
    right_N: Array
    n_grams: int  # distinct 5-grams compared
    n_template: int  # 5-grams left out as the wording of templates


def near_across(left: Sequence[str], right: Sequence[str]) -> Across:
    """Find the texts of two sides in one family with a text of the other side."""
    found = families((*left, *right), common_limit(len(left) + len(right)))
    one, two = found.number_N[: len(left)], found.number_N[len(left) :]
    return Across(
        left_N=np.isin(one, two),
        right_N=np.isin(two, one),
        n_grams=found.n_grams,
        n_template=found.n_template,
    )


def near_groups(texts: Sequence[str], checked: int) -> Array:
    """Number the groups of near-copies in the order of their first texts.

    checked: how many of the texts, drawn at random, `near_across` will compare later. Which grams
    these have is not known yet, so one is the wording of a template only where it almost surely is
    among them.
    """
    if not texts:
        return np.zeros(0, dtype=np.int64)
    return families(texts, template_above(len(texts), checked)).number_N


def own_prompts(prompts: Iterable[str], limit: float) -> set[str]:
    """Choose the prompts that are a record's own: 5 words, in at most `limit` records."""
    frequency = Counter(map(compared_form, prompts))
    return {
        prompt
        for prompt, count in frequency.items()
        if count <= limit and length_in_words(prompt) >= N_WORDS
    }


def same_prompt_groups(prompts: Sequence[str], checked: int) -> Array:
    """Number the groups of records with one prompt of their own (`own_prompts`).

    checked: how many of the records, drawn at random, a later check counts; a prompt that it may
    take for a record's own is one here.
    """
    own = own_prompts(prompts, template_above(len(prompts), checked)) if prompts else set()
    first: dict[str, int] = {}
    normal = enumerate(map(compared_form, prompts))
    numbers = [first.setdefault(one, i) if one in own else i for i, one in normal]
    return np.array(numbers, dtype=np.int64)


def united(*numbers_N: Array) -> Array:
    """Number the groups of records that any of the groupings puts together."""
    none = np.zeros(0, dtype=np.int64)
    return connected(none, none, numbers_N[0].size, *numbers_N) if numbers_N[0].size else none


def common_limit(n_texts: int) -> float:
    """Return the most families of n_texts texts that may hold a gram of no template."""
    return max(COMMON_LEAST, COMMON_SHARE * n_texts)


def template_above(pool: int, checked: int) -> int:
    """Find the pool frequency that almost surely exceeds the limit in a random part."""
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
