"""Teacher to student: each statistic against a brute-force count, a simulated coverage, or planted records."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import false_discovery_control, norm, spearmanr

from stillage.audit.group_labels import labels_of, slice_labels
from stillage.audit.inheritance import (
    TAUS,
    found,
    inheritance_curve,
    inheritance_ratio,
    rank_among_nonmembers,
    shares_of,
    spearman,
    tpr_on_leaked,
)
from stillage.audit.inherited import inheritance_results
from stillage.audit.scores import Scored, Scores
from stillage.audit.slices import by_slice, slice_results, with_p
from stillage.data.columns import RecordColumns
from stillage.data.records import read_records
from stillage.errors import DataError
from stillage.functional.binomial import clopper_pearson, clustered_proportion
from stillage.functional.stats import auc_interval, paired_auc_test, roc_auc
from stillage.types import Result

BASE = Result(run="r", stage="audit", model="", metric="", value=0.0, seed=4)
MEMBER = np.arange(400) < 200
tied = arrays(np.int64, 12, elements=st.integers(0, 3))


def scores(
    rng: np.random.Generator, leak: float, common: np.ndarray, member: np.ndarray = MEMBER
) -> np.ndarray:
    return leak * member + 0.6 * common + 0.8 * rng.normal(size=len(member))


def test_the_ratio_is_of_the_advantages_and_its_interval_covers() -> None:
    """Gaussian scores with known AUCs."""
    rng = np.random.default_rng(0)
    member = np.arange(240) < 120
    truth = (norm.cdf(0.7 / math.sqrt(2)) - 0.5) / (norm.cdf(1.5 / math.sqrt(2)) - 0.5)
    covered = 0
    for _ in range(120):
        common = rng.normal(size=240)
        student, teacher = scores(rng, 0.7, common, member), scores(rng, 1.5, common, member)
        ratio = inheritance_ratio(student, teacher, member, rng, n_resamples=200)
        expected = (roc_auc(student, member) - 0.5) / (roc_auc(teacher, member) - 0.5)
        assert ratio.value == pytest.approx(expected) and ratio.n == 240
        covered += ratio.low <= truth <= ratio.high
    assert covered / 120 >= 0.88


@given(student=tied, teacher=tied, seed=st.integers(0, 99))
def test_ties_count_half_in_every_resample(
    student: np.ndarray, teacher: np.ndarray, seed: int
) -> None:
    """The weighted AUC against roc_auc on the repeated records."""
    from stillage.audit.inheritance import _ranked, _weighted_auc

    member = np.arange(12) < 5
    rng = np.random.default_rng(seed)
    count = np.concatenate([rng.multinomial(5, [0.2] * 5), rng.multinomial(7, [1 / 7] * 7)]).astype(
        float
    )
    drawn = np.repeat(np.arange(12), count.astype(int))
    for values in (student, teacher):
        place, places = _ranked(values.astype(float))
        assert _weighted_auc(place, places, member, count) == pytest.approx(
            roc_auc(values[drawn], member[drawn])
        )


def test_nothing_is_inherited_from_a_teacher_at_chance() -> None:
    rng = np.random.default_rng(1)
    ratio = inheritance_ratio(scores(rng, 1, np.zeros(400)), rng.normal(size=400), MEMBER, rng)
    assert math.isnan(ratio.value) and ratio.reason == "teacher at chance"
    same = scores(rng, 1, np.zeros(400))
    whole = inheritance_ratio(same, same, MEMBER, rng, n_resamples=50)
    assert (whole.value, whole.low, whole.high) == (1, 1, 1)


def test_ranks_are_shares_of_nonmembers_below() -> None:
    values, member = np.array([3.0, 0.5, 2.0, 1.0, 2.0, 3.0]), np.array([1, 1, 1, 0, 0, 0], bool)
    np.testing.assert_allclose(
        rank_among_nonmembers(values, member)[:3], [(2 + 0.5) / 3, 0, 1.5 / 3]
    )
    assert rank_among_nonmembers(values, member)[member].mean() == pytest.approx(
        roc_auc(values, member)
    )
    with pytest.raises(DataError):
        rank_among_nonmembers(values, np.ones(6, bool))


def test_the_curve_is_a_conditional_mean() -> None:
    rng = np.random.default_rng(2)
    teacher = np.round(rng.random(300), 2)
    student = np.clip(0.5 * teacher + 0.2 * rng.random(300), 0, 1)
    points = inheritance_curve(teacher, student)
    assert [point.tau for point in points] == list(TAUS)
    for point in points:
        above = student[teacher > point.tau]
        assert point.n == len(above) and point.share == len(above) / 300
        if point.n:
            assert (
                point.value == pytest.approx(above.mean())
                and point.low <= point.value <= point.high
            )
    none = inheritance_curve(np.zeros(5), np.ones(5))[0]
    assert none.n == 0 and math.isnan(none.value)
    for bad in (np.full(300, 1.5), np.full(300, np.nan), np.ones(299)):
        with pytest.raises(DataError):
            inheritance_curve(bad, student)


def test_found_again_is_counted_at_the_nonmembers_thresholds() -> None:
    rng = np.random.default_rng(3)
    common = rng.normal(size=400)
    student, teacher = scores(rng, 1, common), scores(rng, 2, common)

    def above(values: np.ndarray) -> np.ndarray:
        return values > np.sort(values[~MEMBER])[::-1][20]  # 10 % of 200 nonmembers

    leaked = above(teacher) & MEMBER
    both = int((above(student) & leaked).sum())
    share = tpr_on_leaked(student, teacher, MEMBER, 0.1)
    limits = clopper_pearson(both, int(leaked.sum()))
    assert (share.value, share.low, share.high, share.n) == (
        limits.value,
        limits.low,
        limits.high,
        leaked.sum(),
    )
    np.testing.assert_array_equal(found(student, MEMBER, 0.1), above(student))
    nobody = tpr_on_leaked(student, np.where(MEMBER, -9.0, teacher), MEMBER, 0.1)
    assert math.isnan(nobody.value) and nobody.n == 0 and "betrays no member" in nobody.reason
    with pytest.raises(DataError, match="Too few nonmembers"):
        tpr_on_leaked(student, teacher, MEMBER, 0.001)


@given(arrays(bool, (3, 15)))
def test_sets_against_counting(has: np.ndarray) -> None:
    in_t, in_s, in_c = ({i for i in range(15) if row[i]} for row in has)
    shares = shares_of(*has)
    for share, part, whole in (
        (shares.inherited, in_t & in_s, in_t),
        (shares.teacher_specific, (in_t & in_s) - in_c, in_s),
        (shares.easy, in_s & in_c, in_s),
    ):
        assert share.n == len(whole)
        if whole:
            limits = clopper_pearson(len(part), len(whole))
            assert (share.value, share.low, share.high) == (limits.value, limits.low, limits.high)
        else:
            assert math.isnan(share.value) and share.reason


def test_near_duplicates_count_once_in_shares_and_curve() -> None:
    rng = np.random.default_rng(12)
    families = np.repeat(np.arange(100), 4)
    common = np.repeat(rng.normal(size=100), 4)
    student, teacher = scores(rng, 1, common), scores(rng, 2, common)
    plain, fewer = (
        tpr_on_leaked(student, teacher, MEMBER, 0.1, clusters=clusters)
        for clusters in (None, families)
    )
    assert (
        plain.value == fewer.value
        and plain.n == fewer.n
        and fewer.low < plain.low < plain.high < fewer.high
    )
    leaked = found(teacher, MEMBER, 0.1) & MEMBER
    expected = clustered_proportion(found(student, MEMBER, 0.1)[leaked], families[leaked])
    assert (fewer.low, fewer.high) == (expected.low, expected.high)
    has = [np.repeat(rng.random(30) < 0.5, 4) for _ in range(3)]
    alone, together = (
        shares_of(has[0], has[1], has[2], clusters=clusters)
        for clusters in (None, np.repeat(np.arange(30), 4))
    )
    once = shares_of(has[0][::4], has[1][::4], has[2][::4])
    for name in ("inherited", "teacher_specific", "easy"):
        assert (
            getattr(together, name).value
            == getattr(alone, name).value
            == pytest.approx(getattr(once, name).value)
        )
        assert getattr(alone, name).low > getattr(together, name).low
        assert getattr(together, name).low == pytest.approx(getattr(once, name).low, abs=0.02)
    values = np.repeat(rng.random((2, 50)), 4, axis=1)
    point = inheritance_curve(values[0], values[1], clusters=np.repeat(np.arange(50), 4))[0]
    single = inheritance_curve(values[0, ::4], values[1, ::4])[0]
    assert (point.value, point.low, point.high) == pytest.approx(
        (single.value, single.low, single.high)
    )


def test_spearman_agrees_with_scipy_and_its_interval_covers() -> None:
    rng = np.random.default_rng(5)
    rho = 6 / math.pi * math.asin(0.6 / 2)  # of a bivariate normal with correlation 0.6
    covered = 0
    for _ in range(400):
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        result = spearman(x, y)
        covered += result.low <= rho <= result.high
    assert 0.92 <= covered / 400 <= 0.98
    ties = rng.integers(0, 4, (2, 50)).astype(float)
    assert spearman(*ties).value == pytest.approx(spearmanr(*ties).statistic)
    perfect = spearman(np.arange(10.0), np.arange(10.0) ** 3)
    assert (perfect.value, perfect.high) == (1, 1) and 0.9 < perfect.low < 1
    assert math.isnan(spearman(np.ones(5), np.arange(5.0)).value)
    assert math.isnan(spearman(np.arange(3.0), np.arange(3.0)).low)


def test_spearman_counts_near_duplicates_once() -> None:
    """300 records in families of 4 that share 0.8 of both scores' variance; correlation 0.6."""
    rng, rho = np.random.default_rng(15), 6 / math.pi * math.asin(0.6 / 2)
    family, covered, alone = np.arange(300) // 4, 0, 0
    for _ in range(300):
        common, own = rng.normal(size=(2, 75))[:, family], rng.normal(size=(2, 300))
        x, z = math.sqrt(0.8) * common + math.sqrt(0.2) * own
        y = 0.6 * x + 0.8 * z
        together, apart = spearman(x, y, clusters=family), spearman(x, y)
        assert together.value == apart.value
        covered += together.low <= rho <= together.high
        alone += apart.low <= rho <= apart.high
    assert 0.93 <= covered / 300 <= 0.98 and alone / 300 < 0.85
    once, twice = (
        spearman(x, y),
        spearman(np.repeat(x, 2), np.repeat(y, 2), clusters=np.repeat(np.arange(300), 2)),
    )
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high), abs=0.01)
    few = spearman(x, y, clusters=np.arange(300) // 100)
    assert math.isnan(few.low) and "near-duplicates" in few.reason


def scored(values: np.ndarray, n_folds: int = 0) -> Scored:
    return Scored(scores=values, is_member=MEMBER, clusters=np.arange(400), n_folds=n_folds)


def test_slices_are_aucs_within_a_group() -> None:
    rng = np.random.default_rng(6)
    labels = [f"task {i % 3}" for i in range(400)]
    values = scores(rng, 1, np.zeros(400)) + 10 * np.array(
        [i % 3 for i in range(400)]
    )  # groups differ in difficulty
    values[3] = math.nan
    labels[-1] = "task 9"  # a nonmember alone
    base = replace(BASE, model="student")
    rows = {row.dataset: row for row in by_slice(scored(values), np.array(labels), 0.95, base)}
    for name in ("task 0", "task 1", "task 2"):
        chosen = (np.array(labels) == name) & np.isfinite(values)
        expected = auc_interval(values[chosen], MEMBER[chosen])
        row = rows[name]
        assert (row.value, row.low, row.high, row.n) == (
            expected.value,
            expected.low,
            expected.high,
            chosen.sum(),
        )
        assert row.metric == "slice_auc" and row.model == "student"
    assert rows["task 0"].missing == 1
    assert math.isnan(rows["task 9"].value) and "one kind only" in rows["task 9"].reason


def test_labels_of_categories_and_numbers() -> None:
    assert slice_labels(["a", "", "a"], "task") == ["task: a", "task: (none)", "task: a"]
    assert slice_labels(["1", "2", "1"], "copies") == ["copies: 1", "copies: 2", "copies: 1"]
    quarters = slice_labels([str(x) for x in range(100)], "length")
    assert sorted(set(quarters)) == [
        "length: quarter 1 (0 to 24)",
        "length: quarter 2 (25 to 49)",
        "length: quarter 3 (50 to 74)",
        "length: quarter 4 (75 to 99)",
    ]
    many = [f"x{i}" for i in range(40)] + ["often"] * 5
    labels = slice_labels(many, "name")
    assert (
        len(set(labels)) == 20
        and labels.count("name: often") == 5
        and labels.count("name: 22 other values") == 22
    )


def test_length_is_the_columns_value_or_the_words_of_the_response(tmp_path: Path) -> None:
    def rows(*columns: str) -> list[str]:
        texts = ("one two", "one two three")
        lines = [
            {"prompt": f"{n}", "response": text, **dict.fromkeys(columns, 7)}
            for n, text in enumerate(texts)
        ]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
        records = read_records(tmp_path / "a.jsonl", RecordColumns(keep=("length",))).records
        return [
            label for labels in labels_of(records, ["length"]).values() for label in labels.values()
        ]

    assert rows() == ["length: 2", "length: 3"] and rows("length") == ["length: 7"] * 2


def score_rows(planted: dict[str, float], rng: np.random.Generator) -> pa.Table:
    common = rng.normal(size=400)
    rows = []
    for attack in ("loss", "min_k"):
        for model, leak in planted.items():
            values = scores(rng, leak, common)
            order = rng.permutation(400)  # rows are joined by id, not by place
            rows += [
                {
                    "model": model,
                    "id": f"{i:03}",
                    "part": "private" if i < 200 else "nonmembers",
                    "group": "",
                    "attack": attack,
                    "score": float(values[i]),
                }
                for i in order
            ]
    rows += [
        {
            "model": "blind",
            "id": "000",
            "part": "private",
            "group": "",
            "attack": "length",
            "score": 1.0,
        }
    ]
    return pa.Table.from_pylist(rows)


def named(row: Result) -> float | None:
    """The rate or threshold that a row is about; None where it is about neither."""
    return next((x for x in (row.fpr, row.threshold) if not math.isnan(x)), None)


def recital_rows(recited: dict[str, set[int]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "model": model,
                "id": f"{i:03}",
                "part": "private" if i < 200 else "nonmembers",
                "exact": i in known,
                "positional_accuracy": 1.0 if i in known else 0.25,
            }
            for model, known in recited.items()
            for i in range(400)
        ]
    )


