"""Shadow pipelines of a run: a teacher trained on its half of the records, a student distilled from it by the run's recipe.

Each is a stage like any other (teacher_shadow_01, student_shadow_01 ...): resumable, side by side with `jobs`, found again by
its hash, whatever audit is made of them later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.experiment.specs import ModelSpec
from stillage.run.folder import read_table, write_table
from stillage.types import Array, FittedAttack, Record, Result, ShadowAttack, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.membership import Audited, LeftOut
    from stillage.audit.shadow import Kept
    from stillage.data.split import Split
    from stillage.experiment.plan import Context
    from stillage.run.audit_config import AuditConfig

DESIGN = "shadow_design"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What the shadow pipelines add to an audit."""

    scores: pa.Table  # rows of audit/scores.parquet
    left_out: list[LeftOut]
    results: list[Result]


def pool_of(split: Split) -> list[Record]:
    """The records that shadows are trained on halves of: members and nonmembers together, by id."""
    found = [
        record
        for part in ("private", "nonmembers")
        for record in split.records_by_part.get(part, ())
    ]
    return sorted(found, key=lambda record: record.id)


def design_of(context: Context, n_shadows: int) -> tuple[list[Record], Array]:
    """The pool, and bool[K, N]: which shadow meets which record of it."""
    from stillage.audit.design import draw_design
    from stillage.data.split import read_split

    split = read_split(context.run / "data")
    pool = pool_of(split)
    ids, groups = [record.id for record in pool], split.group_names(pool)
    return pool, draw_design(ids, groups, n_shadows, context.config.seed)


def make_design(context: Context, folder: Path) -> None:
    """Write the whole design down before a shadow is trained."""
    from stillage.audit.design import design_table
    from stillage.data.split import read_split

    pool, design_KN = design_of(context, context.config.audit.shadows)
    groups = read_split(context.run / "data").group_names(pool)
    write_table(
        folder / "design.parquet", design_table([record.id for record in pool], groups, design_KN)
    )


def records_in(context: Context, number: int) -> list[Record]:
    """What the teacher of one shadow (from 1) is trained on; the first columns of a design do not depend on their number."""
    pool, design_KN = design_of(context, number + number % 2)
    return [
        record for record, is_in in zip(pool, design_KN[number - 1].tolist(), strict=True) if is_in
    ]


def chosen_attacks(audit: AuditConfig) -> tuple[list[ShadowAttack], list[FittedAttack]]:
    """The shadow attacks (all of them where shadows are asked for and none is named), and those that learn.

    ConfigError for a shadow attack without shadows.
    """
    from stillage.audit.attacks import FITTED_ATTACKS, SHADOW_ATTACKS

    named = [SHADOW_ATTACKS[name] for name in audit.attacks if name in SHADOW_ATTACKS]
    if named and not audit.shadows:
        raise ConfigError(
            "These attacks need shadow pipelines.",
            f"attacks: {', '.join(attack.name for attack in named)}; audit.shadows: 0",
            "Give --audit.shadows 8 (each is a teacher and a student to train), or leave the attacks out.",
        )
    if audit.shadows and not named:
        named = list(SHADOW_ATTACKS.values())
    return named, [FITTED_ATTACKS[name] for name in audit.attacks if name in FITTED_ATTACKS]


def shadow_audit(
    context: Context,
    audited: Audited,
    records: Sequence[Record],
    stats: Mapping[str, Mapping[str, TokenStats]],
    folder: Path,
) -> Shadowed:
    """Ask the shadows about the audited records, attack every audited model with them, and measure memorization.

    stats: audited model -> record id -> its scored tokens. Models that never met a member are attacked too: they have to
    come out at chance. Writes counterfactual.parquet into the folder. Empty without shadows.
    """
    import pyarrow as pa

    from stillage.audit.fitted import fitted_scores
    from stillage.audit.shadow import counterfactual_rows, keep, shadow_scores
    from stillage.experiment.inputs import base_result

    audit = context.config.audit
    attacks, fitted = chosen_attacks(audit)
    scores = fitted_scores(audited, stats, fitted, context.config.seed)
    if not audit.shadows:
        return Shadowed(scores=scores, left_out=[], results=[])
    in_KN = checked_design(context, audited)
    shadows = ask_shadows(context, records)
    tables, left_out = [scores], []
    for kind, kept in shadows.items():
        targets = {
            name: keep([by_id[id_] for id_ in audited.ids])
            for name, by_id in stats.items()
            if name.startswith(kind)
        }
        found, without = shadow_scores(audited, targets, kept, in_KN, attacks)
        tables.append(found)
        left_out += without
    base = base_result(context, "audit")
    table, results = counterfactual_rows(audited, shadows, in_KN, level=audit.level, base=base)
    write_table(folder / "counterfactual.parquet", table)
    return Shadowed(scores=pa.concat_tables(tables), left_out=left_out, results=results)


