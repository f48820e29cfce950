"""Several attacks tried: corrected p-values, and one p-value for the best attack.

Declare the primary family before looking: Holm over it; Benjamini-Hochberg for exploration.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level
from stillage.functional.scored import Clusters, cluster_groups
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxTest:
    """The test that the best of several attacks is no better than chance."""

    best: int  # row of the attack with the largest standardised AUC
    auc_A: Array
    p: float  # chance, under shuffled membership, of a best attack at least as good
    adjusted_A: Array  # the same question for each attack: single-step Westfall-Young p-values
    critical: float  # of the best attack's standardised AUC, in 1 - alpha/2 of the shuffles
    n_permutations: int


Stratum = tuple[Array, Array]
"""G clusters of s records, to shuffle among: their places int[G, s], who is a member bool[G, s]."""


def holm(p_values: Array) -> Array:
    """Adjust p-values so that any false finding in the family is as rare as stated.

    adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)), p sorted upwards, whatever the
    dependence. DataError unless each p lies in [0, 1]. Source: Holm 1979.
    """
    return _stepped(p_values, lambda p: np.maximum.accumulate(p * np.arange(p.size, 0, -1)))


def benjamini_hochberg(p_values: Array) -> Array:
    """Adjust p-values so that the expected share of false findings is controlled.

    adjusted_(i) = min_{j >= i} min(1, m p_(j) / j), for independent tests. Errors as holm. Source:
    Benjamini and Hochberg 1995.
    """

    def step(p: Array) -> Array:
        return np.minimum.accumulate((p * p.size / np.arange(1, p.size + 1))[::-1])[::-1]

    return _stepped(p_values, step)


def max_statistic_test(
    scores_AN: Array,
    is_member: Array,
    generator: np.random.Generator,
    n_permutations: int = 2000,
    *,
    clusters: Clusters = None,
    inflation_A: Array | None = None,
    level: float = 0.95,
) -> MaxTest:
    """Test the best of A attacks on N records against shuffled membership; one-sided.

    statistic_a = (S_a - E[S_a]) / sd(S_a), S_a the members' sum of mid-ranks, its mean and
    deviation over all shuffles; p = (1 + #{shuffles whose maximum over a is at least the observed})
    / (1 + n_permutations). NaN: that record has no say under that attack. clusters int[N]: whole
    clusters of near-duplicates swap their memberships, each with one of its own size, and
    memberships are shuffled within a cluster that holds both kinds. Such swaps keep the number of
    members, and change no probability when whole clusters were drawn into the parts and nothing
    leaks: the test is exact whatever the correlation within a cluster.

    inflation_A >= 1: by how much an attack's scatter at chance exceeds that of the shuffles, where
    its scores were fitted to memberships (sqrt of fold_factor); its observed statistic is divided
    by it. DataError on shapes that do not fit, an infinite score, or one class only. Source:
    Westfall and Young 1993.
    """
    scores = np.atleast_2d(np.asarray(scores_AN, dtype=np.float64))
    member = np.asarray(is_member, dtype=bool)
    n, n_in = member.size, int(member.sum())
    if scores.shape[1] != n or np.isinf(scores).any() or not 0 < n_in < n:
        raise DataError(
            "The best attack cannot be tested on these scores.",
            f"scores {scores.shape}, {n} records, {n_in} members, "
            f"{int(np.isinf(scores).sum())} infinite",
            "Give every attack one number for each record, and records of both kinds.",
        )
    alpha, ranks_AN = check_level(level), _centred_ranks(scores)
    strata = strata_by_size(cluster_groups(clusters, n), member)
    moments = zip(*(stratum_moments(ranks_AN, one) for one in strata), strict=True)
    centre_A, variance_A = (np.sum(parts, axis=0) for parts in moments)
    scale_A = np.where(variance_A > 1e-9, np.sqrt(np.maximum(variance_A, 0)), np.inf)
    observed_A = (ranks_AN @ member - centre_A) / scale_A
    observed_A = observed_A if inflation_A is None else observed_A / inflation_A
    largest: list[Array] = []
    at_once = max(1, min(256, 4_000_000 // n))  # 32 MB of places
    for start in range(0, n_permutations, at_once):
        member_PN = shuffled_members(strata, min(at_once, n_permutations - start), n, generator)
        statistic_AP = (ranks_AN @ member_PN.T - centre_A[:, None]) / scale_A[:, None]
        largest.append(statistic_AP.max(axis=0))
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


def strata_by_size(number: Array, member: Array) -> list[Stratum]:
    """Sort the clusters by their size, with each record's position and membership."""
    size = np.bincount(number)
    order = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    places = [order[starts[size == s][:, None] + np.arange(s)] for s in np.unique(size)]
    return [(place_Gs, member[place_Gs]) for place_Gs in places]


def stratum_moments(ranks_AN: Array, stratum: Stratum) -> tuple[Array, Array]:
    """Compute mean and variance of the members' sum of ranks over all shuffles.

    float64[A] each. c_g members among the s records of cluster g, m_g the mean of its ranks: S =
    sum c_g m_g + what the choice within clusters adds. Var = sum (m_g - m)^2 sum (c_g - c)^2 / (G -
    1) + mean(c (s - c) / s) sum_g v_g, v_g the ranks' variance within g (over s - 1).
    """
    place_Gs, member_Gs = stratum
    ranks_AGs, count_G = ranks_AN[:, place_Gs], member_Gs.sum(axis=1)
    n_clusters, size = place_Gs.shape
    mean_AG = ranks_AGs.mean(axis=2)
    variance_A = np.zeros(len(ranks_AN))
    if n_clusters > 1:
        between_A = n_clusters * mean_AG.var(axis=1) * count_G.var() * n_clusters
        variance_A = variance_A + between_A / (n_clusters - 1)
    if size > 1:
        within = float((count_G * (size - count_G)).mean()) / size
        variance_A = variance_A + within * ranks_AGs.var(axis=2, ddof=1).sum(axis=1)
    return mean_AG.mean(axis=1) * count_G.sum(), variance_A


def shuffled_members(
    strata: Sequence[Stratum], count: int, n: int, generator: np.random.Generator
) -> Array:
    """Draw `count` shuffles of membership, bool[count, n]."""
    shuffled_PN = np.empty((count, n), dtype=bool)
    for place_Gs, given_Gs in strata:
        n_clusters, size = place_Gs.shape
        order_PG = generator.permuted(np.tile(np.arange(n_clusters), (count, 1)), axis=1)
        drawn_PGs = given_Gs[order_PG]
        if (given_Gs.any(axis=1) & ~given_Gs.all(axis=1)).any():
            drawn_PGs = generator.permuted(drawn_PGs, axis=2)
        shuffled_PN[:, place_Gs.ravel()] = drawn_PGs.reshape(count, n_clusters * size)
    return shuffled_PN


def _centred_ranks(scores_AN: Array) -> Array:
    """Compute mid-ranks of each row's numbers, less their mean; 0 for NaN."""
    from scipy.stats import rankdata

    ranks_AN = rankdata(scores_AN, axis=1, nan_policy="omit")
    counts_A1 = (~np.isnan(scores_AN)).sum(axis=1, keepdims=True)
    return np.nan_to_num(ranks_AN - (counts_A1 + 1) / 2)


def _stepped(p_values: Array, step: Callable[[Array], Array]) -> Array:
    """Adjust p-values sorted upwards; return them, at most 1, in the order of the input."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(
            "A p-value must lie between 0 and 1.",
            f"{p.tolist()}",
            "Leave out tests that gave no p-value.",
        )
    order, adjusted = np.argsort(p, kind="stable"), np.empty_like(p)
    adjusted[order] = np.minimum(step(p[order]), 1)
    return adjusted
