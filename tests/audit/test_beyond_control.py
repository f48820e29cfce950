"""Rows that compare models with their controls: AUC, share found, share recited; a false alarm is rare where all is shared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.beyond_control import beyond_control_results
from stillage.types import Array, Result

BASE = Result(run="r", stage="audit", model="", metric="", value=0.0, seed=1)


def score_rows(scores: dict[str, Array], member: Array, group: list[str] | None = None) -> pa.Table:
    """audit/scores.parquet of one attack."""
    n = member.size
    ids, parts = (
        [f"{i:05d}" for i in range(n)],
        ["private" if one else "nonmembers" for one in member],
    )
    groups = [""] * n if group is None else group
    tables = [
        pa.table(
            {
                "model": [model] * n,
                "id": ids,
                "part": parts,
                "group": groups,
                "attack": ["loss"] * n,
                "score": values,
            }
        )
        for model, values in scores.items()
    ]
    return pa.concat_tables(tables)


def recital_rows(exact: dict[str, Array], member: Array) -> pa.Table:
    """audit/extraction.parquet: what the report reads of it."""
    n = member.size
    ids, parts = (
        [f"{i:05d}" for i in range(n)],
        ["private" if one else "nonmembers" for one in member],
    )
    return pa.concat_tables(
        [
            pa.table(
                {"model": [model] * n, "id": ids, "part": parts, "exact": said, "tokens": [3] * n}
            )
            for model, said in exact.items()
        ]
    )


def planted(rng: np.random.Generator, n: int = 600) -> tuple[dict[str, Array], Array]:
    """A student that finds a tenth of the members; a counterfactual and a student without teacher that find nobody."""
    member = np.arange(2 * n) < n
    hard = rng.normal(size=2 * n)
    scores = {
        name: 0.7 * hard + 0.7 * rng.normal(size=2 * n)
        for name in ("student", "student_counterfactual", "student_no_teacher")
    }
    scores["student"] = np.where(member & (rng.random(2 * n) < 0.1), 6.0, scores["student"])
    return scores, member


def test_every_control_of_a_model_has_its_rows_and_the_pair_that_is_elsewhere_is_not_repeated() -> (
    None
):
    scores, member = planted(np.random.default_rng(3))
    exact = {name: np.zeros(member.size, bool) for name in scores}
    exact["student"][:20] = True
    rows = beyond_control_results(
        score_rows(scores, member),
        recital_rows(exact, member),
        fprs=(0.1, 0.01),
        level=0.95,
        base=BASE,
    )
    assert {row.model for row in rows} == {"student"}
    assert [row.against for row in rows if row.metric == "auc_beyond_control"] == [
        "student_no_teacher"
    ]
    tails = [row for row in rows if row.metric == "tpr_beyond_control"]
    assert len(tails) == 4 and {row.fpr for row in tails} == {0.1, 0.01}
    at_one = [row for row in tails if row.fpr == 0.01]
    assert all(row.low > 0 and row.p_adjusted < 0.001 and row.n == 600 for row in at_one)
    recited = [row for row in rows if row.metric == "extraction_beyond_control"]
    assert len(recited) == 2 and all(
        row.value == pytest.approx(20 / 600) and row.low > 0 for row in recited
    )


def test_a_model_above_one_control_and_not_above_the_other_has_it_said() -> None:
    scores, member = planted(np.random.default_rng(4))
    scores["student_no_teacher"] = scores["student"] + 0.01 * np.random.default_rng(5).normal(
        size=member.size
    )
    exact = {name: member & (np.arange(member.size) < 30) for name in scores}
    rows = beyond_control_results(
        score_rows(scores, member), recital_rows(exact, member), fprs=(0.01,), level=0.95, base=BASE
    )
    tail = {row.against: row for row in rows if row.metric == "tpr_beyond_control"}
    assert tail["student_counterfactual"].p_adjusted < 0.01
    assert tail["student_no_teacher"].p_adjusted > 0.05
    assert all(row.p_adjusted > 0.05 for row in rows if row.metric == "extraction_beyond_control")


def test_a_teacher_is_compared_with_its_counterfactual_and_a_lone_model_with_nobody() -> None:
    scores, member = planted(np.random.default_rng(6), n=100)
    named = {
        "teacher": scores["student"],
        "teacher_counterfactual": scores["student_counterfactual"],
    }
    empty = recital_rows({"teacher": np.zeros(member.size, bool)}, member)
    rows = beyond_control_results(
        score_rows(named, member), empty, fprs=(0.1, 0.01), level=0.95, base=BASE
    )
    assert [(row.metric, row.model) for row in rows] == [
        ("auc_beyond_control", "teacher"),
        ("tpr_beyond_control", "teacher"),
    ]
    alone = score_rows({"teacher": scores["student"]}, member)
    assert beyond_control_results(alone, empty, fprs=(0.1,), level=0.95, base=BASE) == []


def test_what_all_models_find_alike_is_rarely_above_both_controls() -> None:
    """5 % of the members are easy texts for every model: at 1 % false alarms each finds more than 1 % of members."""
    rng, member, above, trials = np.random.default_rng(7), np.arange(800) < 400, 0, 40
    exact = recital_rows({"student": np.zeros(member.size, bool)}, member)
    for _ in range(trials):
        hard = rng.normal(size=member.size) + 5 * (member & (rng.random(member.size) < 0.05))
        named = ("student", "student_counterfactual", "student_no_teacher")
        scores = score_rows(
            {name: 0.6 * hard + 0.8 * rng.normal(size=member.size) for name in named}, member
        )
        rows = beyond_control_results(scores, exact, fprs=(0.01,), level=0.95, base=BASE)
        tails = [row for row in rows if row.metric == "tpr_beyond_control"]
        above += all(row.value > 0 and row.p_adjusted <= 0.05 for row in tails)
    assert above <= 2  # 5 % of the trials
