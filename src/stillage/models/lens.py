"""What a decoder knows after each of its blocks: its own head's loss there.

And the hidden states' mean. The blocks are found by structure (`prune.blocks_of`), so that any
decoder will do. What follows the last block (a norm, a projection, nothing) is run by the decoder
itself, while every block stands still and hands on what it is given: no family's norm has to be
known by name. `check_lens` proves it on a given model.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import CapabilityError
from stillage.functional.readout import logits, map_chunks
from stillage.models.batching import batch_limit, map_batches
from stillage.models.decoder import (
    check_head,
    evaluating,
    last_hidden,
    mismatch,
    plain,
    probe_ids,
    read,
)
from stillage.models.prune import blocks_of
from stillage.types import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Batch, Example, Readout


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockReadings:
    """What was read after each of L blocks of N records; NaN without scored tokens."""

    loss_LN: Array  # of the scored tokens, nats, by the model's own head put after the block
    hidden_LNH: Array  # float32, mean over the positions that predict a scored token


def block_readings(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> BlockReadings:
    """Read the loss and the mean hidden state after each block (logit lens).

    Nostalgebraist 2020. After the last it is the model's loss. One forward pass, and the norm and
    head once per block; padding and batches change nothing. Raises CapabilityError for an
    architecture whose blocks or head cannot be taken apart, DataError for an example too long or
    with unknown ids.
    """
    n_blocks, width = check_lens(model)
    nothing = np.full(n_blocks, np.nan), np.full((n_blocks, width), np.nan, np.float32)
    readings = map_batches(
        lambda batch: batch_readings(model, batch),
        [model],
        examples,
        nothing=nothing,
        batch_tokens=batch_limit(model, batch_tokens),
        progress=progress,
    )
    loss_LN = np.empty((n_blocks, len(examples)))
    hidden_LNH = np.empty((n_blocks, len(examples), width), np.float32)
    for row, reading in enumerate(readings):
        loss_LN[:, row], hidden_LNH[:, row] = reading
    return BlockReadings(loss_LN=loss_LN, hidden_LNH=hidden_LNH)


def batch_readings(model: PreTrainedModel, batch: Batch) -> list[tuple[Array, Array]]:
    """Read each record's loss [L] and mean hidden state [L, H] after each block."""
    ids_BS, labels_T, losses, means = batch.ids_BS, batch.labels_T, [], []
    row_T = batch.positions_T // ids_BS.shape[1]
    before_BS = torch.zeros_like(ids_BS, dtype=torch.bool)  # where a scored token is predicted
    before_BS.view(-1)[batch.positions_T] = True
    count_B = before_BS.sum(1)
    outputs = outputs_of(model, ids_BS)
    for output in outputs:
        states_BSH = states_of(output)
        with standing_still(list(blocks_of(model)[1]), outputs, states_BSH):
            readout = read(model, batch)
        loss_T = torch.cat(map_chunks(label_loss, readout, labels_T, elements=2**21))
        total_B = torch.zeros(len(ids_BS), device=ids_BS.device).index_add_(0, row_T, loss_T)
        losses.append(total_B / count_B)
        means.append((states_BSH.float() * before_BS[..., None]).sum(1) / count_B[:, None])
    loss_LB, mean_LBH = torch.stack(losses).cpu().numpy(), torch.stack(means).cpu().numpy()
    return [(loss_LB[:, row], mean_LBH[:, row]) for row in range(len(ids_BS))]


def label_loss(readout: Readout, labels_C: torch.Tensor) -> torch.Tensor:
    """Compute -log q_t[label_t] in nats, float32 [C]."""
    return torch.nn.functional.cross_entropy(logits(readout), labels_C, reduction="none")


def outputs_of(model: PreTrainedModel, ids_BT: torch.Tensor) -> list[object]:
    """Record what each block returns: hidden states [B, T, H], alone or in a tuple."""
    found: list[object] = []

    def keep(module: torch.nn.Module, inputs: object, output: object) -> None:
        found.append(output)

    hooks = [block.register_forward_hook(keep) for block in blocks_of(model)[1]]
    try:
        with torch.no_grad():
            last_hidden(model, {"input_ids": ids_BT})
    finally:
        for hook in hooks:
            hook.remove()
    return found


def states_of(output: object) -> torch.Tensor:
    """Take the hidden states out of what a block returns."""
    states = output[0] if isinstance(output, tuple | list) else output
    assert isinstance(states, torch.Tensor)
    return states


@contextmanager
def standing_still(
    blocks: Sequence[torch.nn.Module], outputs: Sequence[object], states_BTH: torch.Tensor
) -> Iterator[None]:
    """Let every block compute nothing, and return its output with the given states."""
    before = [block.__dict__.get("forward") for block in blocks]
    try:
        for block, output in zip(blocks, outputs, strict=True):
            block.forward = still(
                (states_BTH, *output[1:]) if isinstance(output, tuple | list) else states_BTH
            )
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is None:
                block.__dict__.pop("forward", None)
            else:
                block.forward = own


def still(output: object) -> Callable[..., object]:
    """Make a forward that looks at nothing."""
    return lambda *inputs, **settings: output


def check_lens(model: PreTrainedModel) -> tuple[int, int]:
    """Prove on five tokens that other states pass through what follows the blocks.

    The last block's states must give the model's own hidden states; other states, other ones. Costs
    three tiny forward passes. Returns the number of blocks, and the width of their states. Raises
    CapabilityError where that fails, or as `blocks_of` and `check_head`.
    """
    check_head(model)
    ids_BT = probe_ids(model)
    with evaluating(model):
        outputs = outputs_of(model, ids_BT)
        blocks = list(blocks_of(model)[1])
        theirs = last_hidden(model, {"input_ids": ids_BT})
        ours, moved = theirs + 1, theirs
        if len(outputs) == len(blocks):
            last = states_of(outputs[-1])
            with standing_still(blocks, outputs, last):
                ours = last_hidden(model, {"input_ids": ids_BT})
            with standing_still(blocks, outputs, 0 * last):
                moved = last_hidden(model, {"input_ids": ids_BT})
    dtype = plain(model).dtype
    if mismatch(ours, theirs, dtype) or not mismatch(moved, theirs, dtype):
        raise CapabilityError(
            "What this model knows after each of its blocks cannot be read.",
            f"model type: {model.config.model_type}; blocks: {len(blocks)}, "
            f"seen at work: {len(outputs)}",
            "Leave out audit.blocks, or use a decoder whose blocks follow each other "
            "(GPT-2, OPT, LLaMA, ...).",
        )
    return len(blocks), states_of(outputs[0]).shape[-1]
