"""Which lengths a model reads alike: some read a text otherwise when it, or another in its batch, is longer than a limit.

LongRoPE (Phi-3, Phi-3.5-MoE; arXiv:2402.13753) turns all positions by other angles once the longest row of a batch is
longer than the original context; Doge's attention drops keys once a row is longer than its window. Rows on either side of
such a limit must not share a batch, lest a record's score depend on its neighbours. Windows of attention, linear, YaRN and
Llama-3 scaling depend on nothing but the position. Dynamic NTK scaling does only beyond the context, where no text is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

OWN: Mapping[str, str] = {"doge": "keep_window_size"}
"""model_type -> field of the config: beyond so many tokens every length is read in its own way."""


def kind_of(config: PreTrainedConfig, length: int) -> Hashable:
    """Equal for two lengths, in tokens, that may share a batch of a model with this config."""
    text = config.get_text_config()
    own = getattr(text, OWN.get(text.model_type, ""), None)
    if own is not None and length > own:
        return length
    return tuple(length > limit for limit in switches(text))


def switches(text: PreTrainedConfig) -> list[int]:
    """The lengths beyond which the positions of a whole batch are turned otherwise."""
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    # of all layers, or by their type
    each = [one for one in (rope, *rope.values()) if isinstance(one, Mapping)]
    found = []
    for one in each:
        if one.get("rope_type", one.get("type")) in ("longrope", "su"):
            stated = one.get("original_max_position_embeddings")
            found.append(
                stated
                or getattr(text, "original_max_position_embeddings", text.max_position_embeddings)
            )
    return found


def kinds(models: Sequence[PreTrainedModel], lengths: Sequence[int]) -> list[Hashable]:
    """Of each length a key, equal for those that may share a batch which all these models read."""
    return [tuple(kind_of(model.config, length) for model in models) for length in lengths]


def growing_kinds(
    models: Sequence[PreTrainedModel], starts: Sequence[int], ends: Sequence[int]
) -> list[tuple[bool, Hashable]]:
    """The same of texts that grow from one length to another, and whether they pass a limit on the way.

    Those that do share a batch with texts of their own length alone: all of them pass it at once.
    """
    found: list[tuple[bool, Hashable]] = []
    for start, end in zip(starts, ends, strict=True):
        first, last = (
            tuple(kind_of(model.config, length) for model in models) for length in (start, end)
        )
        found.append((first != last, start if first != last else first))
    return found
