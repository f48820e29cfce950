"""The shapes of the small masked language models that a run trains itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from stillage.types import Array
from stillage.versions import query_key_biases

if TYPE_CHECKING:
    from transformers import BertForMaskedLM, PreTrainedTokenizerFast, RoFormerForMaskedLM

SHARP, TURNING = 5.0, 3  # of a head that looks at one place: size of its biases, pairs that turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Size of a small masked model, and how it is trained."""

    context: int  # tokens
    layers: int
    width: int
    heads: int
    steps: int
    batch: int  # rows
    lr: float
    gaps: float  # share of tokens to be guessed


OWN = Shape(context=256, layers=2, width=96, heads=4, steps=250, batch=32, lr=3e-3, gaps=0.15)
"""Over a vocabulary of its own, of 1,024. Gaps: Devlin et al. 2019, arXiv:1810.04805, 3.1."""
GIVEN = Shape(context=64, layers=2, width=128, heads=4, steps=250, batch=64, lr=6e-3, gaps=0.3)
"""Over a given vocabulary, some thousand tokens large."""


def sizes_of(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Return what the configurations of both architectures have in common."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": 2 * shape.width,
        "max_position_embeddings": shape.context,
        "pad_token_id": cast("int", tokenizer.pad_token_id),
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }


def bert(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> BertForMaskedLM:
    """Make a BERT with new weights from torch's global generator."""
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(BertConfig(**sizes_of(shape, tokenizer)))


def neighbourly(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, rows: Sequence[Array]
) -> RoFormerForMaskedLM:
    """Make a RoFormer that looks at its neighbours and knows the frequencies.

    Its other weights are new. Head h of each layer begins by looking at the place -1, 1, -2, 2, ...
    away, through biases that only rotary positions turn. Without, so small a model spends its few
    hundred steps on learning frequencies: 6.2 nats a gap after 200 steps on seven books, not 4.7.
    """
    from transformers import RoFormerConfig, RoFormerForMaskedLM

    model = RoFormerForMaskedLM(
        RoFormerConfig(embedding_size=shape.width, **sizes_of(shape, tokenizer))
    )
    size = shape.width // shape.heads
    with torch.no_grad():
        for query, key in query_key_biases(model):
            for head in range(shape.heads):
                away = (head // 2 + 1) * (1 if head % 2 else -1)
                for pair in range(TURNING):
                    angle, at = away * 10000 ** (-2 * pair / size), head * size + 2 * pair
                    key[at] = SHARP
                    query[at], query[at + 1] = SHARP * math.cos(angle), SHARP * math.sin(angle)
        seen = np.bincount(np.concatenate(rows), minlength=len(tokenizer)) + 1.0
        bias = torch.from_numpy(np.log(seen / seen.sum()))
        cast("torch.nn.Linear", model.get_output_embeddings()).bias.copy_(bias)
    return model
