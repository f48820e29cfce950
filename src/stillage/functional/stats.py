"""How well do scores tell members from outsiders: ROC, AUC with its interval, paired test, TPR at a fixed FPR.

Scores are higher for a likelier member; an AUC below 0.5 stays below 0.5. Everything is O(n log n) in the records n.
A record is called a member when its score is ABOVE the threshold. NaN is refused: drop with `finite`, which counts.
Related: binomial (Clopper-Pearson), bootstrap (any statistic, clusters, seeds), multiplicity (several attacks).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level, clopper_pearson, clustered_proportion
from stillage.types import Array

__all__ = [
    "Interval",
    "PairedTest",
    "Rate",
    "Roc",
    "RocBand",
    "auc_interval",
    "clopper_pearson",
    "finite",
    "paired_auc_test",
    "pooled_auc_interval",
    "roc_auc",
    "roc_band",
    "roc_curve",
    "tpr_at_fpr",
]


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
class PairedTest:
    """Do two attacks (or two models) differ on the same records? difference = AUC(a) - AUC(b); p is two-sided."""

    difference: float
    low: float
    high: float
    p: float
    level: float = 0.95


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


def finite(scores: Array, is_member: Array) -> tuple[Array, Array, int]:
    """The records whose score is a number, and how many were dropped; show that count beside the statistic."""
    scores, is_member = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    kept = np.isfinite(scores)
    return scores[kept], is_member[kept], int((~kept).sum())


def roc_curve(scores: Array, is_member: Array) -> Roc:
    """The ROC curve; tied scores make one straight (mid-rank) segment. thresholds[0] is +inf. DataError as roc_auc."""
    scores, is_member = _checked(scores, is_member)
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


def roc_auc(scores: Array, is_member: Array) -> float:
    """The chance that a random member scores above a random outsider, ties counted half; never folded.

    AUC = (#{(i, o): s_i > s_o} + #{ties} / 2) / (n_in n_out). scores float[n], is_member bool[n].
    DataError on NaN scores (with their number), an empty class, or arrays of different length.
    """
    return _placements(*_checked(scores, is_member))[0]


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
    clusters int[n]: near-duplicates share a number and count as one draw (m counts clusters).
    n_folds: for out-of-fold scores of a classifier cross-fitted over so many folds, whose folds depend on each other
    through their training sets: variance times 1 + n_folds / (n_folds - 1) (at chance the plain interval misses 0.5 in
    15 % of honest splits, this one in 3-5 %). Errors as roc_auc.
    Sources: DeLong et al. 1988; Qin and Hotilovac 2008 (logit); Obuchowski 1997 (clusters); Clopper and Pearson 1934;
    Nadeau and Bengio 2003 (folds).
    """
    scores, is_member = _checked(scores, is_member)
    auc, placement = _placements(scores, is_member)
    groups = _groups(clusters, scores.size)
    units = _units(is_member, groups)
    return _logit_interval(auc, _fold_factor(n_folds) * _variance(placement, is_member, groups), units, level)


def paired_auc_test(
    scores_a: Array,
    scores_b: Array,
    is_member: Array,
    level: float = 0.95,
    *,
    clusters: Sequence[int] | Array | None = None,
) -> PairedTest:
    """Tests AUC(a) = AUC(b) on the same records by DeLong's covariance of the two; p is two-sided.

    z = (AUC_a - AUC_b) / sqrt(var of the difference of placements). Where that variance is zero (equal rankings, or
    both at 0, 1/2 or 1) the sign test on m = min(n_in, n_out) disjoint pairs takes over: p = 2^(1-m), or 1 without
    difference. clusters as in auc_interval. Errors as roc_auc. Source: DeLong et al. 1988.
    """
    from scipy.special import ndtr, ndtri

    alpha = check_level(level)
    scores_a, member = _checked(scores_a, is_member)
    scores_b, _ = _checked(scores_b, is_member)
    (auc_a, placement_a), (auc_b, placement_b) = _placements(scores_a, member), _placements(scores_b, member)
    groups = _groups(clusters, member.size)
    units, difference = _units(member, groups), auc_a - auc_b
    error = math.sqrt(_variance(placement_a - placement_b, member, groups))
    if error > 1e-12:
        p = 2 * float(ndtr(-abs(difference) / error))
        half = -float(ndtri(alpha / 2)) * error
    else:
        p = 1.0 if abs(difference) < 1e-12 else 2.0 ** (1 - units)
        half = 1 - (alpha / 2) ** (1 / units)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedTest(difference=difference, low=low, high=high, p=min(1.0, p), level=level)


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
    allows that rate), unless 0 < fpr < 1, or as roc_auc.
    """
    scores, is_member = _checked(scores, is_member)
    inside, outside = scores[is_member], np.sort(scores[~is_member])[::-1]
    if not 0 < fpr < 1:
        raise DataError("The false-positive rate must lie between 0 and 1.", f"fpr = {fpr}", "Use 0.01 or 0.1.")
    if outside.size * fpr < 3 - 1e-9:
        raise DataError(
            f"Too few outsiders to fix a threshold at a false-positive rate of {fpr:g}.",
            f"{outside.size} outsiders; at least 3/fpr = {math.ceil(3 / fpr - 1e-9)} are needed",
            f"Use more outsiders, or a rate of at least {3 / outside.size:.3g}.",
        )
    threshold = float(outside[math.floor(fpr * outside.size + 1e-9)])
    groups = _groups(clusters, scores.size)
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

    scores, is_member = _checked(scores, is_member)
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


def pooled_auc_interval(
    runs: Sequence[tuple[Array, Array]],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
    n_folds: int = 0,
) -> Interval:
    """The mean AUC over seeds, with an interval that holds both the records' and the seeds' scatter.

    runs: (scores, is_member) per seed. With fresh records per seed: var = max(v, s2) / S, v the mean DeLong variance,
    s2 the variance of the seeds' AUCs. With same_records (one split, in one order, trained S times): var = DeLong
    variance of the mean placements + s2 / S. Student's t with df = (S - 1) (var S / s2)^2 (Satterthwaite), on the
    logit scale; the exact rule of auc_interval at 0, 1 and all-equal scores. Simulated coverage: 94-98 % for S >= 3,
    90-98 % for S = 2. clusters: one array per run; they and n_folds as in auc_interval. Errors as roc_auc, and DataError
    for no run or different members under same_records.
    """
    if not runs:
        raise DataError("No run to pool.", "0 seeds", "Give at least one run's scores.")
    checked = [_checked(*run) for run in runs]
    parts = [_placements(*run) for run in checked]
    aucs, count = np.array([auc for auc, _ in parts]), len(parts)
    mean, spread = float(aucs.mean()), float(aucs.var(ddof=1)) if count > 1 else 0.0
    given = [None] * count if clusters is None else list(clusters)
    groups = [_groups(one, member.size) for one, (_, member) in zip(given, checked, strict=True)]
    units = [_units(member, group) for (_, member), group in zip(checked, groups, strict=True)]
    if same_records:
        member = checked[0][1]
        if any(not np.array_equal(member, other) for _, other in checked):
            raise DataError(
                "The runs to pool do not hold the same records.",
                f"records per seed: {[m.size for _, m in checked]}",
                "Order every run's scores by record id, or pool them as independent records.",
            )
        mean_placement = np.mean([placement for _, placement in parts], axis=0)
        shared = _fold_factor(n_folds) * _variance(mean_placement, member, groups[0])
        variance, total_units = shared + spread / count, min(units)
    else:
        variances = [_variance(v, m, group) for (_, v), (_, m), group in zip(parts, checked, groups, strict=True)]
        within, total_units = _fold_factor(n_folds) * float(np.mean(variances)), sum(units)
        variance = max(within, spread) / count
    df = (count - 1) * (variance * count / spread) ** 2 if spread > 0 else math.inf
    return _logit_interval(mean, variance, total_units, level, df)


def _checked(scores: Array, is_member: Array) -> tuple[Array, Array]:
    """Float64 scores and boolean labels of one length, without NaN and with both classes; DataError otherwise."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DataError(
            "Scores and membership must be two lists of one length.",
            f"scores {scores.shape}, is_member {labels.shape}",
            "Give one score and one true/false per record.",
        )
    member = labels.astype(bool)
    if labels.dtype != bool and not np.array_equal(member, labels):
        raise DataError(
            "Membership must be true or false for each record.",
            f"found {np.unique(labels)[:5].tolist()}",
            "Use True for members, False for outsiders.",
        )
    n_nan = int(np.isnan(scores).sum())
    if n_nan:
        raise DataError(
            "Some scores are not numbers, and dropping them silently would bias the result.",
            f"{n_nan} of {scores.size} scores are NaN",
            "Drop them with stats.finite(scores, is_member) and show how many; or find out why the model returns NaN.",
        )
    if member.all() or not member.any():
        raise DataError(
            "Telling members from outsiders needs both.",
            f"{int(member.sum())} members, {int((~member).sum())} outsiders",
            "Give records of both kinds.",
        )
    return scores, member


