"""Checks of where records went and whether members differ, and their verdict.

A membership AUC is leakage only if members and nonmembers differ in nothing but training. Each
check is a pure function of plain inputs; `judge` turns them into the verdict, whether the claim may
be printed, that heads the report.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from stillage.audit.detectable import Visible, sight_of
from stillage.functional.stats import Interval, auc_interval
from stillage.types import Array

Verdict = Literal[
    "valid",
    "too few records to tell",
    "cannot tell leakage from a difference of the groups",
    "contaminated",
    "unusable scores",
]
Fault = Literal[
    "cannot tell leakage from a difference of the groups", "contaminated", "unusable scores"
]
Value = float | int | str | Sequence[str]

SHIFT: Fault = "cannot tell leakage from a difference of the groups"
TOO_FEW: Verdict = "too few records to tell"
STRICT = 0.999  # level of a check that stands alone
WORST_FIRST: tuple[Fault, ...] = ("contaminated", "unusable scores", SHIFT)
SHOWN = 5  # ids listed in a check's values
NAN_TOLERANCE = 0.01  # share of records that may lack a score; they move an AUC by as much at most

NOTHING: Mapping[str, str] = {}

STUDENT_SEES: frozenset[str] = frozenset({"public", "validation"})
MAY_SEE: Mapping[str, frozenset[str]] = {
    "teacher_counterfactual": STUDENT_SEES | {"counterfactual"},
    "teacher": STUDENT_SEES | {"private"},
    "teacher_shadow": STUDENT_SEES | {"private", "nonmembers"},
}
"""Parts that a training stage may see, by the beginning of its name, the longest first.

Any other stage (tokenizer, student, rollouts, reference) sees what the student may. Nobody trains
on nonmembers or test records, but the teachers of shadow pipelines on nonmembers: no audited model
learns from those.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of the run: passed or not, in a sentence, with the numbers.

    fault: what failing means. undecided: nothing was found, but with so few records hardly anything
    would have been; `passed` then means no more than that it did not fail, and the detail says how
    many records it needs. says_nothing: it did not fail, and what it found can be read either way;
    shown as open, the verdict is not changed.
    """

    name: str
    passed: bool
    fault: Fault
    detail: str
    values: Mapping[str, Value] = field(default_factory=dict)
    undecided: bool = False
    says_nothing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """The checks, and the verdict that follows from them.

    "valid", what the numbers show instead of leakage, or that they can show nothing. unchecked:
    what could not be asked of this run -> why.
    """

    checks: tuple[Check, ...]
    verdict: Verdict
    headline: str
    unchecked: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return plain lists and dictionaries, for audit/validity.json."""
        return asdict(self)


def check_provenance(
    ids_by_stage: Mapping[str, Collection[str]],
    part_by_id: Mapping[str, str],
    may_see: Mapping[str, frozenset[str]] = MAY_SEE,
) -> Check:
    """Check that no record reached a stage that must not see it.

    Private records must not reach the student or the tokenizer, nonmembers no stage. ids_by_stage:
    the ids that each TRAINING stage read (tokenizer, teacher, student, their rollouts ...), not
    those it was audited on. part_by_id: the split; ids that are not in it fail too, for nobody can
    say what they are. An id of two parts (public and test may share records) counts as the one
    given here.
    """
    wrong_parts: dict[str, Value] = {}
    for stage, ids in sorted(ids_by_stage.items()):
        allowed = _may_see(stage, may_see)
        wrong = Counter(part_by_id.get(id_, "unknown") for id_ in ids)
        for part in sorted(set(wrong) - allowed):
            wrong_parts[f"{part} in {stage}"] = wrong[part]
            wrong_parts[f"{part} in {stage}, ids"] = sorted(
                i for i in ids if part_by_id.get(i, "unknown") == part
            )[:SHOWN]
    leaks = [f"{count} {place}" for place, count in wrong_parts.items() if isinstance(count, int)]
    said = (
        f"Records where they must not be: {'; '.join(leaks)}."
        if leaks
        else "Every stage saw only its own records."
    )
    sizes = {f"records in {stage}": len(ids) for stage, ids in sorted(ids_by_stage.items())}
    return Check(
        name="provenance",
        passed=not leaks,
        fault="contaminated",
        detail=said,
        values={**sizes, **wrong_parts},
    )


