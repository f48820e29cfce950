"""The headline: right when something leaks, when nothing does, when the split is unsound, and when nothing was audited."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fixture_run import SHIFT

from stillage.report.load import RunView, number_in, read_run
from stillage.report.slices import group_cell
from stillage.report.verdict import fpr_of, interval, percent, verdict
from stillage.run.folder import write_json
from stillage.run.results import read_results, write_results
from stillage.types import Result


def plain(
    *results: Result, validity: str = "valid", summaries: tuple[str, ...] = ("student",), **more: object
) -> RunView:
    """A view of nothing but results."""
    return RunView(
        run=Path("run"), results=results, samples=None, scores=None, extraction=None, records=None,
        validity={"verdict": validity} if validity else {}, split={}, summaries={name: {} for name in summaries}, parameters={},
        config={"audit": {"attacks": ["loss", "zlib"]}, **more}, config_text="", env={}, hashes={},
    )  # fmt: skip


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
    metric: str, model: str, value: float, low: float, high: float, dataset: str = "", note: str = "", attack: str = ""
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
        note=note,
        attack=attack,
    )


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
        "The student distilled on public data only still betrays the teacher's private records: AUC 0.96 [0.95, 0.97]; "
        "the same student from a teacher that never saw them: 0.51 [0.48, 0.54]; a student without that teacher: 0.50 [0.47, 0.53]."
    )
    assert "Its teacher: AUC 0.99" in said.detail


def test_a_student_that_was_not_distilled_here_is_not_called_so() -> None:
    assert verdict(plain(auc("student", 0.9), summaries=())).headline.startswith(
        "The student betrays the teacher's private records"
    )
    assert "distilled" not in verdict(plain(auc("student", 0.9), distill={"method": "sft"})).headline
    given = verdict(plain(auc("student", 0.9), auc("student_no_teacher", 0.5), summaries=()))
    assert given.headline.endswith("; the reference model that was given: 0.50 [0.47, 0.53].")


def test_no_leak_is_not_called_one() -> None:
    said = verdict(plain(auc("student", 0.51), auc("student", 0.49, attack="zlib"), auc("student_no_teacher", 0.5)))
    assert (said.tone, said.badge) == ("clear", "no leak found")
    assert "betrays" not in said.headline


def test_a_control_as_high_as_the_student_takes_the_blame_from_the_teacher() -> None:
    said = verdict(plain(auc("student", 0.70), auc("student_no_teacher", 0.69)))
    assert said.badge == "unclear"
    close = (auc("student", 0.60), auc("student_counterfactual", 0.56))
    paired = replace(close[0], metric="attributable_leak", value=0.04, low=0.01, high=0.07)
    assert verdict(plain(*close)).badge == "unclear"  # the intervals overlap
    assert verdict(plain(*close, paired)).badge == "leaks"  # the same records tell the two apart
    assert verdict(plain(*close, replace(paired, low=-0.01))).badge == "unclear"
    assert verdict(plain(*close, replace(paired, attack="zlib"))).badge == "unclear"
    assert "not clearly better than a control" in said.headline


def test_a_leak_without_any_control_says_that_the_cause_is_open() -> None:
    assert "the cause is not shown" in verdict(plain(auc("student", 0.9))).detail


@pytest.mark.parametrize("stated", ["distribution shift, not leakage", "contaminated"])
def test_an_unsound_split_takes_the_headline(stated: str) -> None:
    said = verdict(plain(auc("student", 0.96), auc("student_no_teacher", 0.5), validity=stated))
    assert (said.tone, said.badge) == ("invalid", stated)
    assert said.headline.lower().startswith(stated)
    assert "betrays" not in said.headline + said.detail


def test_without_validity_checks_the_badge_says_so() -> None:
    said = verdict(plain(auc("student", 0.96), validity=""))
    assert said.badge == "leaks, unchecked"
    assert "not checked" in said.detail


def best(value: float, low: float, p: float, attack: str = "zlib") -> tuple[Result, Result]:
    """The audit's two rows about the best attack on the student."""
    found = replace(auc("student", value, attack=attack), metric="best_attack_auc", low=low, note="best of 2")
    return found, replace(found, metric="best_attack_p", value=p, low=math.nan, high=math.nan)


def test_another_attack_counts_only_beyond_what_many_attacks_find_by_luck() -> None:
    lucky = auc("student", 0.54, 0.035, "zlib")  # above 0.5 alone, not among two
    unscored = replace(auc("student", math.nan, math.nan, "reference"), note="refused: no member has a score")
    said = verdict(plain(auc("student", 0.51), lucky, unscored, *best(0.54, 0.498, 0.03)))
    assert said.tone == "clear"
    assert "none of 2 attacks tells" in said.headline and "best of 2: zlib attack, p = 0.03" in said.headline
    strong = verdict(plain(auc("student", 0.51), auc("student", 0.6, 0.03, "zlib"), unscored, *best(0.6, 0.56, 0.0005)))
    assert strong.tone == "leak"
    assert "AUC 0.60 [0.56, 0.63] (best of 2: zlib attack, p = 0.0005)" in strong.headline
    primary = verdict(plain(auc("student", 0.6), auc("student", 0.7, 0.03, "zlib"), *best(0.7, 0.66, 0.0005)))
    assert "AUC 0.60 [0.57, 0.63]." in primary.headline  # the attack that was named beforehand speaks where it can