def _placements(scores: Array, is_member: Array) -> tuple[float, Array]:
    """The AUC, and each record's placement: the share of the other class that it ranks on the right side of."""
    order = np.argsort(scores)
    ascending, member = scores[order], is_member[order]
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))  # of each run of tied scores
    ends = np.append(starts[1:], scores.size)
    members_below = np.concatenate([[0], np.cumsum(member)])  # among the first i records
    below_plus_upto = members_below[starts] + members_below[ends]  # a tie counts half: twice the number, an integer
    twice_members = np.repeat(below_plus_upto, ends - starts)
    twice_outsiders = np.repeat(starts + ends, ends - starts) - twice_members
    n_in, n_out = int(members_below[-1]), scores.size - int(members_below[-1])
    placement = np.empty(scores.size)
    placement[order] = np.where(member, twice_outsiders / (2 * n_out), 1 - twice_members / (2 * n_in))
    return int(twice_outsiders[member].sum()) / (2 * n_in * n_out), placement


def _groups(clusters: Sequence[int] | Array | None, n: int) -> Array | None:
    """Cluster numbers 0..C-1, one per record; None where each record is its own."""
    if clusters is None:
        return None
    found = np.asarray(clusters)
    if found.shape != (n,):
        raise DataError("One cluster per record is needed.", f"{found.shape} for {n} records", "Give one per score.")
    return np.unique(found, return_inverse=True)[1]


