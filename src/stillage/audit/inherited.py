"""The rows of results.parquet that compare teacher, student and controls.

On the same records. Metrics: attributable_leak, avoided_leak, inheritance, spearman, tpr_on_leaked,
inherited_rate, teacher_specific_rate, easy_rate, inheritance_curve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.control_models import ALONE, CLEAN, MINIMAL, STUDENT, TEACHER
from stillage.audit.extraction import by_model_and_part
from stillage.audit.inheritance import (
    Shares,
    found,
    inheritance_curve,
    inheritance_ratio,
    of_ratio,
    rank_among_nonmembers,
    shares_of,
    spearman,
    tpr_on_leaked,
)
from stillage.audit.paired_results import paired_results
from stillage.audit.scores import Aligned, Scores, folds_of
from stillage.errors import UserError
from stillage.functional.pooled import pooled_auc_test
from stillage.rng import generator
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

DIFFERENCES = {"attributable_leak": CLEAN, "avoided_leak": MINIMAL}
"""Metric -> the model whose AUC is taken from the student's."""


def inheritance_results(
    scores: pa.Table,
    recited: pa.Table,
    *,
    fprs: Sequence[float],
    level: float,
    base: Result,
    n_resamples: int = 1000,
) -> list[Result]:
    """Return all rows of this file for the student; none where a model is missing.

    scores: audit/scores.parquet. recited: model, id, part, exact, positional_accuracy
    (audit/memorization.parquet); with a column `group` near-duplicates count once in the intervals.
    fprs: error rates of tpr_on_leaked and of the sets by score; those that too few nonmembers allow
    are left out (the audit shows them as refused). The score curve is the first attack's.
    """
    row = replace(base, model=STUDENT, level=level, dataset="private vs nonmembers")
    attacks = Scores(scores).aligned()
    results: list[Result] = []
    for metric, other in DIFFERENCES.items():
        named = replace(row, metric=metric)
        results += difference_results(attacks, (STUDENT, other), level=level, row=named)
    for position, (attack, found_here) in enumerate(attacks.items()):
        if found_here.compares(TEACHER, STUDENT):
            one = replace(row, attack=attack)
            results += attack_results(found_here, fprs, level, one, n_resamples)
            if position == 0:
                (teacher, student), member, clusters = found_here.kept(TEACHER, STUDENT)
                ours, theirs = (rank_among_nonmembers(one, member) for one in (student, teacher))
                for part, side in (("private", member), ("nonmembers", ~member)):
                    curve = replace(one, dataset=part, unit="mean rank among nonmembers")
                    results += curve_results(theirs[side], ours[side], clusters[side], level, curve)
    return results + recital_results(recited, level=level, row=replace(row, dataset="private"))


def difference_results(
    attacks: Mapping[str, Aligned], pair: tuple[str, str], *, level: float, row: Result
) -> list[Result]:
    """Test AUC(first of the pair) - AUC(second) per attack, on the same records.

    p corrected over the attacks. Wider where the attack was cross-fitted on members and nonmembers,
    as everywhere (see auc_interval).
    """
    rows, tests = [], []
    for name, one in attacks.items():
        if not one.compares(*pair):
            continue
        (own, others), member, clusters = one.kept(*pair)
        n_folds = folds_of(pair[0], name)
        tests.append(
            pooled_auc_test([(own, others, member)], level, clusters=[clusters], n_folds=n_folds)
        )
        rows.append(replace(row, attack=name, n=len(member), against=pair[1]))
    return paired_results(rows, tests)


def attack_results(
    one: Aligned, fprs: Sequence[float], level: float, row: Result, n_resamples: int
) -> list[Result]:
    """Return an attack's inheritance, members' rank correlation and sets at each FPR."""
    (teacher, student), member, clusters = one.kept(TEACHER, STUDENT)
    draws = generator(row.seed, "inheritance", row.attack)
    ratio = inheritance_ratio(
        student, teacher, member, draws, clusters=clusters, n_resamples=n_resamples, level=level
    )
    results = [
        of_ratio(replace(row, metric="inheritance", unit="of the teacher's AUC above 0.5"), ratio),
        of_ratio(
            replace(row, metric="spearman", dataset="private"),
            spearman(teacher[member], student[member], level, clusters=clusters[member]),
        ),
    ]
    for fpr in fprs:
        at = replace(row, dataset="private", unit="share of records at these thresholds", fpr=fpr)
        try:
            leaked = tpr_on_leaked(student, teacher, member, fpr, level, clusters=clusters)
        except UserError:
            continue
        results.append(of_ratio(replace(at, metric="tpr_on_leaked"), leaked))
        if one.compares(TEACHER, STUDENT, ALONE):
            three, inside, together = one.kept(TEACHER, STUDENT, ALONE)
            try:
                sets = [found(values, inside, fpr)[inside] for values in three]
            except UserError:
                continue
            shares = shares_of(sets[0], sets[1], sets[2], level, clusters=together[inside])
            results += share_rows(at, shares)[1:]
    return results


def share_rows(row: Result, shares: Shares) -> list[Result]:
    """inherited_rate, teacher_specific_rate, easy_rate."""
    return [
        of_ratio(replace(row, metric=f"{share.name}_rate"), getattr(shares, share.name))
        for share in fields(shares)
    ]


def curve_results(
    teacher_N: Array, student_N: Array, clusters_N: Array, level: float, row: Result
) -> list[Result]:
    """E[student | teacher > tau], with n, at TAUS; row.dataset: whose records."""
    return [
        replace(
            row,
            metric="inheritance_curve",
            value=point.value,
            low=point.low,
            high=point.high,
            n=point.n,
            threshold=point.tau,
            note=f"{100 * point.share:.3g} % of {row.dataset}",
        )
        for point in inheritance_curve(teacher_N, student_N, level=level, clusters=clusters_N)
    ]


def recital_results(recited: pa.Table, *, level: float, row: Result) -> list[Result]:
    """Return the curve of each part's recitals, and the sets of members recited whole."""
    results: list[Result] = []
    by_part = {part: recited_of(recited, part) for part in ("private", "nonmembers")}
    for part, recitals in by_part.items():
        if not {TEACHER, STUDENT} <= set(recitals):
            continue
        teacher, student = (recitals[model]["positional_accuracy"] for model in (TEACHER, STUDENT))
        fine, clusters = np.isfinite(teacher) & np.isfinite(student), recitals[STUDENT]["cluster"]
        curve = replace(row, dataset=part, unit="mean share of tokens recited")
        results += curve_results(teacher[fine], student[fine], clusters[fine], level, curve)
    private = by_part["private"]
    if not {TEACHER, STUDENT} <= set(private):
        return results
    control = next((model for model in (ALONE, CLEAN) if model in private), "")
    exact = {model: rows["exact"].astype(bool) for model, rows in private.items()}
    at = replace(row, unit="share of records", against=control, note="recited")
    sets = (exact[TEACHER], exact[STUDENT], exact.get(control, np.zeros_like(exact[STUDENT])))
    rows = share_rows(at, shares_of(*sets, level, clusters=private[STUDENT]["cluster"]))
    return results + (rows if control else rows[:1])


def recited_of(recited: pa.Table, part: str) -> dict[str, dict[str, Array]]:
    """Model -> its columns over the records of one part, in the order of the ids."""
    recitals: dict[str, dict[str, Array]] = {}
    for (model, of), rows in by_model_and_part(recited).items():
        if of == part:
            order = np.argsort(rows["id"], kind="stable")
            recitals[model] = {name: values[order] for name, values in rows.items()}
    return recitals
