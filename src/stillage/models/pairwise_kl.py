"""The divergence of two models' next-token distributions on given texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ModelError
from stillage.functional.divergence import forward_kl
from stillage.functional.readout import logits, map_chunks
from stillage.models.batching import batch_limit, map_batches
from stillage.models.decoder import embedding_rows, read
from stillage.models.padding import split_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Array, Batch, Example, Readout


def mean_kl(
    first: PreTrainedModel,
    second: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Array:
    """Average KL(first || second) over each record's scored tokens, nats: float64[N].

    NaN for a record without scored tokens. Raises ModelError where the vocabularies are not of one
    size, DataError for an example that either model cannot read.
    """
    vocabularies = embedding_rows(first), embedding_rows(second)
    if vocabularies[0] != vocabularies[1]:
        raise ModelError(
            "Two models with other vocabularies cannot be compared token by token.",
            f"tokens: {vocabularies[0]} and {vocabularies[1]}",
            "Compare models that read with one tokenizer.",
        )
    limit = batch_limit(first, batch_tokens)
    kl = token_kl(first, second, examples, batch_tokens=limit, progress=progress)
    counts_N = np.array([len(kl_T) for kl_T in kl], np.int64)
    row_T = np.repeat(np.arange(len(kl)), counts_N)
    total_N = np.bincount(row_T, np.concatenate([np.zeros(0), *kl]), len(kl))
    return np.where(counts_N > 0, total_N / np.maximum(counts_N, 1), np.nan)


def token_kl(
    first: PreTrainedModel,
    second: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int,
    elements: int = 2**20,
    first_alone: bool = False,
    progress: Done | None = None,
) -> list[Array]:
    """Compute KL(first || second) at each scored token, nats: float64 [T] per record.

    KL = sum_v p_v (log p_v - log q_v) at temperature 1, over the ids that both vocabularies have.
    elements, first_alone: as in `map_chunks`.
    """

    def batch_kl(batch: Batch) -> list[Array]:
        parts = map_chunks(
            chunk_kl,
            read(first, batch),
            read(second, batch),
            elements=elements,
            first_alone=first_alone,
        )
        return split_rows(batch, torch.cat(parts).double().cpu().numpy())

    return map_batches(
        batch_kl,
        [first, second],
        examples,
        nothing=np.zeros(0),
        batch_tokens=batch_tokens,
        progress=progress,
    )


def chunk_kl(first: Readout, second: Readout) -> torch.Tensor:
    """Compute KL(first || second) at each position."""
    p_CV, q_CV = logits(first), logits(second)
    shared = min(p_CV.shape[1], q_CV.shape[1])
    logp_CV, logq_CV = p_CV[:, :shared].log_softmax(-1), q_CV[:, :shared].log_softmax(-1)
    return forward_kl(logp_CV, logq_CV.to(logp_CV.device))
