"""The interval of a TPR at a fixed FPR holds the threshold's scatter: coverage, its limits, and its edges."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from stillage.functional.roc import rate_limits
from stillage.functional.stats import clopper_pearson, roc_band, tpr_at_fpr
from stillage.rng import generator

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]
Q = float(norm.isf(0.01))  # what one nonmember in a hundred exceeds

WORLDS: dict[str, tuple[Draw, float]] = {
    "leak": (lambda rng: (rng.normal(Q - norm.isf(0.3), 1, 300), rng.normal(0, 1, 500)), 0.3),
    "narrow members": (
        lambda rng: (rng.normal(Q - norm.isf(0.3) / 3, 1 / 3, 300), rng.normal(0, 1, 500)),
        0.3,
    ),
    "few betrayed": (
        lambda rng: (rng.normal(0, 1, 300) + 9 * (rng.random(300) < 0.05), rng.normal(0, 1, 500)),
        0.05 + 0.95 * 0.01,
    ),
    "no leak": (lambda rng: (rng.normal(0, 1, 300), rng.normal(0, 1, 500)), 0.01),
}


@pytest.mark.parametrize("name", WORLDS)
def test_limits_cover_the_true_rate_at_one_percent_where_a_fixed_threshold_does_not(
    name: str,
) -> None:
    draw, truth = WORLDS[name]
    rng, covered, fixed, claimed = generator(1, "rate", name), 0, 0, 0
    for _ in range(300):
        inside, outside = draw(rng)
        low, high = rate_limits(inside, outside, 0.01, 0.95)
        covered += low <= truth <= high
        claimed += low > 0.01
        above = int((inside > np.sort(outside)[-6]).sum())
        fixed += clopper_pearson(above, inside.size).contains(truth)
    assert covered / 300 >= 0.93
    if name in ("leak", "narrow members"):
        assert fixed / 300 < 0.8 and covered / 300 <= 0.985
    if name == "no leak":
        assert claimed / 300 <= 0.025


def test_limits_of_clustered_records_cover() -> None:
    """Groups of 4 on each side that share nine tenths of the variance; true TPR 0.3 at 1 %."""
    rng, covered, alone, group = generator(2, "rate clusters"), 0, 0, np.arange(2000) // 4
    member = np.arange(2000) < 1000
    for _ in range(200):
        scores = math.sqrt(0.9) * rng.normal(size=500)[group] + math.sqrt(0.1) * rng.normal(
            size=2000
        )
        scores += (Q - norm.isf(0.3)) * member
        rate = tpr_at_fpr(scores, member, 0.01, clusters=group)
        covered += rate.low <= 0.3 <= rate.high
        low, high = rate_limits(scores[member], scores[~member], 0.01, 0.95)
        alone += low <= 0.3 <= high
    assert 0.93 <= covered / 200 <= 0.985 and alone / 200 < 0.85


def test_limits_with_very_many_nonmembers_are_clopper_pearsons() -> None:
    inside = norm.isf((np.arange(200) + 0.5) / 200) + 1.0
    outside = norm.isf((np.arange(200_000) + 0.5) / 200_000)
    found = clopper_pearson(int((inside > norm.isf(0.1)).sum()), 200)
    assert rate_limits(inside, outside, 0.1, 0.95) == pytest.approx(
        (found.low, found.high), abs=0.004
    )


def test_limits_at_the_edges() -> None:
    outside = np.arange(400.0)
    low, high = rate_limits(np.full(50, 1000.0), outside, 0.01, 0.95)
    assert high == 1 and 0.8 < low < clopper_pearson(50, 50).low + 1e-9
    low, high = rate_limits(np.full(50, -1.0), outside, 0.01, 0.95)
    assert low == 0 and high >= clopper_pearson(0, 50).high - 1e-9
    same = tpr_at_fpr(
        np.zeros(100), np.arange(100) < 50, 0.1
    )  # all scores equal: nobody lies above the threshold
    assert (same.value, same.low) == (0, 0) and same.high < 0.12
    assert (
        rate_limits(np.full(50, 1000.0), np.arange(100.0), 0.01, 0.95)[0] == 0
    )  # too few nonmembers to say anything
    assert tpr_at_fpr(np.arange(330.0), np.arange(330) >= 300, 0.01).low > 0.5
    narrow, wide = (
        tpr_at_fpr(np.arange(330.0), np.arange(330) >= 300, 0.01, level) for level in (0.8, 0.99)
    )
    assert narrow.low > wide.low


def test_band_and_interval_say_the_same() -> None:
    rng = generator(3, "band and rate")
    scores, member = np.append(rng.normal(1, 1, 200), rng.normal(0, 1, 300)), np.arange(500) < 200
    rate, band = tpr_at_fpr(scores, member, 0.05), roc_band(scores, member, np.array([0.05]))
    assert (band.tpr[0], band.low[0], band.high[0]) == pytest.approx(
        (rate.value, rate.low, rate.high)
    )
