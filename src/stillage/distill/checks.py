"""Inputs that a training refuses before its first step."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.corpus.lm_text import check_fits
from stillage.distill.batches import canonical, trained_tokens
from stillage.distill.task import TrainingTask
from stillage.errors import CapabilityError, ConfigError, DataError, ModelError
from stillage.models.decoder import embedding_rows
from stillage.models.limits import context_of
from stillage.run.config import TrainConfig
from stillage.run.ranges import TRAIN, check_group
from stillage.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("stillage")


def checked_task(task: TrainingTask) -> TrainingTask:
    """The task as its method needs it, without examples that train no token.

    Raises the error for the first thing that cannot work.
    """
    method, params = task.method, task.params
    assert isinstance(params, method.params), f"{method.name} wants {method.params}, not {params}"
    trained = with_trained_tokens(task.examples)
    options = dataclasses.replace(task.options, **method.budget(params))
    teacher = task.teacher if method.needs_teacher(params) else None
    check_options(options, task.validation)
    if not trained:
        what = "There is nothing to train on: no record has a response token."
        fix = "Check the response column, and that max_tokens leaves room for responses."
        raise DataError(what, "trained tokens: 0", fix)
    if method.needs_teacher(params) and teacher is None:
        raise CapabilityError(
            f"The method {method.name} needs a teacher.",
            "teacher: none",
            "Give a teacher, or use --method sft.",
        )
    ready = dataclasses.replace(
        task,
        teacher=teacher,
        options=options,
        examples=trained,
        validation=with_trained_tokens(task.validation),
    )
    for name, model in ready.models.items():
        check_fit(name, model, [*trained, *task.validation])
    if task.corpus is not None:
        check_fits(task.corpus, context_of(task.student), embedding_rows(task.student))
    if left_out := len(task.examples) - len(trained):
        message = "%d of %d examples have no token to train and are left out."
        log.warning(message, left_out, len(task.examples))
    return ready


def with_trained_tokens(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples that have a token to train, in canonical order."""
    return canonical([example for example in examples if trained_tokens(example)])


def check_options(options: TrainConfig, validation: Sequence[Example]) -> None:
    """Refuse a budget or an optimiser that makes no training (ConfigError)."""
    check_group(options, TRAIN)
    asks = options.keep == "best" or options.keep_checkpoints or options.keep_by == "rouge_l"
    if asks and not (validation and options.validate_every):
        raise ConfigError(
            "The best weights cannot be told without a validation.",
            f"keep = {options.keep}, keep_by = {options.keep_by}, "
            f"keep_checkpoints = {options.keep_checkpoints}, "
            f"validate_every = {options.validate_every:g}, validation records: {len(validation)}",
            "Use keep = last, keep_by = loss and keep_checkpoints = 0, or give validation records.",
        )


def check_fit(name: str, model: PreTrainedModel, examples: Sequence[Example]) -> None:
    """Refuse records that the model cannot read (ModelError)."""
    context = context_of(model)
    longest = max(examples, key=lambda example: len(example.ids_T))
    if context is not None and len(longest.ids_T) > context:
        values = f"record {longest.record_id}: {len(longest.ids_T)} tokens; context: {context}"
        fix = f"Set data.max_tokens to at most {context}, or use a model with a longer context."
        raise ModelError(f"A record is longer than the {name}'s context.", values, fix)
    rows = embedding_rows(model)
    highest = max(examples, key=lambda example: int(example.ids_T.max()))
    if int(highest.ids_T.max()) >= rows:
        raise ModelError(
            f"The {name} does not know a token of the data.",
            f"record {highest.record_id}: token {int(highest.ids_T.max())}; {name}: {rows} tokens",
            f"Tokenise with the {name}'s tokenizer.",
        )
