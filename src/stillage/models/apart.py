"""How far apart two models are on given texts: a divergence of their next-token distributions, averaged per record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ModelError
from stillage.functional.divergence import forward_kl
from stillage.models.batches import run_batches
from stillage.models.lengths import kinds
from stillage.models.outputs import embedding_rows, evaluating
from stillage.models.query import CPU_BATCH_TOKENS, check_examples, feature_function

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Array, Example

CHUNK_ELEMENTS = {"cpu": 2**20, "cuda": 2**26}  # logits of one model that exist at a time


def mean_kl(
    first: PreTrainedModel,
    second: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Array:
    """KL(first || second) of the next-token distributions, nats, mean over each record's scored tokens: float64[N].

    KL = sum_v p_v (log p_v - log q_v) at temperature 1; NaN for a record without scored tokens. Padding and batches change
    nothing; the logits of a few positions exist at a time. Raises ModelError where the vocabularies are not of one size,
    DataError for an example that either model cannot read.
    """
    rows_of = embedding_rows(first), embedding_rows(second)
    if rows_of[0] != rows_of[1]:
        raise ModelError(
            "Two models with other vocabularies cannot be compared token by token.",
            f"tokens: {rows_of[0]} and {rows_of[1]}",
            "Compare models that read with one tokenizer.",
        )
    for model in (first, second):
        check_examples(model, examples)
    found = np.full(len(examples), np.nan)
    rows = [k for k, example in enumerate(examples) if example.response_T.any()]
    with evaluating(first), evaluating(second):
        models = [(model, *feature_function(model)) for model in (first, second)]

        def run(batch: list[int]) -> None:
            chosen = [rows[k] for k in batch]
            longest = max(len(examples[row].ids_T) for row in chosen)
            ids_BT, scored_BT = (
                np.zeros((len(chosen), longest), np.int64),
                np.zeros((len(chosen), longest), bool),
            )
            for place, row in enumerate(chosen):
                ids_BT[place, : len(examples[row].ids_T)] = examples[row].ids_T
                scored_BT[place, : len(examples[row].ids_T)] = examples[row].response_T
            before_BT = torch.from_numpy(scored_BT).roll(
                -1, 1
            )  # token t is predicted at position t - 1
            features = [
                hidden(torch.from_numpy(ids_BT).to(model.device))[before_BT.to(model.device)]
                for model, hidden, _ in models
            ]
            size = max(
                1, CHUNK_ELEMENTS["cpu" if first.device.type == "cpu" else "cuda"] // rows_of[0]
            )
            parts = []
            for p_CX, q_CX in zip(features[0].split(size), features[1].split(size), strict=True):
                p_CV, q_CV = models[0][2](p_CX).log_softmax(-1), models[1][2](q_CX).log_softmax(-1)
                parts.append(forward_kl(p_CV, q_CV.to(p_CV.device)).double().cpu())
            row_T, kl_T = before_BT.nonzero()[:, 0].numpy(), torch.cat(parts).numpy()
            found[chosen] = np.bincount(row_T, kl_T, len(chosen)) / np.bincount(
                row_T, minlength=len(chosen)
            )

        limit = min(batch_tokens, CPU_BATCH_TOKENS) if first.device.type == "cpu" else batch_tokens
        lengths = [len(examples[row].ids_T) for row in rows]
        run_batches(lengths, limit, run, progress, kinds=kinds([first, second], lengths))
    return found
