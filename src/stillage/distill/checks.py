"""Inputs a training refuses before its first step: what happened, the values, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.errors import CapabilityError, ConfigError, DataError, ModelError
from stillage.models.decoder import embedding_rows
from stillage.models.pair import context_of
from stillage.run.config import TrainConfig
from stillage.run.ranges import TRAIN, check_group
from stillage.types import Example, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def check(
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    method: Method,
    params: object,
    examples: Sequence[Example],
    validation: Sequence[Example],
    options: TrainConfig,
) -> None:
    """Raise for the first thing that cannot work; examples: those with a token to train."""
    assert isinstance(params, method.params), (
        f"{method.name} wants {method.params}, not {type(params)}"
    )
    check_options(options, validation)
    if not examples:
        raise DataError(
            "There is nothing to train on: no record has a response token.",
            "trained tokens: 0",
            "Check the response column, and that max_tokens leaves room for responses.",
        )
    if method.needs_teacher(params) and teacher is None:
        raise CapabilityError(
            f"The method {method.name} needs a teacher.",
            "teacher: none",
            "Give a teacher, or use --method sft.",
        )
    for role, model in (("student", student), ("teacher", teacher)):
        if model is not None:
            check_fit(role, model, [*examples, *validation])


def check_options(options: TrainConfig, validation: Sequence[Example]) -> None:
    """ConfigError for a budget or an optimiser that makes no training."""
    check_group(options, TRAIN)
    asks = options.keep == "best" or options.keep_checkpoints or options.keep_by == "rouge_l"
    if asks and not (validation and options.validate_every):
        raise ConfigError(
            "The best weights cannot be told without a validation.",
            f"keep = {options.keep}, keep_by = {options.keep_by}, keep_checkpoints = {options.keep_checkpoints}, "
            f"validate_every = {options.validate_every:g}, validation records: {len(validation)}",
            "Use keep = last, keep_by = loss and keep_checkpoints = 0, or give validation records.",
        )


def check_fit(role: str, model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """ModelError where a record is longer than the model's context, or has tokens that it does not know."""
    context = context_of(model)
    longest = max(examples, key=lambda example: len(example.ids_T))
    if context is not None and len(longest.ids_T) > context:
        raise ModelError(
            f"A record is longer than the {role}'s context.",
            f"record {longest.record_id}: {len(longest.ids_T)} tokens; context: {context}",
            f"Set data.max_tokens to at most {context}, or use a model with a longer context.",
        )
    rows = embedding_rows(model)
    highest = max(examples, key=lambda example: int(example.ids_T.max()))
    if int(highest.ids_T.max()) >= rows:
        raise ModelError(
            f"The {role} does not know a token of the data.",
            f"record {highest.record_id}: token {int(highest.ids_T.max())}; {role}: {rows} tokens",
            f"Tokenise with the {role}'s tokenizer.",
        )