def chance_p(interval: Interval) -> float:
    """Return the two-sided p-value of AUC = 0.5 that an interval of stats implies.

    logit(AUC) against its half width. Never below 1 - level where the interval holds 0.5 (few
    records, where exact limits are not symmetric).
    """
    from scipy.special import ndtr, ndtri

    low, high, value = (
        min(max(limit, 1e-12), 1 - 1e-12) for limit in (interval.low, interval.high, interval.value)
    )
    error = (_logit(high) - _logit(low)) / (2 * float(ndtri((1 + interval.level) / 2)))
    p = min(1.0, 2 * float(ndtr(-abs(_logit(value)) / max(error, 1e-12))))
    return max(p, 1 - interval.level) if interval.contains(0.5) else p


def check_order(position: Array, is_member: Array, *, clusters: Array | None = None) -> Check:
    """Check that a record's place in its source file does not tell its membership.

    A recorded random draw leaves no trace of it. position: place in the one file that members and
    nonmembers were drawn from. clusters int[n]: equal for records that were drawn together. Fails
    when the 99.9 % interval of the position's AUC excludes 0.5.
    """
    places = np.asarray(position, dtype=np.float64)
    interval = auc_interval(places, is_member, level=STRICT, clusters=clusters)
    sight = sight_of(places, np.asarray(is_member, dtype=bool), STRICT, clusters=clusters)
    passed = interval.contains(0.5)
    undecided = passed and sight.is_blind
    says = "tells" if not passed else "is not seen to tell" if undecided else "says nothing"
    detail = f"The place in the source file {says} about membership (AUC {interval.value:.3f})."
    values: dict[str, Value] = {"auc": interval.value, "low": interval.low, "high": interval.high}
    return Check(
        name="order",
        passed=passed,
        fault=SHIFT,
        detail=_with_sight(detail, passed, sight),
        values=values | sight.values,
        undecided=undecided,
    )


def check_truncation(was_cut: Array, is_member: Array, *, clusters: Array | None = None) -> Check:
    """Check that members and nonmembers were cut to the context alike.

    clusters int[n]: equal for records that were drawn together, and are often cut together. Fails
    when the AUC of "was cut", which is 0.5 + half the difference of the shares, is away from 0.5
    with p < 0.001. Where all records or none were cut, that is known of every one of them, however
    few they are.
    """
    cut, member = np.asarray(was_cut, dtype=bool), np.asarray(is_member, dtype=bool)
    scores = cut.astype(np.float64)
    p = chance_p(auc_interval(scores, member, level=STRICT, clusters=clusters))
    counts = [f"{int((cut & side).sum())} of {int(side.sum())}" for side in (member, ~member)]
    detail, values = (
        f"{counts[0]} members and {counts[1]} nonmembers were cut short.",
        dict[str, Value]({"p": p}),
    )
    passed = p >= 1 - STRICT
    if cut.all() or not cut.any():
        return Check(name="truncation", passed=passed, fault=SHIFT, detail=detail, values=values)
    sight = sight_of(scores, member, STRICT, clusters=clusters)
    return Check(
        name="truncation",
        passed=passed,
        fault=SHIFT,
        detail=_with_sight(detail, passed, sight),
        values=values | sight.values,
        undecided=passed and sight.is_blind,
    )


def check_records(
    expected_ids: Collection[str], ids_by_score: Mapping[str, Sequence[str]]
) -> Check:
    """Check that every model and attack scored each audited record exactly once."""
    expected, wrong = set(expected_ids), {}
    for name, ids in ids_by_score.items():
        missing, strange = len(expected - set(ids)), len(set(ids) - expected)
        repeated = len(ids) - len(set(ids))
        if missing or strange or repeated:
            wrong[name] = f"{missing} missing, {strange} of other records, {repeated} repeated"
    detail = (
        "Scores of other records than those audited: "
        f"{'; '.join(f'{k}: {v}' for k, v in sorted(wrong.items()))}."
        if wrong
        else f"Each of {len(ids_by_score)} score columns has all {len(expected)} records once."
    )
    return Check(
        name="records", passed=not wrong, fault="contaminated", detail=detail, values=wrong
    )


