"""The ROC curve, the TPR at a fixed FPR with its limits, and a band.

A record is called a member when its score is ABOVE the threshold, which nonmembers alone fix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level, clustered_proportion, effective_records
from stillage.functional.scored import Clusters, checked_scores, cluster_groups
from stillage.types import Array

N_ANGLES = 9

MIN_EXPECTED = 3.0
"""Nonmembers to expect above a threshold; none in 3 / fpr trials still allows that rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The share of members found above a threshold that the nonmembers alone fixed."""

    value: float  # TPR at `threshold`
    low: float  # limits of the true TPR at a true FPR of `fpr`, the threshold's scatter included
    high: float
    achieved_fpr: float  # share of nonmembers above `threshold`; at most the FPR asked for
    n: int  # members: the denominator of value
    threshold: float  # a record is called a member when its score is greater than this
    achieved_fpr_low: float
    achieved_fpr_high: float
    n_nonmembers: int  # the denominator of achieved_fpr
    fpr: float  # as asked for
    level: float = 0.95
    warning: str = ""  # not empty where the nonmembers are few for this FPR


@dataclass(frozen=True, slots=True, kw_only=True)
class Roc:
    """The empirical ROC: vertex i, one for each score, calls scores >= t_i members."""

    fpr: Array
    tpr: Array
    thresholds: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class RocBand:
    """Pointwise limits of the true TPR on a grid of FPRs, and the observed curve."""

    fpr: Array
    tpr: Array
    low: Array
    high: Array
    level: float = 0.95


def roc_curve(scores: Array, is_member: Array) -> Roc:
    """Compute the ROC curve; tied scores make one straight segment.

    thresholds[0] is +inf. DataError as roc_auc.
    """
    scores, is_member = checked_scores(scores, is_member)
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
    scores: Array, is_member: Array, fpr: float, level: float = 0.95, *, clusters: Clusters = None
) -> Rate:
    """Compute the share of members above the threshold that the FPR allows.

    The smallest one that at most floor(fpr n_out) nonmembers exceed. The limits are those of the
    true TPR at a true FPR of `fpr` (rate_limits): they hold the scatter of the threshold and of the
    members. The interval of the achieved FPR is Clopper-Pearson's: for k nonmembers above a
    nonmember's score the true FPR is Beta(k+1, n-k), whose quantiles lie within those limits.
    clusters int[n]: numbers of records are those of effective_records. Simulated coverage of 95 %
    limits: 94 to 98.5 %, to 99.5 % with fewer than 5 / fpr nonmembers and 100 % where
    near-duplicates leave few independent ones. DataError when n_out < 3 / fpr and not all scores
    are equal, unless 0 < fpr < 1, or as roc_auc.
    """
    scores, is_member = checked_scores(scores, is_member)
    inside, outside = scores[is_member], np.sort(scores[~is_member])[::-1]
    if not 0 < fpr < 1:
        raise DataError(
            "The false-positive rate must lie between 0 and 1.", f"fpr = {fpr}", "Use 0.01 or 0.1."
        )
    all_tie = scores.min() == scores.max()  # then nobody is above any threshold
    if outside.size * fpr < MIN_EXPECTED - 1e-9 and not all_tie:
        raise DataError(
            f"Too few nonmembers to fix a threshold at a false-positive rate of {fpr:g}.",
            f"{outside.size} nonmembers; at least 3/fpr = {math.ceil(3 / fpr - 1e-9)} are needed",
            f"Use more nonmembers, or a rate of at least {3 / outside.size:.3g}.",
        )
    threshold = float(outside[min(math.floor(fpr * outside.size + 1e-9), outside.size - 1)])
    groups = cluster_groups(clusters, scores.size)
    false = clustered_proportion(scores[~is_member] > threshold, groups[~is_member], level)
    n_in = effective_records(inside > threshold, groups[is_member], level)
    # a handful above the threshold hardly shows that they come in groups; three times as many do
    lower = float(outside[min(math.floor(3 * fpr * outside.size + 1e-9), outside.size // 2)])
    n_out = min(
        effective_records(scores[~is_member] > cut, groups[~is_member], level)
        for cut in (threshold, lower)
    )
    low, high = rate_limits(inside, outside, fpr, level, n_in, n_out)
    value = float((inside > threshold).mean())
    few = f"only {outside.size} nonmembers for this rate; {math.ceil(10 / fpr - 1e-9)} are advised"
    return Rate(
        value=value,
        low=min(value, low),
        high=max(value, high),
        achieved_fpr=false.value,
        n=inside.size,
        threshold=threshold,
        achieved_fpr_low=false.low,
        achieved_fpr_high=false.high,
        n_nonmembers=outside.size,
        fpr=fpr,
        level=level,
        warning=few if outside.size * fpr < 10 - 1e-9 else "",
    )


def roc_band(
    scores: Array, is_member: Array, fpr: Array | None = None, level: float = 0.95
) -> RocBand:
    """Compute limits of the true TPR at each FPR of a grid, pointwise (rate_limits).

    fpr: grid in (0, 1]; default 200 points, evenly on a log axis.
    """
    scores, is_member = checked_scores(scores, is_member)
    inside, outside = np.sort(scores[is_member]), np.sort(scores[~is_member])[::-1]
    n_out = outside.size
    grid = np.geomspace(min(0.5, 1 / n_out), 1, 200) if fpr is None else np.asarray(fpr, float)
    place = np.floor(grid * n_out + 1e-9).astype(int)
    below = np.searchsorted(inside, outside[np.clip(place, 0, n_out - 1)], "right")
    tpr = np.where(place >= n_out, 1.0, 1 - below / inside.size)
    limits = [
        rate_limits(inside, outside, rate, level) if rate < 1 else (1.0, 1.0)
        for rate in grid.tolist()
    ]
    low, high = np.array(limits).reshape(-1, 2).T
    low, high = np.minimum(low, tpr), np.maximum(high, tpr)
    return RocBand(fpr=grid, tpr=tpr, low=low, high=high, level=level)


def rate_limits(
    inside: Array,
    outside: Array,
    fpr: float,
    level: float,
    n_in: float = math.nan,
    n_out: float = math.nan,
) -> tuple[float, float]:
    """Compute limits of P(member > t) at the least t that `fpr` of nonmembers exceed.

    Of all nonmembers, seen or not. Two errors meet: how many nonmembers exceed the true t
    (binomial), and how many members do (binomial). At each angle a in [0, pi / 2], the threshold is
    moved to where the first is z cos(a) standard errors off, and Clopper and Pearson's limit of the
    members above it is taken at z sin(a): the limits are the extremes over all angles.
    Distribution-free but for one case: where even no nonmember above the true t is likely enough
    (fewer than 3.7 / fpr of them at 95 %), the ROC curve from (0, 0) to the highest nonmember is
    taken to lie above the straight line; below 3 / fpr the lower limit is 0. inside, outside:
    scores. n_in, n_out: effective numbers of records; NaN: as many as scores.
    """
    from scipy.special import bdtrik, betaincinv, ndtr, ndtri

    members, nonmembers = np.sort(inside), np.sort(outside)[::-1]
    n_in = inside.size if math.isnan(n_in) else n_in
    n_out = outside.size if math.isnan(n_out) else n_out
    z, angles = -float(ndtri(check_level(level) / 2)), np.linspace(0, math.pi / 2, N_ANGLES)
    tail_A, tail_R = ndtr(-z * np.cos(angles)), ndtr(-z * np.sin(angles))
    # no nonmember above the true threshold is likely enough
    none_likely = (1 - fpr) ** n_out > tail_A
    least_A = np.where(none_likely, 1.0, bdtrik(np.where(none_likely, 0.5, tail_A), n_out, fpr) + 1)
    shrink_A = np.where(none_likely, fpr / np.maximum(fpr, 1 - tail_A ** (1 / n_out)), 1.0)
    above_A = _share_above(members, nonmembers, (least_A - 1) * outside.size / n_out) * n_in
    limit_A = betaincinv(np.maximum(above_A, 1e-9), n_in - above_A + 1, tail_R)
    low_A = np.where(above_A > 0, limit_A, 0.0) * shrink_A
    low_A = np.where(none_likely & (n_out * fpr < MIN_EXPECTED - 1e-9), 0.0, low_A)
    most_A = bdtrik(1 - tail_A, n_out, fpr)
    above_A = _share_above(members, nonmembers, most_A * outside.size / n_out) * n_in
    all_A = above_A >= n_in
    limit_A = betaincinv(above_A + 1, np.where(all_A, 1, n_in - above_A), 1 - tail_R)
    high_A = np.where(all_A, 1.0, limit_A)
    return float(low_A.min()), float(high_A.max())


def _share_above(members: Array, nonmembers_descending: Array, place: Array) -> Array:
    """Interpolate the share of members above the nonmember at a place from the top."""
    n = nonmembers_descending.size
    places = np.stack([np.floor(place), np.floor(place) + 1]).astype(int)
    scores = nonmembers_descending[np.clip(places, 0, n - 1)]
    share = np.where(places >= n, 1.0, 1 - np.searchsorted(members, scores, "right") / members.size)
    part = place - np.floor(place)
    return share[0] * (1 - part) + share[1] * part
