"""The log-probability of a text under the distributions it would be SAMPLED from.

In one teacher-forced pass: log of the true token's probability after temperature, then top-k, then
top-p, renormalised, exactly as `generate` draws it (the same `warp`); -inf outside the kept set.
Greedy decoding is the distribution that is 1 at the argmax. The sum over a suffix is log p_z of
probabilistic extraction (arXiv:2410.19482).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ConfigError
from stillage.functional.readout import logits, map_chunks
from stillage.models.batching import batch_limit, map_batches
from stillage.models.decoder import read
from stillage.models.generate import Decoding, check_decoding, warp
from stillage.models.padding import split_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Batch, Example


def sampling_logp(
    model: PreTrainedModel,
    examples: Sequence[Example],
    decodings: Sequence[Decoding],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[np.ndarray]:
    """Compute each response token's log-probability under S decodings, float32 [S, T].

    In nats, one array per example; padding and batches change nothing. ConfigError for settings
    without meaning, and for no_repeat_ngram, under which a token's probability is no longer the
    model's. DataError as token_stats.
    """
    for decoding in decodings:
        check_decoding(decoding)
        if decoding.no_repeat_ngram:
            raise ConfigError(
                "What a model remembers cannot be measured while repeating is forbidden.",
                f"no_repeat_ngram: {decoding.no_repeat_ngram}",
                "Set it to 0.",
            )

    def batch_logp(batch: Batch) -> list[np.ndarray]:
        parts = map_chunks(
            lambda part, labels_C: decoded_logp(logits(part), labels_C, decodings),
            read(model, batch),
            batch.labels_T,
            elements=2**21,
            gpu_elements=2**24,
            first_alone=True,
        )
        return split_rows(batch, torch.cat(parts, 1).cpu().numpy())

    return map_batches(
        batch_logp,
        [model],
        examples,
        nothing=np.zeros((len(decodings), 0), np.float32),
        batch_tokens=batch_limit(model, batch_tokens),
        progress=progress,
    )


def decoded_logp(
    logits_TV: torch.Tensor, labels_T: torch.Tensor, decodings: Sequence[Decoding]
) -> torch.Tensor:
    """Compute the log-probability of each label under each decoding, float32 [S, T]."""
    return torch.stack([sampled_logp(logits_TV, labels_T, decoding) for decoding in decodings])


def sampled_logp(
    logits_TV: torch.Tensor, labels_T: torch.Tensor, decoding: Decoding
) -> torch.Tensor:
    """Compute log-probabilities of labels as they would be sampled; NaN logits: NaN."""
    if decoding.sampling_temperature == 0:
        hit_T = logits_TV.argmax(1) == labels_T
        logp_T = torch.where(hit_T, 0.0, -torch.inf)
        return torch.where(logits_TV.isnan().any(1), torch.nan, logp_T)
    return warp(logits_TV, decoding).log_softmax(1).gather(1, labels_T[:, None])[:, 0]
