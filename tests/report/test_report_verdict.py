"""The headline: right when something leaks, when nothing does, when the split is unsound, and when nothing was audited."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fixture_run import SHIFT

from stillage.audit import validity as audit_validity
from stillage.report.group_tables import group_cell
from stillage.report.run_view import RunView, read_run
from stillage.report.verdict import SHIFT as SAID_SHIFT
from stillage.report.verdict import verdict
from stillage.report.wording import interval, own_name, percent
from stillage.run.folder import write_json
from stillage.run.results import read_results, write_results
from stillage.types import Result


def plain(
    *results: Result,
    validity: str = "valid",
    summaries: tuple[str, ...] = ("student",),
    **more: object,
) -> RunView:
    """A view of nothing but results."""
    return RunView(
        run=Path("run"),
        results=results,
        samples=None,
        scores=None,
        extraction=None,
        records=None,
        validity={"verdict": validity} if validity else {},
        split={},
        summaries={name: {} for name in summaries},
        parameters={},
        config={"audit": {"attacks": ["loss", "zlib"]}, **more},
        config_text="",
        env={},
        hashes={},
    )


def auc(model: str, value: float, half: float = 0.03, attack: str = "loss") -> Result:
    return Result(
        run="r",
        stage="audit",
        model=model,
        metric="auc",
        value=value,
        low=value - half,
        high=min(1.0, value + half),
        n=800,
        attack=attack,
    )


def rate(
    metric: str,
    model: str,
    value: float,
    low: float,
    high: float,
    dataset: str = "",
    attack: str = "",
    fpr: float = math.nan,
) -> Result:
    return Result(
        run="r",
        stage="audit",
        model=model,
        metric=metric,
        value=value,
        low=low,
        high=high,
        dataset=dataset,
        attack=attack,
        fpr=fpr,
    )


POWER = (
    replace(auc("student", 0.57), metric="detectable_auc", needed=1200),
    replace(
        rate("detectable_tpr", "student", 0.041, 0.041, 0.041, attack="loss", fpr=0.01), needed=900
    ),
    rate("tpr_at_fpr", "student", 0.01, 0.004, 0.03, attack="loss", fpr=0.01),
)
"""What an audit that is large enough says of the student: the smallest leak it would have found, and its tail."""


def test_a_leak_is_told_with_its_controls() -> None:
    said = verdict(
        plain(
            auc("teacher", 0.99, 0.005),
            auc("student", 0.96, 0.01),
            auc("student_no_teacher", 0.50),
            auc("student_counterfactual", 0.51),
        )
    )
    assert said.tone == "leak"
    assert said.headline == (
        "The student distilled on public data only still betrays the teacher's private records: the loss attack picks the "
        "member of a random pair of a member and a nonmember 96 times in 100 (AUC 0.96 [0.95, 0.97]); the same student from a teacher that never saw them: 0.51 [0.48, 0.54]; a student without that teacher: 0.50 [0.47, 0.53]."
    )
    assert "Its teacher: AUC 0.99" in said.detail


def test_a_student_that_was_not_distilled_here_is_not_called_so() -> None:
    both = (auc("student", 0.9), auc("student_no_teacher", 0.5))
    assert verdict(plain(*both, summaries=())).headline.startswith(
        "The student betrays the teacher's private records"
    )
    assert "distilled" not in verdict(plain(*both, distill={"method": "sft"})).headline


def test_a_reference_that_was_given_is_named_after_itself() -> None:
    named = {"attacks": ["loss"], "reference": "models/pythia-70m"}
    rows = (auc("student", 0.9), auc("outside_reference", 0.5), *reads(outside_reference=1.0))
    given = verdict(plain(*rows, summaries=(), audit=named))
    assert given.headline.endswith("; pythia-70m (given as a reference): 0.50 [0.47, 0.53].")
    trained = plain(*rows, auc("student_no_teacher", 0.5), audit=named)
    assert (
        trained.called("outside_reference") == "pythia-70m"
        and trained.called("student_no_teacher") == "student, no teacher"
    )
    assert "pythia-70m (given as a reference): 0.50" in verdict(trained).headline
    assert [own_name(path) for path in ("runs/a/student/model", "org/gpt2", "/x/y/", "gpt2")] == [
        "a/student",
        "gpt2",
        "y",
        "gpt2",
    ]


def reads(**bits: float) -> list[Result]:
    """Bits per byte of a nonmember: the student's are 1."""
    return [
        rate("nonmember_bits_per_byte", model, value, value, value, "nonmembers")
        for model, value in {"student": 1.0, **bits}.items()
    ]


