"""Beam search by transformers: the likeliest texts a model would write."""

from __future__ import annotations

from functools import partial
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
    starts = list(map(len, ids))
    limits = (rules.most_tokens, context_of(model))
    context = min((tokens for tokens in limits if tokens is not None), default=None)
    room = [max_new_tokens] * len(ids)
    if context is not None:
        room = [min(max_new_tokens, context - start) for start in starts]
    ends = [start + budget for start, budget in zip(starts, room, strict=True)]
    grown = growing_kinds([model], starts, ends)
    results: dict[int, np.ndarray] = {}

    def run(part: list[int], same: list[int]) -> None:
        rows = [same[place] for place in part]
        passes, budget = grown[rows[0]][0], room[rows[0]]
        asked = [ids[row] for row in rows]
        found = best_texts(model, asked, rules, beams, budget, use_cache=not passes)
        results.update(zip(rows, found, strict=True))

    def tell(rows: int, of: int, share: float) -> None:
        if progress is not None:
            progress(len(results), len(ids), len(results) / len(ids))

    with evaluating(model):
        # rows near the end of the context get a search of their own
        for budget in sorted(set(room)):
            same = [row for row in range(len(ids)) if room[row] == budget]
            run_batches(
                [beams * ends[row] for row in same],
                batch_tokens,
                partial(run, same=same),
                tell,
                kinds=[grown[row] for row in same],
            )
    return [results[row] for row in range(len(ids))]


def best_texts(
    model: PreTrainedModel,
    asked: list[np.ndarray],
    rules: TextRules,
    beams: int,
    budget: int,
    *,
    use_cache: bool,
) -> list[np.ndarray]:
    """Search for the best continuation of each prompt, at most `budget` tokens, int32."""
    ids_BT, attention_BT = pad(asked, fill=rules.pad_id, left=True)
    inputs = {
        "input_ids": torch.from_numpy(ids_BT).to(model.device),
        "attention_mask": torch.from_numpy(attention_BT).to(model.device),
    }
    known = embedding_rows(model) if rules.known_ids is None else rules.known_ids
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
        use_cache=use_cache,
        suppress_tokens=list(range(known, embedding_rows(model))) or None,
    )
    return [until(row, rules.stops) for row in found[:, ids_BT.shape[1] :].cpu().numpy()]


def until(ids_T: np.ndarray, stops: frozenset[int]) -> np.ndarray:
    """Return the ids up to the first end of text, included; what follows is padding."""
    ends = np.flatnonzero(np.isin(ids_T, list(stops)))
    return ids_T[: ends[0] + 1 if len(ends) else len(ids_T)].astype(np.int32)
