"""What of the teacher is left in the student: statistics on the same records.

Each with its interval. A leak is the teacher's doing as far as a student of a teacher that never
saw the records does not have it. The rest says how much of the teacher's leak arrived, and on which
records: those that the teacher betrays or recites, those that any model of that size recites
(easy), and those that only the teacher can have passed on. Scores: higher = member.
`inheritance_results` (audit/inherited.py) puts all of them into one table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level, clustered_proportion
from stillage.functional.bootstrap import bootstrap_interval
from stillage.functional.correlation import rank_correlation
from stillage.functional.means import share_interval
from stillage.functional.scatter import clustered_scatter, half_width
from stillage.functional.stats import auc_interval, tpr_at_fpr
from stillage.types import Array, Result

TAUS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999)
"""The thresholds at which E[student | teacher > tau] is published (arXiv:2508.07054)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio with its interval; value NaN and its reason where it is not defined."""

    value: float
    low: float = math.nan
    high: float = math.nan
    n: int
    reason: str = ""  # why there is no value, or no interval


def of_ratio(row: Result, ratio: Ratio) -> Result:
    """Give a row the numbers of a ratio, or why it has none."""
    row = replace(row, value=ratio.value, low=ratio.low, high=ratio.high)
    return replace(row, n=ratio.n, reason=ratio.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """E[student | teacher > tau] over the n records where it holds; share = n / all."""

    tau: float
    value: float  # NaN for n = 0
    low: float
    high: float
    n: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of the records that models have; n: the denominator; exact intervals."""

    inherited: Ratio  # |S and T| / |T|: of what the teacher has, the student has too
    teacher_specific: Ratio  # |S and T, not control| / |S|: only the teacher can have given it
    easy: Ratio  # |S and control| / |S|: a model without that teacher has it too


