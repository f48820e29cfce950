"""The ROC curve, the TPR at a fixed FPR with exact limits, and a band around the whole curve.

A record is called a member when its score is ABOVE the threshold, which comes from the outsiders alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level, clustered_proportion
from stillage.functional.scored import checked, cluster_groups
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The share of members found above a threshold that the outsiders alone fixed."""

    value: float  # TPR at `threshold`
    low: float  # Clopper-Pearson limits of that TPR
    high: float
    achieved_fpr: float  # share of outsiders above `threshold`; at most the FPR asked for
    n: int  # members: the denominator of value
    threshold: float  # a record is called a member when its score is greater than this
    achieved_fpr_low: float
    achieved_fpr_high: float
    n_outsiders: int  # the denominator of achieved_fpr
    fpr: float  # as asked for
    level: float = 0.95
    warning: str = ""  # not empty where the outsiders are few for this FPR


@dataclass(frozen=True, slots=True, kw_only=True)
class Roc:
    """The empirical ROC: one vertex per distinct score, from (0, 0) to (1, 1); vertex i calls members scores >= t_i."""

    fpr: Array
    tpr: Array
    thresholds: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class RocBand:
    """Pointwise limits of the true TPR at each FPR of a grid, and the observed step curve there."""

    fpr: Array
    tpr: Array
    low: Array
    high: Array
    level: float = 0.95


def roc_curve(scores: Array, is_member: Array) -> Roc:
    """The ROC curve; tied scores make one straight (mid-rank) segment. thresholds[0] is +inf. DataError as roc_auc."""
    scores, is_member = checked(scores, is_member)
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    last_of_ties = np.append(np.flatnonzero(descending[1:] != descending[:-1]), scores.size - 1)
    found = np.cumsum(is_member[order])[last_of_ties]
    called = last_of_ties + 1
    n_in = int(is_member.sum())
    return Roc(
        fpr=np.concatenate([[0.0], (called - found) / (scores.size - n_in)]),
        tpr=np.concatenate([[0.0], found / n_in]),
        thresholds=np.concatenate([[np.inf], descending[last_of_ties]]),
    )


def tpr_at_fpr(
    scores: Array,
    is_member: Array,
    fpr: float,
    level: float = 0.95,
    *,
    clusters: Sequence[int] | Array | None = None,
) -> Rate:
    """The share of members above the smallest threshold that at most floor(fpr n_out) outsiders exceed.

    The threshold comes from the outsiders only, so the members' count above it is binomial and Clopper-Pearson covers
    the TPR at that threshold. The interval of the achieved FPR is Clopper-Pearson too: for k outsiders above an
    outsider's score the true FPR is Beta(k+1, n-k), whose quantiles lie within those limits. clusters int[n]: the
    limits are those of binomial.clustered_proportion. DataError when n_out < 3 / fpr (no event in 3/fpr trials still
    allows that rate) and not all scores are equal, unless 0 < fpr < 1, or as roc_auc.
    """
    scores, is_member = checked(scores, is_member)
    inside, outside = scores[is_member], np.sort(scores[~is_member])[::-1]
    if not 0 < fpr < 1:
        raise DataError("The false-positive rate must lie between 0 and 1.", f"fpr = {fpr}", "Use 0.01 or 0.1.")
    if outside.size * fpr < 3 - 1e-9 and scores.min() < scores.max():  # where all tie, nobody is above any threshold
        raise DataError(
            f"Too few outsiders to fix a threshold at a false-positive rate of {fpr:g}.",
            f"{outside.size} outsiders; at least 3/fpr = {math.ceil(3 / fpr - 1e-9)} are needed",
            f"Use more outsiders, or a rate of at least {3 / outside.size:.3g}.",
        )
    threshold = float(outside[min(math.floor(fpr * outside.size + 1e-9), outside.size - 1)])
    groups = cluster_groups(clusters, scores.size)
    groups = np.arange(scores.size) if groups is None else groups
    found = clustered_proportion(inside > threshold, groups[is_member], level)
    false = clustered_proportion(scores[~is_member] > threshold, groups[~is_member], level)
    few = f"only {outside.size} outsiders for this rate; {math.ceil(10 / fpr - 1e-9)} are advised"
    return Rate(
        value=found.value,
        low=found.low,
        high=found.high,
        achieved_fpr=false.value,
        n=inside.size,
        threshold=threshold,
        achieved_fpr_low=false.low,
        achieved_fpr_high=false.high,
        n_outsiders=outside.size,
        fpr=fpr,
        level=level,
        warning=few if outside.size * fpr < 10 - 1e-9 else "",
    )


def roc_band(scores: Array, is_member: Array, fpr: Array | None = None, level: float = 0.95) -> RocBand:
    """Limits for a plot: at each FPR the true TPR lies in [low, high] with probability at least `level`, pointwise.

    Distribution-free: with g = sqrt(level), binomial limits on how many outsiders exceed the true threshold give two
    outsiders around it; Clopper-Pearson at g then bounds the members above each. low is 0 where the outsiders are too
    few to hold the threshold (about fpr < 4 / n_out). fpr: grid in (0, 1]; default 200 points, evenly on a log axis.
    """
    from scipy.stats import beta, binom

    scores, is_member = checked(scores, is_member)
    inside, outside = np.sort(scores[is_member]), np.sort(scores[~is_member])[::-1]
    n_in, n_out = inside.size, outside.size
    grid = np.geomspace(min(0.5, 1 / n_out), 1, 200) if fpr is None else np.asarray(fpr, dtype=np.float64)
    tail = check_level(math.sqrt(1 - check_level(level))) / 2
    most = binom.ppf(1 - tail, n_out, grid).astype(int)  # at most so many outsiders exceed the true threshold
    least = binom.ppf(tail, n_out, grid).astype(int)  # at least so many do
    above_most = _above(inside, outside, most, strict=True)
    above_least = _above(inside, outside, least - 1, strict=False)
    observed = _above(inside, outside, np.floor(grid * n_out + 1e-9).astype(int), strict=True)
    with np.errstate(invalid="ignore"):
        high = np.where(above_most >= n_in, 1.0, beta.ppf(1 - tail, above_most + 1, n_in - above_most))
        low = np.where((least == 0) | (above_least == 0), 0.0, beta.ppf(tail, above_least, n_in - above_least + 1))
    low = np.where(grid >= 1, 1.0, low)
    return RocBand(fpr=grid, tpr=observed / n_in, low=np.nan_to_num(low), high=high, level=level)


def _above(inside: Array, outside_descending: Array, place: Array, *, strict: bool) -> Array:
    """How many members exceed (or reach) the outsider at `place` from the top; all of them past the last outsider."""
    n = outside_descending.size
    score = outside_descending[np.clip(place, 0, n - 1)]
    count = inside.size - np.searchsorted(inside, score, "right" if strict else "left")
    return np.where(place >= n, inside.size, count)
