"""Run membership attacks over what the models said, and turn the scores into numbers with intervals.

Two steps, so that a new metric never asks a model again: `score_table` (one row per model, record and attack) and
`membership_results` (AUC, TPR at fixed FPR, counts of missing scores).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import blind_interval
from stillage.errors import UserError
from stillage.functional.stats import auc_interval, finite, roc_auc, tpr_at_fpr
from stillage.types import Array, Attack, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("stillage")
BLIND = "blind"
"""The model name under which attacks that see no model are listed."""

StatsById = Mapping[str, TokenStats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The records of an audit, in one order: ids, role (private = member, outsiders = not), response texts."""

    ids: tuple[str, ...]
    roles: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def is_member(self) -> Array:
        """bool[n]: is the record one of the teacher's private ones?"""
        return np.array([role == "private" for role in self.roles])


def score_attack(attack: Attack, audited: Audited, target: StatsById, reference: StatsById | None) -> Array:
    """The attack's score of each record, float64[n]; NaN where it cannot say. Higher = more likely a member."""
    scores = np.empty(len(audited.ids))
    for index, (id_, text) in enumerate(zip(audited.ids, audited.texts, strict=True)):
        replies = []
        for request in attack.requests:
            if request.role == "record":
                replies.append(text)
            else:
                stats = target if request.role == "target" else reference
                assert stats is not None, "an attack that needs a reference is only run where there is one"
                replies.append(stats[id_])
        scores[index] = attack.score(*replies)
    return scores


def needs_reference(attack: Attack) -> bool:
    """Does the attack ask a second model?"""
    return any(request.role == "reference" for request in attack.requests)


def score_table(
    audited: Audited, stats: Mapping[str, StatsById], attacks: Sequence[Attack], reference: str = ""
) -> pa.Table:
    """Every attack on every model: rows (model, id, role, attack, score).

    stats: model name -> record id -> TokenStats. reference: the model that reference attacks compare with; it is not
    attacked with itself, and without one those attacks are left out (the caller says so).
    """
    import pyarrow as pa

    rows: dict[str, list] = {"model": [], "id": [], "role": [], "attack": [], "score": []}
    for model, target in stats.items():
        for attack in attacks:
            if needs_reference(attack) and reference in ("", model):
                continue
            scores = score_attack(attack, audited, target, stats.get(reference))
            rows["model"] += [model] * len(audited.ids)
            rows["id"] += audited.ids
            rows["role"] += audited.roles
            rows["attack"] += [attack.name] * len(audited.ids)
            rows["score"] += scores.tolist()
    return pa.table(rows, schema=score_schema())


def score_schema() -> pa.Schema:
    """The columns of audit/scores.parquet."""
    import pyarrow as pa

    text = pa.string()
    return pa.schema([("model", text), ("id", text), ("role", text), ("attack", text), ("score", pa.float64())])


def blind_rows(audited: Audited, scores: Mapping[str, Array]) -> pa.Table:
    """Scores of attacks that saw no model, as rows of the same table under the model name "blind"."""
    import pyarrow as pa

    rows: dict[str, list] = {"model": [], "id": [], "role": [], "attack": [], "score": []}
    for name, values in scores.items():
        rows["model"] += [BLIND] * len(audited.ids)
        rows["id"] += audited.ids
        rows["role"] += audited.roles
        rows["attack"] += [name] * len(audited.ids)
        rows["score"] += values.tolist()
    return pa.table(rows, schema=score_schema())


def by_model_and_attack(table: pa.Table) -> dict[tuple[str, str], tuple[Array, Array]]:
    """(model, attack) -> (scores float64[n], is_member bool[n]), in the table's order."""
    model, attack, role, score = (table.column(name).to_numpy() for name in ("model", "attack", "role", "score"))
    found: dict[tuple[str, str], tuple[Array, Array]] = {}
    for pair in dict.fromkeys(zip(model, attack, strict=True)):
        chosen = (model == pair[0]) & (attack == pair[1])
        found[pair] = (score[chosen], role[chosen] == "private")
    return found


def membership_results(table: pa.Table, *, fprs: Sequence[float], level: float, base: Result) -> list[Result]:
    """AUC and TPR at each FPR for every model and attack; a rate that too few outsiders allow is a NaN with its reason.

    base carries run, stage, seed and method. Missing scores are counted in their own row (metric nan_scores).
    """
    results: list[Result] = []
    for (model, attack), (all_scores, all_member) in by_model_and_attack(table).items():
        scores, is_member, dropped = finite(all_scores, all_member)
        row = replace(base, model=model, attack=attack, dataset="private vs outsiders", level=level, n=len(scores))
        if dropped:
            LOG.warning("%s on %s: %d of %d records have no score", attack, model, dropped, len(all_scores))
            results.append(replace(row, metric="nan_scores", value=float(dropped), n=len(all_scores)))
        interval = (blind_interval if model == BLIND else auc_interval)(scores, is_member, level)
        results.append(
            replace(row, metric="auc", value=roc_auc(scores, is_member), low=interval.low, high=interval.high)
        )
        for fpr in fprs:
            results += rate_results(scores, is_member, fpr, level, row)
    return results


def rate_results(scores: Array, is_member: Array, fpr: float, level: float, row: Result) -> list[Result]:
    """TPR at one FPR with its exact interval, and the FPR achieved with its own."""
    note = f"fpr={fpr:g}"
    try:
        rate = tpr_at_fpr(scores, is_member, fpr, level)
    except UserError as error:
        return [replace(row, metric="tpr_at_fpr", value=float("nan"), note=f"{note}; refused: {error.what}")]
    return [
        replace(row, metric="tpr_at_fpr", value=rate.value, low=rate.low, high=rate.high, n=rate.n, note=note),
        replace(row, metric="achieved_fpr", value=rate.achieved_fpr, low=rate.achieved_fpr_low,
                high=rate.achieved_fpr_high, n=rate.n_outsiders, note=note),
    ]  # fmt: skip