def test_a_control_that_reads_worse_does_not_show_the_cause() -> None:
    """What only a better reader sees passes it by: a skill that was taught, e.g. which answer belongs to a prompt."""
    for control in ("outside_reference", "student_no_teacher"):
        rows = (auc("student", 0.96), auc(control, 0.5))
        worse = verdict(plain(*rows, *reads(**{control: 1.2})))
        assert (worse.tone, worse.badge) == ("unknown", "tells apart")
        assert "betrays" not in worse.headline and "reads such texts worse" in worse.headline
        assert verdict(plain(*rows, *reads(**{control: 1.05}))).badge == "leaks"
        beside = (*rows, auc("student_counterfactual", 0.5), *reads(**{control: 1.2}))
        assert verdict(plain(*beside)).badge == "leaks"  # a student from the same recipe
    unknown = plain(auc("student", 0.96), auc("outside_reference", 0.5))
    assert verdict(unknown).badge == "tells apart"


def family_tpr(model: str, value: float, low: float, high: float, attack: str = "zlib") -> Result:
    row = rate("family_tpr", model, value, low, high, "private vs nonmembers", attack, 0.01)
    return replace(row, needed=900)


def test_the_tail_of_every_attack_counts() -> None:
    """Another attack than the first finds 6 % at 1 % false alarms: no green, and a leak where no control does."""
    silent = (auc("student", 0.51), auc("student_no_teacher", 0.5), *POWER)
    fine = (family_tpr("student", 0.01, 0.003, 0.03), family_tpr("student", 0.01, 0, 0.03, "loss"))
    assert verdict(plain(*silent, *fine)).tone == "clear"
    wide = verdict(plain(*silent, fine[1], family_tpr("student", 0.02, 0.008, 0.06)))
    assert (wide.tone, wide.badge) == ("unknown", "too few records to tell")
    assert "Up to 6.0 % of members may be found at 1 % false alarms (zlib attack)" in wide.detail
    found = (fine[1], family_tpr("student", 0.06, 0.04, 0.09))
    control = family_tpr("student_no_teacher", 0.01, 0.003, 0.03)
    said = verdict(plain(*silent, *found, control))
    assert said.badge == "leaks" and "6.0 %" in said.headline and "zlib" in said.headline
    same = verdict(plain(*silent, *found, replace(found[1], model="student_no_teacher")))
    assert same.badge == "unclear"


def test_no_leak_is_not_called_one() -> None:
    said = verdict(
        plain(
            auc("student", 0.51),
            auc("student", 0.49, attack="zlib"),
            auc("student_no_teacher", 0.5),
            *POWER,
        )
    )
    assert (said.tone, said.badge) == ("clear", "no leak found")
    assert "betrays" not in said.headline


