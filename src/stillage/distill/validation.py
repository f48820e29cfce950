"""Validations by all processes: the student's loss, and ROUGE-L of its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from stillage.distill.batches import trained_tokens
from stillage.distill.generation import GenerationContext, TextWriter, write_texts
from stillage.distill.objective import sums
from stillage.evaluate.rouge import rouge_l
from stillage.models.decoder import read
from stillage.models.padding import collate
from stillage.types import Decoding, Example, Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@torch.no_grad()
def validation_loss(
    context: GenerationContext, model: PreTrainedModel, examples: Sequence[Example], batch_size: int
) -> float:
    """The model's loss on the records, in nats per token; in eval mode meanwhile."""
    was_training, device = model.training, context.accelerator.device
    model.eval()
    by_length = sorted(examples, key=lambda example: (len(example.ids_T), example.record_id))
    starts = range(0, len(by_length), batch_size)
    own = starts[context.accelerator.process_index :: context.accelerator.num_processes]
    totals = torch.zeros(2, dtype=torch.float64, device=device)
    for part in (by_length[start : start + batch_size] for start in own):
        batch = collate(part, device)
        with context.precision.autocast():
            step = Step(student=read(model, batch), teacher=None, labels_T=batch.labels_T, number=0)
            totals[0] += sums(step).ce.double()
        totals[1] += sum(map(trained_tokens, part))
    model.train(was_training)
    total, tokens = context.summed(totals).tolist()
    return total / tokens


def validation_rouge_l(
    context: GenerationContext,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
) -> float:
    """Mean ROUGE-L (0 to 1) of the student's greedy answers to the records' responses.

    An answer may be as long as the longest of those responses; a record of plain text is continued
    from its first token. A response without a word is left out; 0 where all are.
    """
    longest = max(int(example.response_T.sum()) for example in examples)
    writer = TextWriter(model=student, decoding=Decoding(max_new_tokens=longest))
    texts = write_texts(context, writer, examples, [example.record_id for example in examples])

    def words(example: Example) -> str:
        ids = example.ids_T[example.response_T].tolist()
        return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()

    answers, references = [words(text) for text in texts], [[words(one)] for one in examples]
    values = np.array(rouge_l(answers, references))
    return float(values[~np.isnan(values)].mean()) if not np.isnan(values).all() else 0.0
