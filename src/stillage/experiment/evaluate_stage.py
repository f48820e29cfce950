"""The evaluate stage: every model answers test prompts and reads test answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.audit.given import scoring_model
from stillage.audit.group_labels import group_labels
from stillage.audit.queries import scored_tokens
from stillage.experiment.audit_stage import audit_model, audit_settings
from stillage.experiment.inputs import base_result, records_of, use_threads
from stillage.experiment.specs import ALONE, MINIMAL, ModelSpec
from stillage.models.limits import new_tokens, special_ids
from stillage.run.config import Config
from stillage.run.folder import write_table
from stillage.run.results import write_results
from stillage.types import Record, TokenStats

if TYPE_CHECKING:
    from stillage.audit.queries import ScoringModel
    from stillage.experiment.context import Context

BY_GROUP = ("rouge_l", "exact_match", "needed_exact")
"""Columns of samples.parquet that are shown by group too, where they are measured."""
GAINS = (("student", ALONE), (MINIMAL, ALONE), (MINIMAL, "student"))
"""Pairs of models whose quality is compared on the same records: what the first gains."""


def gain_pairs(specs: Sequence[ModelSpec]) -> list[tuple[str, str]]:
    """List the pairs of GAINS that differ only in their teaching: both trained here."""
    trained = {spec.name for spec in specs if spec.is_trained}
    return [pair for pair in GAINS if trained.issuperset(pair)]


def evaluate(context: Context, folder: Path) -> None:
    """Measure every model's test answers: overlap, perplexity, bits per byte."""
    import pyarrow as pa

    from stillage.audit.by_group import quality_by_group
    from stillage.data.grouping import cluster_numbers
    from stillage.data.split import read_split
    from stillage.evaluate.quality import (
        gain_results,
        likelihood_results,
        references_of,
        sample_rows,
        samples_schema,
        text_results,
    )
    from stillage.experiment.data_stage import check_split

    config, settings = context.config, replace(audit_settings(context), stage="evaluate")
    use_threads(context)
    split = read_split(context.run / "data")
    check_split(context, split)
    records = records_of(context, "test")
    asked = records[: config.generate.records] if config.generate.records else records
    rows: list[dict[str, Any]] = []
    stats: dict[str, list[TokenStats]] = {}
    for spec in context.models:
        context.progress("evaluate", {"model": spec.name})
        reader = scoring_model(audit_model(context, spec), settings)
        stats[spec.name] = scored_tokens(reader, reader.encode(records))
        texts, tokens, finished = answer(reader, asked, config)
        rows += sample_rows(spec.name, asked, texts, tokens, finished, config.data.needed_until)
    samples = pa.Table.from_pylist(rows, schema=samples_schema())
    base = base_result(context, "evaluate")
    level = config.audit.level
    references = [references_of(record) for _ in context.models for record in asked]
    group_of, pairs = split.group_of, gain_pairs(context.models)
    results = text_results(
        samples, level=level, base=base, references=references, group_of=group_of
    )
    results += gain_results(samples, pairs, level=level, base=base, group_of=group_of)
    responses, ids = [record.response for record in records], [record.id for record in records]
    clusters = cluster_numbers(ids, [group_of.get(id_, "") for id_ in ids])
    results += likelihood_results(stats, responses, level=level, base=base, clusters=clusters)
    if columns := config.data.slice_by:
        labels = group_labels(split, columns)
        results += quality_by_group(samples, BY_GROUP, labels, group_of, level=level, base=base)
    write_table(folder / "samples.parquet", samples)
    write_results(folder / "results.parquet", results)


def answer(
    reader: ScoringModel, records: Sequence[Record], config: Config
) -> tuple[list[str], list[int], list[bool]]:
    """Answer prompts: texts, lengths in tokens, whether each ended by itself."""
    from stillage.models.generate import configured, generate
    from stillage.models.prompts import Prompts, TextRules, prompt_ids_of

    model, tokenizer = reader.model, reader.tokenizer
    prompts = prompt_ids_of(model, tokenizer, records, config)
    most = new_tokens(model, config.generate.max_new_tokens)
    options = replace(config.generate, max_new_tokens=most)
    eos, pad = special_ids(tokenizer)
    ids = generate(
        model,
        Prompts(prompts, [record.id for record in records], config.seed),
        configured(options),
        TextRules(eos, pad),
        batch_tokens=config.generate.batch_tokens,
        progress=reader.doing("answering {} prompts"),
    )
    texts = [str(tokenizer.decode(row.tolist(), skip_special_tokens=True)).strip() for row in ids]
    return texts, [len(row) for row in ids], [bool(len(row)) and int(row[-1]) == eos for row in ids]
