"""Checks of where records went and whether members differ, and their verdict.

A membership AUC is leakage only if members and nonmembers differ in nothing but training. Each
check is a pure function of plain inputs; `judge` turns them into the verdict, whether the claim may
be printed, that heads the report.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from stillage.audit.detectable import Visible, sight_of
from stillage.functional.stats import Interval, auc_interval
from stillage.types import Array

Fault = Literal[
    "cannot tell leakage from a difference of the groups", "contaminated", "unusable scores"
]
Verdict = Literal["valid", "too few records to tell"] | Fault
Value = float | int | str | Sequence[str]

CONTAMINATED: Fault = "contaminated"
UNUSABLE: Fault = "unusable scores"
SHIFT: Fault = "cannot tell leakage from a difference of the groups"
WORST_FIRST = (CONTAMINATED, UNUSABLE, SHIFT)
TOO_FEW: Verdict = "too few records to tell"
STRICT = 0.999  # level of a check that stands alone
SHOWN = 5  # ids listed in a check's values
NAN_TOLERANCE = 0.01  # share of records that may lack a score; they move an AUC by as much at most

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
    ids_by_stage: Mapping[str, Collection[str]], part_by_id: Mapping[str, str]
) -> Check:
    """Check that no record reached a stage that must not see it (MAY_SEE).

    Private records must not reach the student or the tokenizer, nonmembers no stage. ids_by_stage:
    the ids that each TRAINING stage read (tokenizer, teacher, student, their rollouts ...), not
    those it was audited on. part_by_id: the split; ids that are not in it fail too, for nobody can
    say what they are. An id of two parts (public and test may share records) counts as the one
    given here.
    """
    values: dict[str, Value] = {
        f"records in {stage}": len(ids) for stage, ids in sorted(ids_by_stage.items())
    }
    leaks: list[str] = []
    for stage, ids in sorted(ids_by_stage.items()):
        known = sorted((name for name in MAY_SEE if stage.startswith(name)), key=len)
        allowed = MAY_SEE[known[-1]] if known else STUDENT_SEES
        strange: dict[str, list[str]] = {}
        for id_ in ids:
            if (part := part_by_id.get(id_, "unknown")) not in allowed:
                strange.setdefault(part, []).append(id_)
        for part, found in sorted(strange.items()):
            leaks.append(f"{len(found)} {part} in {stage}")
            values[f"{part} in {stage}"] = len(found)
            values[f"{part} in {stage}, ids"] = sorted(found)[:SHOWN]
    detail = "Every stage saw only its own records."
    if leaks:
        detail = f"Records where they must not be: {'; '.join(leaks)}."
    return Check(
        name="provenance", passed=not leaks, fault=CONTAMINATED, detail=detail, values=values
    )


def chance_p(interval: Interval) -> float:
    """Return the two-sided p-value of AUC = 0.5 that an interval of stats implies.

    logit(AUC) against its half width. Never below 1 - level where the interval holds 0.5 (few
    records, where exact limits are not symmetric).
    """
    from scipy.special import ndtr, ndtri

    low, high, value = np.clip([interval.low, interval.high, interval.value], 1e-12, 1 - 1e-12)
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
    auc = auc_interval(places, is_member, level=STRICT, clusters=clusters)
    sight = sight_of(places, is_member, STRICT, clusters=clusters)
    passed = auc.contains(0.5)
    says = "tells" if not passed else "is not seen to tell" if sight.is_blind else "says nothing"
    return _no_shift(
        "order",
        passed,
        f"The place in the source file {says} about membership (AUC {auc.value:.3f}).",
        {"auc": auc.value, "low": auc.low, "high": auc.high},
        sight,
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
    inside, outside = (
        f"{int((cut & side).sum())} of {int(side.sum())}" for side in (member, ~member)
    )
    return _no_shift(
        "truncation",
        p >= 1 - STRICT,
        f"{inside} members and {outside} nonmembers were cut short.",
        {"p": p},
        sight_of(scores, member, STRICT, clusters=clusters) if np.unique(cut).size > 1 else None,
    )


def _no_shift(
    name: str, passed: bool, detail: str, values: Mapping[str, Value], sight: Visible | None
) -> Check:
    """Make a check of a difference of the groups, with what it would have seen of one."""
    return Check(
        name=name,
        passed=passed,
        fault=SHIFT,
        detail=f"{detail} {sight.words}" if passed and sight else detail,
        values={**values, **(sight.values if sight else {})},
        undecided=passed and sight is not None and sight.is_blind,
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
    detail = f"Each of {len(ids_by_score)} score columns has all {len(expected)} records once."
    if wrong:
        said = "; ".join(f"{name}: {how}" for name, how in sorted(wrong.items()))
        detail = f"Scores of other records than those audited: {said}."
    return Check(name="records", passed=not wrong, fault=CONTAMINATED, detail=detail, values=wrong)


def check_answers(scores_by_model: Mapping[str, Sequence[Array]]) -> Check:
    """Check that every model said something about the records.

    Fails where it returns NaN, or one number for all of them. scores_by_model: for each model the
    scores float64[n] of attacks that ask it about the record alone, in one order. A record without
    a finite score under all of them has no answer: counted, and tolerated up to 1 %.
    """
    silent, values, lost = [], dict[str, Value](), 0
    for model, columns in sorted(scores_by_model.items()):
        finite = np.isfinite(columns)
        missing, n = int((~finite.any(axis=0)).sum()), finite.shape[1]
        lost += missing
        if missing:
            values[f"{model}, records without score"] = missing
        if missing > NAN_TOLERANCE * n:
            silent.append(f"{model} has no finite score for {missing} of {n} records")
        elif all(
            np.unique(column[kept]).size < 2 for column, kept in zip(columns, finite, strict=True)
        ):
            silent.append(f"{model} gives all {n} records one score")
    detail = f"{lost} scores are missing, within what is tolerated."
    if silent:
        detail = f"Scores that say nothing: {'; '.join(silent)}."
    elif not lost:
        detail = "Every model scored every record."
    return Check(name="answers", passed=not silent, fault=UNUSABLE, detail=detail, values=values)


def check_sources(expected: Mapping[str, str], found: Mapping[str, str]) -> Check:
    """Check the fingerprints (hashes) of the scores' models, tokenizers and data."""
    wrong = {
        name: f"expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(set(expected) | set(found))
        if expected.get(name) != found.get(name)
    }
    detail = f"All {len(expected)} inputs of the scores are those of this run."
    if wrong:
        detail = f"Scores were made with other inputs: {', '.join(wrong)}."
    return Check(name="sources", passed=not wrong, fault=CONTAMINATED, detail=detail, values=wrong)


def judge(checks: Sequence[Check], unchecked: Mapping[str, str] | None = None) -> Validity:
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
    if failed:
        headline = " ".join(check.detail for check in failed)
    elif told:
        headline = _needs(told)
    else:
        silent = [check.name for check in checks if check.says_nothing]
        headline = f"All {len(checks) - len(silent)} validity checks passed."
        headline += f" Open: {', '.join(silent)}." if silent else ""
    return Validity(
        checks=tuple(checks), verdict=verdict, headline=headline, unchecked=dict(unchecked or {})
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


def _logit(share: float) -> float:
    """Return log(share / (1 - share))."""
    return math.log(share / (1 - share))
