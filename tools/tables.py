"""The columns of every table of a run, for docs/reference/tables.md: types from the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from stillage.audit.block_auc import block_table
from stillage.audit.exposure_rank import exposure_schema
from stillage.audit.extraction import extraction_schema
from stillage.audit.membership import Audited, score_schema
from stillage.audit.memorization import memorization_schema
from stillage.audit.privacy_bound import canary_schema
from stillage.audit.shadow import counterfactual_schema
from stillage.audit.teacher_divergence import Signals, signal_table
from stillage.data.split import COLUMNS
from stillage.evaluate.quality import samples_schema
from stillage.run.results import schema
from stillage.run.setting_texts import field_texts
from stillage.types import Result

GROUP = ("group", pa.string())
NOBODY = Audited(ids=(), parts=(), texts=(), groups=())
SCHEMAS: Mapping[str, pa.Schema] = {
    "data/records.parquet": pa.schema([(name, pa.string()) for name in COLUMNS]),
    "evaluate/samples.parquet": samples_schema(),
    "audit/scores.parquet": score_schema(),
    "audit/extraction.parquet": extraction_schema().append(pa.field(*GROUP)),
    "audit/memorization.parquet": memorization_schema().append(pa.field(*GROUP)),
    "audit/counterfactual.parquet": counterfactual_schema(),
    "exposure/exposure.parquet": exposure_schema().append(pa.field(*GROUP)),
    "blocks/scores.parquet": block_table(NOBODY, []).schema,
    "signal/signal.parquet": signal_table(
        Signals(ids=(), parts=(), groups=(), kl=dict.fromkeys(("teacher", "student"), np.zeros(0)))
    ).schema,
    "dp/canaries.parquet": canary_schema(),
}
ROWS: Mapping[str, str] = {
    "data/records.parquet": "A row per record and part.",
    "evaluate/samples.parquet": "A row per model and test record.",
    "audit/scores.parquet": "A row per model, attack and record.",
    "audit/extraction.parquet": "A row per model and record: the greedy answer.",
    "audit/memorization.parquet": "A row per model and record: how much of it is recited.",
    "audit/counterfactual.parquet": "A row per kind of model, metric and record (`--audit.shadows`).",
    "exposure/exposure.parquet": "A row per model and secret (`--audit.exposure-records`).",
    "blocks/scores.parquet": "A row per model, measure, block, draw of noise and record.",
    "signal/signal.parquet": "A row per record: mean KL per token, in nats.",
    "dp/canaries.parquet": "A row per model and record that had a coin (`--audit.dp`).",
}
SHARED: Mapping[str, str] = {
    "id": "Id of the record, a hash of its content.",
    "part": "private (members), nonmembers, public, counterfactual, validation or test.",
    "group": "Name of the near-duplicates that the record belongs to; empty: it is alone.",
    "model": "Name of the model; in scores, blind: the attacker read no model.",
    "exact": "Whether the target was recited exactly.",
    "score": "Score of the record; higher = more likely a member, NaN: none.",
}
COLUMN_TEXTS: Mapping[str, Mapping[str, str]] = {
    "data/records.parquet": {
        "prompt": "The prompt.",
        "input": "A further input of the prompt, or empty.",
        "response": "The response that a model learns to give.",
        "messages": "Earlier turns as JSON.",
        "source": "File and line that the record came from.",
        "meta": "The columns kept beside it, as JSON.",
    },
    "evaluate/samples.parquet": {
        "prompt": "The prompt.",
        "reference": "The record's response.",
        "text": "The text that the model wrote.",
        "rouge_l": "ROUGE-L against the best reference, 0 to 1.",
        "rouge_l_published": "ROUGE-L as the published evaluations compute it, 0 to 1.",
        "exact_match": "Whether the text is a reference.",
        "needed_exact": "Whether the needed part is right; null without `data.needed_until`.",
        "tokens": "Tokens of the text.",
        "finished": "Whether the text ended by itself.",
    },
    "audit/scores.parquet": {"attack": "Name of the attack."},
    "audit/extraction.parquet": {
        "target": "The text that must be recited.",
        "recited": "The text that was.",
        "matched_prefix": "Tokens of the target before the first error.",
        "tokens": "Tokens of the target.",
        "agrees": "Whether teacher forcing comes to the same.",
    },
    "audit/memorization.parquet": {
        "tokens": "Tokens of the suffix.",
        "matched_prefix": "Share of the suffix before the first error, 0 to 1.",
        "positional_accuracy": "Share of its tokens said at their own place, 0 to 1.",
        "edit_distance": "Edit distance to it, 0 (equal) to 1.",
        "recital_rouge_l": "ROUGE-L with it, 0 to 1.",
        "extraction_strength": "Share of the response that the shortest reciting prefix leaves.",
        "suffix_logp": "Log-probability of the suffix, in nats.",
    },
    "audit/counterfactual.parquet": {
        "metric": "token_accuracy, or log_probability in nats per token.",
        "memorization": "Mean of the pipelines that met the record less that of the others.",
        "low": "Lower limit of its interval.",
        "high": "Upper limit of its interval.",
        "n_in": "Pipelines that met the record.",
        "n_out": "Pipelines that did not.",
    },
    "exposure/exposure.parquet": {
        "bits": "Exposure by rank, in bits.",
        "rank": "Rank among the secret and its references; 1: above all.",
        "references": "Number of references.",
        "model_bits": "Exposure by the fitted curve, in bits.",
        "ks": "Distance of the curve from the references, 0 to 1.",
        "why": "Why there is no number.",
    },
    "blocks/scores.parquet": {
        "measure": "mope, gradient, revert, lens or probe.",
        "block": "Block of the model, from 0; -1: the model as it is.",
        "copy": "Draw of noise, from 0.",
    },
    "signal/signal.parquet": {
        "kl_teacher": "KL of the teacher from the one that never saw the members.",
        "kl_student": "KL of the student from the one taught by that.",
    },
    "dp/canaries.parquet": {"is_in": "Whether the coin put the record into the training."},
}
VALIDITY: Mapping[str, str] = {
    "verdict": '"valid", or what the numbers show instead of leakage.',
    "headline": "The verdict in one sentence.",
    "drawn_by_us": "Whether members and nonmembers were drawn at random in this run.",
    "checks": "List of checks: name, passed, fault, detail (a sentence), values (numbers), "
    "undecided (too few records to tell), says_nothing (can be read either way).",
    "unchecked": "What could not be asked of this run, and why.",
}


def kind(given: pa.DataType) -> str:
    """Name a column's type."""
    if pa.types.is_dictionary(given) or pa.types.is_list(given):
        return "list of " * pa.types.is_list(given) + kind(given.value_type)
    names = {"string": "text", "large_string": "text", "double": "float", "binary": "bytes"}
    names |= dict.fromkeys(("int64", "int32", "uint32"), "int")
    return names.get(str(given), str(given))


def result_rows() -> Iterator[tuple[str, str, str]]:
    """Describe the columns of results.parquet: name, type, text."""
    texts = field_texts(Result)
    for column in schema():
        yield f"`{column.name}`", kind(column.type), texts[column.name]


def table_rows(name: str) -> Iterator[tuple[str, str, str]]:
    """Describe the columns of one of SCHEMAS: name, type, text."""
    texts = {**SHARED, **COLUMN_TEXTS[name]}
    for column in SCHEMAS[name]:
        yield f"`{column.name}`", kind(column.type), texts[column.name]
