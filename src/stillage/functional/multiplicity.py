"""Several attacks tried: p-values corrected over the declared family, and one p-value for "the best attack".

Declare the primary family before looking: Holm over it; Benjamini-Hochberg for exploration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level
from stillage.functional.scored import cluster_groups
from stillage.functional.shuffle import moments_of, shuffled, strata_of
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxTest:
    """Is the best of several attacks better than chance, given that it is the best of several?"""

    best: int  # row of the attack with the largest standardised AUC
    auc_A: Array
    p: float  # chance, under shuffled membership, of a best attack at least as good
    adjusted_A: Array  # the same question for each attack: single-step Westfall-Young p-values
    critical: float  # the best attack's standardised AUC stays below it in a share 1 - alpha/2 of the shuffles
    n_permutations: int


def holm(p_values: Array) -> Array:
    """Adjusted p-values that control the chance of ANY false finding in the family, whatever the dependence.

    adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), p sorted upwards. Reject where adjusted <= alpha. Source:
    Holm 1979.
    """
    p, order = _checked(p_values)
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _unsorted(np.minimum(stepped, 1), order)


def benjamini_hochberg(p_values: Array) -> Array:
    """Adjusted p-values that control the expected SHARE of false findings among those reported (independent tests).

    adjusted_(i) = min_{j >= i} min(1, m p_(j) / j). Source: Benjamini and Hochberg 1995.
    """
    p, order = _checked(p_values)
    stepped = np.minimum.accumulate((p[order] * p.size / np.arange(1, p.size + 1))[::-1])[::-1]
    return _unsorted(np.minimum(stepped, 1), order)


def max_statistic_test(
    scores_AN: Array,
    is_member: Array,
    generator: np.random.Generator,
    n_permutations: int = 2000,
    *,
    clusters: Sequence[int] | Array | None = None,
    inflation_A: Array | None = None,
    level: float = 0.95,
) -> MaxTest:
    """Tests the best of A attacks on the same N records against shuffled membership; one-sided, as scores have a sign.

    statistic_a = (S_a - E[S_a]) / sd(S_a), S_a the members' sum of mid-ranks, its mean and deviation over all shuffles;
    p = (1 + #{shuffles whose maximum over a is at least the observed}) / (1 + n_permutations).
    NaN: that record has no say under that attack.
    clusters int[N]: near-duplicates share a number. Whole clusters swap their memberships, each with one of its own size,
    and memberships are shuffled within a cluster that holds both kinds. Such swaps are a group, keep the number of members,
    and change no probability when whole clusters were drawn into the parts and nothing leaks (data.grouping draws clusters of
    one size in random order): so the test is exact whatever the correlation within a cluster. A cluster whose size no other
    has says nothing.
    inflation_A >= 1: by how much an attack's scatter at chance exceeds that of the shuffles, where its scores were fitted
    to memberships (sqrt of the variance factor of auc_interval's n_folds); its observed statistic is divided by it.
    DataError on shapes that do not fit, an infinite score, or one class only. Source: Westfall and Young 1993.
    """
    scores, member = (
        np.atleast_2d(np.asarray(scores_AN, dtype=np.float64)),
        np.asarray(is_member, dtype=bool),
    )
    n, n_in = member.size, int(member.sum())
    if scores.shape[1] != n or np.isinf(scores).any() or not 0 < n_in < n:
        raise DataError(
            "The best attack cannot be tested on these scores.",
            f"scores {scores.shape}, {n} records, {n_in} members, {int(np.isinf(scores).sum())} infinite",
            "Give every attack one number for each record, and records of both kinds.",
        )
    alpha, number = check_level(level), cluster_groups(clusters, n)
    ranks_AN = _centred_ranks(scores)
    strata = strata_of(np.arange(n) if number is None else number, member)
    centre_A, variance_A = (
        np.sum(parts, axis=0)
        for parts in zip(*(moments_of(ranks_AN, one) for one in strata), strict=True)
    )
    scale_A = np.where(variance_A > 1e-9, np.sqrt(np.maximum(variance_A, 0)), np.inf)
    observed_A = (ranks_AN @ member - centre_A) / scale_A
    observed_A = observed_A if inflation_A is None else observed_A / inflation_A
    largest: list[Array] = []
    at_once = max(1, min(256, 4_000_000 // n))  # 32 MB of places
    for start in range(0, n_permutations, at_once):
        shuffled_PN = shuffled(strata, min(at_once, n_permutations - start), n, generator)
        largest.append(
            ((ranks_AN @ shuffled_PN.T - centre_A[:, None]) / scale_A[:, None]).max(axis=0)
        )
    largest_P = np.concatenate(largest)
    exceeded_A = (largest_P[None, :] >= observed_A[:, None] - 1e-9).sum(axis=1)
    adjusted_A = (1 + exceeded_A) / (1 + n_permutations)
    best, known_AN = int(np.argmax(observed_A)), ~np.isnan(scores)
    pairs_A = (known_AN & member).sum(axis=1) * (known_AN & ~member).sum(axis=1)
    return MaxTest(
        best=best,
        auc_A=0.5 + ranks_AN @ member / np.where(pairs_A > 0, pairs_A, np.nan),
        p=float(adjusted_A[best]),
        adjusted_A=adjusted_A,
        critical=float(np.quantile(largest_P, 1 - alpha / 2)),
        n_permutations=n_permutations,
    )


def _centred_ranks(scores_AN: Array) -> Array:
    """Mid-ranks of each row's numbers, less their mean; 0 for NaN."""
    from scipy.stats import rankdata

    ranks_AN = rankdata(scores_AN, axis=1, nan_policy="omit")
    counts_A1 = (~np.isnan(scores_AN)).sum(axis=1, keepdims=True)
    return np.nan_to_num(ranks_AN - (counts_A1 + 1) / 2)


def _checked(p_values: Array) -> tuple[Array, Array]:
    """The p-values and their ascending order; DataError unless each lies in [0, 1]."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "A p-value must lie between 0 and 1.",
            f"{p.tolist()}",
            "Leave out tests that gave no p-value.",
        )
    return p, np.argsort(p, kind="stable")


def _unsorted(values: Array, order: Array) -> Array:
    """Values in sorted order, put back in the order of the input."""
    result = np.empty_like(values)
    result[order] = values
    return result
