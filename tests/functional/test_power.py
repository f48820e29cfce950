"""What is said to be found is found: the stated smallest AUC and TPR against simulated intervals, and the records needed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binom

from stillage.errors import DataError
from stillage.functional.power import (
    independent_draws,
    records_for_tpr,
    records_needed,
    records_to_find,
    smallest_auc,
    smallest_tpr,
    within_correlation,
)
from stillage.functional.stats import auc_interval, clopper_pearson, tpr_at_fpr
from stillage.rng import generator
from stillage.types import Array


def sides(inside: int, outside: int) -> Array:
    return np.arange(inside + outside) < inside


def drawn(
    rng: np.random.Generator, is_member: Array, clusters: Array, alike: float, auc: float
) -> Array:
    """Normal scores of one variance; `alike`: their correlation within a cluster."""
    common = rng.normal(size=clusters.max() + 1)[clusters]
    noise = math.sqrt(alike) * common + math.sqrt(1 - alike) * rng.normal(size=is_member.size)
    return noise + math.sqrt(2) * ndtri(auc) * is_member


@pytest.mark.parametrize(
    ("sizes_in", "sizes_out", "alike", "level"),
    [
        ([1] * 20, [1] * 20, 0.0, 0.95),
        ([1] * 200, [1] * 30, 0.0, 0.999),
        ([2] * 60, [2] * 60, 0.3, 0.95),
        ([1] * 100 + [10] * 10, [1] * 150, 0.6, 0.95),
        ([5] * 30, [5] * 30, 1.0, 0.99),
    ],
)
def test_the_smallest_auc_is_found_in_four_of_five_samples(
    sizes_in: list[int], sizes_out: list[int], alike: float, level: float
) -> None:
    rng, count = generator(0, "power"), 300
    clusters = np.repeat(np.arange(len(sizes_in) + len(sizes_out)), sizes_in + sizes_out)
    member = clusters < len(sizes_in)
    ranks = 6 / math.pi * math.asin(alike / 2)  # the correlation of ranks
    auc = smallest_auc(member, clusters, level, correlation=ranks)
    found = [
        auc_interval(drawn(rng, member, clusters, alike, auc), member, level, clusters=clusters).low
        > 0.5
        for _ in range(count)
    ]
    assert 0.73 <= np.mean(found) <= 0.9
    told = [
        within_correlation(drawn(rng, member, clusters, alike, auc), member, clusters)
        for _ in range(20)
    ]
    assert np.mean(told) == pytest.approx(ranks, abs=0.06)


def test_a_handful_of_records_finds_nothing_and_more_find_more() -> None:
    assert math.isnan(smallest_auc(sides(5, 5))) and math.isnan(smallest_auc(sides(0, 9)))
    assert math.isnan(smallest_auc(sides(50, 50), np.repeat([0, 1], 50)))  # one draw of each kind
    assert smallest_auc(sides(6, 6)) == 1  # only perfect separation: its interval begins at 0.54
    seen = [smallest_auc(sides(n, n)) for n in (10, 20, 50, 200, 1000)]
    assert seen == sorted(seen, reverse=True) and seen[-1] == pytest.approx(0.536, abs=0.002)
    assert (
        smallest_auc(sides(50, 50), n_folds=5)
        > smallest_auc(sides(50, 50))
        < smallest_auc(sides(50, 50), level=0.99)
    )
    copies = np.arange(200) // 10
    assert smallest_auc(sides(100, 100), copies) == pytest.approx(smallest_auc(sides(10, 10)))
    assert smallest_auc(sides(100, 100), copies, correlation=0.0) == smallest_auc(sides(100, 100))
    with pytest.raises(DataError, match="level = 1"):
        smallest_auc(sides(9, 9), level=1.0)


def test_copies_count_by_their_share_and_likeness() -> None:
    clusters = np.array(
        [0, 0, 0, 1, 2, 3, 4, 5]
    )  # three copies and a single member; four single nonmembers
    found = independent_draws(sides(4, 4), clusters)
    assert (found.inside, found.outside, found.clusters) == (16 / 10, 4, 2) and found.effect == 2.5
    assert independent_draws(sides(4, 4), clusters, 0.5).inside == pytest.approx(4 / 1.75)
    scores = np.array([1.0, 1.0, 5.0, 5.0, 2.0, 2.0, 4.0, 4.0])
    assert within_correlation(scores, sides(4, 4), np.arange(8) // 2) == pytest.approx(1)
    assert (
        within_correlation(scores, sides(4, 4), np.arange(8))
        == 0
        == within_correlation(scores, sides(4, 4), None)
    )
    assert (
        within_correlation(np.ones(8), sides(4, 4), np.arange(8) // 2) == 1
    )  # nothing known: as copies


@pytest.mark.parametrize("level", [0.95, 0.999])
@pytest.mark.parametrize("n_folds", [0, 5])
def test_the_records_said_to_do_are_the_least_that_do(level: float, n_folds: int) -> None:
    for auc in (0.55, 0.6, 0.75):
        n = records_to_find(auc, level, n_folds=n_folds)
        least, fewer = (smallest_auc(sides(m, m), level=level, n_folds=n_folds) for m in (n, n - 1))
        assert least <= auc + 1e-4 and fewer > auc - 1e-4
    assert records_to_find(0.6, effect=3.0) == pytest.approx(3 * records_to_find(0.6), abs=3)


def test_a_model_at_chance_is_shown_harmless_in_four_of_five_audits() -> None:
    rng = generator(1, "harmless")
    for harmless, level in ((0.6, 0.95), (0.65, 0.995)):
        n = records_needed(harmless, level)
        below = [
            auc_interval(rng.normal(size=2 * n), sides(n, n), level).high < harmless
            for _ in range(300)
        ]
        assert 0.73 <= np.mean(below) <= 0.88
    assert records_needed(0.6) == 128 and records_needed(0.6, effect=2.5) in (319, 320)


@pytest.mark.parametrize(("inside", "outside", "fpr"), [(500, 500, 0.01), (80, 400, 0.1)])
def test_the_smallest_share_of_betrayed_members_is_found_in_four_of_five_samples(
    inside: int, outside: int, fpr: float
) -> None:
    rng, member, found = generator(2, "tail"), sides(inside, outside), []
    share = smallest_tpr(member, fpr)
    for _ in range(200):
        scores = rng.normal(size=member.size) + 10 * (
            member & (rng.random(member.size) < (share - fpr) / (1 - fpr))
        )
        rate = tpr_at_fpr(scores, member, fpr)
        found.append(rate.low > max(fpr, rate.achieved_fpr_high))
    assert 0.68 <= np.mean(found) <= 0.92


def test_a_share_is_found_from_the_limits_on() -> None:
    many = 10**6  # nonmembers, so that the threshold is known: k of n members, as counted out
    bar = clopper_pearson(many // 10, many).high
    least = next(k for k in range(81) if clopper_pearson(k, 80).low > bar)
    share = smallest_tpr(sides(80, many), 0.1)
    assert 0.8 <= binom.sf(least - 1, 80, share) <= 0.83  # a 79.99th of the members is left out
    assert (
        math.isnan(smallest_tpr(sides(299, 299), 0.01))
        and smallest_tpr(sides(300, 300), 0.01) < 0.1
    )
    assert math.isnan(smallest_tpr(sides(1, 300), 0.01))  # found, it still may be one of 2.5 %
    copies = np.arange(1000) // 2
    assert smallest_tpr(sides(500, 500), 0.01, copies) > smallest_tpr(sides(500, 500), 0.01)


def test_the_tail_of_a_model_at_chance_is_shown_harmless_in_four_of_five_audits() -> None:
    rng, n = generator(3, "harmless tail"), int(records_for_tpr(0.2, 0.1))
    rates = [tpr_at_fpr(rng.normal(size=2 * n), sides(n, n), 0.1) for _ in range(200)]
    assert 0.7 <= np.mean([rate.high < 0.2 for rate in rates]) <= 0.97
    assert records_for_tpr(0.05, 0.01) == 300 and records_for_tpr(0.05, 0.1) == math.inf
    assert records_for_tpr(0.02, 0.01, effect=2) == 2 * records_for_tpr(0.02, 0.01)
