"""The probe: finds what is linear, is at chance where nothing is, and its shuffles say so at their level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, rankdata

from stillage.audit.blind import stratified_folds
from stillage.audit.probe import Probed, cross_fitted, probe, shuffled
from stillage.functional.stats import auc_interval, roc_auc

N = 120
MEMBER = np.arange(N) < N // 2


def features(strength: float, seed: int, width: int = 12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(0, 1, (N, width)) * rng.uniform(0.1, 10, width)
    drawn[:, 3] += strength * MEMBER * np.abs(drawn[:, 3]).mean()
    return drawn


def test_a_planted_direction_is_found_and_significant() -> None:
    found = probe(features(3.0, 1), MEMBER, np.arange(N), 1)
    auc = roc_auc(found.scores_N, MEMBER)
    assert auc > 0.85 and found.p(auc) == 1 / 200 and found.null_P.shape == (199,)
    assert abs(found.null_P.mean() - 0.5) < 0.02 and found.null_P.max() < auc


def test_the_level_of_the_shuffles_and_of_the_interval() -> None:
    """Features that know nothing: p below 0.05, and an interval without 0.5, in about one of twenty runs."""
    rng, hits, missed = np.random.default_rng(2), 0, 0
    for run in range(60):
        found = probe(rng.normal(0, 1, (N, 8)), MEMBER, np.arange(N), run, n_shuffles=19)
        auc = roc_auc(found.scores_N, MEMBER)
        hits += found.p(auc) <= 0.05
        missed += not auc_interval(found.scores_N, MEMBER, n_folds=5).contains(0.5)
    assert max(hits, missed) <= binom.ppf(0.999, 60, 0.05)


def test_twins_in_two_folds_would_give_the_labels_away() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(N // 4), 4)  # four copies of each record, of one kind
    copies = np.repeat(rng.normal(0, 1, (N // 4, 40)), 4, axis=0)
    together = probe(copies, MEMBER, groups, 1)
    apart = probe(copies, MEMBER, np.arange(N), 1)
    assert roc_auc(apart.scores_N, MEMBER) > 0.9
    auc = roc_auc(together.scores_N, MEMBER)
    assert together.p(auc) > 0.05


def test_cross_fitting_is_ridge_on_the_other_folds() -> None:
    x, fold = features(1.0, 4), np.arange(N) % 3
    ranks = cross_fitted(x, MEMBER[:, None], fold)[:, 0]
    for number in range(3):
        train, test = x[fold != number], x[fold == number]
        centre, spread = train.mean(0), train.std(0)
        z, y = (train - centre) / spread, MEMBER[fold != number] - MEMBER[fold != number].mean()
        u, s, vt = np.linalg.svd(z, full_matrices=False)
        best, error = np.zeros(12), np.inf
        for penalty in (1.0, 10.0, 100.0, 1e3, 1e4):
            hat = (u * (s**2 / (s**2 + penalty))) @ u.T + 1 / len(y)
            left_out = ((y - hat @ y) / (1 - np.diag(hat))) ** 2
            if left_out.mean() < error:
                best, error = vt.T @ ((s / (s**2 + penalty)) * (u.T @ y)), left_out.mean()
        np.testing.assert_allclose(
            ranks[fold == number], (rankdata(((test - centre) / spread) @ best) - 0.5) / 40
        )


def test_shuffles_keep_folds_groups_and_numbers() -> None:
    groups = np.concatenate([np.repeat(np.arange(15), 2), np.arange(15, 15 + N - 30)])
    fold = stratified_folds(MEMBER, 5, 1, groups)
    rng = np.random.default_rng(5)
    drawn = np.stack([shuffled(MEMBER, fold, groups, rng) for _ in range(40)])
    for number in range(5):
        assert (drawn[:, fold == number].sum(1) == MEMBER[fold == number].sum()).all()
    pairs = drawn[:, :30].reshape(40, 15, 2)
    assert (pairs[..., 0] == pairs[..., 1]).all() and 0.3 < (drawn == MEMBER).mean() < 0.7


def test_missing_features_and_too_few_records() -> None:
    x = features(3.0, 6)
    x[5] = np.nan
    found = probe(x, MEMBER, np.arange(N), 1, n_shuffles=3)
    assert np.isnan(found.scores_N[5]) and np.isfinite(np.delete(found.scores_N, 5)).all()
    few = probe(x[[0, 70]], MEMBER[[0, 70]], np.arange(2), 1)
    assert few.scores_N.tolist() == [0.5, 0.5] and few.null_P.size == 0
    assert Probed(scores_N=np.zeros(1), null_P=np.array([0.4, 0.6, 0.5])).p(0.55) == pytest.approx(
        0.5
    )
