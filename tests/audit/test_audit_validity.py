"""Planted faults are each caught, honest splits are not refused, and a verdict survives JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from stillage.audit.attacks.reference import reference
from stillage.audit.blind import BLIND, N_FOLDS, blind_scores, stratified_folds
from stillage.audit.controls import Control, check_controls
from stillage.audit.duplicates import check_overlap
from stillage.audit.scores import Scored
from stillage.audit.validity import (
    Check,
    chance_p,
    check_order,
    check_provenance,
    check_records,
    check_sources,
    check_truncation,
    judge,
)
from stillage.corpus.near_copies import near_across
from stillage.errors import DataError
from stillage.functional.stats import Interval, auc_interval, roc_auc
from stillage.rng import generator
from stillage.types import TokenStats

SHIFT = "cannot tell leakage from a difference of the groups"
WORDS = np.array(
    [
        f"{a}{b}"
        for a in ("bar", "cor", "den", "fel", "gor", "hin", "jul", "kar")
        for b in "aeiouxyz"
    ]
)


def texts(rng: np.random.Generator, n: int, n_words: int = 15) -> list[str]:
    return [" ".join(rng.choice(WORDS, n_words + int(rng.integers(0, 5)))) for _ in range(n)]


def blind(scores: np.ndarray, is_member: np.ndarray, clusters: np.ndarray | None = None) -> Control:
    own = np.arange(is_member.size) if clusters is None else clusters
    scored = Scored(scores=scores, is_member=is_member, clusters=own, n_folds=N_FOLDS)
    return Control(family="blind", scored=scored)


def model(scores: np.ndarray, is_member: np.ndarray) -> Control:
    scored = Scored(scores=scores, is_member=is_member, clusters=np.arange(is_member.size))
    return Control(family="trained", scored=scored)


def controls(all_texts: list[str], is_member: np.ndarray, seed: int = 0) -> Check:
    found = blind_scores(all_texts, is_member, seed)
    return check_controls({name: blind(scores, is_member) for name, scores in found.items()})


PARTS = {
    **{f"private{i}": "private" for i in range(9)},
    **{f"public{i}": "public" for i in range(9)},
    **{f"nonmembers{i}": "nonmembers" for i in range(9)},
    **{f"counterfactual{i}": "counterfactual" for i in range(9)},
    **{f"test{i}": "test" for i in range(3)},
    **{f"validation{i}": "validation" for i in range(3)},
}


def ids(part: str) -> list[str]:
    return [id_ for id_, its_role in PARTS.items() if its_role == part]


HONEST = {
    "tokenizer": ids("public"),
    "teacher": ids("private") + ids("validation"),
    "teacher_counterfactual": ids("counterfactual"),
    "student": ids("public") + ids("validation"),
    "student_rollouts": ids("public"),
    "student_no_teacher": ids("public"),
}


def test_an_honest_run_passes_the_provenance_check() -> None:
    found = check_provenance(HONEST, PARTS)
    assert found.passed and found.values["records in teacher"] == 12


@pytest.mark.parametrize(
    ("stage", "id_", "told"),
    [
        ("student", "private3", "1 private in student"),
        (
            "student_rollouts",
            "private3",
            "1 private in student_rollouts",
        ),  # private prompts in the rollouts
        ("tokenizer", "private3", "1 private in tokenizer"),
        ("student_no_teacher", "private3", "1 private in student_no_teacher"),
        ("teacher", "nonmembers0", "1 nonmembers in teacher"),
        ("student", "nonmembers0", "1 nonmembers in student"),
        ("teacher_counterfactual", "private0", "1 private in teacher_counterfactual"),
        ("teacher", "test0", "1 test in teacher"),
        ("student", "counterfactual0", "1 counterfactual in student"),
        ("student", "from elsewhere", "1 unknown in student"),
    ],
)
def test_a_record_in_the_wrong_stage_contaminates(stage: str, id_: str, told: str) -> None:
    found = check_provenance({**HONEST, stage: [*HONEST[stage], id_]}, PARTS)
    assert not found.passed and found.fault == "contaminated" and told in found.detail
    assert [id_] in list(found.values.values())


def test_a_shifted_split_is_caught_by_each_blind_attacker_it_concerns() -> None:
    rng, is_member = generator(3, "shift"), np.arange(200) < 100
    same = texts(rng, 200)
    assert controls(same, is_member).passed
    vocabulary = [
        t + " novel" * bool(m and i % 2)
        for i, (t, m) in enumerate(zip(same, is_member, strict=True))
    ]
    assert not controls(vocabulary, is_member).passed
    spelling = [t.replace("ba", "BA") if m else t for t, m in zip(same, is_member, strict=True)]
    found = blind_scores(spelling, is_member, 0)
    assert (
        roc_auc(found["character_ngrams"], is_member) > 0.6
        and not controls(spelling, is_member).passed
    )
    longer = texts(rng, 100, 17) + texts(rng, 100, 13)
    found = blind_scores(longer, is_member, 0)
    assert roc_auc(found["length_and_zlib"], is_member) > 0.8
    failed = controls(longer, is_member)
    assert failed.fault == SHIFT and "length_and_zlib" in failed.detail


def test_a_sorted_file_split_in_the_middle_is_caught() -> None:
    rng, is_member = generator(4, "sorted"), np.arange(300) < 150
    assert not controls(sorted(texts(rng, 300)), is_member).passed
    assert not check_order(np.arange(300), is_member).passed
    drawn = rng.permutation(is_member)
    assert check_order(np.arange(300), drawn).passed


def test_honest_splits_are_rarely_refused() -> None:
    rng, is_member, refused, held = generator(5, "honest"), np.arange(80) < 40, 0, np.zeros(4)
    for seed in range(30):
        found = blind_scores(texts(rng, 80), is_member, seed)
        given = {name: blind(scores, is_member) for name, scores in found.items()}
        held += [control.scored.auc(0.95).contains(0.5) for control in given.values()]
        for name in ("student_no_teacher", "student_counterfactual", "untrained"):
            given[name] = model(rng.normal(size=80), is_member)
        refused += not check_controls(given).passed
    assert refused / 30 <= 0.17  # 5 % within three simulation errors; 26 % with six plain intervals
    assert (held / 30 >= 0.83).all()


def test_a_control_that_learned_members_is_caught() -> None:
    rng, is_member = generator(6, "control"), np.arange(400) < 200
    honest = blind(rng.normal(size=400), is_member)
    for name, shift in (
        ("untrained", 0.5),
        ("student_no_teacher", -0.5),
    ):  # below chance is no better
        found = check_controls(
            {
                "bag_of_words": honest,
                name: model(rng.normal(size=400) + shift * is_member, is_member),
            }
        )
        assert not found.passed and name in found.detail and "bag_of_words" not in found.detail


def test_p_of_an_interval_agrees_with_its_level() -> None:
    rng, is_member = generator(7, "p"), np.arange(200) < 100
    for shift in np.linspace(-0.6, 0.6, 25):
        scores = rng.normal(size=200) + shift * is_member
        for level in (0.9, 0.95, 0.99):
            found = auc_interval(scores, is_member, level)
            assert (chance_p(found) < 1 - level) == (not found.contains(0.5))
    assert chance_p(auc_interval(np.zeros(10), np.arange(10) < 5)) == 1
    assert chance_p(auc_interval(np.arange(1000.0), np.arange(1000) >= 500)) < 1e-5
    assert chance_p(Interval(value=1.0, low=0.0, high=1.0)) >= 0.05


def test_different_truncation_is_caught() -> None:
    is_member = np.arange(200) < 100
    assert check_truncation(np.arange(200) % 5 == 0, is_member).passed
    found = check_truncation(is_member & (np.arange(200) % 3 == 0), is_member)
    assert (
        not found.passed
        and found.fault == SHIFT
        and "34 of 100 members and 0 of 100 nonmembers" in found.detail
    )


def test_one_large_group_of_cut_records_is_no_shift() -> None:
    is_member = np.arange(400) < 200
    was_cut = (np.arange(400) < 40) | (
        np.arange(400) % 20 == 0
    )  # 40 members of one passage, and a twentieth of all
    groups = np.where(np.arange(400) < 40, 0, np.arange(400))
    assert not check_truncation(was_cut, is_member).passed
    assert check_truncation(was_cut, is_member, clusters=groups).passed
    members_only = is_member & (np.arange(400) % 3 == 0)
    assert not check_truncation(members_only, is_member, clusters=groups).passed


def test_lost_and_repeated_scores_are_caught() -> None:
    expected = ["a", "b", "c"]
    assert check_records(expected, {"student/loss": ["c", "a", "b"]}).passed
    found = check_records(
        expected, {"student/loss": ["a", "b", "b"], "teacher/loss": ["a", "b", "c", "d"]}
    )
    assert not found.passed and found.fault == "contaminated"
    assert found.values == {
        "student/loss": "1 missing, 0 of other records, 1 repeated",
        "teacher/loss": "0 missing, 1 of other records, 0 repeated",
    }


def test_cached_scores_of_another_model_or_tokenizer_are_caught() -> None:
    fingerprints = {"student": "1a2b", "tokenizer": "3c4d"}
    assert check_sources(fingerprints, dict(fingerprints)).passed
    for name in fingerprints:
        found = check_sources(fingerprints, {**fingerprints, name: "ffff"})
        assert not found.passed and name in found.detail and "found ffff" in str(found.values[name])
    assert not check_sources(fingerprints, {"student": "1a2b"}).passed


def test_a_reference_with_another_tokenizer_is_refused() -> None:
    zeros = np.zeros(3, np.int32)
    stats = TokenStats(
        ids_T=zeros,
        logp_T=-np.ones(3),
        mean_T=-np.ones(3),
        var_T=np.ones(3),
        rank_T=zeros,
        greedy_T=zeros == 0,
    )
    assert reference(stats, stats) == 0
    with pytest.raises(DataError, match="reference_per_byte"):
        reference(stats, replace(stats, ids_T=zeros + 1))


def test_blind_scores_ignore_the_order_of_records_kind_by_kind_and_the_global_state() -> None:
    rng, is_member = generator(8, "order"), np.arange(60) < 30
    words = texts(rng, 60)
    ids = [np.array([len(word) for word in text.split()]) for text in words]
    first, again = (blind_scores(words, is_member, 3, readers=[ids]) for _ in range(2))
    without_prompts = tuple(name for name in BLIND if name != "prompt_and_response")
    assert tuple(first) == without_prompts
    assert tuple(blind_scores(words, is_member, 3)) == without_prompts[:-1]
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert ((first[name] > 0) & (first[name] < 1)).all()
    alone = np.arange(60)
    fold = stratified_folds(is_member, 5, 3, alone)
    assert (np.bincount(fold[is_member]) == 6).all() and (np.bincount(fold[~is_member]) == 6).all()
    assert not np.array_equal(fold, stratified_folds(is_member, 5, 4, alone))


def test_near_duplicates_of_one_side_are_no_shift_where_the_folds_know_them() -> None:
    """Twins drawn together give each other's membership away, unless they share a fold and count as one draw."""
    rng = generator(8, "twins")
    families, size = 60, 4
    is_member = np.repeat(np.arange(families) % 2 == 0, size)
    clusters = np.repeat(np.arange(families), size)
    words = [
        f"family{number // size} says {text}"
        for number, text in enumerate(texts(rng, families * size))
    ]
    apart = blind_scores(words, is_member, 3)["bag_of_words"]
    together = blind_scores(words, is_member, 3, clusters=clusters)["bag_of_words"]
    assert blind(apart, is_member).scored.auc(0.95).low > 0.6
    assert blind(together, is_member, clusters).scored.auc(0.95).contains(0.5)
    fold = stratified_folds(is_member, 5, 3, clusters)
    assert all(np.unique(fold[clusters == number]).size == 1 for number in range(families))
    assert (np.bincount(fold[is_member]) == 24).all() and (
        np.bincount(fold[~is_member]) == 24
    ).all()


