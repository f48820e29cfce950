"""Means and ratios of sums with their intervals, of any numbers and of those from 0 to 1; near-duplicates count once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.functional.bounded import bounded_interval
from stillage.types import Array

LEAST_FOR_SKEWNESS = 10  # numbers below which a third moment says nothing


def share_interval(
    values_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """The mean of numbers between 0 and 1, with the limits of bounded.bounded_interval; NaN without values."""
    return bounded_interval(values_N, 0.0, 1.0, level, clusters=clusters)


def mean_interval(
    values_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """The mean of numbers without known ends, with the limits of ratio_interval; NaN without values."""
    values = np.asarray(values_N, dtype=np.float64)
    return ratio_interval(values, np.ones(values.size), level, clusters=clusters)


def ratio_interval(
    top_N: Array, bottom_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Interval:
    """sum(top) / sum(bottom) over records, with Student's t limits corrected for skewness; NaN where it is 0 / 0.

    r_g = top_g - ratio bottom_g, summed over each of the G clusters; error^2 = G / (G - 1) sum r_g^2 / sum(bottom)^2
    (Cochran 1977, section 6.4). With a = skewness of r / sqrt(G) and h(x) = ((1 + a (x - a / 6))^(1/3) - 1) 3 / a the limits
    are ratio - error h(+-t), t Student's quantile at G - 1 degrees of freedom: a long tail on the right moves both to the
    right (Hall 1992, sections 3.9.2 and 3.9.3, there with the normal quantile). Below ten clusters a = 0. No limit goes
    below 0 where no number does. Limits are NaN for one cluster, and where nothing scatters: that shows no scatter, not
    that there is none. clusters int[N]: near-duplicates share a number. Not for many equal numbers and a few far off (see
    share_interval): these limits then cover 17 to 90 %.
    """
    from scipy.special import stdtrit

    alpha = check_level(level)
    top, bottom = (np.asarray(values, dtype=np.float64) for values in (top_N, bottom_N))
    total = float(bottom.sum())
    if not total:
        return Interval(value=math.nan, low=math.nan, high=math.nan, level=level)
    ratio = float(top.sum()) / total
    number = (
        np.arange(top.size)
        if clusters is None
        else np.unique(np.asarray(clusters), return_inverse=True)[1]
    )
    rest_G = np.bincount(number, top - ratio * bottom)
    n, found = rest_G.size, Interval(value=ratio, low=math.nan, high=math.nan, level=level)
    scatter = math.sqrt(float(rest_G @ rest_G) / n)
    if n < 2 or scatter * n <= 1e-12 * max(total, float(np.abs(top).sum())):
        return found
    error = scatter * n / math.sqrt(n - 1) / total
    skewness = (
        float(((rest_G / scatter) ** 3).mean()) / math.sqrt(n) if n >= LEAST_FOR_SKEWNESS else 0.0
    )
    t = float(stdtrit(n - 1, 1 - alpha / 2))
    low, high = (
        ratio - error * _straightened(t, skewness),
        ratio - error * _straightened(-t, skewness),
    )
    return replace(found, low=max(low, 0.0) if (top >= 0).all() else low, high=high)


def _straightened(x: float, a: float) -> float:
    """h(x) of ratio_interval; x where a is 0."""
    return x if abs(a) < 1e-6 else (math.cbrt(1 + a * (x - a / 6)) - 1) * 3 / a
