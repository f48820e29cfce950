"""What shadow replies become: statistics, scores with what was left out, memorization with counts and intervals."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from stillage.audit.attacks import SHADOW_ATTACKS
from stillage.audit.design import draw_design
from stillage.audit.membership import Audited
from stillage.audit.scores import Scores
from stillage.audit.shadow import Kept, confidence, counterfactual_rows, keep, shadow_scores
from stillage.functional.readings import first_tokens
from stillage.types import Array, Result, TokenStats

BASE = Result(run="", stage="audit", model="", metric="", value=math.nan, seed=3)
N = 60
ATTACKS = list(SHADOW_ATTACKS.values())


def audited() -> Audited:
    ids = tuple(f"r{index:02d}" for index in range(N))
    return Audited(
        ids=ids,
        parts=("private",) * (N // 2) + ("nonmembers",) * (N // 2),
        texts=ids,
        groups=("",) * N,
    )


def kept(log_probability: Array, features: int = 3) -> Kept:
    rng = np.random.default_rng(0)
    extra = rng.normal(size=(N, features - 1)) * 0.01
    return Kept(
        log_probability=log_probability,
        features=np.column_stack([log_probability, extra]),
        token_accuracy=np.round(np.clip(1 + log_probability / 5, 0, 1), 1),
    )


def pipelines(
    k: int, gain: dict[str, float]
) -> tuple[Array, dict[str, list[Kept]], dict[str, Kept]]:
    rng = np.random.default_rng(1)
    in_KN = draw_design(audited().ids, audited().groups, k, 3)
    hard_N = rng.normal(-3, 0.5, N)
    memory_N = rng.exponential(
        1, N
    )  # how much each record is memorized, by teacher and student alike
    shadows = {
        kind: [kept(hard_N + by * memory_N * met + 0.05 * rng.normal(size=N)) for met in in_KN]
        for kind, by in gain.items()
    }
    targets = {
        kind: kept(hard_N + by * memory_N * audited().is_member + 0.05 * rng.normal(size=N))
        for kind, by in gain.items()
    }
    return in_KN, shadows, targets


def test_confidence_is_the_logit_of_the_mean_probability() -> None:
    logp = np.array([-5.0, -0.7, -0.01, -1e-12, 0.0, np.nan, -np.inf])
    q = np.exp(logp[:3])
    found = confidence(logp)
    assert found[:3] == pytest.approx(np.log(q / (1 - q)))
    assert (
        found[3] == found[4] == pytest.approx(math.log(1 / 1e-7), rel=1e-3)
    )  # capped, not infinite
    assert np.isnan(found[5]) and found[6] == -np.inf


def test_what_is_kept_of_a_reply() -> None:
    logp = np.array([-0.5, -2.0], np.float32)
    said = TokenStats(
        ids_T=np.arange(2, dtype=np.int32),
        logp_T=logp,
        mean_T=logp - 1,
        var_T=np.ones(2, np.float32),
        rank_T=np.array([0, 4], np.int32),
        greedy_T=np.array([True, False]),
    )
    nothing = first_tokens(said, 0)
    found = keep([said, nothing])
    assert found.log_probability[0] == -1.25 and found.token_accuracy[0] == 0.5
    assert (
        np.isnan(found.log_probability[1])
        and np.isnan(found.token_accuracy[1])
        and np.isnan(found.features[1]).all()
    )
    assert (
        found.statistic("features").shape == (2, 20)
        and found.statistic("log_probability")[0] == -1.25
    )


def test_every_attack_on_every_target_and_what_is_left_out_says_why() -> None:
    in_KN, shadows, targets = pipelines(8, {"student": 0.5})
    table, left_out = shadow_scores(
        audited(),
        targets | {"student_no_teacher": targets["student"]},
        shadows["student"],
        in_KN,
        ATTACKS,
    )
    assert (
        not left_out
        and len(Scores(table).pairs) == 2 * len(ATTACKS)
        and table.num_rows == 2 * N * len(ATTACKS)
    )
    for model, attack in Scores(table).pairs:
        scored = Scores(table).of(model, attack)
        assert scored.auc(0.95).value > 0.9, (model, attack)
    table, left_out = shadow_scores(audited(), targets, shadows["student"][:2], in_KN[:2], ATTACKS)
    assert set(Scores(table).pairs) == {("student", "rmia")}
    assert {entry.attack for entry in left_out} == set(SHADOW_ATTACKS) - {"rmia"}
    assert all(
        "needs 4 shadow pipelines" in entry.why and "there are 2" in entry.why for entry in left_out
    )


def test_a_shadow_that_says_nothing_is_told(caplog: pytest.LogCaptureFixture) -> None:
    in_KN, shadows, targets = pipelines(8, {"student": 0.5})
    shadows["student"][4] = kept(np.full(N, np.nan))
    with caplog.at_level(logging.WARNING, logger="stillage"):
        table, _ = shadow_scores(audited(), targets, shadows["student"], in_KN, ATTACKS)
    assert "[5]" in caplog.text
    assert all(Scores(table).of(*pair).dropped == 0 for pair in Scores(table).pairs)


def test_a_target_that_read_a_record_otherwise_is_not_compared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    in_KN, shadows, targets = pipelines(8, {"student": 1.0})
    alike = tuple(range(N))
    read = [replace(one, read=alike) for one in shadows["student"]]
    cut = {"student": replace(targets["student"], read=(-1, *alike[1:]))}
    with caplog.at_level("WARNING"):
        table, _ = shadow_scores(audited(), cut, read, in_KN, ATTACKS)
    assert f"student read 1 of {N} records as other tokens than the shadows" in caplog.text
    missing = np.isnan(table.column("score").to_numpy().reshape(len(ATTACKS), N))
    assert missing[:, 0].all() and not missing[:, 1:].any()


def test_memorization_is_in_minus_out_and_student_follows_teacher() -> None:
    in_KN, shadows, _ = pipelines(8, {"teacher": 1.0, "student": 0.5})
    table, results = counterfactual_rows(audited(), shadows, in_KN, level=0.95, base=BASE)
    rows = table.to_pandas()
    found = rows[(rows.model == "teacher") & (rows.metric == "log_probability")].set_index("id")
    values = np.array([one.log_probability for one in shadows["teacher"]])
    for index, id_ in enumerate(audited().ids):
        met = in_KN[:, index]
        row = found.loc[id_]
        assert row.memorization == pytest.approx(
            values[met, index].mean() - values[~met, index].mean()
        )
        assert row.n_in == row.n_out == 4 and row.low <= row.memorization <= row.high
    means = {
        (row.model, row.unit): row for row in results if row.metric == "counterfactual_memorization"
    }
    assert (
        means["teacher", "log_probability"].value
        > 1.5 * means["student", "log_probability"].value
        > 0.3
    )
    assert (
        means["student", "log_probability"].low > 0
        and means["student", "log_probability"].shadows == 8
    )
    ranks = {row.unit: row for row in results if row.metric == "counterfactual_spearman"}
    assert ranks["log_probability"].low > 0.8 and ranks["log_probability"].n == N
    again = counterfactual_rows(audited(), shadows, in_KN, level=0.95, base=BASE)[1]
    assert again == results


def test_records_that_a_shadow_cannot_judge_are_counted() -> None:
    in_KN, shadows, _ = pipelines(4, {"teacher": 1.0})
    shadows["teacher"][1].log_probability[:7] = np.nan
    table, results = counterfactual_rows(audited(), shadows, in_KN, level=0.95, base=BASE)
    lost = [row for row in results if row.metric == "nan_scores"]
    assert [(row.value, row.n, row.unit) for row in lost] == [(7, N, "log_probability")]
    assert table.num_rows == N + N - 7 and not any(
        row.metric == "counterfactual_spearman" for row in results
    )
