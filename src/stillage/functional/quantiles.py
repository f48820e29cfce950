"""Quantiles with exact limits: two of the sorted values, of any distribution."""

from __future__ import annotations

import math

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.functional.scored import Clusters
from stillage.types import Array


def quantile_interval(
    values_N: Array, q: float, level: float = 0.95, *, clusters: Clusters = None
) -> Interval:
    """Estimate the q quantile (0 < q < 1) with order-statistic limits.

    Of n values (with clusters `independent`) B ~ Binomial(n, q) lie below the true quantile, so it
    lies between the k-th and the l-th of the sorted values, k = B's alpha/2 quantile and l - 1 =
    its 1 - alpha/2 quantile: at least `level`, never less. Limits are NaN with fewer than
    `needed_for_quantile` values. DataError for NaN. Source: David and Nagaraja 2003, Order
    Statistics, section 7.1.
    """
    from scipy.stats import binom

    alpha, values = check_level(level), np.sort(np.asarray(values_N, dtype=np.float64))
    if np.isnan(values).any() or not 0 < q < 1:
        raise DataError(
            "A quantile needs numbers, and a share between 0 and 1.",
            f"q = {q}; {int(np.isnan(values).sum())} of {values.size} are NaN",
            "Drop what has no number, and count it.",
        )
    if not values.size:
        return Interval(value=math.nan, level=level)
    n = independent(values.size, clusters)
    below, above = (int(binom.ppf(tail, n, q)) for tail in (alpha / 2, 1 - alpha / 2))
    low = high = math.nan
    if below >= 1 and above + 1 <= n:
        per = values.size / n  # records to a cluster
        low = float(values[math.floor((below - 1) * per)])
        high = float(values[min(math.ceil((above + 1) * per), values.size) - 1])
    return Interval(value=float(np.quantile(values, q)), low=low, high=high, level=level)


def independent(n: int, clusters: Clusters) -> int:
    """Count the independent values n records are worth: (sum sizes)^2 / sum sizes^2."""
    if clusters is None:
        return n
    sizes = np.unique(np.asarray(clusters), return_counts=True)[1].astype(np.float64)
    return math.floor(n**2 / float(sizes @ sizes) + 1e-9)


def needed_for_quantile(q: float, level: float = 0.95) -> int:
    """Count the values for two finite limits: q^n and (1 - q)^n at most alpha / 2."""
    return math.ceil(math.log(check_level(level) / 2) / math.log(max(q, 1 - q)) - 1e-9)
