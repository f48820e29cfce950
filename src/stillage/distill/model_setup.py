"""What is done with the models before a training: heads, packing, checkpointing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stillage.distill.task import TrainingTask
from stillage.errors import CapabilityError
from stillage.models.decoder import examine, plain
from stillage.models.packing import check_packing
from stillage.models.quiet import quiet
from stillage.types import MixedRollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("stillage")


def prepare_models(task: TrainingTask) -> int:
    """Examine heads, switch gradient checkpointing on; return a packed row's tokens.

    0: no packing. A model that cannot keep packed records apart gets one record a row, with a
    notice: the result is the same. CapabilityError where the student cannot checkpoint.
    """
    options = task.options
    for name, model in task.models.items():
        examine(model, name)
    if options.gradient_checkpointing:
        checkpoint_activations(task.student)
        if isinstance(task.rollout, MixedRollout):
            log.warning(
                "gradient checkpointing has no effect: %s trains the student in eval mode",
                task.method.name,
            )
    if not options.packing:
        return 0
    longest = max(len(example.ids_T) for example in task.examples)
    for name, model in task.models.items():
        try:
            check_packing(model, longest)
        except CapabilityError as error:
            log.warning("%s: %s One record a row instead (%s).", name, error.what, error.values)
            return 0
    return longest


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Switch gradient checkpointing on, or raise CapabilityError."""
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
