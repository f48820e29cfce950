"""Each model against its controls: AUC, share found and share recited, with tests.

Controls cannot know the members. Metrics: auc_beyond_control (attributable_leak is the student's
against its own counterfactual), tpr_beyond_control, extraction_beyond_control: model minus control
on the same records; `against` names the control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from stillage.audit.control_models import CONTROLS_OF, STUDENT
from stillage.audit.inherited import DIFFERENCES, difference_results, recited_of
from stillage.audit.paired_results import paired_results
from stillage.audit.scores import Aligned, Scores
from stillage.errors import UserError
from stillage.functional.pooled import PairedTest
from stillage.functional.stats import paired_share_test, paired_tpr_test
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa


def beyond_control_results(
    scores: pa.Table, recited: pa.Table, *, fprs: Sequence[float], level: float, base: Result
) -> list[Result]:
    """Compare every model with each of its controls.

    scores, recited: audit/scores.parquet, audit/extraction.parquet. AUC: per attack, Holm over a
    control's attacks. Share found: under the first attack, Holm over all controls and rates; rates
    that too few nonmembers allow are left out (the audit shows them as refused). Share recited:
    Holm over the controls. A claim about a model needs every control's row above zero.
    """
    attacks, results = Scores(scores).aligned(), list[Result]()
    members = recited_of(recited, "private")
    for model, controls in CONTROLS_OF.items():
        row = replace(base, model=model, level=level, dataset="private vs nonmembers")
        for control in controls:
            if DIFFERENCES.get("attributable_leak") != control or model != STUDENT:
                one = replace(row, metric="auc_beyond_control")
                results += difference_results(attacks, (model, control), level=level, row=one)
        first = next(iter(attacks.items()), None)
        if first is not None:
            one = replace(row, metric="tpr_beyond_control", attack=first[0], dataset="private")
            results += tpr_differences(first[1], model, controls, fprs, level, one)
        one = replace(row, metric="extraction_beyond_control", dataset="private")
        results += recital_differences(members, model, controls, level, one)
    return results


def tpr_differences(
    one: Aligned,
    model: str,
    controls: Sequence[str],
    fprs: Sequence[float],
    level: float,
    row: Result,
) -> list[Result]:
    """Share of members found less each control's, by rate, at each model's threshold."""
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for control in controls:
        if not one.compares(model, control):
            continue
        (own, other), member, clusters = one.kept(model, control)
        for fpr in fprs:
            try:
                tests.append(paired_tpr_test(own, other, member, fpr, level, clusters=clusters))
            except UserError:
                continue
            rows.append(replace(row, n=int(member.sum()), fpr=fpr, against=control))
    return paired_results(rows, tests, unit="difference of shares")


def recital_differences(
    recited: Mapping[str, Mapping[str, Array]],
    model: str,
    controls: Sequence[str],
    level: float,
    row: Result,
) -> list[Result]:
    """Compare the share recited with each control's; see `recited_of`."""
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for control in controls:
        if not {model, control} <= set(recited):
            continue
        own, other = recited[model], recited[control]
        both = (own["tokens"] > 0) & (other["tokens"] > 0)
        if both.any():
            first, second = (one["exact"][both].astype(bool) for one in (own, other))
            tests.append(paired_share_test(first, second, level, clusters=own["cluster"][both]))
            rows.append(replace(row, n=int(both.sum()), against=control))
    return paired_results(rows, tests, unit="difference of shares")
