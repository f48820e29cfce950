"""What a model is asked to continue, and what its texts have to obey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.tokenise import encode_prompts, prompt_limit
from stillage.errors import DataError
from stillage.models.decoder import embedding_rows
from stillage.models.limits import context_of, new_tokens, prompt_room, shortest_context
from stillage.models.pair import check_context, check_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.run.config import Config
    from stillage.types import Array, Record


@dataclass(frozen=True, slots=True)
class Prompts:
    """Token ids to continue; rows of one name, under one seed, draw the same noise."""

    ids: Sequence[Array]
    names: Sequence[str]
    seed: int = 0

    def __post_init__(self) -> None:
        """Require a name for each."""
        assert len(self.names) == len(self.ids)

    def check(self, model: PreTrainedModel) -> None:
        """Raise DataError unless the model can continue each by at least one token."""
        rows = embedding_rows(model)
        for prompt, name in zip(self.ids, self.names, strict=True):
            whose = f"The prompt of {name or 'a record'}"
            if len(prompt) == 0:
                raise DataError(
                    f"{whose} is empty, and a model cannot write before it has read something.",
                    "prompt: 0 tokens",
                    "Give a text, or a template that adds some.",
                )
            check_ids(np.asarray(prompt), rows, whose, "prompts")
        longest = max(range(len(self.ids)), key=lambda row: len(self.ids[row]), default=None)
        if longest is not None:
            what = "prompt (with one token to write)"
            check_context(model, len(self.ids[longest]) + 1, what=what, name=self.names[longest])


@dataclass(frozen=True, slots=True)
class TextRules:
    """Where a text ends, what fills a batch behind it, and what it may hold."""

    eos_id: int | Sequence[int]  # it stops there, and has that id as its last
    pad_id: int  # masked, never read
    most_tokens: int | None = None  # of prompt and answer together, below the model's own context
    known_ids: int | None = None  # only ids below it are written: another model has to read them

    @property
    def stops(self) -> frozenset[int]:
        """The ids that end a text."""
        return frozenset([self.eos_id] if isinstance(self.eos_id, int) else self.eos_id)


def answer_room(
    models: Sequence[PreTrainedModel], prompts: Prompts, rules: TextRules, max_new_tokens: int
) -> tuple[int | None, list[int]]:
    """Return what context models share, and each answer's room; DataError where none."""
    for model in models:
        prompts.check(model)
    limits = [rules.most_tokens, *map(context_of, models)]
    context = min((tokens for tokens in limits if tokens is not None), default=None)
    if context is None:
        return None, [max_new_tokens] * len(prompts.ids)
    return context, [min(max_new_tokens, context - len(prompt)) for prompt in prompts.ids]


def prompt_ids_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    records: Sequence[Record],
    config: Config,
) -> list[Array]:
    """Lay out and cut prompts as in training, with room for the answer in the context."""
    data, context = config.data, shortest_context(model)
    limit = prompt_limit(data.max_tokens, data.max_prompt_tokens, context)
    within = 0 if data.max_prompt_tokens else min(data.max_tokens, context or data.max_tokens)
    room = prompt_room(model, new_tokens(model, config.generate.max_new_tokens), limit)
    return encode_prompts(
        records, tokenizer, template=data.template, max_prompt_tokens=room, within=within
    )
