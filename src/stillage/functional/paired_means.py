"""Differences of two means on the same records, over one seed or several: the records' and the seeds' scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level
from stillage.functional.pooled import PairedTest
from stillage.types import Array


def pooled_mean_test(
    differences: Sequence[Array],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
) -> PairedTest:
    """Tests that the mean over seeds of a - b is zero, for numbers a and b of the same records between 0 and 1; two-sided.

    differences: float64[n], a - b, per seed. With other records per seed: var = max(v, s2) / S, v the mean variance of a
    seed's mean, s2 the variance of the seeds' means. With same_records (in one order): var = v of the records' mean
    differences + s2 / S. Student's t, Satterthwaite's degrees of freedom; clusters int[n], one array per seed:
    near-duplicates share a number and count once (variance_of_mean). Where nothing scatters: the sign test of
    pooled.paired_auc_test. DataError for no seed, a seed without records, or NaN.
    """
    from scipy.special import stdtr, stdtrit

    alpha, count = check_level(level), len(differences)
    values = [np.asarray(one, dtype=np.float64) for one in differences]
    if not values or not all(one.size for one in values):
        raise DataError("No records to compare.", f"records per seed: {[one.size for one in values]}", "Evaluate some.")
    if missing := sum(int(np.isnan(one).sum()) for one in values):
        raise DataError("Some differences are not numbers.", f"{missing} are NaN", "Leave them out, and count them.")
    given = [np.arange(one.size) for one in values] if clusters is None else list(clusters)
    means = np.array([one.mean() for one in values])
    spread = float(means.var(ddof=1)) if count > 1 else 0.0
    if same_records:
        shared, units = variance_of_mean(np.mean(values, axis=0), given[0])
        variance = shared + spread / count
        freedom = satterthwaite([(shared, units - 1), (spread / count, count - 1)])
    else:
        parts = [variance_of_mean(one, number) for one, number in zip(values, given, strict=True)]
        units, within = sum(n for _, n in parts), float(np.mean([v for v, _ in parts]))
        variance = max(within, spread) / count
        seeds = (count - 1) * (max(within, spread) / spread) ** 2 if spread > 0 else math.inf
        freedom = min(units - count, seeds)
    difference, error = float(means.mean()), math.sqrt(variance)
    if error > 1e-12 and freedom > 0:
        p, half = 2 * float(stdtr(freedom, -abs(difference) / error)), -float(stdtrit(freedom, alpha / 2)) * error
    else:
        p = 1.0 if abs(difference) < 1e-12 else 2.0 ** (1 - units)
        half = 1 - (alpha / 2) ** (1 / units)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedTest(difference=difference, low=low, high=high, p=min(1.0, p), level=level)


def variance_of_mean(values: Array, clusters: Array) -> tuple[float, int]:
    """The variance of a mean whose records come in clusters, and the number of clusters; 0 for one cluster."""
    number = np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums_G = np.bincount(number, values - values.mean())
    n = sums_G.size
    return (float(sums_G @ sums_G) * n / (n - 1) / values.size**2 if n > 1 else 0.0), n


def satterthwaite(parts: Sequence[tuple[float, float]]) -> float:
    """The degrees of freedom of a sum of independent variances; parts: (variance, its degrees of freedom)."""
    weight = sum(variance**2 / freedom for variance, freedom in parts if variance > 0 and freedom > 0)
    return sum(variance for variance, _ in parts) ** 2 / weight if weight > 0 else math.inf