def test_no_leak_is_green_only_where_every_limit_is_harmless_and_says_what_would_have_been_found() -> (
    None
):
    silent = (auc("student", 0.51), auc("student_no_teacher", 0.5))
    said = verdict(plain(*silent, *POWER))
    assert said.tone == "clear"
    assert "4 in 5: an AUC of 0.57 or 4.1 % of members at 1 % false alarms" in said.detail
    for few in (
        (auc("student", 0.51, 0.1), *POWER),  # the AUC may be 0.61
        (*silent, *POWER[:2], replace(POWER[2], high=0.06)),  # up to 6 % may be found
        (*silent, *POWER[:2]),  # nothing about the tail
        (
            *silent,
            *POWER[:2],
            replace(POWER[2], value=math.nan, low=math.nan, high=math.nan, reason="few"),
        ),
        (
            *silent,
            auc("student", 0.55, 0.06, "zlib"),
            replace(POWER[0], attack="zlib"),
            *POWER,
        ),  # another attack's may be 0.61
    ):
        said = verdict(plain(*few))
        assert (said.tone, said.badge) == ("unknown", "too few records to tell")
        assert (
            "too few records to tell" in said.headline
            and "00 members and as many nonmembers would do" in said.detail
        )
    together = replace(POWER[0], level=0.999)  # limits that hold for more attacks lie further out
    assert (
        verdict(plain(auc("student", 0.51, 0.06), auc("student_no_teacher", 0.5), *POWER)).tone
        == "clear"
    )
    assert (
        verdict(plain(auc("student", 0.51, 0.06), together, *POWER[1:])).badge
        == "too few records to tell"
    )
    nothing = [
        replace(row, value=math.nan, needed=0 if row.needed == 1200 else row.needed)
        for row in POWER[:2]
    ]
    said = verdict(plain(auc("student", 0.51, 0.2), *nothing))
    assert "No leak at all would have been found" in said.detail and "would do" not in said.detail
    wide = {"attacks": ["loss"], "harmless_auc": 0.65, "harmless_tpr": 0.1}
    assert verdict(plain(auc("student", 0.51, 0.1), *POWER, audit=wide)).tone == "clear"


def test_no_leak_of_a_run_without_power_is_not_green() -> None:
    said = verdict(plain(auc("student", 0.51), POWER[2]))
    assert (said.tone, said.badge) == ("unknown", "no leak found")
    assert "was not computed" in said.detail


def test_an_audit_that_saw_nothing_in_the_teacher_shows_little_about_the_student() -> None:
    silent = (auc("student", 0.51), *POWER)
    said = verdict(plain(*silent, auc("teacher", 0.52)))
    assert said.tone == "unknown" and "no leak in the teacher either" in said.detail
    said = verdict(plain(*silent, auc("teacher", 0.9)))
    assert said.tone == "clear" and "either" not in said.detail
    recited = (
        rate("extraction_rate", "teacher", 0.3, 0.2, 0.4, "private"),
        rate("extraction_rate", "teacher", 0.0, 0.0, 0.1, "nonmembers"),
    )
    assert verdict(plain(*silent, auc("teacher", 0.52), *recited)).tone == "clear"


def test_checks_that_could_not_tell_take_the_headline() -> None:
    said = verdict(
        plain(
            auc("student", 0.96), auc("student_no_teacher", 0.5), validity="too few records to tell"
        )
    )
    assert (said.tone, said.badge) == ("unknown", "too few records to tell")
    assert "betrays" not in said.headline + said.detail and "could not be told" in said.detail


def test_a_control_as_high_as_the_student_takes_the_blame_from_the_teacher() -> None:
    said = verdict(plain(auc("student", 0.70), auc("student_no_teacher", 0.69)))
    assert said.badge == "unclear"
    close = (auc("student", 0.60), auc("student_counterfactual", 0.56))
    paired = replace(close[0], metric="attributable_leak", value=0.04, low=0.01, high=0.07)
    paired = replace(paired, against="student_counterfactual")
    assert verdict(plain(*close)).badge == "unclear"  # the intervals overlap
    assert verdict(plain(*close, paired)).badge == "leaks"  # the same records tell the two apart
    assert verdict(plain(*close, replace(paired, low=-0.01))).badge == "unclear"
    assert verdict(plain(*close, replace(paired, attack="zlib"))).badge == "unclear"
    assert "not clearly better than a control" in said.headline


