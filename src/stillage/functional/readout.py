"""Logits from a readout, a few positions at a time: the one place that makes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from stillage.types import Head, Readout

Part = TypeVar("Part")
# logits of one model that exist at a time on a GPU: a small part of its memory
GPU_ELEMENTS = 2**26


def project(hidden_TH: Tensor, head: Head) -> Tensor:
    """Make logits from hidden states, float32 [T, V], multiplied in the inputs' dtype."""
    if head.weight_VH is None:
        return hidden_TH.float()
    z_TV = torch.nn.functional.linear(hidden_TH, head.weight_VH, head.bias_V).float()
    return z_TV if head.softcap is None else torch.tanh(z_TV / head.softcap) * head.softcap


def logits(readout: Readout) -> Tensor:
    """Make all logits of a readout, float32 [T, V]."""
    return project(readout.hidden_TH, readout.head)


def label_logp(logits_TV: Tensor, labels_T: Tensor) -> Tensor:
    """Compute log q_t[label_t] in nats, [T]."""
    return torch.log_softmax(logits_TV, -1).gather(-1, labels_T[:, None]).squeeze(-1)


def token_logp(
    readout: Readout, labels_T: Tensor, *, elements: int = 2**23, gpu_elements: int = 2**23
) -> Tensor:
    """Compute log q_t[label_t] in nats, float32 [T], differentiable.

    A chunk's logits are made again in the backward pass; `map_chunks` explains elements.
    """
    if readout.head.weight_VH is None:
        return label_logp(logits(readout), labels_T)

    def chunk_logp(part: Readout, labels_C: Tensor) -> Tensor:
        return label_logp(logits(part), labels_C)

    remade = partial(checkpoint, chunk_logp, use_reentrant=False, preserve_rng_state=False)
    parts = map_chunks(remade, readout, labels_T, elements=elements, gpu_elements=gpu_elements)
    return torch.cat(parts)


def map_chunks(
    function: Callable[..., Part],
    readout: Readout,
    *beside: Tensor | Readout,
    elements: int,
    gpu_elements: int = GPU_ELEMENTS,
    first_alone: bool = False,
) -> list[Part]:
    """Call function(readout, *beside) on a few positions at a time.

    Args:
        function: gets the same positions of the readout and of everything beside it.
        readout: its vocabulary decides how many positions a part has.
        beside: labels, another model's readout: whatever has T rows.
        elements: logits in a part, on a CPU.
        gpu_elements: the same on a GPU.
        first_alone: the first position is a part of its own; a product of one row rounds otherwise.
    """
    limit = elements if readout.hidden_TH.device.type == "cpu" else gpu_elements
    size = max(1, limit // readout.vocabulary)
    sizes = chunk_sizes(len(readout.hidden_TH), size, first_alone=first_alone)
    parts = zip(*(rows.split(sizes) for rows in (readout, *beside)), strict=True)
    return [function(*part) for part in parts]


def chunk_sizes(count: int, size: int, *, first_alone: bool = False) -> list[int]:
    """Cut `count` positions into parts of `size`, the last smaller; 0 into one of 0."""
    first = [1] if first_alone and count > 1 else []
    full, rest = divmod(count - len(first), size)
    return [*first, *[size] * full, *([rest] if rest or not full else [])]
