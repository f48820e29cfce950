"""Every statistic at its edges: a number where there is one, a refusal or a reason where there is none, never a warning."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from stillage.audit.attacks import FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.audit.exposure_rank import exposures
from stillage.audit.inheritance import (
    inheritance_curve,
    inheritance_ratio,
    rank_among_nonmembers,
    shares_of,
    spearman,
    tpr_on_leaked,
)
from stillage.errors import DataError
from stillage.functional.means import mean_interval, share_interval
from stillage.functional.pooled import pooled_mean_test
from stillage.functional.stats import (
    auc_interval,
    finite,
    holm,
    max_statistic_test,
    paired_auc_test,
    paired_proportions,
    pooled_auc_interval,
    pooled_auc_test,
    roc_band,
    roc_curve,
    tpr_at_fpr,
)
from stillage.functional.tails import mean_above, mean_of_lowest, mean_or_nan
from stillage.types import Array, TokenStats


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def draws(n: int) -> Array:
    return np.random.default_rng(0).normal(size=n)


def sides(members: int, nonmembers: int) -> Array:
    return np.array([True] * members + [False] * nonmembers)


SCORES: dict[str, tuple[Array, Array, float]] = {  # scores, membership, AUC
    "all equal": (np.ones(80), sides(40, 40), 0.5),
    "members equal": (np.r_[np.full(40, 9.0), draws(40)], sides(40, 40), 1.0),
    "nonmembers equal": (np.r_[draws(40), np.full(40, -9.0)], sides(40, 40), 1.0),
    "nonmembers above": (np.r_[draws(40), np.full(40, 9.0)], sides(40, 40), 0.0),
    "two values": (np.r_[np.ones(40), np.zeros(40)], sides(40, 40), 1.0),
    "one member, tied": (np.ones(41), sides(1, 40), 0.5),
    "one member, last": (np.r_[-9.0, draws(40)], sides(1, 40), 0.0),
    "one nonmember": (np.r_[draws(40), -9.0], sides(40, 1), 1.0),
    "one of each": (np.array([1.0, 0.0]), sides(1, 1), 1.0),
    "one of each, tied": (np.ones(2), sides(1, 1), 0.5),
    "infinite": (np.r_[np.inf, np.ones(39), -np.inf, np.ones(39)], sides(40, 40), 0.5 + 79 / 3200),
    "one class": (np.ones(5), sides(5, 0), math.nan),
    "nothing": (np.zeros(0), sides(0, 0), math.nan),
    "all NaN but one": (np.r_[1.0, np.full(9, np.nan)], sides(5, 5), math.nan),
}
OF_SCORES: dict[str, Callable[[Array, Array], object]] = {
    "auc_interval": auc_interval,
    "auc_interval of one cluster": lambda s, m: auc_interval(s, m, clusters=np.zeros(len(s), int)),
    "tpr_at_fpr": lambda s, m: tpr_at_fpr(s, m, 0.1),
    "tpr_at_fpr of one cluster": lambda s, m: tpr_at_fpr(s, m, 0.1, clusters=np.zeros(len(s), int)),
    "roc_band": roc_band,
    "roc_curve": roc_curve,
    "paired_auc_test": lambda s, m: paired_auc_test(s, -s, m),
    "pooled_auc_interval": lambda s, m: pooled_auc_interval([(s, m), (s, m)], same_records=True),
    "pooled_auc_interval of other records": lambda s, m: pooled_auc_interval([(s, m), (s, m)]),
    "pooled_auc_test": lambda s, m: pooled_auc_test([(s, -s, m), (s, -s, m)]),
    "inheritance_ratio": lambda s, m: inheritance_ratio(
        s, s, m, np.random.default_rng(0), n_resamples=10
    ),
    "rank_among_nonmembers": rank_among_nonmembers,
    "tpr_on_leaked": lambda s, m: tpr_on_leaked(s, s, m, 0.1),
}


def sound(found: object) -> None:
    """Numbers in order and no NaN; or a NaN with its reason."""
    if isinstance(found, np.ndarray):
        assert not np.isnan(found).any()
        return
    assert is_dataclass(found)
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    value = next((values[name] for name in ("value", "difference") if name in values), 0.0)
    if isinstance(value, float) and math.isnan(value):
        assert values["reason"]
        return
    for entry in values.values():
        assert not (isinstance(entry, float) and math.isnan(entry))
        assert not (isinstance(entry, np.ndarray) and np.isnan(entry).any())
    if isinstance(values.get("low"), float):
        assert values["low"] - 1e-12 <= value <= values["high"] + 1e-12


@pytest.mark.parametrize("name", OF_SCORES)
@pytest.mark.parametrize("case", SCORES)
def test_of_scores(name: str, case: str) -> None:
    scores, member, auc = SCORES[case]
    if math.isnan(auc):
        with pytest.raises(DataError):
            OF_SCORES[name](scores, member)
        return
    if "tpr" in name and (~member).sum() < 30 and len(np.unique(scores)) > 1:
        with pytest.raises(DataError, match="Too few nonmembers"):
            OF_SCORES[name](scores, member)
        return
    sound(OF_SCORES[name](scores, member))


@pytest.mark.parametrize("case", SCORES)
def test_the_values_themselves(case: str) -> None:
    scores, member, auc = SCORES[case]
    if math.isnan(auc):
        kept, labels, dropped = finite(scores, member)
        assert len(kept) + dropped == len(scores) and not (labels.any() and (~labels).any())
        return
    assert auc_interval(scores, member).value == pytest.approx(auc)
    if len(np.unique(scores)) == 1:
        for fpr in (0.1, 0.01):
            rate = tpr_at_fpr(scores, member, fpr)
            assert (rate.value, rate.achieved_fpr, rate.low) == (0, 0, 0) and 0 < rate.high <= 1
        assert np.array_equal(rank_among_nonmembers(scores, member), np.full(len(scores), 0.5))
    if np.isfinite(scores).all():
        found = max_statistic_test(np.array([scores, scores]), member, np.random.default_rng(0), 20)
        assert found.auc_A == pytest.approx([auc, auc]) and 0 < found.p <= 1


@pytest.mark.parametrize("n", [0, 1, 2, 3, 50])
def test_correlation(n: int) -> None:
    constant, rising = np.ones(n), np.arange(n, dtype=float)
    assert math.isnan(spearman(constant, rising).value) and spearman(constant, rising).reason
    found = spearman(rising, rising)
    assert found.value == 1 if n > 1 else math.isnan(found.value) and found.reason
    assert found.low <= 1 <= found.high if n > 3 else found.reason


MEANS = {"nothing": [], "one": [0.3], "equal": [0.3] * 5, "zeros": [0.0] * 5, "ones": [1.0] * 5}


@pytest.mark.parametrize("case", MEANS)
def test_of_shares(case: str) -> None:
    values = np.array(MEANS[case])
    mean = values.mean() if len(values) else math.nan
    for clusters in (None, np.zeros(len(values), int)):
        found = share_interval(values, clusters=clusters)
        assert found.value == pytest.approx(mean, nan_ok=True)
        assert not len(values) or 0 <= found.low <= found.value <= found.high <= 1
        assert mean_interval(values, clusters=clusters).value == pytest.approx(mean, nan_ok=True)
    assert mean_or_nan(values) == pytest.approx(mean, nan_ok=True)
    assert mean_of_lowest(values) == pytest.approx(mean, nan_ok=True)
    assert (
        mean_above(values, [values]) == 0
        if len(values)
        else math.isnan(mean_above(values, [values]))
    )
    if not len(values):
        for refuses in (
            lambda: pooled_mean_test([values]),
            lambda: pooled_mean_test([]),
            lambda: paired_proportions(values > 0, values > 0),
        ):
            with pytest.raises(DataError):
                refuses()
        return
    sound(pooled_mean_test([values, values], same_records=True))
    sound(paired_proportions(values > 0, values > 0.5))
    for point in inheritance_curve(values, values):
        assert point.n or math.isnan(point.value)
    for share in vars_of(shares_of(values > 0, values > 0.5, values > 0.9)):
        sound(share)


def vars_of(found: object) -> list[object]:
    assert is_dataclass(found)
    return [getattr(found, field.name) for field in fields(found)]


def test_numbers_that_are_none_are_refused() -> None:
    broken = np.array([0.5, np.nan])
    for refuses in (
        lambda: pooled_mean_test([broken]),
        lambda: holm(broken),
        lambda: inheritance_curve(broken, broken),
        lambda: exposures(broken, np.ones(3)),
        lambda: exposures(np.ones(1), broken),
        lambda: exposures(np.ones(1), np.zeros(0)),
    ):
        with pytest.raises(DataError):
            refuses()


def test_exposure_of_ties() -> None:
    for references in (np.ones(1), np.ones(200)):
        (found,) = exposures(np.ones(1), references)
        assert (
            found.bits == 0 and found.rank == len(references) + 1 and math.isnan(found.model_bits)
        )
    (first,) = exposures(np.array([np.inf]), draws(200))
    assert first.rank == 1 and first.bits == pytest.approx(math.log2(201))
    assert exposures(np.zeros(0), np.ones(3)) == []


RECORDS, SHADOWS = 10, 8
DESIGN = np.arange(SHADOWS)[:, None] % 2 == np.arange(RECORDS) % 2
REPLIES = {
    "equal": np.zeros((SHADOWS, RECORDS)),
    "one record NaN": np.where(np.arange(RECORDS) == 3, np.nan, -1.0) + np.zeros((SHADOWS, 1)),
    "one record infinite": np.where(np.arange(RECORDS) == 3, -np.inf, -1.0)
    + np.zeros((SHADOWS, 1)),
    "all NaN": np.full((SHADOWS, RECORDS), np.nan),
    "all NaN but one": np.where(
        np.arange(SHADOWS * RECORDS).reshape(SHADOWS, -1) == 13, -1.0, np.nan
    ),
}


@pytest.mark.parametrize("case", REPLIES)
@pytest.mark.parametrize("name", SHADOW_ATTACKS)
def test_shadow_attacks(name: str, case: str) -> None:
    """A record has a score where all sides have values, whatever its neighbours lack; equal values tie."""
    attack, replies = SHADOW_ATTACKS[name], REPLIES[case]
    shadows = np.repeat(replies[..., None], 3, -1) if attack.statistic == "features" else replies
    scores = attack.score(shadows[0], shadows, DESIGN)
    known = np.isfinite(replies).all(0)
    assert np.array_equal(np.isfinite(scores), known) and np.unique(scores[known]).size <= 1
    assert np.isnan(attack.score(np.full_like(shadows[0], np.nan), shadows, DESIGN)).all()


def said(*logp: float) -> TokenStats:
    n = len(logp)
    return TokenStats(
        ids_T=np.zeros(n, np.int32),
        logp_T=np.array(logp, np.float32),
        mean_T=np.full(n, -1, np.float32),
        var_T=np.zeros(n, np.float32),
        rank_T=np.zeros(n, np.int32),
        greedy_T=np.ones(n, bool),
    )


@pytest.mark.parametrize("member", [sides(40, 40), sides(1, 79)], ids=["half", "one"])
@pytest.mark.parametrize("name", FITTED_ATTACKS)
def test_fitted_attacks(name: str, member: Array) -> None:
    score, fold = FITTED_ATTACKS[name].score, np.arange(80) % 5
    equal = score([said(-1.0, -1.0)] * 80, ["a text"] * 80, member, fold)
    assert np.isfinite(equal).all() and np.unique(equal).size == 1
    for nothing in (said(), said(math.nan), said(-math.inf)):
        assert np.isnan(score([nothing] * 80, [""] * 80, member, fold)).all()
