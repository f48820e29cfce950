"""The mean exposure of secrets ranked among the same others, with an interval."""

from __future__ import annotations

import math

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.types import Array

AT_ONCE = 128  # draws held together


def mean_exposure_interval(
    above_CM: Array,
    canary_clusters_C: Array,
    reference_clusters_M: Array,
    generator: np.random.Generator,
    *,
    level: float = 0.95,
    n_draws: int = 1000,
) -> Interval:
    """Average log2(R + 1) - log2(1 + A_c) over canaries c, with limits.

    A_c: how many of c's R references reach it. above_CM int8[C, M]: 1 reference m reaches canary c,
    0 it does not, -1 it is none of c's. Canaries that share references go up and down together,
    which their own scatter does not show. So both samples get weights, drawn uniformly on the
    simplex (a Bayesian bootstrap; one weight to a cluster): A_c is a weighted count, the mean a
    weighted mean. As in bounded_interval one canary at the end of the range (0, or log2(R + 1)) and
    one reference above (below) all canaries are added for the lower (upper) limit. The logarithm of
    a weighted count is too small on average (Jensen), which is made good below, where it would
    shorten the interval. NaN limits for fewer than two clusters of references or of canaries.
    DataError for a canary without references.
    """
    alpha, above = check_level(level), np.asarray(above_CM)
    count_C = (above >= 0).sum(axis=1)
    if not above.size or not count_C.all():
        raise DataError(
            "A canary without references has no exposure.",
            f"{int((count_C == 0).sum())} of {len(above)} canaries",
            "Give every canary at least one reference.",
        )
    ceiling_C = np.log2(count_C + 1.0)
    plain_C = ceiling_C - np.log2(1.0 + (above == 1).sum(axis=1))
    value = float(plain_C.mean())
    clusters = np.concatenate([canary_clusters_C, reference_clusters_M])
    both = np.unique(clusters, return_inverse=True)[1]
    canary_C, reference_M = both[: len(above)], both[len(above) :]
    used_M = (above >= 0).any(axis=0)
    samples = (canary_C, reference_M[used_M])
    groups = [np.unique(sample, return_counts=True)[1] for sample in samples]
    if min(map(len, groups)) < 2:
        return Interval(value=value, level=level)
    added = [float(sizes @ sizes / sizes.sum()) for sizes in groups]
    # of the canaries that a new reference would serve
    share = float(count_C.mean()) / int(used_M.sum())
    reaches, listed = (above == 1).astype(np.float32), (above >= 0).astype(np.float32)
    # counts: as they are, one more above, one more below
    weighted = [np.empty((n_draws, len(above))) for _ in range(3)]
    weight_BC = np.empty((n_draws, len(above)))
    extra_B = added[0] * generator.standard_exponential(n_draws)
    for start in range(0, n_draws, AT_ONCE):
        part = slice(start, min(n_draws, start + AT_ONCE))
        weight = generator.standard_exponential((part.stop - start, int(both.max()) + 1))
        weight = weight.astype(np.float32)
        extra = share * added[1] * generator.standard_exponential((part.stop - start, 1))
        weight_BC[part] = weight[:, canary_C]
        top, all_ = (weight[:, reference_M] @ matrix.T for matrix in (reaches, listed))
        weighted[0][part] = count_C * top / all_
        weighted[1][part] = count_C * (top + extra) / (all_ + extra)
        weighted[2][part] = count_C * top / (all_ + extra)
    shift_C = np.log2(1 + weighted[0]).mean(axis=0) - (ceiling_C - plain_C)
    limits = []
    for counts_BC, off_C, end, tail in (
        (weighted[1], shift_C, 0.0, alpha / 2),
        (weighted[2], 0.0, float(ceiling_C.mean()), 1 - alpha / 2),
    ):
        bits_BC = ceiling_C - np.clip(np.log2(1 + counts_BC) - off_C, 0.0, ceiling_C)
        total_B = (weight_BC * bits_BC).sum(axis=1) + extra_B * end
        limits.append(float(np.quantile(total_B / (weight_BC.sum(axis=1) + extra_B), tail)))
    once = _counted_once(above, plain_C - value, canary_C, reference_M)
    low, high = (value + once * (limit - value) for limit in limits)
    return Interval(value=value, low=min(low, value), high=max(high, value), level=level)


def _counted_once(above_CM: Array, rest_C: Array, canary_C: Array, reference_M: Array) -> float:
    """Compute sqrt((V_c + V_r - V_cr) / (V_c + V_r)), as pairs are in both samples.

    V_c, V_r, V_cr: the variance of the mean by canaries, by references, and by pairs, d log2(1 +
    A_c) = d A_c / ((1 + A_c) ln 2). Source: Cameron, Gelbach and Miller 2011, section 2.2.
    """
    above, listed = (above_CM == 1).astype(np.float64), above_CM >= 0
    count_C, all_C = above.sum(axis=1), listed.sum(axis=1)
    part_CM = np.where(listed, above - (count_C / all_C)[:, None], 0.0)
    part_CM /= ((1 + count_C) * math.log(2))[:, None]
    of_canary = np.zeros((int(canary_C.max()) + 1, part_CM.shape[1]))
    np.add.at(of_canary, canary_C, part_CM)
    cells = np.zeros((int(reference_M.max()) + 1, len(of_canary)))
    np.add.at(cells, reference_M, of_canary.T)
    rest = np.bincount(canary_C, rest_C)
    alone = float(rest @ rest) + float((cells.sum(axis=1) ** 2).sum())
    return math.sqrt(max(0.5, 1 - float((cells**2).sum()) / alone)) if alone > 0 else 1.0
