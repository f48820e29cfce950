"""Groups of near-duplicates: at least every pair that any later comparison of a random part can call near."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stillage.functional.overlap import SURELY, _boilerplate_above, common_limit, grams, near_groups, near_pairs

WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=14).map(" ".join)


def components(texts: list[str], threshold: float) -> list[set[int]]:
    """Groups by brute force, where no gram is frequent enough to be left out."""
    groups = [{i} for i in range(len(texts))]
    for i, j in combinations(range(len(texts)), 2):
        a, b = grams(texts[i]), grams(texts[j])
        if a & b and len(a & b) >= threshold * len(a | b):
            one, two = (next(g for g in groups if k in g) for k in (i, j))
            if one is not two:
                groups.remove(two)
                one |= two
    return groups


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=10), st.integers(0, 10))
def test_groups_are_the_connected_near_pairs(texts: list[str], checked: int) -> None:
    numbers = near_groups(texts, checked).tolist()
    found = [{i for i, other in enumerate(numbers) if other == number} for number in dict.fromkeys(numbers)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, components(texts, 0.5)))
    assert list(dict.fromkeys(numbers)) == list(range(len(found)))


def test_a_passage_with_many_questions_is_no_boilerplate_and_a_template_is() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(5000)]
    template = "You are given a passage . Read it with care and answer the question below in one word . "
    passages = [" ".join(rng.choice(words, 60)) for _ in range(4)]
    own = [template + " ".join(rng.choice(words, 25)) for _ in range(150)]
    texts = [f"{template}{passages[k % 4]} {' '.join(rng.choice(words, 6))}" for k in range(100)] + own
    numbers = near_groups(texts, 110)
    assert np.unique(numbers).size == 4 + 150  # 25 questions each: above the 10 that near_pairs allows in 250 texts
    pool = near_pairs(texts[:50], texts[50:])
    assert pool.jaccard_P.size == 0  # so the pool's own frequencies would have parted them


@pytest.mark.parametrize(("pool", "checked"), [(40, 18), (4380, 1971), (100_000, 45_000), (30, 8), (12, 0)])
def test_what_counts_as_boilerplate_in_the_pool_is_so_in_the_part(pool: int, checked: int) -> None:
    above = _boilerplate_above(pool, checked)
    limit = common_limit(checked)
    if above < pool:
        assert stats.hypergeom.cdf(limit, pool, above + 1, checked) < SURELY
    if above > limit:
        assert stats.hypergeom.cdf(limit, pool, above, checked) >= SURELY
    assert above >= min(pool, common_limit(pool))
