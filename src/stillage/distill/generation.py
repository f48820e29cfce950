"""Prompts answered and texts scored by all processes together; each gets all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.corpus.tokenizers import end_id
from stillage.distill.batches import trained_tokens
from stillage.distill.precision import Precision, precision_named
from stillage.distill.task import TrainingTask
from stillage.distill.texts import with_response
from stillage.functional.readout import token_logp
from stillage.models.beams import beam_search
from stillage.models.decoder import embedding_rows, evaluating, read
from stillage.models.generate import Partner, generate
from stillage.models.limits import shortest_context
from stillage.models.padding import collate
from stillage.models.prompts import Prompts, TextRules
from stillage.rng import derive
from stillage.run.progress import Done
from stillage.types import Array, Decoding, Example

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationContext:
    """Where texts are written: processes, precision, and what every model reads."""

    accelerator: Accelerator
    precision: Precision
    eos_id: int
    pad_id: int
    seed: int
    most_tokens: int | None  # of prompt and answer together: the shortest context of all models
    known_ids: int  # the first so many ids are what every model can read

    def summed(self, values: torch.Tensor) -> torch.Tensor:
        """The values added up over all processes."""
        if self.accelerator.num_processes > 1:
            torch.distributed.all_reduce(values)
        return values

    def agreed(self, wish: bool) -> bool:
        """Whether any process wishes it; all get the same answer."""
        if self.accelerator.num_processes == 1:
            return wish
        return bool(self.summed(torch.tensor([float(wish)], device=self.accelerator.device))[0] > 0)

    def share(self, lengths: Sequence[int]) -> list[int]:
        """The rows of this process: every n-th by length, so that all have as much to do."""
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        return order[self.accelerator.process_index :: self.accelerator.num_processes]

    def gather(
        self, own: dict[int, Array], count: int, width: int, dtype: torch.dtype
    ) -> list[Array]:
        """All rows, each known to one process and at most `width` long; exact."""
        if self.accelerator.num_processes == 1:
            return [own[row] for row in range(count)]
        table = torch.zeros(count, width + 1, dtype=dtype)
        for row, values in own.items():
            table[row, 0] = len(values)
            table[row, 1 : len(values) + 1] = torch.from_numpy(values)
        rows = self.summed(table.to(self.accelerator.device)).cpu().numpy()
        return [values[1 : int(values[0]) + 1] for values in rows]


def generation_context(task: TrainingTask) -> GenerationContext:
    """The context of a training, to whose device the teacher is moved."""
    from accelerate import Accelerator

    # Mixed precision is ours: accelerate fixes one per process. CPU processes join only if told.
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available())
    teacher = task.teacher
    if teacher is not None and teacher.device != accelerator.device:  # quantised weights stay
        teacher.to(accelerator.device)  # pyright: ignore[reportArgumentType]
    if teacher is not None:
        teacher.eval()
    eos, pad = end_id(task.tokenizer), task.tokenizer.pad_token_id
    return GenerationContext(
        accelerator=accelerator,
        precision=precision_named(task.options.precision, accelerator.device),
        eos_id=eos,
        pad_id=pad if isinstance(pad, int) else eos,  # masked, never read
        seed=task.seed,
        most_tokens=shortest_context(*task.models.values()),
        known_ids=min(map(embedding_rows, task.models.values())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TextWriter:
    """Who writes a text, and how: a model alone, or with a teacher, token by token."""

    model: PreTrainedModel
    decoding: Decoding
    beams: int = 1  # more than 1: beam search, which reads max_new_tokens alone of decoding
    teacher: PreTrainedModel | None = None
    teacher_share: float = 0.0  # each token is drawn from (1 - share) model + share teacher


def write_texts(
    context: GenerationContext,
    writer: TextWriter,
    examples: Sequence[Example],
    names: Sequence[str],
    progress: Done | None = None,
) -> list[Example]:
    """Write another response for every example; progress: of this process's share.

    names: of the noise of each text, which depends on (seed, name) and the weights alone.
    """
    prompts = [example.prompt_ids for example in examples]
    rows = context.share(list(map(len, prompts)))
    own: dict[int, Array] = {}
    if rows:
        seed = derive(context.seed, "rollout")
        asked = Prompts([prompts[row] for row in rows], [names[row] for row in rows], seed)
        with context.precision.autocast():
            own = dict(zip(rows, continued(context, writer, asked, progress), strict=True))
    responses = context.gather(own, len(examples), writer.decoding.max_new_tokens, torch.int64)
    return [with_response(example, ids) for example, ids in zip(examples, responses, strict=True)]


def continued(
    context: GenerationContext, writer: TextWriter, asked: Prompts, progress: Done | None
) -> list[Array]:
    """The writer's continuation of every prompt of this process."""
    rules = TextRules(context.eos_id, context.pad_id, context.most_tokens, context.known_ids)
    if writer.beams > 1:
        most = writer.decoding.max_new_tokens
        return beam_search(
            writer.model, asked, rules, beams=writer.beams, max_new_tokens=most, progress=progress
        )
    teacher, share = writer.teacher, writer.teacher_share
    partner = Partner(teacher, share) if teacher is not None and share else None
    return generate(writer.model, asked, writer.decoding, rules, partner=partner, progress=progress)


def score_texts(
    context: GenerationContext,
    model: PreTrainedModel,
    texts: Sequence[Example],
    *,
    batch_size: int,
    width: int,
) -> list[Array]:
    """Log-probability of every trained token of every text under the model, float32.

    width: at least as many tokens as any text has trained.
    """
    rows = context.share([len(text.ids_T) for text in texts])
    own: dict[int, Array] = {}
    with evaluating(model):
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            batch = collate([texts[row] for row in part], context.accelerator.device)
            with context.precision.autocast():
                logp_T = token_logp(read(model, batch), batch.labels_T).float().cpu().numpy()
            counts = [trained_tokens(texts[row]) for row in part]
            own.update(zip(part, np.split(logp_T, np.cumsum(counts)[:-1]), strict=True))
    gathered = context.gather(own, len(texts), width, torch.float64)
    return [values.astype(np.float32) for values in gathered]