def test_attacks_that_were_not_tested_together_are_not_all_cleared() -> None:
    said = verdict(plain(auc("student", 0.51), auc("student", 0.6, 0.03, "zlib")))
    assert "the loss attack does not tell" in said.headline


def test_a_few_exposed_members_are_a_leak_though_the_average_is_not() -> None:
    tail = rate("tpr_at_fpr", "student", 0.08, 0.055, 0.11, note="fpr=0.01", attack="loss")
    achieved = rate("achieved_fpr", "student", 0.01, 0.003, 0.025, note="fpr=0.01", attack="loss")
    said = verdict(plain(auc("student", 0.51), tail, achieved))
    assert said.tone == "leak"
    assert "betrays a few private records: at 1 % false alarms 8.0 %" in said.headline
    within = replace(achieved, high=0.06)  # the true FPR may be as high as the TPR's lower limit
    assert verdict(plain(auc("student", 0.51), tail, within)).tone == "clear"


def test_recitation_is_a_leak_only_above_the_outsiders() -> None:
    members = rate("extraction_rate", "student", 0.1, 0.07, 0.13, "private")
    floor = rate("extraction_rate", "student", 0.0, 0.0, 0.01, "outsiders")
    assert "recites 10.0 %" in verdict(plain(auc("student", 0.5), members, floor)).headline
    high_floor = replace(floor, value=0.09, low=0.06, high=0.12)
    assert verdict(plain(auc("student", 0.5), members, high_floor)).tone == "clear"


def test_missing_numbers_give_no_finding() -> None:
    nan = float("nan")
    assert verdict(plain(replace(auc("student", 0.9), low=nan, high=nan))).badge == "no finding"
    assert verdict(plain(replace(auc("student", 0.9), value=nan, low=nan, high=nan))).badge == "no finding"
    assert verdict(plain()).badge == "not audited"


def test_below_chance_is_said_and_not_folded() -> None:
    said = verdict(plain(auc("student", 0.3)))
    assert said.badge == "below chance"
    assert "0.30" in said.headline


def test_a_teacher_alone_can_be_audited() -> None:
    assert verdict(plain(auc("teacher", 0.9), summaries=())).headline.startswith(
        "The teacher betrays the private records"
    )


def test_a_slice_does_not_speak_for_the_whole() -> None:
    part = replace(auc("student", 0.9), n=40, dataset="category=poems")
    assert verdict(plain(part, auc("student", 0.51))).tone == "clear"


def test_numbers_in_words() -> None:
    row = auc("student", 0.956, 0.01)
    assert interval(row) == "0.96 [0.95, 0.97]"
    assert interval(replace(row, low=float("nan"))) == "0.96"
    assert interval(None) == "not measured"
    assert percent(replace(row, value=float("nan"))) == "no value"
    assert fpr_of("fpr=0.01; refused: too few") == 0.01
    assert math.isnan(fpr_of("fpr=low")) and math.isnan(fpr_of("")) and math.isnan(fpr_of("fpr="))
    assert number_in("40 members, 3 outsiders; p=0.01; bh p=0.03 of 5", "bh p") == 0.03


def test_a_group_is_shaded_only_where_its_adjusted_p_says_so() -> None:
    row = replace(auc("student", 0.6, 0.05), note="50 members, 50 outsiders; p=0.004; bh p=0.03 of 8")
    assert group_cell(row).plain == "0.60 [0.55, 0.65], p 0.03" and group_cell(row).tint > 0
    assert group_cell(replace(row, note="p=0.04; bh p=0.2 of 8")).tint == 0


def test_the_shifted_run_says_so_on_the_page(run: Path) -> None:
    from stillage.report import write_report
    from stillage.run.config import ReportConfig

    write_json(run / "audit" / "validity.json", SHIFT)
    write_report(run, ReportConfig(), title="shifted")
    html = (run / "report" / "report.html").read_text(encoding="utf-8")
    head = html[: html.index("<main>")]
    assert "Distribution shift, not leakage." in head
    assert "betrays" not in head
    assert "was given, not drawn" in html
    assert (run / "report" / "summary.txt").read_text().startswith("shifted: distribution shift, not leakage")


def test_timings_stay_out_of_the_results(run: Path) -> None:
    path = run / "evaluate" / "results.parquet"
    rows = read_results(path)
    write_results(
        path,
        [*rows, replace(rows[0], metric="generation_s", value=3.2), replace(rows[0], metric="speed", unit="tokens/s")],
    )
    assert {row.metric for row in read_run(run).results}.isdisjoint({"generation_s", "speed"})
