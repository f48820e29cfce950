"""Gaussian noise on a model's weights for a while, exactly undone.

Each tensor has noise of its own, drawn from (seed, its name) alone: shaking one block, or all of
them, or on another machine, gives a tensor the same noise, so that profiles over blocks share their
random numbers.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from stillage.errors import CapabilityError, ConfigError
from stillage.rng import torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@contextmanager
def perturbed(
    model: torch.nn.Module,
    which: Callable[[str], bool] | None,
    sigma: float,
    seed: int,
    *,
    relative: bool = True,
) -> Iterator[None]:
    """Add noise to the weights whose name satisfies `which` (None: all), then undo it.

    W + sigma scale(W) eps, eps ~ N(0, 1): scale is the root mean square of W (a tensor of zeros
    stays as it is), or 1 where not relative, as published (Li et al. 2023, arXiv:2310.14369). A
    weight that two layers share is shaken once, under its first name. Costs a copy of the chosen
    weights; every bit is restored. Raises ConfigError for a sigma below 0, CapabilityError for
    quantised weights.
    """
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ConfigError(
            "The noise on the weights has no such size.", f"sigma: {sigma}", "Choose 0 or more."
        )
    chosen = {n: tensor for n, tensor in model.named_parameters() if which is None or which(n)}
    refuse_quantised(chosen, "cannot be shaken", "noise")
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for name, tensor in chosen.items():
            kept.append((tensor, tensor.detach().clone()))
            with torch.no_grad():
                tensor.copy_(noise(name, tensor, sigma, seed, relative).add_(tensor))
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)


def noise(name: str, tensor: torch.Tensor, sigma: float, seed: int, relative: bool) -> torch.Tensor:
    """Draw the noise of one tensor, float32; on the CPU, so that every machine agrees."""
    drawn = torch_generator(seed, "noise", name)
    eps = torch.randn(tensor.shape, generator=drawn, dtype=torch.float32)
    norm = float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64))
    scale = norm / math.sqrt(tensor.numel() or 1)
    return eps.mul_(sigma * scale if relative else sigma).to(tensor.device)


def refuse_quantised(weights: Mapping[str, torch.Tensor], why: str, needed: str) -> None:
    """Raise CapabilityError where some weights are not floating-point numbers."""
    if odd := [name for name, tensor in weights.items() if not tensor.is_floating_point()]:
        raise CapabilityError(
            f"Quantised weights {why}.",
            f"{len(odd)} of {len(weights)} tensors, e.g. {odd[0]}",
            f"Load the model without `quantize`, or leave out the attacks that need {needed}.",
        )
