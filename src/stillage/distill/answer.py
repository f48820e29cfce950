"""Prompts answered and texts scored by all processes together; every process gets all of it, in the order asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.distill.precision import Precision
from stillage.distill.processes import summed
from stillage.distill.texts import answered
from stillage.functional.readout import token_logp
from stillage.models.beams import beam_search
from stillage.models.decoder import evaluating, read
from stillage.models.generate import Decoding, Partner, generate
from stillage.models.padding import collate
from stillage.models.prompts import Prompts, TextRules
from stillage.rng import derive
from stillage.run.progress import Done
from stillage.types import Array, Example, Rollout

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where texts are written: the processes, the precision, and the tokens that end and fill a text."""

    accelerator: Accelerator
    precision: Precision
    eos_id: int
    pad_id: int
    seed: int
    most_tokens: (
        int | None
    )  # of prompt and answer together: what every model of the training can read
    known_ids: int | None = (
        None  # the first so many ids are what every model of the training can read
    )

    def share(self, lengths: Sequence[int]) -> list[int]:
        """The rows of this process: every so-manyth by length, so that all have as much to do."""
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        return order[self.accelerator.process_index :: self.accelerator.num_processes]

    def gather(
        self, own: dict[int, Array], count: int, width: int, dtype: torch.dtype
    ) -> list[Array]:
        """All rows, each known to one process; at most `width` numbers long. Sums with zeros, so exact for any dtype."""
        if self.accelerator.num_processes == 1:
            return [own[row] for row in range(count)]
        table = torch.zeros(count, width + 1, dtype=dtype)
        for row, values in own.items():
            table[row, 0] = len(values)
            table[row, 1 : len(values) + 1] = torch.from_numpy(values)
        found = summed(self.accelerator, table.to(self.accelerator.device)).cpu().numpy()
        return [values[1 : int(values[0]) + 1] for values in found]


def answer(
    desk: Desk,
    writer: PreTrainedModel,
    asked: Sequence[Example],
    names: Sequence[str],
    rollout: Rollout,
    *,
    teacher: PreTrainedModel | None = None,
    progress: Done | None = None,
) -> list[Example]:
    """Another response for every example, by `writer`, or by it and the teacher token by token (rollout.teacher_share).

    names: of the noise of each text; the text depends on (seed, name) and the weights alone. progress: of this
    process's share.
    """
    prompts = [example.prompt_ids for example in asked]
    rows = desk.share([len(prompt) for prompt in prompts])
    own: dict[int, Array] = {}
    if rows:
        chosen = Prompts(
            [prompts[row] for row in rows],
            [names[row] for row in rows],
            derive(desk.seed, "rollout"),
        )
        rules = TextRules(desk.eos_id, desk.pad_id, desk.most_tokens, desk.known_ids)
        with desk.precision.autocast():
            if rollout.beams > 1:
                found = beam_search(
                    writer,
                    chosen,
                    rules,
                    beams=rollout.beams,
                    max_new_tokens=rollout.max_new_tokens,
                    progress=progress,
                )
            else:
                share = rollout.teacher_share
                found = generate(
                    writer,
                    chosen,
                    decoding_of(rollout),
                    rules,
                    partner=Partner(teacher, share) if teacher is not None and share else None,
                    progress=progress,
                )
        own = dict(zip(rows, found, strict=True))
    written = desk.gather(own, len(asked), rollout.max_new_tokens, torch.int64)
    return [answered(example, ids) for example, ids in zip(asked, written, strict=True)]


def decoding_of(rollout: Rollout) -> Decoding:
    """How the rollout's texts are drawn."""
    return Decoding(
        max_new_tokens=rollout.max_new_tokens,
        sampling_temperature=rollout.sampling_temperature,
        top_p=rollout.top_p,
        top_k=rollout.top_k,
    )


def score(
    desk: Desk, model: PreTrainedModel, texts: Sequence[Example], *, size: int, width: int
) -> list[Array]:
    """Log-probability of every trained token of every text under the model, float32; `size` texts in a forward pass."""
    rows = desk.share([len(text.ids_T) for text in texts])
    own: dict[int, Array] = {}
    with evaluating(model):
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            batch = collate([texts[row] for row in part], desk.accelerator.device)
            with desk.precision.autocast():
                logp_T = token_logp(read(model, batch), batch.labels_T).float().cpu().numpy()
            counts = [int(texts[row].response_T[1:].sum()) for row in part]
            own.update(zip(part, np.split(logp_T, np.cumsum(counts)[:-1]), strict=True))
    return [
        values.astype(np.float32) for values in desk.gather(own, len(texts), width, torch.float64)
    ]
