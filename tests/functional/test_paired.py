"""The difference of two paired shares, counted or found above two thresholds: value by counting, interval by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.errors import DataError
from stillage.functional.stats import (
    paired_proportions,
    paired_share_test,
    paired_tpr_test,
    tpr_at_fpr,
)
from stillage.rng import generator


def test_the_value_is_the_difference_of_the_shares() -> None:
    rng = generator(1, "paired")
    first, second = rng.random(200) < 0.8, rng.random(200) < 0.5
    found = paired_proportions(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean(), abs=1e-12)
    assert -1 <= found.low < found.value < found.high <= 1
    swapped = paired_proportions(second, first)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low), abs=1e-12)


def test_a_published_example() -> None:
    """Bonett and Price's formula by hand: 14 only the first, 5 only the second, of 90."""
    first = np.repeat([True, False, True], [14, 5, 71])
    second = np.repeat([False, True, True], [14, 5, 71])
    p, q, d = 15 / 92, 6 / 92, 9 / 92
    half = 1.959963985 * ((p + q - d * d) / 92) ** 0.5
    found = paired_proportions(first, second)
    assert (found.low, found.high) == pytest.approx((d - half, d + half), abs=1e-8)


def test_equal_answers_are_no_proof_of_equality() -> None:
    right = np.ones(300, dtype=bool)
    found = paired_proportions(right, right)
    assert found.value == 0 and found.low < -0.005 and found.high > 0.005


def coverage(only_first: float, only_second: float, n: int, repetitions: int) -> float:
    rng = generator(2, "paired coverage", n)
    hits = 0
    for _ in range(repetitions):
        kind = rng.choice(3, size=n, p=[only_first, only_second, 1 - only_first - only_second])
        hits += paired_proportions(kind == 0, kind == 1).contains(only_first - only_second)
    return hits / repetitions


@pytest.mark.parametrize(
    ("only_first", "only_second"), [(0.4, 0.01), (0.05, 0.05), (0.01, 0.0), (0.2, 0.1)]
)
def test_it_covers(only_first: float, only_second: float) -> None:
    assert (
        coverage(only_first, only_second, 300, 1000) >= 0.93
    )  # 95 % within three simulation errors


def test_other_records_are_refused() -> None:
    with pytest.raises(DataError, match="records: 2 and 3"):
        paired_proportions(np.ones(2), np.ones(3))


def test_near_duplicates_count_once() -> None:
    first, second = (
        np.repeat([True, True, False, False], [6, 0, 2, 92]),
        np.repeat([False, False, True, False], [6, 0, 2, 92]),
    )
    alone = paired_share_test(first, second)
    copied = paired_share_test(
        np.repeat(first, 5), np.repeat(second, 5), clusters=np.repeat(np.arange(100), 5)
    )
    assert copied.difference == pytest.approx(alone.difference)
    assert (copied.low, copied.high, copied.p) == pytest.approx(
        (alone.low, alone.high, alone.p), abs=1e-2
    )
    assert paired_share_test(np.repeat(first, 5), np.repeat(second, 5)).p < 0.2 * alone.p
    none = np.zeros(500, bool)
    assert (
        paired_share_test(none, none, clusters=np.repeat(np.arange(5), 100)).high > 0.3
    )  # five draws, not 500


@pytest.mark.parametrize("sizes", ["1 to 9", "one in ten of 20", "one of a quarter"])
def test_groups_of_very_unequal_size_are_covered(sizes: str) -> None:
    """Groups answer nearly as one; the ratio of variances alone covered 72 to 90 %."""
    hits, repetitions = 0, 300
    for seed in range(repetitions):
        rng = generator(seed, "unequal pairs", sizes)
        count = {
            "1 to 9": rng.integers(1, 10, 60),
            "one in ten of 20": np.where(np.arange(60) % 10 == 0, 20, 1),
            "one of a quarter": np.append(33, np.ones(100, dtype=int)),
        }[sizes]
        groups = np.repeat(np.arange(count.size), count)
        common = rng.random(groups.size) < 0.95
        first, second = (
            np.where(
                common, rng.random(count.size)[groups] < share, rng.random(groups.size) < share
            )
            for share in (0.1, 0.02)
        )
        found = paired_share_test(first, second, clusters=groups)
        hits += found.low <= 0.08 <= found.high
    assert hits / repetitions >= 0.92  # 95 % and two simulation errors


