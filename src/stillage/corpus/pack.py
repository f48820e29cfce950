"""Packing of a corpus: documents as one row of tokens, cut into blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.token_blocks import Blocks, too_short, write_blocks
from stillage.corpus.tokenizers import end_id, rules_hash
from stillage.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 256  # documents per call of the tokenizer
Count = Callable[[int, int], None]
"""count(documents so far, characters of the last ones); how many there are is not known."""


def pack_corpus(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    *,
    block_tokens: int,
    newline_before_end: bool = False,
    progress: Count | None = None,
) -> Blocks:
    """Tokenise documents, end each with EOS, and cut them into blocks in a file.

    No BOS; a text that spells a special token is plain text. newline_before_end: encode each
    document with the newline that ended its line, as the released scripts of MiniLLM and DistiLLM
    do. Raises ModelError without a fast tokenizer or EOS, and what `write_blocks` does.
    """
    end = end_id(tokenizer)
    texts = (text + "\n" for text in documents) if newline_before_end else documents
    return write_blocks(
        path,
        _encoded(texts, tokenizer, end, progress),
        block_tokens=block_tokens,
        vocab_size=len(tokenizer),
        tokenizer=rules_hash(tokenizer),
    )


def check_fills_a_block(
    documents: Iterable[str], tokenizer: PreTrainedTokenizerBase, block_tokens: int
) -> None:
    """Refuse a corpus shorter than one block; reads little more than that."""
    total = count = 0
    for ids in _encoded(documents, tokenizer, end_id(tokenizer)):
        total, count = total + len(ids), count + 1
        if total >= block_tokens:
            return
    raise too_short(total, count, block_tokens)


def _encoded(
    texts: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    end: int,
    progress: Count | None = None,
) -> Iterator[Array]:
    """The ids of each text, EOS at the end, int64."""
    rest, count = iter(texts), 0
    while batch := list(islice(rest, BATCH)):
        encoded = tokenizer(
            batch,
            add_special_tokens=False,
            return_attention_mask=False,
            split_special_tokens=True,
            verbose=False,
        )
        for ids in encoded["input_ids"]:
            yield np.array([*ids, end], dtype=np.int64)
        count += len(batch)
        if progress is not None:
            progress(count, sum(map(len, batch)))
