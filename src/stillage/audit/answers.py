"""Ask one model about the audited records: all the attacks want, one recitation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

from stillage.audit.extraction import Target, column_targets, extraction_table, first_token_targets
from stillage.audit.given import AuditSettings
from stillage.audit.memorization import memorization_table
from stillage.audit.queries import Material, Responses, ScoringModel, ask
from stillage.data.tokenise import make_examples
from stillage.models.limits import special_ids
from stillage.run.audit_config import AuditConfig
from stillage.types import Array, Example, TokenStats, Transform

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

LOG = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one model said about the audited records."""

    stats: Mapping[str, TokenStats]  # record id -> its scored tokens
    responses: Responses  # to all that the attacks ask
    targets: tuple[Target, ...]
    recited: tuple[Array, ...]  # greedy continuation of each target's prefix
    sampled: Mapping[str, Array] | None
    """Record id -> log-probabilities as the attacker samples; None: those of stats."""


def answers_of(
    model: ScoringModel,
    material: Material,
    transforms: Sequence[Transform],
    parts: Sequence[str],
    settings: AuditSettings,
) -> Answers:
    """Ask a model everything that the attacks want, and let it recite once.

    parts: private or nonmembers, of each record.
    """
    from stillage.models.generate import Decoding, generate
    from stillage.models.prompts import Prompts, TextRules

    audit, records = settings.audit, material.records
    responses = ask(model, ["as_is", *transforms], material, settings.noise)
    examples = model.encode(records)
    if audit.extract:
        encode = partial(
            make_examples, tokenizer=model.tokenizer, data=settings.data, what="targets to recite"
        )
        targets = column_targets(records, parts, examples, model.tokenizer, audit.extract, encode)
    else:
        targets = first_token_targets(examples, parts, model.tokenizer, audit.extract_tokens)
    asked = [target for target in targets if len(target.suffix_ids)]
    ids = [target.record_id for target in asked]
    written = generate(
        model.model,
        Prompts([target.prefix_ids for target in asked], ids, settings.seed),
        Decoding(max_new_tokens=max((len(target.suffix_ids) for target in asked), default=1)),
        TextRules(*special_ids(model.tokenizer)),
        batch_tokens=audit.batch_tokens,
        progress=model.doing("reciting {} records"),
    )
    said = dict(zip(ids, written, strict=True))
    recited = tuple(
        said.get(target.record_id, target.suffix_ids)[: len(target.suffix_ids)]
        for target in targets
    )
    return Answers(
        stats=cast("Mapping[str, TokenStats]", responses.replies["as_is"]),
        responses=responses,
        targets=tuple(targets),
        recited=recited,
        sampled=as_sampled(model, examples, audit),
    )


def as_sampled(
    model: ScoringModel, examples: Sequence[Example], audit: AuditConfig
) -> dict[str, Array] | None:
    """Log-probability of every scored token as the attacker samples, by record id.

    None for the model's own distribution. ConfigError for settings without meaning.
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
    logp = sampling_logp(
        model.model,
        examples,
        [decoding],
        batch_tokens=audit.batch_tokens,
        progress=model.doing("scoring {} records as sampled"),
    )
    return {example.record_id: logp_ST[0] for example, logp_ST in zip(examples, logp, strict=True)}


def sampling_words(audit: AuditConfig) -> str:
    """Say how the attacker samples, for the notes."""
    words = [f"temperature={audit.extract_temperature:g}"]
    words += [f"top_k={audit.extract_top_k}"] if audit.extract_top_k else []
    words += [f"top_p={audit.extract_top_p:g}"] if audit.extract_top_p != 1 else []
    return "; ".join(words)


def recital_tables(
    name: str, answers: Answers, tokenizer: PreTrainedTokenizerFast
) -> tuple[pa.Table, pa.Table]:
    """One model's rows of extraction.parquet and of memorization.parquet.

    How often generation and the teacher-forced pass disagree is logged.
    """
    targets, recited, stats = answers.targets, answers.recited, answers.stats
    extraction = extraction_table(name, targets, recited, stats, tokenizer)
    differ = extraction.num_rows - sum(extraction.column("agrees").to_pylist())
    if differ:
        LOG.warning(
            "%s: generation and the teacher-forced pass disagree on %d of %d",
            name,
            differ,
            extraction.num_rows,
        )
    texts = extraction.column("recited").to_pylist()
    memorized = memorization_table(name, targets, recited, stats, texts, answers.sampled)
    return extraction, memorized
