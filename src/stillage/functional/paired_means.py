"""Differences of two means on the same records, over one seed or several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.errors import DataError
from stillage.functional.clustered import mean_scatter
from stillage.functional.pooled import PairedTest, Pooled, paired_test
from stillage.functional.scatter import Scatter, scatter_of_seeds
from stillage.functional.scored import cluster_groups
from stillage.types import Array


def pooled_mean_test(
    differences: Sequence[Array],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
) -> PairedTest:
    """Test that the mean over seeds of a - b is zero, for numbers between 0 and 1.

    differences: float64[n], a - b of the same records, per seed. Two errors add as half_width says:
    the records' (with fresh records per seed the mean variance / S, with same_records, in one
    order, that of the records' mean differences), and what the seeds scatter beyond it
    (scatter_of_seeds). clusters int[n] per seed: near-duplicates share a number and count once.
    DataError for no seed, a seed without records, or NaN.
    """
    values = [np.asarray(one, dtype=np.float64) for one in differences]
    count = len(values)
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
    given = [None] * count if clusters is None else list(clusters)
    groups = [cluster_groups(one, value.size) for one, value in zip(given, values, strict=True)]
    units = [int(number.max()) + 1 for number in groups]
    if same_records:
        mean = np.mean(values, axis=0)
        records = mean_scatter(mean, groups[0])
        apart = [mean_scatter(one - mean, groups[0]).variance for one in values]
        own = sum(apart) / max(1, count - 1)
    else:
        each = list(map(mean_scatter, values, groups))
        own = float(np.mean([one.variance for one in each]))
        records = Scatter(variance=own / count, df=sum(one.df for one in each))
    means = np.array([one.mean() for one in values])
    pooled = Pooled(
        mean=float(means.mean()),
        parts=(records, scatter_of_seeds(means, own)),
        units=units[0] if same_records else sum(units),
    )
    return paired_test(pooled, level)
