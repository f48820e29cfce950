"""The log-probability of a text under the distributions it would be SAMPLED from, in one teacher-forced pass.

Per token: log of the true token's probability after temperature, then top-k, then top-p, renormalised, exactly as
`generate` draws it (the same `warp`); -inf outside the kept set. Greedy decoding is the distribution that is 1 at the
argmax. The sum over a suffix is log p_z of probabilistic extraction (arXiv:2410.19482).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ConfigError
from stillage.models.batches import run_batches
from stillage.models.generate import Decoding, check_decoding, warp
from stillage.models.lengths import kinds
from stillage.models.outputs import evaluating
from stillage.models.query import CHUNK_ELEMENTS, CPU_BATCH_TOKENS, check_examples, feature_function

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Example


def sampling_logp(
    model: PreTrainedModel,
    examples: Sequence[Example],
    decodings: Sequence[Decoding],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[np.ndarray]:
    """Per example float32 [S, T]: log-probability in nats of its T response tokens under each of the S decodings.

    Aligned with the examples; padding and batches change nothing. ConfigError for settings without meaning, and for
    no_repeat_ngram, under which a token's probability is no longer the model's. DataError as token_stats.
    """
    for decoding in decodings:
        check_decoding(decoding)
        if decoding.no_repeat_ngram:
            raise ConfigError(
                "What a model remembers cannot be measured while repeating is forbidden.",
                f"no_repeat_ngram: {decoding.no_repeat_ngram}",
                "Set it to 0.",
            )
    check_examples(model, examples)
    results = [np.zeros((len(decodings), 0), np.float32)] * len(examples)
    rows = [k for k, example in enumerate(examples) if example.response_T.any()]
    with evaluating(model):
        features, logits = feature_function(model)

        def run(batch: list[int]) -> None:
            chosen = [rows[k] for k in batch]
            found = score([examples[k] for k in chosen], model.device, features, logits, decodings)
            for row, logp_ST in zip(chosen, found, strict=True):
                results[row] = logp_ST

        limit = min(batch_tokens, CPU_BATCH_TOKENS) if model.device.type == "cpu" else batch_tokens
        lengths = [len(examples[row].ids_T) for row in rows]
        run_batches(lengths, limit, run, progress, kinds=kinds([model], lengths))
    return results


def score(
    examples: Sequence[Example],
    device: torch.device,
    features: Callable[[torch.Tensor], torch.Tensor],
    logits: Callable[[torch.Tensor], torch.Tensor],
    decodings: Sequence[Decoding],
) -> list[np.ndarray]:
    """One batch, padded on the right, where a causal model never looks."""
    longest = max(len(example.ids_T) for example in examples)
    ids_BT, response_BT = (
        np.zeros((len(examples), longest), np.int64),
        np.zeros((len(examples), longest), bool),
    )
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids_T)] = example.ids_T
        response_BT[row, : len(example.ids_T)] = example.response_T
    ids, response = torch.from_numpy(ids_BT).to(device), torch.from_numpy(response_BT).to(device)
    before = response.roll(-1, 1)  # token t is predicted at position t - 1
    features_TX, labels_T = features(ids)[before], ids.roll(-1, 1)[before]
    limit = (
        CHUNK_ELEMENTS["cpu" if device.type == "cpu" else "cuda"] // 4
    )  # warping holds a sorted copy and its order
    parts, start, tokens = [], 0, 1  # the first token alone tells how large the vocabulary is
    while start < len(labels_T):
        logits_TV = logits(features_TX[start : start + tokens])
        labels = labels_T[start : start + tokens]
        parts.append(
            torch.stack([label_logp(logits_TV, labels, decoding) for decoding in decodings])
        )
        start, tokens = start + tokens, max(1, limit // logits_TV.shape[1])
    logp_ST = torch.cat(parts, 1).cpu().numpy()
    return np.split(logp_ST, np.cumsum(response_BT.sum(1))[:-1], axis=1)


def label_logp(logits_TV: torch.Tensor, labels_T: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """log-probability of each label under the sampling distribution, float32 [T]; NaN logits give NaN."""
    if decoding.sampling_temperature == 0:
        hit_T = logits_TV.argmax(1) == labels_T
        logp_T = torch.where(hit_T, 0.0, -torch.inf)
        return torch.where(logits_TV.isnan().any(1), torch.nan, logp_T)
    return warp(logits_TV, decoding).log_softmax(1).gather(1, labels_T[:, None])[:, 0]
