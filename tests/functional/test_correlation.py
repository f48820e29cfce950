"""Spearman's correlation and each record's influence on it, against SciPy and the jackknife."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from stillage.functional.correlation import rank_correlation
from stillage.rng import generator


@pytest.mark.parametrize("digits", [0, 6])
def test_influence_is_what_leaving_a_record_out_changes(digits: int) -> None:
    rng = generator(1, "influence", digits)
    x = np.round(rng.normal(size=80), digits)
    y = np.round(0.6 * x + rng.normal(size=80), digits)
    r, influence = rank_correlation(x, y)
    left_out = np.array([spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(80)])
    jackknife = 79 * (left_out.mean() - left_out)
    assert r == pytest.approx(spearmanr(x, y).statistic)
    assert abs(influence.mean()) < 1e-12
    np.testing.assert_allclose(influence, jackknife, atol=0.12)
    assert influence.std() == pytest.approx(jackknife.std(), rel=0.05)


def test_nothing_to_rank() -> None:
    assert math.isnan(rank_correlation(np.ones(5), np.arange(5.0))[0])
    assert math.isnan(rank_correlation(np.empty(0), np.empty(0))[0])
