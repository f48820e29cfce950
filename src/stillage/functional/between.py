"""Tests that several independent estimates are equal: AUCs, shares, means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import UserError
from stillage.functional.delong import delong_scatter, draws, placements
from stillage.functional.scatter import EstimatedVariance, mean_scatter
from stillage.functional.scored import Clusters, checked_scores, cluster_groups
from stillage.types import Array

LEAST_UNITS = 10
"""Draws (of an AUC's smaller class) below which a group takes no part: its variance is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A group's number on a scale where it is about normal, with its variance."""

    value: float
    variance: float
    units: int


def equal_over_groups(groups: Sequence[Estimate]) -> tuple[float, int]:
    """Test that all groups have one true value, their variances unequal: Welch's F.

    Returns p, NaN for fewer than two groups, and the number of groups; those of few draws are left
    out. w = 1 / variance, m = sum(w x) / sum(w), Q = sum(w (x - m)^2), A = sum((1 - w / sum(w))^2 /
    (units - 1)) over k groups; F = Q / (k - 1) / (1 + 2 (k - 2) A / (k^2 - 1)) with k - 1 and (k^2
    - 1) / (3 A) degrees of freedom. Simulated where nothing differs: p <= 0.05 in 1 to 8 % (most
    for skewed means of 10 to 40 records). Source: Welch 1951.
    """
    from scipy.special import fdtrc

    kept = [one for one in groups if one.units >= LEAST_UNITS and 0 < one.variance < math.inf]
    k = len(kept)
    if k < 2:
        return math.nan, k
    value_G, variance_G, units_G = np.array([(x.value, x.variance, x.units) for x in kept]).T
    weight_G = 1 / variance_G
    part_G = weight_G / weight_G.sum()
    q = float(weight_G @ (value_G - part_G @ value_G) ** 2)
    a = float(((1 - part_G) ** 2 / (units_G - 1)).sum())
    f = q / (k - 1) / (1 + 2 * (k - 2) * a / (k**2 - 1))
    return float(fdtrc(k - 1, (k**2 - 1) / (3 * a), f)), k


def auc_estimate(scores: Array, is_member: Array, *, clusters: Clusters = None) -> Estimate | None:
    """Estimate an AUC on the logit scale; None where it has no variance.

    With m draws of the smaller class the AUC is first drawn in to (m AUC + 1/2) / (m + 1), and its
    variance is at least half of AUC (1 - AUC) / (3 m), about that of m and m draws.
    """
    try:
        scores, is_member = checked_scores(scores, is_member)
    except UserError:
        return None
    groups = cluster_groups(clusters, scores.size)
    auc, placement = placements(scores, is_member)
    units = draws(is_member, groups)
    if units < 2:
        return None
    inner = (units * auc + 0.5) / (units + 1)
    scatter, scale = delong_scatter(placement, is_member, groups), inner * (1 - inner)
    return Estimate(
        value=math.log(inner / (1 - inner)),
        variance=max(scatter.variance, scale / (6 * units)) / scale**2,
        units=min(units, _units(scatter)),
    )


def share_estimate(hits: Array, *, clusters: Clusters = None) -> Estimate | None:
    """Estimate a share of records on the arcsine scale; None without records.

    arcsin sqrt((x + 3/8) / (n + 3/4)), variance 1 / (4 n + 2), n effective records (Anscombe 1948).
    """
    values = np.asarray(hits, dtype=np.float64)
    if not values.size:
        return None
    scatter, units = _scatter(values, clusters)
    share, n = float(values.mean()), float(units)
    if scatter.variance > 0:
        n = max(1.0, min(float(values.size), share * (1 - share) / scatter.variance))
    value = math.asin(math.sqrt((share * n + 0.375) / (n + 0.75)))
    return Estimate(value=value, variance=1 / (4 * n + 2), units=min(units, _units(scatter)))


def mean_estimate(values: Array, *, clusters: Clusters = None) -> Estimate | None:
    """Estimate a mean of numbers from 0 to 1; None for fewer than two clusters.

    Where all values are equal: the variance of so many coin tosses, drawn in by half a toss.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size < 2:
        return None
    scatter, units = _scatter(values, clusters)
    if units < 2:
        return None
    mean, variance = float(values.mean()), scatter.variance
    if variance == 0:
        inner = (units * mean + 0.5) / (units + 1)
        variance = inner * (1 - inner) / units
    return Estimate(value=mean, variance=variance, units=min(units, _units(scatter)))


def _scatter(values: Array, clusters: Clusters) -> tuple[EstimatedVariance, int]:
    """Estimate the scatter of a mean of records in clusters, and count the clusters."""
    groups = cluster_groups(clusters, values.size)
    return mean_scatter(values, groups), int(groups.max()) + 1


def _units(scatter: EstimatedVariance) -> int:
    """Count the independent draws that a variance is known by."""
    return 10**9 if math.isinf(scatter.df) else max(1, round(scatter.df) + 1)
