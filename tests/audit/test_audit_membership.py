"""Scores become AUCs and rates with intervals; nothing is flipped, dropped or invented on the way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stillage.audit.attacks import ATTACKS
from stillage.audit.membership import Audited, blind_rows, by_model_and_attack, membership_results, score_table
from stillage.types import Result, TokenStats

BASE = Result(run="r", stage="audit", model="", metric="", value=math.nan, seed=3)


def stats(logp: list[float]) -> TokenStats:
    logp_T = np.array(logp, dtype=np.float32)
    return TokenStats(
        ids_T=np.arange(len(logp), dtype=np.int32), logp_T=logp_T, mean_T=logp_T - 1, var_T=np.ones_like(logp_T),
        rank_T=np.zeros(len(logp), np.int32), greedy_T=np.ones(len(logp), bool),
    )  # fmt: skip


@pytest.fixture
def audited() -> Audited:
    n = 60
    return Audited(
        ids=tuple(f"r{i}" for i in range(2 * n)),
        roles=("private",) * n + ("outsiders",) * n,
        texts=tuple(f"text {i}" for i in range(2 * n)),
        groups=("",) * (2 * n),
    )


@pytest.fixture
def spoken(audited: Audited) -> dict[str, dict[str, TokenStats]]:
    rng = np.random.default_rng(0)
    shift = {"student": 0.8, "student_no_teacher": 0.0}
    return {
        model: {
            id_: stats((rng.normal(size=5) - 3 + by * (role == "private")).tolist())
            for id_, role in zip(audited.ids, audited.roles, strict=True)
        }
        for model, by in shift.items()
    }


def test_results_equal_an_independent_computation(audited: Audited, spoken: dict[str, dict[str, TokenStats]]) -> None:
    table = score_table(audited, spoken, [ATTACKS["loss"], ATTACKS["reference"]], "student_no_teacher")
    assert set(by_model_and_attack(table)) == {
        ("student", "loss"), ("student", "reference"), ("student_no_teacher", "loss"),
    }  # fmt: skip
    results = membership_results(table, fprs=(0.1, 0.01), level=0.95, base=BASE)
    found = {(r.model, r.attack, r.metric, r.note): r for r in results}
    means = [spoken["student"][id_].logp_T.mean() for id_ in audited.ids]
    auc = found["student", "loss", "auc", ""]
    assert auc.value == pytest.approx(roc_auc_score(audited.is_member, means))
    assert auc.low < auc.value < auc.high and auc.n == 120 and auc.seed == 3
    rate = found["student", "loss", "tpr_at_fpr", "fpr=0.1"]
    threshold = sorted(means[60:], reverse=True)[6]  # at most 6 of 60 outsiders lie above it
    assert rate.value == pytest.approx(np.mean(np.array(means[:60]) > threshold)) and rate.n == 60
    assert found["student", "loss", "achieved_fpr", "fpr=0.1"].value == pytest.approx(0.1)


def test_a_rate_that_too_few_outsiders_allow_is_missing_with_its_reason(
    audited: Audited, spoken: dict[str, dict[str, TokenStats]]
) -> None:
    table = score_table(audited, spoken, [ATTACKS["loss"]])
    refused = [r for r in membership_results(table, fprs=(0.01,), level=0.95, base=BASE) if r.metric == "tpr_at_fpr"]
    assert refused and all(math.isnan(r.value) and "refused" in r.note for r in refused)


def test_missing_scores_are_counted_and_an_auc_below_half_stays_there(audited: Audited) -> None:
    scores = np.where(audited.is_member, -1.0, 1.0)
    scores[:7] = np.nan
    table = blind_rows(audited, {"bag": scores})
    found = {r.metric: r for r in membership_results(table, fprs=(), level=0.95, base=BASE)}
    assert found["nan_scores"].value == 7 and found["nan_scores"].n == 120
    assert found["auc"].value == 0.0 and found["auc"].n == 113
