"""Limits of means that cannot leave a range: Clopper-Pearson where there is one, and never too short."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillage.errors import DataError
from stillage.functional.binomial import clopper_pearson
from stillage.functional.means import bounded_interval, share_interval


@pytest.mark.parametrize(
    ("count", "n"), [(0, 1), (1, 1), (1, 2), (3, 10), (5, 10), (0, 1000), (2, 1000), (40, 30000)]
)
def test_of_zeros_and_ones_it_is_clopper_pearson(count: int, n: int) -> None:
    found, exact = (
        share_interval(np.repeat([1.0, 0.0], [count, n - count])),
        clopper_pearson(count, n),
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (exact.value, exact.low, exact.high), rel=1e-6, abs=1e-9
    )


def test_it_is_the_quantile_of_a_dirichlet_weighted_mean() -> None:
    rng = np.random.default_rng(1)
    values = np.round(rng.beta(0.3, 3, 25), 2)
    found = share_interval(values, 0.9)
    weights = rng.dirichlet(np.ones(26), 40_000)
    for limit, end, tail in ((found.low, 0.0, 0.05), (found.high, 1.0, 0.95)):
        below = float((weights @ np.append(values, end) <= limit).mean())
        assert below == pytest.approx(tail, abs=5 * math.sqrt(tail * (1 - tail) / 40_000))


def test_it_moves_and_stretches_with_its_range_and_turns_with_its_values() -> None:
    values = np.random.default_rng(2).beta(2, 5, 30)
    plain, wide, turned = (
        share_interval(values),
        bounded_interval(2 * values - 1, -1, 1),
        share_interval(1 - values),
    )
    assert (wide.low, wide.high) == pytest.approx((2 * plain.low - 1, 2 * plain.high - 1), abs=1e-5)
    assert (turned.low, turned.high) == pytest.approx((1 - plain.high, 1 - plain.low), abs=1e-5)
    assert share_interval(np.concatenate([values, values])).high < plain.high


def test_many_distinct_values_are_put_together_without_loss() -> None:
    values = np.random.default_rng(3).beta(2, 3, 4000)
    found, error = share_interval(values), values.std(ddof=1) / math.sqrt(4000)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.08 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.08 * error)


@pytest.mark.parametrize(("share", "most"), [(0.02, 1.0), (0.05, 0.5), (0.3, 1.0)])
def test_rare_shares_are_covered(share: float, most: float) -> None:
    """Student's t holds the mean in 40 to 80 % of the first two; the bound is 4 standard errors below 95 %."""
    rng, hits, draws = np.random.default_rng(4), 0, 100
    for _ in range(draws):
        values = (rng.random(50) < share) * most * rng.random(50)
        hits += share_interval(values).contains(share * most / 2)
    assert hits / draws > 0.95 - 4 * math.sqrt(0.95 * 0.05 / draws)


def test_very_unequal_clusters_are_covered() -> None:
    """Groups of 20 equal records among single ones, where t holds the mean in 63 %."""
    rng, hits, draws = np.random.default_rng(5), 0, 100
    clusters = np.repeat(np.arange(12), [20, 20, *[1] * 10])
    for _ in range(draws):
        hits += share_interval(rng.beta(2, 3, 12)[clusters], clusters=clusters).contains(0.4)
    assert hits / draws > 0.95 - 4 * math.sqrt(0.95 * 0.05 / draws)


def test_what_lies_outside_the_range_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 3 lie outside"):
        share_interval(np.array([0.5, 1.5, 0.2]))
    with pytest.raises(DataError, match="between -1 and 1"):
        bounded_interval(np.array([math.nan]), -1, 1)
    assert math.isnan(share_interval(np.array([])).value)
