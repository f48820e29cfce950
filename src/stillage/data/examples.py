"""Records as token ids, under the layout and the limits that a config states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.run.config import DataConfig
from stillage.types import Example, Record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def make_examples(
    records: Sequence[Record],
    tokenizer: PreTrainedTokenizerFast,
    data: DataConfig,
    context_tokens: int | None = None,
    *,
    what: str = "",
) -> list[Example]:
    """Lay records out as token ids under the template and the limits of `data`.

    context_tokens: the model's; what: who reads, for the log (as in `tokenise`).
    """
    from stillage.data.tokenise import tokenise

    return tokenise(
        records,
        tokenizer,
        template=data.template,
        max_tokens=data.max_tokens,
        max_prompt_tokens=data.max_prompt_tokens,
        context_tokens=context_tokens,
        what=what,
    ).examples
