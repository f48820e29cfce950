"""The AUC and its scatter by DeLong's placements.

A record's placement is the share of the other class that it ranks on the right side of.
Near-duplicates that share a cluster count as one draw. O(n log n) in the records n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.functional.scatter import EstimatedVariance, clustered_scatter, half_width
from stillage.functional.scored import Clusters, checked_scores, cluster_groups
from stillage.types import Array


def roc_auc(scores: Array, is_member: Array) -> float:
    """Compute the chance that a random member scores above a random nonmember.

    Ties count half; never folded. scores float[n], is_member bool[n]. DataError on NaN scores (with
    their number), an empty class, or arrays of different length.
    """
    return placements(*checked_scores(scores, is_member))[0]


def auc_interval(
    scores: Array,
    is_member: Array,
    level: float = 0.95,
    *,
    clusters: Clusters = None,
    n_folds: int = 0,
) -> Interval:
    """Compute the AUC with its DeLong interval on the logit scale.

    logit(AUC) +- z sqrt(var) / (AUC (1 - AUC)). At AUC 1, low = (alpha/2)^(1/m) with m = min(n_in,
    n_out): the exact binomial limit for m disjoint pairs; no lower AUC gets a higher `low` than
    that. AUC 0 is its mirror; if all scores are equal the same limit bounds the share of untied
    pairs around 0.5. clusters int[n]: near-duplicates share a number and count as one draw;
    variance and Student's t by clustered_scatter (simulated coverage 92 to 99 %). n_folds: for
    out-of-fold scores of a classifier cross-fitted over so many folds, whose training sets overlap:
    variance times fold_factor (at chance the plain interval misses 0.5 in 15 % of honest splits,
    this one in 3-5 %). Errors as roc_auc. Sources: DeLong et al. 1988; Qin and Hotilovac 2008
    (logit); Obuchowski 1997 (clusters); Clopper and Pearson 1934; Nadeau and Bengio 2003 (folds).
    """
    scores, is_member = checked_scores(scores, is_member)
    auc, placement = placements(scores, is_member)
    groups = cluster_groups(clusters, scores.size)
    scatter = delong_scatter(placement, is_member, groups, n_folds)
    return logit_interval(auc, [scatter], draws(is_member, groups), level)


def placements(scores: Array, is_member: Array) -> tuple[float, Array]:
    """Compute the AUC, and each record's placement, float64[n]."""
    order = np.argsort(scores)
    ascending, member = scores[order], is_member[order]
    # of each run of tied scores
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    ends = np.append(starts[1:], scores.size)
    members_below = np.concatenate([[0], np.cumsum(member)])  # among the first i records
    # a tie counts half: twice the number, an integer
    twice_members = np.repeat(members_below[starts] + members_below[ends], ends - starts)
    twice_nonmembers = np.repeat(starts + ends, ends - starts) - twice_members
    n_in, n_out = int(members_below[-1]), scores.size - int(members_below[-1])
    placement = np.empty(scores.size)
    placement[order] = np.where(
        member, twice_nonmembers / (2 * n_out), 1 - twice_members / (2 * n_in)
    )
    return int(twice_nonmembers[member].sum()) / (2 * n_in * n_out), placement


def draws(is_member: Array, groups: Array) -> int:
    """Count the independent draws of the smaller class."""
    return min(np.unique(groups[side]).size for side in (is_member, ~is_member))


def delong_scatter(
    placement: Array, is_member: Array, groups: Array, n_folds: int = 0
) -> EstimatedVariance:
    """Estimate DeLong's variance of a mean placement, times that of the folds.

    By clustered_scatter; df inf where each record is alone, variance inf where a class has one
    draw.
    """
    factor, sides = fold_factor(n_folds), (is_member, ~is_member)
    if draws(is_member, groups) < 2:
        return EstimatedVariance(variance=math.inf)
    if int(groups.max()) + 1 == groups.size:
        own = sum(placement[side].var(ddof=1) / side.sum() for side in sides)
        return EstimatedVariance(variance=factor * float(own))
    scatter = clustered_scatter(placement, groups, sides)
    return EstimatedVariance(variance=factor * scatter.variance, df=scatter.df)


def fold_factor(n_folds: int) -> float:
    """Return by how much out-of-fold scores widen the variance.

    J times 1/J + n_test / n_train (Nadeau and Bengio 2003).
    """
    return 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0


def logit_interval(
    auc: float, parts: Sequence[EstimatedVariance], units: int, level: float
) -> Interval:
    """Compute the interval of auc_interval from the parts of its scatter."""
    from scipy.special import expit

    alpha = check_level(level)
    edge, variance = (alpha / 2) ** (1 / units), sum(part.variance for part in parts)
    if math.isinf(variance):
        low, high = 0.0, 1.0
    elif variance < 1e-24 and 0 < auc < 1:
        # every pair is tied (or, pooled, such runs with perfect ones)
        half = (1 - edge) / 2
        low, high = max(0.0, auc - half), min(1.0, auc + half)
    elif variance < 1e-24:
        low, high = (edge, 1.0) if auc == 1 else (0.0, 1 - edge)
    else:
        centre, half = math.log(auc / (1 - auc)), half_width(parts, alpha) / (auc * (1 - auc))
        low, high = float(expit(centre - half)), float(expit(centre + half))
        low, high = min(low, edge), max(high, 1 - edge)
    return Interval(value=auc, low=low, high=high, level=level)
