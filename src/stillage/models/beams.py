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
from stillage.models.prompts import answer_room
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
    ids = prompts.ids
    _, room = answer_room([model], prompts, rules, max_new_tokens)
    continuation_of(model)
    rows = embedding_rows(model)
    unknown = list(range(rows if rules.known_ids is None else rules.known_ids, rows))
    results = [np.zeros(0, np.int32)] * len(ids)
    starts = list(map(len, ids))
    ends = [start + budget for start, budget in zip(starts, room, strict=True)]
    grown = growing_kinds([model], starts, ends)

    def search(batch: list[int]) -> None:
        ids_BT, attention_BT = pad([ids[row] for row in batch], fill=rules.pad_id, left=True)
        found = model.generate(  # pyright: ignore[reportCallIssue] - of a mixin
            input_ids=torch.from_numpy(ids_BT).to(model.device),
            attention_mask=torch.from_numpy(attention_BT).to(model.device),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=room[batch[0]],
            eos_token_id=sorted(rules.stops),
            pad_token_id=rules.pad_id,
            length_penalty=1.0,
            no_repeat_ngram_size=0,
            repetition_penalty=1.0,
            use_cache=not grown[batch[0]][0],
            suppress_tokens=unknown or None,
        )
        for row, text_T in zip(batch, found[:, ids_BT.shape[1] :].cpu().numpy(), strict=True):
            results[row] = until(text_T, rules.stops)

    with evaluating(model):
        # rows near the end of the context, with less room, get a search of their own
        alike = list(zip(room, grown, strict=True))
        run_batches([beams * end for end in ends], batch_tokens, search, progress, kinds=alike)
    return results


def until(ids_T: np.ndarray, stops: frozenset[int]) -> np.ndarray:
    """Return the ids up to the first end of text, included; what follows is padding."""
    ends = np.flatnonzero(np.isin(ids_T, list(stops)))
    return ids_T[: ends[0] + 1 if len(ends) else len(ids_T)].astype(np.int32)