def test_a_group_a_record_is_no_group_and_one_group_says_nothing() -> None:
    first, second = np.repeat([True, False], [9, 51]), np.repeat([False, True], [57, 3])
    alone = paired_share_test(first, second)
    assert paired_share_test(first, second, clusters=np.arange(60)) == alone
    one = paired_share_test(first, second, clusters=np.zeros(60, dtype=int))
    assert one.p > 0.5 and one.high - one.low > 1


@pytest.mark.parametrize(
    ("only_first", "only_second", "exact"),
    [(5, 0, 0.0625), (6, 0, 0.03125), (10, 2, 0.0386), (20, 9, 0.0614)],
)
def test_its_p_is_close_to_the_exact_sign_test(
    only_first: int, only_second: int, exact: float
) -> None:
    first = np.repeat([True, False, False], [only_first, only_second, 800])
    second = np.repeat([False, True, False], [only_first, only_second, 800])
    assert paired_share_test(first, second).p == pytest.approx(exact, abs=0.015)


def found_alike(
    rng: np.random.Generator, n: int, easy: float, copies: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two models that see the same in the records: a share of easy members that both find, and nothing else."""
    units = np.repeat(np.arange(2 * n // copies), copies)
    member = np.arange(2 * n // copies) < n // copies
    hard = rng.normal(size=member.size) + 5 * (member & (rng.random(member.size) < easy))
    one, other = (0.6 * hard[units] + 0.8 * rng.normal(size=units.size) for _ in range(2))
    return one, other, member[units], units


@pytest.mark.parametrize(
    ("n", "fpr", "easy", "copies"),
    [(400, 0.01, 0.05, 1), (400, 0.01, 0.0, 1), (400, 0.01, 0.2, 4), (100, 0.1, 0.05, 1)],
)
def test_two_models_that_find_the_same_are_rarely_told_apart(
    n: int, fpr: float, easy: float, copies: int
) -> None:
    rng, repetitions = generator(3, "tails", n, str(easy), copies), 400
    draws = (found_alike(rng, n, easy, copies) for _ in range(repetitions))
    false = sum(
        paired_tpr_test(a, b, member, fpr, clusters=units).p <= 0.05
        for a, b, member, units in draws
    )
    assert false / repetitions <= 0.083  # 5 % and three simulation errors


def test_a_tail_that_only_one_model_has_is_seen_and_the_difference_is_that_of_the_rates() -> None:
    rng = generator(4, "tails")
    one, other, member, _ = found_alike(rng, 800, 0.05, 1)
    one = np.where(member & (rng.random(member.size) < 0.1), 9.0, one)
    test = paired_tpr_test(one, other, member, 0.01)
    rates = [tpr_at_fpr(scores, member, 0.01).value for scores in (one, other)]
    assert (
        test.difference == pytest.approx(rates[0] - rates[1], abs=1e-12)
        and test.low > 0
        and test.p < 1e-4
    )
    back = paired_tpr_test(other, one, member, 0.01)
    assert (back.difference, back.low, back.p) == pytest.approx(
        (-test.difference, -test.high, test.p), abs=1e-12
    )


def test_the_thresholds_scatter_counts() -> None:
    """Where the curve is steep at the threshold, its interval is wider than that of the members alone."""
    rng = generator(5, "tails")
    member = np.arange(1600) < 800
    one, other = (rng.normal(size=1600) + shift * member for shift in (2.0, 1.5))
    found = [scores[member] > tpr_at_fpr(scores, member, 0.01).threshold for scores in (one, other)]
    whole, members = (
        paired_tpr_test(one, other, member, 0.01),
        paired_share_test(found[0], found[1]),
    )
    assert whole.high - whole.low > 1.3 * (members.high - members.low)
    with pytest.raises(DataError, match="Too few nonmembers"):
        paired_tpr_test(one[600:1000], other[600:1000], member[600:1000], 0.01)
