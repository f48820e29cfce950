"""The audited records as each model reads them: laid out, as tokens, cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.given import AuditModel
from stillage.models.limits import stated_context
from stillage.run.config import DataConfig
from stillage.types import Array, Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stillage.data.tokenise import Tokenised

UNLIMITED = 2**31 - 1  # tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What some models read of the records, in the order of these."""

    models: tuple[str, ...]
    tokenizer: PreTrainedTokenizerFast
    tokenised: Tokenised
    was_cut: Array
    """bool[n]: lost a part of the prompt or the response, or ends without an end of text."""
    response_read: float  # share of the responses' tokens, of all records together

    @property
    def ids(self) -> list[Array]:
        """The ids of every record."""
        return [example.ids_T for example in self.tokenised.examples]


def model_readings(
    models: Sequence[AuditModel], records: Sequence[Record], data: DataConfig
) -> list[Reading]:
    """Read the records as every model does; once per tokenizer, layout and context."""
    from stillage.corpus.tokenizers import tokenizer_hash

    ways: dict[tuple[str, str, int], tuple[list[str], PreTrainedTokenizerFast, int | None]] = {}
    for model in models:
        tokenizer = model.load_tokenizer()
        context_tokens = stated_context(model.source)
        longest = min(data.max_tokens, context_tokens or data.max_tokens)
        key = (tokenizer_hash(tokenizer), str(tokenizer.chat_template), longest)
        ways.setdefault(key, ([], tokenizer, context_tokens))[0].append(model.name)
    return [read_one_way(records, data, *way) for way in ways.values()]


def read_one_way(
    records: Sequence[Record],
    data: DataConfig,
    models: Sequence[str],
    tokenizer: PreTrainedTokenizerFast,
    context_tokens: int | None,
) -> Reading:
    """Read the records with one tokenizer, up to one context."""
    from stillage.data.tokenise import tokenise

    done = tokenise(
        records,
        tokenizer,
        template=data.template,
        max_tokens=data.max_tokens,
        max_prompt_tokens=data.max_prompt_tokens,
        context_tokens=context_tokens,
    )
    last = np.array([int(example.ids_T[-1]) for example in done.examples])
    was_cut = done.was_cut | (last != tokenizer.eos_token_id)
    whole = tokenise(
        list(compress(records, was_cut)),
        tokenizer,
        template=data.template,
        max_tokens=UNLIMITED,
        max_prompt_tokens=UNLIMITED - 1,
    )
    scored, rest = (
        np.array([int(example.response_T.sum()) for example in read.examples], dtype=np.int64)
        for read in (done, whole)
    )
    full = int(scored[~was_cut].sum() + rest.sum())
    return Reading(
        models=tuple(models),
        tokenizer=tokenizer,
        tokenised=done,
        was_cut=was_cut,
        response_read=float(scored.sum()) / max(1, full),
    )