PLANTED = {"teacher": 2.0, "student": 1.0, "student_counterfactual": 0.0, "student_no_teacher": 0.0}
RECITED = {
    "teacher": set(range(100)),
    "student": set(range(40)) | {150},
    "student_no_teacher": {0, 1, 150, 399},
}


def test_a_run_becomes_rows() -> None:
    table = score_rows(PLANTED, np.random.default_rng(7))
    results = inheritance_results(
        table, recital_rows(RECITED), fprs=(0.1, 0.001), level=0.95, base=BASE, n_resamples=100
    )
    assert {row.model for row in results} == {"student"} and {row.seed for row in results} == {4}
    floor = [row for row in results if row.dataset == "nonmembers"]
    by = {
        (row.metric, row.attack, named(row)): row for row in results if row.dataset != "nonmembers"
    }
    assert len(by) == len(results) - len(floor) and {row.metric for row in floor} == {
        "inheritance_curve"
    }
    attacks = Scores(table).aligned()
    one = attacks["loss"]
    for attack in ("loss", "min_k"):
        leak = next(
            row for row in results if (row.metric, row.attack) == ("attributable_leak", attack)
        )
        test = paired_auc_test(
            attacks[attack].scores["student"],
            attacks[attack].scores["student_counterfactual"],
            one.is_member,
        )
        assert leak.n == 400
        assert (leak.value, leak.low, leak.high) == pytest.approx(
            (test.difference, test.low, test.high), abs=1e-12
        )
        assert leak.low > 0 and leak.p <= leak.p_adjusted <= 1 and leak.tests == 2
    ratio = by["inheritance", "loss", None]
    assert 0.3 < ratio.low < ratio.value < ratio.high < 1
    assert by["spearman", "loss", None].low > 0 and by["spearman", "loss", None].n == 200
    assert by["tpr_on_leaked", "loss", 0.1].value > 0.3
    assert (
        "tpr_on_leaked",
        "loss",
        0.001,
    ) not in by  # too few nonmembers; the audit shows the refusal
    inherited = by["inherited_rate", "", None]
    assert (inherited.value, inherited.n) == (0.4, 100)
    specific, easy = (by[name, "", None] for name in ("teacher_specific_rate", "easy_rate"))
    assert (specific.value, specific.n) == (
        pytest.approx(38 / 41),
        41,
    ) and easy.value == pytest.approx(3 / 41)
    curve = by["inheritance_curve", "", 0.9]
    assert curve.value == pytest.approx((40 + 60 * 0.25) / 100) and curve.n == 100
    assert by["inheritance_curve", "loss", 0.9].n > 50
    assert sum(row.metric == "inheritance_curve" for row in results) == 2 * 18
    ranked = next(row for row in floor if (row.attack, row.threshold) == ("loss", 0.5))
    member = one.is_member
    ranks = [
        rank_among_nonmembers(one.scores[model], member)[~member]
        for model in ("teacher", "student")
    ]
    assert ranked.n == int((ranks[0] > 0.5).sum()) and ranked.value == pytest.approx(
        ranks[1][ranks[0] > 0.5].mean()
    )
    assert ranked.value < by["inheritance_curve", "loss", 0.5].value


