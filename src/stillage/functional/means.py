"""Means, ratios of sums and quantiles with intervals; near-duplicates count once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.functional.scored import Clusters, cluster_groups
from stillage.types import Array

LEAST_FOR_SKEWNESS = 5  # numbers below which a third moment says nothing
MOST_VALUES = 128  # distinct values that the sums below are made over
STEP = 0.2  # of the integral over the characteristic function


def share_interval(values_N: Array, level: float = 0.95, *, clusters: Clusters = None) -> Interval:
    """Average numbers between 0 and 1, with the limits of bounded_interval."""
    return bounded_interval(values_N, 0.0, 1.0, level, clusters=clusters)


def mean_interval(values_N: Array, level: float = 0.95, *, clusters: Clusters = None) -> Interval:
    """Average numbers without known ends, with the limits of ratio_interval."""
    values = np.asarray(values_N, dtype=np.float64)
    return ratio_interval(values, np.ones(values.size), level, clusters=clusters)


def ratio_interval(
    top_N: Array, bottom_N: Array, level: float = 0.95, *, clusters: Clusters = None
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


def bounded_interval(
    values_N: Array, least: float, most: float, level: float = 0.95, *, clusters: Clusters = None
) -> Interval:
    """Average numbers from `least` to `most`, with Gaffke's limits.

    Upper limit: the 1 - alpha/2 quantile of sum_i w_i x_i + w_0 `most`, weights w uniform on the
    simplex (a Bayesian bootstrap to which one value at the end of the range is added); the lower
    limit likewise with `least`. Of numbers that are 0 or 1 that is Clopper-Pearson; it covers more
    where all values are near each other. A cluster has one weight; the value added counts as one of
    the size that a record lies in on average. NaN without values; DataError for numbers outside the
    range or NaN. Sources: Gaffke 2005; Learned-Miller and Thomas 2019, arXiv:1905.06208.
    """
    alpha, values = check_level(level), np.asarray(values_N, dtype=np.float64)
    if wrong := int((~((values >= least - 1e-9) & (values <= most + 1e-9))).sum()):
        raise DataError(
            f"A mean of numbers between {least:g} and {most:g} got others.",
            f"{wrong} of {values.size} lie outside, or are NaN",
            "Drop what has no number, and count it.",
        )
    if not values.size:
        return Interval(value=math.nan, level=level)
    number = cluster_groups(clusters, values.size)
    size_G = np.bincount(number).astype(np.float64)
    mean_G = np.clip(np.bincount(number, values) / size_G, least, most)
    added = float(size_G @ size_G / size_G.sum())
    mean_U, size_U, count_U = _distinct(mean_G, size_G)
    low, high = (
        _quantile(np.append(mean_U, end), np.append(size_U, added), np.append(count_U, 1.0), tail)
        for end, tail in ((least, alpha / 2), (most, 1 - alpha / 2))
    )
    mean = min(max(float(values.mean()), least), most)
    return Interval(value=mean, low=min(low, mean), high=max(high, mean), level=level)


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


def _straightened(x: float, a: float) -> float:
    """Compute h(x) of ratio_interval; x where a is 0."""
    return x if abs(a) < 1e-6 else (math.cbrt(1 + a * (x - a / 6)) - 1) * 3 / a


def _distinct(mean_G: Array, size_G: Array) -> tuple[Array, Array, Array]:
    """Merge clusters of one size and mean; of more than MOST_VALUES also neighbours."""
    pairs, count_U = np.unique(np.stack([size_G, mean_G], axis=1), axis=0, return_counts=True)
    if len(pairs) <= MOST_VALUES:
        return pairs[:, 1], pairs[:, 0], count_U.astype(np.float64)
    place = (mean_G - mean_G.min()) / (np.ptp(mean_G) or 1.0)
    keys = np.stack([size_G, np.floor(place * (MOST_VALUES - 1))], axis=1)
    cell = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    count_U = np.bincount(cell).astype(np.float64)
    means, sizes = (np.bincount(cell, numbers) / count_U for numbers in (mean_G, size_G))
    return means, sizes, count_U


def _quantile(mean_U: Array, size_U: Array, count_U: Array, tail: float) -> float:
    """Find t: P(sum_u W_u size_u (mean_u - t) <= 0) = tail, W_u Gamma(count_u)."""
    from scipy.optimize import brentq

    weight_U = count_U * size_U
    middle = float(weight_U @ mean_U / weight_U.sum())
    spread = math.sqrt(float(count_U @ (size_U * (mean_U - middle)) ** 2)) / float(weight_U.sum())
    if spread < 1e-12:
        return middle

    def beyond(t: float) -> float:
        return _chance_below_zero(size_U * (mean_U - t), count_U) - tail

    near, far, ends = middle, middle, (float(mean_U.min()), float(mean_U.max()))
    step = spread if tail > 0.5 else -spread
    while (beyond(far) < 0) == (tail > 0.5) and ends[0] < far < ends[1]:
        near, far = far, min(max(far + step, ends[0]), ends[1])
    if beyond(far) == 0 or (beyond(near) < 0) == (beyond(far) < 0):
        return far
    root: Any = brentq(beyond, min(near, far), max(near, far), xtol=1e-6 * spread)
    return float(root)


def _chance_below_zero(factor_U: Array, shape_U: Array) -> float:
    """Compute P(sum_u factor_u G_u <= 0), G_u ~ Gamma(shape_u), to about 1e-6.

    P(sum > 0) = 1 / (2 pi i) int e^K(s) / s ds right of 0 (left of 0: less 1), K(s) = -sum shape
    log(1 - factor s), along a parabola through the saddle point that follows the steepest descent
    to third order, so that nothing oscillates. Source: Daniels 1987, Tail probability
    approximations, section 3.
    """
    if factor_U.min() >= 0 or factor_U.max() <= 0:
        return float(factor_U.max() <= 0)
    at = _saddle(factor_U, shape_U)
    width = math.sqrt(float(shape_U @ (factor_U / (1 - factor_U * at)) ** 2))
    if abs(at) * width < 0.5:  # the pole at 0 is too near
        width = math.sqrt(float(shape_U @ factor_U**2))
        at = math.copysign(0.5 / width, at)
    tilted_U = factor_U / (1 - factor_U * at)
    bend = float(shape_U @ tilted_U**3) / (3 * width**2)  # K''' / 6 K''
    v = np.arange(0.0, 3.0 + 40.0 / float(shape_U.sum()), STEP)
    y, dy = np.sinh(v) / width, np.cosh(v) / width
    s = at + bend * y * y + 1j * y
    at_saddle = float(np.log1p(-factor_U * at) @ shape_U)
    power = -np.log1p(np.outer(at - s, tilted_U)) @ shape_U - at_saddle
    parts = (np.exp(power) / s * (2 * bend * y + 1j) * dy).imag
    parts[0] /= 2
    beyond = STEP / math.pi * float(parts.sum())
    return 1 - beyond if at > 0 else -beyond


def _saddle(factor_U: Array, shape_U: Array) -> float:
    """Find the minimum of K between the poles on either side of 0."""
    low, high, at = 1 / float(factor_U.min()), 1 / float(factor_U.max()), 0.0
    for _ in range(100):
        tilted_U = factor_U / (1 - factor_U * at)
        slope, curve = float(shape_U @ tilted_U), float(shape_U @ tilted_U**2)
        if abs(slope) < 1e-9 * math.sqrt(curve):
            break
        low, high = (low, at) if slope > 0 else (at, high)
        step = at - slope / curve
        at = step if low < step < high else (low + high) / 2
    return at
