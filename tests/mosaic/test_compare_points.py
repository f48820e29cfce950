"""The table of points: curves found, canaries in common, means, and what is left out is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from stillage.functional.delong import auc_interval
from stillage.functional.equivalence import FLAGS, exact_duplicate_equivalent
from stillage.functional.equivalence_intervals import rho_intervals
from stillage.functional.means import share_interval
from stillage.mosaic.compare_points import compare_points, point_results
from stillage.mosaic.condition import Condition, ExperimentPoint
from stillage.mosaic.condition_means import ConditionTables
from stillage.mosaic.kinds import Replacement
from stillage.mosaic.table_columns import ANSWERS, LEDGER, POINTS, SCORES, VARIATIONS, table_schema
from stillage.rng import generator
from stillage.types import Array, Result

N, MEMBERS, CANARIES = 3, 12, 24
NEAR = Condition(near=N - 1, kind=Replacement(replaced=5))
POINT = ExperimentPoint(condition=NEAR, series="masked", x=5)
EXACT = [Condition(exact=count) for count in range(1, N + 1)]
EFFECTS = {EXACT[0]: 0.3, EXACT[1]: 1.0, EXACT[2]: 2.5, NEAR: 0.8}
IS_MEMBER = np.arange(CANARIES) < MEMBERS


def scores_of(condition: Condition, attack: str) -> Array:
    rng = generator(1, "scores", attack)
    own = generator(1, "own", attack, str(condition)).normal(size=CANARIES)
    return rng.normal(size=CANARIES) + 0.3 * own + EFFECTS.get(condition, 0.0) * IS_MEMBER


def table_of(columns: Mapping[str, str], rows: list[dict]) -> pa.Table:
    empty = dict.fromkeys(columns)
    return pa.Table.from_pylist([empty | row for row in rows], schema=table_schema(columns))


def score_table(condition: Condition, attacks: tuple[str, ...] = ("loss", "ratio")) -> pa.Table:
    rows = [
        {
            "canary": canary,
            "role": "member" if canary < MEMBERS else "nonmember",
            "attack": attack,
            "score": float(scores_of(condition, attack)[canary]),
        }
        for attack in attacks
        for canary in reversed(range(CANARIES))
    ]
    return table_of(SCORES, rows)


def variations(count: int = N) -> pa.Table:
    """One more than is injected; distance 10 canary + variation."""
    rows = [
        {"canary": canary, "variation": number, "piece": 0, "levenshtein": 10 * canary + number}
        | {"indel": 4, "token_jaccard": None if canary == 0 else 0.5}
        for canary in range(MEMBERS)
        for number in range(count)
    ]
    return table_of(VARIATIONS, rows)


def ledger(members: int = MEMBERS) -> pa.Table:
    rows = [
        {"canary": canary, "variation": number, "survived": number != 0}
        for canary in range(members)
        for number in range(-1, N - 1)
    ]
    return table_of(LEDGER, rows)


def answers() -> pa.Table:
    rows = [
        {
            "canary": canary,
            "role": "member" if canary < MEMBERS else "nonmember",
            "bleu": 0.5 if canary < MEMBERS / 2 else 0.25 if canary < MEMBERS else 0.9,
            "edit_similarity": 0.1 * (canary % 3),
        }
        for canary in range(CANARIES)
    ]
    return table_of(ANSWERS, rows)


def found_conditions() -> dict[Condition, ConditionTables]:
    found = {
        condition: ConditionTables(stage=f"exact_{condition.exact}", scores=score_table(condition))
        for condition in EXACT
    }
    found[NEAR] = ConditionTables(
        stage="replace_5",
        scores=score_table(NEAR),
        answers=answers(),
        ledger=ledger(),
        variations=variations(),
    )
    return found


def compared(
    found: Mapping[Condition, ConditionTables], points: tuple[ExperimentPoint, ...] = (POINT,)
) -> list[dict]:
    table = compare_points("replacement", points, found, copies=N, level=0.9, resamples=80, seed=4)
    assert table.schema == table_schema(POINTS)
    return table.to_pylist()


def test_a_row_for_each_point_and_attack() -> None:
    points = (POINT, ExperimentPoint(condition=EXACT[2], x=3, label="three"))
    rows = compared(found_conditions(), points)
    assert [(row["condition"], row["attack"], row["x"], row["label"]) for row in rows] == [
        ("replace_5", "loss", 5, ""),
        ("replace_5", "ratio", 5, ""),
        ("exact_3", "loss", 3, "three"),
        ("exact_3", "ratio", 3, "three"),
    ]
    for row, (condition, attack) in zip(
        rows, [(c, a) for c in (NEAR, EXACT[2]) for a in ("loss", "ratio")], strict=True
    ):
        assert (row["experiment"], row["members"], row["nonmembers"]) == ("replacement", 12, 12)
        expected = auc_interval(scores_of(condition, attack), IS_MEMBER, 0.9)
        found = row["auc"], row["auc_low"], row["auc_high"]
        assert found == pytest.approx((expected.value, expected.low, expected.high))
    assert rows[2]["rho"] is None and rows[2]["branch"] is None and rows[2]["flags"] == []


def test_rho_is_that_of_the_points_own_curve() -> None:
    for row in compared(found_conditions()):
        curve = np.stack([scores_of(one, row["attack"]) for one in EXACT])
        one = rho_intervals(
            curve, scores_of(NEAR, row["attack"]), IS_MEMBER, resamples=80, seed=4, level=0.9
        )[0]
        aucs = [auc_interval(scores, IS_MEMBER).value for scores in curve]
        assert row["rho"] == exact_duplicate_equivalent(aucs, row["auc"]).rho
        assert row["copies"] == one.copies.value and row["branch"] == one.published.branch
        assert (row["rho_low"], row["rho_high"]) == (one.rho.low, one.rho.high)
        iso = row["rho_isotonic"], row["rho_isotonic_low"], row["rho_isotonic_high"]
        assert iso == (one.rho_isotonic.value, one.rho_isotonic.low, one.rho_isotonic.high)
        assert row["flags"] == [*one.flags, "copies_lost", "missing_distances"]


def test_a_student_is_read_off_its_own_curve() -> None:
    found = found_conditions()
    for condition, tables in list(found.items()):
        student = replace(condition, method="kd")
        found[student] = replace(tables, scores=score_table(student), stage=f"kd {tables.stage}")
    points = (POINT, ExperimentPoint(condition=replace(NEAR, method="kd"), series="kd"))
    rows = compared(found, points)
    assert rows[0] == compared(found_conditions())[0]
    assert "not_judged" not in rows[0]["flags"]
    assert all("not_judged" in row["flags"] and row["rho"] is not None for row in rows[2:])
    assert {row["condition"] for row in rows[2:]} == {"kd replace_5"}


def test_means_are_over_what_was_injected() -> None:
    row = compared(found_conditions())[0]
    expected = np.mean([10 * canary + number for canary in range(12) for number in range(2)])
    assert row["levenshtein"] == pytest.approx(expected)
    assert row["indel"] == 4 and row["token_jaccard"] == 0.5 and row["damerau"] is None
    assert row["survived"] == pytest.approx(2 / 3)
    mean = share_interval(np.repeat([0.5, 0.25], 6), 0.9)
    assert (row["bleu"], row["bleu_low"]) == pytest.approx((mean.value, mean.low))
    assert row["edit_similarity"] == pytest.approx(0.1)


def test_copies_that_are_not_there_are_flagged_in_the_point_and_its_curve() -> None:
    found = found_conditions()
    whole = ledger().set_column(8, "survived", pa.array([True] * MEMBERS * N))
    found[NEAR] = replace(found[NEAR], ledger=whole)
    assert "copies_lost" not in compared(found)[0]["flags"]
    found[EXACT[2]] = replace(found[EXACT[2]], ledger=ledger())
    assert "copies_lost" in compared(found)[0]["flags"]


def test_canaries_are_those_that_all_conditions_scored() -> None:
    found = found_conditions()
    column = found[EXACT[1]].scores["score"].to_pylist()
    column[0], column[30] = math.nan, None  # canaries 23 and 17: loss, ratio
    scores = found[EXACT[1]].scores
    found[EXACT[1]] = replace(
        found[EXACT[1]], scores=scores.set_column(3, "score", pa.array(column, pa.float64()))
    )
    loss, ratio = compared(found)
    for row, canary in ((loss, 23), (ratio, 17)):
        kept = np.arange(CANARIES) != canary
        auc = auc_interval(scores_of(NEAR, row["attack"])[kept], IS_MEMBER[kept]).value
        assert row["auc"] == pytest.approx(auc)
        assert (row["members"], row["nonmembers"]) == (12, 11)
        assert "missing_scores" in row["flags"]


def test_points_that_lack_different_canaries_are_read_apart() -> None:
    found, points, alone = found_conditions(), [], []
    for place, canary in enumerate((3, 20)):
        condition = replace(NEAR, kind=Replacement(replaced=place + 1))
        scores = score_table(NEAR)
        column = [
            None if number == canary else score
            for number, score in zip(
                *(scores[name].to_pylist() for name in ("canary", "score")), strict=True
            )
        ]
        scores = scores.set_column(3, "score", pa.array(column, pa.float64()))
        found[condition] = replace(found[NEAR], scores=scores)
        points.append(ExperimentPoint(condition=condition))
        alone += compared(found, (points[-1],))
    assert compared(found, tuple(points)) == alone
    assert [row["nonmembers"] for row in alone] == [12, 12, 11, 11]


def test_members_are_those_that_the_documents_hold() -> None:
    found = found_conditions()
    found[NEAR] = replace(found[NEAR], ledger=ledger(5))
    row = compared(found)[0]
    kept = (np.arange(CANARIES) < 5) | ~IS_MEMBER
    assert (row["members"], row["nonmembers"]) == (5, 12)
    assert row["auc"] == pytest.approx(
        auc_interval(scores_of(NEAR, "loss")[kept], IS_MEMBER[kept]).value
    )
    assert row["levenshtein"] == pytest.approx(20.5) and row["bleu"] == 0.5
    assert "some_members" in row["flags"] and "missing_scores" not in row["flags"]


def test_what_cannot_be_compared_is_null_and_said() -> None:
    found = found_conditions()
    del found[EXACT[1]]
    row = compared(found)[0]
    assert row["auc"] is not None and row["rho"] is None and row["copies"] is None
    assert "no_curve" in row["flags"]
    found = found_conditions()
    found[NEAR] = ConditionTables(
        stage="near", scores=score_table(NEAR).filter(IS_MEMBER.tolist() * 2)
    )
    row = compared(found)[0]
    assert row["auc"] is None and row["rho"] is None and 0 in (row["members"], row["nonmembers"])
    assert row["bleu"] is None and row["survived"] is None and row["levenshtein"] is None
    found = found_conditions()
    few = answers().slice(2)
    found[NEAR] = replace(found[NEAR], answers=few)
    assert "missing_answers" in compared(found)[0]["flags"]


def test_results_name_each_number_once() -> None:
    found = found_conditions()
    table = compare_points("replacement", [POINT], found, copies=N, level=0.9, resamples=50, seed=0)
    base = Result(run="r", stage="mosaic", model="", metric="", value=0.0, level=0.9, seed=3)
    results = point_results(table, base)
    names = [(one.metric, one.attack) for one in results]
    assert len(set(names)) == len(names) == 10
    assert ("recital_bleu", "") in names and ("rho_isotonic", "ratio") in names
    row = table.to_pylist()[0]
    rho = next(one for one in results if (one.metric, one.attack) == ("rho", "loss"))
    assert (rho.value, rho.low, rho.high) == (row["rho"], row["rho_low"], row["rho_high"])
    assert (rho.model, rho.dataset) == ("replace_5", "replacement: masked, 5")
    assert (rho.n, rho.n_members, rho.n_nonmembers, rho.level, rho.seed) == (24, 12, 12, 0.9, 3)
    assert FLAGS["missing_distances"] in rho.note and not rho.reason
    none = point_results(
        table.slice(0, 1).set_column(
            table.schema.get_field_index("rho"), "rho", pa.array([None], pa.float64())
        ),
        base,
    )
    assert "rho" not in [one.metric for one in none]