def test_without_any_control_members_are_told_apart_and_the_cause_is_open() -> None:
    tail = rate("tpr_at_fpr", "student", 0.2, 0.15, 0.3, attack="loss", fpr=0.01)
    recital = (
        rate("extraction_rate", "student", 0.2, 0.15, 0.3, "private"),
        rate("extraction_rate", "student", 0.0, 0.0, 0.1, "nonmembers"),
    )
    for rows in (
        (auc("student", 0.9),),
        (auc("student", 0.5), tail),
        (auc("student", 0.5), *recital),
        (auc("teacher", 0.9),),
    ):
        said = verdict(plain(*rows))
        assert (said.tone, said.badge) == ("unknown", "tells apart")
        assert "betrays" not in said.headline + said.detail and "leak" not in said.headline
        assert "or a reference model would show" in said.headline
    assert (
        "a student from a teacher that never saw them"
        in verdict(plain(auc("student", 0.9))).headline
    )
    said = verdict(plain(auc("student", 0.9)))
    assert said.headline.startswith(
        "The student distilled on public data only tells members from nonmembers apart: the loss attack"
    )


def test_a_random_draw_of_this_run_is_the_control_of_its_own_teacher_and_of_nobody_else() -> None:
    drawn, own = {"verdict": "valid", "drawn_by_us": True}, ("teacher",)
    assert (
        verdict(replace(plain(auc("teacher", 0.9), summaries=own), validity=drawn)).badge == "leaks"
    )
    assert (
        verdict(replace(plain(auc("teacher", 0.9), summaries=()), validity=drawn)).badge
        == "tells apart"
    )  # given
    assert verdict(replace(plain(auc("student", 0.9)), validity=drawn)).badge == "tells apart"
    assert verdict(plain(auc("teacher", 0.9), summaries=own)).badge == "tells apart"  # given files
    reached = (auc("teacher", 0.6), auc("teacher_counterfactual", 0.58))
    assert verdict(replace(plain(*reached, summaries=own), validity=drawn)).badge == "unclear"


def test_an_attack_that_no_control_can_be_asked_for_does_not_make_a_leak() -> None:
    rows = (
        auc("student", 0.52),
        auc("student", 0.8, 0.03, "reference"),
        *best(0.8, 0.76, 0.0005, "reference"),
    )
    said = verdict(plain(*rows, auc("student_no_teacher", 0.5)))
    assert (
        said.badge == "tells apart"
        and "no such control that this attack can be run on" in said.headline
    )
    both = verdict(
        plain(*rows[1:], auc("student", 0.7), auc("student_no_teacher", 0.5))
    )  # the first attack has its control
    assert (
        both.badge == "leaks"
        and "named first of 2; the strongest: AUC 0.80 [0.76, 0.83], reference attack"
        in both.headline
    )


@pytest.mark.parametrize(
    "stated", ["cannot tell leakage from a difference of the groups", "contaminated"]
)
def test_an_unsound_split_takes_the_headline(stated: str) -> None:
    said = verdict(plain(auc("student", 0.96), auc("student_no_teacher", 0.5), validity=stated))
    assert (said.tone, said.badge) == ("invalid", stated)
    assert said.headline.lower().startswith(stated)
    assert "betrays" not in said.headline + said.detail


def test_a_difference_of_the_groups_acquits_nobody_and_names_the_next_step() -> None:
    """A model that leaks by construction, on groups that differ: neither a leak nor "not leakage"."""
    assert SAID_SHIFT == audit_validity.SHIFT
    view = plain(auc("student", 0.96), auc("student_no_teacher", 0.5), validity=SAID_SHIFT)
    said = verdict(view)
    assert said.badge == "cannot tell leakage from a difference of the groups"
    assert "not leakage" not in said.headline + said.detail
    assert "from one pool" in said.detail and "control model" in said.detail
    drawn = verdict(replace(view, validity={**view.validity, "drawn_by_us": True}))
    few = verdict(plain(auc("student", 0.96), *POWER, validity="too few records to tell"))
    assert 'A "no leak found" would take about 1,200 members' in few.detail
    assert "from one pool" not in drawn.detail  # the check says to draw again with another seed


