"""Records as one padded batch: the only place that pads, packs, and shifts labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from stillage.functional.first_fit import first_fit
from stillage.types import Array, Batch, Example


def pad(rows: Sequence[Array], *, fill: int = 0, left: bool = False) -> tuple[Array, Array]:
    """Lay rows of ids side by side, filled up on the right (or left), [B, S].

    int64, as where they are real, the second array. `fill` is never read.
    """
    width = max(map(len, rows))
    ids_BS = np.full((len(rows), width), fill, np.int64)
    real_BS = np.zeros((len(rows), width), np.int64)
    for row, ids in enumerate(rows):
        place = slice(width - len(ids), width) if left else slice(len(ids))
        ids_BS[row, place], real_BS[row, place] = ids, 1
    return ids_BS, real_BS


def collate(examples: Sequence[Example], device: torch.device, *, trained: bool = True) -> Batch:
    """Make one right-padded batch, its labels shifted: token t is predicted at t - 1.

    trained=False masks every label: what a process without records runs so that the others need
    not wait for it.
    """
    ids_BS, attention_BS = pad([example.ids_T for example in examples])
    response_BS, _ = pad([example.response_T for example in examples])
    width = ids_BS.shape[1]
    rows, columns = np.nonzero((response_BS[:, 1:] != 0) & trained)

    def tensor(values: Array) -> torch.Tensor:
        return torch.from_numpy(values).to(device, non_blocking=True)

    return Batch(
        record_ids=tuple(example.record_id for example in examples),
        ids_BS=tensor(ids_BS),
        attention_BS=None if attention_BS.all() else tensor(attention_BS),
        positions_T=tensor(rows * width + columns),
        labels_T=tensor(ids_BS[rows, columns + 1]),
        extras={
            name: tensor(extra(examples, name)[: None if trained else 0])
            for name in examples[0].extras
        },
    )


def collate_packed(
    examples: Sequence[Example], device: torch.device, *, row_tokens: int, trained: bool = True
) -> Batch:
    """Make a batch with several examples in a row of at most row_tokens.

    A longer example has a row of its own. Longest first, each into the first row with room.
    trained: as in `collate`. The labels come row by row.
    """
    by_length = sorted(examples, key=lambda example: -len(example.ids_T))
    lengths = [len(example.ids_T) for example in by_length]
    places = first_fit(lengths, max(row_tokens, lengths[0]))
    rows: list[list[Example]] = [[] for _ in range(max(places) + 1)]
    for example, place in zip(by_length, places, strict=True):
        rows[place].append(example)
    batch = collate([join_examples(row) for row in rows], device, trained=trained)
    documents_BS = np.full(tuple(batch.ids_BS.shape), -1, dtype=np.int64)
    for number, row in enumerate(rows):
        counts = [len(example.ids_T) for example in row]
        documents_BS[number, : sum(counts)] = np.repeat(np.arange(len(row)), counts)
    return dataclasses.replace(
        batch,
        record_ids=tuple(example.record_id for row in rows for example in row),
        documents_BS=torch.from_numpy(documents_BS).to(device, non_blocking=True),
    )


def join_examples(examples: Sequence[Example]) -> Example:
    """Put examples one after the other; what is not trained stays so."""
    return Example(
        record_id="",
        ids_T=np.concatenate([example.ids_T for example in examples]),
        response_T=np.concatenate([example.response_T for example in examples]),
        extras={name: extra(examples, name) for name in examples[0].extras},
    )


def extra(examples: Sequence[Example], name: str) -> Array:
    """Concatenate one of the examples' extras, in the order of the labels."""
    return np.concatenate([example.extras[name] for example in examples])


def split_rows(batch: Batch, values: Array) -> list[Array]:
    """Cut numbers of the batch's T positions (the last axis) into those of each row."""
    rows_T = batch.positions_T.cpu().numpy() // batch.ids_BS.shape[1]
    counts_B = np.bincount(rows_T, minlength=len(batch.ids_BS))
    return np.split(values, np.cumsum(counts_B)[:-1], axis=-1)


def packed_inputs(documents_BS: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Make mask and positions of packed rows: each document sees itself, from 0.

    documents_BS: a number per document, its tokens side by side; padding is like another one.
    Positions alone would not keep documents apart: a block mask [B, 1, S, S] does, added to the
    scores of the attention.
    """
    steps_S = torch.arange(documents_BS.shape[1], device=documents_BS.device)
    same_BSS = documents_BS[:, :, None] == documents_BS[:, None, :]
    seen_B1SS = (same_BSS & (steps_S[:, None] >= steps_S))[:, None]
    first_BS = torch.ones_like(documents_BS, dtype=torch.bool)
    first_BS[:, 1:] = documents_BS[:, 1:] != documents_BS[:, :-1]
    start_BS = torch.where(first_BS, steps_S, 0).cummax(1).values
    mask_B1SS = torch.zeros(seen_B1SS.shape, dtype=dtype, device=seen_B1SS.device)
    mask_B1SS.masked_fill_(~seen_B1SS, torch.finfo(dtype).min)
    return {"attention_mask": mask_B1SS, "position_ids": steps_S - start_BS}