def ask_shadows(context: Context, records: Sequence[Record]) -> dict[str, list[Kept]]:
    """Kind of model -> what is kept of each shadow's replies, in order; who was asked before is not loaded again."""
    from stillage.audit.shadow import keep
    from stillage.experiment.inputs import stats_of

    found: dict[str, list[Kept]] = {}
    for spec in context.specs:
        if spec.shadow:
            context.progress("audit", {"model": spec.name})
            stats = replies_before(context, spec, records)
            stats = stats_of(context, spec, records, "audit")[3] if stats is None else stats
            found.setdefault(spec.name.split("_")[0], []).append(keep(stats))
    return found


def replies_before(
    context: Context, spec: ModelSpec, records: Sequence[Record]
) -> list[TokenStats] | None:
    """A shadow's token statistics from the cache, its weights unread but for their hash; None where they are not there."""
    from stillage.experiment.inputs import (
        examples_of,
        model_source,
        stated_context,
        stats_key,
        tokenizer_of,
    )
    from stillage.models.query import known_stats

    source = model_source(context, spec)
    room, what = stated_context(source), f"{spec.name}, audit"
    examples = examples_of(
        records, tokenizer_of(context, spec), context.config.data, room, what=what
    )
    return known_stats(
        examples, cache=context.cache, key=stats_key(context, spec), dtype=source.dtype
    )


def checked_design(context: Context, audited: Audited) -> Array:
    """The design bool[K, N] of the audited records, after a look at what each shadow's teacher was really trained on.

    DataError where those differ.
    """
    from stillage.audit.design import shadow_name

    n_shadows = context.config.audit.shadows
    pool, design_KN = design_of(context, n_shadows)
    place = {record.id: index for index, record in enumerate(pool)}
    for number, in_N in enumerate(design_KN, 1):
        name = shadow_name("teacher", number)
        met = set(read_table(context.run / name / "provenance.parquet").column("id").to_pylist())
        planned = {record.id for record, is_in in zip(pool, in_N.tolist(), strict=True) if is_in}
        if met - planned:
            raise DataError(
                f"The shadow {name} was trained on other records than the design says.",
                f"planned: {len(planned)}, met: {len(met)}, not planned: {len(met - planned)}",
                f"Remove the folder {name} of the run, and start again.",
            )
    return design_KN[:, np.array([place[id_] for id_ in audited.ids], dtype=np.int64)]


def shadow_specs(specs: Sequence[ModelSpec], n_shadows: int) -> list[ModelSpec]:
    """The models of the shadow pipelines, each a copy of the target's teacher or student but for its records and seed.

    models: the run's own. Where the student does not learn from its teacher, there are shadow teachers alone. ConfigError for
    an odd number, or a teacher that is not trained here.
    """
    from stillage.audit.design import check_count, shadow_name

    check_count(n_shadows)
    by_name = {spec.name: spec for spec in specs}
    teacher, student = by_name.get("teacher"), by_name.get("student")
    if not n_shadows:
        return []
    if teacher is None or not teacher.is_trained:
        raise ConfigError(
            "Shadow pipelines retrain the teacher, and this run does not train one.",
            f"audit.shadows: {n_shadows}; teacher: {'given' if teacher else 'none'}",
            "Train the teacher on private records (teacher_train.epochs), or leave out audit.shadows.",
        )
    learns = (
        student is not None
        and student.is_trained
        and "teacher" in (student.teacher, student.pruned_from)
    )
    found: list[ModelSpec] = []
    for number in range(1, n_shadows + 1):
        name = shadow_name("teacher", number)
        found.append(replace(teacher, name=name, shadow=number))
        if student is not None and learns:
            found.append(
                replace(
                    student,
                    name=shadow_name("student", number),
                    shadow=number,
                    teacher=student.teacher and name,
                    pruned_from=student.pruned_from and name,
                )
            )
    return found
