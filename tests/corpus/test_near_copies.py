"""Groups of a pool and what a later comparison of a part of it finds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from stillage.corpus.near_copies import (
    SURELY,
    common_limit,
    near_across,
    near_groups,
    template_above,
    united,
)


def test_a_passage_with_many_questions_is_a_family_and_a_template_is_none() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(5000)]
    template = (
        "You are given a passage . Read it with care and answer the question below in one word . "
    )
    passages = [" ".join(rng.choice(words, 60)) for _ in range(4)]
    own = [template + " ".join(rng.choice(words, 25)) for _ in range(150)]
    texts = [
        f"{template}{passages[k % 4]} {' '.join(rng.choice(words, 6))}" for k in range(100)
    ] + own
    numbers = near_groups(texts, 110)
    assert np.unique(numbers).size == 4 + 150  # 25 questions each, more than make a wording common
    pool = near_across(texts[:50], texts[50:])
    assert pool.left_N.all() and np.flatnonzero(pool.right_N).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("pool", "checked"), [(40, 18), (4380, 1971), (100_000, 45_000), (30, 8), (12, 0)]
)
def test_what_counts_as_a_template_in_the_pool_does_so_in_the_part(pool: int, checked: int) -> None:
    above = template_above(pool, checked)
    limit = common_limit(checked)
    if above < pool:
        assert stats.hypergeom.cdf(limit, pool, above + 1, checked) < SURELY
    if above > limit:
        assert stats.hypergeom.cdf(limit, pool, above, checked) >= SURELY
    assert above >= min(pool, common_limit(pool))


def test_groupings_are_united_through_each_other() -> None:
    told = united(np.array([5, 5, 7, 8, 9]), np.array([1, 2, 3, 2, 4])).tolist()
    assert [told.index(number) for number in told] == [0, 0, 2, 0, 4]
    assert united(np.zeros(0, dtype=int)).size == 0
