"""Differences of two shares on the same records."""

from __future__ import annotations

import math

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level, effective_records
from stillage.functional.pooled import PairedTest
from stillage.functional.roc import tpr_at_fpr
from stillage.functional.scored import Clusters, checked_scores, cluster_groups
from stillage.types import Array


def paired_proportions(first_R: Array, second_R: Array, level: float = 0.95) -> Interval:
    """Subtract two shares of the same records, with the limits of paired_share_test."""
    test = paired_share_test(first_R, second_R, level)
    return Interval(value=test.difference, low=test.low, high=test.high, level=level)


def paired_share_test(
    first_R: Array,
    second_R: Array,
    level: float = 0.95,
    *,
    clusters: Clusters = None,
    variance: float = 0.0,
) -> PairedTest:
    """Test that two shares counted on the same records are equal.

    first_R, second_R bool[R]. With b records that only the first has and c that only the second
    has, of R: difference (b - c) / R; limits d +- z sqrt((p + q - d^2) / (R + 2) + variance), p =
    (b + 1) / (R + 2), q = (c + 1) / (R + 2), d = p - q, cut to [-1, 1]; two-sided p-value of z = d
    / that root, close to the exact McNemar test. With clusters b / R and c / R stay, and R is
    lowered to effective_records. variance: what else scatters, e.g. two thresholds. DataError
    without records, or for arrays of different length. Sources: Bonett and Price 2012; Korn and
    Graubard 1998 (clusters).
    """
    from scipy.special import ndtr, ndtri

    alpha = check_level(level)
    first, second = (np.asarray(values, dtype=bool) for values in (first_R, second_R))
    if not first.size or first.size != second.size:
        raise DataError(
            "Paired shares need the same records on both sides.",
            f"records: {first.size} and {second.size}",
            "Check that both models answered all of them.",
        )
    differences = first.astype(np.float64) - second
    groups = cluster_groups(clusters, first.size)
    size = effective_records(differences, groups, level, normal=True)
    only_first, only_second = float((differences > 0).mean()), float((differences < 0).mean())
    p, q = ((share * size + 1) / (size + 2) for share in (only_first, only_second))
    error = math.sqrt((p + q - (p - q) ** 2) / (size + 2) + variance)
    half = float(ndtri(1 - alpha / 2)) * error
    return PairedTest(
        difference=float(differences.mean()),
        low=max(-1.0, p - q - half),
        high=min(1.0, p - q + half),
        p=2 * float(ndtr(-abs(p - q) / error)),
        level=level,
    )


def paired_tpr_test(
    scores_a: Array,
    scores_b: Array,
    is_member: Array,
    fpr: float,
    level: float = 0.95,
    *,
    clusters: Clusters = None,
) -> PairedTest:
    """Test that two models find the same share of members at one false-positive rate.

    The members' part is paired_share_test on who is found; its `variance` is that of the two
    thresholds, which come from the same nonmembers: that of the mean over nonmembers of g_a 1(a >
    t_a) - g_b 1(b > t_b), g the slope of each model's ROC curve at the threshold (over the sqrt(k)
    nonmembers on each side of the k-th), summed within clusters first. Errors as tpr_at_fpr.
    Source: Hsieh and Turnbull 1996, section 3.
    """
    (a, member), (b, _) = (checked_scores(x, is_member) for x in (scores_a, scores_b))
    groups = cluster_groups(clusters, member.size)
    found, pulled = [], []
    for scores in (a, b):
        above = scores > tpr_at_fpr(scores, member, fpr, level).threshold
        found.append(above[member])
        pulled.append(_roc_slope(scores, member, fpr) * above[~member])
    pull = pulled[0] - pulled[1]
    sums = np.bincount(cluster_groups(groups[~member], pull.size), pull - pull.mean())
    thresholds = float(sums @ sums) * sums.size / max(1, sums.size - 1) / pull.size**2
    return paired_share_test(
        found[0], found[1], level, clusters=groups[member], variance=thresholds
    )


def _roc_slope(scores: Array, is_member: Array, fpr: float) -> float:
    """Estimate how the share of members found grows with the false-positive rate."""
    inside, outside = np.sort(scores[is_member]), np.sort(scores[~is_member])[::-1]
    place = math.floor(fpr * outside.size + 1e-9)
    width = max(1, math.ceil(math.sqrt(place)))
    places = max(0, place - width), min(outside.size - 1, place + width)
    strict, loose = (
        inside.size - int(np.searchsorted(inside, outside[k], "right")) for k in places
    )
    return (loose - strict) / inside.size / ((places[1] - places[0]) / outside.size)