def check_answers(scores_by_model: Mapping[str, Sequence[Array]]) -> Check:
    """Check that every model said something about the records.

    Fails where it returns NaN, or one number for all of them. scores_by_model: for each model the
    scores float64[n] of attacks that ask it about the record alone, in one order. A record without
    a finite score under all of them has no answer: counted, and tolerated up to 1 %.
    """
    silent, values = [], dict[str, Value]()
    for model, columns in sorted(scores_by_model.items()):
        finite = np.isfinite(columns)
        missing, n = int((~finite.any(axis=0)).sum()), finite.shape[1]
        if missing:
            values[f"{model}, records without score"] = missing
        if missing > NAN_TOLERANCE * n:
            silent.append(f"{model} has no finite score for {missing} of {n} records")
        elif all(
            np.unique(column[kept]).size < 2 for column, kept in zip(columns, finite, strict=True)
        ):
            silent.append(f"{model} gives all {n} records one score")
    lost = sum(value for value in values.values() if isinstance(value, int))
    fine = (
        "Every model scored every record."
        if not lost
        else f"{lost} scores are missing, within what is tolerated."
    )
    detail = f"Scores that say nothing: {'; '.join(silent)}." if silent else fine
    return Check(
        name="answers", passed=not silent, fault="unusable scores", detail=detail, values=values
    )


def check_sources(expected: Mapping[str, str], found: Mapping[str, str]) -> Check:
    """Check the fingerprints (hashes) of the scores' models, tokenizers and data."""
    wrong = {
        name: f"expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(set(expected) | set(found))
        if expected.get(name) != found.get(name)
    }
    detail = (
        f"Scores were made with other inputs: {', '.join(wrong)}."
        if wrong
        else f"All {len(expected)} inputs of the scores are those of this run."
    )
    return Check(
        name="sources", passed=not wrong, fault="contaminated", detail=detail, values=wrong
    )


def judge(checks: Sequence[Check], unchecked: Mapping[str, str] = NOTHING) -> Validity:
    """Return the verdict: the worst fault, else too few records, or valid.

    Contaminated if any such check fails, else unusable scores, else a shift. headline: the failed
    checks in their own words, the worst first; how many records those need that could not tell; or
    what passed.
    """
    assert checks, "a verdict needs at least one check"
    failed = sorted(
        (check for check in checks if not check.passed),
        key=lambda check: WORST_FIRST.index(check.fault),
    )
    told = failed or [check for check in checks if check.undecided]
    verdict: Verdict = failed[0].fault if failed else TOO_FEW if told else "valid"
    silent = [check.name for check in checks if check.says_nothing]
    headline = f"All {len(checks) - len(silent)} validity checks passed."
    headline += f" Open: {', '.join(silent)}." if silent else ""
    if told:
        headline = _needs(told) if not failed else " ".join(check.detail for check in told)
    return Validity(
        checks=tuple(checks), verdict=verdict, headline=headline, unchecked=dict(unchecked)
    )


def _needs(undecided: Sequence[Check]) -> str:
    """Say how many records there are, and how many the undecided checks need."""
    first = undecided[0].values
    needed = max(int(str(check.values["needed of each"])) for check in undecided)
    names = ", ".join(check.name for check in undecided)
    return (
        f"There are {first['members']} members and {first['nonmembers']} nonmembers, and the "
        f"checks of whether the two differ by themselves ({names}) need {needed} of each."
    )


def _with_sight(detail: str, passed: bool, sight: Visible) -> str:
    """Add what would have been found to the detail of a check that found nothing."""
    return f"{detail} {sight.words}" if passed else detail


def _may_see(stage: str, may_see: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the parts a stage may see, by the longest listed beginning of its name."""
    known = sorted((name for name in may_see if stage.startswith(name)), key=len)
    return may_see[known[-1]] if known else STUDENT_SEES


def _logit(share: float) -> float:
    """Return log(share / (1 - share))."""
    return math.log(share / (1 - share))
