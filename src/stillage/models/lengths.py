"""Which lengths a model reads alike, and so may share a batch.

LongRoPE (Phi-3, Phi-3.5-MoE; arXiv:2402.13753) turns all positions by other angles once the longest
row of a batch is longer than the original context; Doge's attention drops keys once a row is longer
than its window. Rows on either side of such a limit must not share a batch, lest a record's score
depend on its neighbours. Windows of attention, linear, YaRN and Llama-3 scaling depend on nothing
but the position. Dynamic NTK scaling does only beyond the context, where no text is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

OWN: Mapping[str, str] = {"doge": "keep_window_size"}
"""model_type -> field of the config: beyond it every length is read in its own way."""


def kind_of(config: PreTrainedConfig, length: int) -> Hashable:
    """Return a key, equal for two lengths, in tokens, that may share a batch."""
    text = config.get_text_config()
    own = getattr(text, OWN.get(text.model_type, ""), None)
    if own is not None and length > own:
        return length
    return tuple(length > limit for limit in switches(text))


def switches(text: PreTrainedConfig) -> list[int]:
    """List the lengths beyond which a whole batch's positions are turned otherwise."""
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    # of all layers, or by their type
    each = [one for one in (rope, *rope.values()) if isinstance(one, Mapping)]
    long = [one for one in each if one.get("rope_type", one.get("type")) in ("longrope", "su")]
    key = "original_max_position_embeddings"
    return [one.get(key) or getattr(text, key, text.max_position_embeddings) for one in long]


def kinds(models: Sequence[PreTrainedModel], lengths: Sequence[int]) -> list[Hashable]:
    """Return a key for each length, equal for those that these models read alike."""
    return [tuple(kind_of(model.config, length) for model in models) for length in lengths]


def growing_kinds(
    models: Sequence[PreTrainedModel], starts: Sequence[int], ends: Sequence[int]
) -> list[tuple[bool, Hashable]]:
    """Tell of growing texts whether they pass a limit, and their key.

    Those that do share a batch with texts of their own length alone: all of them pass it at once.
    """
    pairs = zip(starts, kinds(models, starts), kinds(models, ends), strict=True)
    return [(first != last, start if first != last else first) for start, first, last in pairs]
