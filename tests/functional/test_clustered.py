"""Variances over clusters of any sizes: known cases, the matrix written out, and coverage where sizes are very unequal."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from stillage.functional.binomial import clustered_proportion, effective_records
from stillage.functional.scatter import clustered_scatter
from stillage.functional.stats import auc_interval, paired_auc_test, roc_auc
from stillage.rng import generator

ONE = [np.ones(60, dtype=bool)]


def test_equal_clusters_have_the_plain_variance_of_their_means() -> None:
    values = generator(1, "equal").normal(size=60)
    means = values.reshape(12, 5).mean(axis=1)
    found = clustered_scatter(values, np.arange(60) // 5, ONE)
    assert (found.variance, found.df) == pytest.approx((means.var(ddof=1) / 12, 11))
    alone = clustered_scatter(values, np.arange(60), ONE)
    assert (alone.variance, alone.df) == pytest.approx((values.var(ddof=1) / 60, 59))
    assert math.isinf(clustered_scatter(values, np.zeros(60, dtype=int), ONE).variance)


def test_scatter_is_that_of_the_working_model_written_out() -> None:
    """Two sides in clusters of 1 to 9, two of which lie on both: u = A z over the clusters' means, M = A Cov(z) A'."""
    rng = generator(2, "matrix")
    group = np.repeat(np.arange(14), [1, 9, 3, 2, 6, 1, 4, 2, 5, 3, 1, 1, 2, 8])
    side = np.where(np.isin(group, (3, 8)), np.arange(group.size) % 2 == 0, group < 7)
    values = rng.normal(size=14)[group] + rng.normal(size=group.size)
    shares, taus, means, betweens = [], [], [], []
    for chosen in (side, ~side):
        sizes = np.bincount(group[chosen], minlength=14)
        centred = values[chosen] - values[chosen].mean()
        by_group = [centred[group[chosen] == g] for g in range(14)]
        total = np.mean([np.mean(x**2) for x in by_group if x.size])
        within = (
            sum(((x - x.mean()) ** 2).sum() for x in by_group if x.size)
            / (sizes - 1)[sizes > 0].sum()
        )
        betweens.append(max(0.0, total - within))
        taus.append(
            np.where(sizes > 0, betweens[-1] + (total - betweens[-1]) / np.maximum(sizes, 1), 0)
        )
        shares.append(sizes / sizes.sum())
        means.append(np.array([x.mean() if x.size else 0.0 for x in by_group]))
    both = (shares[0] > 0) & (shares[1] > 0)
    most = math.sqrt(betweens[0] * betweens[1])
    common = np.where(both, np.clip((means[0] * means[1])[both].mean(), -most, most), 0.0)
    covariance = np.block(
        [[np.diag(taus[0]), np.diag(common)], [np.diag(common), np.diag(taus[1])]]
    )
    apply = np.hstack(
        [np.diag(h) - np.outer(h, h) for h in shares]
    )  # u_g = sum over sides of h_g (mean_g - mean)
    matrix, whole = apply @ covariance @ apply.T, np.hstack(shares)
    seen = sum(h * m for h, m in zip(shares, means, strict=True))
    found = clustered_scatter(values, group, (side, ~side))
    assert found.df == pytest.approx(np.trace(matrix) ** 2 / (matrix**2).sum())
    assert found.variance == pytest.approx(
        seen @ seen * (whole @ covariance @ whole) / np.trace(matrix)
    )


def test_auc_and_paired_test_hold_their_level_where_three_groups_of_twenty_lie_among_single_records() -> (
    None
):
    rng = generator(3, "unequal")
    group = np.repeat(np.arange(60), np.where(np.arange(60) % 10 == 0, 20, 1))
    member = group < 30

    def scores() -> np.ndarray:
        return math.sqrt(0.9) * rng.normal(size=60)[group] + math.sqrt(0.1) * rng.normal(
            size=group.size
        )

    covered = plain = rejected = 0
    for _ in range(300):
        found = scores() + math.sqrt(2) * norm.ppf(0.85) * member
        limits = auc_interval(found, member, clusters=group)
        covered += limits.contains(0.85)
        half = (
            1.96 * (roc_auc(found, member) - limits.low) / 4.3
        )  # about what 4 degrees of freedom widen
        plain += abs(roc_auc(found, member) - 0.85) <= half
        rejected += (
            paired_auc_test(found + scores(), found + scores(), member, clusters=group).p < 0.05
        )
    assert covered / 300 >= 0.94 and rejected / 300 <= 0.06 and plain < covered


def test_records_that_only_share_a_name_lose_little() -> None:
    """One group of 40 whose records are as unlike as any: the degrees of freedom stay many."""
    values = generator(4, "alike").normal(size=200)
    group = np.where(np.arange(200) < 40, 0, np.arange(200))
    assert clustered_scatter(values, group, [np.ones(200, dtype=bool)]).df > 25
    together = np.where(group == 0, values[0], values)
    assert clustered_scatter(together, group, [np.ones(200, dtype=bool)]).df < 5


def test_large_clusters_that_all_missed_are_no_certainty() -> None:
    group = np.repeat(np.arange(100), np.where(np.arange(100) % 10 == 0, 20, 1))
    hits = np.isin(group, (1, 2, 3, 4))  # four single records
    sizes = np.bincount(group)
    assert effective_records(hits.astype(float), group, 0.95) == pytest.approx(
        group.size**2 / (sizes @ sizes), rel=1e-3
    )
    rng, covered = generator(5, "missed"), 0
    for _ in range(300):
        chance = rng.beta(0.05 / 9, 0.95 / 9, 100)[group]
        covered += clustered_proportion(rng.random(group.size) < chance, group).contains(0.05)
    assert covered / 300 >= 0.95  # 54 % before
