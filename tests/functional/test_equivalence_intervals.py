"""Limits of rho: against canaries drawn again one by one, at the ends of a curve, and their coverage."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy.stats import norm

from stillage.errors import DataError
from stillage.functional.delong import roc_auc
from stillage.functional.equivalence import FLAGS, exact_duplicate_equivalent
from stillage.functional.equivalence_intervals import resampled_aucs, rho_intervals
from stillage.rng import generator
from stillage.types import Array

NEO = (0.612, 0.7, 0.775, 0.83, 0.873, 0.903, 0.928, 0.943, 0.955, 0.964)


def scores_of(aucs: tuple[float, ...], n: int, *names: str | int) -> tuple[Array, Array]:
    """(scores [X, 2 n], is_member) of canaries whose difficulty all conditions share."""
    rng, is_member = generator(1, "rho", *names), np.arange(2 * n) < n
    found = 0.9 * rng.normal(size=2 * n) + 0.436 * rng.normal(size=(len(aucs), 2 * n))
    return found + np.sqrt(2) * norm.ppf(aucs)[:, None] * is_member, is_member


def test_draws_are_aucs_of_canaries_drawn_again() -> None:
    scores, is_member = scores_of((0.6, 0.9), 7)
    scores = scores.round(0)  # ties
    scores[0, :2] = scores[0, 7] = np.inf
    auc_X, auc_DX = resampled_aucs(scores, is_member, 20, 3)
    np.testing.assert_allclose(auc_X, [roc_auc(one, is_member) for one in scores])
    rng = generator(3, "rho")
    counts = np.hstack([rng.multinomial(7, [1 / 7] * 7, size=20) for _ in range(2)])
    for count, found in zip(counts, auc_DX, strict=True):
        drawn = np.repeat(np.arange(14), count)
        expected = [roc_auc(one[drawn], is_member[drawn]) for one in scores]
        np.testing.assert_allclose(found, expected)


def test_points_are_read_as_alone_and_limits_hold_them() -> None:
    scores, is_member = scores_of((*NEO, 0.65, 0.85, 0.97), 60)
    found = rho_intervals(scores[:10], scores[10:], is_member, resamples=200)
    aucs = [roc_auc(one, is_member) for one in scores]
    for place, one in enumerate(found):
        assert one.published == exact_duplicate_equivalent(aucs[:10], aucs[10 + place])
        iso = exact_duplicate_equivalent(aucs[:10], aucs[10 + place], smoothing="isotonic")
        assert one.isotonic == iso
        assert one.rho.low <= one.rho.value <= one.rho.high
        assert one.rho.value == one.published.rho and one.rho_isotonic.value == iso.rho
        assert one.rho.high == pytest.approx((one.copies.high - 1) / 9)
        alone = rho_intervals(scores[:10], scores[10 + place], is_member, resamples=200)
        assert [asdict(other) for other in alone] == [asdict(one)]
        assert set(one.flags) <= set(FLAGS) and len(set(one.flags)) == len(one.flags)
        own = set(one.published.flags)
        assert {f"isotonic_{flag}" for flag in set(iso.flags) - own} <= set(one.flags)
    assert found[0].rho.high < found[1].rho.low
    assert not any("saturated" in one.flags for one in found[:2])
    narrow = rho_intervals(scores[:10], scores[11], is_member, resamples=200, level=0.5)[0]
    assert found[1].rho.low < narrow.rho.low < narrow.rho.high < found[1].rho.high


def test_what_makes_a_canary_easy_for_all_cancels() -> None:
    """With the same noise in all conditions, curve and point move together."""
    shared, is_member = scores_of((0.7,), 50)
    same = shared + np.linspace(0, 1, 5)[:, None] * is_member
    other = np.concatenate([scores_of((0.7,), 50, i)[0] for i in range(5)])
    other = other + np.linspace(0, 1, 5)[:, None] * is_member

    def width(scores: Array, point: Array) -> float:
        found = rho_intervals(scores, point, is_member, resamples=300)[0].rho
        return found.high - found.low

    point = shared + 0.5 * is_member
    assert width(same, point) < 0.5 * width(other, point)


def test_a_curve_that_cannot_be_told_from_chance_is_not_judged() -> None:
    scores, is_member = scores_of((0.5, 0.5, 0.5, 0.52, 0.51), 40)
    assert "not_judged" in rho_intervals(scores[:4], scores[4:], is_member, resamples=50)[0].flags
    scores, is_member = scores_of((0.5, 0.6, 0.7, 0.8, 0.7), 40)
    found = rho_intervals(scores[:4], scores[4:], is_member, resamples=50)[0]
    assert "not_judged" not in found.flags


def test_a_level_top_has_no_upper_limit() -> None:
    is_member = np.arange(20) < 10
    apart = np.arange(20.0)[::-1] + 0.5 * np.arange(20)
    curve = np.stack([np.zeros(20), *[apart] * 5])
    found = rho_intervals(curve, apart, is_member, resamples=100)[0]
    assert found.published.copies == 6 and found.isotonic.copies == 4
    assert math.isnan(found.rho.high) and math.isnan(found.rho_isotonic.high)
    assert found.rho_isotonic.low == pytest.approx(0.2)  # two copies do it too
    assert {"no_upper_limit", "saturated", "flat_end"} <= set(found.flags)


def test_a_draw_whose_curve_begins_with_a_fall_counts_from_one() -> None:
    is_member = np.arange(20) < 10
    fall = np.stack([1.0 * is_member, np.zeros(20)])
    found = rho_intervals(fall, np.zeros(20), is_member, resamples=50)[0]
    assert (found.rho.low, found.rho.value) == (0.0, 1.0)
    assert {"falling_start", "not_judged"} <= set(found.flags)


def test_hostile_scores() -> None:
    scores, is_member = scores_of((0.5, 0.7, 0.6), 10)
    two = rho_intervals(scores[:2], scores[2:], is_member, resamples=50)[0]
    assert 0 <= two.rho.low <= two.rho.high
    level = np.ones((3, 20))
    flat = rho_intervals(level, level[0], is_member, resamples=50)[0]
    assert math.isfinite(flat.rho.value) and {"flat", "not_judged"} <= set(flat.flags)
    alone = rho_intervals(scores[:2, 9:11], scores[2, 9:11], is_member[9:11], resamples=50)[0]
    assert math.isfinite(alone.rho.value)
    with pytest.raises(DataError, match="one and two copies"):
        rho_intervals(scores[:1], scores[2:], is_member)
    with pytest.raises(DataError, match="NaN"):
        rho_intervals(scores[:2], np.full((1, 20), np.nan), is_member)
    with pytest.raises(DataError, match="draws"):
        rho_intervals(scores[:2], scores[2:], is_member, resamples=0)


def test_coverage() -> None:
    """The fast form of benchmarks/simulations/rho.py."""
    curve, held = np.array(NEO), np.zeros((2, 2))
    smooth = curve.copy()
    smooth[1:-1] = (curve[:-2] + curve[1:-1] + curve[2:]) / 3
    for column, rho in enumerate((0.05, 0.6)):
        auc = float(np.interp(1 + 9 * rho, np.arange(1, 11), curve))
        true = (float(np.interp(auc, smooth, np.arange(10))) / 9, rho)
        for repeat in range(60):
            scores, is_member = scores_of((*NEO, auc), 40, "coverage", column, repeat)
            one = rho_intervals(scores[:10], scores[10:], is_member, resamples=150)[0]
            held[0, column] += one.rho.contains(true[0])
            held[1, column] += one.rho_isotonic.contains(true[1])
    assert (held >= 53).all() and held.sum() < 240  # of 60: 88 %, 4 standard errors below 98 %
