"""Beam search: the likeliest texts a model would write, by transformers' own search; no randomness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ConfigError
from stillage.models.batching import run_batches
from stillage.models.decoder import embedding_rows, evaluating
from stillage.models.generate import check_prompts
from stillage.models.lengths import growing_kinds
from stillage.models.padding import pad
from stillage.models.pair import context_of
from stillage.models.stream import continuation_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from stillage.run.progress import Done


def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[np.ndarray],
    *,
    beams: int,
    max_new_tokens: int,
    eos_id: int,
    pad_id: int,
    names: Sequence[str],
    batch_tokens: int = 16384,
    most_tokens: int | None = None,
    known_ids: int | None = None,
    progress: Done | None = None,
) -> list[np.ndarray]:
    """Continue every prompt with the best text of `beams` searched, by mean log-probability per token; new ids, int32.

    The end-of-text id is included where it was written. A row stops there, after max_new_tokens, or at the end of the
    model's context or of most_tokens, prompt included. known_ids: only ids below it are written, since another model has to
    read them. Raises ConfigError for settings without meaning, DataError for a prompt that cannot be continued,
    CapabilityError for a model that cannot go on where it stopped reading.
    """
    if beams < 1 or max_new_tokens < 1:
        values = f"beams = {beams}, max_new_tokens = {max_new_tokens}"
        raise ConfigError(
            "No text can be searched for with these settings.", values, "Give 1 or more of each."
        )
    check_prompts(model, prompts, names)
    continuation_of(model)
    context = min(
        (tokens for tokens in (most_tokens, context_of(model)) if tokens is not None), default=None
    )
    rows = embedding_rows(model)
    unknown = list(range(rows if known_ids is None else known_ids, rows))
    results = [np.zeros(0, np.int32)] * len(prompts)
    room = [
        max_new_tokens if context is None else min(max_new_tokens, context - len(prompt))
        for prompt in prompts
    ]
    starts = list(map(len, prompts))
    grown = growing_kinds(
        [model], starts, [start + budget for start, budget in zip(starts, room, strict=True)]
    )

    def run(batch: list[int]) -> None:
        found = search([prompts[row] for row in batch], room[batch[0]], passes=grown[batch[0]][0])
        for row, ids in zip(batch, found, strict=True):
            results[row] = ids

    def search(asked: list[np.ndarray], budget: int, passes: bool) -> list[np.ndarray]:
        ids_BT, attention_BT = pad(asked, fill=pad_id, left=True)
        inputs = {
            "input_ids": torch.from_numpy(ids_BT).to(model.device),
            "attention_mask": torch.from_numpy(attention_BT).to(model.device),
        }
        found = model.generate(  # pyright: ignore[reportCallIssue] - torch's Module hides the mixin's type
            **inputs,
            num_beams=beams,
            do_sample=False,
            max_new_tokens=budget,
            eos_token_id=eos_id,
            pad_token_id=pad_id,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
            repetition_penalty=1.0,
            use_cache=not passes,
            suppress_tokens=unknown or None,
        )
        return [until(row, eos_id) for row in found[:, ids_BT.shape[1] :].cpu().numpy()]

    finished = 0

    def tell(rows: int, of: int, share: float) -> None:
        if progress is not None:
            progress(finished + rows, len(prompts), (finished + rows) / len(prompts))

    with evaluating(model):
        for budget in sorted(
            set(room)
        ):  # rows near the end of the context get a search of their own
            same = [row for row in range(len(prompts)) if room[row] == budget]
            lengths = [beams * (len(prompts[row]) + budget) for row in same]
            alike = [grown[row] for row in same]
            run_batches(
                lengths,
                batch_tokens,
                lambda part, same=same: run([same[k] for k in part]),
                tell,
                kinds=alike,
            )
            finished += len(same)
    return results


def until(ids_T: np.ndarray, eos_id: int) -> np.ndarray:
    """The ids up to the first end of text, included; what follows is padding."""
    ends = np.flatnonzero(ids_T == eos_id)
    return ids_T[: ends[0] + 1 if len(ends) else len(ids_T)].astype(np.int32)
