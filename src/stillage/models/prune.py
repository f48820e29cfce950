"""A smaller model from a larger one: some of its blocks, evenly spaced.

Kept of L blocks: round(k (L - 1) / (K - 1)), k = 0 .. K - 1. The start of many students
(DistilBERT, Sanh et al. 2019, arXiv:1910.01108, section 2, takes every second block).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from stillage.errors import CapabilityError, ConfigError
from stillage.models.decoder import body_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def kept_blocks(blocks: int, keep: int) -> list[int]:
    """Choose `keep` blocks, evenly spaced; ConfigError unless 1 <= keep <= blocks."""
    if not 1 <= keep <= blocks:
        raise ConfigError(
            "A model cannot keep so many of its blocks.",
            f"prune_teacher_to: {keep}; blocks of the teacher: {blocks}",
            f"Choose 1 to {blocks}.",
        )
    return [round(float(place)) for place in np.linspace(0, blocks - 1, keep)]


def prune(model: PreTrainedModel, keep: int) -> PreTrainedModel:
    """Make a new model with `keep` of a model's blocks, on its device, in eval mode.

    Raises ConfigError for a number the model does not have, CapabilityError where its blocks cannot
    be told.
    """
    from transformers import AutoModelForCausalLM

    name, blocks = blocks_of(model)
    kept = kept_blocks(len(blocks), keep)
    config = pruned_config(model.config, kept, len(blocks))
    with torch.random.fork_rng(devices=[]):
        small = cast("PreTrainedModel", AutoModelForCausalLM.from_config(config, dtype=model.dtype))
    small.load_state_dict(pruned_state(model.state_dict(), name, kept))
    small.generation_config = copy.deepcopy(model.generation_config)
    return small.to(model.device).eval()  # pyright: ignore[reportArgumentType]


def blocks_of(model: PreTrainedModel) -> tuple[str, torch.nn.ModuleList]:
    """Find the list of blocks and its name; CapabilityError unless there is just one."""
    count = model.config.get_text_config().num_hidden_layers
    body = body_of(model)
    inside = {id(module) for module in body.modules()}
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count and id(module) in inside
    ]
    outer = [
        (name, module)
        for name, module in found
        if not any(name.startswith(f"{other}.") for other, _ in found)
    ]
    if len(outer) != 1:
        raise CapabilityError(
            "The blocks of this architecture cannot be told from its other parts.",
            f"model type: {model.config.model_type}; "
            f"lists of {count} modules: {[name for name, _ in outer]}",
            "Use a student from scratch, or one of its own folder.",
        )
    return outer[0]


def pruned_config(config: PretrainedConfig, kept: list[int], blocks: int) -> PretrainedConfig:
    """Cut the configuration, and every list in it with one entry per block."""
    small = copy.deepcopy(config)
    text = small.get_text_config()
    if text.model_type == "gpt_neo":
        kinds = [text.attention_layers[block] for block in kept]
        text.attention_types, text.attention_layers = [[kinds, 1]], kinds
    for name, value in list(text.to_dict().items()):
        if (
            isinstance(value, list)
            and len(value) == blocks
            and name not in ("attention_layers", "attention_types")
        ):
            setattr(text, name, [value[block] for block in kept])
    text.num_hidden_layers = len(kept)
    return small


def pruned_state(
    state: dict[str, torch.Tensor], blocks: str, kept: list[int]
) -> dict[str, torch.Tensor]:
    """Choose the weights of the smaller model: block kept[k] becomes block k."""
    places = {str(block): str(place) for place, block in enumerate(kept)}
    found: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(f"{blocks}."):
            found[name] = tensor
            continue
        block, _, rest = name.removeprefix(f"{blocks}.").partition(".")
        if block in places:
            found[f"{blocks}.{places[block]}.{rest}"] = tensor
    return found
