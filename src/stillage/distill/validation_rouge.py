"""ROUGE-L of greedy answers to validation prompts, which can pick the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.distill.generation import GenerationContext, TextWriter, write_texts
from stillage.evaluate.rouge import rouge_l
from stillage.types import Decoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def validation_rouge_l(
    context: GenerationContext,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
) -> float:
    """Mean ROUGE-L between the student's greedy answers and the records' responses.

    From 0 to 1 (`evaluate.rouge`). All processes share it. An answer may be as long as the longest
    of those responses; a record of plain text is continued from its first token. The same weights
    give the same number. A response without a word is left out; 0 where all are.
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
