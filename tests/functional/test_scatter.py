"""Sums of variances that are known only so well: intervals, tests, and AUCs of two seeds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2, norm, t

from stillage.functional.scatter import EstimatedVariance, half_width, scatter_of_seeds, two_sided_p
from stillage.functional.stats import pooled_auc_interval, pooled_auc_test
from stillage.rng import generator


def test_one_part_is_students_t_and_parts_add_in_quadrature() -> None:
    known, seeds = EstimatedVariance(variance=4.0), EstimatedVariance(variance=0.25, df=2)
    assert half_width([known], 0.05) == pytest.approx(2 * norm.isf(0.025))
    assert half_width([seeds], 0.01) == pytest.approx(0.5 * t.isf(0.005, 2))
    assert half_width([known, seeds], 0.05) == pytest.approx(
        math.hypot(2 * norm.isf(0.025), 0.5 * t.isf(0.025, 2))
    )
    assert half_width([], 0.05) == 0


@pytest.mark.parametrize("difference", [0.0, 0.3, -2.0, 9.0])
def test_p_is_the_level_at_which_the_limits_reach_zero(difference: float) -> None:
    known, seeds = EstimatedVariance(variance=1.0), EstimatedVariance(variance=0.5, df=1)
    p = two_sided_p(difference, [known, seeds])
    assert half_width([known, seeds], p) == pytest.approx(abs(difference), abs=1e-6)
    assert two_sided_p(difference, [known]) == pytest.approx(2 * norm.sf(abs(difference)))
    assert two_sided_p(difference, [EstimatedVariance(variance=math.inf)]) == 1


def test_seeds_scatter_counts_above_what_the_records_explain() -> None:
    values = np.array([0.6, 0.7, 0.8])
    assert scatter_of_seeds(values, 0.0).variance == pytest.approx(0.01 / 3)
    assert scatter_of_seeds(values, 0.01).variance == pytest.approx(
        0.01 * (1 - chi2.ppf(0.2, 2) / 2) / 3
    )
    assert (
        scatter_of_seeds(values, 1.0).variance == 0
        and scatter_of_seeds(values[:1], 0.0).variance == 0
    )


@pytest.mark.parametrize("same_records", [True, False])
def test_two_seeds_cover_and_reject_at_their_level(same_records: bool) -> None:
    """Each of two models is better on some seeds than on others (sd 0.3), and on average they are equal."""
    rng = generator(2, "two seeds", str(same_records))
    member, covered, rejected = np.arange(200) < 100, 0, 0
    truth = float(norm.cdf(1 / math.sqrt(2 + 0.3**2)))
    for _ in range(400):
        runs, record = [], rng.normal(size=200)
        for _ in range(2):
            record = record if same_records else rng.normal(size=200)
            a, b = (
                0.8 * record + 0.6 * rng.normal(size=200) + rng.normal(1, 0.3) * member
                for _ in range(2)
            )
            runs.append((a, b, member))
        covered += pooled_auc_interval(
            [(a, m) for a, _, m in runs], same_records=same_records
        ).contains(truth)
        rejected += pooled_auc_test(runs, same_records=same_records).p < 0.05
    assert 0.93 <= covered / 400 <= 0.99 and rejected / 400 <= 0.08  # 4 to 6 % of 2,000
