"""The AUC and its scatter by DeLong's placements: the share of the other class that each record ranks on the right side of.

Near-duplicates that share a cluster count as one draw. O(n log n) in the records n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillage.functional.binomial import Interval, check_level
from stillage.functional.clustered import clustered_scatter
from stillage.functional.scatter import Scatter, half_width
from stillage.functional.scored import checked, cluster_groups
from stillage.types import Array


def roc_auc(scores: Array, is_member: Array) -> float:
    """The chance that a random member scores above a random nonmember, ties counted half; never folded.

    AUC = (#{(i, o): s_i > s_o} + #{ties} / 2) / (n_in n_out). scores float[n], is_member bool[n].
    DataError on NaN scores (with their number), an empty class, or arrays of different length.
    """
    return placements(*checked(scores, is_member))[0]


def auc_interval(
    scores: Array,
    is_member: Array,
    level: float = 0.95,
    *,
    clusters: Sequence[int] | Array | None = None,
    n_folds: int = 0,
) -> Interval:
    """The AUC with its DeLong interval on the logit scale, exact where DeLong's variance is zero.

    logit(AUC) +- z sqrt(var) / (AUC (1 - AUC)). At AUC 1, low = (alpha/2)^(1/m) with m = min(n_in, n_out): the exact
    binomial limit for m disjoint pairs, attained by the worst distribution; no lower AUC gets a higher `low` than that.
    AUC 0 is its mirror; if all scores are equal the same limit bounds the share of untied pairs around 0.5.
    clusters int[n]: near-duplicates share a number and count as one draw (m counts clusters); variance and Student's t by
    clustered_scatter. Simulated coverage with groups of 1 to 9, 20 among single ones, Pareto sizes, or on both sides: 92 to
    99 %; to 100 % where one group holds a quarter of a side, as nothing shows how large groups scatter.
    n_folds: for out-of-fold scores of a classifier cross-fitted over so many folds, whose folds depend on each other
    through their training sets: variance times 1 + n_folds / (n_folds - 1) (at chance the plain interval misses 0.5 in
    15 % of honest splits, this one in 3-5 %). Errors as roc_auc.
    Sources: DeLong et al. 1988; Qin and Hotilovac 2008 (logit); Obuchowski 1997 (clusters); Clopper and Pearson 1934;
    Nadeau and Bengio 2003 (folds).
    """
    scores, is_member = checked(scores, is_member)
    auc, placement = placements(scores, is_member)
    groups = cluster_groups(clusters, scores.size)
    found = delong_scatter(placement, is_member, groups, n_folds)
    return logit_interval(auc, [found], draws(is_member, groups), level)


def placements(scores: Array, is_member: Array) -> tuple[float, Array]:
    """The AUC, and each record's placement: the share of the other class that it ranks on the right side of."""
    order = np.argsort(scores)
    ascending, member = scores[order], is_member[order]
    starts = np.flatnonzero(
        np.concatenate([[True], ascending[1:] != ascending[:-1]])
    )  # of each run of tied scores
    ends = np.append(starts[1:], scores.size)
    members_below = np.concatenate([[0], np.cumsum(member)])  # among the first i records
    below_plus_upto = (
        members_below[starts] + members_below[ends]
    )  # a tie counts half: twice the number, an integer
    twice_members = np.repeat(below_plus_upto, ends - starts)
    twice_nonmembers = np.repeat(starts + ends, ends - starts) - twice_members
    n_in, n_out = int(members_below[-1]), scores.size - int(members_below[-1])
    placement = np.empty(scores.size)
    placement[order] = np.where(
        member, twice_nonmembers / (2 * n_out), 1 - twice_members / (2 * n_in)
    )
    return int(twice_nonmembers[member].sum()) / (2 * n_in * n_out), placement


def draws(is_member: Array, groups: Array | None) -> int:
    """The smaller class's number of independent draws."""
    if groups is None:
        return min(int(is_member.sum()), int((~is_member).sum()))
    return min(np.unique(groups[is_member]).size, np.unique(groups[~is_member]).size)


def delong_scatter(
    placement: Array, is_member: Array, groups: Array | None, n_folds: int = 0
) -> Scatter:
    """DeLong's variance of a mean placement, times that of the folds; over clusters as clustered_scatter says.

    Without clusters (or where each record is its own) the degrees of freedom are inf.
    """
    units, factor = draws(is_member, groups), fold_factor(n_folds)
    if units < 2:
        return Scatter(variance=math.inf)  # one draw of a class says nothing about its scatter
    if groups is None or int(groups.max()) + 1 == groups.size:
        own = sum(placement[side].var(ddof=1) / side.sum() for side in (is_member, ~is_member))
        return Scatter(variance=factor * float(own))
    found = clustered_scatter(placement, groups, (is_member, ~is_member))
    return Scatter(variance=factor * found.variance, df=found.df)


def fold_factor(n_folds: int) -> float:
    """How much the variance grows when scores are out-of-fold (Nadeau and Bengio 2003: 1/J + n_test/n_train, times J)."""
    return 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0


def logit_interval(auc: float, parts: Sequence[Scatter], units: int, level: float) -> Interval:
    """The interval of auc_interval, from an AUC, the parts of its scatter and the draws of the smaller class."""
    alpha = check_level(level)
    edge, variance = (alpha / 2) ** (1 / units), sum(part.variance for part in parts)
    if math.isinf(variance):
        return Interval(value=auc, low=0.0, high=1.0, level=level)
    if (
        variance < 1e-24 and 0 < auc < 1
    ):  # every pair tied (or, pooled, such runs with perfect ones)
        half = (1 - edge) / 2
        return Interval(value=auc, low=max(0.0, auc - half), high=min(1.0, auc + half), level=level)
    if variance < 1e-24:
        return Interval(
            value=auc,
            low=edge if auc == 1 else 0.0,
            high=1.0 if auc == 1 else 1 - edge,
            level=level,
        )
    centre = math.log(auc / (1 - auc))
    half = half_width(parts, alpha) / (auc * (1 - auc))
    low, high = _expit(centre - half), _expit(centre + half)
    return Interval(value=auc, low=min(low, edge), high=max(high, 1 - edge), level=level)


def _expit(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
