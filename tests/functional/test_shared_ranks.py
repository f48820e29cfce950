"""The interval of a mean exposure: canaries and references both scatter, and near-duplicates count once."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stillage.errors import DataError
from stillage.functional.binomial import clopper_pearson
from stillage.functional.means import share_interval
from stillage.functional.shared_ranks import mean_exposure_interval


def apart(
    above: np.ndarray, seed: int = 0, level: float = 0.95, n_draws: int = 1000
) -> tuple[float, float, float]:
    """Value and limits; canaries and references have no record in common."""
    count, references = above.shape
    found = mean_exposure_interval(
        above,
        references + np.arange(count),
        np.arange(references),
        np.random.default_rng(seed),
        level=level,
        n_draws=n_draws,
    )
    return found.value, found.low, found.high


def test_shared_references_widen_it_until_it_covers() -> None:
    """200 canaries among the same 64 references: their own scatter holds the mean in 55 to 70 %."""
    rng, draws, truth = np.random.default_rng(1), 60, 1.38  # of 2,000 draws
    hits = np.zeros(2)
    for k in range(draws):
        above = (rng.normal(size=64) >= rng.normal(size=(200, 1))).astype(np.int8)
        _, low, high = apart(above, k, n_draws=200)
        bits = math.log2(65) - np.log2(1 + above.sum(1))
        hits += (
            low <= truth <= high,
            share_interval(bits / math.log2(65)).contains(truth / math.log2(65)),
        )
    assert hits[0] / draws > 0.95 - 4 * math.sqrt(0.95 * 0.05 / draws) and hits[1] / draws < 0.85


def test_all_first_among_the_same_references_is_no_certainty() -> None:
    """Equal canaries that nothing reaches: up to a share p of references may, p Clopper-Pearson's limit of 0 of R."""
    value, low, high = apart(np.zeros((500, 100), np.int8))
    p = clopper_pearson(0, 100).high
    assert value == pytest.approx(math.log2(101)) and high == pytest.approx(value)
    assert low == pytest.approx(value - math.log2(1 + 100 * p), abs=0.15)


def test_copies_of_canaries_and_of_references_count_once() -> None:
    rng = np.random.default_rng(2)
    above = (rng.normal(size=40) >= rng.normal(1, 1, (20, 1))).astype(np.int8)
    _, low, high = apart(above)
    for copies in (np.repeat(above, 5, axis=0), np.repeat(above, 5, axis=1)):
        wide, tall = copies.shape[0] // 20, copies.shape[1] // 40
        found = mean_exposure_interval(
            copies,
            1000 + np.repeat(np.arange(20), wide),
            np.repeat(np.arange(40), tall),
            np.random.default_rng(0),
        )
        assert found.high - found.low > 0.8 * (high - low)


def test_nonmembers_ranked_among_each_other_have_nearly_one_mean() -> None:
    """Where scores depend on the value alone, the ranks of all among all are fixed, and with them the mean."""
    scores = np.random.default_rng(3).normal(size=120)
    above = np.where(np.eye(120, dtype=bool), -1, scores >= scores[:, None]).astype(np.int8)
    own = np.arange(120)
    found = mean_exposure_interval(above, own, own, np.random.default_rng(0))
    value, low, high = apart(above)
    assert found.value == value and found.high - found.low < 0.9 * (high - low)


def test_too_little_for_limits_and_no_references_at_all() -> None:
    above = np.array([[1, 0, 0], [0, 0, 0]], np.int8)
    one = mean_exposure_interval(above, np.array([7, 7]), np.arange(3), np.random.default_rng(0))
    assert one.value == pytest.approx(2 - 0.5) and math.isnan(one.low) and math.isnan(one.high)
    with pytest.raises(DataError, match="1 of 2 canaries"):
        mean_exposure_interval(
            np.array([[1, 0], [-1, -1]], np.int8),
            np.arange(2),
            np.arange(2),
            np.random.default_rng(0),
        )
