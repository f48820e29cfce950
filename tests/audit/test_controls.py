"""Controls: shifts are caught however many attacks there are, honest splits pass, and few records are never called fine."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stillage.audit.blind import N_FOLDS, blind_scores
from stillage.audit.controls import FAMILY_LEVELS, Control, Family, check_controls
from stillage.audit.scores import Scored
from stillage.audit.validity import SHIFT, Check, check_order, check_truncation, judge
from stillage.rng import generator
from stillage.types import Array

FEW = "too few records to tell"


def control(
    family: Family, scores: Array, is_member: Array, clusters: Array | None = None
) -> Control:
    own = np.arange(is_member.size) if clusters is None else clusters
    folds = N_FOLDS if family == "blind" else 0
    scored = Scored(scores=scores, is_member=is_member, clusters=own, n_folds=folds)
    return Control(family=family, scored=scored)


def test_a_blind_attacker_is_caught_as_often_beside_81_controls_as_beside_3() -> None:
    """Its true AUC is 0.6. One Holm family over all controls misses it the more often, the more attacks are run."""
    is_member, caught = np.arange(800) < 400, {3: 0, 81: 0}
    for seed in range(8):
        rng = generator(seed, "families")
        shifted = control("blind", rng.normal(size=800) + 0.36 * is_member, is_member)
        hard = rng.normal(size=800)
        honest = {
            f"m{i}": control("trained", hard + 0.5 * rng.normal(size=800), is_member)
            for i in range(81)
        }
        for count in caught:
            given = {"words": shifted, **dict(list(honest.items())[:count])}
            found = check_controls(given)
            caught[count] += not found.passed and "words" in found.detail
    assert caught[3] == caught[81] >= 6


def test_every_p_stands_beside_the_level_below_which_a_control_fails() -> None:
    is_member, rng = np.arange(200) < 100, generator(0, "levels")
    families: tuple[Family, ...] = ("blind", "trained")
    given = {family: control(family, rng.normal(size=200), is_member) for family in families}
    values = check_controls(given).values
    for family in families:
        said = str(values[family]).partition(", adjusted p ")[2]
        assert said.endswith(f" (fails below {FAMILY_LEVELS[family]:g})"), said


def test_controls_at_chance_are_refused_no_oftener_than_stated() -> None:
    is_member, refused, repeats = np.arange(200) < 100, 0, 80
    for seed in range(repeats):
        rng = generator(seed, "honest families")
        refused += not check_controls(
            {
                **{
                    f"blind {i}": control("blind", rng.normal(size=200), is_member)
                    for i in range(3)
                },
                **{
                    f"trained {i}": control("trained", rng.normal(size=200), is_member)
                    for i in range(6)
                },
                **{
                    f"untrained {i}": control("untrained", rng.normal(size=200), is_member)
                    for i in range(3)
                },
            }
        ).passed
    assert refused / repeats <= 0.15 and sum(FAMILY_LEVELS.values()) <= 0.1


def test_below_chance_is_not_called_telling_members_and_a_draw_names_luck() -> None:
    """All blind AUCs near 0.32: two-sided p is small, yet nobody tells members from nonmembers."""
    rng, is_member = generator(7, "below"), np.arange(200) < 100
    scores = rng.normal(size=200)
    lower = {"words": control("blind", scores - 0.7 * is_member, is_member)}
    given = check_controls(lower)
    assert not given.passed and given.fault == SHIFT
    assert "already tell" not in given.detail and "Lower than chance, 0.5" in given.detail
    assert "did not generalise, or by luck" in given.detail and "--seed" not in given.detail
    drawn = check_controls(lower, drawn_by_us=True).detail
    assert "chance alone does so in up to 5% (blind) of such draws" in drawn
    assert "draw again with another --seed" in drawn
    upper = check_controls({"words": control("blind", scores + 0.7 * is_member, is_member)})
    assert "already tell members" in upper.detail and "Lower than chance" not in upper.detail


def few(texts: list[str], members: int) -> Check:
    is_member = np.arange(len(texts)) < members
    found = blind_scores(texts, is_member, 0)
    return check_controls(
        {name: control("blind", scores, is_member) for name, scores in found.items()}
    )


@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_handful_of_records_is_never_at_chance(side: int) -> None:
    """Disjoint words: a blind attacker separates the sides, and no interval can say so before eight of each."""
    words = ["red green blue"] * side + ["one two three"] * side
    found = few([f"{text} {index}" for index, text in enumerate(words)], side)
    verdict = judge([found])
    assert found.undecided and found.passed and verdict.verdict == FEW
    assert (
        f"There are {side} members and {side} nonmembers" in verdict.headline
        and "(controls) need 69 of each." in verdict.headline
    )
    assert "at chance" not in verdict.headline
    json.dumps(verdict.as_json(), allow_nan=False)


def test_a_check_that_passes_says_what_it_would_have_found() -> None:
    rng, is_member = generator(4, "sight"), np.arange(1000) < 500
    given = {"words": control("blind", rng.normal(size=1000), is_member)}
    given["loss on student_no_teacher"] = control("trained", rng.normal(size=1000), is_member)
    found = check_controls(given)
    assert found.passed and not found.undecided and "blind 0.58, trained 0.56" in found.detail
    copies = {
        "words": control(
            "blind", np.repeat(rng.normal(size=20), 50), is_member, np.arange(1000) // 50
        )
    }
    assert check_controls(copies).undecided  # twenty texts, fifty times each
    order = check_order(rng.permutation(1000), is_member)
    assert (
        order.passed
        and not order.undecided
        and "An AUC of 0.58 would have been found (80% power)" in order.detail
    )
    short = check_order(rng.permutation(40), np.arange(40) < 20)
    assert (
        short.undecided
        and "20 members and 20 nonmembers show only an AUC of 0.91 or more (80% power): this check needs 48 of each."
        in short.detail
    )
    both = judge([short, few(["a b", "b c", "c d", "d e"], 2)]).headline
    assert "(order, controls) need 69 of each." in both and "48" not in both  # one target, no two
    cut = np.arange(40) % 7 == 0
    assert check_truncation(cut, np.arange(40) < 20).undecided
    for nobody in (np.zeros(6, bool), np.ones(6, bool)):  # known of each record, however few
        assert not check_truncation(nobody, np.arange(6) < 3).undecided


def test_too_few_records_stand_behind_every_fault_and_before_valid() -> None:
    few_found = few(["a b", "b c", "c d", "d e"], 2)
    fine = check_truncation(np.zeros(4, bool), np.arange(4) < 2)
    shift = check_order(np.arange(300), np.arange(300) < 150)
    assert judge([fine]).verdict == "valid" and judge([fine, few_found]).verdict == FEW
    assert (
        judge([few_found, shift]).verdict == shift.fault
        and judge([few_found, shift]).headline == shift.detail
    )
