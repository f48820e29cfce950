"""AUCs, and differences of two AUCs on the same records, over one seed or several: the records' and the seeds' scatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.functional.delong import delong_scatter, draws, logit_interval, placements
from stillage.functional.scatter import Scatter, half_width, scatter_of_seeds, two_sided_p
from stillage.functional.scored import checked, cluster_groups
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Do two attacks (or two models) differ on the same records? difference = AUC(a) - AUC(b); p is two-sided."""

    difference: float
    low: float
    high: float
    p: float
    level: float = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """A mean over seeds of a mean of placements, and its scatter: that of the records, and that of the seeds."""

    mean: float
    parts: tuple[Scatter, Scatter]
    units: int  # independent draws of the smaller class


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
    given = None if clusters is None else [np.asarray(clusters)]
    return pooled_auc_test([(scores_a, scores_b, is_member)], level, clusters=given)


def pooled_auc_test(
    runs: Sequence[tuple[Array, Array, Array]],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
    n_folds: int = 0,
) -> PairedTest:
    """The mean over seeds of AUC(a) - AUC(b), with an interval that holds both the records' and the seeds' scatter.

    runs: (scores_a, scores_b, is_member) per seed; within a seed a and b scored the same records. Scatter as in
    pooled_auc_interval, of the differences of placements, on the plain scale; p is the level at which the limits reach 0
    (0.5 to 7 % rejected at 5 % where nothing differs). One seed, and zero variance: paired_auc_test. Errors as
    pooled_auc_interval.
    """
    alpha = check_level(level)
    sides = [(checked(a, member), checked(b, member)[0]) for a, b, member in runs]
    parts = []
    for (a, member), b in sides:
        (auc_a, placement_a), (auc_b, placement_b) = placements(a, member), placements(b, member)
        parts.append((auc_a - auc_b, placement_a - placement_b))
    found = pool(parts, [member for (_, member), _ in sides], same_records, clusters, n_folds)
    difference = found.mean
    if sum(part.variance for part in found.parts) > 1e-24:
        p, half = two_sided_p(difference, found.parts), half_width(found.parts, alpha)
    else:
        p = 1.0 if abs(difference) < 1e-12 else 2.0 ** (1 - found.units)
        half = 1 - (alpha / 2) ** (1 / found.units)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return PairedTest(difference=difference, low=low, high=high, p=min(1.0, p), level=level)


def pooled_auc_interval(
    runs: Sequence[tuple[Array, Array]],
    level: float = 0.95,
    *,
    same_records: bool = False,
    clusters: Sequence[Array] | None = None,
    n_folds: int = 0,
) -> Interval:
    """The mean AUC over seeds, with an interval that holds both the records' and the seeds' scatter.

    runs: (scores, is_member) per seed. Two errors add as half_width says, on the logit scale: the records' (with fresh
    records per seed the mean DeLong variance / S, with same_records, one split in one order trained S times, that of the
    mean placements), and what the seeds scatter beyond it (scatter_of_seeds). The exact rule of auc_interval at 0, 1 and
    all-equal scores. Simulated coverage of 95 % limits: 93 to 99 % for 2, 3 and 5 seeds; two seeds are two numbers, and
    their interval is two to five times as wide as one seed's where they differ at all. clusters: one array per run; they
    and n_folds as in auc_interval. Errors as roc_auc, and DataError for no run or different members under same_records.
    """
    pairs = [checked(*run) for run in runs]
    found = pool(
        [placements(*pair) for pair in pairs],
        [member for _, member in pairs],
        same_records,
        clusters,
        n_folds,
    )
    return logit_interval(found.mean, found.parts, found.units, level)


def pool(
    parts: Sequence[tuple[float, Array]],
    members: Sequence[Array],
    same_records: bool,
    clusters: Sequence[Array] | None,
    n_folds: int,
) -> Pooled:
    """Seeds pooled as pooled_auc_interval says; parts: (value, placements float64[n] that it is the mean of) per seed."""
    if not parts:
        raise DataError("No run to pool.", "0 seeds", "Give at least one run's scores.")
    values, count = np.array([value for value, _ in parts]), len(parts)
    given = [None] * count if clusters is None else list(clusters)
    groups = [cluster_groups(one, member.size) for one, member in zip(given, members, strict=True)]
    units = [draws(member, group) for member, group in zip(members, groups, strict=True)]
    if same_records:
        if any(not np.array_equal(members[0], other) for other in members):
            raise DataError(
                "The runs to pool do not hold the same records.",
                f"records per seed: {[member.size for member in members]}",
                "Order every run's scores by record id, or pool them as independent records.",
            )
        mean_placement = np.mean([placement for _, placement in parts], axis=0)
        records, total_units = (
            delong_scatter(mean_placement, members[0], groups[0], n_folds),
            min(units),
        )
        apart = [
            delong_scatter(one - mean_placement, members[0], groups[0], n_folds) for _, one in parts
        ]
        own = sum(one.variance for one in apart) / max(1, count - 1)
    else:
        each = [
            delong_scatter(v, m, group, n_folds)
            for (_, v), m, group in zip(parts, members, groups, strict=True)
        ]
        own, total_units = float(np.mean([one.variance for one in each])), sum(units)
        weight = sum(one.variance**2 / one.df for one in each)
        records = Scatter(
            variance=own / count, df=(own * count) ** 2 / weight if weight > 0 else math.inf
        )
    seeds = scatter_of_seeds(values, own)
    return Pooled(mean=float(values.mean()), parts=(records, seeds), units=total_units)
