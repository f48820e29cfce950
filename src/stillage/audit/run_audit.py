"""Audit models: ask each once about the records, run the attacks, judge the claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from stillage.audit.answers import Answers, answers_of, recital_tables, sampling_words
from stillage.audit.attack_settings import attacks_of
from stillage.audit.best_attack import best_attack_results, family_tests
from stillage.audit.beyond_control import beyond_control_results
from stillage.audit.blind import blind_scores
from stillage.audit.blind_features import marked_text
from stillage.audit.by_group import rates_by_group, recitals_by_group
from stillage.audit.control_models import CONTROLS
from stillage.audit.detectable import power_results
from stillage.audit.extraction import extraction_results, recited_more_results, with_groups
from stillage.audit.given import scoring_model
from stillage.audit.inherited import inheritance_results
from stillage.audit.judge import judge_audit
from stillage.audit.material import gather_material
from stillage.audit.membership import blind_rows, left_out_results, membership_results, score_table
from stillage.audit.memorization import memorization_results
from stillage.audit.other_readings import Sight, see, sight_checks, together
from stillage.audit.partners import (
    ask_self_prompted,
    ask_starts,
    check_given_models,
    outside_name,
    partners_of,
)
from stillage.audit.probabilistic import probabilistic_results
from stillage.audit.queries import queries_for
from stillage.audit.reading import reading_results
from stillage.audit.record_readings import Reading, model_readings
from stillage.audit.shadow_audit import shadow_audit
from stillage.audit.slices import slice_results
from stillage.types import Result, TokenStats

if TYPE_CHECKING:
    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModels, AuditSettings, TrainingFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTables:
    """What an audit found, as the tables that are kept of it."""

    scores: pa.Table
    extraction: pa.Table
    memorization: pa.Table
    results: list[Result]
    validity: dict[str, Any]
    counterfactual: pa.Table | None = None  # where shadows were trained


def run_audit(
    records: AuditRecords, models: AuditModels, settings: AuditSettings, facts: TrainingFacts
) -> AuditTables:
    """Measure membership leakage, extraction and validity of every model.

    Raises the errors of `check_given_models`, `gather_material` and `scoring_model`, and those of
    the attacks.
    """
    check_given_models(models.audited)
    attacks = attacks_of(settings.audit)
    readings = model_readings(models.audited, records.records, settings.data)
    material = gather_material(attacks, records, readings, settings)
    answers: dict[str, Answers] = {}
    recitals: list[tuple[pa.Table, pa.Table]] = []
    sights: list[Sight] = []
    for model in models.audited:
        settings.progress("audit", {"model": model.name})
        asked = scoring_model(model, settings)
        answers[model.name] = answers_of(
            asked, material, queries_for(attacks), records.parts, settings
        )
        sights.append(see(model, asked, records, answers[model.name].stats, settings))
        recitals.append(recital_tables(model.name, answers[model.name], asked.tokenizer))
        del asked
    started, starts = ask_starts(models, attacks, material, settings)
    taught, prompted = ask_self_prompted(models, attacks, material, settings)
    said = {name: own.responses for name, own in answers.items()} | started | taught
    partners = partners_of(list(answers), starts, CONTROLS, prompted, outside_name(models.audited))
    scores, left_out = score_table(records.audited, said, attacks, partners)
    stats = {name: own.stats for name, own in answers.items()}
    shadowed = shadow_audit(records, models, stats, facts.met, settings)
    scores = pa.concat_tables(
        [scores, shadowed.scores, blind_table(records, readings, settings.seed)]
    )
    extraction, memorization = (
        with_groups(pa.concat_tables(tables), records.split.group_of)
        for tables in zip(*recitals, strict=True)
    )
    results = membership_rows(scores, settings)
    results += left_out_results(left_out + shadowed.left_out, settings.base) + shadowed.results
    results += reading_rows(records, stats, settings)
    results += recital_rows(scores, extraction, memorization, settings)
    results += rows_by_group(records, scores, extraction, settings)
    seen = sight_checks(models.audited, together(sights), readings, scores, settings.audit.level)
    return AuditTables(
        scores=scores,
        extraction=extraction,
        memorization=memorization,
        results=results,
        validity=judge_audit(records, models.audited, facts, scores, readings, settings, seen),
        counterfactual=shadowed.counterfactual,
    )


def blind_table(records: AuditRecords, readings: Sequence[Reading], seed: int) -> pa.Table:
    """Score the records by attackers that see no model, as rows of scores.parquet."""
    audited = records.audited
    blind = blind_scores(
        [marked_text(record) for record in records.records],
        audited.is_member,
        seed,
        clusters=audited.clusters,
        readers=[reading.ids for reading in readings],
    )
    return blind_rows(audited, blind)


def membership_rows(scores: pa.Table, settings: AuditSettings) -> list[Result]:
    """Return every attack's AUC and TPR, each model's best attack, and the power."""
    audit, base = settings.audit, settings.base
    tests = family_tests(scores, level=audit.level, seed=settings.seed)
    return [
        *membership_results(scores, fprs=audit.fprs, level=audit.level, base=base),
        *best_attack_results(scores, tests, level=audit.level, base=base),
        *power_results(
            scores,
            {model: test.together for model, test in tests.items()},
            fprs=audit.fprs,
            harmless_auc=audit.harmless_auc,
            harmless_tpr=audit.harmless_tpr,
            level=audit.level,
            base=base,
        ),
    ]


def reading_rows(
    records: AuditRecords, stats: Mapping[str, Mapping[str, TokenStats]], settings: AuditSettings
) -> list[Result]:
    """Measure how well each model reads the nonmembers; stats: by model and record id."""
    audited = records.audited
    unmet = list(compress(records.records, ~audited.is_member))
    clusters = audited.clusters[~audited.is_member]
    return reading_results(stats, unmet, clusters, level=settings.audit.level, base=settings.base)


def recital_rows(
    scores: pa.Table, extraction: pa.Table, memorization: pa.Table, settings: AuditSettings
) -> list[Result]:
    """Measure what the models recite, and how much of both leaks was inherited."""
    fprs, level, base = settings.audit.fprs, settings.audit.level, settings.base
    words = sampling_words(settings.audit)
    return [
        *extraction_results(extraction, level=level, base=base),
        *recited_more_results(extraction, level=level, base=base),
        *memorization_results(memorization, level=level, base=base),
        *probabilistic_results(memorization, level=level, base=base, sampling=words),
        *inheritance_results(scores, memorization, fprs=fprs, level=level, base=base),
        *beyond_control_results(scores, extraction, fprs=fprs, level=level, base=base),
    ]


def rows_by_group(
    records: AuditRecords, scores: pa.Table, extraction: pa.Table, settings: AuditSettings
) -> list[Result]:
    """Return the same by the groups of data.slice_by; nothing where none is named."""
    columns, base = settings.data.slice_by, settings.base
    if not columns:
        return []
    labels, level = records.labels(columns), settings.audit.level
    return [
        *slice_results(scores, labels, level=level, base=base),
        *rates_by_group(scores, labels, fprs=settings.audit.fprs, level=level, base=base),
        *recitals_by_group(extraction, labels, level=level, base=base),
    ]