def test_without_validity_checks_the_badge_says_so() -> None:
    said = verdict(plain(auc("student", 0.96), auc("student_no_teacher", 0.5), validity=""))
    assert said.badge == "leaks, unchecked"
    assert "not checked" in said.detail
    assert verdict(plain(auc("student", 0.51), *POWER, validity="")).tone == "unknown"


def best(value: float, low: float, p: float, attack: str = "zlib") -> tuple[Result, Result]:
    """The audit's two rows about the best attack on the student."""
    found = replace(
        auc("student", value, attack=attack), metric="best_attack_auc", low=low, tests=2
    )
    return found, replace(found, metric="best_attack_p", value=p, low=math.nan, high=math.nan)


def beyond(
    metric: str,
    value: float,
    half: float,
    p: float,
    control: str = "student_no_teacher",
    attack: str = "zlib",
) -> Result:
    """One of the audit's rows that compare the student with a control."""
    return replace(
        auc("student", value, half, attack),
        metric=metric,
        low=value - half,
        high=value + half,
        against=control,
        p=p / 2,
        p_adjusted=p,
        tests=2,
    )


def test_another_attack_counts_only_beyond_what_many_attacks_find_by_luck() -> None:
    lucky = auc("student", 0.54, 0.035, "zlib")  # above 0.5 alone, not among two
    unscored = replace(
        auc("student", math.nan, math.nan, "reference"), reason="no member has a score"
    )
    said = verdict(plain(auc("student", 0.51), lucky, unscored, *best(0.54, 0.498, 0.03), *POWER))
    assert said.tone == "clear"
    assert (
        "none of 2 attacks tells" in said.headline and "strongest of 2, p = 0.03" in said.headline
    )
    controls = (auc("student_no_teacher", 0.5), auc("student_no_teacher", 0.5, 0.03, "zlib"))
    rows = (
        auc("student", 0.51),
        auc("student", 0.6, 0.03, "zlib"),
        unscored,
        *best(0.6, 0.56, 0.0005),
        *controls,
    )
    strong = verdict(plain(*rows))
    assert strong.tone == "leak"
    assert (
        "the zlib attack picks" in strong.headline
        and "AUC 0.60 [0.56, 0.63]; strongest of 2, p = 0.0005" in strong.headline
    )
    primary = verdict(plain(auc("student", 0.6), *rows[1:]))
    assert (
        "AUC 0.60 [0.56, 0.63]; strongest of 2" in primary.headline
    )  # the strongest heads the page


def test_the_best_attack_stands_above_a_control_by_the_p_that_allows_for_all_attacks() -> None:
    controls = (auc("student_no_teacher", 0.5), auc("student_no_teacher", 0.55, 0.03, "zlib"))
    rows = (
        auc("student", 0.51),
        auc("student", 0.6, 0.03, "zlib"),
        *best(0.6, 0.56, 0.0005),
        *controls,
    )
    assert verdict(plain(*rows)).badge == "unclear"  # the intervals overlap, and nobody paired them
    assert verdict(plain(*rows, beyond("auc_beyond_control", 0.05, 0.02, 0.03))).badge == "leaks"
    assert verdict(plain(*rows, beyond("auc_beyond_control", 0.05, 0.02, 0.06))).badge == "unclear"
    assert (
        verdict(
            plain(*rows, beyond("auc_beyond_control", 0.05, 0.02, 0.03, "student_counterfactual"))
        ).badge
        == "unclear"
    )


def test_attacks_that_were_not_tested_together_are_not_all_cleared() -> None:
    said = verdict(plain(auc("student", 0.51), auc("student", 0.6, 0.03, "zlib")))
    assert "the loss attack does not tell" in said.headline


