"""Scores become AUCs and rates with intervals; nothing is flipped, dropped or invented on the way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stillage.audit.attacks import ATTACKS
from stillage.audit.membership import (
    Audited,
    blind_rows,
    left_out_results,
    membership_results,
    score_table,
)
from stillage.audit.queries import Responses
from stillage.audit.scores import Scores
from stillage.errors import ConfigError
from stillage.types import Attack, Party, Query, Result, TokenStats

BASE = Result(run="r", stage="audit", model="", metric="", value=math.nan, seed=3)


def stats(logp: list[float]) -> TokenStats:
    logp_T = np.array(logp, dtype=np.float32)
    return TokenStats(
        ids_T=np.arange(len(logp), dtype=np.int32),
        logp_T=logp_T,
        mean_T=logp_T - 1,
        var_T=np.ones_like(logp_T),
        rank_T=np.zeros(len(logp), np.int32),
        greedy_T=np.ones(len(logp), bool),
    )


def reply(said: Responses, id_: str) -> TokenStats:
    found = said.replies["as_is"][id_]
    assert isinstance(found, TokenStats)
    return found


@pytest.fixture
def audited() -> Audited:
    n = 60
    return Audited(
        ids=tuple(f"r{i}" for i in range(2 * n)),
        parts=("private",) * n + ("nonmembers",) * n,
        texts=tuple(f"text {i}" for i in range(2 * n)),
        groups=("",) * (2 * n),
    )


@pytest.fixture
def spoken(audited: Audited) -> dict[str, Responses]:
    rng = np.random.default_rng(0)
    shift = {"student": 0.8, "student_no_teacher": 0.0}
    return {
        model: Responses(
            replies={
                "as_is": {
                    id_: stats((rng.normal(size=5) - 3 + by * (part == "private")).tolist())
                    for id_, part in zip(audited.ids, audited.parts, strict=True)
                }
            }
        )
        for model, by in shift.items()
    }


def test_results_equal_an_independent_computation(
    audited: Audited, spoken: dict[str, Responses]
) -> None:
    partners: dict[str, dict[Party, str]] = {
        model: {"reference": "student_no_teacher"} for model in spoken
    }
    table, left_out = score_table(
        audited, spoken, [ATTACKS["loss"], ATTACKS["reference"]], partners
    )
    assert not left_out  # a model is not compared with itself, which is no loss
    assert set(Scores(table).pairs) == {
        ("student", "loss"),
        ("student", "reference"),
        ("student_no_teacher", "loss"),
    }
    results = membership_results(table, fprs=(0.1, 0.01), level=0.95, base=BASE)
    found = {(r.model, r.attack, r.metric, 0.0 if math.isnan(r.fpr) else r.fpr): r for r in results}
    means = [reply(spoken["student"], id_).logp_T.mean() for id_ in audited.ids]
    auc = found["student", "loss", "auc", 0.0]
    assert auc.value == pytest.approx(roc_auc_score(audited.is_member, means))
    assert auc.low < auc.value < auc.high and auc.n == 120 and auc.seed == 3
    rate = found["student", "loss", "tpr_at_fpr", 0.1]
    threshold = sorted(means[60:], reverse=True)[6]  # at most 6 of 60 nonmembers lie above it
    assert rate.value == pytest.approx(np.mean(np.array(means[:60]) > threshold)) and rate.n == 60
    assert found["student", "loss", "achieved_fpr", 0.1].value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("score", "said"),
    [(None, "NoneType"), ("high", "str"), (np.zeros(5), r"ndarray of shape \(5,\)")],
)
def test_an_attack_that_gives_no_number_is_named(
    audited: Audited, spoken: dict[str, Responses], score: object, said: str
) -> None:
    """A user's own may return anything; a number in whatever type is taken."""
    mine = replace(ATTACKS["loss"], name="mine", score=lambda stats: score)
    with pytest.raises(ConfigError, match=rf"The attack mine gave no number(.|\n)*{said}"):
        score_table(audited, spoken, [mine], {"student": {}})
    for number in (np.float32(2), np.array(2.0), 2, True):
        fine = replace(mine, score=lambda stats, number=number: number)
        table, _ = score_table(audited, spoken, [fine], {"student": {}})
        assert set(table.column("score").to_pylist()) == {float(number)}


def test_a_rate_that_too_few_nonmembers_allow_is_missing_with_its_reason(
    audited: Audited, spoken: dict[str, Responses]
) -> None:
    table, _ = score_table(audited, spoken, [ATTACKS["loss"]], {"student": {}})
    refused = [
        r
        for r in membership_results(table, fprs=(0.01,), level=0.95, base=BASE)
        if r.metric == "tpr_at_fpr"
    ]
    assert refused and all(math.isnan(r.value) and r.reason for r in refused)
    assert all((r.n_nonmembers, r.needed) == (60, 300) for r in refused)


def test_missing_scores_are_counted_and_an_auc_below_half_stays_there(audited: Audited) -> None:
    scores = np.where(audited.is_member, -1.0, 1.0)
    scores[:7] = np.nan
    table = blind_rows(audited, {"bag": scores})
    found = {r.metric: r for r in membership_results(table, fprs=(), level=0.95, base=BASE)}
    assert found["nan_scores"].value == 7 and found["nan_scores"].n == 120
    assert found["auc"].value == 0.0 and found["auc"].n == 113


def test_what_cannot_be_run_is_left_out_with_its_reason(
    audited: Audited, spoken: dict[str, Responses], caplog: pytest.LogCaptureFixture
) -> None:
    names = (
        "loss",
        "reference",
        "reference_per_byte",
        "reference_counterfactual",
        "reference_init",
        "neighbour",
        "mope",
    )
    said = {
        "student": Responses(
            replies=spoken["student"].replies, unasked={"neighbours": "there is no masked model"}
        ),
        "other": Responses(
            replies={"as_is": {id_: stats([-1.0] * 3) for id_ in audited.ids}}
        ),  # another tokenizer
    }
    table, left_out = score_table(
        audited, said, [ATTACKS[name] for name in names], {"student": {"reference": "other"}}
    )
    assert set(Scores(table).pairs) == {
        ("student", "loss"),
        ("student", "reference_per_byte"),
    }
    why = {entry.attack: entry.why for entry in left_out}
    assert set(why) == {
        "reference",
        "reference_counterfactual",
        "reference_init",
        "neighbour",
        "mope",
    }
    assert "120 of 120 records as other tokens (use reference_per_byte)" in why["reference"]
    assert why["neighbour"] == "there is no masked model" and "noise was not asked" in why["mope"]
    rows = left_out_results(left_out, BASE)
    assert {(row.metric, row.reason) for row in rows} == {
        ("left_out", text) for text in why.values()
    }
    assert all(math.isnan(row.value) for row in rows) and "left out on student" in caplog.text


def test_a_record_without_a_reply_has_no_score_and_is_counted(
    audited: Audited, spoken: dict[str, Responses]
) -> None:
    late = dict(list(spoken["student"].replies["as_is"].items())[5:])
    attack = Attack(
        name="late",
        paper="-",
        access="logprob",
        queries=(Query(party="target", transform="lowercase"),),
        score=lambda reply: float(reply.logp_T.mean()),
    )
    table, _ = score_table(
        audited, {"student": Responses(replies={"lowercase": late})}, [attack], {"student": {}}
    )
    results = membership_results(table, fprs=(), level=0.95, base=BASE)
    assert [(r.value, r.n) for r in results if r.metric == "nan_scores"] == [(5, 120)]
