"""The audit stage: ask every model once about members and nonmembers, run the attacks, and judge whether to believe them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from stillage.audit.blind_features import marked_text
from stillage.experiment.ask import (
    check_reference,
    initial_of,
    material_of,
    noise_of,
    outside_of,
    partners_of,
    prefixes_of,
    self_prompted_of,
    subject_of,
)
from stillage.experiment.attack_settings import attacks_of
from stillage.experiment.controls import CONTROLS
from stillage.experiment.inputs import (
    audited_of,
    base_result,
    examples_of,
    some_groups,
    special_ids,
    use_threads,
)
from stillage.experiment.judge import judge_run
from stillage.experiment.labels import labels_of_run
from stillage.experiment.left_out import left_out
from stillage.experiment.readings import readings_of
from stillage.experiment.shadows import shadow_audit
from stillage.experiment.sight import Sight, sight_checks, sight_of, together
from stillage.run.folder import write_json, write_table
from stillage.run.results import write_results
from stillage.types import Array, Attack, Example, Record, TokenStats, Transform

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.audit.extraction import Target
    from stillage.audit.prefix import Prefixes
    from stillage.audit.questions import Material, Said, Subject
    from stillage.experiment.plan import Context
    from stillage.run.audit_config import AuditConfig

LOG = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioned:
    """What one model said about the audited records."""

    stats: Mapping[str, TokenStats]  # record id -> its scored tokens
    said: Said  # its replies to all that the attacks ask
    targets: tuple[Target, ...]
    recited: tuple[Array, ...]  # greedy continuation of each target's prefix
    sampled: (
        Mapping[str, Array] | None
    )  # record id -> log-probabilities as sampled; None: those of stats


def audit(context: Context, folder: Path) -> None:
    """Membership, extraction and validity of every model, members against nonmembers."""
    import pyarrow as pa

    from stillage.audit.best_attack import best_attack_results, family_tests
    from stillage.audit.beyond_control import beyond_control_results
    from stillage.audit.blind import blind_scores
    from stillage.audit.by_group import rates_by_group, recitals_by_group
    from stillage.audit.extraction import (
        extraction_results,
        recited_more_results,
        with_groups,
    )
    from stillage.audit.inherited import inheritance_results
    from stillage.audit.membership import (
        blind_rows,
        left_out_results,
        membership_results,
        score_table,
    )
    from stillage.audit.memorization import memorization_results
    from stillage.audit.power import power_results
    from stillage.audit.probabilistic import probabilistic_results
    from stillage.audit.questions import wanted
    from stillage.audit.reading import reading_results
    from stillage.audit.slices import slice_results
    from stillage.data.split import read_split
    from stillage.experiment.data_stage import check_ahead

    config = context.config
    use_threads(context)
    split = read_split(context.run / "data")
    check_ahead(context, split)
    check_reference(context)
    attacks = attacks_of(config.audit)
    records, parts, prefixes = evaluated_records(context, attacks)
    material = material_of(context, attacks, records, prefixes)
    audited = audited_of(split, records, parts)
    answers: dict[str, Questioned] = {}
    extraction: list[pa.Table] = []
    memorization: list[pa.Table] = []
    sights: list[Sight] = []
    for spec in context.asked:
        context.progress("audit", {"model": spec.name})
        subject = subject_of(context, spec)
        questioned = question(context, subject, material, wanted(attacks), parts)
        answers[spec.name] = questioned
        sights.append(sight_of(context, spec, subject, records, parts, questioned.stats))
        extraction.append(extraction_rows(spec.name, questioned, subject.tokenizer))
        memorization.append(memorization_rows(spec.name, questioned, extraction[-1]))
        del subject
    started, starts = initial_of(context, attacks, material)
    taught, prompted = self_prompted_of(context, attacks, material)
    said = {name: questioned.said for name, questioned in answers.items()} | started | taught
    partners = partners_of(list(answers), starts, CONTROLS, prompted, outside_of(context))
    scores, left_out = score_table(audited, said, attacks, partners)
    stats = {name: questioned.stats for name, questioned in answers.items()}
    shadowed = shadow_audit(context, audited, records, stats, folder)
    left_out += shadowed.left_out
    readings = readings_of(context, records)
    blind = blind_scores(
        [marked_text(record) for record in records],
        audited.is_member,
        config.seed,
        clusters=audited.clusters,
        readers=[reading.ids for reading in readings],
    )
    scores = pa.concat_tables([scores, shadowed.scores, blind_rows(audited, blind)])
    recited, measured = (
        with_groups(pa.concat_tables(rows), split.group_of) for rows in (extraction, memorization)
    )
    base, level = base_result(context, "audit"), config.audit.level
    results = membership_results(scores, fprs=config.audit.fprs, level=level, base=base)
    tests = family_tests(scores, level=level, seed=config.seed)
    results += best_attack_results(scores, tests, level=level, base=base)
    results += power_results(
        scores,
        {model: test.together for model, test in tests.items()},
        fprs=config.audit.fprs,
        harmless_auc=config.audit.harmless_auc,
        harmless_tpr=config.audit.harmless_tpr,
        level=level,
        base=base,
    )
    results += left_out_results(left_out, base) + shadowed.results
    member = audited.is_member
    unmet = [record for record, is_in in zip(records, member, strict=True) if not is_in]
    results += reading_results(stats, unmet, audited.clusters[~member], level=level, base=base)
    results += extraction_results(recited, level=level, base=base)
    results += recited_more_results(recited, level=level, base=base)
    results += memorization_results(measured, level=level, base=base)
    results += probabilistic_results(
        measured, level=level, base=base, sampling=sampling_words(config.audit)
    )
    results += inheritance_results(scores, measured, fprs=config.audit.fprs, level=level, base=base)
    results += beyond_control_results(
        scores, recited, fprs=config.audit.fprs, level=level, base=base
    )
    if columns := config.data.slice_by:
        labels, fprs = labels_of_run(context, split), config.audit.fprs
        results += slice_results(scores, labels, columns, level=level, base=base)
        results += rates_by_group(scores, labels, columns, fprs=fprs, level=level, base=base)
        results += recitals_by_group(recited, labels, columns, level=level, base=base)
    write_table(folder / "scores.parquet", scores)
    if prefixes.nonmembers or prefixes.members:
        given = {"nonmembers": prefixes.nonmembers, "private": prefixes.members}
        write_json(
            folder / "prefix.json",
            {part: [record.id for record in known] for part, known in given.items()},
        )
    write_table(folder / "extraction.parquet", recited)
    write_table(folder / "memorization.parquet", measured)
    write_results(folder / "results.parquet", results)
    seen = sight_checks(context, together(sights), readings, scores)
    write_json(
        folder / "validity.json", judge_run(context, records, scores, readings=readings, seen=seen)
    )


def audited_records(context: Context) -> tuple[list[Record], tuple[str, ...]]:
    """Members then nonmembers, at most audit.max_records of each by a recorded draw of whole groups, with their parts.

    Without those that leave the evaluation (left_out); the split's checks count them.
    """
    from stillage.data.split import read_split

    split = read_split(context.run / "data")
    left = left_out(context, split)
    records: list[Record] = []
    parts: list[str] = []
    for part in ("private", "nonmembers"):
        found = (record for record in split.records_by_part.get(part, ()) if record.id not in left)
        records += sorted(found, key=lambda record: record.id)
        parts += [part] * (len(records) - len(parts))
    return some_groups(
        records,
        parts,
        split.group_names(records),
        context.config.audit.max_records,
        context.config.seed,
        "audit",
    )


def evaluated_records(
    context: Context, attacks: Sequence[Attack]
) -> tuple[list[Record], tuple[str, ...], Prefixes]:
    """The audited records less those that an attack gives away as prefixes, with their parts, and those prefixes."""
    from stillage.data.split import read_split

    records, parts = audited_records(context)
    groups = read_split(context.run / "data").group_names(records)
    prefixes = prefixes_of(context, attacks, records, parts, groups)
    return (
        [records[index] for index in prefixes.kept],
        tuple(parts[index] for index in prefixes.kept),
        prefixes,
    )


def some_audited(context: Context, purpose: str, most: int) -> tuple[list[Record], tuple[str, ...]]:
    """The evaluated records with their parts, at most `most` of each by a recorded draw of whole groups; 0: all."""
    from stillage.data.split import read_split

    records, parts, _ = evaluated_records(context, attacks_of(context.config.audit))
    groups = read_split(context.run / "data").group_names(records)
    return some_groups(records, parts, groups, most, context.config.seed, purpose)


def question(
    context: Context,
    subject: Subject,
    material: Material,
    transforms: Sequence[Transform],
    parts: Sequence[str],
) -> Questioned:
    """Everything the attacks ask of a model, and one greedy recitation."""
    from stillage.audit.extraction import column_targets, first_token_targets
    from stillage.audit.questions import ask
    from stillage.models.generate import Decoding, generate
    from stillage.models.prompts import Prompts, TextRules

    model, tokenizer, records = subject.model, subject.tokenizer, material.records
    said = ask(subject, ["as_is", *transforms], material, noise_of(context))
    examples = subject.encode(records)
    config = context.config
    if config.audit.extract:
        encode = partial(
            examples_of, tokenizer=tokenizer, data=config.data, what="targets to recite"
        )
        targets = column_targets(records, parts, examples, tokenizer, config.audit.extract, encode)
    else:
        targets = first_token_targets(examples, parts, tokenizer, config.audit.extract_tokens)
    asked = [
        target for target in targets if len(target.suffix_ids)
    ]  # nothing to recite: nothing to ask
    written = generate(
        model,
        Prompts(
            [target.prefix_ids for target in asked],
            [target.record_id for target in asked],
            config.seed,
        ),
        Decoding(max_new_tokens=max((len(target.suffix_ids) for target in asked), default=1)),
        TextRules(*special_ids(tokenizer)),
        batch_tokens=config.audit.batch_tokens,
        progress=subject.doing("reciting {} records"),
    )
    said_by = {target.record_id: ids for target, ids in zip(asked, written, strict=True)}
    cut = tuple(
        said_by.get(target.record_id, target.suffix_ids)[: len(target.suffix_ids)]
        for target in targets
    )
    stats = cast("Mapping[str, TokenStats]", said.replies["as_is"])
    sampled = sampled_of(config.audit, subject, examples)
    return Questioned(stats=stats, said=said, targets=tuple(targets), recited=cut, sampled=sampled)


def sampled_of(
    audit: AuditConfig, subject: Subject, examples: Sequence[Example]
) -> dict[str, Array] | None:
    """Record id -> log-probability of every scored token as the attacker samples; None for the model's own distribution.

    ConfigError for settings without meaning.
    """
    from stillage.models.generate import Decoding
    from stillage.models.sampling_stats import sampling_logp

    decoding = Decoding(
        sampling_temperature=audit.extract_temperature,
        top_k=audit.extract_top_k,
        top_p=audit.extract_top_p,
    )
    if decoding == Decoding(sampling_temperature=1.0):
        return None
    found = sampling_logp(
        subject.model,
        examples,
        [decoding],
        batch_tokens=audit.batch_tokens,
        progress=subject.doing("scoring {} records as sampled"),
    )
    return {example.record_id: logp_ST[0] for example, logp_ST in zip(examples, found, strict=True)}


def sampling_words(audit: AuditConfig) -> str:
    """How the attacker samples, for the notes."""
    words = [f"temperature={audit.extract_temperature:g}"]
    words += [f"top_k={audit.extract_top_k}"] if audit.extract_top_k else []
    words += [f"top_p={audit.extract_top_p:g}"] if audit.extract_top_p != 1 else []
    return "; ".join(words)


def extraction_rows(
    name: str, questioned: Questioned, tokenizer: PreTrainedTokenizerFast
) -> pa.Table:
    """One model's rows of extraction.parquet; how often generation and the teacher-forced pass disagree is logged."""
    from stillage.audit.extraction import extraction_table

    table = extraction_table(
        questioned.targets, {name: questioned.recited}, {name: questioned.stats}, tokenizer
    )
    differ = table.num_rows - sum(table.column("agrees").to_pylist())
    if differ:
        LOG.warning(
            "%s: generation and the teacher-forced pass disagree on %d of %d",
            name,
            differ,
            table.num_rows,
        )
    return table


def memorization_rows(name: str, questioned: Questioned, extraction: pa.Table) -> pa.Table:
    """One model's rows of memorization.parquet."""
    from stillage.audit.memorization import memorization_table

    texts = extraction.column("recited").to_pylist()
    return memorization_table(
        name, questioned.targets, questioned.recited, questioned.stats, texts, questioned.sampled
    )