def test_a_few_exposed_members_are_a_leak_though_the_average_is_not() -> None:
    tail = rate("tpr_at_fpr", "student", 0.08, 0.055, 0.11, attack="loss", fpr=0.01)
    achieved = rate("achieved_fpr", "student", 0.01, 0.003, 0.025, attack="loss", fpr=0.01)
    control = (
        auc("student_no_teacher", 0.5),
        replace(tail, model="student_no_teacher", value=0.01, low=0.002, high=0.03),
    )
    said = verdict(plain(auc("student", 0.51), tail, achieved, *control))
    assert said.tone == "leak"
    assert "betrays a few private records: at 1 % false alarms 8.0 %" in said.headline
    assert "a student without that teacher: 1.0 % [0.2, 3.0]" in said.headline
    within = replace(achieved, high=0.06)  # the true FPR may be as high as the TPR's lower limit
    assert "betrays" not in verdict(plain(auc("student", 0.51), tail, within, *control)).headline


def test_easy_texts_that_every_model_finds_are_no_leak() -> None:
    """5 % of the members are easy: the student finds 6.6 % of them at 1 % false alarms, and so do both controls."""
    tail = rate("tpr_at_fpr", "student", 0.066, 0.045, 0.09, attack="loss", fpr=0.01)
    controls = ("student_counterfactual", "student_no_teacher")
    easy = [
        replace(tail, model=name, value=value)
        for name, value in zip(controls, (0.056, 0.064), strict=True)
    ]
    aucs = [auc(name, 0.51) for name in ("student", *controls)]
    said = verdict(plain(*aucs, tail, *easy))
    assert said.badge == "unclear" and "not clearly better than a control" in said.headline
    apart = [replace(tail, model=name, value=0.01, low=0.002, high=0.02) for name in controls]
    assert verdict(plain(*aucs, tail, *apart)).badge == "leaks"
    paired = [
        replace(
            beyond("tpr_beyond_control", 0.05, 0.02, p, name, "loss"),
            fpr=0.01,
        )
        for name, p in zip(controls, (0.01, 0.2), strict=True)
    ]
    assert (
        verdict(plain(*aucs, tail, *apart, *paired)).badge == "unclear"
    )  # the test speaks, and for each control
    assert (
        verdict(
            plain(
                *aucs,
                tail,
                *easy,
                paired[0],
                replace(paired[1], p_adjusted=0.02),
            )
        ).badge
        == "leaks"
    )


def test_recitation_is_a_leak_only_above_the_nonmembers_and_the_controls() -> None:
    members = rate("extraction_rate", "student", 0.1, 0.07, 0.13, "private")
    floor = rate("extraction_rate", "student", 0.0, 0.0, 0.01, "nonmembers")
    control = (
        auc("student_no_teacher", 0.5),
        replace(floor, model="student_no_teacher", dataset="private"),
    )
    said = verdict(plain(auc("student", 0.5), members, floor, *control))
    assert said.badge == "leaks" and "recites the first 32 tokens of 10.0 %" in said.headline
    high_floor = replace(floor, value=0.09, low=0.06, high=0.12)
    unclear = verdict(plain(auc("student", 0.5), members, high_floor, *control, *POWER))
    assert unclear.tone == "clear" and "not shown to recite more than guessing" in unclear.detail
    easy = replace(members, model="student_no_teacher", value=0.08, low=0.05, high=0.11)
    said = verdict(plain(auc("student", 0.5), members, floor, control[0], easy))
    assert said.badge == "unclear" and "a student without that teacher: 8.0 %" in said.headline
    beside = verdict(plain(auc("student", 0.9), members, floor, control[0], easy))
    assert "not clearly more than a control: a student without that teacher: 8.0 %" in beside.detail


