"""Limits of the true TPR at a fixed FPR, whose threshold is known only so well."""

from __future__ import annotations

import math

import numpy as np

from stillage.functional.binomial import check_level
from stillage.types import Array

N_ANGLES = 9

MIN_EXPECTED = 3.0
"""Nonmembers to expect above a threshold; none in 3 / fpr trials still allows that rate."""


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
    """Compute the share of members above the nonmember at `place` from the top.

    Linear between two places; all past the last.
    """
    n = nonmembers_descending.size
    places = np.stack([np.floor(place), np.floor(place) + 1]).astype(int)
    scores = nonmembers_descending[np.clip(places, 0, n - 1)]
    share = np.where(places >= n, 1.0, 1 - np.searchsorted(members, scores, "right") / members.size)
    part = place - np.floor(place)
    return share[0] * (1 - part) + share[1] * part
