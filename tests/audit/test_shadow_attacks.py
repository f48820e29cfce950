"""Shadow attacks against oracles: one record at a time by scipy, and a Gaussian world whose best attack is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as distributions
from sklearn.metrics import roc_auc_score

from stillage.audit.attacks import SHADOW_ATTACKS
from stillage.audit.attacks.few_shadows import few_shadows, fit_prior
from stillage.audit.attacks.learned import learned_shadow
from stillage.audit.attacks.lira import lira_offline, lira_online
from stillage.audit.attacks.rmia import offline_a, rmia, rmia_offline
from stillage.audit.design import draw_design
from stillage.errors import DataError
from stillage.functional.moments import moments, variances
from stillage.types import Array

FLAT = [name for name, attack in SHADOW_ATTACKS.items() if attack.statistic != "features"]


def world(seed: int, gain: float, n: int = 600, k: int = 8) -> tuple[Array, Array, Array, Array]:
    """Target [n], shadows [k, n], design, members: records of unlike difficulty, and a gain for those a model has met."""
    rng = np.random.default_rng(seed)
    in_KN = draw_design([f"r{i}" for i in range(n)], [""] * n, k, seed)
    member_N = np.arange(n) < n // 2
    hardness_N = rng.normal(-3, 1.5, n)
    shadow_KN = hardness_N + gain * in_KN + 0.3 * rng.normal(size=(k, n))
    return hardness_N + gain * member_N + 0.3 * rng.normal(size=n), shadow_KN, in_KN, member_N


@pytest.fixture
def small() -> tuple[Array, Array, Array]:
    target_N, shadow_KN, in_KN, _ = world(3, 0.5, n=14, k=6)
    return target_N, shadow_KN, in_KN


def test_lira_is_the_ratio_of_two_normal_densities(small: tuple[Array, Array, Array]) -> None:
    target_N, shadow_KN, in_KN = small
    free = {True: 0.0, False: 0.0}
    squares = {True: 0.0, False: 0.0}
    for n in range(14):
        for side in (True, False):
            values = [shadow_KN[k, n] for k in range(6) if in_KN[k, n] == side]
            free[side] += len(values) - 1
            squares[side] += sum((value - sum(values) / len(values)) ** 2 for value in values)
    online, offline = (
        lira_online(target_N, shadow_KN, in_KN),
        lira_offline(target_N, shadow_KN, in_KN),
    )
    for n in range(14):
        mean = {
            side: np.mean([shadow_KN[k, n] for k in range(6) if in_KN[k, n] == side])
            for side in (True, False)
        }
        sd = {side: math.sqrt(squares[side] / free[side]) for side in (True, False)}
        density = {
            side: distributions.norm.logpdf(target_N[n], mean[side], sd[side])
            for side in (True, False)
        }
        assert online[n] == pytest.approx(density[True] - density[False])
        assert offline[n] == pytest.approx((target_N[n] - mean[False]) / sd[False])


def test_with_many_shadows_every_record_has_its_own_variance() -> None:
    _, shadow_KN, in_KN, _ = world(1, 0.5, n=5, k=64)
    own = variances(moments(shadow_KN, in_KN))
    assert own == pytest.approx([shadow_KN[in_KN[:, n], n].var(ddof=1) for n in range(5)])
    few = variances(moments(shadow_KN[:8], in_KN[:8]))
    assert np.ptp(few) == 0


@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_rmia_is_a_count_over_pairs(small: tuple[Array, Array, Array], gamma: float) -> None:
    target_N, shadow_KN, in_KN = small
    q = np.exp(target_N)
    p = np.array(
        [
            (np.exp(shadow_KN[in_KN[:, n], n]).mean() + np.exp(shadow_KN[~in_KN[:, n], n]).mean())
            / 2
            for n in range(14)
        ]
    )
    ratio = q / p
    wanted = [
        np.mean([ratio[n] / ratio[z] >= gamma for z in range(14) if z != n]) for n in range(14)
    ]
    assert rmia(target_N, shadow_KN, in_KN, gamma=gamma) == pytest.approx(wanted)


def test_offline_rmia_chooses_a_on_the_shadows_alone(small: tuple[Array, Array, Array]) -> None:
    target_N, shadow_KN, in_KN = small
    best, chosen = -1.0, -1.0
    for a in np.round(np.arange(0, 1.01, 0.1), 1):
        total = 0.0
        for k in range(6):
            scores = []
            for n in range(14):
                others = [math.exp(shadow_KN[j, n]) for j in range(6) if j != k and not in_KN[j, n]]
                scores.append(shadow_KN[k, n] - math.log(((1 + a) * np.mean(others) + 1 - a) / 2))
            total += float(roc_auc_score(in_KN[k], scores))
        if total > best + 1e-12:
            best, chosen = total, float(a)
    assert offline_a(shadow_KN, in_KN) == chosen
    out = np.array([np.exp(shadow_KN[~in_KN[:, n], n]).mean() for n in range(14)])
    ratio = np.exp(target_N) / (((1 + chosen) * out + 1 - chosen) / 2)
    wanted = [np.mean([ratio[n] >= ratio[z] for z in range(14) if z != n]) for n in range(14)]
    assert rmia_offline(target_N, shadow_KN, in_KN) == pytest.approx(wanted)


def test_few_shadows_is_the_ratio_of_two_predictive_densities(
    small: tuple[Array, Array, Array],
) -> None:
    target_N, shadow_KN, in_KN = small
    found = few_shadows(target_N, shadow_KN, in_KN)
    for n in range(14):
        density = {}
        for side in (True, False):
            prior = fit_prior(moments(shadow_KN, in_KN == side))
            values = shadow_KN[in_KN[:, n] == side, n]
            # the same posterior, one model after the other
            w, f, c, s = prior.weight, prior.freedom, prior.centre, prior.freedom * prior.variance
            for value in values:
                s += w / (w + 1) * (value - c) ** 2
                c, w, f = (w * c + value) / (w + 1), w + 1, f + 1
            density[side] = distributions.t.logpdf(
                target_N[n], f, c, math.sqrt(s / f * (1 + 1 / w))
            )
        assert found[n] == pytest.approx(density[True] - density[False], rel=1e-6, abs=1e-8)


def test_the_prior_finds_what_the_records_were_drawn_from() -> None:
    rng = np.random.default_rng(0)
    n, k, freedom, variance = 20_000, 5, 6.0, 0.5
    variance_N = freedom * variance / rng.chisquare(freedom, n)
    values_KN = rng.normal(-2, 2, n) + np.sqrt(variance_N) * rng.normal(size=(k, n))
    prior = fit_prior(moments(values_KN, np.ones((k, n), bool)))
    assert prior.freedom == pytest.approx(freedom, rel=0.1) and prior.variance == pytest.approx(
        variance, rel=0.05
    )
    assert prior.centre == pytest.approx(-2, abs=0.05)
    assert prior.weight == pytest.approx(variance * freedom / (freedom - 2) / 4, rel=0.1)


@pytest.mark.parametrize("name", FLAT)
def test_planted_members_are_found_about_as_well_as_they_can_be(name: str) -> None:
    aucs, plain = [], []
    for seed in range(3):
        target_N, shadow_KN, in_KN, member_N = world(seed, 0.6)
        scores = SHADOW_ATTACKS[name].score(target_N, shadow_KN, in_KN)
        aucs.append(roc_auc_score(member_N, scores))
        plain.append(roc_auc_score(member_N, target_N))
    best = float(
        distributions.norm.cdf(0.6 / (0.3 * math.sqrt(2)))
    )  # the difficulty and the noise known exactly
    assert best == pytest.approx(0.921, abs=0.001)
    assert best - 0.06 < np.mean(aucs) < best + 0.02
    assert np.mean(aucs) > np.mean(plain) + 0.1  # the loss alone is blinded by difficulty


@pytest.mark.parametrize("name", FLAT)
def test_nothing_learned_is_chance(name: str) -> None:
    aucs = []
    for seed in range(6):
        target_N, shadow_KN, in_KN, member_N = world(seed, 0.0, n=400)
        aucs.append(roc_auc_score(member_N, SHADOW_ATTACKS[name].score(target_N, shadow_KN, in_KN)))
    assert abs(np.mean(aucs) - 0.5) < 3 * 0.029 / math.sqrt(6)


@pytest.mark.parametrize("name", FLAT)
def test_equal_values_say_nothing_and_missing_ones_are_nan(name: str) -> None:
    score = SHADOW_ATTACKS[name].score
    target_N, shadow_KN, in_KN, _ = world(2, 0.5, n=40)
    equal = score(np.full(40, -1.0), np.full((8, 40), -1.0), in_KN)
    assert np.ptp(equal) == 0 and np.isfinite(equal).all()
    target_N[3], shadow_KN[:, 5], shadow_KN[2] = (
        np.nan,
        np.nan,
        np.nan,
    )  # a record, a record, and a whole shadow
    found = score(target_N, shadow_KN, in_KN)
    assert np.isnan(found[[3, 5]]).all()
    rest = np.setdiff1d(np.arange(40), [3, 5])
    assert np.isfinite(found[rest]).all()
    others = np.delete(np.arange(8), 2)  # a shadow without replies is as good as none
    assert found == pytest.approx(score(target_N, shadow_KN[others], in_KN[others]), nan_ok=True)


@pytest.mark.parametrize("name", list(SHADOW_ATTACKS))
def test_bad_input_is_refused(name: str) -> None:
    attack = SHADOW_ATTACKS[name]
    target_N, shadow_KN, in_KN, _ = world(2, 0.5, n=20)
    if attack.statistic == "features":
        target_N, shadow_KN = target_N[:, None], shadow_KN[:, :, None]
    for bad in (
        (target_N[:-1], shadow_KN, in_KN),
        (target_N, shadow_KN[:-1], in_KN),
        (target_N, shadow_KN, in_KN * 1),
    ):
        with pytest.raises(DataError, match="needs the target's value"):
            attack.score(*bad)
    few = 2 * attack.least - 2
    with pytest.raises(DataError, match="or more shadows that met a record"):
        attack.score(target_N, shadow_KN[:few], in_KN[:few])


def test_the_learned_shadow_attack_finds_a_feature_that_only_meeting_moves() -> None:
    rng = np.random.default_rng(0)
    n, k = 300, 6
    in_KN = draw_design([f"r{i}" for i in range(n)], [""] * n, k, 0)
    member_N, aucs = np.arange(n) < n // 2, {}
    for gain in (0.0, 1.0):
        hard_N2 = 3 * rng.normal(size=(n, 2))
        shadow_KN2 = hard_N2 + rng.normal(size=(k, n, 2)) * 0.5
        shadow_KN2[:, :, 1] -= gain * in_KN
        target_N2 = hard_N2 + rng.normal(size=(n, 2)) * 0.5
        target_N2[:, 1] -= gain * member_N
        found = learned_shadow(target_N2, shadow_KN2, in_KN)
        aucs[gain] = roc_auc_score(member_N, found)
        target_N2[4] = np.nan
        assert np.isnan(learned_shadow(target_N2, shadow_KN2, in_KN)[4])
    assert abs(aucs[0.0] - 0.5) < 0.1 and aucs[1.0] > 0.8
