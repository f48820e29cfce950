"""Differences of two means on the same records, over one seed or several: the records' and the seeds' scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level
from stillage.functional.clustered import clustered_scatter
from stillage.functional.pooled import PairedTest
from stillage.functional.scatter import Scatter, half_width, scatter_of_seeds, two_sided_p
from stillage.types import Array


def pooled_mean_test(
    differences: Sequence[Array],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
) -> PairedTest:
    """Tests that the mean over seeds of a - b is zero, for numbers a and b of the same records between 0 and 1; two-sided.

    differences: float64[n], a - b, per seed. Two errors add as scatter.half_width says: the records' (with fresh records per
    seed the mean variance of a seed's mean / S, with same_records, in one order, that of the records' mean differences),
    and what the seeds scatter beyond it (scatter_of_seeds). clusters int[n], one array per seed: near-duplicates share a
    number and count once, groups of any sizes (clustered_scatter). p is the level at which the limits reach 0. Where nothing
    scatters: the sign test of pooled.paired_auc_test. DataError for no seed, a seed without records, or NaN.
    """
    alpha, count = check_level(level), len(differences)
    values = [np.asarray(one, dtype=np.float64) for one in differences]
    if not values or not all(one.size for one in values):
        raise DataError(
            "No records to compare.",
            f"records per seed: {[one.size for one in values]}",
            "Evaluate some.",
        )
    if missing := sum(int(np.isnan(one).sum()) for one in values):
        raise DataError(
            "Some differences are not numbers.",
            f"{missing} are NaN",
            "Leave them out, and count them.",
        )
    given = [np.arange(one.size) for one in values] if clusters is None else list(clusters)
    numbers = [np.unique(np.asarray(one), return_inverse=True)[1] for one in given]
    units = [int(number.max()) + 1 for number in numbers]
    if same_records:
        mean = np.mean(values, axis=0)
        records, total_units = scatter_of_mean(mean, numbers[0]), units[0]
        apart = [scatter_of_mean(one - mean, numbers[0]).variance for one in values]
        own = sum(apart) / max(1, count - 1)
    else:
        each = [scatter_of_mean(one, number) for one, number in zip(values, numbers, strict=True)]
        own, total_units = float(np.mean([one.variance for one in each])), sum(units)
        records = Scatter(variance=own / count, df=sum(one.df for one in each))
    means = np.array([one.mean() for one in values])
    parts = (records, scatter_of_seeds(means, own))
    difference = float(means.mean())
    if any(math.isinf(part.variance) for part in parts):
        p, half = 1.0, math.inf
    elif sum(part.variance for part in parts) > 1e-24:
        p, half = two_sided_p(difference, parts), half_width(parts, alpha)
    else:
        p = 1.0 if abs(difference) < 1e-12 else 2.0 ** (1 - total_units)
        half = 1 - (alpha / 2) ** (1 / total_units)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedTest(difference=difference, low=low, high=high, p=min(1.0, p), level=level)


def scatter_of_mean(values: Array, groups: Array) -> Scatter:
    """How a mean of records in clusters scatters; groups: int from 0. Nothing where all values are equal."""
    if float(np.ptp(values)) < 1e-12:
        return Scatter(variance=0.0)
    return clustered_scatter(values, groups, [np.ones(values.size, dtype=bool)])
