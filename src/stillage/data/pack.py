"""Many short texts in one row of tokens: a corpus cut into blocks, and where each of many lengths goes without waste."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.blocks import Blocks, too_short, write_blocks
from stillage.data.tokenise import end_id
from stillage.data.tokenizer_hash import rules_hash
from stillage.errors import ConfigError
from stillage.types import Array

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 256  # documents per call of the tokenizer
Count = Callable[[int, int], None]
"""count(documents so far, characters of the last ones): nobody knows beforehand how many documents a file holds."""


def pack_corpus(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    *,
    block_tokens: int,
    newline_before_end: bool = False,
    progress: Count | None = None,
) -> Blocks:
    """Tokenise documents, end each with EOS, concatenate, cut into blocks of block_tokens, and write them to `path`.

    No BOS; a text that spells a special token is plain text. newline_before_end: encode each document with the newline
    that ended its line, as the released scripts of MiniLLM and DistiLLM do. Raises ModelError without a fast tokenizer
    or EOS, DataError for a corpus shorter than one block (with both numbers), ConfigError for block_tokens < 2.
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
    """DataError, as from `pack_corpus`, for a corpus shorter than one block; reads little more than one block."""
    total = count = 0
    for ids in _encoded(documents, tokenizer, end_id(tokenizer)):
        total, count = total + len(ids), count + 1
        if total >= block_tokens:
            return
    raise too_short(total, count, block_tokens)


def first_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """For each length in turn, the first bin with room for it: O(n log n), over a tree of the largest room below a node."""
    if any(length > capacity for length in lengths):
        raise ConfigError(
            "A length exceeds the capacity.", f"{max(lengths)} > {capacity}", "Raise the capacity."
        )
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    room = [capacity] * (2 * leaves)
    chosen: list[int] = []
    for length in lengths:
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        chosen.append(node - leaves)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return chosen


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
