"""The difference of two paired shares: its value by counting, its interval by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from stillage.errors import DataError
from stillage.functional.stats import paired_proportions
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


@pytest.mark.parametrize(("only_first", "only_second"), [(0.4, 0.01), (0.05, 0.05), (0.01, 0.0), (0.2, 0.1)])
def test_it_covers(only_first: float, only_second: float) -> None:
    assert coverage(only_first, only_second, 300, 1000) >= 0.93  # 95 % within three simulation errors


def test_other_records_are_refused() -> None:
    with pytest.raises(DataError, match="records: 2 and 3"):
        paired_proportions(np.ones(2), np.ones(3))
