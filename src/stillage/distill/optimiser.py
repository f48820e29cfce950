"""AdamW (arXiv:1711.05101), and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from stillage.run.config import TrainConfig


def adamw(parameters: Iterable[nn.Parameter], options: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter) over what is trained; only matrices are decayed."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [weight for weight in trainable if weight.ndim >= 2]
    vectors = [vector for vector in trainable if vector.ndim < 2]
    decays = ((matrices, options.weight_decay), (vectors, 0.0))
    groups = [{"params": some, "weight_decay": decay} for some, decay in decays if some]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in trainable)
    return torch.optim.AdamW(groups, lr=0.0, betas=(options.beta1, options.beta2), fused=fused)


def lr_at(step: float, total: int, options: TrainConfig) -> float:
    """The learning rate of optimiser step `step` (from 0; Plan.progress) of `total`.

    Warm-up over w = ceil(warmup_fraction * total) steps: lr_peak * (step + 1) / w. Then, with x
    from 0 to 1 at the last step: cosine lr_final + (lr_peak - lr_final) (1 + cos(pi x)) / 2, linear
    lr_peak + (lr_final - lr_peak) x, or constant lr_peak.
    """
    warmup = math.ceil(options.warmup_fraction * total)
    if step < warmup:
        # between two steps it may lie beyond the last
        return options.lr_peak * min(1.0, (step + 1) / warmup)
    progress = min(1.0, (step - warmup) / max(1, total - 1 - warmup))
    if options.schedule == "constant":
        return options.lr_peak
    if options.schedule == "linear":
        return options.lr_peak + (options.lr_final - options.lr_peak) * progress
    height = options.lr_peak - options.lr_final
    return options.lr_final + height * (1 + math.cos(math.pi * progress)) / 2
