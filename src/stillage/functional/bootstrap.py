"""Bootstrap intervals for any statistic of members and nonmembers.

For an AUC or a difference of two prefer stats.auc_interval, paired_auc_test and the pooled ones,
far faster and exact at the ends: a percentile bootstrap collapses to a point at an AUC of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.functional.scored import Clusters, cluster_groups
from stillage.types import Array


def bootstrap_interval(
    statistic: Callable[[Array], float],
    is_member: Array,
    generator: np.random.Generator,
    *,
    clusters: Clusters = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Compute the percentile interval of statistic(count_N).

    count_N int[N]: how often each record was drawn (`resamples`); value: all once. Limits are draws
    themselves, so that an infinite one stays infinite. Simulated coverage of an AUC at 95 %: 93 to
    95 % with 100 members and nonmembers; 89 % at an AUC of .95 with 25 clusters of each. Source:
    Efron and Tibshirani 1993, chapter 13.
    """
    alpha = check_level(level)
    drawn = resamples(is_member, generator, clusters)
    draws = [statistic(next(drawn)) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], method="nearest")
    value = statistic(np.ones(len(is_member), int))
    return Interval(value=value, low=float(low), high=float(high), level=level)


def resamples(
    is_member: Array, generator: np.random.Generator, clusters: Clusters = None
) -> Iterator[Array]:
    """Draw how often each record counts, int[N], without end.

    As many clusters of each kind (members, nonmembers, mixed) as there are: both classes stay.
    """
    member = np.asarray(is_member, dtype=bool)
    number = cluster_groups(clusters, member.size)
    share = np.bincount(number, member) / np.bincount(number)
    kinds = map(np.flatnonzero, (share == 1, share == 0, (share > 0) & (share < 1)))
    kinds = [kind for kind in kinds if kind.size]
    while True:
        count_C = np.zeros(share.size, dtype=int)
        for kind in kinds:
            places = generator.integers(kind.size, size=kind.size)
            count_C[kind] = np.bincount(places, minlength=kind.size)
        yield count_C[number]
