"""Bootstrap intervals for any statistic of members and nonmembers: drawn by record or by cluster, each within its kind.

For an AUC or a difference of two prefer stats.auc_interval, paired_auc_test and the pooled ones: exact at the ends and far
faster. A percentile bootstrap collapses to a point where the statistic cannot vary (AUC 1): a property of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.types import Array


def bootstrap_interval(
    statistic: Callable[[Array], float],
    is_member: Array,
    generator: np.random.Generator,
    *,
    clusters: Sequence[int] | Array | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The percentile interval of statistic(count_N), count_N int[N]: how often each record was drawn; value: all once.

    A statistic of counts needs no sorting, and may look at any number of scores of the same records. Limits are draws
    themselves, so that an infinite one stays infinite. Draws: `resamples`. Simulated coverage of an AUC at 95 %: 93 to 95 %
    with 100 members and nonmembers; with 25 clusters of each 93 to 95 % up to AUC .8, and 89 % at .95, where few of the
    clusters overlap. Source: Efron and Tibshirani 1993, chapter 13.
    """
    alpha = check_level(level)
    drawn = resamples(is_member, generator, clusters)
    draws = [statistic(next(drawn)) for _ in range(n_resamples)]
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2], method="nearest")
    return Interval(
        value=statistic(np.ones(len(is_member), int)), low=float(low), high=float(high), level=level
    )


def resamples(
    is_member: Array, generator: np.random.Generator, clusters: Sequence[int] | Array | None = None
) -> Iterator[Array]:
    """How often each record is drawn, int[N], without end: as many records (clusters) of each kind as there are.

    clusters int[N]: near-duplicates share a number and are drawn together; kinds: members only, nonmembers only, mixed, so
    that both classes stay present.
    """
    member = np.asarray(is_member, dtype=bool)
    number = (
        np.arange(member.size)
        if clusters is None
        else np.unique(np.asarray(clusters), return_inverse=True)[1]
    )
    share = np.bincount(number, member) / np.bincount(number)
    kinds = [
        kind
        for kind in map(np.flatnonzero, (share == 1, share == 0, (share > 0) & (share < 1)))
        if kind.size
    ]
    while True:
        count_C = np.zeros(share.size, dtype=int)
        for kind in kinds:
            count_C[kind] = np.bincount(
                generator.integers(kind.size, size=kind.size), minlength=kind.size
            )
        yield count_C[number]
