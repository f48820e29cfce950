"""Paired tests of means per record: against scipy, against themselves, and how often they are wrong."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from stillage.errors import DataError
from stillage.functional.stats import pooled_mean_test


def test_one_seed_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-0.3, 0.5, 40)
    found, known = pooled_mean_test([values]), cast("Any", ttest_1samp(values, 0.0))
    low, high = known.confidence_interval(0.95)
    assert (found.difference, found.p) == pytest.approx((values.mean(), known.pvalue))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_copies_of_a_record_count_once() -> None:
    values = np.random.default_rng(2).uniform(-0.3, 0.5, 30)
    once = pooled_mean_test([values])
    many = pooled_mean_test([np.repeat(values, 5)], clusters=[np.repeat(np.arange(30), 5)])
    assert (many.low, many.high, many.p) == pytest.approx((once.low, once.high, once.p))


def test_where_nothing_scatters_the_sign_test_decides() -> None:
    same = pooled_mean_test([np.zeros(20)])
    assert (same.difference, same.p) == (0, 1) and same.low < 0 < same.high
    all_better = pooled_mean_test([np.ones(5)])
    assert all_better.p == 2.0**-4 and all_better.low < 1 and all_better.high == 1
    with pytest.raises(DataError, match="No records"):
        pooled_mean_test([np.zeros(0)])


@pytest.mark.parametrize("same_records", [True, False])
def test_the_p_of_equal_variants_is_right(same_records: bool) -> None:
    """Seeds shift all records together, records differ among themselves: 5 % of the tests may be below 0.05, not many more."""
    rng, hits, draws, seeds, records = np.random.default_rng(3), 0, 400, 3, 25
    for _ in range(draws):
        shared = rng.normal(0, 0.2, records)
        runs = [
            np.clip(
                (shared if same_records else rng.normal(0, 0.2, records)) + rng.normal(0, 0.05),
                -1,
                1,
            )
            + rng.normal(0, 0.02, records)
            for _ in range(seeds)
        ]
        hits += pooled_mean_test(runs, same_records=same_records).p < 0.05
    assert hits / draws < 0.09  # 4 standard errors above 0.05