def test_the_leak_by_a_cross_fitted_attack_has_the_wider_interval_of_its_folds() -> None:
    table = score_rows(PLANTED, np.random.default_rng(7))
    names = ["learned" if name == "min_k" else name for name in table.column("attack").to_pylist()]
    twice = [table, table.set_column(table.column_names.index("attack"), "attack", [names])]
    plain, fitted = (
        inheritance_results(
            one, recital_rows(RECITED), fprs=(), level=0.95, base=BASE, n_resamples=20
        )
        for one in twice
    )
    width = {
        row.attack: row.high - row.low
        for rows in (plain, fitted)
        for row in rows
        if row.metric == "attributable_leak"
    }
    assert width["learned"] == pytest.approx(1.5 * width["min_k"])  # sqrt(1 + 5 / 4)


def test_without_teacher_or_controls_only_what_can_be_said_is_said() -> None:
    rng = np.random.default_rng(8)

    def metrics(planted: dict[str, float], recited: dict[str, set[int]]) -> set[str]:
        results = inheritance_results(
            score_rows(planted, rng),
            recital_rows(recited),
            fprs=(0.1,),
            level=0.95,
            base=BASE,
            n_resamples=20,
        )
        return {row.metric for row in results}

    assert metrics({"student": 1.0}, {"student": {1}}) == set()
    pair = metrics({"teacher": 2.0, "student": 1.0}, {"teacher": {1, 2}, "student": {1}})
    assert pair == {
        "inheritance",
        "spearman",
        "tpr_on_leaked",
        "inheritance_curve",
        "inherited_rate",
    }
    assert metrics({"student": 1.0, "student_counterfactual": 0.0}, {"student": {1}}) == {
        "attributable_leak"
    }


