"""What is found out about the models, once, before a training: their heads, packing, gradient checkpointing."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.errors import CapabilityError
from stillage.models.decoder import examine, plain
from stillage.models.packing import check_packing
from stillage.models.quiet import quiet
from stillage.run.config import TrainConfig
from stillage.types import Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("stillage")


def prepare(
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    options: TrainConfig,
    examples: Sequence[Example],
) -> int:
    """Examine the heads, switch gradient checkpointing on, and return how many tokens a packed row has (0: no packing).

    A model that cannot keep packed records apart gets one record a row, with a notice: the result is the same. Raises
    CapabilityError where the student cannot checkpoint its activations.
    """
    models = {"student": student} | ({} if teacher is None else {"teacher": teacher})
    for role, model in models.items():
        examine(model, role)
    if options.gradient_checkpointing:
        checkpoint_activations(student)
    if not options.packing:
        return 0
    longest = max(len(example.ids_T) for example in examples)
    for role, model in models.items():
        try:
            check_packing(model, longest)
        except CapabilityError as error:
            log.warning("%s: %s One record a row instead (%s).", role, error.what, error.values)
            return 0
    return longest


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Switch gradient checkpointing on. CapabilityError where the architecture has none."""
    inner = plain(model)
    try:
        with quiet():
            inner.gradient_checkpointing_enable({"use_reentrant": False})
    except ValueError as error:
        raise CapabilityError(
            "This architecture cannot compute its activations again.",
            f"gradient_checkpointing: true; model type: {inner.config.model_type}",
            "Leave out gradient_checkpointing, and lower micro_batch_size to save memory.",
        ) from error


def keep_activations(model: PreTrainedModel) -> None:
    """Switch gradient checkpointing off again."""
    with quiet():
        plain(model).gradient_checkpointing_disable()
