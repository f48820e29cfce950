"""Several attacks tried: p-values corrected over the declared family, and one p-value for "the best attack".

Declare the primary family before looking: Holm over it; Benjamini-Hochberg for exploration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxTest:
    """Is the best of several attacks better than chance, given that it is the best of several?"""

    best: int  # row of the attack with the largest standardised AUC
    auc_A: Array
    p: float  # chance, under shuffled membership, of a best attack at least as good
    adjusted_A: Array  # the same question for each attack: single-step Westfall-Young p-values
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
    scores_AN: Array, is_member: Array, generator: np.random.Generator, n_permutations: int = 2000
) -> MaxTest:
    """Tests the best of A attacks on the same N records against shuffled membership; one-sided, as scores have a sign.

    statistic_a = (AUC_a - 1/2) / sd_a, sd_a the exact standard deviation over permutations (mid-ranks);
    p = (1 + #{permutations whose maximum over a is at least the observed}) / (1 + n_permutations).
    DataError on NaN scores, shapes that do not fit, or one class only. Source: Westfall and Young 1993.
    """
    from scipy.stats import rankdata

    scores, member = np.atleast_2d(np.asarray(scores_AN, dtype=np.float64)), np.asarray(is_member, dtype=bool)
    n, n_in = member.size, int(member.sum())
    if scores.shape[1] != n or np.isnan(scores).any() or not 0 < n_in < n:
        raise DataError(
            "The best attack cannot be tested on these scores.",
            f"scores {scores.shape}, {n} records, {n_in} members, {int(np.isnan(scores).sum())} NaN",
            "Give every attack one number for each record, and records of both kinds.",
        )
    ranks_AN = rankdata(scores, axis=1) - (n + 1) / 2
    spread_A = ranks_AN.std(axis=1, ddof=1) * np.sqrt(n_in * (n - n_in) / n)  # of the members' rank sum
    scale_A = np.where(spread_A > 0, spread_A, np.inf)
    observed_A = ranks_AN @ member / scale_A
    exceeded_A = np.zeros(len(scores))
    for start in range(0, n_permutations, 256):
        count = min(256, n_permutations - start)
        shuffled_NP = generator.permuted(np.tile(member, (count, 1)), axis=1).T
        largest_P = (ranks_AN @ shuffled_NP / scale_A[:, None]).max(axis=0)
        exceeded_A += (largest_P[None, :] >= observed_A[:, None] - 1e-9).sum(axis=1)
    adjusted_A = (1 + exceeded_A) / (1 + n_permutations)
    best = int(np.argmax(observed_A))
    return MaxTest(
        best=best,
        auc_A=0.5 + ranks_AN @ member / (n_in * (n - n_in)),
        p=float(adjusted_A[best]),
        adjusted_A=adjusted_A,
        n_permutations=n_permutations,
    )


def _checked(p_values: Array) -> tuple[Array, Array]:
    """The p-values and their ascending order; DataError unless each lies in [0, 1]."""
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError("A p-value must lie between 0 and 1.", f"{p.tolist()}", "Leave out tests that gave no p-value.")
    return p, np.argsort(p, kind="stable")


def _unsorted(values: Array, order: Array) -> Array:
    """Values in sorted order, put back in the order of the input."""
    result = np.empty_like(values)
    result[order] = values
    return result