def inheritance_ratio(
    student: Array,
    teacher: Array,
    is_member: Array,
    generator: np.random.Generator,
    *,
    clusters: Array | None = None,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Ratio:
    """Return the share of the teacher's advantage that arrived in the student.

    (AUC_student - 1/2) / (AUC_teacher - 1/2). bootstrap_interval over records, both models on the
    same draw; clusters int[n]: near-duplicates share a number and are drawn together. Undefined
    (NaN) where the teacher's own AUC interval holds 1/2: nothing can be inherited from chance. May
    exceed 1, and is negative for a student below chance. Errors as stats.roc_auc.
    """
    own = auc_interval(teacher, is_member, level, clusters=clusters)
    auc_interval(student, is_member, level)  # the same checks
    n = len(np.asarray(is_member))
    if own.contains(0.5):
        return Ratio(value=math.nan, n=n, reason="teacher at chance")
    member = np.asarray(is_member, dtype=bool)
    ranked = [_ranked(np.asarray(scores, dtype=np.float64)) for scores in (student, teacher)]

    def ratio(count_N: Array) -> float:
        top, bottom = (_weighted_auc(*one, member, count_N) - 0.5 for one in ranked)
        return top / bottom if bottom else math.copysign(math.inf, top)

    interval = bootstrap_interval(
        ratio, member, generator, clusters=clusters, n_resamples=n_resamples, level=level
    )
    return Ratio(value=interval.value, low=interval.low, high=interval.high, n=n)


def _ranked(scores: Array) -> tuple[Array, int]:
    """Each record's place among the distinct scores, and their number."""
    distinct, place = np.unique(scores, return_inverse=True)
    return place, distinct.size


def _weighted_auc(place_N: Array, places: int, member_N: Array, count_N: Array) -> float:
    """AUC of a resample, record i drawn count_i times; ties half. O(n), no sorting."""
    inside = np.bincount(place_N[member_N], count_N[member_N], minlength=places)
    outside = np.bincount(place_N[~member_N], count_N[~member_N], minlength=places)
    below = np.cumsum(outside) - outside / 2
    return float(inside @ below / (inside.sum() * outside.sum()))


def rank_among_nonmembers(scores: Array, is_member: Array) -> Array:
    """Share of nonmembers below each score, float64[n], ties half; 0.99: 1 % FPR."""
    scores, member = np.asarray(scores, dtype=np.float64), np.asarray(is_member, dtype=bool)
    outside = np.sort(scores[~member])
    if not outside.size or np.isnan(scores).any():
        values = f"{outside.size} nonmembers; {int(np.isnan(scores).sum())} scores are NaN"
        raise DataError(
            "Scores cannot be ranked among nonmembers.", values, "Give finite scores of both kinds."
        )
    twice = np.searchsorted(outside, scores, "left") + np.searchsorted(outside, scores, "right")
    return twice / (2 * outside.size)


def inheritance_curve(
    teacher_N: Array,
    student_N: Array,
    taus: Sequence[float] = TAUS,
    level: float = 0.95,
    *,
    clusters: Array | None = None,
) -> list[CurvePoint]:
    """E[student | teacher > tau] on the same records, for values from 0 to 1.

    Shares recited, or ranks of scores. The interval is share_interval's, over the records above
    tau; clusters int[N] as there. DataError for values outside [0, 1] or NaN.
    """
    teacher, student = (np.asarray(x, dtype=np.float64) for x in (teacher_N, student_N))
    wrong = int(sum((~((x >= 0) & (x <= 1))).sum() for x in (teacher, student)))
    if teacher.shape != student.shape or wrong:
        raise DataError(
            "The inheritance curve needs a share for every record under both models.",
            f"teacher {teacher.shape}, student {student.shape},"
            f" {wrong} values outside [0, 1] or NaN",
            "Give shares recited, or rank_among_nonmembers(scores, is_member).",
        )
    number, points = _numbers(clusters, teacher.size), []
    for tau in taus:
        above = teacher > tau
        n, share = int(above.sum()), float(above.sum()) / max(1, above.size)
        mean = share_interval(student[above], level, clusters=number[above])
        points.append(
            CurvePoint(tau=tau, value=mean.value, low=mean.low, high=mean.high, n=n, share=share)
        )
    return points


def found(scores: Array, is_member: Array, fpr: float) -> Array:
    """bool[n]: scores above the nonmembers' threshold at fpr; DataError as tpr_at_fpr."""
    return np.asarray(scores, dtype=np.float64) > tpr_at_fpr(scores, is_member, fpr).threshold


def tpr_on_leaked(
    student: Array,
    teacher: Array,
    is_member: Array,
    fpr: float,
    level: float = 0.95,
    *,
    clusters: Array | None = None,
) -> Ratio:
    """Of the members that the teacher betrays, the share the student betrays too.

    Each at `fpr`. Both thresholds come from the nonmembers alone; the interval is for these two:
    how they scatter with other nonmembers is not in it. Clopper-Pearson, near-duplicates (clusters
    int[n]) counted once. NaN where the teacher betrays nobody. DataError as tpr_at_fpr.
    """
    member = np.asarray(is_member, dtype=bool)
    leaked = found(teacher, is_member, fpr) & member
    again = found(student, is_member, fpr) & leaked
    why_not = "the teacher betrays no member at this rate"
    return _share(again, leaked, why_not, level=level, clusters=clusters)


def shares_of(
    teacher: Array,
    student: Array,
    control: Array,
    level: float = 0.95,
    *,
    clusters: Array | None = None,
) -> Shares:
    """Return the inherited, teacher-specific and easy shares of the private records.

    Three bool[n] say which of the same records each model has (recites, or betrays). control: a
    student of the same size without that teacher. clusters int[n]: near-duplicates share a number
    and count once in the intervals. NaN where a denominator is empty.
    """
    in_teacher, in_student, in_control = (
        np.asarray(x, dtype=bool) for x in (teacher, student, control)
    )
    assert in_teacher.shape == in_student.shape == in_control.shape
    share, both = partial(_share, level=level, clusters=clusters), in_student & in_teacher
    return Shares(
        inherited=share(both, in_teacher, "the teacher has none"),
        teacher_specific=share(both & ~in_control, in_student, "the student has none"),
        easy=share(in_student & in_control, in_student, "the student has none"),
    )


def _share(
    part: Array, whole: Array, why_not: str, *, level: float, clusters: Array | None
) -> Ratio:
    """|part| / |whole| with its exact interval, clusters counted once."""
    n = int(whole.sum())
    if not n:
        return Ratio(value=math.nan, n=0, reason=why_not)
    limits = clustered_proportion(part[whole], _numbers(clusters, whole.size)[whole], level)
    return Ratio(value=limits.value, low=limits.low, high=limits.high, n=n)


def _numbers(clusters: Array | None, n: int) -> Array:
    """Each record's cluster, one of its own where nobody said."""
    return np.arange(n) if clusters is None else np.asarray(clusters)


def spearman(
    left_N: Array, right_N: Array, level: float = 0.95, *, clusters: Array | None = None
) -> Ratio:
    """Return Spearman's rank correlation of two scores, with limits on Fisher's scale.

    Of the same records, by mid-ranks. tanh(artanh r +- half), half the larger of Bonett and
    Wright's z sqrt((1 + r^2 / 2) / (n - 3)) and t sqrt(var) / (1 - r^2), var and t's degrees of
    freedom those of the mean of rank_correlation's influence over clusters int[N] (near-duplicates
    share a number). Simulated coverage of 95 % limits: 93 to 99 % (60 and 300 records, alone or in
    groups of up to 20 with 0.8 of the variance in common, r from 0 to 0.95, normal scores); 89 to
    99 % where both scores scatter far more on some groups than on others (t with 2 degrees of
    freedom). A perfect ranking gets the limits of one with two neighbours swapped. NaN where a side
    is constant; no limits for fewer than 4 clusters. Source of the first: Bonett and Wright 2000.
    """
    from scipy.special import ndtri

    alpha = check_level(level)
    assert np.shape(left_N) == np.shape(right_N)
    r, influence = rank_correlation(left_N, right_N)
    n = influence.size
    if math.isnan(r):
        return Ratio(value=r, n=n, reason="all scores are equal")
    number = np.unique(_numbers(clusters, n), return_inverse=True)[1]
    units = int(number.max()) + 1
    if units < 4:
        what = "records" if units == n else "groups of near-duplicates"
        return Ratio(value=r, n=n, reason=f"too few {what} for an interval")
    perfect = 1 - abs(r) < 1e-12
    counted = units if perfect else n
    most = 1 - 12 / (counted * (counted**2 - 1))
    half = -float(ndtri(alpha / 2)) * math.sqrt((1 + r**2 / 2) / (counted - 3))
    if not perfect:
        scatter = clustered_scatter(influence, number, [np.ones(n, dtype=bool)])
        half = max(half, half_width([scatter], alpha) / (1 - r**2))
    centre = math.atanh(min(most, max(-most, r)))
    low, high = math.tanh(centre - half), math.tanh(centre + half)
    return Ratio(value=r, low=min(r, low), high=max(r, high), n=n)
