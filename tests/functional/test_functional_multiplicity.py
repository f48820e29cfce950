"""Holm, Benjamini-Hochberg, the max-statistic test and the bootstraps against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, norm

from stillage.errors import DataError
from stillage.functional.bootstrap import bootstrap_interval, resamples
from stillage.functional.multiplicity import (
    benjamini_hochberg,
    holm,
    max_statistic_test,
    shuffled_members,
    strata_by_size,
    stratum_moments,
)
from stillage.functional.stats import auc_interval, roc_auc
from stillage.rng import generator

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(p_lists, st.floats(0.001, 0.5))
def test_holm_rejects_by_the_step_down_rule(p: list[float], alpha: float) -> None:
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - step) > alpha:
            break
        rejected.add(i)
    assert {i for i, adjusted in enumerate(holm(np.array(p))) if adjusted <= alpha} == rejected


@given(p_lists)
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    np.testing.assert_allclose(
        benjamini_hochberg(np.array(p)), false_discovery_control(p), atol=1e-12
    )


def test_p_values_must_be_probabilities() -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        holm(np.array([0.2, np.nan]))


def test_best_of_many_useless_attacks_is_not_a_finding_and_a_real_one_is() -> None:
    rng = generator(0, "max")
    member = np.arange(200) < 100
    corrected = 0
    for _ in range(120):
        test = max_statistic_test(rng.normal(0, 1, (10, 200)), member, rng, 200)
        corrected += test.p <= 0.05
    assert corrected / 120 <= 0.11
    scores = rng.normal(0, 1, (4, 200))
    scores[2] += member
    real = max_statistic_test(scores, member, rng, 500)
    assert real.best == 2 and real.p == pytest.approx(1 / 501)
    np.testing.assert_allclose(real.auc_A, [roc_auc(row, member) for row in scores], atol=1e-12)
    assert real.adjusted_A[0] >= real.p


def test_max_test_equals_the_exhaustive_permutation_test() -> None:
    from itertools import combinations

    scores = np.array([[3.0, 1, 2, 2, 0, 5], [0.0, 4, 1, 3, 3, 3]])
    member = np.array([True, False, True, False, False, True])

    def largest(members: tuple[int, ...]) -> float:
        labels = np.isin(np.arange(6), members)
        ranks = [
            np.sum(row[:, None] > row[None], 1) + 0.5 * np.sum(row[:, None] == row[None], 1)
            for row in scores
        ]
        return max(
            (roc_auc(row, labels) - 0.5) / np.std(rank)
            for row, rank in zip(scores, ranks, strict=True)
        )

    every = [largest(members) for members in combinations(range(6), 3)]
    exact = np.mean(np.array(every) >= largest(tuple(np.flatnonzero(member))) - 1e-9)
    assert max_statistic_test(scores, member, generator(1, "exact"), 20_000).p == pytest.approx(
        exact, abs=0.015
    )


def test_a_constant_attack_is_never_best_by_accident() -> None:
    test = max_statistic_test(np.zeros((1, 10)), np.arange(10) < 5, generator(0, "constant"), 50)
    assert test.p == 1 and test.auc_A[0] == 0.5
    with pytest.raises(DataError, match="1 infinite"):
        max_statistic_test(np.array([[1.0, np.inf]]), np.array([True, False]), generator(0, "x"))


MIXED = np.array(
    [0, 0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7]
)  # clusters of two, alone, and one of three
MIXED_MEMBERS = np.array([1, 1, 0, 0, 1, 0, 1, 0, 1, 0, 1, 1, 0], bool)


def test_shuffles_of_clusters_have_the_stated_moments_and_move_whole_clusters() -> None:
    rng = generator(5, "shuffle")
    ranks_AN = rng.normal(size=(2, MIXED.size))
    strata = strata_by_size(MIXED, MIXED_MEMBERS)
    drawn_PN = shuffled_members(strata, 40_000, MIXED.size, rng)
    sums_AP = ranks_AN @ drawn_PN.T
    centre_A, variance_A = np.sum(
        [stratum_moments(ranks_AN, stratum) for stratum in strata], axis=0
    )
    np.testing.assert_allclose(centre_A, sums_AP.mean(axis=1), atol=0.05)
    np.testing.assert_allclose(variance_A, sums_AP.var(axis=1), rtol=0.04)
    assert (drawn_PN.sum(axis=1) == MIXED_MEMBERS.sum()).all()
    pairs_P3 = drawn_PN[:, :6].reshape(-1, 3, 2).sum(axis=2)
    assert (np.sort(pairs_P3, axis=1) == [0, 1, 2]).all()  # one pair of each kind, whoever it is


def test_near_duplicates_do_not_add_evidence_to_the_best_attack() -> None:
    rng = generator(6, "copies")
    member = np.arange(60) < 30
    scores = rng.normal(0, 1, (3, 60)) + np.array([[0.3], [-0.6], [0.3]]) * member
    once = max_statistic_test(scores, member, generator(7, "p"), 500)
    copies, members, clusters = (
        np.repeat(scores, 4, axis=1),
        np.repeat(member, 4),
        np.repeat(np.arange(60), 4),
    )
    honest = max_statistic_test(copies, members, generator(7, "p"), 500, clusters=clusters)
    assert (honest.p, honest.best) == (once.p, once.best) and honest.critical == pytest.approx(
        once.critical
    )
    assert max_statistic_test(copies, members, generator(7, "p"), 500).p < 0.5 * once.p
    lonely = max_statistic_test(
        scores, member, generator(7, "p"), 50, clusters=(~member).astype(int)
    )
    assert (
        lonely.p == 1
    )  # all members are one cluster: nobody can say that they are not alike by nature


def test_the_best_attack_is_tested_at_its_level_where_near_duplicates_share_scores() -> None:
    rng, rejected = generator(8, "level"), {True: 0, False: 0}
    for _ in range(150):
        clusters = np.repeat(np.arange(60), rng.choice([1, 2, 6], 60))
        drawn = rng.permuted(np.arange(60) < 30)
        member, scores = drawn[clusters], rng.normal(0, 1, (4, 60))[:, clusters]
        for clustered in rejected:
            test = max_statistic_test(
                scores, member, rng, 100, clusters=clusters if clustered else None
            )
            rejected[clustered] += test.p <= 0.05
    assert rejected[True] / 150 <= 0.1 and rejected[False] / 150 > 0.2


def test_missing_scores_have_no_say_and_fitted_attacks_need_more() -> None:
    rng = generator(9, "missing")
    member = np.arange(100) < 50
    scores = rng.normal(0, 1, (2, 100)) + 0.5 * member
    scores[0, ::3] = np.nan
    found = max_statistic_test(scores, member, generator(1, "p"), 300)
    known = ~np.isnan(scores[0])
    assert found.auc_A == pytest.approx(
        [roc_auc(scores[0][known], member[known]), roc_auc(scores[1], member)]
    )
    assert 1.6 < found.critical < 2.6
    fitted = max_statistic_test(
        scores, member, generator(1, "p"), 300, inflation_A=np.array([1.0, 3.0])
    )
    assert (
        fitted.adjusted_A[1] > found.adjusted_A[1] and fitted.adjusted_A[0] == found.adjusted_A[0]
    )


def auc_of(scores: np.ndarray, member: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda count: roc_auc(np.repeat(scores, count), np.repeat(member, count))


def test_bootstrap_agrees_with_delong_and_clusters_widen_it() -> None:
    rng = generator(2, "bootstrap")
    member = np.arange(300) < 150
    scores = rng.normal(0, 1, 300) + member
    delong = auc_interval(scores, member)
    found = bootstrap_interval(auc_of(scores, member), member, rng, n_resamples=600)
    assert (found.low, found.high) == pytest.approx((delong.low, delong.high), abs=0.012)
    assert found.value == delong.value
    twice, pairs = np.tile(member, 2), np.tile(np.arange(300), 2)
    double = bootstrap_interval(
        auc_of(np.tile(scores, 2), twice), twice, rng, clusters=pairs, n_resamples=600
    )
    assert double.high - double.low == pytest.approx(found.high - found.low, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("auc", "size", "least"), [(0.5, 1, 0.92), (0.8, 1, 0.92), (0.95, 1, 0.90), (0.8, 4, 0.90)]
)
def test_bootstrap_covers(auc: float, size: int, least: float) -> None:
    """100 members and 100 nonmembers, alone or in groups of four alike: 93 to 95 %, within three simulation errors."""
    rng = generator(5, "covers", int(auc * 100), size)
    member, clusters = np.repeat([True, False], 100), np.arange(200) // size
    covered = 0
    for _ in range(400):
        common, own = np.repeat(rng.normal(size=200 // size), size), rng.normal(size=200)
        noise = own if size == 1 else 0.7**0.5 * common + 0.3**0.5 * own
        order = np.argsort(noise + 2**0.5 * norm.ppf(auc) * member)

        def weighted_auc(count: np.ndarray, order: np.ndarray = order) -> float:
            drawn, kind = count[order], member[order]
            below = np.cumsum(drawn * ~kind)
            return float((drawn * kind * below).sum() / ((drawn * kind).sum() * below[-1]))

        found = bootstrap_interval(weighted_auc, member, rng, clusters=clusters, n_resamples=300)
        covered += found.low <= auc <= found.high
    assert least <= covered / 400 <= 0.98


def test_cluster_bootstrap_keeps_both_classes_when_clusters_span_them() -> None:
    member, clusters = np.array([1, 0, 1, 0], bool), [0, 0, 1, 2]
    drawn = resamples(member, generator(3, "mixed"), clusters)
    counts = np.array([next(drawn) for _ in range(50)])
    assert (counts[:, 0] == counts[:, 1]).all() and (
        counts[:, 0] == 1
    ).all()  # the only mixed one is always there
    assert (counts[:, 2:] == 1).all()
    found = bootstrap_interval(
        auc_of(np.arange(4.0), member), member, generator(3, "mixed"), n_resamples=50
    )
    assert 0 <= found.low <= found.high <= 1