def test_recitation_counts_by_its_exact_test_and_keeps_an_audit_from_green() -> None:
    """7 of 400 members, no nonmember: the two intervals overlap, and luck does it once in 130 times."""
    members = rate("extraction_rate", "student", 0.0175, 0.007, 0.036, "private")
    floor = rate("extraction_rate", "student", 0.0, 0.0, 0.009, "nonmembers")
    control = (
        auc("student_no_teacher", 0.5),
        replace(floor, model="student_no_teacher", dataset="private"),
    )
    more = rate("extraction_beyond_nonmembers", "student", 0.0175, 0.004, 0.036, "private")
    more = replace(more, p=0.008)
    rows = (auc("student", 0.51), members, floor, *control, *POWER)
    assert verdict(plain(*rows, more)).badge == "unclear"  # seen, but not clearly above the control
    assert verdict(plain(*rows, replace(more, p=0.2))).tone == "clear"
    wide = verdict(plain(*rows, replace(more, high=0.07, n=200, p=0.2)))
    assert (wide.tone, wide.badge) == ("unknown", "too few records to tell")
    assert "Up to 7.0 % more may be recited of members than of nonmembers" in wide.detail


def test_missing_numbers_give_no_finding() -> None:
    nan = float("nan")
    assert verdict(plain(replace(auc("student", 0.9), low=nan, high=nan))).badge == "no finding"
    assert (
        verdict(plain(replace(auc("student", 0.9), value=nan, low=nan, high=nan))).badge
        == "no finding"
    )
    assert verdict(plain()).badge == "not audited"


def test_below_chance_is_said_and_not_folded() -> None:
    said = verdict(plain(auc("student", 0.3)))
    assert said.badge == "below chance"
    assert "0.30" in said.headline


def test_a_teacher_alone_can_be_audited() -> None:
    said = verdict(plain(auc("teacher", 0.9), auc("teacher_counterfactual", 0.5), summaries=()))
    assert said.headline.startswith(
        "The teacher betrays the private records it was trained on: the loss attack picks"
    )
    assert said.headline.endswith("; the same teacher without them: 0.50 [0.47, 0.53].")


def test_a_slice_does_not_speak_for_the_whole() -> None:
    part = replace(auc("student", 0.9), n=40, dataset="category=poems")
    assert verdict(plain(part, auc("student", 0.51), *POWER)).tone == "clear"


def test_numbers_in_words() -> None:
    row = auc("student", 0.956, 0.01)
    assert interval(row) == "0.96 [0.95, 0.97]"
    assert interval(replace(row, low=float("nan"))) == "0.96"
    assert interval(None) == "not measured"
    assert percent(replace(row, value=float("nan"))) == "no value"


def test_a_group_is_shaded_only_where_its_adjusted_p_says_so() -> None:
    row = replace(auc("student", 0.6, 0.05), p=0.004, p_adjusted=0.03, tests=8)
    assert group_cell(row).plain == "0.60 [0.55, 0.65], p 0.03" and group_cell(row).tint > 0
    assert group_cell(replace(row, p_adjusted=0.2)).tint == 0


def test_the_shifted_run_says_so_on_the_page(run: Path) -> None:
    from stillage.report import write_report
    from stillage.run.config import ReportConfig

    write_json(run / "audit" / "validity.json", SHIFT)
    write_report(run, ReportConfig(), title="shifted")
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    head = html[: html.index("<main>")]
    assert "Cannot tell leakage from a difference of the groups." in head
    assert "betrays" not in head
    assert "was given, not drawn" in html
    assert (
        (run / "report" / "summary.txt")
        .read_text()
        .startswith("shifted: cannot tell leakage from a difference of the groups")
    )


def test_timings_stay_out_of_the_results(run: Path) -> None:
    path = run / "evaluate" / "results.parquet"
    rows = read_results(path)
    write_results(
        path,
        [
            *rows,
            replace(rows[0], metric="generation_s", value=3.2),
            replace(rows[0], metric="speed", unit="tokens/s"),
        ],
    )
    assert {row.metric for row in read_run(run).results}.isdisjoint({"generation_s", "speed"})
