"""Order-statistic limits of a quantile: which values they are, when there are none, and how often they hold it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from stillage.errors import DataError
from stillage.functional.means import independent, needed_for_quantile, quantile_interval


@pytest.mark.parametrize(
    ("q", "n"), [(0.1, 36), (0.5, 6), (0.5, 101), (0.9, 60), (0.99, 368), (0.99, 1000)]
)
def test_the_limits_are_order_statistics_that_cover_exactly(q: float, n: int) -> None:
    """Of 1 .. n the limits are their ranks: P(low rank <= B < high rank), B ~ Binomial(n, q), is at least 95 %."""
    found = quantile_interval(np.random.default_rng(n).permutation(np.arange(1.0, n + 1)), q)
    low, high = int(found.low), int(found.high)
    assert binom.cdf(low - 1, n, q) <= 0.025 and binom.sf(high - 1, n, q) <= 0.025
    assert (
        binom.cdf(low, n, q) > 0.025 and binom.sf(high - 2, n, q) > 0.025
    )  # and no value less would do
    assert found.value == np.quantile(np.arange(1.0, n + 1), q)


def test_where_no_value_can_be_a_limit_there_is_none() -> None:
    assert [needed_for_quantile(q) for q in (0.1, 0.5, 0.9, 0.99)] == [36, 6, 36, 368]
    for q, least in ((0.1, 36), (0.5, 6), (0.9, 36), (0.99, 368)):
        for n in (1, least - 1, least):
            found = quantile_interval(np.arange(float(n)), q)
            assert math.isnan(found.low) == math.isnan(found.high) == (
                n < least
            ) and not math.isnan(found.value)
    assert math.isnan(quantile_interval(np.array([]), 0.5).value)
    with pytest.raises(DataError, match="1 of 2 are NaN"):
        quantile_interval(np.array([1.0, math.nan]), 0.5)


def test_near_duplicates_count_once() -> None:
    values = np.random.default_rng(1).normal(size=400)
    once, again = quantile_interval(values, 0.9), np.repeat(np.arange(400), 3)
    many = quantile_interval(np.repeat(values, 3), 0.9, clusters=again)
    assert (many.low, many.high) == (once.low, once.high)
    assert (
        independent(1200, again) == 400
        and independent(30, np.repeat(np.arange(11), [20, *[1] * 10])) == 2
    )
    rng, hits = np.random.default_rng(2), 0
    for _ in range(300):
        number = np.repeat(np.arange(150), rng.integers(1, 6, 150))
        hits += quantile_interval(rng.random(150)[number], 0.5, clusters=number).contains(0.5)
    assert hits / 300 > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 300)
