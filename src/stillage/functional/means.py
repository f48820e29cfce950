"""Means and ratios of sums with their intervals; near-duplicates count once."""

from __future__ import annotations

import math

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.functional.bounded import bounded_interval
from stillage.functional.scored import cluster_groups
from stillage.types import Array

LEAST_FOR_SKEWNESS = 5  # numbers below which a third moment says nothing


def share_interval(
    values_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """Average numbers between 0 and 1, with the limits of bounded_interval."""
    return bounded_interval(values_N, 0.0, 1.0, level, clusters=clusters)


def mean_interval(
    values_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """Average numbers without known ends, with the limits of ratio_interval."""
    values = np.asarray(values_N, dtype=np.float64)
    return ratio_interval(values, np.ones(values.size), level, clusters=clusters)


def ratio_interval(
    top_N: Array, bottom_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """Compute sum(top) / sum(bottom) with jackknife limits, corrected for skewness.

    Over the G clusters, each summed first: r_g = top_g - ratio bottom_g, w_g = bottom_g /
    sum(bottom), and j_g = r_g / (1 - w_g), by which the ratio moves without the cluster; error^2 =
    (G - 1) / G sum j_g^2 / sum(bottom)^2. t is Student's quantile at the smallest of G - 1,
    sum(w^2)^2 / sum(w^4) - 1 (Satterthwaite: few long clusters tell little of the scatter) and 2 G
    / (kurtosis of j - 1) (long tails), but at least 1 and 2. With a = skewness of j / sqrt(G) (0
    below five clusters) and h(x) = ((1 + a (x - a / 6))^(1/3) - 1) 3 / a each limit is the outer
    one of ratio -+ error t and ratio - error h(+-t) (Hall 1992, sections 3.9.2 and 3.9.3, there
    with the normal quantile).

    No limit goes below 0 where no number does. Limits are NaN for one cluster, or one that has all
    of the bottom, and where nothing scatters; all are NaN for 0 / 0. clusters int[N]:
    near-duplicates share a number. Not for many equal numbers and a few far off (see
    share_interval): these limits then cover 17 to 90 %.
    """
    from scipy.special import stdtrit

    alpha = check_level(level)
    top, bottom = (np.asarray(values, dtype=np.float64) for values in (top_N, bottom_N))
    total = float(bottom.sum())
    if not total:
        return Interval(value=math.nan, level=level)
    ratio = float(top.sum()) / total
    number = cluster_groups(clusters, top.size)
    rest_G, part_G = np.bincount(number, top - ratio * bottom), np.bincount(number, bottom) / total
    n, size = rest_G.size, max(total, float(np.abs(top).sum()))
    if n < 2 or part_G.max() > 1 - 1e-12 or math.sqrt(float(rest_G @ rest_G) * n) <= 1e-12 * size:
        return Interval(value=ratio, level=level)
    left_G = rest_G / (1 - part_G)
    scatter = math.sqrt(float(left_G @ left_G) / n)
    error = scatter * math.sqrt(n - 1) / total
    unit_G, square_G = left_G / scatter, part_G**2
    by_size = float(square_G.sum()) ** 2 / float(square_G @ square_G) - 1
    by_tail = 2 * n / max(2.0, float((unit_G**4).mean()) - 1)
    t = float(stdtrit(min(n - 1, max(1.0, by_size), max(2.0, by_tail)), 1 - alpha / 2))
    a = float((unit_G**3).mean()) / math.sqrt(n) if n >= LEAST_FOR_SKEWNESS else 0.0
    low = ratio - error * max(t, _straightened(t, a))
    high = ratio + error * max(t, -_straightened(-t, a))
    low = max(low, 0.0) if (top >= 0).all() else low
    return Interval(value=ratio, low=low, high=high, level=level)


def _straightened(x: float, a: float) -> float:
    """Compute h(x) of ratio_interval; x where a is 0."""
    return x if abs(a) < 1e-6 else (math.cbrt(1 + a * (x - a / 6)) - 1) * 3 / a
