"""The audit stage: ask every model once about members and outsiders, run the attacks, and judge whether to believe them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.data.groups import whole_text
from stillage.experiment.roles import REFERENCE, ModelRole
from stillage.experiment.works import base_result, examples_of, records_of, special_ids, stats_of, use_threads
from stillage.rng import generator
from stillage.run.folder import read_table, write_json, write_table
from stillage.run.results import write_results
from stillage.types import Array, Attack, Record, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.audit.extraction import Target
    from stillage.experiment.plan import Context
    from stillage.functional.stats import Interval

LOG = logging.getLogger("stillage")
CONTROLS = (REFERENCE, "student_counterfactual", "teacher_counterfactual")
"""Models that never met a private record, nor a teacher that did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioned:
    """What one model said about the audited records."""

    stats: Mapping[str, TokenStats]  # record id -> its scored tokens
    targets: tuple[Target, ...]
    recited: tuple[Array, ...]  # greedy continuation of each target's prefix


def audit(context: Context, folder: Path) -> None:
    """Membership, extraction and validity of every model, members against outsiders."""
    import pyarrow as pa

    from stillage.audit.blind import blind_scores
    from stillage.audit.extraction import extraction_results
    from stillage.audit.inherited import inheritance_results
    from stillage.audit.membership import Audited, blind_rows, membership_results, score_table
    from stillage.audit.memorization import memorization_results
    from stillage.audit.probabilistic import probabilistic_results
    from stillage.audit.slices import slice_results
    from stillage.data.split import read_split

    config = context.config
    use_threads(context)
    records, roles = audited_records(context)
    group_of = read_split(context.run / "data").group_of
    audited = Audited(
        ids=tuple(record.id for record in records),
        roles=roles,
        texts=tuple(record.response for record in records),
        groups=tuple(group_of.get(record.id, "") for record in records),
    )
    answers: dict[str, Questioned] = {}
    extraction: list[pa.Table] = []
    memorization: list[pa.Table] = []
    for role in context.models:
        context.progress("audit", {"model": role.name})
        model, tokenizer, questioned = question(context, role, records, roles)
        answers[role.name] = questioned
        extraction.append(extraction_rows(role.name, questioned, tokenizer))
        memorization.append(memorization_rows(role.name, questioned, extraction[-1]))
        del model
    reference = REFERENCE if REFERENCE in answers else ""
    if not reference:
        LOG.warning("there is no reference model: attacks that compare with one are left out")
    stats = {name: questioned.stats for name, questioned in answers.items()}
    scores = score_table(audited, stats, attacks_of(config.audit.attacks, config.audit.min_k_fraction), reference)
    blind = blind_scores(
        [whole_text(record) for record in records], audited.is_member, config.seed, clusters=audited.clusters
    )
    scores = pa.concat_tables([scores, blind_rows(audited, blind)])
    recited, measured = pa.concat_tables(extraction), pa.concat_tables(memorization)
    base, level = base_result(context, "audit"), config.audit.level
    results = membership_results(scores, fprs=config.audit.fprs, level=level, base=base)
    results += extraction_results(recited, level=level, base=base)
    results += memorization_results(measured, level=level, base=base)
    results += probabilistic_results(measured, level=level, base=base)
    results += inheritance_results(scores, measured, fprs=config.audit.fprs, level=level, base=base)
    results += slice_results(scores, labels_of(records, config.data.slice_by), level=level, base=base)
    write_table(folder / "scores.parquet", scores)
    write_table(folder / "extraction.parquet", recited)
    write_table(folder / "memorization.parquet", measured)
    write_results(folder / "results.parquet", results)
    write_json(folder / "validity.json", judge_run(context, records, scores))


def audited_records(context: Context) -> tuple[list[Record], tuple[str, ...]]:
    """Members then outsiders, at most audit.max_records of each by a recorded draw, with their roles."""
    most = context.config.audit.max_records
    records: list[Record] = []
    roles: list[str] = []
    for role in ("private", "outsiders"):
        found = sorted(records_of(context, role), key=lambda record: record.id)
        if most and len(found) > most:
            chosen = generator(context.config.seed, "audit", role).permutation(len(found))[:most]
            found = [found[index] for index in sorted(chosen)]
        records += found
        roles += [role] * len(found)
    return records, tuple(roles)


def attacks_of(names: Sequence[str], min_k_fraction: float) -> list[Attack]:
    """The attacks by name, with the share of tokens that the min-k family looks at."""
    from stillage.audit.attacks import ATTACKS

    fraction = {"fraction": min_k_fraction}
    return [
        replace(ATTACKS[name], score=partial(ATTACKS[name].score, **fraction)) if name.startswith("min_k") else ATTACKS[name]
        for name in names
    ]  # fmt: skip