def test_records_without_a_score_are_left_out_of_both_and_other_records_are_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = score_rows(PLANTED, np.random.default_rng(9)).to_pylist()
    for row in rows:
        if row["model"] == "student" and row["id"] in ("000", "399"):
            row["score"] = math.nan
        if row["attack"] == "min_k" and row["model"] == "student_counterfactual":
            row["score"] = math.nan
    table = pa.Table.from_pylist(rows)
    with caplog.at_level("WARNING", "stillage"):
        results = inheritance_results(
            table, recital_rows(RECITED), fprs=(), level=0.95, base=BASE, n_resamples=20
        )
    leaks = [row for row in results if row.metric == "attributable_leak"]
    assert [(row.attack, row.n) for row in leaks] == [("loss", 398)]
    assert "not compared" in caplog.text
    with pytest.raises(DataError, match="different records"):
        Scores(pa.Table.from_pylist(rows[1:])).aligned()


def test_groups_are_adjusted_for_their_number() -> None:
    rng = np.random.default_rng(12)
    labels = [f"task: {i % 8}" for i in range(400)]
    values = rng.normal(size=400) + 1.2 * MEMBER * (np.arange(400) % 8 == 3)
    rows = by_slice(scored(values), np.array([*labels[:-1], "alone"]), 0.95, BASE)
    found = {row.dataset: row for row in with_p(rows)}
    assert math.isnan(found["alone"].p) and "one kind only" in found["alone"].reason
    plain = {name: row.p for name, row in found.items() if name != "alone"}
    adjusted = {name: row.p_adjusted for name, row in found.items() if name != "alone"}
    assert list(adjusted.values()) == pytest.approx(
        false_discovery_control(list(plain.values())).tolist()
    )
    assert all(row.tests == 8 for name, row in found.items() if name != "alone")
    assert (
        min(adjusted, key=lambda name: adjusted[name]) == "task: 3" and adjusted["task: 3"] < 0.01
    )
    assert min(p for name, p in adjusted.items() if name != "task: 3") > 0.05
    folds = by_slice(scored(values, n_folds=5), np.array(labels), 0.95, BASE)
    fitted = next(row for row in folds if row.dataset == "task: 3")
    assert fitted.low < found["task: 3"].low


def test_every_model_is_sliced_under_its_first_attack() -> None:
    table = score_rows(PLANTED, np.random.default_rng(11))
    ids = [f"{i:03}" for i in range(400)]
    tasks = {id_: f"task: {i % 2}" for i, id_ in enumerate(ids)}
    labels = {"task": tasks, "length": dict.fromkeys(ids, "length: long")}
    rows = slice_results(table, labels, level=0.9, base=BASE)
    assert {row.model for row in rows} == {*PLANTED, "blind"}
    student = {
        row.dataset: row for row in rows if row.model == "student" and row.metric == "slice_auc"
    }
    assert set(student) == {"task: 0", "task: 1", "length: long"} and {
        row.attack for row in student.values()
    } == {"loss"}
    one = Scores(table).aligned()["loss"]
    assert student["length: long"].value == pytest.approx(
        roc_auc(one.scores["student"], one.is_member)
    )
    assert slice_results(table, {}, level=0.9, base=BASE) == []
