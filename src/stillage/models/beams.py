"""Beam search by transformers: the likeliest texts a model would write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.errors import ConfigError
from stillage.models.batching import run_batches
from stillage.models.decoder import embedding_rows, evaluating
from stillage.models.lengths import growing_kinds
from stillage.models.padding import pad
from stillage.models.pair import context_of
from stillage.models.stream import continuation_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from stillage.models.prompts import Prompts, TextRules
    from stillage.run.progress import Done


def beam_search(
    model: PreTrainedModel,
    prompts: Prompts,
    rules: TextRules,
    *,
    beams: int,
    max_new_tokens: int,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[np.ndarray]:
    """Continue every prompt with the best text of `beams`; the new ids alone, int32.

    The best by mean log-probability per token. A row stops as in `generate`. Raises ConfigError for
    settings without meaning, DataError for a prompt that cannot be continued, CapabilityError for a
    model that cannot go on where it stopped reading.
    """
    if beams < 1 or max_new_tokens < 1:
        values = f"beams = {beams}, max_new_tokens = {max_new_tokens}"
        raise ConfigError(
            "No text can be searched for with these settings.", values, "Give 1 or more of each."
        )
    prompts.check(model)
    continuation_of(model)
    ids = prompts.ids
    limits = (rules.most_tokens, context_of(model))
    context = min((tokens for tokens in limits if tokens is not None), default=None)
    rows = embedding_rows(model)
    unknown = list(range(rows if rules.known_ids is None else rules.known_ids, rows))
    results = [np.zeros(0, np.int32)] * len(ids)
    starts = list(map(len, ids))
    room = [max_new_tokens] * len(ids)
    if context is not None:
        room = [min(max_new_tokens, context - start) for start in starts]
    ends = [start + budget for start, budget in zip(starts, room, strict=True)]
    grown = growing_kinds([model], starts, ends)

    def run(batch: list[int]) -> None:
        found = search([ids[row] for row in batch], room[batch[0]], passes=grown[batch[0]][0])
        for row, new in zip(batch, found, strict=True):
            results[row] = new

    def search(asked: list[np.ndarray], budget: int, passes: bool) -> list[np.ndarray]:
        ids_BT, attention_BT = pad(asked, fill=rules.pad_id, left=True)
        inputs = {
            "input_ids": torch.from_numpy(ids_BT).to(model.device),
            "attention_mask": torch.from_numpy(attention_BT).to(model.device),
        }
        found = model.generate(  # pyright: ignore[reportCallIssue] - of a mixin
            **inputs,
            num_beams=beams,
            do_sample=False,
            max_new_tokens=budget,
            eos_token_id=sorted(rules.stops),
            pad_token_id=rules.pad_id,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
            repetition_penalty=1.0,
            use_cache=not passes,
            suppress_tokens=unknown or None,
        )
        return [until(row, rules.stops) for row in found[:, ids_BT.shape[1] :].cpu().numpy()]

    finished = 0

    def tell(rows: int, of: int, share: float) -> None:
        if progress is not None:
            progress(finished + rows, len(ids), (finished + rows) / len(ids))

    with evaluating(model):
        # rows near the end of the context get a search of their own
        for budget in sorted(set(room)):
            same = [row for row in range(len(ids)) if room[row] == budget]
            lengths = [beams * ends[row] for row in same]

            def run_part(part: list[int], same: list[int] = same) -> None:
                run([same[k] for k in part])

            alike = [grown[row] for row in same]
            run_batches(lengths, batch_tokens, run_part, tell, kinds=alike)
            finished += len(same)
    return results


def until(ids_T: np.ndarray, stops: frozenset[int]) -> np.ndarray:
    """Return the ids up to the first end of text, included; what follows is padding."""
    ends = np.flatnonzero(np.isin(ids_T, list(stops)))
    return ids_T[: ends[0] + 1 if len(ends) else len(ids_T)].astype(np.int32)
