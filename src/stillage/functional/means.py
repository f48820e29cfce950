"""Means with their intervals: of any numbers, and of numbers between 0 and 1; near-duplicates counted once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.types import Array


def share_interval(values_N: Array, level: float = 0.95, *, clusters: Array | None = None) -> Interval:
    """The mean of numbers between 0 and 1, with Student's t interval cut to [0, 1]; NaN without values.

    clusters int[N]: near-duplicates share a number; variance of the mean = G / (G - 1) sum_g s_g^2 / N^2 over the G
    clusters, s_g the sum of a cluster's deviations, with G - 1 degrees of freedom (the plain one where each is alone).
    Where all values are equal (t would give a point) the interval is that of so many coin tosses with this mean, which no
    distribution on [0, 1] scatters more than: Clopper-Pearson at count = G mean.
    """
    from scipy.special import betaincinv

    mean = mean_interval(values_N, level, clusters=clusters)
    if math.isnan(mean.value):
        return mean
    if mean.low < mean.high:
        return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))
    n = len(np.unique(np.asarray(clusters))) if clusters is not None else np.asarray(values_N).size
    alpha, count = 1 - level, n * min(max(mean.value, 0.0), 1.0)
    low = 0.0 if count < 1e-9 else float(betaincinv(count, n - count + 1, alpha / 2))
    high = 1.0 if count > n - 1e-9 else float(betaincinv(count + 1, n - count, 1 - alpha / 2))
    return Interval(value=mean.value, low=low, high=high, level=level)


def mean_interval(values_N: Array, level: float = 0.95, *, clusters: Array | None = None) -> Interval:
    """The mean with Student's t interval; limits NaN for one cluster, a point where all values are equal.

    clusters int[N]: as in share_interval.
    """
    from scipy.special import stdtrit

    alpha = check_level(level)
    values = np.asarray(values_N, dtype=np.float64)
    if not values.size:
        return Interval(value=math.nan, low=math.nan, high=math.nan, level=level)
    mean = float(values.mean())
    number = np.arange(values.size) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    sums_G = np.bincount(number, values - mean)
    n = sums_G.size
    if n < 2:
        return Interval(value=mean, low=math.nan, high=math.nan, level=level)
    error = math.sqrt(float(sums_G @ sums_G) * n / (n - 1)) / values.size
    half = float(stdtrit(n - 1, 1 - alpha / 2)) * error if error * math.sqrt(n) > 1e-12 else 0.0
    return Interval(value=mean, low=mean - half, high=mean + half, level=level)
