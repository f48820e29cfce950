"""Shake a model's weights for a while: Gaussian noise on chosen tensors, the same for the same seed, and exactly undone.

Each tensor has noise of its own, drawn from (seed, its name) alone: shaking one block, or all of them, or on another
machine, gives a tensor the same noise, so that profiles over blocks share their random numbers.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from stillage.errors import CapabilityError, ConfigError
from stillage.rng import torch_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


@contextmanager
def perturbed(
    model: torch.nn.Module,
    which: Collection[str] | Callable[[str], bool] | None,
    sigma: float,
    seed: int,
    *,
    relative: bool = True,
) -> Iterator[None]:
    """Add noise to the named weights (or those whose name satisfies `which`; None: all), and restore every bit afterwards.

    W + sigma scale(W) eps, eps ~ N(0, 1): scale is the root mean square of W (a tensor of zeros stays as it is), or 1 where
    not relative, as published (Li et al. 2023, arXiv:2310.14369). A weight that two layers share is shaken once, under its
    first name. Costs a copy of the chosen weights. Raises ConfigError for a sigma below 0 or an unknown name,
    CapabilityError for quantised weights.
    """
    chosen = chosen_tensors(model, which, sigma)
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
    """The noise of one tensor, float32, on its device; drawn on the CPU, so that every machine draws the same."""
    eps = torch.randn(
        tensor.shape, generator=torch_generator(seed, "noise", name), dtype=torch.float32
    )
    scale = float(torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64)) / math.sqrt(
        tensor.numel() or 1
    )
    return eps.mul_(sigma * scale if relative else sigma).to(tensor.device)


def chosen_tensors(
    model: torch.nn.Module, which: Collection[str] | Callable[[str], bool] | None, sigma: float
) -> dict[str, torch.nn.Parameter]:
    """The weights to shake, by name. Errors as `perturbed`."""
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ConfigError(
            "The noise on the weights has no such size.", f"sigma: {sigma}", "Choose 0 or more."
        )
    named = dict(model.named_parameters())
    if which is None:
        chosen = named
    elif callable(which):
        chosen = {name: tensor for name, tensor in named.items() if which(name)}
    else:
        if unknown := sorted(set(which) - set(named)):
            raise ConfigError(
                "The model has no weights of this name.",
                f"{unknown[0]}; it has {list(named)[:3]} ...",
                "Check it.",
            )
        chosen = {name: named[name] for name in which}
    if odd := [name for name, tensor in chosen.items() if not tensor.is_floating_point()]:
        raise CapabilityError(
            "Quantised weights cannot be shaken.",
            f"{len(odd)} of {len(chosen)} tensors, e.g. {odd[0]}",
            "Load the model without `quantize`, or leave out the attacks that need noise.",
        )
    return chosen
