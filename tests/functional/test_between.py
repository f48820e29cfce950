"""The test between groups: level by simulation, power, and groups that cannot take part."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import f_oneway

from stillage.functional.between import (
    Estimate,
    auc_estimate,
    equal_over_groups,
    mean_estimate,
    share_estimate,
)

RNG = np.random.default_rng(20260801)


def aucs(shifts: list[float], n: int = 40) -> list[Estimate | None]:
    member = np.arange(2 * n) < n
    return [auc_estimate(RNG.normal(size=2 * n) + shift * member, member) for shift in shifts]


def p_of(groups: list[Estimate | None]) -> float:
    return equal_over_groups([one for one in groups if one is not None])[0]


def test_welchs_test_is_scipys_where_two_groups_are_compared() -> None:
    left, right = RNG.normal(size=30), RNG.normal(size=50) * 3 + 1
    ours = p_of([mean_estimate(left), mean_estimate(right)])
    from scipy.stats import ttest_ind

    assert ours == pytest.approx(float(ttest_ind(left, right, equal_var=False)[1]), rel=1e-9)
    equal = [RNG.normal(size=40) for _ in range(4)]
    assert p_of([mean_estimate(one) for one in equal]) == pytest.approx(
        float(f_oneway(*equal).pvalue), abs=0.1
    )


def test_where_nothing_differs_few_tests_say_so_and_where_it_does_most() -> None:
    honest = np.mean([p_of(aucs([0.5] * 5)) <= 0.05 for _ in range(200)])
    assert honest <= 0.09  # 5 % and three of its errors
    assert np.mean([p_of(aucs([0.2, 0.2, 0.2, 1.5])) <= 0.05 for _ in range(40)]) > 0.8
    shares = [
        p_of([share_estimate(RNG.random(60) < 0.1) for _ in range(5)]) <= 0.05 for _ in range(200)
    ]
    assert np.mean(shares) <= 0.09
    assert p_of([share_estimate(RNG.random(60) < share) for share in (0.05, 0.5)]) < 0.01


def test_near_duplicates_count_once() -> None:
    values, clusters = np.repeat(RNG.random(12), 10), np.repeat(np.arange(12), 10)
    apart, together = mean_estimate(values), mean_estimate(values, clusters=clusters)
    assert apart is not None and together is not None
    assert together.variance == pytest.approx(10 * apart.variance, rel=0.2) and together.units == 12
    hits = share_estimate(values > 0.5, clusters=clusters)
    assert hits is not None and hits.variance > 5 * (share_estimate(values > 0.5) or hits).variance


def test_groups_at_the_edges() -> None:
    member = np.arange(40) < 20
    perfect = auc_estimate(np.where(member, 1.0, 0.0), member)
    assert perfect is not None and math.isfinite(perfect.value) and perfect.variance > 0
    assert auc_estimate(np.arange(40.0), np.ones(40, bool)) is None
    assert auc_estimate(np.array([1.0, 0.0]), np.array([True, False])) is None
    assert share_estimate(np.zeros(0, bool)) is None and mean_estimate(np.zeros(1)) is None
    none = share_estimate(np.zeros(30, bool))
    assert none is not None and none.variance > 0
    assert p_of([none, share_estimate(np.ones(30, bool))]) < 1e-6
    assert math.isnan(p_of([none])) and math.isnan(p_of([none, share_estimate(np.ones(3, bool))]))
