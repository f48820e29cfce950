"""Membership attacks on what the models said, and their results with intervals.

Two steps, so that a new metric never asks a model again: `score_table` (one row per model, record
and attack) and `membership_results` (AUC, TPR at fixed FPR, counts of missing scores).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, cast

import numpy as np

from stillage.audit.alike import alike
from stillage.audit.queries import Reply, Responses
from stillage.audit.scores import BLIND, Scored, Scores
from stillage.data.grouping import cluster_numbers
from stillage.errors import ConfigError, UserError
from stillage.functional.readings import in_common
from stillage.functional.stats import tpr_at_fpr
from stillage.run.results import measured_row
from stillage.types import Array, Attack, Party, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger("stillage")

Partners = Mapping[Party, str]
"""Names of the models that an attack on one model asks, by part; its own name is skipped."""
ABSENT: Mapping[Party, str] = {
    "reference": "there is no reference model",
    "counterfactual": "there is no counterfactual of this model",
    "outside": "no model from elsewhere is given (audit.reference)",
    "initial": "where its training started is not known",
    "teacher_initial": "where the teacher's training started is not known",
    "self_prompted": "it is not trained in this run, so no model of the same start could be "
    "trained on its texts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Audited:
    """The records of an audit, in one order."""

    ids: tuple[str, ...]
    parts: tuple[str, ...]  # private: members; nonmembers
    texts: tuple[str, ...]  # the responses
    groups: tuple[str, ...]  # name of the near-duplicates that a record belongs to; "": it is alone

    @property
    def is_member(self) -> Array:
        """bool[n]: the record is one of the teacher's private ones."""
        return np.array([part == "private" for part in self.parts])

    @property
    def clusters(self) -> Array:
        """int[n]: equal for records of one group."""
        return cluster_numbers(self.ids, self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """An attack that was not run on a model, and why."""

    model: str
    attack: str
    why: str


def score_attack(attack: Attack, audited: Audited, said: Mapping[Party, Responses]) -> Array:
    """Return the attack's score of each record, float64[n].

    Higher = likelier a member. NaN where it cannot say, has no reply, or where its replies do not
    compare (`alike`): the last are counted in the log. ConfigError where it returns anything but
    one number.
    """
    scores, apart = np.full(len(audited.ids), np.nan), 0
    for index, (id_, text) in enumerate(zip(audited.ids, audited.texts, strict=True)):
        replies = [
            text if query.party == "record" else said[query.party].replies[query.transform].get(id_)
            for query in attack.queries
        ]
        if all(reply is not None for reply in replies):
            read = alike(attack, cast("list[Reply]", replies))
            apart += read is None
            scores[index] = np.nan if read is None else one_number(attack, attack.score(*read))
    if apart:
        LOG.warning(
            "the attack %s: %d of %d records were cut so that what it compares is of unlike "
            "texts: they get no score",
            attack.name,
            apart,
            len(scores),
        )
    return scores


def one_number(attack: Attack, score: object) -> float:
    """Return the score of an attack as a float; ConfigError where it is none."""
    if isinstance(score, Real) or (isinstance(score, np.ndarray) and score.ndim == 0):
        return float(score)
    shape = f" of shape {score.shape}" if isinstance(score, np.ndarray) else ""
    raise ConfigError(
        f"The attack {attack.name} gave no number.",
        f"its score returned: {type(score).__name__}{shape}",
        "Let it return a float: higher = more likely a member, NaN where it cannot say.",
    )


def obstacle(attack: Attack, audited: Audited, said: Mapping[Party, Responses]) -> str:
    """Say why the attack cannot be run with these replies; empty where it can."""
    for query in attack.queries:
        if query.party == "record":
            continue
        if query.party not in said:
            return ABSENT[query.party]
        replies, unasked = said[query.party].replies, said[query.party].unasked
        if query.transform not in replies:
            return unasked.get(query.transform, f"{query.transform} was not asked")
    if not attack.same_tokens:
        return ""
    asked = [said[query.party].replies for query in attack.queries if query.transform == "as_is"]
    other = 0
    for id_ in audited.ids:
        common = in_common([cast("TokenStats", replies["as_is"][id_]) for replies in asked])
        other += len({tuple(one.ids_T.tolist()) for one in common or ()}) > 1
    if not other:
        return ""
    return (
        f"the two models read {other} of {len(audited.ids)} records as other tokens "
        "(use reference_per_byte)"
    )


def score_table(
    audited: Audited,
    said: Mapping[str, Responses],
    attacks: Sequence[Attack],
    partners: Mapping[str, Partners],
) -> tuple[pa.Table, list[LeftOut]]:
    """Run every attack on every model; return the scores and what was left out.

    Rows: model, id, part, group, attack, score. said: replies by name of model. partners: for every
    attacked model, whom else its attacks ask. What is left out is said in the log, once per attack
    and reason; a comparison of a model with itself is none.
    """
    import pyarrow as pa

    tables, left_out = [score_schema().empty_table()], []
    for model, others in partners.items():
        parties: dict[Party, Responses] = {part: said[name] for part, name in others.items()}
        parties["target"] = said[model]
        for attack in attacks:
            if any(others.get(query.party) == model for query in attack.queries):
                continue
            if why := obstacle(attack, audited, parties):
                left_out.append(LeftOut(model=model, attack=attack.name, why=why))
                continue
            scores = score_attack(attack, audited, parties)
            tables.append(score_rows(audited, model, attack.name, scores))
    for name, why in dict.fromkeys((entry.attack, entry.why) for entry in left_out):
        models = [entry.model for entry in left_out if (entry.attack, entry.why) == (name, why)]
        LOG.warning("the attack %s is left out on %s: %s", name, ", ".join(models), why)
    return pa.concat_tables(tables), left_out


def left_out_results(left_out: Sequence[LeftOut], base: Result) -> list[Result]:
    """Return a left_out row, without value, per attack not run, with the reason."""
    return [
        replace(base, model=e.model, attack=e.attack, metric="left_out", reason=e.why)
        for e in left_out
    ]


def score_rows(audited: Audited, model: str, attack: str, scores: Array) -> pa.Table:
    """Return an attack's scores float64[n] of a model as rows of audit/scores.parquet."""
    import pyarrow as pa

    n, schema = len(audited.ids), score_schema()
    texts = [[model] * n, audited.ids, audited.parts, audited.groups, [attack] * n]
    columns = dict(zip(schema.names, [*texts, scores.tolist()], strict=True))
    return pa.table(columns, schema=schema)


def score_schema() -> pa.Schema:
    """Return the columns of audit/scores.parquet."""
    import pyarrow as pa

    text = pa.string()
    names = ("model", "id", "part", "group", "attack")
    return pa.schema([*((name, text) for name in names), ("score", pa.float64())])


def blind_rows(audited: Audited, scores: Mapping[str, Array]) -> pa.Table:
    """Return scores of attacks that saw no model, as rows of the model "blind"."""
    import pyarrow as pa

    return pa.concat_tables(
        [score_rows(audited, BLIND, name, values) for name, values in scores.items()]
    )


def membership_results(
    table: pa.Table, *, fprs: Sequence[float], level: float, base: Result
) -> list[Result]:
    """Compute AUC, and TPR at each FPR, for every model and attack.

    What cannot be computed is a NaN with its reason: a rate that too few nonmembers allow, and an
    attack without a score for any member, or any nonmember. Missing scores are counted in their own
    row (metric nan_scores). base carries run, stage, seed and method.
    """
    results: list[Result] = []
    read = Scores(table)
    for model, attack in read.pairs:
        scored = read.of(model, attack)
        n, members = len(scored.scores), int(scored.is_member.sum())
        row = replace(base, model=model, attack=attack, dataset="private vs nonmembers")
        row = replace(row, level=level, n=n, n_members=members, n_nonmembers=n - members)
        if missing := scored.dropped:
            LOG.warning(
                "%s on %s: %d of %d records have no score", attack, model, missing, n + missing
            )
            lost = replace(row, metric="nan_scores", value=float(missing), n=n + missing)
            results.append(lost)
        try:
            auc = scored.auc(level)
        except UserError as error:
            results.append(replace(row, metric="auc", value=math.nan, reason=error.what))
            continue
        results.append(measured_row(row, "auc", auc))
        for fpr in fprs:
            results += rate_results(scored, replace(row, fpr=fpr))
    return results


def rate_results(scored: Scored, row: Result) -> list[Result]:
    """Compute the TPR at a row's FPR, the true rate's interval, the FPR achieved."""
    clusters = scored.clusters
    try:
        rate = tpr_at_fpr(scored.scores, scored.is_member, row.fpr, row.level, clusters=clusters)
    except UserError as error:
        needed = math.ceil(3 / row.fpr - 1e-9)
        row = replace(row, metric="tpr_at_fpr", value=math.nan, needed=needed)
        return [replace(row, reason=error.what)]
    found = replace(row, metric="tpr_at_fpr", n=rate.n)
    achieved = replace(row, metric="achieved_fpr", value=rate.achieved_fpr, n=rate.n_nonmembers)
    return [
        replace(found, value=rate.value, low=rate.low, high=rate.high),
        replace(achieved, low=rate.achieved_fpr_low, high=rate.achieved_fpr_high),
    ]
