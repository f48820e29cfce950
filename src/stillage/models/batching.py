"""Batches of rows of like length, as large as a limit of tokens and memory allow."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

import torch

from stillage.errors import UserError
from stillage.models.decoder import evaluating, examine
from stillage.models.lengths import kinds
from stillage.models.padding import collate
from stillage.models.pair import check_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done
    from stillage.types import Batch, Example

log = logging.getLogger("stillage")
CPU_BATCH_TOKENS = 4096  # more gains nothing on a CPU, and costs page faults
Reply = TypeVar("Reply")


def map_batches(
    function: Callable[[Batch], Sequence[Reply]],
    models: Sequence[PreTrainedModel],
    examples: Sequence[Example],
    *,
    nothing: Reply,
    batch_tokens: int,
    progress: Done | None = None,
) -> list[Reply]:
    """Call function(batch) until every example has its reply, in their order.

    Padding and batches change nothing. Every model is examined first, and in eval mode, without
    gradients, meanwhile. DataError for an example longer than a context or with unknown ids.

    Args:
        function: one reply for each row of the batch, which is on the first model's device.
        models: those that read the batches; which lengths may share one depends on them.
        examples: an example without response tokens is not read.
        nothing: the reply for such an example.
        batch_tokens: tokens in a batch, padding included.
        progress: hears of every batch.
    """
    results = [nothing] * len(examples)
    for model in models:
        check_examples(model, examples)
    rows = [k for k, example in enumerate(examples) if example.response_T.any()]
    lengths = [len(examples[row].ids_T) for row in rows]

    def run(chosen: list[int]) -> None:
        places = [rows[k] for k in chosen]
        batch = collate([examples[place] for place in places], models[0].device)
        for place, reply in zip(places, function(batch), strict=True):
            results[place] = reply

    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
            examine(model)
        run_batches(lengths, batch_tokens, run, progress, kinds=kinds(models, lengths))
    return results


def batch_limit(model: PreTrainedModel, batch_tokens: int) -> int:
    """Return how many tokens a batch has on the model's device."""
    return min(batch_tokens, CPU_BATCH_TOKENS) if model.device.type == "cpu" else batch_tokens


def run_batches(
    lengths: Sequence[int],
    batch_tokens: int,
    run: Callable[[list[int]], None],
    progress: Done | None = None,
    *,
    kinds: Sequence[Hashable],
) -> None:
    """Call run(rows) on batches of row numbers until every row is done.

    Longest first, so that memory runs out at once. A batch holds as many rows as fit
    `batch_tokens`, padding included, at least one, and all of one kind (`lengths.kinds`): what a
    model would read otherwise beside each other is kept apart. When memory runs out, the limit is
    halved for the rest of the rows; run must write its results only when it is done. progress hears
    of every batch; its share of the work is that of the lengths. Raises UserError where one row
    alone does not fit.
    """
    work = sum(lengths)
    by_length = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    place = {kind: n for n, kind in enumerate(dict.fromkeys(kinds[row] for row in by_length))}
    left = sorted(by_length, key=lambda row: place[kinds[row]])  # kinds by their longest row
    while left:
        longest = max(1, lengths[left[0]])
        batch = [
            row for row in left[: max(1, batch_tokens // longest)] if kinds[row] == kinds[left[0]]
        ]
        if attempt(run, batch):
            left = left[len(batch) :]
            if progress is not None:
                progress(
                    len(lengths) - len(left),
                    len(lengths),
                    1 - sum(lengths[row] for row in left) / max(1, work),
                )
        elif len(batch) == 1:
            raise UserError(
                "Memory ran out on a single record.",
                f"length: {longest} tokens",
                "Use a smaller model, bfloat16 weights, shorter records, or more memory.",
            )
        else:
            batch_tokens = longest * (len(batch) // 2)
            log.warning(
                "memory ran out on %d rows of %d tokens: trying half as many", len(batch), longest
            )


def attempt(run: Callable[[list[int]], None], batch: list[int]) -> bool:
    """Run a batch; False when memory ran out (its tensors are gone by then)."""
    try:
        run(batch)
        return True
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def out_of_memory(error: Exception) -> bool:
    """Tell whether this is what torch or numpy raises when memory runs out."""
    return isinstance(
        error, torch.OutOfMemoryError | MemoryError
    ) or "can't allocate memory" in str(error)
