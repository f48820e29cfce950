"""Which records make which step, and how they become tensors.

Functions of (seed, epoch) alone. Every record is trained exactly once per epoch: a permutation, cut
into ceil(N / batch_size) steps whose sizes differ by at most one. A step's records are sorted by
length before they are dealt to processes and micro-batches, which wastes little padding and changes
nothing, because the loss of a step is one sum over all its tokens.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from stillage.rng import generator
from stillage.run.config import TrainConfig
from stillage.types import Example


def canonical(examples: Sequence[Example]) -> tuple[Example, ...]:
    """Examples by id, whatever the order of the files; equal ids stay in their order."""
    return tuple(sorted(examples, key=lambda example: example.record_id))


def fingerprint(examples: Sequence[Example]) -> str:
    """sha256 over ids, tokens and response masks, in order: the same data or not."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(example.record_id.encode() + b"\0")
        digest.update(np.ascontiguousarray(example.ids_T, dtype=np.int64).tobytes())
        digest.update(np.packbits(example.response_T).tobytes() + b"\0")
    return digest.hexdigest()


def steps_per_epoch(records: int, batch_size: int) -> int:
    """Optimiser steps in one pass over the records."""
    return math.ceil(records / batch_size)


def total_steps(examples: Sequence[Example], options: TrainConfig) -> int:
    """Optimiser steps of the whole training: max_steps, or epochs, at least one.

    With max_trained_tokens it is what the examples' own responses would need, a guess.
    """
    records = len(examples)
    if options.max_trained_tokens:
        per_record = sum(map(trained_tokens, examples)) / max(1, records)
        per_step = max(1.0, per_record * min(options.batch_size, records))
        return max(1, math.ceil(options.max_trained_tokens / per_step))
    if options.max_steps:
        return options.max_steps
    if options.epochs == 0:
        return 0
    return max(1, round(options.epochs * steps_per_epoch(records, options.batch_size)))


def as_long_as_with_a_teacher(options: TrainConfig, records: int, prompts: int) -> TrainConfig:
    """Give a student with fewer answers than prompts the steps of one with a teacher.

    records: that it is trained on; prompts: the public ones. Epochs alone stop it early.
    """
    if records == prompts or options.max_steps or options.max_trained_tokens:
        return options
    steps = round(options.epochs * steps_per_epoch(prompts, options.batch_size))
    return replace(options, max_steps=max(1, steps))


@lru_cache(maxsize=2)
def epoch_order(records: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of an epoch, int64[N]."""
    return generator(seed, "order", epoch).permutation(records)


def records_of_step(step: int, records: int, batch_size: int, seed: int) -> np.ndarray:
    """Positions (in canonical order) of the records of optimiser step `step`, from 0."""
    steps = steps_per_epoch(records, batch_size)
    epoch, part = divmod(step, steps)
    return np.array_split(epoch_order(records, seed, epoch), steps)[part]


def micro_batches(
    chosen: Sequence[Example], rank: int, ranks: int, size: int
) -> list[list[Example]]:
    """This process's share of a step, shortest first, `size` records each (0: all)."""
    by_length = sorted(chosen, key=lambda example: len(example.ids_T))
    share = by_length[rank::ranks]
    size = size or max(1, len(share))
    return [share[start : start + size] for start in range(0, len(share), size)]


def trained_tokens(example: Example) -> int:
    """The number of trained tokens of an example."""
    return int(example.response_T[1:].sum())
