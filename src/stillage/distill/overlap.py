"""ROUGE-L of the student's greedy answers to validation prompts: the other number that can pick the best weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.distill.answer import Desk, answer
from stillage.evaluate.rouge import rouge_l
from stillage.types import Example, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def validation_rouge_l(
    desk: Desk,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    asked: Sequence[Example],
) -> float:
    """Mean ROUGE-L (0 to 1, `evaluate.rouge`) between greedy answers and the records' responses; all processes share it.

    An answer may be as long as the longest of those responses; a record of plain text is continued from its first token.
    The same weights give the same number. A response without a word is left out; 0 where all are.
    """
    longest = max(int(example.response_T.sum()) for example in asked)
    greedy = Rollout(max_new_tokens=longest, sampling_temperature=0.0)
    texts = answer(desk, student, asked, [example.record_id for example in asked], greedy)

    def words(example: Example) -> str:
        return str(
            tokenizer.decode(example.ids_T[example.response_T].tolist(), skip_special_tokens=True)
        ).strip()

    found = np.array(
        rouge_l([words(text) for text in texts], [[words(example)] for example in asked])
    )
    return float(found[~np.isnan(found)].mean()) if not np.isnan(found).all() else 0.0