def test_blind_attackers_on_next_to_nothing() -> None:
    for name, scores in blind_scores(
        ["a b", "c d", "e f"], np.array([True, False, False]), 0
    ).items():
        assert scores.tolist() == [0.5] * 3, name
    for scores in blind_scores(["", "", "", ""], np.array([True, True, False, False]), 0).values():
        assert scores.tolist() == [0.5] * 4
    with pytest.raises(DataError, match="2 texts, 3 labels"):
        blind_scores(["a", "b"], np.array([True, False, False]), 0)


def test_verdict_names_the_worst_fault_first_and_is_json() -> None:
    fine = check_truncation(np.zeros(4, bool), np.arange(4) < 2)
    shift = check_order(np.arange(300), np.arange(300) < 150)
    leak = check_provenance({"student": ["private0"]}, PARTS)
    assert (
        judge([fine]).verdict == "valid"
        and judge([fine]).headline == "All 1 validity checks passed."
    )
    assert judge([fine, shift]).verdict == SHIFT
    both = judge([fine, shift, leak])
    assert both.verdict == "contaminated" and both.headline.startswith(
        "Records where they must not be: 1 private in student."
    )
    assert "source file tells" in both.headline
    back = json.loads(json.dumps(both.as_json(), allow_nan=False))
    assert back["verdict"] == "contaminated" and [c["passed"] for c in back["checks"]] == [
        True,
        False,
        False,
    ]
    is_member = np.arange(40) < 20
    words = texts(generator(9, "json"), 40)
    names = [str(i) for i in range(40)]
    checks = [
        controls(words, is_member),
        check_overlap(names[:20], names[20:], near_across(words[:20], words[20:])),
    ]
    json.dumps(judge(checks).as_json(), allow_nan=False)
