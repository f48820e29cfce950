"""Each model against its controls: AUC, share found and share recited, with tests.

Controls cannot know the members. Metrics: auc_beyond_control (attributable_leak is the student's
against its own counterfactual), tpr_beyond_control, extraction_beyond_control: model minus control
on the same records; `against` names the control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.control_models import CONTROLS, STUDENT
from stillage.audit.extraction import by_model_and_part
from stillage.audit.inherited import DIFFERENCES, difference_results
from stillage.audit.paired_results import paired_results
from stillage.audit.scores import Aligned, Scores
from stillage.errors import UserError
from stillage.functional.pooled import PairedTest
from stillage.functional.stats import paired_share_test, paired_tpr_test
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Recited:
    """Which of one part's records a model recited; arrays in the order of record ids."""

    exact: Array  # bool[n]
    asked: Array  # bool[n]: had it anything to recite?
    clusters: Array  # int[n]: equal for near-duplicates


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
    exact = recited_members(recited)
    for model, controls in CONTROLS.items():
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
        results += recital_differences(exact, model, controls, level, one)
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
    exact: Mapping[str, Recited], model: str, controls: Sequence[str], level: float, row: Result
) -> list[Result]:
    """Share of members' targets recited less each control's, where both were asked."""
    rows: list[Result] = []
    tests: list[PairedTest] = []
    for control in controls:
        if not {model, control} <= set(exact):
            continue
        own, other = exact[model], exact[control]
        both = own.asked & other.asked
        if both.any():
            tests.append(
                paired_share_test(
                    own.exact[both], other.exact[both], level, clusters=own.clusters[both]
                )
            )
            rows.append(replace(row, n=int(both.sum()), against=control))
    return paired_results(rows, tests, unit="difference of shares")


def recited_members(table: pa.Table) -> dict[str, Recited]:
    """Model -> which members it recited, in the order of their ids."""
    members: dict[str, Recited] = {}
    for (model, part), columns in by_model_and_part(table).items():
        if part == "private":
            order = np.argsort(columns["id"], kind="stable")
            exact, tokens, clusters = (
                columns[name][order] for name in ("exact", "tokens", "cluster")
            )
            members[model] = Recited(exact=exact.astype(bool), asked=tokens > 0, clusters=clusters)
    return members
