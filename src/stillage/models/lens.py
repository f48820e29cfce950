"""What a decoder knows after each of its blocks: the loss of its own head put there, and the hidden states' mean.

The blocks are found by structure (`prune.blocks_of`), so that any decoder will do. What follows the last block (a norm, a
projection, nothing) is run by the decoder itself, while every block stands still and hands on what it is given: no
family's norm has to be known by name. `check_lens` proves it on a given model.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import CapabilityError
from stillage.models.batches import run_batches
from stillage.models.lengths import kinds
from stillage.models.outputs import (
    check_head,
    close,
    evaluating,
    forward_hidden,
    head_of,
    plain,
    probe_ids,
    project,
)
from stillage.models.prune import blocks_of
from stillage.models.query import CPU_BATCH_TOKENS, check_examples
from stillage.types import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from transformers import PreTrainedModel

    from stillage.models.outputs import Head
    from stillage.run.progress import Done
    from stillage.types import Example

CHUNK_ELEMENTS = {"cpu": 2**21, "cuda": 2**26}  # logits that exist at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What was read after each of L blocks of N records; NaN for a record without scored tokens."""

    loss_LN: Array  # mean negative log-probability of the scored tokens, nats, by the model's own head put after the block
    hidden_LNH: Array  # float32, mean over the positions that predict a scored token


def block_readings(
    model: PreTrainedModel,
    examples: Sequence[Example],
    *,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> Readings:
    """Loss (logit lens, nostalgebraist 2020) and mean hidden state after each block; after the last it is the model's loss.

    One forward pass, and the norm and head once per block; padding and batches change nothing. Raises CapabilityError for
    an architecture whose blocks or head cannot be taken apart, DataError for an example too long or with unknown ids.
    """
    check_examples(model, examples)
    check_lens(model)
    head = head_of(model)
    rows = [k for k, example in enumerate(examples) if example.response_T.any()]
    found: dict[int, tuple[Array, Array]] = {}

    def run(batch: list[int]) -> None:
        chosen = [rows[k] for k in batch]
        found.update(
            zip(chosen, read_batch(model, head, [examples[row] for row in chosen]), strict=True)
        )

    with evaluating(model):
        limit = min(batch_tokens, CPU_BATCH_TOKENS) if model.device.type == "cpu" else batch_tokens
        lengths = [len(examples[row].ids_T) for row in rows]
        run_batches(lengths, limit, run, progress, kinds=kinds([model], lengths))
        shape_LH = tuple(
            torch.stack([states_of(out)[0, 0] for out in outputs_of(model, probe_ids(model))]).shape
        )
    loss_LN = np.full((shape_LH[0], len(examples)), np.nan)
    hidden_LNH = np.full((shape_LH[0], len(examples), shape_LH[1]), np.nan, np.float32)
    for row, (loss_L, mean_LH) in found.items():
        loss_LN[:, row], hidden_LNH[:, row] = loss_L, mean_LH
    return Readings(loss_LN=loss_LN, hidden_LNH=hidden_LNH)


def read_batch(
    model: PreTrainedModel, head: Head, examples: Sequence[Example]
) -> list[tuple[Array, Array]]:
    """(loss after each block [L], mean hidden state there [L, H]) of each example; the batch is padded on the right."""
    longest = max(len(example.ids_T) for example in examples)
    ids_BT, scored_BT = (
        np.zeros((len(examples), longest), np.int64),
        np.zeros((len(examples), longest), bool),
    )
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids_T)] = example.ids_T
        scored_BT[row, : len(example.ids_T)] = example.response_T
    ids = torch.from_numpy(ids_BT).to(model.device)
    before_BT = (
        torch.from_numpy(scored_BT).to(model.device).roll(-1, 1)
    )  # token t is predicted at position t - 1
    labels_T, row_T, count_B = (
        ids.roll(-1, 1)[before_BT],
        before_BT.nonzero()[:, 0],
        before_BT.sum(1),
    )
    losses, means = [], []
    outputs = outputs_of(model, ids)
    for output in outputs:
        states_BTH = states_of(output)
        loss_T = label_loss(
            after_blocks(model, ids, outputs, states_BTH)[before_BT], labels_T, head
        )
        losses.append(
            torch.zeros(len(examples), device=ids.device).index_add_(0, row_T, loss_T) / count_B
        )
        means.append((states_BTH.float() * before_BT[..., None]).sum(1) / count_B[:, None])
    loss_LB, mean_LBH = torch.stack(losses).cpu().numpy(), torch.stack(means).cpu().numpy()
    return [(loss_LB[:, row], mean_LBH[:, row]) for row in range(len(examples))]