def _units(is_member: Array, groups: Array | None) -> int:
    """The smaller class's number of independent draws."""
    if groups is None:
        return min(int(is_member.sum()), int((~is_member).sum()))
    return min(np.unique(groups[is_member]).size, np.unique(groups[~is_member]).size)


def _variance(placement: Array, is_member: Array, groups: Array | None) -> float:
    """DeLong's variance of a mean placement, summed within clusters first (Obuchowski 1997, eq. 5)."""
    if _units(is_member, groups) < 2:
        return math.inf  # one draw of a class says nothing about its scatter
    if groups is None:
        return float(sum(placement[side].var(ddof=1) / side.sum() for side in (is_member, ~is_member)))
    sums = []
    for side in (is_member, ~is_member):
        centred = np.where(side, placement - placement[side].mean(), 0.0) / side.sum()
        sums.append((np.bincount(groups, centred), np.unique(groups[side]).size))
    (inside, n_in), (outside, n_out) = sums
    n_all = inside.size
    variance = (inside @ inside) * n_in / (n_in - 1) + (outside @ outside) * n_out / (n_out - 1)
    return max(0.0, float(variance + 2 * (inside @ outside) * n_all / (n_all - 1)))


def _fold_factor(n_folds: int) -> float:
    """How much the variance grows when scores are out-of-fold (Nadeau and Bengio 2003: 1/J + n_test/n_train, times J)."""
    return 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0


def _logit_interval(auc: float, variance: float, units: int, level: float, df: float = math.inf) -> Interval:
    """The interval of auc_interval, from an AUC, its variance and the draws of the smaller class."""
    from scipy.special import stdtrit

    alpha = check_level(level)
    edge = (alpha / 2) ** (1 / units)
    if math.isinf(variance):
        return Interval(value=auc, low=0.0, high=1.0, level=level)
    if variance < 1e-24 and 0 < auc < 1:  # every pair tied (or, pooled, such runs with perfect ones)
        half = (1 - edge) / 2
        return Interval(value=auc, low=max(0.0, auc - half), high=min(1.0, auc + half), level=level)
    if variance < 1e-24:
        return Interval(value=auc, low=edge if auc == 1 else 0.0, high=1.0 if auc == 1 else 1 - edge, level=level)
    centre = math.log(auc / (1 - auc))
    half = float(stdtrit(min(df, 1e9), 1 - alpha / 2)) * math.sqrt(variance) / (auc * (1 - auc))
    low, high = _expit(centre - half), _expit(centre + half)
    return Interval(value=auc, low=min(low, edge), high=max(high, 1 - edge), level=level)


def _expit(x: float) -> float:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _above(inside: Array, outside_descending: Array, place: Array, *, strict: bool) -> Array:
    """How many members exceed (or reach) the outsider at `place` from the top; all of them past the last outsider."""
    n = outside_descending.size
    score = outside_descending[np.clip(place, 0, n - 1)]
    count = inside.size - np.searchsorted(inside, score, "right" if strict else "left")
    return np.where(place >= n, inside.size, count)
