"""The ROC curve, the TPR at a fixed FPR with its limits, and a band.

A record is called a member when its score is ABOVE the threshold, which comes from the nonmembers
alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import clustered_proportion, effective_records
from stillage.functional.rate_limits import MIN_EXPECTED, rate_limits
from stillage.functional.scored import checked_scores, cluster_groups
from stillage.types import Array


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
    """The empirical ROC, one vertex per distinct score, from (0, 0) to (1, 1).

    Vertex i calls members scores >= t_i.
    """

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
    scores: Array,
    is_member: Array,
    fpr: float,
    level: float = 0.95,
    *,
    clusters: Sequence[int] | Array | None = None,
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