def label_loss(hidden_TH: torch.Tensor, labels_T: torch.Tensor, head: Head) -> torch.Tensor:
    """-log q_t[label_t] in nats, [T], float32; the logits of a few positions exist at a time."""
    size = max(
        1, CHUNK_ELEMENTS["cpu" if hidden_TH.device.type == "cpu" else "cuda"] // head[0].shape[0]
    )
    parts = zip(hidden_TH.split(size), labels_T.split(size), strict=True)
    return torch.cat(
        [
            torch.nn.functional.cross_entropy(project(part, head), labels, reduction="none")
            for part, labels in parts
        ]
    )


def outputs_of(model: PreTrainedModel, ids_BT: torch.Tensor) -> list[object]:
    """What each block returns, as it returns it: hidden states [B, T, H], alone or first in a tuple."""
    found: list[object] = []

    def keep(module: torch.nn.Module, inputs: object, output: object) -> None:
        found.append(output)

    hooks = [block.register_forward_hook(keep) for block in blocks_of(model)[1]]
    try:
        with torch.no_grad():
            forward_hidden(model, ids_BT)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def states_of(output: object) -> torch.Tensor:
    """The hidden states in what a block returns."""
    states = output[0] if isinstance(output, tuple | list) else output
    assert isinstance(states, torch.Tensor)
    return states


def after_blocks(
    model: PreTrainedModel,
    ids_BT: torch.Tensor,
    outputs: Sequence[object],
    states_BTH: torch.Tensor,
) -> torch.Tensor:
    """What the decoder makes of hidden states as if its last block had given them: the input of the head, [B, T, H].

    outputs: what the blocks returned on these ids, for the rest of what they return.
    """
    with standing_still(list(blocks_of(model)[1]), outputs, states_BTH), torch.no_grad():
        return forward_hidden(model, ids_BT)


@contextmanager
def standing_still(
    blocks: Sequence[torch.nn.Module], outputs: Sequence[object], states_BTH: torch.Tensor
) -> Iterator[None]:
    """Every block computes nothing, and returns its output with the given states in it."""
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
    """A forward that looks at nothing."""
    return lambda *inputs, **settings: output


def check_lens(model: PreTrainedModel) -> None:
    """Prove on five tokens that blocks can stand still, and that another block's states pass through what follows them.

    The last block's states must give the model's own hidden states; other states, other ones. Costs three tiny forward
    passes. Raises CapabilityError where that fails, or as `blocks_of` and `check_head`.
    """
    check_head(model)
    ids_BT = probe_ids(model)
    with evaluating(model):
        outputs = outputs_of(model, ids_BT)
        count = len(blocks_of(model)[1])
        theirs = forward_hidden(model, ids_BT)
        ours = (
            after_blocks(model, ids_BT, outputs, states_of(outputs[-1]))
            if len(outputs) == count
            else theirs + 1
        )
        moved = (
            after_blocks(model, ids_BT, outputs, 0 * states_of(outputs[-1]))
            if len(outputs) == count
            else theirs
        )
    if not close(ours, theirs, plain(model).dtype) or close(moved, theirs, plain(model).dtype):
        raise CapabilityError(
            "What this model knows after each of its blocks cannot be read.",
            f"model type: {model.config.model_type}; blocks: {count}, seen at work: {len(outputs)}",
            "Leave out audit.blocks, or use a decoder whose blocks follow each other (GPT-2, OPT, LLaMA, ...).",
        )
