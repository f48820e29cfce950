"""Bootstrap intervals for any statistic of (scores, is_member): by record, by cluster, or by seed and record.

For an AUC alone prefer stats.auc_interval and stats.pooled_auc_interval: exact at the ends and far faster. A percentile
bootstrap collapses to a point where the statistic cannot vary (AUC 1), and between-seed scatter from S seeds is too
small by (S - 1) / S; both are properties of the method, not of this code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.types import Array

Statistic = Callable[[Array, Array], float]


def bootstrap_interval(
    statistic: Statistic,
    scores: Array,
    is_member: Array,
    generator: np.random.Generator,
    *,
    clusters: Sequence[int] | Array | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The percentile interval of statistic(scores, is_member), resampling members and outsiders each within their kind.

    clusters int[n]: near-duplicates share a number and are drawn together; clusters are drawn within their kind
    (members only, outsiders only, mixed), so that both classes stay present. Source: Efron and Tibshirani 1993,
    chapter 13.
    """
    scores, is_member = np.asarray(scores), np.asarray(is_member, dtype=bool)
    strata = _strata(is_member, np.arange(is_member.size) if clusters is None else np.asarray(clusters))
    draws = np.empty(n_resamples)
    for i in range(n_resamples):
        chosen = _resample(strata, generator)
        draws[i] = statistic(scores[chosen], is_member[chosen])
    return _percentile(statistic(scores, is_member), draws, level)


def hierarchical_interval(
    statistic: Statistic,
    runs: Sequence[tuple[Array, Array]],
    generator: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The percentile interval of a statistic's mean over seeds: draw seeds, then records within each drawn seed.

    runs: (scores, is_member) per seed. DataError without a run. Source: Davison and Hinkley 1997, section 3.8.
    """
    if not runs:
        raise DataError("No run to pool.", "0 seeds", "Give at least one run's scores.")
    arrays = [(np.asarray(scores), np.asarray(member, dtype=bool)) for scores, member in runs]
    strata = [_strata(member, np.arange(member.size)) for _, member in arrays]
    draws = np.empty(n_resamples)
    for i in range(n_resamples):
        values = []
        for seed in generator.integers(len(arrays), size=len(arrays)):
            chosen = _resample(strata[seed], generator)
            values.append(statistic(arrays[seed][0][chosen], arrays[seed][1][chosen]))
        draws[i] = np.mean(values)
    return _percentile(float(np.mean([statistic(*run) for run in arrays])), draws, level)


def _strata(is_member: Array, clusters: Array) -> list[list[Array]]:
    """For each kind of cluster (members only, outsiders only, mixed) the record positions of every cluster of it."""
    number = np.unique(clusters, return_inverse=True)[1]
    by_cluster = np.argsort(number, kind="stable")
    groups = np.split(by_cluster, np.cumsum(np.bincount(number))[:-1])
    kinds: dict[float, list[Array]] = {}
    for group in groups:
        share = is_member[group].mean()
        kinds.setdefault(share if share in (0, 1) else 0.5, []).append(group)
    return [kinds[kind] for kind in sorted(kinds)]


def _resample(strata: list[list[Array]], generator: np.random.Generator) -> Array:
    """Record positions of a resample: as many clusters of each kind as there were."""
    return np.concatenate([groups[i] for groups in strata for i in generator.integers(len(groups), size=len(groups))])


def _percentile(value: float, draws: Array, level: float) -> Interval:
    """The central `level` of the draws around the observed value."""
    alpha = check_level(level)
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Interval(value=float(value), low=float(low), high=float(high), level=level)
