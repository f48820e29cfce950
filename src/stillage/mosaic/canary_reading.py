"""Canaries as a model reads them: exactly the ids that were injected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.token_blocks import all_trained
from stillage.data.tokenise import text_examples
from stillage.types import Array, Example, Record

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LOG = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReader:
    """A model with the tokenizer by which it reads."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast


def canary_examples(canaries: pa.Table) -> list[Example]:
    """The canaries' own ids as examples, in the table's order.

    No BOS and no EOS, whatever the tokenizer would add, as in the published study: a canary stands
    in the middle of a document. All is scored but the first token, which nothing predicts.
    """
    rows = zip(canary_names(canaries), canaries["ids"].to_pylist(), strict=True)
    return [all_trained(name, np.array(ids, np.int32)) for name, ids in rows]


def canary_records(canaries: pa.Table) -> list[Record]:
    """The canaries as records whose response is the text, in the table's order."""
    rows = zip(canary_names(canaries), canaries["text"].to_pylist(), strict=True)
    return [Record(id=name, prompt="", response=text) for name, text in rows]


def canary_names(canaries: pa.Table) -> list[str]:
    """Record ids of the canaries."""
    return [f"canary-{number}" for number in canaries["canary"].to_pylist()]


def members(canaries: pa.Table) -> Array:
    """bool[n]: which canaries are members."""
    return np.array([role == "member" for role in canaries["role"].to_pylist()], dtype=bool)


def canary_encoder(
    canaries: pa.Table | None, tokenizer: PreTrainedTokenizerFast, *, spans: bool = True
) -> Callable[[Sequence[Record]], list[Example]]:
    """Make what turns records into examples: a canary's text into exactly its ids.

    Any other text (in lower case, a neighbour, one of another's canaries) is tokenised alone, also
    without BOS and EOS. canaries: None where all texts are tokenised, for a model with another
    tokenizer. spans: say which characters a token stands for, so that attacks compare two readings
    over the same ones; a canary whose text would be tokenised otherwise has none (logged).
    """
    records = [] if canaries is None else canary_records(canaries)
    exact = [] if canaries is None else canary_examples(canaries)
    known = {record.response: one for record, one in zip(records, exact, strict=True)}

    def encode(asked: Sequence[Record]) -> list[Example]:
        names, texts = [one.id for one in asked], [one.response for one in asked]
        examples, other = text_examples(texts, names, tokenizer), 0
        for place, text in enumerate(texts):
            if text in known and not np.array_equal(examples[place].ids_T, known[text].ids_T):
                examples[place] = replace(known[text], record_id=names[place])
                other += 1
        if other:
            LOG.warning("%d canaries are no longer what their text is tokenised to", other)
        return examples if spans else [replace(one, span=None) for one in examples]

    return encode
