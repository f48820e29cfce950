"""Exact intervals for counted proportions, and the Interval of every statistic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from stillage.errors import DataError
from stillage.functional.scatter import clustered_scatter, working_units
from stillage.functional.scored import Clusters, cluster_groups
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the limits that contain the truth in `level` of all repetitions.

    Limits are NaN where the data do not show how far off the estimate may be.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95

    def contains(self, truth: float) -> bool:
        """Tell whether `truth` lies between the limits, ends included."""
        return self.low <= truth <= self.high


def independent_difference(first: Interval, second: Interval) -> Interval:
    """Subtract two independent estimates, adding limits' distances in quadrature.

    Of two shares it stays within [-1, 1]. Source: Newcombe 1998, method 10.
    """
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value=value, low=value - below, high=value + above, level=first.level)


def clopper_pearson(count: float, n: float, level: float = 0.95) -> Interval:
    """Compute the exact interval of a proportion of which `count` of `n` were seen.

    low = Beta^-1(alpha/2; k, n-k+1), high = Beta^-1(1-alpha/2; k+1, n-k); k and n may be fractions.
    DataError unless n >= 1 and 0 <= k <= n. Source: Clopper and Pearson 1934.
    """
    if n < 1 or not 0 <= count <= n:
        raise DataError(
            "A proportion needs at least one record, and a count between 0 and their number.",
            f"count = {count}, n = {n}",
            "Check that the records reached the metric.",
        )
    from scipy.special import betaincinv

    alpha = check_level(level)
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, alpha / 2))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - alpha / 2))
    return Interval(value=count / n, low=low, high=high, level=level)


def clustered_proportion(hits: Array, clusters: Clusters, level: float = 0.95) -> Interval:
    """Compute the interval of a proportion among records that come in clusters.

    Clopper and Pearson's, with n lowered to effective_records; hits bool[n]. Simulated coverage of
    95 % limits: 94 to 99.8 %. DataError for n = 0. Source: Korn and Graubard 1998, section 3.
    """
    hits = np.asarray(hits, dtype=np.float64)
    groups = cluster_groups(clusters, hits.size)
    if not hits.size or int(groups.max()) + 1 == hits.size:
        return clopper_pearson(int(hits.sum()), hits.size, level)
    share = float(hits.mean())
    effective = effective_records(hits, groups, level)
    return replace(clopper_pearson(share * effective, effective, level), value=share)


def effective_records(
    values_N: Array, groups_N: Array, level: float, *, normal: bool = False
) -> float:
    """Count the independent records that tell as much about the mean of numbers.

    n* = Var x / var(mean) (t / t_df)^2, var(mean) and df by clustered_scatter over G clusters, t
    the quantile of the caller's limits: the normal one, or Student's with G - 1 degrees, by which
    Clopper and Pearson's are exact for equal clusters of equal records. G where nothing varies. At
    most n, and at most working_units: large clusters that agree by chance are no certainty.
    """
    from scipy.special import ndtri, stdtrit

    n, n_clusters, mean = values_N.size, np.unique(groups_N).size, float(values_N.mean())
    spread = float(values_N.var()) if normal else mean * (1 - mean)
    if n_clusters in (1, n) or spread <= 1e-12:
        return float(n_clusters)
    scatter, tail, known = (
        clustered_scatter(values_N, groups_N),
        check_level(level) / 2,
        n_clusters - 1,
    )
    if scatter.variance <= 0:
        return float(n_clusters)
    quantile = ndtri(tail) if normal else stdtrit(known, tail)
    ratio = float(quantile) / float(stdtrit(min(max(1.0, scatter.df), known), tail))
    effective = spread / scatter.variance * ratio**2
    return min(float(n), max(1.0, min(effective, working_units(values_N, groups_N))))


def check_level(level: float) -> float:
    """Return 1 - level; DataError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise DataError(
            "The level of an interval must lie between 0 and 1.",
            f"level = {level}",
            "Use a level such as 0.95.",
        )
    return 1 - level
