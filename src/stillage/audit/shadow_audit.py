"""Attacks with shadow pipelines, and counterfactual memorization measured by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attacks import FITTED_ATTACKS, SHADOW_ATTACKS
from stillage.audit.audit_records import AuditRecords
from stillage.audit.design import draw_design, shadow_name
from stillage.audit.fitted import fitted_scores
from stillage.audit.given import AuditModel, AuditModels, AuditSettings, scoring_model
from stillage.audit.queries import scored_tokens
from stillage.audit.shadow import counterfactual_rows, keep, shadow_scores
from stillage.data.tokenise import make_examples
from stillage.errors import ConfigError, DataError
from stillage.models.limits import stated_context, weights_key
from stillage.types import SIDES, Array, FittedAttack, Record, Result, ShadowAttack, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.membership import LeftOut
    from stillage.audit.shadow import Kept
    from stillage.data.split import Split
    from stillage.run.audit_config import AuditConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowResults:
    """What the shadow pipelines, and the attacks that learn, add to an audit."""

    scores: pa.Table  # rows of audit/scores.parquet
    left_out: list[LeftOut]
    results: list[Result]
    counterfactual: pa.Table | None = None  # audit/counterfactual.parquet


def chosen_attacks(audit: AuditConfig) -> tuple[list[ShadowAttack], list[FittedAttack]]:
    """Return the shadow attacks, and those that learn.

    Where shadows are asked for and none is named, all shadow attacks. ConfigError for one without
    shadows.
    """
    named = [SHADOW_ATTACKS[name] for name in audit.attacks if name in SHADOW_ATTACKS]
    if named and not audit.shadows:
        raise ConfigError(
            "These attacks need shadow pipelines.",
            f"attacks: {', '.join(attack.name for attack in named)}; audit.shadows: 0",
            "Give --audit.shadows 8 (each is a teacher and a student to train), or leave the "
            "attacks out.",
        )
    fitted = [FITTED_ATTACKS[name] for name in audit.attacks if name in FITTED_ATTACKS]
    return named or list(SHADOW_ATTACKS.values() if audit.shadows else ()), fitted


def shadow_design(split: Split, n_shadows: int, seed: int) -> tuple[list[Record], Array]:
    """Return members and nonmembers by id, and which shadow meets which: bool[K, N]."""
    pool = [record for part in SIDES for record in split.records_by_part.get(part, ())]
    pool.sort(key=lambda record: record.id)
    ids, groups = [record.id for record in pool], split.group_names(pool)
    return pool, draw_design(ids, groups, n_shadows, seed)


def shadow_audit(
    records: AuditRecords,
    models: AuditModels,
    stats: Mapping[str, Mapping[str, TokenStats]],
    met: Mapping[str, Sequence[str]],
    settings: AuditSettings,
) -> ShadowResults:
    """Ask the shadows, attack every audited model with them, and measure memorization.

    stats: audited model -> record id -> its scored tokens. met: shadow teacher -> the ids that it
    was trained on. Models that never met a member are attacked too: they have to come out at
    chance. Without shadows only the attacks that learn.
    """
    import pyarrow as pa

    audit, audited = settings.audit, records.audited
    attacks, fitted = chosen_attacks(audit)
    scores = fitted_scores(audited, stats, fitted, settings.seed)
    if not audit.shadows:
        return ShadowResults(scores=scores, left_out=[], results=[])
    in_KN = checked_design(records, met, audit.shadows, settings.seed)
    shadows = ask_shadows(models.shadows, records.records, settings)
    tables, left_out = [scores], []
    for kind, kept in shadows.items():
        targets = {
            name: keep([by_id[id_] for id_ in audited.ids])
            for name, by_id in stats.items()
            if name.startswith(kind)
        }
        table, without = shadow_scores(audited, targets, kept, in_KN, attacks)
        tables.append(table)
        left_out += without
    table, results = counterfactual_rows(
        audited, shadows, in_KN, level=audit.level, base=settings.base
    )
    return ShadowResults(
        scores=pa.concat_tables(tables), left_out=left_out, results=results, counterfactual=table
    )


def ask_shadows(
    shadows: Sequence[AuditModel], records: Sequence[Record], settings: AuditSettings
) -> dict[str, list[Kept]]:
    """Ask shadows, loading only those not asked before; kind of model -> replies kept."""
    replies: dict[str, list[Kept]] = {}
    for shadow in shadows:
        settings.progress("audit", {"model": shadow.name})
        stats = stats_before(shadow, records, settings)
        if stats is None:
            model = scoring_model(shadow, settings)
            stats = scored_tokens(model, model.encode(records))
        replies.setdefault(shadow.name.split("_")[0], []).append(keep(stats))
    return replies


def stats_before(
    shadow: AuditModel, records: Sequence[Record], settings: AuditSettings
) -> list[TokenStats] | None:
    """Return a shadow's cached token statistics, without loading it; None: not there."""
    from stillage.models.query import known_stats

    room, what = stated_context(shadow.source), f"{shadow.name}, audit"
    examples = make_examples(records, shadow.load_tokenizer(), settings.data, room, what=what)
    source, key = shadow.source, weights_key(shadow.source)
    return known_stats(examples, cache=settings.cache, key=key, dtype=source.dtype)


def checked_design(
    records: AuditRecords, met: Mapping[str, Sequence[str]], n_shadows: int, seed: int
) -> Array:
    """Return the audited records' design bool[K, N], as the shadows were trained.

    met: as in `shadow_audit`. DataError where a shadow's teacher met other records than planned.
    """
    pool, design_KN = shadow_design(records.split, n_shadows, seed)
    place = {record.id: index for index, record in enumerate(pool)}
    for number, in_N in enumerate(design_KN, 1):
        name = shadow_name("teacher", number)
        planned = {record.id for record, is_in in zip(pool, in_N.tolist(), strict=True) if is_in}
        if others := set(met[name]) - planned:
            raise DataError(
                f"The shadow {name} was trained on other records than the design says.",
                f"planned: {len(planned)}, met: {len(set(met[name]))}, not planned: {len(others)}",
                f"Remove the folder {name} of the run, and start again.",
            )
    return design_KN[:, np.array([place[id_] for id_ in records.audited.ids], dtype=np.int64)]
