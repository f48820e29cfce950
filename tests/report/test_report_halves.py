"""Both halves of the story: what distilling gave, what it gave away, and what asking for less saves; in words that hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_report_verdict import auc, plain, rate

from stillage.report.gain_tables import gain_words, halves_table, minimal_words
from stillage.report.run_view import RunView
from stillage.report.summary import LINES, summary_lines
from stillage.report.verdict import verdict
from stillage.types import Result


def quality(model: str, value: float, metric: str = "needed_exact") -> Result:
    return rate(metric, model, value, value - 0.03, min(1.0, value + 0.03), dataset="test")


def gain(model: str, value: float, half: float, minus: str, metric: str = "needed_exact") -> Result:
    row = rate(f"{metric}_gain", model, value, value - half, value + half, dataset="test")
    return replace(row, against=minus)


def story(*more: Result, gained: float = 0.4, half: float = 0.05) -> RunView:
    return plain(
        quality("student", 0.99),
        quality("student_no_teacher", 0.99 - gained),
        gain("student", gained, half, "student_no_teacher"),
        auc("student", 0.9),
        auc("student_no_teacher", 0.5),
        auc("student_counterfactual", 0.5),
        *more,
        summaries=("student", "student_no_teacher"),
    )


MINIMAL = (
    quality("student_minimal", 0.99),
    gain("student_minimal", 0.0, 0.01, "student"),
    auc("student_minimal", 0.52),
)


def avoided(value: float, half: float) -> Result:
    return replace(auc("student", value, half), metric="avoided_leak")


@pytest.mark.parametrize(
    ("gained", "half", "said"),
    [(0.4, 0.05, "Distilling helps"), (0.02, 0.05, "shows no gain"), (-0.2, 0.05, "costs quality")],
)
def test_a_gain_is_claimed_only_by_its_interval(gained: float, half: float, said: str) -> None:
    words = gain_words(story(gained=gained, half=half))
    assert said in words and "without a teacher" in words and f"{100 * gained:+.1f} points" in words


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "is not shown to tell members"), (0.8, "tells members from nonmembers too")],
)
def test_whether_the_student_without_a_teacher_gives_members_away_stands_beside_its_quality(
    value: float, said: str
) -> None:
    rows = (quality("student", 0.61, "rouge_l"), quality("student_no_teacher", 0.62, "rouge_l"))
    gained = gain("student", -0.002, 0.02, "student_no_teacher", "rouge_l")
    words = gain_words(plain(*rows, gained, auc("student_no_teacher", value)))
    assert "a student without a teacher is not shown to be worse" in words
    assert (
        f"the one without a teacher {said}" in words
        and f"(AUC {value:.2f} [" in words
        and "loss attack" in words
    )


def test_without_a_needed_part_the_gain_is_in_rouge() -> None:
    view = plain(
        quality("student", 0.6, "rouge_l"),
        quality("student_no_teacher", 0.5, "rouge_l"),
        gain("student", 0.1, 0.02, "student_no_teacher", "rouge_l"),
    )
    assert gain_words(view).startswith("Distilling helps: the student has ROUGE-L 0.600")
    assert (
        gain_words(plain(auc("student", 0.9))) == ""
        and halves_table(plain(auc("student", 0.9))) is None
    )


def test_less_leak_is_claimed_only_by_the_paired_test_and_what_is_left_is_said() -> None:
    clean = minimal_words(story(*MINIMAL, avoided(0.38, 0.03)))
    assert "leaks less" in clean and "is left" not in clean and "99.0 %" in clean
    unsure = minimal_words(story(*MINIMAL, avoided(0.02, 0.03)))
    assert "is not shown to leak less" in unsure
    part = auc("student_minimal", 0.56, attack="loss_needed")
    below = auc("student_no_teacher", 0.5, attack="loss_needed")
    left = minimal_words(story(*MINIMAL, part, below, avoided(0.38, 0.03)))
    assert (
        "0.56 [0.53, 0.59], needed-part loss attack (what is left is not shown to be more than a control's)"
        in left
    )
    test = replace(part, metric="auc_beyond_control", value=0.06, low=0.01, high=0.11)
    paired = replace(test, against="student_no_teacher", p=0.01, p_adjusted=0.02, tests=2)
    assert "(some is left)" in minimal_words(
        story(*MINIMAL, part, below, paired, avoided(0.38, 0.03))
    )
    assert "no control was asked" in minimal_words(story(*MINIMAL, part, avoided(0.38, 0.03)))
    much = minimal_words(story(*MINIMAL[:2], auc("student_minimal", 0.8), avoided(0.1, 0.03)))
    assert "leaks less: AUC 0.80" in much and "little" not in much
    shared = auc(
        "student_counterfactual", 0.89
    )  # what the student shows is not its teacher's doing
    assert "is not shown to leak less" in minimal_words(
        plain(*MINIMAL, auc("student", 0.9), shared, avoided(0.38, 0.03))
    )
    assert minimal_words(story()) == ""


def test_the_terminal_has_both_halves_the_lesson_and_every_model_in_ten_lines() -> None:
    models = [auc(name, 0.5) for name in ("teacher", "teacher_counterfactual")]
    floor = [
        rate("extraction_rate", "student", 0.02, 0.01, 0.04, dataset=part)
        for part in ("private", "nonmembers")
    ]
    view = story(*MINIMAL, avoided(0.38, 0.03), *models, *floor)
    lines = summary_lines(view, verdict(view), title="quickstart")
    assert len(lines) <= LINES and lines[0].startswith("quickstart: leaks; split valid")
    assert lines[2].startswith("Distilling helps") and lines[3].startswith(
        "Asked only for what is needed"
    )
    assert sum(line.startswith("  ") for line in lines) == 6 and not any(
        "more models" in line for line in lines
    )


def test_the_page_shows_them(run: Path) -> None:
    from stillage.report.run_view import read_run

    table = halves_table(read_run(run))
    assert table is not None and [row[0].text for row in table.rows][:2] == [
        "student",
        "student, asked for less",
    ]
