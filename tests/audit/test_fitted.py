"""Attacks that learn from known records: members are found, chance stays chance, and nobody is judged by its own label."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stillage.audit.attacks import FITTED_ATTACKS
from stillage.audit.attacks.learned import FEATURES, learned, token_features
from stillage.audit.attacks.quantile import quantile
from stillage.audit.fitted import fitted_scores, fold_of_records
from stillage.audit.membership import Audited, membership_results
from stillage.audit.scores import Scores
from stillage.functional.stats import auc_interval
from stillage.types import Array, Result, TokenStats

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "while",
    "seven",
    "grey",
    "cats",
    "watch",
]


def said(logp: Array) -> TokenStats:
    return TokenStats(
        ids_T=np.arange(len(logp), dtype=np.int32),
        logp_T=logp.astype(np.float32),
        mean_T=np.full(len(logp), -3, np.float32),
        var_T=np.ones(len(logp), np.float32),
        rank_T=np.nan_to_num(-logp * 3).astype(np.int32),
        greedy_T=logp > -0.7,
    )


def world(seed: int, gain: float, n: int = 300) -> tuple[list[TokenStats], list[str], Array]:
    """Records whose length decides how well they are predicted, and members who gain on their worst tokens."""
    rng, replies, texts = np.random.default_rng(seed), [], []
    member = rng.permutation(np.arange(n) < n // 2)
    for index in range(n):
        length = int(rng.integers(4, 40))
        logp = -np.abs(rng.normal(1 + 0.05 * length, 1, length))
        replies.append(said(np.minimum(logp + gain * member[index], -1e-3)))
        texts.append(" ".join(rng.choice(WORDS, length)))
    return replies, texts, member


def audited(member: Array, texts: list[str], groups: list[str] | None = None) -> Audited:
    ids = tuple(f"r{index:03d}" for index in range(member.size))
    parts = tuple("private" if one else "nonmembers" for one in member)
    return Audited(
        ids=ids, parts=parts, texts=tuple(texts), groups=tuple(groups or [""] * member.size)
    )


def test_features_are_what_they_say() -> None:
    logp = np.array([-0.5, -2.0, -0.1, -4.0, -1.0])
    found = token_features(said(logp))
    assert found.shape == (FEATURES,)
    assert found[:3] == pytest.approx([logp.mean(), logp.std(), -4.0], rel=1e-6)
    assert found[7:10] == pytest.approx(
        [3 + logp.mean(), -1.0, -1.0], rel=1e-6
    )  # mean -3, variance 1
    assert found[-4:] == pytest.approx([2 / 5, 3.0, 0.0, np.log(5)], rel=1e-6)
    assert (
        np.isnan(token_features(said(np.zeros(0)))).all()
        and np.isnan(token_features(said(np.array([np.nan])))).all()
    )
    assert np.isfinite(token_features(said(np.array([-1.0])))).all()


@pytest.mark.parametrize("name", list(FITTED_ATTACKS))
def test_planted_members_are_found_and_chance_stays_chance(name: str) -> None:
    aucs: dict[float, list[float]] = {0.0: [], 0.6: []}
    plain: list[float] = []
    for gain, found in aucs.items():
        for seed in range(4):
            replies, texts, member = world(seed, gain)
            fold = fold_of_records(audited(member, texts), seed)
            plain.append(float(roc_auc_score(member, [reply.logp_T.mean() for reply in replies])))
            found.append(
                float(
                    roc_auc_score(member, FITTED_ATTACKS[name].score(replies, texts, member, fold))
                )
            )
    assert abs(np.mean(aucs[0.0]) - 0.5) < 3 * 0.04 / 2 and np.mean(aucs[0.6]) > 0.85
    assert np.mean(aucs[0.6]) > np.mean(plain[4:]) + 0.03  # lengths are seen through


@pytest.mark.parametrize("name", list(FITTED_ATTACKS))
def test_a_record_is_not_judged_by_its_own_label(name: str) -> None:
    """Turning the labels of one fold changes no order within that fold."""
    replies, texts, member = world(1, 0.6, n=200)
    fold = fold_of_records(audited(member, texts), 1)
    score = FITTED_ATTACKS[name].score
    before, inside = score(replies, texts, member, fold), fold == 2
    after = score(replies, texts, member ^ inside, fold)
    assert after[inside] == pytest.approx(before[inside]) and not np.allclose(
        after[~inside], before[~inside]
    )


def test_missing_replies_are_nan_and_change_nothing_else() -> None:
    replies, texts, member = world(2, 0.6, n=120)
    fold = fold_of_records(audited(member, texts), 2)
    replies[7] = said(np.array([np.nan, -1.0]))
    for name, attack in FITTED_ATTACKS.items():
        scores = attack.score(replies, texts, member, fold)
        assert np.isnan(scores[7]) and np.isfinite(np.delete(scores, 7)).all(), name


def test_with_too_few_records_nothing_is_learned() -> None:
    replies, texts, member = world(3, 0.6, n=6)
    assert (learned(replies, texts, member, np.zeros(6, int)) == 0.5).all()
    assert np.isnan(quantile(replies, texts, member, np.arange(6) % 2)).all()


def test_equal_replies_say_nothing() -> None:
    replies, texts, member = (
        [said(np.array([-1.0, -2.0]))] * 100,
        ["the same words"] * 100,
        np.arange(100) % 2 == 0,
    )
    fold = fold_of_records(audited(member, texts), 0)
    for attack in FITTED_ATTACKS.values():
        scores = attack.score(replies, texts, member, fold)
        assert all(np.ptp(scores[fold == number]) < 1e-9 for number in range(5))


def test_rows_and_intervals_know_folds_and_groups() -> None:
    replies, texts, member = world(4, 0.3)
    groups = [f"g{index}" if index < 40 else "" for index in np.repeat(np.arange(150), 2)]
    about = audited(member, texts, groups)
    fold = fold_of_records(about, 4)
    assert all(
        len({fold[i] for i, group in enumerate(groups) if group == name}) == 1
        for name in set(groups) - {""}
    )
    by_id = dict(zip(about.ids, replies, strict=True))
    table = fitted_scores(about, {"student": by_id}, list(FITTED_ATTACKS.values()), 4)
    base = Result(run="", stage="audit", model="", metric="", value=0.0)
    found = {
        row.attack: row
        for row in membership_results(table, fprs=(0.1,), level=0.95, base=base)
        if row.metric == "auc"
    }
    width: dict[str, float] = {}
    for name in FITTED_ATTACKS:
        scored = Scores(table).of("student", name)
        plain, row = (
            auc_interval(scored.scores, scored.is_member, clusters=scored.clusters),
            found[name],
        )
        assert row.value == pytest.approx(plain.value) and row.n == 300
        width[name] = (row.high - row.low) / (plain.high - plain.low)
    assert width["learned"] > 1.3 and width["quantile"] == pytest.approx(1)
