"""One block at a time: the loss with noise in it, or with another model's block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import CapabilityError
from stillage.models.perturb import perturbed
from stillage.models.prune import blocks_of
from stillage.models.query import token_stats
from stillage.types import Array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Example, Noise


def losses(
    model: PreTrainedModel,
    examples: Sequence[Example],
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Array:
    """Compute the mean loss of each example's scored tokens, nats; NaN without any."""
    stats = token_stats(model, examples, batch_tokens=batch_tokens, progress=progress)
    logp = [entry.logp_T for entry in stats]
    return np.array([-one.mean(dtype=np.float64) if len(one) else np.nan for one in logp])


def noise_losses(
    model: PreTrainedModel,
    examples: Sequence[Example],
    noise: Noise,
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Array:
    """Compute each record's loss with noise in one block alone, float64[S, L, N].

    The S draws are the same for every model, and those that `perturbed` puts on the whole model
    under seed, seed + 1, ... Costs S L passes. Raises CapabilityError for an architecture whose
    blocks cannot be told, and for quantised weights.
    """
    copies = noise.copies
    name, blocks = blocks_of(model)
    found_SLN = np.full((copies, len(blocks), len(examples)), np.nan)
    for copy in range(copies):
        for block in range(len(blocks)):
            prefix, seed = f"{name}.{block}.", noise.seed + copy

            def inside(parameter: str, prefix: str = prefix) -> bool:
                return parameter.startswith(prefix)

            with perturbed(model, inside, noise.sigma, seed, relative=noise.relative):
                found_SLN[copy, block] = losses(model, examples, batch_tokens)
            if progress is not None:
                passes, of = copy * len(blocks) + block + 1, copies * len(blocks)
                progress(passes, of, passes / of)
    return found_SLN


def reverted_losses(
    model: PreTrainedModel,
    other: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Array:
    """Compute each record's loss with one block of `other` instead, float64[L, N].

    Both models are as before afterwards. Costs L passes. Raises CapabilityError unless the blocks
    have equal weights by name and shape.
    """
    ours, theirs = blocks_of(model)[1], blocks_of(other)[1]
    if len(ours) != len(theirs):
        raise CapabilityError(
            "Blocks can only be exchanged between models of one architecture.",
            f"blocks: {len(ours)} and {len(theirs)}",
            "Compare students of the same size.",
        )
    found_LN = np.full((len(ours), len(examples)), np.nan)
    for block, (mine, replacement) in enumerate(zip(ours, theirs, strict=True)):
        with reverted(mine, replacement):
            found_LN[block] = losses(model, examples, batch_tokens)
        if progress is not None:
            progress(block + 1, len(ours), (block + 1) / len(ours))
    return found_LN


@contextmanager
def reverted(block: torch.nn.Module, other: torch.nn.Module) -> Iterator[None]:
    """Lend a block another's weights, to the bit; CapabilityError unless they fit."""
    own, new = block.state_dict(), other.state_dict()
    kinds = [{n: (t.shape, t.dtype) for n, t in state.items()} for state in (own, new)]
    if odd := sorted({name for name, _ in kinds[0].items() ^ kinds[1].items()}):
        raise CapabilityError(
            "Blocks can only be exchanged between models of one architecture.",
            f"{len(odd)} weights differ in name, shape or dtype, e.g. {odd[0]}",
            "Compare students of the same size and precision.",
        )
    before = {name: tensor.detach().clone() for name, tensor in own.items()}
    try:
        block.load_state_dict(new)
        yield
    finally:
        block.load_state_dict(before)
