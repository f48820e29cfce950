"""Batches of rows of like length, as large as a number of tokens allows, and smaller by themselves when memory runs out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from stillage.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from stillage.run.progress import Done

log = logging.getLogger("stillage")


def run_batches(
    lengths: Sequence[int],
    batch_tokens: int,
    run: Callable[[list[int]], None],
    progress: Done | None = None,
    *,
    kinds: Sequence[Hashable],
) -> None:
    """Call run(rows) on batches of row numbers until every row is done, longest first, so that memory runs out at once.

    A batch holds as many rows as fit `batch_tokens`, padding included, at least one, and all of one kind (`lengths.kinds`):
    what a model would read otherwise beside each other is kept apart. When memory runs out, the limit is halved for the
    rest of the rows; run must write its results only when it is done. progress hears of every batch; its share of the work
    is that of the lengths. Raises UserError where one row alone does not fit.
    """
    work = sum(lengths)
    by_length = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    place = {
        kind: number for number, kind in enumerate(dict.fromkeys(kinds[row] for row in by_length))
    }
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
                "Use a smaller model, bfloat16 weights, shorter records, or a machine with more memory.",
            )
        else:
            batch_tokens = longest * (len(batch) // 2)
            log.warning(
                "memory ran out on %d rows of %d tokens: trying half as many", len(batch), longest
            )


def attempt(run: Callable[[list[int]], None], batch: list[int]) -> bool:
    """Run a batch; False when memory ran out. Its tensors are gone by then, because the error that holds them is."""
    try:
        run(batch)
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not out_of_memory(error):
            raise
    else:
        return True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def out_of_memory(error: Exception) -> bool:
    """Is this what torch (GPU or CPU) or numpy raises when memory runs out?"""
    return isinstance(
        error, torch.OutOfMemoryError | MemoryError
    ) or "can't allocate memory" in str(error)
