"""What Stillage uses of other libraries beyond their documentation.

All that a new version may move stands here. Everything else is documented by its library, or found
out by doing it once (models.decoder, models.stream). Run with the lower bounds of pyproject.toml
and with the newest of everything: `make test-oldest test-newest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft.tuners.lora.layer import Linear as LoraLinear
    from sacrebleu.metrics.base import Metric
    from transformers import BertForMaskedLM, RoFormerForMaskedLM


NUMBA_LOOP = {"_nrt": False, "error_model": "numpy"}
"""Options for compiled loops that allocate nothing: references to their arrays are not counted.

Counting them takes most of the time of a loop that calls others: numba 0.61 to 0.68.
"""


def causal_types() -> tuple[str, ...]:
    """The model types that transformers builds as causal language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def masked_types() -> tuple[str, ...]:
    """The model types that transformers builds as masked language models."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    return tuple(MODEL_FOR_MASKED_LM_MAPPING_NAMES)


def lora_linear() -> type[LoraLinear]:
    """peft's linear layer with low-rank adapters beside it."""
    from peft.tuners.lora.layer import Linear

    return Linear


def has_lora_targets(model_type: str) -> bool:
    """Whether peft knows by itself which layers of this model type get an adapter."""
    from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

    return model_type in TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING


def bert_head(model: BertForMaskedLM | RoFormerForMaskedLM) -> torch.nn.Module:
    """Return what turns hidden states into logits, to compute it at gaps alone."""
    return model.cls


def query_key_biases(model: RoFormerForMaskedLM) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return each layer's biases of queries and of keys, [width].

    The heads stand one after another. Both are turned by their place: dimensions 2 f and 2 f + 1 of
    a head by place / 10000^(2 f / d).
    """
    layers: Any = model.roformer.encoder.layer
    attentions = [layer.attention.self for layer in layers]
    return [(attention.query.bias, attention.key.bias) for attention in attentions]


def overlap_counts(
    metric: Metric, predictions: Sequence[str], streams: Sequence[Sequence[str | None]]
) -> list[Any]:
    """Return sacrebleu's counts of each answer, to score a corpus and resamples."""
    counts_of: Any = metric._extract_corpus_statistics
    return counts_of(predictions, streams)


def overlap_score(metric: Metric, counts: Sequence[int]) -> float:
    """sacrebleu's score of summed counts."""
    return float(metric._compute_score_from_stats(list(counts)).score)
