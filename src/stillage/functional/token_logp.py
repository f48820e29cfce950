"""Log-probability of given tokens from hidden states, differentiable, a few positions at a time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stillage.types import Output

CHUNK_ELEMENTS = 8 * 2**20  # logits that exist at a time


def token_logp(output: Output, labels_T: Tensor, *, chunk_tokens: int = 0) -> Tensor:
    """log q_t[label_t] in nats, float32 [T]; logits of a chunk are made again in the backward pass, never all kept.

    logits = softcap(hidden head' + bias), or the hidden states themselves where there is no head. chunk_tokens: positions
    at a time; 0 chooses by the vocabulary.
    """
    if output.head_VH is None:  # the logits themselves
        return (
            torch.log_softmax(output.hidden_TH.float(), -1)
            .gather(-1, labels_T[:, None])
            .squeeze(-1)
        )
    size = chunk_tokens or max(1, CHUNK_ELEMENTS // output.head_VH.shape[0])
    head = (output.head_VH, output.bias_V, output.softcap)
    parts = [
        checkpoint(
            _chunk, hidden_CH, *head, labels_C, use_reentrant=False, preserve_rng_state=False
        )
        for hidden_CH, labels_C in zip(
            output.hidden_TH.split(size), labels_T.split(size), strict=True
        )
    ]
    return torch.cat(parts)


def _chunk(
    hidden_CH: Tensor,
    head_VH: Tensor,
    bias_V: Tensor | None,
    softcap: float | None,
    labels_C: Tensor,
) -> Tensor:
    """The log-probabilities of one chunk."""
    z_CV = torch.nn.functional.linear(hidden_CH, head_VH, bias_V).float()
    if softcap is not None:
        z_CV = torch.tanh(z_CV / softcap) * softcap
    return torch.log_softmax(z_CV, -1).gather(-1, labels_C[:, None]).squeeze(-1)
