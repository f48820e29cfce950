"""Do groups differ? One test of several independent estimates, each with its own variance, for AUCs, shares and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import UserError
from stillage.functional.delong import delong_scatter, draws, placements
from stillage.functional.paired_means import scatter_of_mean
from stillage.functional.scatter import Scatter
from stillage.functional.scored import checked, cluster_groups
from stillage.types import Array

LEAST_UNITS = 10
"""Independent draws (of the smaller class, for an AUC) below which a group takes no part: its variance is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A group's number on a scale where it is about normal, its variance there, and the draws that this rests on."""

    value: float
    variance: float
    units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """The test that groups do not differ: p, and how many groups took part; NaN for fewer than two."""

    p: float
    n_groups: int


def equal_over_groups(groups: Sequence[Estimate]) -> Between:
    """Tests that all groups have one true value, their variances unequal: Welch's F; groups of few draws are left out.

    w = 1 / variance, m = sum(w x) / sum(w), Q = sum(w (x - m)^2), A = sum((1 - w / sum(w))^2 / (units - 1)) over k groups;
    F = Q / (k - 1) / (1 + 2 (k - 2) A / (k^2 - 1)) with k - 1 and (k^2 - 1) / (3 A) degrees of freedom. Groups share no
    records. Simulated where nothing differs: p <= 0.05 in 1 to 8 % (few in small groups, most for skewed means of 10 to 40
    records). Source: Welch 1951.
    """
    from scipy.special import fdtrc

    kept = [one for one in groups if one.units >= LEAST_UNITS and 0 < one.variance < math.inf]
    k = len(kept)
    if k < 2:
        return Between(p=math.nan, n_groups=k)
    value_G = np.array([one.value for one in kept])
    weight_G = 1 / np.array([one.variance for one in kept])
    part_G = weight_G / weight_G.sum()
    q = float(weight_G @ (value_G - part_G @ value_G) ** 2)
    a = float(((1 - part_G) ** 2 / (np.array([one.units for one in kept]) - 1)).sum())
    f = q / (k - 1) / (1 + 2 * (k - 2) * a / (k**2 - 1))
    return Between(p=float(fdtrc(k - 1, (k**2 - 1) / (3 * a), f)), n_groups=k)


def auc_estimate(
    scores: Array, is_member: Array, *, clusters: Array | None = None
) -> Estimate | None:
    """An AUC on the logit scale with its DeLong variance; None where it has none. clusters as in stats.auc_interval.

    With m draws of the smaller class the AUC is first drawn in to (m AUC + 1/2) / (m + 1), and its variance is at least
    that of m pairs of such an AUC, so that a perfect group has a finite value.
    """
    try:
        scores, is_member = checked(scores, is_member)
    except UserError:
        return None
    groups = cluster_groups(clusters, scores.size)
    auc, placement = placements(scores, is_member)
    units = draws(is_member, groups)
    if units < 2:
        return None
    inner = (units * auc + 0.5) / (units + 1)
    # an AUC of m and m draws has a variance of AUC (1 - AUC) / (3 m) or so: of half of that at least
    found = delong_scatter(placement, is_member, groups, 0)
    variance = max(found.variance, inner * (1 - inner) / (6 * units))
    scale = inner * (1 - inner)
    return Estimate(
        value=math.log(inner / (1 - inner)),
        variance=variance / scale**2,
        units=min(units, _units(found)),
    )


def share_estimate(hits: Array, *, clusters: Array | None = None) -> Estimate | None:
    """A share of records on the arcsine scale; None without records. hits bool[n], clusters int[n]: near-duplicates.

    arcsin sqrt((x + 3/8) / (n + 3/4)), variance 1 / (4 n + 2), with n lowered to the effective number of records.
    Source: Anscombe 1948.
    """
    values = np.asarray(hits, dtype=np.float64)
    if not values.size:
        return None
    found, units = _scatter(values, clusters)
    share = float(values.mean())
    n = (
        min(float(values.size), share * (1 - share) / found.variance)
        if found.variance > 0
        else float(units)
    )
    n = max(1.0, n)
    value = math.asin(math.sqrt((share * n + 0.375) / (n + 0.75)))
    return Estimate(value=value, variance=1 / (4 * n + 2), units=min(units, _units(found)))


def mean_estimate(values: Array, *, clusters: Array | None = None) -> Estimate | None:
    """The mean of numbers from 0 to 1 and its variance between clusters; None for fewer than two.

    Where all values are equal: the variance of so many coin tosses, drawn in by half a toss.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return None
    found, units = _scatter(values, clusters)
    mean, variance = float(values.mean()), found.variance
    if variance == 0:
        inner = (units * mean + 0.5) / (units + 1)
        variance = inner * (1 - inner) / units
    return (
        Estimate(value=mean, variance=variance, units=min(units, _units(found)))
        if units > 1
        else None
    )


def _scatter(values: Array, clusters: Array | None) -> tuple[Scatter, int]:
    """How a mean of records in clusters scatters, and the number of clusters."""
    number = cluster_groups(clusters, values.size)
    number = np.arange(values.size) if number is None else number
    return scatter_of_mean(values, number), int(number.max()) + 1


def _units(found: Scatter) -> int:
    """The independent draws that a variance is known by."""
    return 10**9 if math.isinf(found.df) else max(1, round(found.df) + 1)