def question(
    context: Context, role: ModelRole, records: Sequence[Record], roles: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, Questioned]:
    """One teacher-forced pass and one greedy recitation of a model."""
    from stillage.audit.extraction import column_targets, first_token_targets
    from stillage.models.generate import Decoding, generate

    config = context.config
    model, tokenizer, examples, stats = stats_of(context, role, records)
    if config.audit.extract:
        encode = partial(examples_of, tokenizer=tokenizer, data=config.data)
        targets = column_targets(records, roles, examples, tokenizer, config.audit.extract, encode)
    else:
        targets = first_token_targets(examples, roles, tokenizer, config.audit.extract_tokens)
    eos, pad = special_ids(tokenizer)
    recited = generate(
        model,
        [target.prefix_ids for target in targets],
        decoding=Decoding(max_new_tokens=max(len(target.suffix_ids) for target in targets)),
        eos_id=eos,
        pad_id=pad,
        seed=config.seed,
        names=[target.record_id for target in targets],
        batch_tokens=config.audit.batch_tokens,
    )
    cut = tuple(ids[: len(target.suffix_ids)] for ids, target in zip(recited, targets, strict=True))
    by_id = {record.id: entry for record, entry in zip(records, stats, strict=True)}
    return model, tokenizer, Questioned(stats=by_id, targets=tuple(targets), recited=cut)


def extraction_rows(name: str, questioned: Questioned, tokenizer: PreTrainedTokenizerFast) -> pa.Table:
    """One model's rows of extraction.parquet; how often generation and the teacher-forced pass disagree is logged."""
    from stillage.audit.extraction import extraction_table

    table = extraction_table(questioned.targets, {name: questioned.recited}, {name: questioned.stats}, tokenizer)
    differ = table.num_rows - sum(table.column("agrees").to_pylist())
    if differ:
        LOG.warning("%s: generation and the teacher-forced pass disagree on %d of %d", name, differ, table.num_rows)
    return table


def memorization_rows(name: str, questioned: Questioned, extraction: pa.Table) -> pa.Table:
    """One model's rows of memorization.parquet."""
    from stillage.audit.memorization import memorization_table

    texts = extraction.column("recited").to_pylist()
    return memorization_table(name, questioned.targets, questioned.recited, questioned.stats, texts)


def labels_of(records: Sequence[Record], columns: Sequence[str]) -> dict[str, list[str]]:
    """Record id -> its group in every column that the audit is sliced by."""
    from stillage.audit.slices import slice_labels

    labels = [slice_labels([str(record.meta.get(column, "")) for record in records], column) for column in columns]
    return {record.id: [column[index] for column in labels] for index, record in enumerate(records)}


def judge_run(context: Context, records: Sequence[Record], scores: pa.Table) -> dict[str, object]:
    """validity.json: may the membership claim be printed? Where records went, who overlaps, and controls at chance."""
    from stillage.audit.validity import check_controls, check_overlap, check_provenance, check_records, judge
    from stillage.data.split import read_split

    split = read_split(context.run / "data")
    role_by_id = {record.id: role for role, found in split.records_by_role.items() for record in found}
    members, outsiders = (
        split.records_by_role.get(kind, []) for kind in ("private", "outsiders")
    )  # all, audited or not
    overlap = check_overlap(
        [record.id for record in members], [record.id for record in outsiders],
        [whole_text(record) for record in members], [whole_text(record) for record in outsiders],
    )  # fmt: skip
    columns = scores.select(["model", "attack", "id"]).to_pylist()
    ids_by_score: dict[str, list[str]] = {}
    for row in columns:
        ids_by_score.setdefault(f"{row['attack']} on {row['model']}", []).append(row["id"])
    checks = [
        overlap,
        check_records([record.id for record in records], ids_by_score),
        check_controls(control_intervals(scores, context.config.audit.level)),
    ]
    reached = ids_by_stage(context)
    if reached:
        checks.insert(0, check_provenance(reached, role_by_id))
    return judge(checks).as_json() | {"drawn_by_us": split.drawn_by_us}


def ids_by_stage(context: Context) -> dict[str, list[str]]:
    """The ids of the records that each stage of this run learned from, as it wrote them down."""
    names = ["tokenizer", *(role.name for role in context.roles if role.is_trained)]
    paths = {name: context.run / name / "provenance.parquet" for name in names}
    return {name: read_table(path).column("id").to_pylist() for name, path in paths.items() if path.is_file()}


def control_intervals(scores: pa.Table, level: float) -> dict[str, Interval]:
    """AUC intervals of everything that cannot know the members: blind attackers, and models that never met them."""
    from stillage.audit.membership import BLIND, by_model_and_attack

    found: dict[str, Interval] = {}
    for (model, attack), scored in by_model_and_attack(scores).items():
        if model == BLIND or model in CONTROLS:
            name = f"blind {attack}" if model == BLIND else f"{attack} on {model}"
            found[name] = scored.auc(level, blind=model == BLIND)
    return found
